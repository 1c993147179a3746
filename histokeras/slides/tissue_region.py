"""Which pixels of a view lie on tissue, its small gaps included."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from histokeras.slides.tissue import COARSE_MPP, Mask, dark_mask, read_coarse
from histokeras.slides.view import View

GAP_UM = 60.0
"""Bright gaps up to this width are tissue: fat cells, lumens of glands and capillaries are."""


@dataclass(frozen=True, eq=False)
class TissueRegion:
    """Tissue on a view.

    Attributes:
        mask: bool (h, w), the whole view at a coarse resolution.
        size_px: (width, height) of the view.
    """

    mask: Mask
    size_px: tuple[int, int]

    @classmethod
    def of(cls, view: View) -> Self:
        """Find the tissue of a slide whose mpp is known: pixels of luminance below 220 at 8 µm.

        Raises:
            SlideError: If the slide cannot be read or has no colours.
        """
        coarse = read_coarse(view.slide)
        um_per_px = max(COARSE_MPP, float(view.slide.mpp))
        return cls(_closed(dark_mask(coarse), GAP_UM / 2 / um_per_px), view.size_px)

    def inside(self, x: int, y: int, width: int, height: int) -> Mask:
        """Return which pixels of a window of the view are tissue, bool (height, width)."""
        rows, columns = self._rows(y, height), self._columns(x, width)
        return np.asarray(self.mask[rows[:, None], columns[None]])

    def touches(self, x: int, y: int, width: int, height: int) -> bool:
        """Return whether any pixel of a window of the view is tissue."""
        rows, columns = self._rows(y, height), self._columns(x, width)
        part = self.mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return bool(part.any())

    def _rows(self, y: int, height: int) -> npt.NDArray[np.int64]:
        return _cells(y, height, self.size_px[1], self.mask.shape[0])

    def _columns(self, x: int, width: int) -> npt.NDArray[np.int64]:
        return _cells(x, width, self.size_px[0], self.mask.shape[1])


def _cells(start: int, count: int, whole: int, cells: int) -> npt.NDArray[np.int64]:
    """Return in which cell of the mask the middle of each pixel lies."""
    return (2 * np.arange(start, start + count) + 1) * cells // (2 * whole)


def _closed(mask: Mask, radius: float) -> Mask:
    """Fill gaps of up to twice ``radius`` pixels between what is set, without widening it."""
    n = int(radius)
    if n < 1 or not mask.any():
        return mask
    # Continued, so that tissue at the border of the picture is not taken away again.
    wide = np.pad(mask, n, mode="edge")
    grown = ndimage.distance_transform_edt(~wide) <= radius
    shrunk = ndimage.distance_transform_edt(np.pad(grown, 1))[1:-1, 1:-1] > radius
    return np.asarray((shrunk | wide)[n:-n, n:-n])
