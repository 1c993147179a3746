"""Labels that are survival: a time with ``+`` behind it where the event was not seen, as R has it.

``54.1`` is an event at 54.1, ``54.1+`` was censored then. One text a patient: so two rows that tell
different outcomes of one patient are in conflict like any two labels.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.cohort.clinical_words import (
    EVENT,
    TIME,
    concept_of,
    event_of,
    is_missing,
    plain_text,
    snake_name,
)
from histokeras.cohort.numbers import number_text
from histokeras.errors import TableError
from histokeras.tables import nearest_name, row_numbers, text_table
from histokeras.types import LABEL, PATIENT_ID, SPLIT

CENSORED = "+"
OWN_LABEL = "_label"
"""What a column of the table is called that was `label`: that name is the outcome's."""
MIN_EVENTS = {"train": 10, "val": 2, "test": 5}
"""Events that each side must hold: to fit a head, to stop early by, and to give figures of."""
_MOST_BINS = 5
_NEEDED = (
    "survival needs two columns: `time`, a number of days, months or years, and `event`, 1 where "
    "the event (death) was seen and 0 where not"
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def with_outcome(
    table: pd.DataFrame, time: str | None = None, event: str | None = None
) -> tuple[pd.DataFrame, str]:
    """Join the columns of time and event to one column of outcomes.

    Args:
        table: A label table as text; it is not changed.
        time: Its column of follow-up times; None for the one that is called so, or as cBioPortal
            and TCGA call it (``OS_MONTHS``, ``OS.time``).
        event: Its column of events (1, yes, dead; 0, no, alive, censored); None likewise.

    Returns:
        The table with one more column, and its name: "time, event" as the two are called. A row
        that lacks one of them has no outcome, "". A column `label` becomes ``OWN_LABEL``.

    Raises:
        TableError: SURVIVAL_COLUMNS if a column is not there, or several might be meant;
            SURVIVAL_CELLS if a time is not above 0 or no number, or an event neither 0 nor 1.
    """
    names = [_column(table, given, word) for given, word in ((time, TIME), (event, EVENT))]
    cells, rows = text_table(table[names]), row_numbers(table)
    times = [_time(text, row, names[0]) for text, row in zip(cells[names[0]], rows, strict=True)]
    events = [_event(text, row, names[1]) for text, row in zip(cells[names[1]], rows, strict=True)]
    target = ", ".join(names)
    known = [
        "" if t is None or e is None else outcome_text(t, e)
        for t, e in zip(times, events, strict=True)
    ]
    return table.rename(columns={LABEL: OWN_LABEL}).assign(**{target: known}), target


def outcome_text(time: float, event: bool) -> str:
    """Return an outcome as one text."""
    return number_text(time) + ("" if event else CENSORED)


def outcomes(texts: Sequence[str]) -> tuple[Floats, Bools]:
    """Return times, float64 ``(n,)``, and events, bool ``(n,)``, of outcomes as texts."""
    times = np.array([float(text.removesuffix(CENSORED)) for text in texts], np.float64)
    return times, np.array([not text.endswith(CENSORED) for text in texts], np.bool_)


def _column(table: pd.DataFrame, given: str | None, word: str) -> str:
    names = [str(name) for name in table.columns]
    if given is not None:
        same = [name for name in names if name.casefold() == given.casefold()]
        found = [given] if given in names else same
    else:
        found = [name for name in names if concept_of(snake_name(name)) == word]
        found = [name for name in found if name.casefold() == word] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise TableError(
            f"several columns may be the {word}: {found}.",
            code="SURVIVAL_COLUMNS",
            hint=f"Name one with `--{word} COLUMN`.",
        )
    what = f"column `{given}`" if given is not None else f"column of the {word}"
    near = nearest_name(given or word, names)
    raise TableError(
        f"{_NEEDED}; the label table has no {what}; it has {names}.",
        code="SURVIVAL_COLUMNS",
        hint=(f"Did you mean `{near}`? " if near else "")
        + "Name them with `--time COLUMN --event COLUMN`. Without follow-up, a clinical column can "
        "be learned: `--task classification --target COLUMN`.",
    )


def _time(text: str, row: int, column: str) -> float | None:
    plain = plain_text(text)
    if is_missing(plain):
        return None
    try:
        # Python alone would read 1_000.
        value = float(plain) if "_" not in plain else math.nan
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value > 0:
        return value
    raise _invalid(f"`{column}` holds {text!r} in row {row}: a time is a number above 0.")


def _event(text: str, row: int, column: str) -> bool | None:
    plain = plain_text(text)
    if is_missing(plain):
        return None
    found = event_of(plain)
    if found is None:
        raise _invalid(
            f"`{column}` holds {text!r} in row {row}: an event is 1 (seen) or 0 (censored)."
        )
    return found


def _invalid(message: str) -> TableError:
    hint = "Correct it, or leave the cell empty where nothing is known."
    return TableError(message, code="SURVIVAL_CELLS", hint=hint)


def outcome_labels(labels: Sequence[str], rows: Sequence[int], column: str) -> list[str]:
    """Bring outcomes into one form, as numbers are: ``54.10+`` is ``54.1+``.

    Raises:
        TableError: If one is no time, with or without ``+`` (SURVIVAL_CELLS).
    """
    known = []
    for label, row in zip(labels, rows, strict=True):
        text = label.strip()
        time = _time(text.removesuffix(CENSORED), row, column)
        known.append("" if time is None else outcome_text(time, not text.endswith(CENSORED)))
    return known


def outcome_note(
    labels: Sequence[str], column: str, n_rows: int
) -> tuple[tuple[str, ...], list[str]]:
    """Return no classes, and what the outcomes look like in a sentence for the person there.

    Raises:
        TableError: If nobody has an outcome, or all are censored (COX_IMPOSSIBLE).
    """
    if not labels:
        raise TableError(
            f"none of {n_rows} row(s) has both `{column}`.",
            code="COX_IMPOSSIBLE",
            hint="Name other columns with `--time` and `--event`.",
        )
    times, events = outcomes(labels)
    if not events.any():
        raise TableError(
            f"all {len(events)} outcomes of `{column}` are censored: without an event there is "
            "nothing to learn.",
            code="COX_IMPOSSIBLE",
            hint="Check the event column: 1 is an event (death), 0 is censored.",
        )
    return (), [
        f"`{column}`: {int(events.sum()):,} events in {len(events):,} rows, times from "
        f"{times.min():g} to {times.max():g}"
    ]


def by_outcome(table: pd.DataFrame, group: str, n_sides: int) -> pd.DataFrame:
    """Put event or censored in place of each outcome, so that a split balances both, and times.

    Args:
        table: Columns ``label`` (outcomes) and ``group``.
        group: Name of the column that must stay on one side.
        n_sides: Number of sides or folds: each quantile of the times of events gets at least two
            patients a side.

    Returns:
        A copy whose ``label`` is "censored" or "event, quantile 1" and so on, at most five of equal
        size. Fewer censored patients than sides count as if they had had the event.
    """
    first = table[table[LABEL] != ""].drop_duplicates(group)
    times, events = outcomes(first[LABEL].tolist())
    if (~events).sum() < n_sides:
        events = np.ones(len(events), np.bool_)
    names = first[group].astype(str).to_numpy()
    order = sorted(np.flatnonzero(events), key=lambda i: (times[i], names[i]))
    n_bins = max(1, min(_MOST_BINS, len(order) // (2 * n_sides)))
    found = dict.fromkeys(first[group], "censored")
    for position, i in enumerate(order):
        found[first[group].iloc[i]] = f"event, quantile {1 + position * n_bins // len(order)}"
    return table.assign(**{LABEL: table[group].map(found)})


def require_one_outcome(units: pd.DataFrame) -> None:
    """Refuse patients whose slides bear different outcomes.

    Args:
        units: Columns ``patient_id`` and ``label``.

    Raises:
        TableError: LABELS_CONFLICT, naming the first patient and what is told of it.
    """
    several = units.groupby(PATIENT_ID)[LABEL].unique()
    several = several[several.map(len) > 1]
    if len(several):
        raise TableError(
            f"{len(several)} patient(s) have two outcomes, first {several.index[0]!r}: "
            f"{' and '.join(sorted(several.iloc[0]))}.",
            code="LABELS_CONFLICT",
            hint="Time and event are of the patient: give all of its slides the same.",
        )


def require_events(placed: pd.DataFrame, where: str = "") -> None:
    """Refuse sides with too few events to fit a head, or to stop its training by.

    Args:
        placed: Columns ``patient_id``, ``label`` and ``split``.
        where: What to add to the message: " of fold 2".

    Raises:
        TableError: TOO_FEW_EVENTS if train holds fewer than 10 events, or val fewer than 2.
    """
    patients = placed.drop_duplicates(PATIENT_ID)
    counts = {}
    for side in MIN_EVENTS:
        texts = patients.loc[patients[SPLIT] == side, LABEL].tolist()
        counts[side] = int(outcomes(texts)[1].sum())
    few = [side for side in ("train", "val") if counts[side] < MIN_EVENTS[side]]
    if few:
        found = ", ".join(f"{side} {n}" for side, n in counts.items())
        needed = " and ".join(f"{MIN_EVENTS[side]} in {side}" for side in ("train", "val"))
        raise TableError(
            f"too few events to learn from{where}: {found}; a head needs {needed}.",
            code="TOO_FEW_EVENTS",
            hint="Add patients or follow-up, or give train a larger share: more folds with `--cv`, "
            "or `--shares`.",
        )
