"""Fit a study of survival: a head and its baselines a fold, risks of tiles and patients, figures.

The counterpart of ``fit_study``: what is labelled, learned and judged is the patient.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.collect import Predictions
from histokeras.analysis.compare import CLINICAL, COLOUR, FLOOR, IMAGE
from histokeras.analysis.metrics import Bools, Floats, Ints
from histokeras.analysis.risk_baselines import encoded, fit_risk_baselines
from histokeras.analysis.risk_units import HIGH, LOW, Risks, evaluate_risks, group_curves
from histokeras.analysis.units import EvaluationConfig
from histokeras.cohort.categories import patient_categories
from histokeras.cohort.clinical_values import clinical_values
from histokeras.cohort.outcome_labels import outcomes
from histokeras.cohort.split_table import apply_split
from histokeras.features.index import FeatureIndex
from histokeras.tiles.texture import N_COLOUR
from histokeras.training.bags import BagVectors, in_bags
from histokeras.training.duplicates import find_duplicates
from histokeras.training.fit_job import FitJob, Study
from histokeras.training.fit_study import (
    HEAD,
    FitResult,
    Fold,
    categories_of,
    pooled,
    resume_of,
    write_fold,
)
from histokeras.training.multimodal import ClinicalPart, clinical_part, of_patients
from histokeras.training.references import read_floor
from histokeras.training.results import Predicted, write_predictions
from histokeras.training.risk_head import FittedRisk, Followed, fit_risk
from histokeras.training.rows import TileRows, tile_rows
from histokeras.training.vectors import open_vectors
from histokeras.types import FOLD, LABEL, PATIENT_ID, RISK, SLIDE_ID, SPLIT, SPLITS, SURVIVAL

GROUP = "risk_group"
_STANDARD = "_standard"


@dataclass(frozen=True, eq=False)
class _Patients:
    """Patients of a fold, in the order of their ids, with the tiles of each.

    Attributes:
        rows: Their tiles.
        table: One row a patient: ``patient_id split fold time event``.
        codes: Row of the table of each tile's patient, ``(n,)``.
        clinical: What a head learns from beside the tiles; None for images alone.
    """

    rows: TileRows
    table: pd.DataFrame
    codes: Ints
    clinical: ClinicalPart | None = None

    def side(self, name: str) -> Bools:
        """Return who lies on a side of the split, ``(P,)``."""
        return (self.table[SPLIT] == name).to_numpy()

    def of(self, wanted: Bools) -> "_Patients":
        """Return some of the patients."""
        numbers = np.cumsum(wanted) - 1
        tiles = wanted[self.codes]
        table = self.table[wanted].reset_index(drop=True)
        part = None if self.clinical is None else self.clinical.of(wanted)
        return _Patients(self.rows.where(tiles), table, numbers[self.codes[tiles]], part)

    def followed(self, study: Study, job: FitJob) -> Followed:
        """Return their tiles as bags, with their outcomes."""
        bags = open_patients(study.index, self.rows, self.codes, job.memory_gb)
        time, event = self.table["time"].to_numpy(), self.table["event"].to_numpy()
        return Followed(bags, time, event, self.terms)

    @property
    def terms(self) -> Floats | None:
        """Their clinical terms, ``(P, K)``; None for images alone."""
        return None if self.clinical is None else self.clinical.x


def open_patients(index: FeatureIndex, rows: TileRows, codes: Ints, memory_gb: float) -> BagVectors:
    """Return the vectors of tiles, a bag a patient, in the order of ``codes``."""
    return in_bags(open_vectors(rows.parts(index), index.n_features, memory_gb=memory_gb), codes)


def fit_survival(
    study: Study,
    job: FitJob,
    folder: Path | None = None,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> FitResult:
    """Fit the head, or one a fold, predict the risk of every tile and patient, compute figures.

    Args:
        study: From :func:`~histokeras.training.fit_job.prepare_study`, its labels outcomes.
        job: What to learn.
        folder: Where to write heads and predictions; None to write nothing.
        say: Called with a line when a checkpoint in ``folder`` is taken up, or cannot be.
    """
    note = study.joined.note or study.split.note
    clinical = clinical_values(study.cohort, study.joined, job.clinical)
    folds: list[Fold] = []
    parts: list[Predicted] = []
    tables: list[pd.DataFrame] = []
    for number in range(study.split.folds) if study.split.folds else [None]:
        patients = _patients(study, number)
        covariates = _covariates(study.index, patients, clinical)
        models, told = fit_risk_baselines(
            covariates,
            patients.table["time"].to_numpy(),
            patients.table["event"].to_numpy(),
            patients.side("train"),
            seed=job.head.fit.seed + (number or 0),
        )
        if job.with_clinical:
            alone = _fit_fold(study, job, patients, number, folder, say)
            bags = open_patients(study.index, patients.rows, patients.codes, job.memory_gb)
            told[IMAGE] = alone.risks(bags)[1]
            beside = clinical_part(clinical, patients.table[PATIENT_ID], patients.side("train"),
                                 models)  # fmt: skip
            patients = dataclasses.replace(patients, clinical=beside)
        fitted = _fit_fold(study, job, patients, number, folder, say)
        fold = Fold(number, fitted, models)
        wanted = np.ones(len(patients.table), np.bool_)
        if number is not None:
            wanted = patients.side("test")
        part, table = _predict(study, job, fitted, patients, told, wanted, not note)
        parts.append(part)
        tables.append(table)
        folds.append(fold)
        if folder is not None:
            names = {"task": SURVIVAL, "classes": []}
            write_fold(folder, study, job, fold, names, note)
    predicted = pooled(parts)
    table = pd.concat(tables, ignore_index=True).sort_values(PATIENT_ID, ignore_index=True)
    metrics, curves = _figures(study, job, table, note)
    for levels in metrics["splits"].values():
        levels["patient"]["clinical_columns"] = list(clinical)
    duplicates = find_duplicates(
        study.index, predicted.rows, patient_safe=not note, seed=job.head.fit.seed
    )
    if folder is not None:
        write_predictions(folder, study.index, predicted)
    predictions = _predictions(predicted, table)
    return FitResult(folds, predicted, predictions, metrics, curves, duplicates, study.index)


def _patients(study: Study, number: int | None) -> _Patients:
    placed, _ = apply_split(study.joined.units, study.split, number)
    placed = placed.assign(**{FOLD: "" if number is None else str(number)})
    # No classes: what is labelled is the patient.
    rows = tile_rows(study.index, placed, {})
    # Of the units that have tiles, the first of each patient.
    units = rows.units.iloc[np.unique(rows.unit)].drop_duplicates(PATIENT_ID)
    units = units.sort_values(PATIENT_ID, ignore_index=True)
    time, event = outcomes(units[LABEL].tolist())
    table = units[[PATIENT_ID, SPLIT, FOLD]].assign(time=time, event=event)
    position = {name: i for i, name in enumerate(table[PATIENT_ID])}
    of_unit = np.array([position.get(name, -1) for name in rows.units[PATIENT_ID]], np.int64)
    return _Patients(rows, table, of_unit[rows.unit])


def _covariates(
    index: FeatureIndex, patients: _Patients, clinical: Mapping[str, "pd.Series[Any]"]
) -> dict[str, tuple[list[str], Floats]]:
    """Return the covariates of each baseline, their names and ``(P, k)``, as far as there are."""
    ids, train = patients.table[PATIENT_ID], patients.side("train")
    found = {}
    if clinical:
        found[CLINICAL] = encoded(of_patients(clinical, ids), train)
    if index.has_floor:
        floor = _mean_floor(index, patients)
        names = [str(name) for name in index.floor_names]
        found[COLOUR] = names[:N_COLOUR], floor[:, :N_COLOUR]
        if not index.is_floor:
            found[FLOOR] = names, floor
    units = patients.rows.units
    for name, of_patient in patient_categories(
        units[PATIENT_ID], categories_of(patients.rows)
    ).items():
        values = pd.Series([of_patient[i] or None for i in ids], dtype="category")
        found[name] = encoded({name: values}, train)
    # What all training patients share tells nothing.
    return {
        name: (terms, x) for name, (terms, x) in found.items() if np.ptp(x[train], axis=0).any()
    }


def _mean_floor(index: FeatureIndex, patients: _Patients) -> Floats:
    total = np.zeros((len(patients.table), len(index.floor_names)))
    counts = np.bincount(patients.codes, minlength=len(total))
    for _, part in patients.rows.of_files():
        rows = patients.rows
        only = TileRows(rows.file[part], rows.row[part], rows.unit[part], rows.target[part],
                        rows.units)  # fmt: skip
        np.add.at(total, patients.codes[part], read_floor(index, only))
    return np.asarray(total / counts[:, np.newaxis])


def _fit_fold(
    study: Study,
    job: FitJob,
    patients: _Patients,
    number: int | None,
    folder: Path | None,
    say: Callable[[str], None],
) -> FittedRisk:
    name = HEAD if number is None else f"fold-{number}"
    part = patients.clinical
    if job.with_clinical and part is None:
        name += f"-{IMAGE}"
    resume = None if folder is None else resume_of(folder, name, study.inputs, say)
    train, val = (
        patients.of(patients.side(side)).followed(study, job) for side in ("train", "val")
    )
    seed = job.head.fit.seed + (number or 0)
    config = dataclasses.replace(job.head, fit=dataclasses.replace(job.head.fit, seed=seed))
    if part is None:
        return fit_risk(train, val, config, resume=resume)
    fitted = fit_risk(train, val, config, start=part.start, resume=resume)
    return dataclasses.replace(fitted, columns=part.columns)


def _predict(
    study: Study,
    job: FitJob,
    fitted: FittedRisk,
    patients: _Patients,
    told: Mapping[str, Floats],
    wanted: Bools,
    patient_safe: bool,
) -> tuple[Predicted, pd.DataFrame]:
    """Return the tiles with their risks, and the table of the patients."""
    few = patients.of(wanted)
    bags = open_patients(study.index, few.rows, few.codes, job.memory_gb)
    tiles, risk, attention = fitted.risks(bags, few.terms)
    told = {name: values[wanted] for name, values in told.items()}
    others: dict[str, npt.NDArray[np.float32]] = {
        name: values[few.codes, np.newaxis].astype(np.float32) for name, values in told.items()
    }
    table = few.table.assign(
        **{
            RISK: risk,
            GROUP: np.where(risk > fitted.cut, HIGH, LOW),
            _STANDARD: risk / fitted.sd,
            **{f"{name}_{RISK}": values for name, values in told.items()},
        }
    )
    part = Predicted(few.rows, tiles, (RISK,), others, patient_safe, SURVIVAL, attention)
    return part, table


def _figures(
    study: Study, job: FitJob, table: pd.DataFrame, note: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what stands in metrics.json and in curves.json."""
    config = EvaluationConfig(
        n_resamples=job.n_resamples,
        seed=job.head.fit.seed,
        patient_safe=not note,
        is_floor=study.index.is_floor,
    )
    sides = [side for side in reversed(SPLITS[1:]) if (table[SPLIT] == side).any()]
    found = {side: _risks(table[table[SPLIT] == side]) for side in sides}
    names = study.cohort.target.split(", ")
    metrics = {
        "note": note,
        "patient_safe": not note,
        "task": SURVIVAL,
        "target": study.cohort.target,
        **({"with_clinical": True} if job.with_clinical else {}),
        "time": names[0],
        "event": names[-1],
        "label_level": study.cohort.level,
        "n_resamples": config.n_resamples,
        "alpha": config.alpha,
        "seed": config.seed,
        "splits": {
            side: {"patient": evaluate_risks(risks, side=side, config=config)}
            for side, risks in found.items()
        },
    }
    curves = {
        side: group_curves(risks, alpha=config.alpha)
        for side, risks in found.items()
        if side == "test"
    }
    return metrics, curves.get("test", {})


