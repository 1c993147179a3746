"""Outlines of regions drawn into a picture, so that the tissue inside stays in sight."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation

from histokeras.report.colours import rgb

Bools = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]
CASING = "#ffffff"
"""Colour beside a line, so that it is seen on dark and on pink tissue alike."""


@dataclass(frozen=True, eq=False)
class Outline:
    """A region and how its outline is drawn.

    Attributes:
        inside: Pixels of the region, ``(h, w)`` bool.
        colour: ``#rrggbb``.
        width_px: Width of the line, an even number: half of it lies inside.
        casing_px: Width of a white line on either side of it; 0 for none.
    """

    inside: Bools
    colour: str
    width_px: int = 2
    casing_px: int = 0


def draw_outlines(image: Pixels, outlines: Sequence[Outline]) -> Pixels:
    """Draw outlines into a copy of a picture, the first one lowest.

    A line runs along the border between pixels of a region and others; the edge of the picture is
    no border. Shrink pictures before, not after: lines keep their width.

    Args:
        image: ``(h, w, 3)`` uint8, red, green, blue.
        outlines: What to draw; a wide line under a narrow one leaves both in sight.

    Returns:
        ``(h, w, 3)`` uint8.

    Raises:
        ValueError: If a region is not as large as the picture, or a width is out of range.
    """
    drawn = image.copy()
    for outline in outlines:
        if outline.inside.shape != image.shape[:2]:
            raise ValueError(
                "`inside` must be as large as the picture. Received: shapes "
                f"{outline.inside.shape} and {image.shape}"
            )
        if outline.width_px < 2 or outline.width_px % 2 or outline.casing_px < 0:
            raise ValueError(
                "`width_px` must be 2, 4, 6, ..., `casing_px` 0 or more. Received: "
                f"width_px={outline.width_px}, casing_px={outline.casing_px}"
            )
        corners = _corners(outline.inside)
        if outline.casing_px:
            drawn[_line(corners, outline.width_px + 2 * outline.casing_px)] = rgb(CASING)
        drawn[_line(corners, outline.width_px)] = rgb(outline.colour)
    return drawn


def _corners(inside: Bools) -> Bools:
    """Return the corners of pixels that a border runs along, ``(h + 1, w + 1)``."""
    height, width = inside.shape
    corners = np.zeros((height + 1, width + 1), np.bool_)
    beside = inside[:, 1:] != inside[:, :-1]
    corners[:-1, 1:-1] |= beside
    corners[1:, 1:-1] |= beside
    below = inside[1:] != inside[:-1]
    corners[1:-1, :-1] |= below
    corners[1:-1, 1:] |= below
    return corners


def _line(corners: Bools, width_px: int) -> Bools:
    """Return the pixels within half a width of a border, ``(h, w)``."""
    reach = width_px // 2
    # Centres of pixels lie half a pixel from corners: the disk has an even side.
    offsets = np.arange(-reach, reach) + 0.5
    disk = offsets[:, np.newaxis] ** 2 + offsets**2 <= reach**2
    padded = np.pad(corners, reach)
    # The middle of an even disk is its pixel ``reach``, so that a corner marks the pixels from
    # ``reach`` before it to ``reach - 1`` behind it: pixel (y, x) lies behind corner (y, x).
    found = binary_dilation(padded, disk)
    height, width = corners.shape[0] - 1, corners.shape[1] - 1
    return np.asarray(found[reach : reach + height, reach : reach + width])
