"""Outlines of the areas of a class mask, without specks, in bounded time and memory."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from histokeras.slides.mask_tiff import Grey, most_frequent
from histokeras.slides.synthetic.contours import polygons
from histokeras.slides.tissue import Mask

MOST_PX = 1 << 23
"""Of a mask that is traced."""
_MOST_SIDES = 400_000
_AROUND = np.ones((3, 3), np.bool_)


@dataclass(frozen=True, eq=False)
class Outlines:
    """Areas of one class mask.

    Attributes:
        factor: Pixels of the mask per pixel that was traced.
        areas: Class number -> its areas: outer ring, then holes, float64 (m, 2) x and y in pixels
            of the mask; the first corner is not repeated.
    """

    factor: int
    areas: dict[int, list[tuple[npt.NDArray[np.float64], ...]]]


def trace(mask: Grey, factor: int, numbers: Iterable[int], *, least_px: float) -> Outlines:
    """Trace the areas of some classes along the sides of pixels.

    A mask of very many borders is shrunk first, by two and two.

    Args:
        mask: uint8 (h, w) class numbers.
        factor: Pixels of the whole mask per pixel of this one.
        numbers: The classes.
        least_px: Smaller areas, and smaller holes in areas, are left out; in pixels of the whole.

    Returns:
        The outlines.
    """
    numbers = list(numbers)
    cleaned = {}
    while True:
        cleaned = {n: without_specks(mask == n, least_px / factor**2) for n in numbers}
        if sum(_sides(area) for area in cleaned.values()) <= _MOST_SIDES or max(mask.shape) < 2:
            break
        mask, factor = most_frequent(mask, 2), factor * 2
    areas = {
        number: [
            tuple(ring.astype(np.float64) * factor for ring in rings) for rings in polygons(area)
        ]
        for number, area in cleaned.items()
    }
    return Outlines(factor, areas)


def without_specks(mask: Mask, least_px: float) -> Mask:
    """Leave out small areas, then fill small holes.

    Args:
        mask: bool (h, w).
        least_px: What has fewer pixels is small.

    Returns:
        bool (h, w).
    """
    kept = _large(mask, least_px, None)
    outside = _large(~kept, least_px, _AROUND)
    return ~outside


def _large(mask: Mask, least_px: float, around: Mask | None) -> Mask:
    labels, count = ndimage.label(mask, around)
    large = np.bincount(labels.ravel(), minlength=count + 1) >= least_px
    if around is not None:
        # What reaches the border is no hole.
        for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            large[edge] = True
    large[0] = False
    return np.asarray(large[labels])


def _sides(mask: Mask) -> int:
    """Count the sides of pixels between what is set and what is not."""
    across = np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    return int(across + np.count_nonzero(mask[1:] != mask[:-1]))
