"""Fit a study: a head and its baselines a fold, predictions of every tile, figures and curves."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.baselines import MAJORITY
from histokeras.analysis.collect import Predictions
from histokeras.analysis.compare import FROZEN, MEAN, POOLED, POOLED_SHARE
from histokeras.analysis.evaluate import curves_of_levels
from histokeras.analysis.metrics import predicted_classes
from histokeras.analysis.risk_baselines import RiskBaselines
from histokeras.analysis.saved import figures
from histokeras.analysis.units import EvaluationConfig
from histokeras.cohort.categories import patient_categories
from histokeras.cohort.split_table import apply_split
from histokeras.features.index import FeatureIndex
from histokeras.files import canonical_json, prepare_folder, sha256_text, write_csv, write_json
from histokeras.models.catalog import BAG_HEADS, DEFAULT_HEAD, HEAD_RATES
from histokeras.models.model_file import write_head
from histokeras.runs.environment import versions
from histokeras.training.bags import open_tiles
from histokeras.training.duplicates import Duplicates, find_duplicates
from histokeras.training.fit_job import CATEGORY, FitJob, Study
from histokeras.training.head import HeadConfig, Labelled
from histokeras.training.loop import FitConfig, OnEpoch, Resume
from histokeras.training.references import baseline_probabilities, label_weights
from histokeras.training.results import Predicted, write_predictions
from histokeras.training.rows import TileRows, tile_rows
from histokeras.training.site_probe import probe_study
from histokeras.training.tasks import TASKS, AnyBaselines, Fitted
from histokeras.training.vectors import Vectors
from histokeras.types import ATTENTION, CLASSIFICATION, FOLD, PATIENT_ID, SPLIT, SPLITS

CHECKPOINTS = "checkpoints"
"""Folder of a run that is not finished: what its trainings are resumed from, one file each."""
HEAD = "head"
_DECISIVE = ("histokeras", "tensorflow", "keras", "numpy")


@dataclass(frozen=True)
class Fold:
    """One fitted head and its baselines.

    Attributes:
        number: Of the fold; None without cross-validation.
        fitted: The head.
        baselines: Fitted to the same tiles.
        frozen: Features of the same tiles before fine-tuning, and the head fitted on them; None
            where nothing was fine-tuned.
        pooled: Beside a head of bags, a linear head of their tiles, whose probabilities are
            averaged; None beside others.
    """

    number: int | None
    fitted: Fitted
    baselines: AnyBaselines | RiskBaselines
    frozen: tuple[FeatureIndex, Fitted] | None = None
    pooled: Fitted | None = None


FitFold = Callable[["Study", FitJob, TileRows, int | None], Fold]


@dataclass(frozen=True)
class FitResult:
    """What a fit gave.

    Attributes:
        folds: One head, or one a fold.
        predicted: Every tile with its probabilities; of the test folds with cross-validation.
        predictions: The same, aggregated to slides and patients.
        metrics: What stands in metrics.json.
        curves: What stands in curves.json.
        duplicates: Tiles that occur under two patients, or on two sides of the split.
        index: The features that were evaluated.
    """

    folds: Sequence[Fold]
    predicted: Predicted
    predictions: Predictions
    metrics: dict[str, Any]
    curves: dict[str, Any]
    duplicates: Duplicates
    index: FeatureIndex


def fit_study(
    study: Study,
    job: FitJob,
    folder: Path | None = None,
    *,
    fit_fold: FitFold | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> FitResult:
    """Fit the head, or one a fold, predict every tile and compute the figures.

    Args:
        study: From :func:`prepare_study`.
        job: What to learn.
        folder: Where to write heads and predictions; None to write nothing.
        fit_fold: How a fold is fitted; the head and baselines on the features if None.
        say: Called with a line when a checkpoint in ``folder`` is taken up, or cannot be.
    """
    fit_fold = fit_fold or functools.partial(_fit_fold, folder=folder, say=say)
    positive = TASKS[job.task].positive(study.cohort, job.positive_class)
    note = study.joined.note or study.split.note
    folds: list[Fold] = []
    parts: list[Predicted] = []
    for number in range(study.split.folds) if study.split.folds else [None]:
        rows = rows_of(study, number)
        fold = fit_fold(study, job, rows, number)
        scored = rows if number is None else rows.on_side("test")
        parts.append(_predict(study, job, fold, scored, patient_safe=not note))
        folds.append(fold)
        if folder is not None:
            names = TASKS[job.task].names(study.cohort, positive)
            write_fold(folder, study, job, fold, names, note)
    predicted = pooled(parts)
    patients = predicted.rows.units[PATIENT_ID]
    predictions = dataclasses.replace(
        predicted.collect(keep_tiles=study.cohort.level == "tile"),
        categories=patient_categories(patients, categories_of(predicted.rows)),
    )
    present = set(predicted.rows.units[SPLIT].iloc[np.unique(predicted.rows.unit)])
    config = EvaluationConfig(
        n_resamples=job.n_resamples,
        seed=job.head.fit.seed,
        splits=tuple(side for side in reversed(SPLITS[1:]) if side in present),
        patient_safe=not note,
        specificity=job.specificity,
        is_floor=study.index.is_floor,
    )
    metrics = figures(predictions, study.cohort.level, positive=positive, note=note, config=config)
    probe = probe_study(study, predicted.rows, n_resamples=job.n_resamples, seed=job.head.fit.seed)
    if probe is not None:
        metrics["site_probe"] = probe
    curves = curves_of_levels(predictions, metrics, config=config)
    duplicates = find_duplicates(
        study.index, predicted.rows, patient_safe=not note, seed=job.head.fit.seed
    )
    if folder is not None:
        write_predictions(folder, study.index, predicted)
    return FitResult(folds, predicted, predictions, metrics, curves, duplicates, study.index)


def rows_of(study: Study, number: int | None) -> TileRows:
    """Return the tiles that are used, with their sides of the split, or those of a fold."""
    placed, _ = apply_split(study.joined.units, study.split, number)
    if number is not None:
        placed = placed.assign(**{FOLD: str(number)})
    return tile_rows(study.index, placed, TASKS[study.cohort.task].classes(study.cohort))


def categories_of(rows: TileRows) -> dict[str, list[str]]:
    """Return tumour type and site of each unit, as far as they are known."""
    return {
        str(name).removeprefix(CATEGORY): values.tolist()
        for name, values in rows.units.items()
        if str(name).startswith(CATEGORY)
    }


def _fit_fold(
    study: Study,
    job: FitJob,
    rows: TileRows,
    number: int | None,
    *,
    folder: Path | None,
    say: Callable[[str], None],
) -> Fold:
    name = HEAD if number is None else f"fold-{number}"
    resume = None if folder is None else resume_of(folder, name, study.inputs, say)
    fitted = fit_fold_head(study, job, rows, number, resume)
    pooled = None
    if job.head.head in BAG_HEADS:
        linear = HeadConfig(
            class_weight=job.head.class_weight,
            fit=FitConfig(learning_rate=HEAD_RATES[DEFAULT_HEAD], seed=job.head.fit.seed),
        )
        pooled = fit_fold_head(study, dataclasses.replace(job, head=linear), rows, number)
    return Fold(number, fitted, fit_fold_baselines(study, job, rows, number), pooled=pooled)


def open_rows(study: Study, job: FitJob, rows: TileRows) -> Vectors:
    """Return the vectors of tiles, in bags where the job's head is one of bags."""
    key = study.cohort.key if job.head.head in BAG_HEADS else None
    return open_tiles(study.index, rows, memory_gb=job.memory_gb, bag_key=key)


