"""How well clusters agree with known groups: NMI, ARI, and accuracy after the best matching."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from histokeras.analysis.bootstrap import N_RESAMPLES

Table = npt.NDArray[np.int64]


def contingency(clusters: Sequence[object], groups: Sequence[object]) -> Table:
    """Count members, int64 ``(n_clusters, n_groups)``, both in sorted order.

    Args:
        clusters: The cluster of each member.
        groups: Its known group, in the same order.

    Raises:
        ValueError: If there is no member, or the lengths differ.
    """
    if not len(clusters) or len(clusters) != len(groups):
        raise ValueError(
            "`clusters` and `groups` must be as long as each other, and not empty. "
            f"Received: lengths {len(clusters)} and {len(groups)}"
        )
    _, rows = np.unique(np.asarray(clusters), return_inverse=True)
    _, columns = np.unique(np.asarray(groups), return_inverse=True)
    table = np.zeros((rows.max() + 1, columns.max() + 1), np.int64)
    np.add.at(table, (rows, columns), 1)
    return table


def mutual_information(table: Table) -> float:
    """Return the mutual information over the mean of both entropies, in [0, 1]; 1 where both are 0.

    Args:
        table: Of :func:`contingency`.
    """
    joint = table / table.sum()
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    mean = (_entropy(rows) + _entropy(columns)) / 2
    if mean == 0:
        return 1.0
    shared = _entropy(rows) + _entropy(columns) - _entropy(joint.ravel())
    return float(np.clip(shared / mean, 0, 1))


def adjusted_rand(table: Table) -> float:
    """Return the adjusted Rand index: 1 where the groups are the clusters, about 0 by chance.

    Args:
        table: Of :func:`contingency`.
    """
    both, rows = _pairs(table), _pairs(table.sum(axis=1))
    columns, every = _pairs(table.sum(axis=0)), _pairs(table.sum())
    expected = rows * columns / every if every else 0.0
    most = (rows + columns) / 2
    # Everything in one cluster, or each by itself, on both sides.
    return 1.0 if most == expected else (both - expected) / (most - expected)


def matched_accuracy(table: Table) -> float:
    """Return the share of members in the group that their cluster stands for, in (0, 1].

    Clusters and groups are matched one to one so that it is largest (Hungarian assignment).

    Args:
        table: Of :func:`contingency`.
    """
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / table.sum())


def inverse_purity(table: Table) -> float:
    """Return the share of members in the largest cluster of their group, in (0, 1].

    So often is a member's cluster guessed right by who knows its group alone.

    Args:
        table: Of :func:`contingency`.
    """
    return float(table.max(axis=0).sum() / table.sum())


def agreement(clusters: Sequence[object], groups: Sequence[object]) -> dict[str, float | int]:
    """Return ``n``, ``nmi``, ``ari`` and ``acc``, and ``largest_group``, what ``acc`` must beat.

    Beside them ``inverse_purity``, and ``largest_cluster``, what that must beat.

    Args:
        clusters: The cluster of each member.
        groups: Its known group, in the same order.
    """
    table = contingency(clusters, groups)
    return {
        "n": int(table.sum()),
        "n_groups": table.shape[1],
        "nmi": mutual_information(table),
        "ari": adjusted_rand(table),
        "acc": matched_accuracy(table),
        "largest_group": float(table.sum(axis=0).max() / table.sum()),
        "inverse_purity": inverse_purity(table),
        "largest_cluster": float(table.sum(axis=1).max() / table.sum()),
    }


def compare_agreement(
    clusters: Sequence[object],
    first: Sequence[object],
    second: Sequence[object],
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> dict[str, Any]:
    """Compare how well clusters agree with two groupings of the same members, by the ARI.

    The adjusted Rand index alone is fair here: what chance gives is taken off for any number of
    groups, while NMI rises with their number.

    Args:
        clusters: The cluster of each member; members are independent of each other, such as
            patients.
        first: Its group in the one grouping, in the same order.
        second: Its group in the other.
        seed: Of the resamples.
        n_resamples: How often members are drawn with replacement.

    Returns:
        ``n``; ``first`` and ``second``, the indices; ``difference``, the first less the second,
        with ``low`` and ``high``, the 95 % interval of the resamples.

    Raises:
        ValueError: If there is no member, or the lengths differ.
    """
    tables = [contingency(clusters, groups) for groups in (first, second)]
    codes = [
        np.unique(np.asarray(values), return_inverse=True)[1]
        for values in (clusters, first, second)
    ]
    rng, n, found = np.random.default_rng(seed), len(clusters), []
    for _ in range(n_resamples):
        drawn = rng.integers(0, n, n)
        one, other = (_drawn_rand(codes[0][drawn], part[drawn]) for part in codes[1:])
        found.append(one - other)
    one, other = (adjusted_rand(table) for table in tables)
    low, high = np.percentile(found, (2.5, 97.5))
    difference = {"value": one - other, "low": float(low), "high": float(high)}
    return {"n": n, "first": one, "second": other, "difference": difference}


def format_agreement(metrics: Mapping[str, Any]) -> str:
    """Return the figures of test (all tiles where there is no test side) as lines of a table.

    Args:
        metrics: The content of metrics.json of ``histokeras cluster``.
    """
    lines = []
    for method, sides in metrics["agreement"].items():
        if sides is None:
            lines.append(f"{method}: {metrics['kmeans_note']}")
            continue
        side = "test" if "test" in sides else "all"
        for level, groups in sides[side].items():
            level = metrics.get("unit", level) if level == "patient" else level
            for name, found in groups.items():
                lines.append(
                    f"{method:7} {side}, {level + 's':8} n {found['n']:<7} against {name:12} NMI "
                    f"{found['nmi']:.3f}  ARI {found['ari']:.3f}  ACC {found['acc']:.3f} "
                    f"(largest of {found['n_groups']} groups {found['largest_group']:.3f})"
                )
    return "\n".join(lines) or "There is no group to compare with."


def _drawn_rand(clusters: npt.NDArray[np.intp], groups: npt.NDArray[np.intp]) -> float:
    width = groups.max() + 1
    counts = np.bincount(clusters * width + groups, minlength=(clusters.max() + 1) * width)
    return adjusted_rand(counts.reshape(-1, width))


def _entropy(shares: npt.NDArray[np.float64]) -> float:
    present = shares[shares > 0]
    # Not -0.0 for a single group.
    return max(0.0, float(-(present * np.log(present)).sum()))


def _pairs(counts: npt.NDArray[np.int64] | np.int64) -> float:
    counts = np.asarray(counts)
    return float((counts * (counts - 1) // 2).sum())
