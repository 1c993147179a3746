"""All figures of a run: at the level of its labels and above, patients first, with intervals."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.aggregate import MIXED_LABELS, SHARE, score_matrix, text_column
from histokeras.analysis.baselines import RAW
from histokeras.analysis.collect import KINDS, Predictions, fold_numbers
from histokeras.analysis.curves import level_curves
from histokeras.analysis.figures import headline_figures
from histokeras.analysis.metrics import AnyFloats, AnyInts, Ints
from histokeras.analysis.number_units import evaluate_numbers
from histokeras.analysis.strata import strata_figures
from histokeras.analysis.units import EvaluationConfig, Units, evaluate_units, not_evaluated
from histokeras.errors import ConfigError
from histokeras.types import (
    CLASSIFICATION,
    LABEL,
    LEVELS,
    PATIENT_ID,
    REGRESSION,
    SLIDE_ID,
    SPLIT,
)

PROBABILITY = "probability"
MEAN_PROBABILITY = "mean_probability"
SHARE_OF_TILES = "share_of_tiles"
PREDICTION = "prediction"
MEAN_PREDICTION = "mean_prediction"
_MAIN = {
    CLASSIFICATION: (PROBABILITY, MEAN_PROBABILITY),
    REGRESSION: (PREDICTION, MEAN_PREDICTION),
}
"""The main aggregation of tiles or of bags, and of the tiles of slides and patients."""
_OF_A_FOLD = ("auc", "balanced_accuracy", "accuracy", "f1_macro")
ALL = "all"
"""Key of the only part of predictions that bear no split."""
_JUDGED = ("test", ALL)
"""Parts that no head was fitted to, whose tumour types and sites are looked at one by one."""

_POSITIVE_OF: dict[tuple[str, ...], str] = {
    ("0", "1"): "1",
    ("no", "yes"): "yes",
    ("negative", "positive"): "positive",
}


def default_positive(classes: Sequence[str]) -> str | None:
    """Return the positive one of two classes, if their names tell.

    Args:
        classes: Class names: 0 and 1, no and yes, or negative and positive, in any case and order.

    Returns:
        The second of such a pair as it is written in ``classes``; None for any others.
    """
    folded = {name.strip().casefold(): name for name in classes}
    wanted = _POSITIVE_OF.get(tuple(sorted(folded)))
    return folded[wanted] if wanted is not None and len(classes) == 2 else None


def evaluate_levels(
    predictions: Predictions,
    label_level: str,
    *,
    positive: str | None = None,
    config: EvaluationConfig | None = None,
) -> dict[str, Any]:
    """Compute all figures at the level of the labels and above, patients first.

    Args:
        predictions: Collected with ``keep_tiles`` where labels stand at the tile level.
        label_level: ``tile``, ``slide`` or ``patient``. Levels below it are not evaluated.
        positive: Of two classes the positive one; :func:`default_positive` if None.
        config: Resamples, seed and splits; the defaults if None.

    Returns:
        What stands in metrics.json, plain values only: ``classes positive label_level n_resamples
        alpha seed specificity`` and ``splits`` -> split -> level -> ``evaluated``, and ``reason``
        or counts, ``calibration``, ``baselines``, ``verdict``, ``folds`` (None without
        cross-validation) and ``aggregations`` -> name -> ``auc auc_of auc_per_class pr_auc
        balanced_accuracy accuracy f1_macro f1_per_class brier ece confusion`` and more. Each figure
        is an :class:`~histokeras.analysis.bootstrap.Estimate`. The first evaluated level of the
        test side (or of all) also has what :func:`~histokeras.analysis.strata.strata_figures`
        returns: figures within each tumour type and site. Of predicted numbers ``task`` and
        ``target`` come first in place of the classes, and a level is what
        :func:`~histokeras.analysis.number_units.evaluate_numbers` returns.

    Raises:
        ConfigError: If ``positive`` is none of two classes, or there are fewer than two; or if one
            is named and the target is a number.
        TableError: If patients are known for a part of the units only.
        ValueError: If ``label_level`` is no level, or tiles are needed and were not kept.
    """
    config = config or EvaluationConfig()
    classes = predictions.classes
    if label_level not in LEVELS:
        raise ValueError(f"`label_level` must be one of {LEVELS}. Received: {label_level!r}")
    if label_level == "tile" and not predictions.tiles:
        raise ValueError(
            "labels stand at the tile level, but the tiles were not kept: collect the predictions "
            "with keep_tiles=True. Received: label_level='tile'"
        )
    is_number = predictions.task == REGRESSION
    if is_number:
        refuse_positive(positive)
    else:
        positive = require_positive(classes, positive)
    splits = [ALL] if _without_split(predictions) else config.splits
    return {
        **(
            {"task": REGRESSION, "target": classes[0]}
            if is_number
            else {"classes": list(classes), "positive": positive}
        ),
        "label_level": label_level,
        "n_resamples": config.n_resamples,
        "alpha": config.alpha,
        "seed": config.seed,
        **({} if is_number else {"specificity": config.specificity}),
        "splits": {
            split: _evaluate_split(predictions, split, label_level, positive, config)
            for split in splits
        },
    }


def require_positive(classes: Sequence[str], positive: str | None) -> str | None:
    """Return the positive class: the one named, else :func:`default_positive`.

    Args:
        classes: Class names.
        positive: One of two classes, or None.

    Raises:
        ConfigError: If it is none of two classes, or there are fewer than two.
    """
    if len(classes) < 2:
        raise ConfigError(
            f"a classification needs at least 2 classes. Received: {list(classes)}.",
            hint="Check the target column.",
        )
    if positive is None:
        return default_positive(classes)
    if positive not in classes or len(classes) != 2:
        raise ConfigError(
            f"`positive` names one of two classes. Received: positive={positive!r}, "
            f"classes {list(classes)}.",
            hint="With more than two classes leave it out: each is set against the others.",
        )
    return positive


def refuse_positive(positive: str | None) -> None:
    """Refuse a positive class where a number is predicted.

    Raises:
        ConfigError: If there is one.
    """
    if positive is not None:
        raise ConfigError(
            f"`positive` names a class, and regression has none. Received: positive={positive!r}",
            hint="Leave `--positive` out.",
        )


def _without_split(predictions: Predictions) -> bool:
    return not (text_column(predictions.slides, SPLIT) != "").any()


def _evaluate_split(
    predictions: Predictions,
    split: str,
    label_level: str,
    positive: str | None,
    config: EvaluationConfig,
) -> dict[str, Any]:
    levels = {
        level: _evaluate_level(predictions, split, level, label_level, positive, config)
        for level in reversed(LEVELS)
    }
    main = next((level for level, figures in levels.items() if figures["evaluated"]), None)
    if main is not None and split in _JUDGED:
        found = level_units(predictions, split, main)
        if not isinstance(found, str):
            levels[main] |= strata_figures(
                found[0], predictions.classes, positive=positive, config=config
            )
    return levels


def _evaluate_level(
    predictions: Predictions,
    split: str,
    level: str,
    label_level: str,
    positive: str | None,
    config: EvaluationConfig,
) -> dict[str, Any]:
    if LEVELS.index(level) < LEVELS.index(label_level):
        return not_evaluated(f"labels stand at the {label_level} level")
    found = level_units(predictions, split, level)
    if isinstance(found, str):
        return not_evaluated(found)
    units, folds = found
    if predictions.task == REGRESSION:
        return evaluate_numbers(units, folds, config=config)
    metrics = evaluate_units(units, predictions.classes, positive=positive, config=config)
    if metrics["evaluated"]:
        metrics["folds"] = _of_folds(units, folds, predictions.classes, positive)
    return metrics


def curves_of_levels(
    predictions: Predictions,
    metrics: Mapping[str, Any],
    split: str = "test",
    *,
    config: EvaluationConfig | None = None,
) -> dict[str, Any]:
    """Return ROC, precision-recall and reliability curves of each level that has figures.

    Args:
        predictions: What ``metrics`` were computed from.
        metrics: Of :func:`evaluate_levels`.
        split: Which part; a part without figures gives no curves.
        config: Seed of the bands; the defaults if None.

    Returns:
        Level -> what :func:`~histokeras.analysis.curves.level_curves` returns; nothing for
        predicted numbers, which have none.
    """
    curves: dict[str, Any] = {}
    if predictions.task == REGRESSION:
        return curves
    for level, figures in metrics["splits"].get(split, {}).items():
        found = level_units(predictions, split, level) if figures["evaluated"] else ""
        if not isinstance(found, str):
            curves[level] = level_curves(
                found[0],
                predictions.classes,
                positive=metrics["positive"],
                config=config or EvaluationConfig(),
            )
    return curves


def level_units(predictions: Predictions, split: str, level: str) -> tuple[Units, Ints] | str:
    """Return the units of one level and split with the fold of each, or why there are none."""
    key = "" if split == ALL else split
    if level == "tile":
        tiles = predictions.tiles.get(key)
        if tiles is None:
            return f"no tiles in the split {split}"
        others = {name: other.tiles[key].probs for name, other in predictions.others.items()}
        scores: dict[str, AnyFloats] = {_MAIN[predictions.task][0]: tiles.probs}
        units = Units(
            level=level,
            targets=tiles.targets,
            scores=scores,
            patients=tiles.patients,
            raw=_raw(others, PROBABILITY),
            baselines=_baselines(others),
            categories=_of_tiles(predictions, tiles.patients),
        )
        return units, tiles.folds.astype(np.int64)
    table = _table(predictions, level)
    known = text_column(table, SLIDE_ID if level == "slide" else PATIENT_ID) != ""
    if not known.any():
        return f"no {level} ids are known"
    rows = known & (text_column(table, SPLIT) == key)
    if not rows.any():
        return f"no {level}s in the split {split}"
    means = {
        name: KINDS[other.task].matrix(
            _table(other, level)[rows], other.classes, name=f"{level} table"
        )
        for name, other in predictions.others.items()
    }
    return _units_of_table(table[rows], level, predictions, means), fold_numbers(table[rows])


def _table(predictions: Predictions, level: str) -> pd.DataFrame:
    return predictions.slides if level == "slide" else predictions.patients


def _raw(others: Mapping[str, AnyFloats], aggregation: str) -> dict[str, AnyFloats]:
    return {aggregation: others[RAW]} if RAW in others else {}


def _baselines(others: Mapping[str, AnyFloats]) -> dict[str, AnyFloats]:
    return {name: scores for name, scores in others.items() if name != RAW}


def _units_of_table(
    table: pd.DataFrame, level: str, predictions: Predictions, others: Mapping[str, AnyFloats]
) -> Units:
    names, codes = np.unique(text_column(table, PATIENT_ID).astype(str), return_inverse=True)
    # The empty name sorts first: it stands for "unknown" and becomes -1.
    codes = codes - int(names[0] == "")
    kind, classes, name = KINDS[predictions.task], predictions.classes, f"{level} table"
    main = _MAIN[predictions.task][0 if predictions.of_bags else 1]
    scores = {main: kind.matrix(table, classes, name=name)}
    if SHARE in kind.pooled and not predictions.of_bags:
        scores[SHARE_OF_TILES] = score_matrix(table, classes, prefix=SHARE, name=name)
    return Units(
        level=level,
        targets=kind.targets(text_column(table, LABEL), classes),
        scores=scores,
        patients=codes if (codes >= 0).any() else None,
        n_mixed=int(table[MIXED_LABELS].to_numpy(np.bool_).sum()),
        raw=_raw(others, main),
        baselines=_baselines(others),
        categories=_of_patients(predictions, text_column(table, PATIENT_ID)),
    )


def _of_patients(predictions: Predictions, patients: Iterable[str]) -> dict[str, list[str]]:
    """Return tumour type and site of the patient of each unit."""
    ids = [str(patient) for patient in patients]
    return {
        name: [of_patient.get(patient, "") for patient in ids]
        for name, of_patient in predictions.categories.items()
    }


def _of_tiles(predictions: Predictions, patients: AnyInts | None) -> dict[str, list[str]]:
    if patients is None:
        return {}
    # Tiles number patients in the order of all ids; -1, unknown, finds the empty one at the end.
    ids = sorted(set(text_column(predictions.patients, PATIENT_ID)) - {""})
    return {
        name: np.array([*values, ""], dtype=object)[patients].tolist()
        for name, values in _of_patients(predictions, ids).items()
    }


def _of_folds(
    units: Units, folds: Ints, classes: Sequence[str], positive: str | None
) -> list[dict[str, Any]] | None:
    """Return the figures of each test fold alone, without intervals; None without folds.

    Folds share training patients: their spread is no interval, and they stand beside the pooled
    figure, not in its place.
    """
    labelled = units.targets >= 0
    if not (folds[labelled] >= 0).any():
        return None
    scores = next(iter(units.scores.values()))
    rows: list[dict[str, Any]] = []
    for fold in np.unique(folds[labelled]).tolist():
        mine = labelled & (folds == fold)
        numbers = np.arange(int(mine.sum()), dtype=np.int64)
        figures = headline_figures(
            units.targets[mine], scores[mine], numbers, classes, positive=positive
        )
        values = figures.of_counts(np.ones((1, len(numbers))))[0]
        named = dict(zip(figures.names, values.tolist(), strict=True))
        known = {name: named[name] if np.isfinite(named[name]) else None for name in _OF_A_FOLD}
        rows.append({"fold": int(fold), "n": len(numbers), **known})
    return rows
