"""What ``survival`` is asked for, and its inputs joined by patient: outcome, columns, sides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.bootstrap import N_RESAMPLES
from histokeras.analysis.cutoff import MEDIAN
from histokeras.analysis.metrics import Floats, Ints
from histokeras.analysis.risk_model import deal_folds
from histokeras.analysis.survival import require_outcome
from histokeras.analysis.survival_columns import (
    Source,
    asked_name,
    clinical_source,
    require_asked,
    tissue_source,
    title_of,
    too_often_missing,
)
from histokeras.analysis.survival_cuts import (
    all_groups,
    folder_notes,
    given_cuts,
    node_notes,
    require_numbers,
    unmeasured,
)
from histokeras.cohort.clinical import Clinical, read_clinical
from histokeras.cohort.outcome import survival_outcome
from histokeras.cohort.split_file import read_split
from histokeras.errors import ConfigError, TableError
from histokeras.files import sha256_bytes, sha256_text
from histokeras.types import PATIENT_ID, SPLIT

TIME, EVENT = "time", "event"
FOLDS = 5
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class SurvivalJob:
    """What to ask of survival.

    Attributes:
        clinical: Clinical table with the outcome.
        time: Its column of follow-up; None for the one that is found.
        event: Its column of the event; None for the one that is found.
        time_unit: days, months or years; None for what the table tells.
        table: Table of the tissue, a row a patient; None for none.
        columns: Columns to use, of either table; empty for those that serve.
        groups: Columns by which patients are parted for curves.
        cutoff: How a number is cut in two: ``median`` or ``logrank``.
        cuts: Columns whose cut-off is given, and where: patients above it are ``high``.
        missing_group: Name of the group of patients without a number that is cut; "" leaves them
            out of its curve.
        split: File of ``histokeras split``: models are learned on train and val, tested on test.
        folds: Folds of patients instead; None for five where there is no split.
        n_resamples: Resamples behind each interval.
        seed: Of folds and resamples.
    """

    clinical: Path
    time: str | None = None
    event: str | None = None
    time_unit: str | None = None
    table: Path | None = None
    columns: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    cutoff: str = MEDIAN
    cuts: tuple[tuple[str, float], ...] = ()
    missing_group: str = ""
    split: Path | None = None
    folds: int | None = None
    n_resamples: int = N_RESAMPLES
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Side:
    """Patients that are learned from, and those that are predicted; both as row numbers."""

    learn: Ints
    test: Ints


@dataclass(frozen=True, eq=False)
class SurvivalStudy:
    """Patients with outcome, columns, features and sides.

    Attributes:
        patients: ``patient_id``, ``time``, ``event``, and the columns, sorted by patient.
        labels: Columns that are no numbers, as a reader knows them.
        levels: Column that is an order -> its levels.
        columns: ``clinical`` and ``table`` -> the columns that models use.
        groups: Columns by which patients are parted.
        features: Mean features of each patient, ``(P, D)``; None without.
        sides: Who is learned from and who is tested, a fold each.
        tested: What is tested, in words.
        time_unit: "" if unknown.
        funnel: Patients left after each step.
        left_out: Patients and columns that are not used: ``kind``, ``id``, ``reason``.
        notes: What a person must know.
        inputs: What decides the result.
        cuts: Column -> its cut-off, where it was given.
        missing_group: Name of the group of patients without a number that is cut; "" for none.
        unmeasured: Of whom the table of the tissue found nothing to measure, ``(P,)``: their
            numbers are not known, so that they are in no group.
    """

    patients: pd.DataFrame
    labels: pd.DataFrame
    levels: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, tuple[str, ...]]
    groups: tuple[str, ...]
    features: Floats | None
    sides: tuple[Side, ...]
    tested: str
    time_unit: str
    funnel: dict[str, int]
    left_out: pd.DataFrame
    notes: tuple[str, ...]
    inputs: dict[str, Any]
    cuts: Mapping[str, float]
    missing_group: str
    unmeasured: npt.NDArray[np.bool_]

    @property
    def time(self) -> Floats:
        """Follow-up of each patient."""
        return self.patients[TIME].to_numpy(np.float64)

    @property
    def event(self) -> npt.NDArray[np.bool_]:
        """Whether it ended in the event."""
        return self.patients[EVENT].to_numpy(bool)


class _Funnel:
    """Patients left after each step, and who was lost."""

    def __init__(self, patients: pd.DataFrame, first: str) -> None:
        self.patients, self.counts = patients, {first: len(patients)}
        self.lost: list[tuple[str, str, str]] = []

    def join(self, table: pd.DataFrame, step: str, reason: str) -> None:
        """Keep the patients that ``table`` has, with its columns."""
        known = self.patients[PATIENT_ID].isin(table[PATIENT_ID])
        sides = [list(map(repr, t[PATIENT_ID].head(_SHOWN))) for t in (self.patients, table)]
        if not known.any():
            raise TableError(
                f"no patient is left: {reason}. Patients look like {', '.join(sides[0])}; "
                f"there like {', '.join(sides[1])}.",
                code="NO_OVERLAP",
                hint="Use the same patient ids in all tables.",
            )
        self.lost += [("patient", name, reason) for name in self.patients[PATIENT_ID][~known]]
        self.patients = self.patients.merge(table, on=PATIENT_ID, how="inner", validate="1:1")
        self.counts[step] = len(self.patients)


def prepare_survival(job: SurvivalJob, means: pd.DataFrame | None = None) -> SurvivalStudy:
    """Read the tables and join them by patient.

    Args:
        job: What to ask.
        means: Mean features: ``patient_id`` and numbers; None for none.

    Raises:
        TableError: If time or event is missing or holds what it must not, a column that was asked
            for is missing, the tables share no patient, or there is no event (COX_IMPOSSIBLE).
        LeakageError: If a patient lies on two sides of the split.
        ConfigError: If the split is not by patient, or beside ``folds``.
    """
    if job.split is not None and job.folds is not None:
        raise ConfigError("`--split` and `--cv` exclude each other.", hint="Give one of them.")
    clinical = read_clinical(job.clinical, time_unit=job.time_unit)
    outcome = survival_outcome(clinical, job.time, job.event)
    tables = [("clinical table", clinical)]
    tissue = read_clinical(job.table) if job.table is not None else None
    if tissue is not None:
        tables.append(("table of the tissue", tissue))
    groups = all_groups(job.groups, job.cuts, job.missing_group)
    require_asked(tables, [*job.columns, *groups])
    require_numbers(tables, [name for name, _ in job.cuts])
    used = _outcome_columns(clinical, job)
    sources = {"clinical": clinical_source(clinical, used, job.columns)}
    if tissue is not None:
        sources["table"] = tissue_source(tissue, job.columns)
    grouping = [_grouping(table, groups) for _, table in tables]
    funnel = _Funnel(clinical.table[[PATIENT_ID]].astype(str), "in the clinical table")
    funnel.join(outcome, "with time and event", "time or event is missing")
    values, labels = _tables(tables, sources, grouping)
    own, *others = values
    funnel.join(own, "with time and event", "time or event is missing")
    if others:
        funnel.join(others[0], "in the table of the tissue", "not in the table of the tissue")
    if means is not None:
        funnel.join(means[[PATIENT_ID]], "with features", "no features")
    if job.split is not None:
        funnel.join(_split_table(job.split), "in the split", "not in the split")
    patients = funnel.patients.sort_values(PATIENT_ID, ignore_index=True)
    time, event = patients[TIME].to_numpy(np.float64), patients[EVENT].to_numpy(bool)
    require_outcome(time, event)
    sides, tested = _sides(job, patients, event)
    columns, lost = _model_columns(sources, patients, job.columns)
    features = None
    if means is not None:
        numbers = means.set_index(PATIENT_ID).loc[patients[PATIENT_ID]]
        features = numbers.to_numpy(np.float64)
    lost = [*_rows_lost(clinical), *funnel.lost, *lost]
    return SurvivalStudy(
        patients=patients.drop(columns=[SPLIT], errors="ignore"),
        labels=patients[[PATIENT_ID]].merge(labels, on=PATIENT_ID, how="left").fillna(""),
        levels={name: levels for s in (*sources.values(), *grouping)
                for name, levels in s.levels.items()},
        columns=columns,
        groups=_named_groups([table for _, table in tables], groups),
        features=features,
        sides=sides,
        tested=tested,
        time_unit=job.time_unit or str(outcome.attrs.get("time_unit") or ""),
        funnel=funnel.counts,
        left_out=pd.DataFrame(lost, columns=["kind", "id", "reason"]),
        notes=(*clinical.notes, *_tissue_notes(tissue, patients), *node_notes(columns, patients),
               *folder_notes(job.table, patients)),
        inputs=_inputs(job, patients, features, columns),
        cuts=given_cuts([table for _, table in tables], job.cuts, patients),
        missing_group=job.missing_group,
        unmeasured=unmeasured(tissue, patients),
    )  # fmt: skip


def _tissue_notes(tissue: Clinical | None, patients: pd.DataFrame) -> tuple[str, ...]:
    """Return what must be known of a table of the tissue: a classifier knows its own patients."""
    if tissue is None:
        return ()
    if SPLIT not in tissue.kinds:
        return tissue.notes
    side = tissue.table.set_index(PATIENT_ID)[SPLIT].astype(str)
    n = int(side.reindex(patients[PATIENT_ID]).isin(["train", "val"]).sum())
    said = (
        f"{n} of {len(patients)} patients took part in training what made the table of the tissue"
    )
    return (*tissue.notes, f"{said}: its figures are better for them") if n else tissue.notes


def _rows_lost(clinical: Clinical) -> list[tuple[str, str, str]]:
    rows = clinical.dropped[["row", "id", "reason"]].to_numpy().tolist()
    return [("row", str(name) or str(row), f"row {row}: {why}") for row, name, why in rows]


def _outcome_columns(clinical: Clinical, job: SurvivalJob) -> list[str]:
    names = [asked_name(clinical, wanted) for wanted in (job.time, job.event) if wanted]
    return [name for name in names if name] + [TIME, EVENT]


def _grouping(clinical: Clinical, groups: Sequence[str]) -> Source:
    """Return the columns that patients are parted by, whether models use them or not."""
    return clinical_source(clinical, (), groups or ("",))


def _tables(
    tables: Sequence[tuple[str, Clinical]],
    sources: Mapping[str, Source],
    grouping: Sequence[Source],
) -> tuple[list[pd.DataFrame], pd.DataFrame]:
    """Return the columns of each table, those for curves among them, and all labels.

    Raises:
        TableError: If two tables have a column of one name (COLUMN_AMBIGUOUS).
    """
    values, labels = [], None
    taken = {TIME, EVENT, SPLIT}
    for source, groups in zip(sources.values(), grouping, strict=True):
        more = [name for name in groups.columns if name not in source.columns]
        mine = source.values.join(groups.values[more])
        mine = mine.drop(columns=[TIME, EVENT, SPLIT], errors="ignore")
        twice = [name for name in mine.columns if name in taken and name != PATIENT_ID]
        if twice:
            raise TableError(
                f"column `{twice[0]}` stands in both tables.",
                code="COLUMN_AMBIGUOUS",
                hint="Rename it in one of them, or name others with --columns.",
            )
        taken |= set(mine.columns)
        values.append(mine)
        text = source.labels.join(
            groups.labels[[name for name in groups.labels if name not in source.labels]]
        )
        labels = text if labels is None else labels.merge(text, on=PATIENT_ID, how="outer")
    return values, pd.DataFrame() if labels is None else labels


def _split_table(path: Path) -> pd.DataFrame:
    split = read_split(path)
    if split.unit != PATIENT_ID or split.note:
        raise ConfigError(
            f"the split {path.name} is not by patient.",
            code="PATIENT_UNKNOWN",
            hint="Make one with `histokeras split`, or leave it out for folds of patients.",
        )
    return split.table.rename(columns={split.column: SPLIT})


def _sides(
    job: SurvivalJob, patients: pd.DataFrame, event: npt.NDArray[np.bool_]
) -> tuple[tuple[Side, ...], str]:
    rows = np.arange(len(patients))
    if job.split is not None and not pd.api.types.is_numeric_dtype(patients[SPLIT]):
        test = (patients[SPLIT] == "test").to_numpy()
        if not test.any() or test.all():
            which = "train or val" if test.all() else "test"
            raise TableError(
                f"no patient with time and event lies in {which} of {job.split.name}.",
                code="SPLIT_IMPOSSIBLE",
                hint="Leave `--split` out for folds of patients (`--cv 5`).",
            )
        return (Side(rows[~test], rows[test]),), "test patients, learned on train and val"
    if job.split is not None:
        fold = patients[SPLIT].to_numpy(np.int64)
        n_folds = len(np.unique(fold))
        told = f"all patients, each by a model that did not see them ({n_folds} folds of the file)"
    else:
        n_folds = min(job.folds or FOLDS, len(patients))
        fold = deal_folds(event, n_folds, job.seed)
        told = f"all patients, each by a model that did not see them ({n_folds} folds)"
    sides = tuple(Side(rows[fold != k], rows[fold == k]) for k in np.unique(fold))
    return sides, told


def _model_columns(
    sources: Mapping[str, Source], patients: pd.DataFrame, asked: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], list[tuple[str, str, str]]]:
    columns, lost = {}, []
    for kind, source in sources.items():
        reasons = dict(source.left_out)
        if not asked:
            reasons |= dict(too_often_missing(patients, source.columns))
        columns[kind] = tuple(name for name in source.columns if name not in reasons)
        lost += [("column", name, reason) for name, reason in reasons.items()]
    return columns, lost


def _named_groups(tables: Sequence[Clinical], groups: Sequence[str]) -> tuple[str, ...]:
    found = ((table, asked_name(table, wanted)) for wanted in groups for table in tables)
    return tuple(dict.fromkeys(title_of(table, name) for table, name in found if name))


def _inputs(
    job: SurvivalJob,
    patients: pd.DataFrame,
    features: Floats | None,
    columns: Mapping[str, tuple[str, ...]],
) -> dict[str, Any]:
    return {
        "patients": sha256_text(patients.to_csv(index=False)),
        "features": None if features is None else sha256_bytes(features.tobytes()),
        "columns": {kind: list(names) for kind, names in columns.items()},
        "groups": list(job.groups),
        "cutoff": job.cutoff,
        "folds": job.folds,
        "time_unit": job.time_unit,
        "n_resamples": job.n_resamples,
        "seed": job.seed,
        # Only where they were asked for, so that earlier results still hold.
        **({"cuts": dict(job.cuts)} if job.cuts else {}),
        **({"missing_group": job.missing_group} if job.missing_group else {}),
    }
