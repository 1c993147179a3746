"""Follow-up time and event of a clinical table, or why there is none."""

from collections.abc import Sequence

import pandas as pd

from histokeras.cohort.clinical import Clinical
from histokeras.cohort.clinical_columns import BINARY, CATEGORY, NUMBER
from histokeras.cohort.clinical_words import (
    EVENT,
    TIME,
    concept_of,
    event_of,
    plain_text,
    snake_name,
)
from histokeras.cohort.code_book import header_meant
from histokeras.errors import TableError
from histokeras.tables import nearest_name
from histokeras.types import PATIENT_ID

_SHOWN = 5
_WHAT = {
    TIME: "`time` (follow-up, a number above 0)",
    EVENT: "`event` (1 seen, 0 censored)",
}


def survival_outcome(
    clinical: Clinical, time: str | None = None, event: str | None = None
) -> pd.DataFrame:
    """Return time and event of the patients of whom both are known.

    Args:
        clinical: A clinical table.
        time: Its column of the follow-up time, or that column's header; by default ``time``.
        event: Its column of the event, or that column's header; by default ``event``.

    Returns:
        ``patient_id``, ``time`` (float64, above 0, in the unit of the table) and ``event`` (bool),
        index 0..n-1. ``attrs`` holds ``time_unit`` and ``left_out``, the number of patients of
        whom one of the two is missing.

    Raises:
        TableError: If a column is missing (SURVIVAL_COLUMNS), a time is not above 0 or an event
            not 0 or 1 (SURVIVAL_CELLS, the rows named), or no event was seen (COX_IMPOSSIBLE).
    """
    names = {TIME: _find(clinical, time, TIME), EVENT: _find(clinical, event, EVENT)}
    lacking = [wanted for wanted, name in names.items() if name is None]
    if lacking:
        raise _lacking(clinical, lacking)
    times, events = clinical.table[str(names[TIME])], clinical.table[str(names[EVENT])]
    wrong = _wrong_cells(clinical, str(names[TIME]), str(names[EVENT]))
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise TableError(
            f"clinical table: {'; '.join(wrong[:_SHOWN])}{more}.",
            code="SURVIVAL_CELLS",
            hint="Correct them, or empty the cells: then the patients are left out.",
        )
    seen = events if events.dtype == "boolean" else events.astype(str).map(_seen)
    known = (times.notna() & seen.notna()).to_numpy()
    outcome = pd.DataFrame({
        PATIENT_ID: clinical.table[PATIENT_ID][known],
        TIME: times[known].astype("float64"),
        EVENT: seen[known].astype(bool),
    }).reset_index(drop=True)  # fmt: skip
    if not outcome[EVENT].any():
        n = len(outcome)
        raise TableError(
            f"none of the {n} patient(s) with time and event has had the event: all are censored.",
            code="COX_IMPOSSIBLE",
            hint=f"Check `{clinical.headers[str(names[EVENT])]}`: 1 must mean that it was seen.",
        )
    unit = clinical.time_unit if names[TIME] == TIME else ""
    outcome.attrs = {"time_unit": unit, "left_out": int((~known).sum())}
    return outcome


def _find(clinical: Clinical, asked: str | None, wanted: str) -> str | None:
    """Return the column that is asked for, or the known one; None if the latter is not there."""
    if asked is None:
        return wanted if wanted in clinical.kinds else None
    for name in clinical.kinds:
        if asked == name or snake_name(asked) in (name, snake_name(clinical.headers[name])):
            break
    else:
        names = [*clinical.kinds, *clinical.headers.values()]
        near = nearest_name(asked, names)
        raise TableError(
            f"the clinical table has no column `{asked}` of use; it has {list(clinical.kinds)}.",
            code="COLUMN_MISSING",
            hint=f"Did you mean `{near}`?" if near else "Name one of these.",
        )
    if wanted == TIME and clinical.kinds[name] != NUMBER:
        raise TableError(
            f"column `{asked}` of the clinical table holds no numbers: it is no follow-up time.",
            code="SURVIVAL_COLUMNS",
            hint="Name a column of numbers with --time.",
        )
    return name


def _lacking(clinical: Clinical, lacking: Sequence[str]) -> TableError:
    near = [name for name in clinical.kinds if concept_of(name) in lacking]
    hint = "Name them with --time and --event if they are there under other names"
    if near:
        hint += f" ({', '.join(f'`{name}`' for name in near)}?)"
    groups = [name for name, kind in clinical.kinds.items() if kind in (BINARY, CATEGORY)]
    # Most can be learnt of what is rarely missing and has two values; sex is not what is asked.
    groups.sort(key=lambda name: (name == "sex", clinical.kinds[name] != BINARY))
    if groups:
        header = clinical.headers[groups[0]]
        simple = header_meant(list(clinical.headers.values()), groups[0]) == header
        target = groups[0] if simple else f"'{header}'"
        hint += (
            "; without follow-up, a clinical column can be learnt as classes: `histokeras fit-head "
            f"FEATURES --labels TABLE --target {target}`"
        )
    return TableError(
        f"survival needs {' and '.join(_WHAT[wanted] for wanted in lacking)}, and the clinical "
        f"table has no such column; it has {', '.join(clinical.kinds)}.",
        code="SURVIVAL_COLUMNS",
        hint=f"{hint}.",
    )


def _wrong_cells(clinical: Clinical, time: str, event: str) -> list[str]:
    """Return a clause for every cell of the two columns that is neither usable nor missing."""
    found = [
        (row, f"row {row}: `{name}` is {cell!r} ({reason})")
        for row, _, name, cell, reason in clinical.unreadable.to_numpy().tolist()
        if name in (time, event)
    ]
    times, events = clinical.table[time].tolist(), clinical.table[event].tolist()
    boolean = clinical.table[event].dtype == "boolean"
    for row, value, seen in zip(clinical.rows, times, events, strict=True):
        if value <= 0:
            found.append((row, f"row {row}: `{time}` is {value:g} (a time is a number above 0)"))
        if not (boolean or seen != seen or _seen(str(seen)) is not None):
            found.append((row, f"row {row}: `{event}` is {seen!r} (an event is 0 or 1)"))
    return [text for _, text in sorted(found)]


def _seen(text: str) -> bool | None:
    plain = plain_text(text)
    return event_of(plain.removesuffix(".0"))
