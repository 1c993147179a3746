"""How the label goes with the site: where it does, the site can stand in for the label."""

from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.analysis.metrics import AnyInts, Floats


def label_association(
    sites: AnyInts, labels: npt.NDArray[Any], n_sites: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Measure how the label goes with the site, and count it at each site.

    Args:
        sites: Site number of each patient, ``(P,)``.
        labels: Its label as text, "" where unknown; or its number, NaN where unknown.
        n_sites: Number of sites, ``K``.

    Returns:
        ``measure`` ("cramers_v" or "epsilon_squared"), its ``value`` in 0..1, None where it is not
        defined, and ``n_patients`` behind it; and for each site ``n_per_class``, or ``mean``.
    """
    if labels.dtype.kind == "f":
        known = np.isfinite(labels)
        value = epsilon_squared(sites[known], labels[known])
        means = [labels[known & (sites == k)] for k in range(n_sites)]
        rows: list[dict[str, Any]] = [
            {"mean": float(part.mean()) if len(part) else None} for part in means
        ]
        return _association("epsilon_squared", value, int(known.sum())), rows
    known = labels != ""
    classes, numbers = np.unique(labels[known].astype(str), return_inverse=True)
    table = np.zeros((n_sites, len(classes)), np.int64)
    np.add.at(table, (sites[known], numbers), 1)
    rows = [
        {"n_per_class": dict(zip(classes.tolist(), row.tolist(), strict=True))} for row in table
    ]
    return _association("cramers_v", cramers_v(table), int(known.sum())), rows


def _association(measure: str, value: float, n_patients: int) -> dict[str, Any]:
    return {
        "measure": measure,
        "value": value if np.isfinite(value) else None,
        "n_patients": n_patients,
    }


def cramers_v(table: npt.NDArray[Any]) -> float:
    """Return Cramér's V of counts, corrected for its bias with few patients in many cells.

    The correction is Bergsma's (2013, doi:10.1016/j.jkss.2012.10.002): where nothing goes together,
    it is 0 on average rather than well above.

    Args:
        table: Counts ``(K, C)``.

    Returns:
        0 (no relation) to 1 (the one tells the other); NaN unless two rows and two columns hold
        patients.
    """
    table = np.asarray(table, np.float64)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    n, (n_rows, n_columns) = table.sum(), table.shape
    if min(n_rows, n_columns) < 2:
        return float("nan")
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi = (np.square(table - expected) / expected).sum() / n
    phi = max(0.0, phi - (n_rows - 1) * (n_columns - 1) / (n - 1))
    rows, columns = (size - (size - 1) ** 2 / (n - 1) for size in (n_rows, n_columns))
    least = min(rows, columns) - 1
    return float(min(1.0, np.sqrt(phi / least))) if least > 0 else float("nan")


def epsilon_squared(groups: AnyInts, values: Floats) -> float:
    """Return the share of the variance of numbers that lies between groups, adjusted.

    Args:
        groups: Group numbers ``(P,)``.
        values: Numbers ``(P,)``.

    Returns:
        1 - (n - 1) / (n - K) times the share within groups, at least 0; NaN for one group, one
        patient a group, or numbers that are all equal.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    n, n_groups = len(values), len(names)
    total = np.square(values - values.mean()).sum() if n else 0.0
    if n_groups < 2 or n <= n_groups or total <= 0:
        return float("nan")
    means = np.bincount(numbers, weights=values) / np.bincount(numbers)
    within = np.square(values - means[numbers]).sum()
    return float(max(0.0, 1 - (n - 1) / (n - n_groups) * within / total))
