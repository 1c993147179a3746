"""Shrink a whole slide to a small picture, block by block, so that memory stays bounded."""

from typing import Protocol

import numpy as np
from PIL import Image as PillowImage

from histokeras.slides.source import Image

_BLOCK_PX = 2048


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


def read_overview(slide: Readable, size: tuple[int, int]) -> Image:
    """Read the whole slide, area-resampled to ``size``.

    Args:
        slide: An open slide.
        size: (width, height) in pixels of the result, no larger than level 0.

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
            window = (left * per_x, top * per_y, right * per_x, bottom * per_y)
            picture[top:bottom, left:right] = _read_window(
                slide, level, window, (right - left, bottom - top)
            )
    return picture


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
