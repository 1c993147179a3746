"""How two columns of a table of patients go together: one test, one effect size, and all the q."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from histokeras.analysis.metrics import Floats
from histokeras.analysis.site_labels import cramers_v, epsilon_squared

MIN_PATIENTS, MIN_GROUP = 10, 5
_LEAST_EXPECTED, _FEW_EXPECTED, _SHARE_FEW = 1.0, 5.0, 0.2
RHO, EPSILON, CRAMER = "spearman_rho", "epsilon_squared", "cramers_v"
COLUMNS = (
    "measure", "clinical", "test", "n", "statistic", "p", "q", "effect", "effect_size", "strength",
    "direction", "groups", "left_out", "not_computed",
)  # fmt: skip
"""Columns of :func:`associations`."""


@dataclass(frozen=True, eq=False)
class Variable:
    """A column as a test takes it.

    Attributes:
        name: Name of the column.
        values: ``(P,)`` float64: numbers, ranks of ordered levels, or numbers of groups; NaN where
            missing.
        levels: Names of the groups; empty where the values have an order.
    """

    name: str
    values: Floats
    levels: tuple[str, ...] = ()


def as_variable(column: "pd.Series[Any]", name: str) -> Variable:
    """Return a column of numbers, of truth values, or of categories.

    Args:
        column: float, "boolean" or categorical; levels with an order become 0, 1, 2 ...
        name: What it is called.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy().astype(np.float64)
        codes[codes < 0] = np.nan
        levels = () if column.cat.ordered else tuple(map(str, column.cat.categories))
        return Variable(name, codes, levels)
    if column.dtype.kind == "b":
        truth = column.astype("boolean").astype("float64")
        return Variable(name, np.asarray(truth, np.float64), ("no", "yes"))
    return Variable(name, np.asarray(column, np.float64))


@dataclass
class _Result:
    """The cells of one row, as far as they are known."""

    n: int
    cells: dict[str, Any] = field(default_factory=dict)

    def refuse(self, why: str) -> "dict[str, Any]":
        return {**self.cells, "n": self.n, "not_computed": why}


def associate(
    one: Variable,
    other: Variable,
    *,
    min_patients: int = MIN_PATIENTS,
    min_group: int = MIN_GROUP,
) -> dict[str, Any]:
    """Test whether two columns go together, over the patients of whom both are known.

    Two columns with an order: Spearman. One of groups: Kruskal-Wallis, and the adjusted share of
    the variance of ranks that lies between groups (epsilon squared). Both of groups: chi-square,
    in a table of two by two with an expected count below 5 Fisher's exact test; Cramér's V,
    corrected for its bias.

    Args:
        one: First column.
        other: Second column, of as many patients.
        min_patients: Fewer are not tested.
        min_group: Smaller groups are left out of the test and named.

    Returns:
        ``test``, ``n`` (patients in the test), ``statistic``, ``p``, ``effect`` (name of the
        measure), ``effect_size``, ``strength`` (-1..1, comparable across tests: rho, the square
        root of epsilon squared, V; with a sign where there is a direction), ``direction``,
        ``groups`` and ``left_out`` in words. Where there is no test ``not_computed`` says why.
    """
    # A ratio may be infinite: it is the largest there is, and has its rank.
    both = ~(np.isnan(one.values) | np.isnan(other.values))
    if one.levels and not other.levels:
        one, other = other, one
    names = [variable.levels for variable in (one, other)]
    left: list[str] = []
    for variable in (one, other):
        both, small = _without_small(variable, both, min_group)
        left += small
    result = _Result(int(both.sum()), {"left_out": ", ".join(left)})
    x, y = one.values[both], other.values[both]
    if result.n < min_patients:
        return result.refuse(f"{result.n} patients, fewer than {min_patients}")
    for variable, values in ((one, x), (other, y)):
        if len(np.unique(values)) < 2:
            kept = "one group is left" if variable.levels else "all values are equal"
            return result.refuse(f"`{variable.name}`: {kept}")
    if not any(names):
        return {**result.cells, "n": result.n, **_spearman(x, y)}
    if not all(names):
        return {**result.cells, "n": result.n, **_kruskal(x, y, other.levels)}
    return _contingency(x, y, one.levels, other.levels, result)


def _without_small(
    variable: Variable, both: npt.NDArray[np.bool_], min_group: int
) -> tuple[npt.NDArray[np.bool_], list[str]]:
    """Leave out the patients of groups that are too small; return also the names of these."""
    if not variable.levels:
        return both, []
    counts = np.bincount(variable.values[both].astype(int), minlength=len(variable.levels))
    small = [i for i, n in enumerate(counts) if 0 < n < min_group]
    named = [f"{variable.levels[i]} ({counts[i]})" for i in small]
    return both & ~np.isin(variable.values, small), named


