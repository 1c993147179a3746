"""Folds that keep sites whole: no site in two folds, classes as even as sites allow."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from histokeras.cohort.allocate import Group
from histokeras.errors import TableError

Ints = npt.NDArray[np.int64]
MOST_PLACES = 400
"""Sites times folds beyond which the search alone decides, beside the bound of rounding."""
_NODES = 1000
"""Nodes, not seconds, limit the proof: the same table gives the same folds on any machine."""
_MOST_SWAPPED = 150
_SHOWN = 12


@dataclass(frozen=True)
class SiteFolds:
    """Which site lies in which fold, and how even the folds are.

    Attributes:
        folds: Site -> fold, 0..folds-1.
        deviation: Sum over folds and over the patients of each class and of all, of the distance
            from an even share, in patients.
        bound: What no folds can be below, in patients; equal where these are proved the best.
    """

    folds: Mapping[str, int]
    deviation: float
    bound: float

    @property
    def facts(self) -> dict[str, Any]:
        """Return what the split file says of them."""
        return {"n_sites": len(self.folds), "deviation": self.deviation, "bound": self.bound}


def fold_sites(groups: Sequence[Group], sites: Mapping[str, str], folds: int) -> SiteFolds:
    """Give each site a fold.

    A greedy start, largest site first, is improved by moving and exchanging sites; then mixed
    integer programming (HiGHS) proves how far from the best it is, and replaces it where it finds
    better folds. Nothing is drawn at random.

    Args:
        groups: Patients with their labels; one with several counts in each.
        sites: Patient -> site.
        folds: Number of folds, at least 2.

    Returns:
        The folds. Each holds each class.

    Raises:
        TableError: SPLIT_IMPOSSIBLE if a class comes from fewer sites than there are folds, or no
            way is found to have each class in each fold.
    """
    labels = sorted({label for group in groups for label in group.labels})
    counts = Counter((sites[g.id], name) for g in groups for name in (None, *g.labels))
    sizes = {site: n for (site, name), n in counts.items() if name is None}
    names = sorted(sizes, key=lambda site: (-sizes[site], site))
    # The first row counts all patients, each further one a class.
    table = np.array([[counts[site, name] for site in names] for name in (None, *labels)])
    table = table.astype(np.int64).reshape(1 + len(labels), len(names))
    scarce = [
        name
        for name, row in zip(("all classes", *labels), table, strict=True)
        if np.count_nonzero(row) < folds
    ]
    if scarce:
        raise _impossible(
            f"{folds} folds need {folds} sites with each class; of {', '.join(map(repr, scarce))} "
            "there are fewer",
            names, labels, table,
        )  # fmt: skip
    placed = _search(table, _greedy(table, folds), folds)
    bound = _rounding(table, folds)
    if _cost(table, placed, folds)[:2] != (0, bound) and len(names) * folds <= MOST_PLACES:
        better, least = _prove(table, folds)
        bound = max(bound, least)
        if better is not None and _cost(table, better, folds) < _cost(table, placed, folds):
            placed = better
    empty, deviation, _ = _cost(table, placed, folds)
    if empty:
        raise _impossible(f"no way found to have each class in each of {folds} folds",
                          names, labels, table)  # fmt: skip
    return SiteFolds(
        folds=dict(zip(names, placed.tolist(), strict=True)),
        deviation=round(deviation / folds, 6),
        bound=round(min(bound, deviation) / folds, 6),
    )


def _cost(table: Ints, placed: Ints, folds: int) -> tuple[int, int, int]:
    """Return empty places of classes, the deviation times ``folds``, and that of its squares."""
    held = np.zeros((len(table), folds), dtype=np.int64)
    for fold in range(folds):
        held[:, fold] = table[:, placed == fold].sum(axis=1)
    off = np.abs(held * folds - table.sum(axis=1, keepdims=True))
    return int(np.count_nonzero(held == 0)), int(off.sum()), int((off * off).sum())


def _greedy(table: Ints, folds: int) -> Ints:
    placed = np.zeros(table.shape[1], dtype=np.int64)
    held = np.zeros((len(table), folds), dtype=np.int64)
    # Rare classes count as much as frequent ones, or they would go wherever there is room.
    share = table / table.sum(axis=1, keepdims=True)
    for site in range(table.shape[1]):
        added = [
            (share[:, site] * held[:, fold] / table.sum(axis=1)).sum() for fold in range(folds)
        ]
        placed[site] = int(np.argmin(added))
        held[:, placed[site]] += table[:, site]
    return placed


def _search(table: Ints, placed: Ints, folds: int) -> Ints:
    """Move or exchange sites as long as that helps."""
    best, cost = placed, _cost(table, placed, folds)
    improved = True
    while improved:
        improved = False
        for trial in _neighbours(best, folds):
            found = _cost(table, trial, folds)
            if found < cost:
                best, cost, improved = trial, found, True
                break
    return best


def _neighbours(placed: Ints, folds: int) -> Any:
    """Yield the folds with one site moved, then, of not too many sites, with two exchanged."""
    n = len(placed)
    for site in range(n):
        for fold in range(folds):
            if fold != placed[site]:
                moved = placed.copy()
                moved[site] = fold
                yield moved
    for one in range(n if n <= _MOST_SWAPPED else 0):
        for other in range(one):
            if placed[one] != placed[other]:
                swapped = placed.copy()
                swapped[[one, other]] = placed[[other, one]]
                yield swapped


def _rounding(table: Ints, folds: int) -> int:
    """Return the deviation times ``folds`` that is left as patients cannot be divided.

    Of ``n`` patients, ``r = n % folds`` folds hold one more than the others: ``r`` times
    ``folds - r`` too many, and as much too few.
    """
    left = table.sum(axis=1) % folds
    return int((2 * left * (folds - left)).sum())


def _prove(table: Ints, folds: int) -> tuple[Ints | None, int]:
    """Return the best folds that HiGHS finds, and the least deviation times ``folds``.

    Variables are ``x[site, fold]`` (0 or 1) and ``d[row, fold]``, at least the distance of
    ``folds * count`` from the total of the row.
    """
    n_rows, n_sites = table.shape
    places, cells = n_sites * folds, n_rows * folds
    one_fold = np.kron(np.eye(n_sites), np.ones(folds))
    held = np.kron(table, np.eye(folds))
    total = np.repeat(table.sum(axis=1), folds)
    upper = np.ones((n_sites, folds))
    # Folds are alike: the first site is in fold 0, the second in 0 or 1, and so on.
    for site in range(min(n_sites, folds)):
        upper[site, site + 1 :] = 0
    nothing = np.zeros((n_sites, cells))
    matrix = np.block([
        [one_fold, nothing],
        [held, np.zeros((cells, cells))],
        [held * folds, -np.eye(cells)],
        [held * folds, np.eye(cells)],
    ])  # fmt: skip
    free = np.full(cells, np.inf)
    found = milp(
        np.concatenate([np.zeros(places), np.ones(cells)]),
        integrality=np.concatenate([np.ones(places), np.zeros(cells)]),
        bounds=Bounds(0, np.concatenate([upper.ravel(), free])),
        constraints=LinearConstraint(
            coo_matrix(matrix),
            np.concatenate([np.ones(n_sites), np.ones(cells), -free, total]),
            np.concatenate([np.ones(n_sites), free, total, free]),
        ),
        options={"node_limit": _NODES, "mip_rel_gap": 0},
    )
    bound = found.mip_dual_bound
    least = 0 if bound is None or not np.isfinite(bound) else int(np.ceil(bound - 1e-5))
    if found.x is None:
        return None, least
    return found.x[:places].reshape(n_sites, folds).argmax(axis=1).astype(np.int64), least


def _impossible(what: str, names: Sequence[str], labels: Sequence[str], table: Ints) -> TableError:
    rows = [
        f"{name!r} {table[0, i]}"
        + "".join(f", {label!r} {table[1 + k, i]}" for k, label in enumerate(labels))
        for i, name in enumerate(names[:_SHOWN])
    ]
    more = f"; ... and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return TableError(
        f"{what} (patients per site: {'; '.join(rows)}{more}).",
        code="SPLIT_IMPOSSIBLE",
        hint="Ask for fewer folds, merge classes, or leave out `--preserve-site`.",
    )
