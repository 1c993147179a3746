"""What a label table may hold but may not mean: sentences for the person at the screen."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from histokeras.cohort.ids import canonical_patient, patient_from_slide
from histokeras.tables import MISSING
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, TILE

_SHOWN = 5


def alike_names(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that differ only in case or blanks, each sorted."""
    folded: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        folded.setdefault("".join(name.casefold().split()), []).append(name)
    return [group for group in folded.values() if len(group) > 1]


def first_rows(names: Sequence[str], rows: Sequence[int]) -> dict[str, int]:
    """Return the first row of each name; "" is passed over."""
    found: dict[str, int] = {}
    for name, row in zip(names, rows, strict=True):
        if name:
            found.setdefault(name, int(row))
    return found


def name_rows(names: Iterable[str], rows: Mapping[str, int]) -> str:
    """Return names with their rows: "'Tumor' (row 2) and 'tumor' (row 9)"."""
    return " and ".join(
        f"{name!r} (row {rows[name]})" if name in rows else repr(name) for name in names
    )


def table_notes(table: pd.DataFrame, rows: Sequence[int]) -> list[str]:
    """Return sentences on ids and labels that may not be meant as they stand.

    Args:
        table: Canonical key columns and, if labels were asked for, ``label``; all text.
        rows: Row numbers in the file, as many as the table has rows.
    """
    patients = _patients(table)
    notes = _alike_note("patient ids", patients, rows, "they count as different patients")
    if LABEL in table.columns:
        labels = table[LABEL].tolist()
        notes += _alike_note("classes", labels, rows, "they count as different classes")
        notes += _many_labels_note(patients, labels)
    return notes + _missing_note(table, rows)


def _patients(table: pd.DataFrame) -> list[str]:
    """Return the patient of each row, "" if the table does not tell."""
    blank = [""] * len(table)
    given = table[PATIENT_ID].tolist() if PATIENT_ID in table.columns else blank
    slides = table[SLIDE_ID].tolist() if SLIDE_ID in table.columns else blank
    known = {name: canonical_patient(name) for name in set(given)}
    barcodes = {name: patient_from_slide(name) or "" for name in set(slides)}
    return [known[patient] or barcodes[slide] for patient, slide in zip(given, slides, strict=True)]


def _alike_note(what: str, names: Sequence[str], rows: Sequence[int], so: str) -> list[str]:
    places = first_rows(names, rows)
    groups = alike_names(places)
    if not groups:
        return []
    shown = "; ".join(name_rows(group, places) for group in groups[:_SHOWN])
    return [f"{what} that differ only in case or blanks, {so}: {shown}{_more(groups)}"]


def _many_labels_note(patients: Sequence[str], labels: Sequence[str]) -> list[str]:
    borne: dict[str, set[str]] = {}
    for patient, label in zip(patients, labels, strict=True):
        if patient:
            borne.setdefault(patient, set()).add(label)
    several = sorted(patient for patient, found in borne.items() if len(found) > 1)
    if not several:
        return []
    shown = ", ".join(
        f"{patient!r} ({', '.join(sorted(borne[patient])[:_SHOWN])}{_more(borne[patient])})"
        for patient in several[:_SHOWN]
    )
    who = "1 patient carries" if len(several) == 1 else f"{len(several)} patients carry"
    return [f"{who} more than one label: {shown}{_more(several)}"]


def _missing_note(table: pd.DataFrame, rows: Sequence[int]) -> list[str]:
    """Name ids that look like a missing value: they are taken as they stand."""
    notes = []
    for column in (SLIDE_ID, TILE):
        names = table[column].tolist() if column in table.columns else []
        places = first_rows(names, rows[: len(names)])
        for name in sorted(MISSING.intersection(places)):
            notes.append(
                f"`{column}` {name!r} in {names.count(name)} row(s), first row {places[name]}, is "
                "taken as an id: leave the cell empty where it is missing"
            )
    return notes


def _more(items: Sequence[object] | set[str]) -> str:
    return ", ..." if len(items) > _SHOWN else ""
