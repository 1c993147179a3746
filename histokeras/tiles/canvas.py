"""Values of tiles laid over a whole slide, at the resolution of the picture."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Canvas:
    """A map of a slide; memory goes by the map's size, whatever the slide's.

    Attributes:
        size: (width, height) of the map in pixels.
        dimensions: (width, height) of the slide's level 0 in pixels.
    """

    size: tuple[int, int]
    dimensions: tuple[int, int]
    _sum: Floats = field(init=False)
    _count: Floats = field(init=False)

    def __post_init__(self) -> None:
        width, height = self.size
        for name in ("_sum", "_count"):
            object.__setattr__(self, name, np.zeros((height, width), np.float32))

    def add(self, box: tuple[int, int, int, int], values: Floats) -> None:
        """Lay the values of a tile over its place; where tiles overlap, the mean counts.

        Args:
            box: x, y, width, height in level-0 pixels.
            values: Shape (h, w), any size: 1 x 1 for one value of the whole tile.
        """
        left, top, right, bottom = self.place(box)
        fitted = PillowImage.fromarray(values.astype(np.float32)).resize(
            (right - left, bottom - top), PillowImage.Resampling.BILINEAR
        )
        self._sum[top:bottom, left:right] += np.asarray(fitted)
        self._count[top:bottom, left:right] += 1

    def place(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """Return where a tile lies on the map: left, top, right, bottom, ends exclusive."""
        left, right = self._edges(box[0], box[2], 0)
        top, bottom = self._edges(box[1], box[3], 1)
        return left, top, right, bottom

    def _edges(self, start: int, length: int, axis: int) -> tuple[int, int]:
        """Return first and last pixel of a side: neighbours share their edge, none is empty."""
        pixels, scale = self.size[axis], self.size[axis] / self.dimensions[axis]
        first = min(round(start * scale), pixels - 1)
        return first, min(max(round((start + length) * scale), first + 1), pixels)

    def values(self) -> Floats:
        """Return the map, float32 (height, width), NaN where no tile lies."""
        values = np.full(self._sum.shape, np.nan, np.float32)
        return np.divide(self._sum, self._count, out=values, where=self._count > 0)
