"""Shrink a whole slide to a small picture, block by block, so that memory stays bounded."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from histokeras.errors import SlideError
from histokeras.slides.source import Image

_BLOCK_PX = 2048
_HOLE_PX = 64
"""Smallest side, in pixels of the level, of what is given up around a corrupt place."""


class Readable(Protocol):
    """The part of ``Slide`` that is needed here."""

    @property
    def dimensions(self) -> tuple[int, int]:
        """(width, height) of level 0 in pixels."""

    @property
    def level_dimensions(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level in pixels."""

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        """Level-0 pixels per pixel of each level."""

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image:
        """Read a window, shape (height, width, 3), uint8."""


def overview_level(slide: Readable, downsample: float) -> int:
    """Return the coarsest level that is not coarser than ``downsample``, else level 0.

    Args:
        slide: An open slide.
        downsample: Level-0 pixels per pixel of the picture wanted.

    Returns:
        Number of the level.
    """
    fine = [i for i, value in enumerate(slide.level_downsamples) if value <= downsample * 1.01]
    return max(fine, key=slide.level_downsamples.__getitem__, default=0)


def read_overview(
    slide: Readable, size: tuple[int, int], *, holes: npt.NDArray[np.bool_] | None = None
) -> Image:
    """Read the whole slide, area-resampled to ``size``.

    Args:
        slide: An open slide.
        size: (width, height) in pixels of the result, no larger than level 0.
        holes: Where given, shape (height, width): what is corrupt is left white, and marked True
            here, instead of raising TILE_CORRUPT.

    Returns:
        Array of shape (height, width, 3), uint8 RGB.

    Raises:
        SlideError: If a region cannot be read.
    """
    width, height = size
    level = overview_level(slide, slide.dimensions[0] / width)
    level_width, level_height = slide.level_dimensions[level]
    per_x, per_y = level_width / width, level_height / height
    step_x, step_y = max(1, int(_BLOCK_PX / per_x)), max(1, int(_BLOCK_PX / per_y))
    picture = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, step_y):
        bottom = min(top + step_y, height)
        for left in range(0, width, step_x):
            right = min(left + step_x, width)
            block = (left, top, right, bottom)
            _fill(slide, level, (per_x, per_y), block, picture, holes)
    return picture


def _fill(
    slide: Readable,
    level: int,
    per_px: tuple[float, float],
    block: tuple[int, int, int, int],
    picture: Image,
    holes: npt.NDArray[np.bool_] | None,
) -> None:
    """Read one block (left, top, right, bottom) of the picture, around what is corrupt."""
    left, top, right, bottom = block
    width, height = right - left, bottom - top
    window = (left * per_px[0], top * per_px[1], right * per_px[0], bottom * per_px[1])
    try:
        picture[top:bottom, left:right] = _read_window(slide, level, window, (width, height))
    except SlideError as error:
        if holes is None or error.code != "TILE_CORRUPT":
            raise
        if max(width, height) == 1 or max(width * per_px[0], height * per_px[1]) <= _HOLE_PX:
            picture[top:bottom, left:right] = 255
            holes[top:bottom, left:right] = True
            return
        for part in _halves(block):
            _fill(slide, level, per_px, part, picture, holes)


def _halves(block: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
    left, top, right, bottom = block
    if right - left >= bottom - top:
        middle = (left + right) // 2
        return [(left, top, middle, bottom), (middle, top, right, bottom)]
    middle = (top + bottom) // 2
    return [(left, top, right, middle), (left, middle, right, bottom)]


def _read_window(
    slide: Readable, level: int, window: tuple[float, float, float, float], size: tuple[int, int]
) -> Image:
    """Read the window (left, top, right, bottom; fractions of level pixels) shrunk to ``size``."""
    level_width, level_height = slide.level_dimensions[level]
    downsample = slide.level_downsamples[level]
    left, top = int(window[0]), int(window[1])
    right = min(level_width, int(np.ceil(window[2] - 1e-6)))
    bottom = min(level_height, int(np.ceil(window[3] - 1e-6)))
    location = (round(left * downsample), round(top * downsample))
    pixels = slide.read_region(location, level, (right - left, bottom - top))
    box = (
        window[0] - left,
        window[1] - top,
        min(window[2], right) - left,
        min(window[3], bottom) - top,
    )
    shrunk = PillowImage.fromarray(pixels).resize(size, PillowImage.Resampling.BOX, box=box)
    return np.asarray(shrunk)
