"""Find and check the columns of a table: aliases of other tools, missing names, leaks."""

import difflib
from collections.abc import Iterable, Sequence

import pandas as pd

from histokeras.errors import LeakageError, TableError
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, SPLIT, TILE

ALIASES: dict[str, tuple[str, ...]] = {
    PATIENT_ID: ("case_id", "patient", "case_submitter_id", "submitter_id"),
    SLIDE_ID: ("slide", "filename", "wsi", "file_name"),
    TILE: (),
    LABEL: ("category",),
    "mpp": (),
    "x": (),
    "y": (),
}
"""Names that other tools give to our columns, compared without case (CLAM, STAMP, TRIDENT, GDC)."""


def nearest_name(wanted: str, names: Iterable[str]) -> str | None:
    """Return the name most like ``wanted``, compared without case; None if nothing is near."""
    by_folded = {str(name).casefold(): str(name) for name in names}
    near = difflib.get_close_matches(wanted.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[near[0]] if near else None


def folded_name(name: object) -> str:
    """Return a column's name as names are compared: lower case, blanks and dashes as ``_``."""
    return str(name).strip().casefold().replace(" ", "_").replace("-", "_")


def is_id_column(name: object) -> bool:
    """Return whether a column names slides or tiles, under our name or another's.

    There "NA" is a file name as good as any other; only an empty cell means that there is none.
    Patients are not meant: R writes NA for a missing one, and as a name it would make one invented
    patient of all who have none.
    """
    return any(folded_name(name) in (wanted, *ALIASES[wanted]) for wanted in (SLIDE_ID, TILE))


def _same_values(table: pd.DataFrame, columns: Sequence[str]) -> bool:
    return all(bool((table[columns[0]] == table[other]).all()) for other in columns[1:])


def find_column(table: pd.DataFrame, wanted: str) -> str | None:
    """Find the column that holds ``wanted``, under our name or another tool's.

    Our own name wins over an alias: whoever wrote ``patient_id`` meant it. Between two aliases
    nothing is guessed, unless both columns hold the same values.

    Args:
        table: Any table.
        wanted: One of patient_id, slide_id, tile, label, mpp, x, y.

    Returns:
        The column's name as it stands in the table, or None if there is none.

    Raises:
        TableError: If two columns could be meant.
        ValueError: If ``wanted`` is no standard column.
    """
    if wanted not in ALIASES:
        raise ValueError(f"`wanted` must be one of {sorted(ALIASES)}. Received: wanted={wanted!r}")
    names = [str(name) for name in table.columns]
    if wanted in names:
        return wanted
    for group in ((wanted,), ALIASES[wanted]):
        found = [name for name in names if folded_name(name) in group]
        if len(found) > 1 and not _same_values(table, found):
            raise TableError(
                f"columns {found} could each be `{wanted}`.",
                code="COLUMN_AMBIGUOUS",
                hint=f"Rename the right one to `{wanted}`.",
            )
        if found:
            return found[0]
    return None


def with_standard_columns(table: pd.DataFrame, wanted: Iterable[str]) -> pd.DataFrame:
    """Return ``table`` with the columns of other tools renamed to our names.

    Args:
        table: Any table; it is not changed.
        wanted: The standard columns to look for; those that are absent are left out.

    Returns:
        A table with the same rows.

    Raises:
        TableError: If two columns could be meant.
    """
    renamed: dict[str, str] = {}
    for name in wanted:
        found = find_column(table, name)
        if found is not None and found != name:
            renamed[found] = name
    return table.rename(columns=renamed)


def require_columns(table: pd.DataFrame, columns: Iterable[str], *, name: str) -> None:
    """Check that ``table`` has all of ``columns``.

    Args:
        table: The table to check.
        columns: Names that must be present.
        name: What to call the table in the error message.

    Raises:
        TableError: If a column is missing; the message lists the columns and the nearest name.
    """
    present = [str(column) for column in table.columns]
    missing = [column for column in dict.fromkeys(columns) if column not in present]
    if not missing:
        return
    near = nearest_name(missing[0], present)
    raise TableError(
        f"{name} lacks column(s) {missing}; it has {present}.",
        code="COLUMN_MISSING",
        hint=f"Did you mean `{near}`?" if near else "",
    )


def require_disjoint_patients(table: pd.DataFrame) -> None:
    """Check that every patient lies on exactly one side of the split.

    Args:
        table: Any table with the columns ``patient_id`` and ``split``.

    Raises:
        LeakageError: If a patient lies on two sides.
        TableError: If a column is missing.
    """
    require_columns(table, (PATIENT_ID, SPLIT), name="table")
    sides = table.groupby(PATIENT_ID)[SPLIT].nunique()
    leaking = [str(patient) for patient in sides.index[sides > 1]]
    if leaking:
        shown = ", ".join(repr(patient) for patient in leaking[:10])
        raise LeakageError(
            f"{len(leaking)} patient(s) lie on more than one side of the split: {shown}"
            f"{', ...' if len(leaking) > 10 else ''}.",
            hint="Split by patient with `histokeras split`.",
        )
