"""Join what was measured on slides with what is known of the patients, and test the two."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.association import MIN_GROUP, MIN_PATIENTS, associations
from histokeras.cohort.clinical import Clinical
from histokeras.cohort.clinical_columns import NUMBER, Column, read_column
from histokeras.cohort.clinical_words import EVENT, TIME, concept_of
from histokeras.cohort.ids import canonical_patient
from histokeras.errors import TableError
from histokeras.tables import find_column, nearest_name, read_table, row_numbers
from histokeras.types import LABEL, PATIENT_ID, SPLIT, SPLITS

_NO_MEASURE = re.compile(r"(n|n_.*|.*_low|.*_high|fold|target|.*_id|x|y|mpp)")
"""Counts, ends of intervals, and where something lies: nothing that was measured of the tissue."""
_FOLLOW_UP = re.compile(
    r"((os|dss|pfs|pfi|dfs|dfi|rfs|efs|css)(_(time|months|days|status|event))?|days_to_.*)"
)
_INFINITE = frozenset({"inf", "+inf", "infinity"})
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class ClinicalLink:
    """Measures and clinical columns of the same patients, and how they go together.

    Attributes:
        table: ``patient_id``, then the measures, then the clinical columns (``clinical_<name>``
            where a measure has that name); one row a patient.
        measures: Columns that were measured.
        clinical: Columns of the clinical table that were tested -> their name in ``table``.
        results: Of :func:`histokeras.analysis.association.associations`.
        funnel: Step -> patients left.
        dropped: Patients that are not in the join: ``kind``, ``id``, ``reason``.
        notes: Sentences for the person at the screen.
    """

    table: pd.DataFrame
    measures: tuple[str, ...]
    clinical: Mapping[str, str]
    results: pd.DataFrame
    funnel: Mapping[str, int]
    dropped: pd.DataFrame
    notes: tuple[str, ...]


def link_clinical(
    clinical: Clinical,
    path: Path,
    *,
    columns: Sequence[str] = (),
    with_train: bool = False,
    min_patients: int = MIN_PATIENTS,
    min_group: int = MIN_GROUP,
) -> ClinicalLink:
    """Test every measure of a table of patients against every clinical column.

    Time and event are left to survival analysis: a test that does not know of censoring misleads.

    Args:
        clinical: A clinical table.
        path: A table with one row a patient, such as patients.csv of a composition or a run.
        columns: Measures, or patterns such as ``share_*``; by default every column of numbers but
            counts, ends of intervals and ids, and ``label``.
        with_train: Also use patients whose ``split`` is train.
        min_patients: Fewer are not tested.
        min_group: Smaller groups are left out of a test and named.

    Returns:
        The join and its tests.

    Raises:
        TableError: If the table is none of patients, a patient stands in two rows, a column is
            missing, no patient is in both tables (NO_OVERLAP), or nothing is left to test.
    """
    raw = read_table(path, name="table")
    ids = _patients(raw, path)
    measured, notes = _measures(raw, columns, path)
    frame = pd.DataFrame({PATIENT_ID: ids, **{n: c.values for n, c in measured.items()}})
    known = set(clinical.table[PATIENT_ID])
    if not known.intersection(ids):
        raise _no_overlap(ids, clinical, path)
    sides = _sides(raw)
    trained = [side == SPLITS[0] and not with_train for side in sides]
    notes += _side_notes(sides, with_train)
    used = frame[[name in known and not held for name, held in zip(ids, trained, strict=True)]]
    if used.empty:
        raise TableError(
            f"every patient of {path} that the clinical table knows was trained on.",
            code="NO_PATIENTS",
            hint="Give predictions of other patients, or --with-train to look at these.",
        )
    taken, left = _clinical_columns(clinical)
    names = {n: f"clinical_{n}" if n in measured else n for n in taken}
    facts = clinical.table[[PATIENT_ID, *taken]].rename(columns=names)
    joined = used.merge(facts, on=PATIENT_ID, how="left").reset_index(drop=True)
    same = [n for n in taken if LABEL in measured and _equal(joined[LABEL], joined[names[n]])]
    notes += [f"`{name}` is the label itself: not tested" for name in same]
    results = associations(
        {name: joined[name] for name in measured},
        {name: joined[names[name]] for name in taken if name not in same},
        min_patients=min_patients,
        min_group=min_group,
    )
    n_both = len(known.intersection(ids))
    return ClinicalLink(
        table=joined,
        measures=tuple(measured),
        clinical={name: names[name] for name in taken if name not in same},
        results=results,
        funnel={
            f"patients in {path.name}": len(ids),
            "in the clinical table too": n_both,
            "used": len(joined),
        },
        dropped=_dropped(ids, trained, clinical),
        notes=(*notes, *left),
    )


def _patients(raw: pd.DataFrame, path: Path) -> list[str]:
    column = find_column(raw, PATIENT_ID)
    if column is None:
        raise TableError(
            f"{path} has no column `{PATIENT_ID}`; it has {list(raw.columns)}.",
            code="COLUMN_MISSING",
            hint="Give a table with one row a patient, such as patients.csv of a run.",
        )
    ids = [canonical_patient(text) for text in raw[column]]
    rows: dict[str, int] = {}
    for name, row in zip(ids, row_numbers(raw), strict=True):
        if not name or name in rows:
            what = f"{name!r} stands in the rows {rows[name]} and {row}" if name else (
                f"row {row} has no patient"
            )  # fmt: skip
            raise TableError(
                f"{path}: {what}.",
                code="PATIENTS_TWICE" if name else "PATIENT_UNKNOWN",
                hint="Give a table with one row a patient, such as patients.csv, not slides.csv.",
            )
        rows[name] = row
    return ids


def _measures(
    raw: pd.DataFrame, patterns: Sequence[str], path: Path
) -> tuple[dict[str, Column], list[str]]:
    """Read what was measured; a column that only repeats another's order is left out."""
    names = [str(name) for name in raw.columns]
    # A pattern means what was measured; ends of intervals must be named in full.
    chosen = [
        n
        for n in names
        if n in patterns
        or (any(fnmatch.fnmatchcase(n, p) for p in patterns) and not _NO_MEASURE.fullmatch(n))
    ]
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            near = nearest_name(pattern, names)
            raise TableError(
                f"no column of {path} is called `{pattern}`; it has {names}.",
                code="COLUMN_MISSING",
                hint=f"Did you mean `{near}`?" if near else "Name one of these.",
            )
    found: dict[str, Column] = {}
    notes, seen = [], dict[bytes, str]()
    for name in chosen or [n for n in names if not _NO_MEASURE.fullmatch(n)]:
        column = _read_measure(raw[name].tolist(), name)
        number = column.kind == NUMBER
        if (not number and not (chosen or name == LABEL)) or column.values.isna().all():
            continue
        twin = next((seen[key] for key in _orders(column) if key in seen), None) if number else None
        if twin is not None:
            notes.append(f"`{name}` orders the patients as `{twin}` does, or the other way round: "
                         "left out")  # fmt: skip
            continue
        found[name] = column
        if number:
            seen[_orders(column)[0]] = name
    if not found:
        raise TableError(
            f"{path} has no column to test: none of its {len(names)} columns holds two values in "
            f"the patients that are used. It has {', '.join(names[:8])}"
            f"{', ...' if len(names) > 8 else ''}.",
            code="COLUMN_MISSING",
            hint="Are its figures empty, as where no patient has enough tiles? Else name columns "
            "with --columns.",
        )
    return found, notes


