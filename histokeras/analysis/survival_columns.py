"""Columns that may tell survival: those of a clinical table, and of a table of the tissue."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd

from histokeras.analysis.covariates import known_values
from histokeras.cohort.categories import SITE, find_category
from histokeras.cohort.clinical import Clinical
from histokeras.cohort.clinical_columns import BINARY, NUMBER, ORDINAL
from histokeras.cohort.clinical_words import plain_text, snake_name
from histokeras.errors import TableError
from histokeras.tables import nearest_name
from histokeras.types import FOLD, PATIENT_ID, SPLIT

MOST_MISSING = 0.3
"""A column that more patients lack is left out of models, unless it was asked for by name."""
_MOST_LEVELS = 10
_LONGEST_HEADER = 24
_SHARE = "share_"
RESERVED = (PATIENT_ID, "time", "event", SPLIT, FOLD)
"""Names of our own in the tables that are written."""
_ENDS = ("_low", "_high")
OF_NODES = ("T_MLN_mean", "n_mln")
"""Of lymph nodes' many figures of one thing, those that are used unless others are asked for."""
_OF_TISSUE = re.compile(r"n_\w+")
_OUTCOME = re.compile(
    r"(os|dss|pfs|pfi|dfs|dfi|rfs|efs)(_.*)?|.*(survival|vital_status|follow_?up|days_to_).*"
    r"|time|event|status|death|dead|deceased"
)


@dataclass(frozen=True, eq=False)
class Source:
    """A table and the columns of it that are used.

    Attributes:
        values: ``patient_id`` and a column each: numbers as float64 (an order as 0, 1, 2, ...),
            two values as a categorical, categories as text with "" where missing.
        labels: The same as a reader knows them, "" where missing: only what is no number.
        columns: Names of the columns, in the order of the file.
        left_out: Columns that are not used: name and reason.
        levels: Column that is an order -> its levels, the lowest first.
    """

    values: pd.DataFrame
    labels: pd.DataFrame
    columns: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def clinical_source(clinical: Clinical, outcome: Sequence[str], asked: Sequence[str]) -> Source:
    """Choose the columns of a clinical table.

    Args:
        clinical: The table.
        outcome: Its columns of time and event.
        asked: Columns (or headers) that were asked for, of this table or another; empty for all
            that may serve: numbers, orders and at most ten categories; never an outcome, nor a
            site, which is no fact of the patient.
    """
    site = find_category(clinical.kinds, SITE)
    lost = [(str(c), str(r)) for c, r in clinical.dropped_columns.to_numpy().tolist()]
    chosen = []
    for name in clinical.kinds:
        if asked:
            if _is_asked(clinical, name, asked):
                chosen.append(name)
            continue
        if name in outcome:
            continue
        reason = _unfit(clinical, name, site)
        if reason:
            lost.append((title_of(clinical, name), reason))
        else:
            chosen.append(name)
    return _source(clinical, chosen, [] if asked else lost)


def tissue_source(clinical: Clinical, asked: Sequence[str]) -> Source:
    """Choose the columns of a table of the tissue, such as ``patients.csv`` of ``composition``.

    Args:
        clinical: The table, read as a clinical one.
        asked: Columns that were asked for; empty for the shares of tissue (``share_...``), or,
            where there are none, for all numbers but counts (``n_...``) and ends of intervals; of
            ``lymph-nodes`` for T/MLN and the number of metastatic nodes.
    """
    names = [name for name in clinical.kinds if name != SPLIT]
    if asked:
        return _source(clinical, [n for n in names if _is_asked(clinical, n, asked)], [])
    of_nodes = [name for name in map(partial(asked_name, clinical), OF_NODES) if name]
    if len(of_nodes) == len(OF_NODES):
        others = [name for name in names if name not in of_nodes]
        reason = f"not beside {' and '.join(OF_NODES)} unless named with --columns"
        return _source(clinical, of_nodes, [(title_of(clinical, name), reason) for name in others])
    ends = {f"{name}{end}" for name in names for end in _ENDS}
    numbers = [
        name
        for name in names
        if clinical.kinds[name] == NUMBER
        and name not in ends
        and not _OF_TISSUE.fullmatch(name)
        and not _OUTCOME.fullmatch(name)
    ]
    chosen = [name for name in numbers if name.startswith(_SHARE)] or numbers
    return _source(clinical, chosen, [])


