"""What a slide file must offer, whichever library reads it."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""Pixels of shape (height, width, 3), RGB, 0..255."""

MPP_X, MPP_Y = "openslide.mpp-x", "openslide.mpp-y"
APERIO_MPP = "aperio.MPP"
OBJECTIVE_POWER = "openslide.objective-power"
QUICKHASH = "openslide.quickhash-1"
RESOLUTION_X, RESOLUTION_Y = "tiff.XResolution", "tiff.YResolution"
RESOLUTION_UNIT = "tiff.ResolutionUnit"
REMARK = "histokeras.remark"
"""Property of plain images with a remark for the user, beginning with a code."""
GENERIC_TIFF = "generic-tiff"


class SlideSource(Protocol):
    """An open slide file. Each library has one small class of this shape.

    Attributes:
        vendor: The format's name in OpenSlide's words, None for plain images.
        properties: OpenSlide's property names and texts, as far as the file has them.
        level_dimensions: (width, height) in pixels of each level, finest first.
        level_downsamples: Level-0 pixels per pixel of each level.
    """

    vendor: str | None
    properties: Mapping[str, str]
    level_dimensions: tuple[tuple[int, int], ...]
    level_downsamples: tuple[float, ...]

    def read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image:
        """Read a window; pixels that the slide does not have are white.

        Args:
            location: Top-left corner (x, y) in level-0 pixels.
            level: Number of the level, 0 is the finest.
            size: (width, height) in pixels of that level.

        Returns:
            Array of shape (height, width, 3), uint8 RGB.

        Raises:
            Exception: Whatever the library raises on damaged data; ``Slide`` names the place.
        """

    def close(self) -> None:
        """Release the file."""
