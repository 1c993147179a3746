"""Tiles that occur twice where they must not: under two patients, or on two sides of a split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from histokeras.analysis.metrics import AnyFloats, AnyInts, Bools, Floats, Ints

MOST_TILES = 30_000
"""Up to here each tile is simply compared with each other one."""
FLOOR_RADIUS = 0.15
"""Root mean square difference of standardised colour-and-texture numbers. Copies that were turned,
mirrored or saved as JPEG again lie within it; of 716,000 pairs of real lung tiles from different
sources none did."""
COSINE = 0.9
"""Cosine of whitened network features, for features without such numbers: the largest of those
716,000 pairs was .86."""
COMPONENTS = 64
LEAST_TILES = 4 * COMPONENTS
"""With fewer tiles, or shorter features than 64, directions cannot be told from chance."""
_BLOCK = 1024
_FLAT = 1 / 255
_TREE_COMPONENTS = 12
_MOST_CANDIDATES = 50_000_000


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of tiles, each once, ``a < b``.

    Attributes:
        a: Position of the first, int64 ``(m,)``.
        b: Position of the second.
        similarity: 1 for equal pixels, else below, float64 ``(m,)``.
    """

    a: Ints
    b: Ints
    similarity: Floats

    def __len__(self) -> int:
        return len(self.a)


def without_tissue(floor: AnyFloats) -> Bools:
    """Tell which tiles are of one colour: two pieces of empty glass are no duplicates.

    Args:
        floor: Colour-and-texture vectors ``(n, d)``; columns 3 to 5 are the standard deviations of
            red, green and blue.
    """
    return np.asarray((floor[:, 3:6] < _FLAT).all(axis=1))


def same_pixels(hashes: npt.NDArray[np.uint64], groups: AnyInts) -> Pairs:
    """Find tiles of equal pixels in different groups.

    Args:
        hashes: Hash of the pixels of each tile, ``(n,)``.
        groups: Group of each, ``(n,)``: tiles of one patient on one side of the split.

    Returns:
        Each tile of a further group, paired with the first tile that has its pixels.
    """
    order = np.lexsort((np.arange(len(hashes)), hashes))
    _, starts = np.unique(hashes[order], return_index=True)
    first = np.repeat(order[starts], np.diff([*starts, len(order)]))
    foreign = groups[order] != groups[first]
    a, b = first[foreign], order[foreign]
    return Pairs(a.astype(np.int64), b.astype(np.int64), np.ones(len(a)))


def alike_by_floor(floor: AnyFloats, groups: AnyInts, *, seed: int = 0) -> tuple[Pairs, int]:
    """Find tiles whose colour-and-texture vectors nearly agree, in different groups.

    Args:
        floor: Vectors ``(n, d)``.
        groups: Group of each tile, ``(n,)``.
        seed: Of the part that is compared where so many tiles lie so close together that
            comparing all would take hours.

    Returns:
        Each tile with its nearest tile of another group within :data:`FLOOR_RADIUS` (the
        similarity is 1 minus the root mean square difference), and how many tiles were compared:
        all ``n``, or :data:`MOST_TILES`.
    """
    standard = _standardised(floor) / np.sqrt(floor.shape[1], dtype=np.float32)
    rows = np.arange(len(standard))
    if len(rows) > MOST_TILES:
        found = _near_by_tree(standard, groups, seed)
        if found is not None:
            return _once(*found), len(rows)
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_TILES])
    pairs, distances = _nearest_foreign(standard[rows], groups[rows], FLOOR_RADIUS)
    return _once(rows[pairs], 1 - distances), len(rows)


def _near_by_tree(
    vectors: npt.NDArray[np.float32], groups: AnyInts, seed: int
) -> tuple[npt.NDArray[np.int64], Floats] | None:
    """Compare all by a k-d tree of their first principal components, which loses no near pair.

    Distances only shrink in a projection: whatever is near in all numbers is near there.
    """
    covariance = (vectors.T @ vectors / np.float32(len(vectors))).astype(np.float64)
    axes = np.linalg.eigh(covariance)[1][:, -_TREE_COMPONENTS:].astype(np.float32)
    projected = vectors @ axes
    tree = cKDTree(projected)
    radius = FLOOR_RADIUS * (1 + 1e-4)
    some = np.random.default_rng(seed).permutation(len(vectors))[:1000]
    counts = tree.query_ball_point(projected[some], radius, return_length=True)
    if counts.mean() * len(vectors) > _MOST_CANDIDATES:
        return None
    found, similarity = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for start in range(0, len(vectors), _BLOCK):
        near = tree.query_ball_point(projected[start : start + _BLOCK], radius)
        mine = np.repeat(np.arange(start, start + len(near)), [len(row) for row in near])
        other = np.fromiter((column for row in near for column in row), np.int64, len(mine))
        keep = groups[mine] != groups[other]
        mine, other = mine[keep], other[keep]
        distances = np.linalg.norm(
            vectors[mine].astype(np.float64) - vectors[other].astype(np.float64), axis=1
        )
        order = np.lexsort((distances, mine))
        order = order[distances[order] <= FLOOR_RADIUS]
        _, first = np.unique(mine[order], return_index=True)
        best = order[first]
        found.append(np.column_stack([mine[best], other[best]]))
        similarity.append(1 - distances[best])
    return np.concatenate(found), np.concatenate(similarity)