def _risks(table: pd.DataFrame) -> Risks:
    folds = table[FOLD].to_numpy()
    prefix = f"_{RISK}"
    names = [str(name) for name in table.columns if str(name).endswith(prefix)]
    return Risks(
        table["time"].to_numpy(np.float64),
        table["event"].to_numpy(np.bool_),
        table[RISK].to_numpy(np.float64),
        table[_STANDARD].to_numpy(np.float64),
        (table[GROUP] == HIGH).to_numpy(),
        folds.astype(np.int64) if (folds != "").all() else None,
        # A baseline that one fold could not fit is none of the whole.
        {
            name.removesuffix(prefix): table[name].to_numpy(np.float64)
            for name in names
            if not table[name].isna().any()
        },
    )


def _predictions(predicted: Predicted, table: pd.DataFrame) -> Predictions:
    """Return slides and patients as they are written."""
    rows = predicted.rows
    shown = table.drop(columns=_STANDARD).assign(event=table["event"].astype(int))
    units = rows.units.reset_index(drop=True)
    slides = pd.DataFrame()
    if SLIDE_ID in units:
        said = pd.DataFrame({"unit": rows.unit, RISK: predicted.probabilities[:, 0].astype(float)})
        means = said.groupby("unit")[RISK].agg(["size", "mean"])
        of_slide = units.loc[means.index, [SLIDE_ID, PATIENT_ID, SPLIT, FOLD]]
        slides = of_slide.assign(n_tiles=means["size"], **{RISK: means["mean"]})
        slides = slides.sort_values(SLIDE_ID, ignore_index=True)
    found = patient_categories(units[PATIENT_ID], categories_of(rows))
    if not predicted.patient_safe:
        # What stands for patients that are not known is no patient.
        shown, slides = (part.assign(**{PATIENT_ID: ""}) for part in (shown, slides))
    return Predictions((RISK,), slides, shown, {}, task=SURVIVAL, categories=found)
