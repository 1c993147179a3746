"""Part lymph nodes that touch: at a neck that is narrow against the nodes on either side of it."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from histokeras.slides.tissue import Mask

Labels = npt.NDArray[np.int32]
"""0 where there is no node, else its number, 1..n."""
Heights = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]

SMOOTH_UM = 60.0
"""Sigma of the Gaussian that takes the raggedness off a border before its distance is measured."""
_SIGMA_PX = 3.0
"""Of that Gaussian, or a little more: a finer grid would show nothing that it leaves."""
_ROUND = np.ones((3, 3), np.bool_)
_STEPS = tuple(
    (down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)
)


def split_touching(mask: Mask, mpp: float, *, neck: float, least_px: float) -> Labels:
    """Number the connected pieces of a mask, those that only touch apart.

    A piece is parted where the half width at its narrowest place on the way from one middle to the
    other is below ``neck`` times the largest radius of the smaller one: the distance from the
    border of the smoothed mask is flooded from its peaks, and two basins that meet at a higher
    saddle become one.

    Args:
        mask: Shape (h, w), True in nodes, without holes.
        mpp: Micrometres per pixel.
        neck: Share of the smaller inner radius, 0..1; 0 parts nothing.
        least_px: Smaller parts are not split off, in pixels.

    Returns:
        Shape (h, w), int32, pieces in the order of their first pixels; touching corners connect.
    """
    whole, n_pieces = ndimage.label(mask, _ROUND)
    labels: Labels = whole.astype(np.int32)
    if not neck:
        return labels
    sizes = np.bincount(whole.ravel(), minlength=n_pieces + 1)
    n_labels = n_pieces
    for number, box in enumerate(ndimage.find_objects(whole), start=1):
        if sizes[number] < 2 * least_px:
            continue
        piece = whole[box] == number
        parts, n_parts = _part(piece, SMOOTH_UM / mpp, neck, least_px)
        if n_parts > 1:
            # The first part keeps the number.
            new = np.concatenate([[0, number], n_labels + np.arange(1, n_parts)])
            labels[box][piece] = new[parts[piece]]
            n_labels += n_parts - 1
    return labels


def _part(piece: Mask, sigma_px: float, neck: float, least_px: float) -> tuple[Whole, int]:
    """Return the number of the part, 1..n, of each pixel of a connected piece, and n."""
    factor = max(int(sigma_px / _SIGMA_PX), 1)
    share = _shrunk(piece, factor)
    # Spurs go, inlets stay: they are what parts nodes.
    core = (ndimage.gaussian_filter(share, sigma_px / factor) > 0.5) & (share > 0.5)
    if not core.any():
        return piece.astype(np.int64), 1
    height = ndimage.distance_transform_edt(core).astype(np.float32)
    # Steps of the pixel grid make peaks of their own.
    height = np.where(core, ndimage.gaussian_filter(height, 1.0), 0)
    basins, peaks = _basins(height, core)
    groups, n_parts = _merge(basins, peaks, height, neck, least_px / factor**2)
    if n_parts == 1:
        return piece.astype(np.int64), 1
    coarse = groups[basins][1:-1, 1:-1]
    rows, columns = piece.shape
    parts = np.kron(coarse, np.ones((factor, factor), np.int64))[:rows, :columns]
    # Fringes that were smoothed away belong to what is nearest.
    nearest = ndimage.distance_transform_edt(
        parts == 0, return_distances=False, return_indices=True
    )
    return np.where(piece, parts[tuple(nearest)], 0), n_parts


def _shrunk(piece: Mask, factor: int) -> Heights:
    """Return the share of squares of pixels that are set, float32, with a frame of zeros."""
    rows, columns = piece.shape
    padded = np.pad(piece, ((0, -rows % factor), (0, -columns % factor)))
    cells = padded.reshape(len(padded) // factor, factor, -1, factor)
    return np.pad(cells.mean(axis=(1, 3), dtype=np.float32), 1)


def _basins(height: Heights, core: Mask) -> tuple[Whole, Heights]:
    """Let each pixel walk uphill, the steepest way; those that arrive at one peak are a basin.

    Returns the number of the basin of each pixel, 0 outside, and the heights of the peaks.
    """
    rows, columns = height.shape
    own = np.arange(height.size, dtype=np.int64).reshape(height.shape)
    target = own[1:-1, 1:-1].copy()
    middle = height[1:-1, 1:-1]
    steepest = np.zeros_like(middle)
    for down, right in _STEPS:
        there = (slice(1 + down, rows - 1 + down), slice(1 + right, columns - 1 + right))
        slope = (height[there] - middle) / np.float32(np.hypot(down, right))
        better = slope > steepest
        steepest[better] = slope[better]
        target[better] = own[there][better]
    to = own.copy()
    to[1:-1, 1:-1] = target
    walk = to.ravel()
    while True:
        further = walk[walk]
        if np.array_equal(further, walk):
            break
        walk = further
    inside = core.ravel()
    peaks = np.flatnonzero(inside & (walk == own.ravel()))
    numbers = np.zeros(height.size, np.int64)
    numbers[peaks] = 1 + np.arange(len(peaks))
    basins = np.where(inside, numbers[walk], 0).reshape(height.shape)
    return basins, height.ravel()[peaks]


def _merge(
    basins: Whole, peaks: Heights, height: Heights, neck: float, least_px: float
) -> tuple[Whole, int]:
    """Join basins at their saddles, the highest first; return the part of each basin, and n."""
    n_basins = len(peaks)
    first, second, saddles = _saddles(basins, n_basins, height)
    root = list(range(n_basins + 1))
    sizes = np.bincount(basins.ravel(), minlength=n_basins + 1).tolist()
    tops = [0.0, *peaks.tolist()]

    def find(one: int) -> int:
        while root[one] != one:
            root[one] = root[root[one]]
            one = root[one]
        return one

    edges = list(zip(first.tolist(), second.tolist(), saddles.tolist(), strict=True))
    changed = True
    while changed:
        # What was joined may now be large, or have a higher peak.
        changed = False
        for one, other, saddle in edges:
            a, b = find(one), find(other)
            if a == b:
                continue
            wide = saddle >= neck * min(tops[a], tops[b])
            if wide or min(sizes[a], sizes[b]) < least_px:
                root[b] = a
                sizes[a] += sizes[b]
                tops[a] = max(tops[a], tops[b])
                changed = True
    roots = np.array([find(one) for one in range(n_basins + 1)])
    groups = np.zeros(n_basins + 1, np.int64)
    kept, numbers = np.unique(roots[1:], return_inverse=True)
    groups[1:] = numbers + 1
    return groups, len(kept)


def _saddles(basins: Whole, n_basins: int, height: Heights) -> tuple[Whole, Whole, Heights]:
    """Return which basins meet, and the highest place where they do, the highest first."""
    keys, lows = [], []
    for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
        columns = basins.shape[1]
        here = (slice(0, len(basins) - down), slice(max(-right, 0), columns - max(right, 0)))
        there = (slice(down, None), slice(max(right, 0), columns + min(right, 0)))
        a, b = basins[here], basins[there]
        meet = (a != b) & (a > 0) & (b > 0)
        low, high = np.minimum(a[meet], b[meet]), np.maximum(a[meet], b[meet])
        keys.append(low * (n_basins + 1) + high)
        lows.append(np.minimum(height[here][meet], height[there][meet]))
    key, low_height = np.concatenate(keys), np.concatenate(lows)
    order = np.lexsort((-low_height, key))
    key, low_height = key[order], low_height[order]
    is_first = np.concatenate([[True], np.diff(key) > 0]) if len(key) else np.zeros(0, np.bool_)
    pairs, saddles = key[is_first], low_height[is_first]
    order = np.argsort(-saddles, kind="stable")
    pairs, saddles = pairs[order], saddles[order]
    return pairs // (n_basins + 1), pairs % (n_basins + 1), saddles
