"""Columns of a table as terms of a Cox model: numbers by their spread, categories by a reference.

What is learned of a column (its spread, its categories) comes from the patients it is learned on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from histokeras.analysis.metrics import Bools, Floats

_MOST_STEPS = 6
"""A number with so few values is told by its steps, not by its spread: stages, grades, 0 and 1."""
_FEWEST_OF_LEVEL = 5
OTHER = "other"
"""Category of all that fewer than five patients have."""


@dataclass(frozen=True)
class Covariate:
    """A column as it was learned.

    Attributes:
        name: Name of the column.
        terms: Name of each term.
        levels: Categories, the reference first; empty for a number.
        unit: What a number is divided by: its standard deviation, or 1.
    """

    name: str
    terms: tuple[str, ...]
    levels: tuple[str, ...] = ()
    unit: float = 1.0


def known_values(column: pd.Series) -> Bools:
    """Return where a column has a value: neither NaN nor ""."""
    known: Bools = (column.notna() & (column.astype(object) != "")).to_numpy(bool)
    return known


def learn_covariate(column: pd.Series) -> Covariate | None:
    """Learn how a column becomes terms.

    Args:
        column: Numbers (NaN where missing), text ("" where missing), or a categorical of two
            levels.

    Returns:
        The covariate; None where it has one value only.
    """
    name, known = str(column.name), column[known_values(column)]
    if known.nunique() < 2:
        return None
    if pd.api.types.is_numeric_dtype(column):
        if known.nunique() == 2 and set(known) == {0, 1}:
            return Covariate(name, (f"{name}: 1 against 0",))
        if known.nunique() <= _MOST_STEPS:
            return Covariate(name, (f"{name}, each step",))
        spread = float(known.std(ddof=0))
        return Covariate(name, (f"{name}, per SD ({spread:.3g})",), unit=spread)
    counts = known.astype(str).value_counts()
    if isinstance(column.dtype, pd.CategoricalDtype) and len(counts) == 2:
        # Of two values with an order, such as no and yes, the first is the reference.
        first, second = (str(level) for level in column.dtype.categories if level in counts.index)
        return Covariate(name, (f"{name}: {second} against {first}",), (first, second))
    # The commonest is the reference; of equally common ones the first by name.
    often = sorted(counts[counts >= _FEWEST_OF_LEVEL].items(), key=lambda item: (-item[1], item[0]))
    levels = [str(level) for level, _ in often]
    if len(levels) < len(counts):
        levels.append(OTHER)
    if len(levels) < 2:
        return None
    reference = levels[0]
    rest = sorted(level for level in levels[1:] if level != OTHER)
    rest += [OTHER] if OTHER in levels[1:] else []
    terms = tuple(f"{name}: {level} against {reference}" for level in rest)
    return Covariate(name, terms, (reference, *rest))


def design(covariates: Sequence[Covariate], table: pd.DataFrame) -> Floats:
    """Return the terms of patients, ``(P, K)`` float64.

    Args:
        covariates: As learned.
        table: With their columns, no value missing; a category that was not learned counts as
            ``other``, or as the reference where there is no such category.
    """
    parts = [np.empty((len(table), 0))]
    for covariate in covariates:
        column = table[covariate.name]
        if not covariate.levels:
            parts.append(column.to_numpy(np.float64)[:, np.newaxis] / covariate.unit)
            continue
        text = column.astype(str)
        text = text.where(text.isin(covariate.levels), OTHER)
        parts.append(
            np.column_stack([(text == level).to_numpy(float) for level in covariate.levels[1:]])
        )
    return np.hstack(parts)


def independent(x: Floats) -> Bools:
    """Return which columns of ``(P, K)`` are neither constant nor told by those before them."""
    kept: list[int] = []
    centred = x - x.mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=0))
    for column in range(x.shape[1]):
        if size[column] <= 1e-9 * max(1.0, float(np.abs(x[:, column]).max())):
            continue
        mine = centred[:, column] / size[column]
        others = centred[:, kept] / size[kept]
        left = mine - others @ np.linalg.lstsq(others, mine, rcond=None)[0] if kept else mine
        if np.sqrt((left**2).sum()) > 1e-5:
            kept.append(column)
    found = np.zeros(x.shape[1], bool)
    found[kept] = True
    return found