def fit_fold_baselines(
    study: Study, job: FitJob, rows: TileRows, number: int | None = None
) -> AnyBaselines:
    """Fit the baselines of a split or fold."""
    seed = job.head.fit.seed + (number or 0)
    task = TASKS[study.cohort.task]
    return task.fit_baselines(study.index, rows, study.cohort, categories_of(rows), seed)


def resume_of(
    folder: Path, name: str, inputs: Mapping[str, Any], say: Callable[[str], None]
) -> Resume:
    """Return where a training is taken up, also one that had ended.

    Args:
        folder: The run folder.
        name: Of the training, within the run.
        inputs: What decides it.
        say: Called with a line when a checkpoint is taken up, or cannot be.
    """
    known = versions()
    # Another version may build, weigh or draw otherwise.
    decisive = {name: known.get(name) for name in _DECISIVE}
    key = canonical_json({"inputs": inputs, "name": name, "versions": decisive})
    path = prepare_folder(folder / CHECKPOINTS) / f"{name}.safetensors"
    return Resume(path, sha256_text(key), say)


def fit_fold_head(
    study: Study,
    job: FitJob,
    rows: TileRows,
    number: int | None = None,
    resume: Resume | None = None,
    on_epoch: OnEpoch = lambda row: None,
) -> Fitted:
    """Fit the head of a split or fold on the features."""
    sides = {}
    for side in ("train", "val"):
        part = rows.on_side(side)
        vectors = open_rows(study, job, part)
        weights = label_weights(part, study.cohort.key)
        sides[side] = Labelled(vectors, part.target, weights)
    seed = job.head.fit.seed + (number or 0)
    config = dataclasses.replace(job.head, fit=dataclasses.replace(job.head.fit, seed=seed))
    fit = TASKS[study.cohort.task].fit
    return fit(sides["train"], sides["val"], study.cohort, config, resume, on_epoch)


