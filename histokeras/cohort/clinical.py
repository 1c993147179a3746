"""Read a clinical table: one row a patient, every column with its type, all that is lost listed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.cohort.clinical_columns import EMPTY, NUMBER, Column, read_column
from histokeras.cohort.clinical_words import (
    ALIASES,
    EVENT,
    TIME,
    concept_of,
    is_missing,
    parse_header,
    plain_text,
    unit_of_header,
)
from histokeras.cohort.ids import canonical_patient
from histokeras.errors import TableError
from histokeras.tables import find_column, nearest_name, read_table, row_numbers
from histokeras.types import PATIENT_ID

TIME_UNITS = ("days", "months", "years")
_OVERALL = ("os", "overall_survival")
_DEATH = "days_to_death"
_LAST_SEEN = ("days_to_last_follow_up", "days_to_last_followup")
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Clinical:
    """A clinical table that has been read.

    Attributes:
        table: ``patient_id`` and one column for each header that is of use, index 0..n-1: float64
            for numbers, "boolean" for ``event``, else a categorical whose levels have their order.
        kinds: Column -> ``number``, ``ordinal``, ``category`` or ``binary``.
        headers: Column -> its header in the file; ``patient_id`` too.
        codes: Column -> code -> meaning, where its header has a code book.
        missing: Column -> patients of whom it is not known, unreadable cells among them.
        dropped_columns: Columns of no use: ``column`` (its header), ``reason``.
        dropped: Rows left out: ``row`` (number in the file), ``id``, ``reason``.
        unreadable: Cells that tell nothing: ``row``, ``patient_id``, ``column``, ``cell``,
            ``reason``. They count as missing.
        notes: Sentences for the person at the screen.
        time_unit: Unit of ``time``: days, months or years; "" if nothing tells.
        rows: Number in the file of each row of ``table``.
    """

    table: pd.DataFrame
    kinds: Mapping[str, str]
    headers: Mapping[str, str]
    codes: Mapping[str, Mapping[str, str]]
    missing: Mapping[str, int]
    dropped_columns: pd.DataFrame
    dropped: pd.DataFrame
    unreadable: pd.DataFrame
    notes: tuple[str, ...]
    time_unit: str
    rows: tuple[int, ...]


def read_clinical(path: Path | str, *, time_unit: str | None = None) -> Clinical:
    """Read and check a clinical table.

    Headers and cells are brought into one Unicode form (NFKC), known columns get our names
    (``sex``, ``t_stage``, ``time``, ...), and code books in headers are applied. Equal rows of a
    patient are one; rows that differ are an error.

    Args:
        path: A .csv, .tsv, .txt or .xlsx file, one row a patient.
        time_unit: Unit of the follow-up time; by default what its header tells.

    Returns:
        The table.

    Raises:
        TableError: If the file is no table, no column names patients, no row is of a patient, or
            two rows of a patient differ (CLINICAL_CONFLICT).
        ValueError: If ``time_unit`` is no unit.
    """
    if time_unit is not None and time_unit not in TIME_UNITS:
        raise ValueError(f"`time_unit` must be one of {TIME_UNITS}. Received: {time_unit!r}")
    raw = read_table(Path(path), name="clinical table")
    patient = _patient_column(raw, Path(path))
    ids = [canonical_patient(text) for text in raw[patient]]
    kept, dropped = _choose_rows(raw, ids, patient)
    if not kept:
        raise TableError(
            f"clinical table {path}: no row has a patient.",
            code="TABLE_EMPTY",
            hint=f"Fill the column `{patient}`.",
        )
    numbers = row_numbers(raw)
    rows, patients = [numbers[i] for i in kept], [ids[i] for i in kept]
    headers = [str(name) for name in raw.columns if name != patient]
    names, notes = _column_names(headers)
    found: dict[str, Column] = {}
    taken: dict[str, str] = {PATIENT_ID: patient}
    for header in headers:
        name, concept, book = names[header]
        own = parse_header(header)[0] or name
        cells = [str(raw[header].iloc[i]) for i in kept]
        column = read_column(cells, name=own, concept=concept, codes=book)
        if concept in _ONLY_IF_HELD and column.concept is None:
            name = _free(own, taken)
        found[name], taken[name] = column, header
    codes = {name: names[taken[name]][2] for name in found if names[taken[name]][2]}
    notes += _follow_up(found, taken)
    return _clinical(
        found, taken, patients, rows,
        codes=codes,
        dropped=dropped,
        empty=raw.attrs.get("empty_columns", ()),
        notes=[*raw.attrs.get("notes", ()), *notes],
        time_unit=time_unit,
    )  # fmt: skip


_ONLY_IF_HELD = frozenset({TIME, EVENT, "t_stage", "n_stage", "m_stage", "stage", "grade"})
"""A column called M that holds something else than metastases keeps its name."""


def _follow_up(found: dict[str, Column], taken: dict[str, str]) -> list[str]:
    """Make ``time`` of the two columns that the GDC has in its place, if they are there."""
    last = next((name for name in _LAST_SEEN if name in found), None)
    if TIME in found or last is None or _DEATH not in found:
        return []
    death, alive = found[_DEATH], found[last]
    if {death.kind, alive.kind} - {NUMBER, EMPTY} or alive.kind == EMPTY:
        return []
    days = alive.values if death.kind == EMPTY else death.values.fillna(alive.values)
    found[TIME] = Column(NUMBER, days, concept=TIME)
    taken[TIME] = f"{taken[_DEATH]} / {taken[last]}"
    return [f"`{TIME}` is `{_DEATH}`, and where that is missing `{last}`"]


def _clinical(
    found: Mapping[str, Column],
    taken: Mapping[str, str],
    patients: Sequence[str],
    rows: Sequence[int],
    *,
    codes: Mapping[str, Mapping[str, str]],
    dropped: pd.DataFrame,
    empty: Sequence[int],
    notes: Sequence[str],
    time_unit: str | None,
) -> Clinical:
    used = {name: column for name, column in found.items() if not column.reason}
    told = unit_of_header(taken[TIME]) if TIME in used else ""
    lost = [(taken[name], column.reason) for name, column in found.items() if column.reason]
    lost += [(f"column {number} (no name)", EMPTY) for number in empty]
    unreadable = [
        (rows[i], patients[i], name, cell, reason)
        for name, column in used.items()
        for i, cell, reason in column.unreadable
    ]
    table = pd.DataFrame({
        PATIENT_ID: list(patients), **{name: column.values for name, column in used.items()}
    })  # fmt: skip
    return Clinical(
        table=table,
        kinds={name: column.kind for name, column in used.items()},
        headers={name: taken[name] for name in (PATIENT_ID, *used)},
        codes={name: codes[name] for name in used if name in codes},
        missing={name: int(table[name].isna().sum()) for name in used},
        dropped_columns=pd.DataFrame(lost, columns=["column", "reason"]),
        dropped=dropped,
        unreadable=pd.DataFrame(
            unreadable, columns=["row", PATIENT_ID, "column", "cell", "reason"]
        ).sort_values("row", kind="stable", ignore_index=True),
        notes=(*notes, *(note for column in found.values() for note in column.notes)),
        time_unit=(time_unit or told) if TIME in used else "",
        rows=tuple(rows),
    )


def _patient_column(raw: pd.DataFrame, path: Path) -> str:
    own = find_column(raw, PATIENT_ID)
    if own is not None:
        return own
    headers = [str(name) for name in raw.columns]
    found = [name for name in headers if parse_header(name)[0] in ALIASES[PATIENT_ID]]
    # A bare "id" is the patient's only where nothing says so more plainly.
    found = [name for name in found if name.casefold() != "id"] or found
    if len(found) == 1:
        return found[0]
    near = nearest_name(PATIENT_ID, headers)
    what = f"columns {found} could each name the patient" if found else "no column names patients"
    raise TableError(
        f"clinical table {path}: {what}; it has {headers}.",
        code="COLUMN_AMBIGUOUS" if found else "COLUMN_MISSING",
        hint=f"Did you mean `{near}`? Rename the right column to `{PATIENT_ID}`."
        if near and not found
        else f"Rename the right column to `{PATIENT_ID}`.",
    )


def _choose_rows(
    raw: pd.DataFrame, ids: Sequence[str], patient: str
) -> tuple[list[int], pd.DataFrame]:
    """Return the positions of one row a patient, and the list of all other rows."""
    numbers = row_numbers(raw)
    cells: list[list[str]] = raw.drop(columns=patient).to_numpy().tolist()
    first: dict[str, int] = {}
    kept, lost, conflicts = [], [], []
    for i, name in enumerate(ids):
        if is_missing(plain_text(name)):
            lost.append((numbers[i], name, f"no {PATIENT_ID}"))
        elif name not in first:
            first[name] = i
            kept.append(i)
        else:
            j = first[name]
            differ = _differing(cells[j], cells[i])
            lost.append((numbers[i], name, f"duplicate of row {numbers[j]}"))
            if differ is not None:
                header = [str(c) for c in raw.columns if c != patient][differ]
                conflicts.append(
                    f"{name!r}: `{header}` is {cells[j][differ]!r} (row {numbers[j]}) and "
                    f"{cells[i][differ]!r} (row {numbers[i]})"
                )
    if conflicts:
        more = "; ..." if len(conflicts) > _SHOWN else ""
        raise TableError(
            f"{len(conflicts)} further row(s) of a patient differ from the first: "
            f"{'; '.join(conflicts[:_SHOWN])}{more}.",
            code="CLINICAL_CONFLICT",
            hint="Keep one row a patient, or remove the columns that differ.",
        )
    return kept, pd.DataFrame(lost, columns=["row", "id", "reason"])


def _differing(one: Sequence[str], other: Sequence[str]) -> int | None:
    """Return the first position at which two rows differ in more than how they are written."""
    for position, pair in enumerate(zip(one, other, strict=True)):
        plain = {plain_text(cell).casefold() for cell in pair}
        if len({"" if is_missing(text) else text for text in plain}) > 1:
            return position
    return None


Named = tuple[str, str | None, dict[str, str]]
"""Name of a column, which known column it is, and its code book."""


def _column_names(headers: Sequence[str]) -> tuple[dict[str, Named], list[str]]:
    """Name every column; where two could be the same known one, both keep their own names."""
    parsed = {header: parse_header(header) for header in headers}
    by_concept: dict[str, list[str]] = {}
    for header in headers:
        concept = concept_of(parsed[header][0])
        if concept not in (None, PATIENT_ID):
            by_concept.setdefault(str(concept), []).append(header)
    chosen: dict[str, str] = {}
    notes = []
    for concept, candidates in by_concept.items():
        own = [h for h in candidates if parsed[h][0] == concept]
        overall = [h for h in candidates if parsed[h][0].startswith(_OVERALL)]
        group = next((g for g in (own, candidates, overall) if len(g) == 1), [])
        if group:
            chosen[group[0]] = concept
        if len(candidates) > 1:
            listed = ", ".join(f"`{plain_text(h)}`" for h in candidates)
            which = (
                f"`{plain_text(group[0])}` is taken" if group else "none of them is taken for it"
            )
            notes.append(f"columns {listed} could each be `{concept}`: {which}")
    named: dict[str, Named] = {}
    # Names that are taken; the order of the file decides between equal ones.
    free: dict[str, Any] = {PATIENT_ID: "", **dict.fromkeys(chosen.values(), "")}
    for header in headers:
        own_name, codes = parsed[header]
        concept_name = chosen.get(header)
        name = concept_name or _free(own_name or "column", free)
        free[name] = ""
        known = concept_of(own_name)
        # Two stages keep their order, whatever they are called.
        named[header] = (name, None if known == PATIENT_ID else known, codes)
    return named, notes


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """Return ``name``, with a number behind it where another column has it."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found
