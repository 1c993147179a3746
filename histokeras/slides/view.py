"""A slide or picture as if it had one level, at the resolution that is worked at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from histokeras.errors import SlideError
from histokeras.slides.pyramid import choose_level
from histokeras.slides.slide import Slide
from histokeras.slides.source import Image

TOLERANCE = 0.05
"""A level whose mpp differs by no more than this share is read 1:1."""


@dataclass(frozen=True, eq=False)
class View:
    """An open slide at one resolution. Several threads may read.

    Attributes:
        slide: The open slide.
        level: The level that is read.
        size_px: (width, height) at this resolution.
        mpp: Micrometres per pixel; None where the slide does not tell and none was asked for.
        scale: Level-0 pixels per pixel.
        shrink: Pixels of the level per pixel, in x and y; 1 where it is read as it is.
    """

    slide: Slide
    level: int
    size_px: tuple[int, int]
    mpp: float | None
    scale: float
    shrink: tuple[float, float]

    def read(self, x: int, y: int, width: int, height: int) -> Image:
        """Read a window; pixels that the slide does not have are white.

        A pixel has the same colour in whatever window it is read.

        Args:
            x: Left, in pixels at this resolution.
            y: Top.
            width: At least 1.
            height: At least 1.

        Returns:
            uint8 (height, width, 3).

        Raises:
            SlideError: If it cannot be read.
        """
        if self.shrink == (1.0, 1.0):
            location = round(x * self.scale), round(y * self.scale)
            return self.slide.read_region(location, self.level, (width, height))
        left, right = x * self.shrink[0], (x + width) * self.shrink[0]
        top, bottom = y * self.shrink[1], (y + height) * self.shrink[1]
        column, row = math.floor(left + _ROUNDING), math.floor(top + _ROUNDING)
        size = math.ceil(right - _ROUNDING) - column, math.ceil(bottom - _ROUNDING) - row
        downsample = self.slide.level_downsamples[self.level]
        location = round(column * downsample), round(row * downsample)
        pixels = PillowImage.fromarray(self.slide.read_region(location, self.level, size))
        box = (
            max(left - column, 0.0),
            max(top - row, 0.0),
            min(right - column, size[0]),
            min(bottom - row, size[1]),
        )
        return np.asarray(pixels.resize((width, height), PillowImage.Resampling.BOX, box=box))


_ROUNDING = 1e-6


def view_at(slide: Slide, mpp: float | None) -> View:
    """Look at a slide at a resolution.

    Args:
        slide: An open slide.
        mpp: Micrometres per pixel; None for its own pixels, whatever they are.

    Returns:
        The view. A level within ``TOLERANCE`` is read 1:1 and its own mpp stands; otherwise the
        nearest finer one is shrunk.

    Raises:
        SlideError: MPP_MISSING, MPP_ABSURD, MPP_ANISOTROPIC; MAG_UNAVAILABLE if even its finest
            level is coarser.
    """
    if mpp is None:
        return View(slide, 0, slide.dimensions, _own_mpp(slide), 1.0, (1.0, 1.0))
    downsamples = slide.level_downsamples
    choice = choose_level(slide.mpp, downsamples, mpp, tolerance=TOLERANCE, name=slide.name)
    level_size = slide.level_dimensions[choice.level]
    if not choice.resampled:
        return View(slide, choice.level, level_size, choice.mpp, choice.scale, (1.0, 1.0))
    width, height = (max(1, round(side / choice.scale)) for side in slide.dimensions)
    shrink = choice.scale / choice.downsample
    return View(slide, choice.level, (width, height), choice.mpp, choice.scale, (shrink, shrink))


def _own_mpp(slide: Slide) -> float | None:
    try:
        return float(slide.mpp)
    except SlideError:
        return None
