"""Outlines and boxes of areas in a class mask."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Bits = npt.NDArray[np.bool_]
Ring = npt.NDArray[np.int64]
"""Shape (n, 2): x and y of the corners of a closed line; the first corner is not repeated."""
# Steps of the pixel's sides, the inside on the right hand in image coordinates.
_SIDES = (((0, 0), (1, 0)), ((1, 0), (1, 1)), ((1, 1), (0, 1)), ((0, 1), (0, 0)))
_NEIGHBOURS = ((-1, 0), (0, 1), (1, 0), (0, -1))


def boxes(mask: Bits, *, least_px: int) -> npt.NDArray[np.int64]:
    """Return the boxes of connected areas.

    Args:
        mask: bool (h, w).
        least_px: Smaller areas get none.

    Returns:
        int64 (n, 4): x0, y0, x1, y1 in mask pixels, ends exclusive, from top to bottom.
    """
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    found = [
        (place[1].start, place[0].start, place[1].stop, place[0].stop)
        for place, size in zip(ndimage.find_objects(labels), sizes, strict=True)
        if size >= least_px
    ]
    return np.asarray(sorted(found, key=lambda box: (box[1], box[0])), np.int64).reshape(-1, 4)


def polygons(mask: Bits) -> list[tuple[Ring, ...]]:
    """Return the outlines of connected areas along the sides of their pixels.

    Args:
        mask: bool (h, w).

    Returns:
        For each area its outer ring, then its holes; the area inside equals the mask.
    """
    labels, count = ndimage.label(mask)
    found = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        rings = _rings(labels[place] == number)
        shift = np.array([place[1].start, place[0].start])
        rings.sort(key=lambda ring: -abs(area(ring)))
        found.append(tuple(ring + shift for ring in rings))
    assert len(found) == count
    return found


def area(ring: Ring) -> float:
    """Return the signed area of a ring: positive for outer rings, negative for holes."""
    x, y = ring[:, 0].astype(float), ring[:, 1].astype(float)
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


def _rings(mask: Bits) -> list[Ring]:
    padded = np.pad(mask, 1)
    core = padded[1:-1, 1:-1]
    ends: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for (start, stop), (down, right) in zip(_SIDES, _NEIGHBOURS, strict=True):
        height, width = core.shape
        beside = padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        rows, columns = np.nonzero(core & ~beside)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            corner = (column + start[0], row + start[1])
            ends.setdefault(corner, []).append((column + stop[0], row + stop[1]))
    rings = []
    while ends:
        rings.append(_walk(ends))
    return rings


def _walk(ends: dict[tuple[int, int], list[tuple[int, int]]]) -> Ring:
    """Follow the sides from any corner back to it, taking them out; keep the turns only."""
    first = here = next(iter(ends))
    step = (0, 0)
    ring: list[tuple[int, int]] = []
    while True:
        choices = ends[here]
        # Where two areas touch at a corner, turn right: the ring stays with its own area.
        right = (here[0] - step[1], here[1] + step[0])
        there = right if right in choices else choices[0]
        choices.remove(there)
        if not choices:
            del ends[here]
        move = (there[0] - here[0], there[1] - here[1])
        if move != step:
            ring.append(here)
        here, step = there, move
        if here == first and here not in ends:
            break
        if here == first and ring and len(ring) > 3:
            break
    return np.asarray(ring, np.int64)