def require_asked(sources: Sequence[tuple[str, Clinical]], asked: Sequence[str]) -> None:
    """Refuse names of columns that no table has.

    Raises:
        TableError: If one is in none (COLUMN_MISSING), or in two (COLUMN_AMBIGUOUS).
    """
    for wanted in asked:
        found = [
            (title, name)
            for title, table in sources
            for name in table.kinds
            if _is_asked(table, name, [wanted])
        ]
        names = [name for _, table in sources for name in table.kinds]
        if len(found) > 1:
            raise TableError(
                f"column `{wanted}` is in the {' and in the '.join(title for title, _ in found)}.",
                code="COLUMN_AMBIGUOUS",
                hint="Rename it in one of them.",
            )
        if not found:
            near = nearest_name(wanted, names)
            raise TableError(
                f"no table has a column `{wanted}` of use; there are {', '.join(names)}.",
                code="COLUMN_MISSING",
                hint=f"Did you mean `{near}`?" if near else "Name some of these.",
            )


def asked_name(clinical: Clinical, wanted: str) -> str | None:
    """Return the name of the column that a person means; None if the table has none."""
    return next((name for name in clinical.kinds if _is_asked(clinical, name, [wanted])), None)


def title_of(clinical: Clinical, name: str) -> str:
    """Return what a column is called in figures: its header where that is short and plain."""
    header = plain_text(clinical.headers[name])
    plain = len(header) <= _LONGEST_HEADER and not set(header) & set("(),:+")
    return header if plain and header not in RESERVED else name


def _is_asked(clinical: Clinical, name: str, asked: Sequence[str]) -> bool:
    own = {name, clinical.headers[name], snake_name(clinical.headers[name])}
    return any(wanted in own or snake_name(wanted) in own for wanted in asked)


def _unfit(clinical: Clinical, name: str, site: str | None) -> str:
    """Return why a column does not serve by itself; "" if it does."""
    header = snake_name(clinical.headers[name])
    if _OUTCOME.fullmatch(header) or _OUTCOME.fullmatch(name):
        return "an outcome, or part of one"
    if name == site:
        return "tells where the patient was treated"
    if name == SPLIT or header == SPLIT:
        return "tells the side of the split"
    column = clinical.table[name]
    if column.nunique() < 2:
        return "has one value"
    if clinical.kinds[name] != NUMBER and column.nunique() > _MOST_LEVELS:
        return f"has {column.nunique()} values"
    return ""


def _source(
    clinical: Clinical, chosen: Sequence[str], left_out: Sequence[tuple[str, str]]
) -> Source:
    patients = clinical.table[PATIENT_ID].astype(str)
    values: dict[str, Any] = {PATIENT_ID: patients}
    labels: dict[str, Any] = {PATIENT_ID: patients}
    levels, titles = {}, []
    for name in chosen:
        column, kind, title = clinical.table[name], clinical.kinds[name], title_of(clinical, name)
        titles.append(title)
        if kind == NUMBER:
            values[title] = column.astype("float64")
            continue
        text = column.astype(object).where(column.notna(), "").astype(str)
        labels[title] = text
        if kind == ORDINAL:
            codes = column.cat.remove_unused_categories()
            levels[title] = tuple(str(level) for level in codes.cat.categories)
            values[title] = codes.cat.codes.astype("float64").where(codes.notna())
        elif kind == BINARY and isinstance(column.dtype, pd.CategoricalDtype):
            values[title] = column
        else:
            values[title] = text
    return Source(
        pd.DataFrame(values), pd.DataFrame(labels), tuple(titles), tuple(left_out), levels
    )


def too_often_missing(values: pd.DataFrame, columns: Sequence[str]) -> list[tuple[str, str]]:
    """Return columns that too many patients lack: name and reason."""
    found = []
    for name in columns:
        share = 1 - float(known_values(values[name]).mean())
        if share > MOST_MISSING:
            found.append((name, f"missing in {share:.0%} of the patients"))
    return found