def _predict(
    study: Study, job: FitJob, fold: Fold, rows: TileRows, *, patient_safe: bool
) -> Predicted:
    vectors = open_rows(study, job, rows)
    scores = fold.fitted.scores(vectors)
    own, attention = scores.pop(next(iter(scores))), scores.pop(ATTENTION, None)
    # Those of risks are applied to patients, in ``survival_study``.
    assert not isinstance(fold.baselines, RiskBaselines)
    others = {
        **scores,
        **baseline_probabilities(fold.baselines, study.index, rows, categories_of(rows)),
    }
    if fold.frozen is not None:
        index, head = fold.frozen
        before = open_tiles(index, rows, memory_gb=job.memory_gb)
        others[FROZEN] = next(iter(head.scores(before).values()))
    if fold.pooled is not None:
        of_tiles = next(iter(fold.pooled.scores(vectors).values()))
        # A tile counts for its first class: the mean over tiles is the share of tiles.
        first = np.eye(of_tiles.shape[1], dtype=np.float32)[predicted_classes(of_tiles)]
        others |= {POOLED: of_tiles, POOLED_SHARE: first}
    cohort = study.cohort
    return Predicted(rows, own, cohort.outputs, others, patient_safe, cohort.task, attention)


def pooled(parts: Sequence[Predicted]) -> Predicted:
    """Pool the test predictions of all folds, each tile once, in the order of the files."""
    if len(parts) == 1:
        return parts[0]
    units = [part.rows.units for part in parts]
    offsets = np.cumsum([0, *(len(table) for table in units)])
    file, row, unit, target = (
        np.concatenate([getattr(part.rows, name) for part in parts])
        for name in ("file", "row", "unit", "target")
    )
    unit = unit + np.repeat(offsets[:-1], [len(part.rows) for part in parts])
    order = np.lexsort((row, file))
    joined = TileRows(
        file[order], row[order], unit[order], target[order], pd.concat(units, ignore_index=True)
    )
    # A baseline that one fold could not fit is none of the whole.
    names = [name for name in parts[0].others if all(name in part.others for part in parts)]
    others = {name: np.concatenate([part.others[name] for part in parts])[order] for name in names}
    # It ranks nobody. Another class (or mean) in each fold would look like a ranking.
    for name in {MAJORITY, MEAN} & set(others):
        others[name] = np.broadcast_to(others[name].mean(0), others[name].shape)
    found = [part.attention for part in parts if part.attention is not None]
    attention = found if len(found) == len(parts) else None
    return Predicted(
        joined,
        np.concatenate([part.probabilities for part in parts])[order],
        parts[0].classes,
        others,
        parts[0].patient_safe,
        parts[0].task,
        None if attention is None else np.concatenate(attention)[order],
    )


def write_fold(
    folder: Path, study: Study, job: FitJob, fold: Fold, names: Mapping[str, Any], note: str
) -> None:
    """Write the head of a fold, its baselines and its training curve.

    Args:
        folder: The run folder.
        study: What was learned from.
        job: How.
        fold: What came of it.
        names: What the card says of the task: ``classes``, ``positive`` or ``task``.
        note: "" or why the split is not patient-safe.
    """
    place = folder if fold.number is None else folder / "folds" / str(fold.number)
    prepare_folder(place / "head")
    write_csv(place / "history.csv", fold.fitted.history)
    # Before the card, which says that the head is complete.
    write_json(place / "head" / "baselines.json", fold.baselines.as_json())
    card = {
        "head": job.head.head,
        "n_features": study.index.n_features,
        **names,
        # What a column of predictions is called after must be the column's own name.
        "target": job.target if job.task == CLASSIFICATION else study.cohort.target,
        "level": study.cohort.level,
        **job.grouping,
        **study.tiles_mpp,
        "note": note,
        **fold.fitted.facts(),
        "features": study.index.settings,
        "training": job.head_options,
        "split_sha256": study.split.digest,
        "fold": fold.number,
        "n_folds": study.split.folds,
    }
    write_head(place / "head", fold.fitted.model, card)
