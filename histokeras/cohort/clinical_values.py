"""Clinical columns of a label table as covariates of patients: age, sex, stage and the like."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from histokeras.cohort.clinical_columns import EMPTY, read_column
from histokeras.cohort.clinical_words import ALIASES, EVENT, TIME, concept_of, parse_header
from histokeras.cohort.join import Joined
from histokeras.cohort.labels import Cohort, find_target
from histokeras.cohort.outcome_labels import OWN_LABEL
from histokeras.errors import TableError
from histokeras.types import LABEL, PATIENT_ID

_COVARIATES = frozenset(ALIASES) - {PATIENT_ID, TIME, EVENT}


def clinical_values(
    cohort: Cohort, joined: Joined, chosen: Sequence[str] = ()
) -> dict[str, "pd.Series[Any]"]:
    """Return what the label table tells of patients beside their outcome.

    Only columns that are known to be clinical are taken unless others are named: any other may be
    an outcome itself, such as the date of death.

    Args:
        cohort: The labels with the other columns of their table.
        joined: The slides or tiles that were joined to them.
        chosen: Columns to take; empty for those called age, sex, T, N, M, stage, grade and the
            like.

    Returns:
        Name of the column -> values with patients as index, in the order of their first slide:
        float64 (NaN where missing) or categorical, ordered where the levels have an order.

    Raises:
        TableError: COLUMN_MISSING if a chosen column is not there; CLINICAL_UNFIT if it tells
            nothing of patients (empty, an identifier), or the outcome.
    """
    table = cohort.table
    own = [str(name) for name in table.columns if name not in (LABEL, cohort.target)]
    shown = table[own].rename(columns={OWN_LABEL: LABEL})
    names = [find_target(shown, name) for name in chosen]
    outcome = {name for name in cohort.target.split(", ") if name in names}
    if outcome:
        raise _unfit(sorted(outcome)[0], "is the outcome itself")
    if not chosen:
        names = [name for name in own if concept_of(parse_header(name)[0]) in _COVARIATES]
    first = _first_rows(cohort, joined)
    found: dict[str, pd.Series[Any]] = {}
    for name in names:
        snake, codes = parse_header(name)
        cells = [str(cell) for cell in shown[name].iloc[list(first.values())]]
        column = read_column(cells, name=snake, concept=concept_of(snake), codes=codes)
        if column.kind == EMPTY or column.reason:
            if chosen:
                raise _unfit(name, f"tells nothing of patients ({column.reason})")
            continue
        values = column.values
        found[name] = pd.Series(values.to_numpy(), index=list(first), dtype=values.dtype)
    return found


def _first_rows(cohort: Cohort, joined: Joined) -> dict[str, int]:
    """Return the row of the label table that tells of each patient first."""
    rows = {key: row for row, key in reversed(list(enumerate(cohort.table[cohort.key])))}
    found: dict[str, int] = {}
    for patient, key in zip(joined.units[PATIENT_ID], joined.keys, strict=True):
        found.setdefault(str(patient), rows[key])
    return found


def _unfit(name: str, why: str) -> TableError:
    return TableError(
        f"`{name}` cannot be a clinical column: it {why}.",
        code="CLINICAL_UNFIT",
        hint="Leave it out of `--clinical-columns`.",
    )
