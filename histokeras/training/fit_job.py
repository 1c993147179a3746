"""``fit-head`` as a whole: labels, patients and split to features; heads, predictions, figures."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.bootstrap import N_RESAMPLES
from histokeras.analysis.collect import Predictions
from histokeras.analysis.evaluate import require_positive
from histokeras.analysis.saved import figures
from histokeras.analysis.tables import write_tables
from histokeras.analysis.units import EvaluationConfig
from histokeras.cohort.join import Joined, join_labels
from histokeras.cohort.labels import Cohort, read_cohort
from histokeras.cohort.split import SHARES, split_patients, split_units
from histokeras.cohort.split_file import read_split, split_text
from histokeras.cohort.split_table import Split, apply_split
from histokeras.errors import ConfigError, FeatureError
from histokeras.features.index import FeatureIndex, index_features
from histokeras.files import (
    canonical_json,
    prepare_folder,
    remove,
    sha256_text,
    write_csv,
    write_json,
    write_text,
)
from histokeras.models.model_file import write_head
from histokeras.runs.record import (
    RunRecord,
    read_outcomes,
    read_record,
    require_own_folder,
    write_failures,
)
from histokeras.slides.inventory import slide_patients
from histokeras.training.head import FittedHead, HeadConfig, Labelled, fit_classifier
from histokeras.training.results import Predicted, write_predictions
from histokeras.training.rows import TileRows, tile_rows
from histokeras.training.vectors import open_vectors
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, SPLIT, SPLITS

_OUTPUTS = ("head", "folds", "predictions", "history.csv", "metrics.json", "slides.csv",
            "patients.csv", "split.csv", "dropped.csv")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """What to learn from what.

    Attributes:
        features: Folder of feature files.
        labels: Table of labels; None for those the ready-made tiles came with.
        target: Its column.
        positive: Of two classes the positive one.
        slide_table: Table with slide_id and patient_id.
        split: A split file; None to split here.
        shares: Percent of train, val and test, if split here.
        folds: Number of folds for cross-validation, if split here.
        stratify: Further columns to balance, if split here.
        patients_unknown: Accept slides or tiles without patients.
        head: Which head, how trained.
        memory_gb: Features beyond this are streamed.
        n_resamples: Resamples behind each interval.
    """

    features: Path
    labels: Path | None = None
    target: str = LABEL
    positive: str | None = None
    slide_table: Path | None = None
    split: Path | None = None
    shares: tuple[float, float, float] = SHARES
    folds: int | None = None
    stratify: Sequence[str] = ()
    patients_unknown: bool = False
    head: HeadConfig = field(default_factory=HeadConfig)
    memory_gb: float = 4.0
    n_resamples: int = N_RESAMPLES


@dataclass(frozen=True)
class Study:
    """Features, labels and split, joined: all that fitting needs.

    Attributes:
        index: The feature files.
        cohort: The labels.
        joined: Slides or tiles with patient and label.
        split: Who is on which side.
        dropped: Every row, slide or tile that is not used, with the reason.
        inputs: Digests of features, labels and split, and the settings: what decides the result.
    """

    index: FeatureIndex
    cohort: Cohort
    joined: Joined
    split: Split
    dropped: pd.DataFrame
    inputs: dict[str, Any]


@dataclass(frozen=True)
class Fold:
    """One fitted head and its history; ``number`` is None without cross-validation."""

    number: int | None
    fitted: FittedHead


@dataclass(frozen=True)
class FitResult:
    """What a fit gave.

    Attributes:
        folds: One head, or one a fold.
        predictions: Slides and patients, of the test folds with cross-validation.
        metrics: What stands in metrics.json.
    """

    folds: Sequence[Fold]
    predictions: Predictions
    metrics: dict[str, Any]


def prepare_study(job: FitJob) -> Study:
    """Read labels, join them to the features and split the patients.

    Args:
        job: What to learn.

    Raises:
        TableError: If tables do not fit each other or the features.
        LeakageError: If a patient lies on two sides of the split.
        FeatureError: If the features do not belong together.
        ConfigError: If options contradict each other.
    """
    index = index_features(job.features)
    source: Any = job.labels if job.labels is not None else index.own_labels()
    cohort = read_cohort(source, target=job.target if job.labels is not None else LABEL)
    # Before hours of work, not after them.
    require_positive(cohort.classes, job.positive)
    joined = join_labels(
        index.units(),
        cohort,
        slide_patients=slide_patients(job.slide_table),
        slides=_slides_without_features(job.features, index),
        patients_unknown=job.patients_unknown,
    )
    split = _split(job, cohort, joined)
    placed, outside = apply_split(joined.units, split, 0 if split.folds else None)
    joined.funnel["used"] = placed[PATIENT_ID].nunique()
    inputs = {
        "features": index.digest,
        "labels": sha256_text(joined.units.to_csv(index=False)),
        "level": cohort.level,
        "classes": cohort.classes,
        # Streamed vectors come in another order than those held in memory.
        "streamed": job.memory_gb if _is_large(index, job.memory_gb) else 0,
        "split": split.digest,
        "head options": job.head.as_dict(),
        "positive": job.positive,
        "n_resamples": job.n_resamples,
    }
    failed = pd.DataFrame(
        {"kind": "slide", "id": list(index.failed), "reason": "failed in extract-features"}
    )
    parts = [table for table in (failed, joined.dropped, outside) if len(table)]
    dropped = pd.concat(parts, ignore_index=True) if parts else failed
    return Study(index, cohort, joined, split, dropped, inputs)


def _is_large(index: FeatureIndex, memory_gb: float) -> bool:
    return 4 * sum(index.n_tiles) * index.n_features > memory_gb * 1e9


def _slides_without_features(folder: Path, index: FeatureIndex) -> list[str]:
    if index.tiles is not None or not folder.is_dir():
        return []
    return sorted(set(read_outcomes(folder)) - set(index.names))


def _split(job: FitJob, cohort: Cohort, joined: Joined) -> Split:
    if job.split is not None:
        if job.folds is not None:
            raise ConfigError(
                "`--split` and `--cv` exclude each other: a split file has its folds."
            )
        split = read_split(job.split)
        if split.note and not job.patients_unknown:
            raise ConfigError(
                f"the split {job.split.name} is {split.note}.",
                code="PATIENT_UNKNOWN",
                hint="Make one by patient, or accept it with --patients-unknown.",
            )
        return split
    how: dict[str, Any] = {"shares": job.shares, "seed": job.head.fit.seed, "folds": job.folds}
    if job.stratify:
        # Only the label table has the further columns: split it, as `histokeras split` does.
        return split_patients(
            cohort, stratify=tuple(job.stratify), patients_unknown=job.patients_unknown, **how
        )
    return split_units(joined, target=job.target, **how)


def fit_study(study: Study, job: FitJob, folder: Path | None = None) -> FitResult:
    """Fit the head, or one a fold, predict every tile and compute the figures.

    Args:
        study: From :func:`prepare_study`.
        job: What to learn.
        folder: Where to write heads and predictions; None to write nothing.
    """
    classes = study.cohort.classes
    positive = require_positive(classes, job.positive)
    note = study.joined.note or study.split.note
    folds: list[Fold] = []
    parts: list[tuple[TileRows, np.ndarray[Any, Any]]] = []
    for number in range(study.split.folds) if study.split.folds else [None]:
        placed, _ = apply_split(study.joined.units, study.split, number)
        rows = tile_rows(study.index, placed, {name: i for i, name in enumerate(classes)})
        fitted = _fit_fold(study, job, rows, number)
        scored = rows if number is None else rows.on_side("test")
        vectors = open_vectors(
            scored.parts(study.index), study.index.n_features, memory_gb=job.memory_gb
        )
        parts.append((scored, fitted.predict_proba(vectors)))
        folds.append(Fold(number, fitted))
        if folder is not None:
            _write_fold(folder, study, job, folds[-1], positive, note)
    predicted = _pooled(parts, classes, patient_safe=not note)
    predictions = predicted.collect(keep_tiles=study.cohort.level == "tile")
    present = set(predicted.rows.units[SPLIT].iloc[np.unique(predicted.rows.unit)])
    config = EvaluationConfig(
        n_resamples=job.n_resamples,
        seed=job.head.fit.seed,
        splits=tuple(side for side in reversed(SPLITS[1:]) if side in present),
        patient_safe=not note,
    )
    metrics = figures(predictions, study.cohort.level, positive=positive, note=note, config=config)
    if folder is not None:
        write_predictions(folder, study.index, predicted)
    return FitResult(folds, predictions, metrics)


def _fit_fold(study: Study, job: FitJob, rows: TileRows, number: int | None) -> FittedHead:
    sides = {}
    for side in ("train", "val"):
        part = rows.on_side(side)
        vectors = open_vectors(
            part.parts(study.index), study.index.n_features, memory_gb=job.memory_gb
        )
        sides[side] = Labelled(vectors, part.target)
    fit = dataclasses.replace(job.head.fit, seed=job.head.fit.seed + (number or 0))
    config = dataclasses.replace(job.head, fit=fit)
    return fit_classifier(sides["train"], sides["val"], study.cohort.classes, config)


def _pooled(
    parts: Sequence[tuple[TileRows, Any]], classes: Sequence[str], *, patient_safe: bool
) -> Predicted:
    """Pool the test predictions of all folds, each tile once, in the order of the files."""
    units = [rows.units for rows, _ in parts]
    offsets = np.cumsum([0, *(len(table) for table in units)])
    file, row, unit, target = (
        np.concatenate([getattr(rows, name) for rows, _ in parts])
        for name in ("file", "row", "unit", "target")
    )
    unit = unit + np.repeat(offsets[:-1], [len(rows) for rows, _ in parts])
    order = np.lexsort((row, file))
    pooled = TileRows(
        file[order], row[order], unit[order], target[order], pd.concat(units, ignore_index=True)
    )
    probabilities = np.concatenate([values for _, values in parts])[order]
    return Predicted(pooled, probabilities, classes, patient_safe)


def _write_fold(
    folder: Path, study: Study, job: FitJob, fold: Fold, positive: str | None, note: str
) -> None:
    place = folder if fold.number is None else folder / "folds" / str(fold.number)
    prepare_folder(place)
    write_csv(place / "history.csv", fold.fitted.history)
    card = {
        "head": job.head.head,
        "n_features": study.index.n_features,
        "classes": list(fold.fitted.classes),
        "positive": positive,
        "target": job.target,
        "level": study.cohort.level,
        "note": note,
        "features": study.index.settings,
        "training": job.head.as_dict(),
        "split_sha256": study.split.digest,
        "fold": fold.number,
        "n_folds": study.split.folds,
    }
    write_head(place / "head", fold.fitted.model, card)


def run_fit(
    job: FitJob, study: Study, folder: Path, *, config: dict[str, Any], overwrite: bool = False
) -> dict[str, Any] | None:
    """Fit a study into a run folder.

    Args:
        job: What to learn.
        study: From :func:`prepare_study`.
        folder: The run folder.
        config: The resolved options, for run.json.
        overwrite: Whether another run may be replaced.

    Returns:
        The figures; None if this very run stands there already, finished.

    Raises:
        FeatureError: If another run stands there (CONFIG_MISMATCH).
        ConfigError: If something else stands there.
        OutputError: If it cannot be written.
    """
    require_own_folder(folder, ("fit-head",), _OUTPUTS)
    if not overwrite and _is_done(folder, study.inputs):
        return None
    prepare_folder(folder)
    # Nothing of an earlier run may be taken for a part of this one.
    remove(folder, _OUTPUTS)
    record = RunRecord("fit-head", config)
    record.facts = {
        "inputs": study.inputs,
        "note": study.joined.note or study.split.note,
        "features": {"settings": study.index.settings, "sha256": study.index.digest},
        "labels": {"level": study.cohort.level, "classes": list(study.cohort.classes)},
        "split": {"signed": study.split.signed, "sha256": study.split.digest, **study.split.meta},
        "funnel": study.joined.funnel,
        "n_dropped": len(study.dropped),
    }
    record.slides = _slides(study)
    record.write(folder, status="running")
    write_csv(folder / "dropped.csv", study.dropped)
    write_failures(folder, [])
    write_text(folder / "split.csv", split_text(study.split))
    status = "interrupted"
    try:
        result = fit_study(study, job, folder)
        write_tables(folder, result.predictions)
        write_json(folder / "metrics.json", result.metrics)
        status = "done"
    finally:
        record.write(folder, status=status)
    return result.metrics


def _slides(study: Study) -> list[dict[str, Any]]:
    """Return the outcome of each slide; ready-made tiles have none, see dropped.csv."""
    if study.index.tiles is not None:
        return []
    placed, _ = apply_split(study.joined.units, study.split, 0 if study.split.folds else None)
    used = set(placed[SLIDE_ID])
    return [
        {"slide": name, "outcome": "used" if name in used else "dropped", "tiles": n}
        for name, n in zip(study.index.names, study.index.n_tiles, strict=True)
    ]


def _is_done(folder: Path, inputs: Mapping[str, Any]) -> bool:
    known = read_record(folder)
    if not known:
        return False
    # As JSON has them: tuples are lists there.
    before, now = known.get("inputs") or {}, json.loads(canonical_json(inputs))
    if before != now:
        keys = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        raise FeatureError(
            f"{folder} holds another run: other {', '.join(keys)}.",
            code="CONFIG_MISMATCH",
            hint="Choose a new output folder, or give --overwrite.",
        )
    return bool(known.get("status") == "done") and (folder / "metrics.json").is_file()