def _read_measure(cells: Sequence[str], name: str) -> Column:
    """Read a column that histokeras may have written: there a ratio to nothing is infinite."""
    infinite = [cell.casefold() in _INFINITE for cell in cells]
    finite = ["" if inf else cell for cell, inf in zip(cells, infinite, strict=True)]
    column = read_column(finite, name=name, concept=None, codes={})
    if column.kind != NUMBER or not any(infinite):
        return column
    return replace(column, values=column.values.mask(pd.Series(infinite), np.inf))


def _orders(column: Column) -> tuple[bytes, bytes]:
    """Return the order of the patients and its reverse: of two classes one share tells all."""
    values = column.values.round(12)
    ranks = [(sign * values).rank(method="average") for sign in (1, -1)]
    return ranks[0].to_numpy(np.float64).tobytes(), ranks[1].to_numpy(np.float64).tobytes()


def _equal(one: "pd.Series[Any]", other: "pd.Series[Any]") -> bool:
    known = one.notna() & other.notna()
    return bool((one[known].astype(str) == other[known].astype(str)).all() and known.any())


def _sides(raw: pd.DataFrame) -> list[str]:
    return raw[SPLIT].tolist() if SPLIT in raw.columns else [""] * len(raw)


def _side_notes(sides: Sequence[str], with_train: bool) -> list[str]:
    n_train = sum(side == SPLITS[0] for side in sides)
    if n_train and with_train:
        return [f"{n_train} patients were trained on and are used all the same: of them the "
                "network may say what it was told"]  # fmt: skip
    if n_train:
        return [f"{n_train} patients were trained on and are left out; --with-train uses them"]
    if not any(sides):
        return ["the table does not say (`split`) who was trained on: all patients are used"]
    return []


def _clinical_columns(clinical: Clinical) -> tuple[list[str], list[str]]:
    """Return the columns to test, and what is said of those that are not."""
    held = [
        name
        for name in clinical.kinds
        if concept_of(name) in (TIME, EVENT) or _FOLLOW_UP.fullmatch(name)
    ]
    taken = [name for name in clinical.kinds if name not in held]
    if not taken:
        raise TableError(
            "the clinical table has no column to test.",
            code="COLUMN_MISSING",
            hint="It needs a column beside patient_id, time and event.",
        )
    listed = ", ".join(f"`{name}`" for name in held)
    note = f"{listed}: follow-up is not tested here, where nothing knows of censoring"
    return taken, [note] if held else []


def _dropped(ids: Sequence[str], trained: Sequence[bool], clinical: Clinical) -> pd.DataFrame:
    known, measured = set(clinical.table[PATIENT_ID]), set(ids)
    rows: list[tuple[Any, ...]] = [
        ("patient", name, "not in the clinical table" if name not in known else "trained on")
        for name, held in zip(ids, trained, strict=True)
        if held or name not in known
    ]
    rows += [
        ("patient", name, "in the clinical table only")
        for name in clinical.table[PATIENT_ID]
        if name not in measured
    ]
    return pd.DataFrame(rows, columns=["kind", "id", "reason"])


def _no_overlap(ids: Sequence[str], clinical: Clinical, path: Path) -> TableError:
    ours = ", ".join(map(repr, ids[:_SHOWN]))
    theirs = ", ".join(map(repr, clinical.table[PATIENT_ID].tolist()[:_SHOWN]))
    return TableError(
        f"no patient of {path} is in the clinical table: they look like {ours} there, and like "
        f"{theirs} in the clinical table.",
        code="NO_OVERLAP",
        hint="Bring the ids of one table into the form of the other.",
    )