def sampled_note(compared: int, n_tiles: int) -> str:
    """Return what a reader must know if not all tiles were compared by feature; "" if they were."""
    if compared >= n_tiles:
        return ""
    return (
        f"only {compared:,} of {n_tiles:,} tiles, drawn at random, were compared by feature; "
        "equal pixels were looked for among all"
    )


def alike_by_features(vectors: AnyFloats, groups: AnyInts) -> Pairs:
    """Find tiles whose network features nearly agree, in different groups.

    Features of one network are correlated, those of random weights nearly one number: they are
    compared along their first 64 principal components, each scaled to variance 1.

    Args:
        vectors: Features ``(n, d)``, ``n`` at least 256 and ``d`` at least 64.
        groups: Group of each tile, ``(n,)``.

    Returns:
        Each tile with its nearest tile of another group at a cosine of :data:`COSINE` or more.

    Raises:
        ValueError: If there are fewer tiles or shorter features.
    """
    if len(vectors) < LEAST_TILES or vectors.shape[1] < COMPONENTS:
        raise ValueError(
            f"`vectors` must be at least ({LEAST_TILES}, {COMPONENTS}). "
            f"Received: shape {vectors.shape}"
        )
    standard = _standardised(vectors)
    covariance = standard.T @ standard / np.float32(len(standard))
    variances, axes = np.linalg.eigh(covariance.astype(np.float64))
    kept = variances[-COMPONENTS:] > 1e-6 * variances[-1]
    if kept.sum() < COMPONENTS / 2:
        # Along a few directions all tiles have near neighbours.
        return _once(np.empty((0, 2), np.int64), np.empty(0))
    axes = axes[:, -COMPONENTS:][:, kept] / np.sqrt(variances[-COMPONENTS:][kept])
    white = standard @ axes.astype(np.float32)
    norms = np.linalg.norm(white, axis=1, keepdims=True)
    units = np.divide(white, norms, out=np.zeros_like(white), where=norms > 0)
    pairs, distances = _nearest_foreign(units, groups, float(np.sqrt(2 * (1 - COSINE))))
    return _once(pairs, 1 - distances**2 / 2)


def _standardised(vectors: AnyFloats) -> npt.NDArray[np.float32]:
    if not len(vectors):
        return np.empty(vectors.shape, np.float32)
    mean, scale = vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64)
    # A number that never changes, up to rounding, tells nothing.
    changes = scale > 1e-6 * np.abs(mean)
    scale = np.where(changes & (scale > 0), scale, np.inf)
    return np.asarray((vectors - mean) / scale, np.float32)


def _nearest_foreign(
    vectors: npt.NDArray[np.float32], groups: AnyInts, radius: float
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return ``(m, 2)`` positions and distances of each vector and its nearest of another group."""
    squares = np.square(vectors).sum(axis=1)
    found, distances = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for start in range(0, len(vectors), _BLOCK):
        rows = slice(start, start + _BLOCK)
        gaps = squares[rows, np.newaxis] + squares - 2 * (vectors[rows] @ vectors.T)
        gaps[groups[rows, np.newaxis] == groups] = np.inf
        nearest = gaps.argmin(axis=1)
        mine = np.arange(start, start + len(nearest))
        # Once more from the differences: the short way above is not exact for near vectors.
        exact = np.linalg.norm(
            vectors[mine].astype(np.float64) - vectors[nearest].astype(np.float64), axis=1
        )
        near = (exact <= radius) & (groups[mine] != groups[nearest])
        found.append(np.column_stack([mine, nearest])[near])
        distances.append(exact[near])
    return np.concatenate(found), np.concatenate(distances)


def _once(pairs: npt.NDArray[np.int64], similarity: Floats) -> Pairs:
    ordered = np.sort(pairs, axis=1)
    _, first = np.unique(ordered, axis=0, return_index=True)
    return Pairs(ordered[first, 0], ordered[first, 1], similarity[first])


def merged(parts: Sequence[tuple[str, Pairs]]) -> tuple[list[str], Pairs]:
    """Join pairs found in several ways; the first way that found a pair names it.

    Args:
        parts: How the pairs were found, and the pairs.

    Returns:
        How each was found, and the pairs, those of the highest similarity first.
    """
    if not parts:
        return [], Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    how = np.concatenate([np.full(len(pairs), name, dtype=object) for name, pairs in parts])
    a, b, similarity = (
        np.concatenate([getattr(pairs, key) for _, pairs in parts])
        for key in ("a", "b", "similarity")
    )
    _, first = np.unique(np.column_stack([a, b]), axis=0, return_index=True)
    order = first[np.lexsort((first, -similarity[first]))]
    return how[order].tolist(), Pairs(a[order], b[order], similarity[order])
