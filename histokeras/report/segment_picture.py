"""One picture of ``segment``: the slide with the outlines of its classes."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from scipy import ndimage

from histokeras.report.class_map import class_legend
from histokeras.report.heatmap import draw_page
from histokeras.slides.mask_tiff import Grey
from histokeras.slides.source import Image

SIDE_PX = 1600
"""Longest side of the slide in the picture."""
LEAST_PX = 800
"""A smaller one is enlarged by whole numbers, so that outlines and words can be read."""
_LINE_PX = 3
_QUALITY = 90
_WHITE = (255, 255, 255)


def draw_overlay(
    thumbnail: Image,
    mask: Grey,
    colours: Mapping[str, tuple[int, int, int]],
    shares: Mapping[str, float],
    *,
    titles: Sequence[str],
    um_per_px: float | None,
    note: str,
) -> bytes:
    """Return the slide with the outlines of some classes, a legend and a scale bar, as a JPEG.

    Args:
        thumbnail: uint8 (h, w, 3), the slide.
        mask: uint8 class numbers of the whole slide, of any size.
        colours: Red, green and blue of each class, in the order of the mask's numbers.
        shares: Class -> share of what was segmented, 0..1, of the classes that are outlined.
        titles: Lines above.
        um_per_px: Micrometres per pixel of the thumbnail; None if unknown: no scale bar then.
        note: Line below.
    """
    classes = list(colours)
    times = max(1, -(-LEAST_PX // max(thumbnail.shape[:2])))
    drawn = thumbnail.repeat(times, axis=0).repeat(times, axis=1)
    shown = _resized(mask, drawn.shape[0], drawn.shape[1])
    for name in shares:
        inside = shown == classes.index(name)
        # The line lies in its own area, so that two classes that touch show both; a white one
        # around it parts it from tissue of its colour.
        line = inside & ~ndimage.binary_erosion(inside, iterations=_LINE_PX, border_value=1)
        drawn[ndimage.binary_dilation(line) & ~inside] = _WHITE
        drawn[line] = colours[name]
    um_shown = None if um_per_px is None else um_per_px / times
    legend = class_legend(shares, colours, tint=1.0)
    page = draw_page([drawn], legend, titles, um_shown, note)
    buffer = io.BytesIO()
    PillowImage.open(io.BytesIO(page)).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def _resized(mask: Grey, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return the nearest class of each pixel of a picture of the same view."""
    rows = (2 * np.arange(height) + 1) * mask.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * mask.shape[1] // (2 * width)
    return np.asarray(mask[rows[:, None], columns[None]])