def _spearman(x: Floats, y: Floats) -> dict[str, Any]:
    found = stats.spearmanr(x, y)
    rho = float(found.statistic)
    return {
        "test": "Spearman",
        "statistic": rho,
        "p": float(found.pvalue),
        "effect": RHO,
        "effect_size": rho,
        "strength": rho,
        "direction": "rises with it" if rho > 0 else "falls where it rises",
    }


def _kruskal(x: Floats, groups: Floats, levels: Sequence[str]) -> dict[str, Any]:
    present = np.unique(groups)
    parts = [x[groups == group] for group in present]
    names = [levels[int(group)] for group in present]
    found = stats.kruskal(*parts)
    ranks = stats.rankdata(x)
    epsilon = epsilon_squared(groups.astype(int), ranks)
    means = [ranks[groups == group].mean() for group in present]
    high, low = int(np.argmax(means)), int(np.argmin(means))
    strength = float(np.sqrt(epsilon))
    if len(parts) == 2 and high == 0:
        strength = -strength
    return {
        "test": "Kruskal-Wallis",
        "statistic": float(found.statistic),
        "p": float(found.pvalue),
        "effect": EPSILON,
        "effect_size": epsilon,
        "strength": strength,
        "direction": f"highest in {names[high]} (median {np.median(parts[high]):.3g}), lowest in "
        f"{names[low]} ({np.median(parts[low]):.3g})",
        "groups": ", ".join(f"{n} {len(part)}" for n, part in zip(names, parts, strict=True)),
    }


def _contingency(
    x: Floats, y: Floats, x_levels: Sequence[str], y_levels: Sequence[str], result: _Result
) -> dict[str, Any]:
    rows, row_of = np.unique(x, return_inverse=True)
    columns, column_of = np.unique(y, return_inverse=True)
    table = np.zeros((len(rows), len(columns)), np.int64)
    np.add.at(table, (row_of, column_of), 1)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    few = expected < _FEW_EXPECTED
    if table.shape == (2, 2) and few.any():
        odds, p = stats.fisher_exact(table)
        test, statistic = "Fisher", float(odds)
    elif (expected < _LEAST_EXPECTED).any() or few.mean() > _SHARE_FEW:
        return result.refuse("too few patients for so many groups (expected counts below 5)")
    else:
        found = stats.chi2_contingency(table, correction=False)
        test, statistic, p = "chi-square", float(found.statistic), float(found.pvalue)
    excess = (table - expected) / np.sqrt(expected)
    i, j = np.unravel_index(int(excess.argmax()), excess.shape)
    size = cramers_v(table)
    return {
        **result.cells,
        "n": result.n,
        "test": test,
        "statistic": statistic,
        "p": float(p),
        "effect": CRAMER,
        "effect_size": size,
        "strength": size,
        "direction": f"{x_levels[int(rows[i])]} goes with {y_levels[int(columns[j])]}",
        "groups": f"{len(rows)} x {len(columns)}",
    }


def associations(
    measures: Mapping[str, "pd.Series[Any]"],
    clinical: Mapping[str, "pd.Series[Any]"],
    *,
    min_patients: int = MIN_PATIENTS,
    min_group: int = MIN_GROUP,
) -> pd.DataFrame:
    """Test every measure against every clinical column.

    Args:
        measures: Name -> column, such as shares of tissue.
        clinical: Name -> column of the same patients in the same order.
        min_patients: Fewer are not tested.
        min_group: Smaller groups are left out of a test and named.

    Returns:
        One row a pair with the columns ``COLUMNS``; ``q`` is the false discovery rate of Benjamini
        and Hochberg over all p of the table. Sorted by p, then by strength; pairs that were not
        tested last.
    """
    ones = [as_variable(column, name) for name, column in measures.items()]
    others = [as_variable(column, name) for name, column in clinical.items()]
    rows = [
        {
            "measure": one.name,
            "clinical": other.name,
            **associate(one, other, min_patients=min_patients, min_group=min_group),
        }
        for one in ones
        for other in others
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = ["statistic", "p", "q", "effect_size", "strength"]
    table[numbers] = table[numbers].astype("float64")
    words = [name for name in COLUMNS if name not in (*numbers, "n")]
    table[words] = table[words].astype(object).where(table[words].notna(), "")
    tested = table["p"].notna()
    if tested.any():
        table.loc[tested, "q"] = stats.false_discovery_control(table.loc[tested, "p"])
    return (
        table.assign(_weak=-table["strength"].abs())
        .sort_values(["p", "_weak"], kind="stable", ignore_index=True)
        .drop(columns="_weak")
    )
