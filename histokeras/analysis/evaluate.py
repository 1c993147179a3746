"""All figures of a run: at the level of its labels and above, patients first, with intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.aggregate import MIXED_LABELS, SHARE, score_matrix, text_column
from histokeras.analysis.collect import Predictions, TileScores, class_numbers
from histokeras.analysis.units import EvaluationConfig, Units, evaluate_units, not_evaluated
from histokeras.errors import ConfigError
from histokeras.types import LABEL, LEVELS, PATIENT_ID, SLIDE_ID, SPLIT

PROBABILITY = "probability"
MEAN_PROBABILITY = "mean_probability"
SHARE_OF_TILES = "share_of_tiles"
ALL = "all"
"""Key of the only part of predictions that bear no split."""

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
        alpha seed`` and ``splits`` -> split -> level -> ``evaluated``, and ``reason`` or counts and
        ``aggregations`` -> name -> ``auc auc_of auc_per_class balanced_accuracy accuracy f1_macro
        f1_per_class``. Each figure is an :class:`~histokeras.analysis.bootstrap.Estimate`.

    Raises:
        ConfigError: If ``positive`` is none of two classes, or there are fewer than two.
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
    positive = require_positive(classes, positive)
    splits = [ALL] if _without_split(predictions) else config.splits
    return {
        "classes": list(classes),
        "positive": positive,
        "label_level": label_level,
        "n_resamples": config.n_resamples,
        "alpha": config.alpha,
        "seed": config.seed,
        "splits": {
            split: {
                level: _evaluate_level(predictions, split, level, label_level, positive, config)
                for level in reversed(LEVELS)
            }
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


def _without_split(predictions: Predictions) -> bool:
    return not (text_column(predictions.slides, SPLIT) != "").any()


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
    key = "" if split == ALL else split
    if level == "tile":
        scores = predictions.tiles.get(key)
        units = None if scores is None else _units_of_tiles(scores)
    else:
        table = predictions.slides if level == "slide" else predictions.patients
        id_column = SLIDE_ID if level == "slide" else PATIENT_ID
        table = table[text_column(table, id_column) != ""]
        if not len(table):
            return not_evaluated(f"no {level} ids are known")
        table = table[text_column(table, SPLIT) == key]
        units = _units_of_table(table, level, predictions.classes) if len(table) else None
    if units is None:
        return not_evaluated(f"no {level}s in the split {split}")
    return evaluate_units(units, predictions.classes, positive=positive, config=config)


def _units_of_tiles(tiles: TileScores) -> Units:
    return Units(
        level="tile",
        targets=tiles.targets,
        scores={PROBABILITY: tiles.probs},
        patients=tiles.patients,
    )


def _units_of_table(table: pd.DataFrame, level: str, classes: Sequence[str]) -> Units:
    names, codes = np.unique(text_column(table, PATIENT_ID).astype(str), return_inverse=True)
    # The empty name sorts first: it stands for "unknown" and becomes -1.
    codes = codes - int(names[0] == "")
    return Units(
        level=level,
        targets=class_numbers(text_column(table, LABEL), classes),
        scores={
            MEAN_PROBABILITY: score_matrix(table, classes, name=f"{level} table"),
            SHARE_OF_TILES: score_matrix(table, classes, prefix=SHARE, name=f"{level} table"),
        },
        patients=codes if (codes >= 0).any() else None,
        n_mixed=int(table[MIXED_LABELS].to_numpy(np.bool_).sum()),
    )
