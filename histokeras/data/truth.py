"""The class numbers of an image at any resolution: from its mask, or from regions drawn on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from histokeras.data.masks import ClassMask
from histokeras.slides.annotations import Drawing
from histokeras.types import IGNORE

Counts = npt.NDArray[np.int64]
_ROUNDING = 1e-9
_MOST_SAMPLES = 1 << 22


class Truth(Protocol):
    """Class numbers of one image."""

    def window(self, x: int, y: int, width: int, height: int, scale: float) -> ClassMask:
        """Return a window of a grid that lies over the image.

        Args:
            x: Left side in pixels of the grid.
            y: Top.
            width: In pixels of the grid.
            height: Likewise.
            scale: Level-0 pixels of the image per pixel of the grid.

        Returns:
            Shape (height, width): the class number at each pixel's centre.
        """

    def step(self, scale: float, size_px: tuple[int, int]) -> float:
        """Return how many pixels of a grid may be skipped in counting, at least 1.

        Args:
            scale: Level-0 pixels of the image per pixel of the grid.
            size_px: (width, height) of the image in pixels of the grid.
        """


@dataclass(frozen=True)
class ImageTruth:
    """A class mask that covers the image, whatever its own size.

    Attributes:
        mask: Returns it, shape (height, width).
        dimensions: (width, height) of the image in level-0 pixels.
    """

    mask: Callable[[], ClassMask]
    dimensions: tuple[int, int]

    def window(self, x: int, y: int, width: int, height: int, scale: float) -> ClassMask:
        """Return a window; see ``Truth``."""
        mask = self.mask()
        columns = self._nearest(x, width, scale * mask.shape[1] / self.dimensions[0])
        rows = self._nearest(y, height, scale * mask.shape[0] / self.dimensions[1])
        rows, columns = np.clip(rows, 0, len(mask) - 1), np.clip(columns, 0, mask.shape[1] - 1)
        return mask[np.ix_(rows, columns)]

    def _nearest(self, start: int, count: int, per_px: float) -> npt.NDArray[np.int64]:
        # Where a centre falls on a border, rounding must not decide.
        centres = (start + np.arange(count) + 0.5) * per_px
        return np.floor(centres + _ROUNDING).astype(np.int64)

    def step(self, scale: float, size_px: tuple[int, int]) -> float:
        """Return the mask's own pixel in pixels of the grid; see ``Truth``."""
        shape = self.mask().shape
        return min(size_px[0] / shape[1], size_px[1] / shape[0])


@dataclass(frozen=True)
class DrawnTruth:
    """Regions drawn on the image.

    Attributes:
        drawing: The regions with their class numbers.
        undrawn: Class number of what nothing is drawn on.
        roi: What encloses the part that was looked at; None if all was.
    """

    drawing: Drawing
    undrawn: int
    roi: Drawing | None = None

    def window(self, x: int, y: int, width: int, height: int, scale: float) -> ClassMask:
        """Return a window; see ``Truth``."""
        mask = np.full((height, width), self.undrawn, np.uint8)
        self.drawing.draw(mask, (scale, scale), (x, y))
        if self.roi is not None:
            inside = np.zeros((height, width), np.uint8)
            self.roi.draw(inside, (scale, scale), (x, y))
            mask[inside == 0] = IGNORE
        return mask

    def step(self, scale: float, size_px: tuple[int, int]) -> float:
        """Return what leaves a bounded number of pixels to look at; see ``Truth``."""
        return max(1.0, (size_px[0] * size_px[1] / _MOST_SAMPLES) ** 0.5)


def count_classes(
    truth: Truth, size_px: tuple[int, int], scale: float, n_classes: int, cell_px: int
) -> Counts:
    """Count the pixels of each class in each cell of a grid.

    A mask that is coarser than the grid is looked at once a pixel of its own, and large drawn
    regions at a coarser grid: then the counts are near the truth, and still add up.

    Args:
        truth: The class numbers.
        size_px: (width, height) of the image in pixels of the working grid.
        scale: Level-0 pixels per pixel of the working grid.
        n_classes: Number of classes.
        cell_px: Side of a cell in pixels of the working grid; the last ones may be cut.

    Returns:
        Shape (rows, columns, n_classes).
    """
    width, height = size_px
    skip = _divisor(cell_px, truth.step(scale, size_px))
    # Each look stands for as many pixels as its square has inside the image.
    weight_x = np.minimum(skip, width - np.arange(0, width, skip))
    weight_y = np.minimum(skip, height - np.arange(0, height, skip))
    per_cell = cell_px // skip
    n_columns, n_rows = -(-width // cell_px), -(-height // cell_px)
    first = np.arange(0, len(weight_x), per_cell)
    counts = np.zeros((n_rows, n_columns, n_classes), np.int64)
    for row in range(n_rows):
        top = row * per_cell
        rows = weight_y[top : top + per_cell]
        mask = truth.window(0, top, len(weight_x), len(rows), scale * skip)
        for number in range(n_classes):
            found = mask == number
            # Only the last row may stand for fewer pixels than the others.
            in_column = skip * found[:-1].sum(axis=0) + rows[-1] * found[-1]
            counts[row, :, number] = np.add.reduceat(in_column * weight_x, first)
    return counts


def _divisor(cell_px: int, most: float) -> int:
    """Return the largest divisor of a cell's side that is no more than ``most``."""
    return max(
        part for part in range(1, cell_px + 1) if cell_px % part == 0 and part <= max(most, 1)
    )
