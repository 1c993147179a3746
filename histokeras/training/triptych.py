"""Tile, map and overlay beside each other in one picture."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw
from scipy import ndimage

from histokeras.slides.source import Image
from histokeras.tiles.paint import INK, QUIET, blended, coloured, draw_colour_bar, font_of

_PANEL_PX, _LEAST_PX = 360, 224
_GAP, _MARGIN, _BAR_WIDTH = 14, 20, 150
_FONT_PX, _TITLE_PX = 16, 18
_TINT = 0.5
_HALF = 0.5
_SMOOTHING = 0.02
_OVERLAY = "overlay; line at half of the maximum"
_SMOOTHED = "overlay of the map smoothed; line at half"
_NOTHING = "no clear evidence: nothing drawn"


def draw_triptych(
    image: Image,
    values: npt.NDArray[np.float32],
    titles: tuple[str, str],
    *,
    signed: bool,
    clear: bool,
    fine: bool = False,
    most: str = "most for",
) -> bytes:
    """Return tile | map with colour bar | overlay as a PNG.

    The overlay tints by as much as the map says, at most by half, so that nuclei stay readable
    under it and tissue without evidence keeps its own colours.

    Args:
        image: uint8 (h, w, 3), RGB.
        values: The map, (h, w): 0..1, or -1..1 where ``signed``.
        titles: Two lines above.
        signed: Whether the map also holds what speaks against.
        clear: Whether there is evidence worth looking at; if not, the overlay shows none.
        fine: Whether the map is of single pixels; the overlay then shows it smoothed.
        most: What 1 is called beside the colour bar.
    """
    side = max(_LEAST_PX, min(_PANEL_PX, 2 * image.shape[1]))
    size = (side, round(side * image.shape[0] / image.shape[1]))
    tile = np.asarray(PillowImage.fromarray(image).resize(size, PillowImage.Resampling.LANCZOS))
    fitted = PillowImage.fromarray(values.astype(np.float32))
    large = np.asarray(fitted.resize(size, PillowImage.Resampling.BILINEAR)).clip(-1, 1)
    caption = _NOTHING if not clear else _SMOOTHED if fine else _OVERLAY
    overlay = tile
    if clear:
        overlay = _overlay(tile, _smoothed(large) if fine else large, signed=signed)
    panels = {"tile": tile, "map": coloured(large, signed=signed), caption: overlay}
    ticks = [(1.0, most), (0.0, "none"), *([(-1.0, "most against")] if signed else [])]
    return _page(panels, titles, ticks, signed=signed)


def _smoothed(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    smooth = ndimage.gaussian_filter(values, max(values.shape) * _SMOOTHING)
    top = float(np.abs(smooth).max())
    return np.asarray(smooth / top if top > 0 else smooth, np.float32)


def _overlay(tile: Image, values: npt.NDArray[np.float32], *, signed: bool) -> Image:
    # The hues of high values alone: the dark ones of low values would pass for haematoxylin.
    strength = np.abs(values)
    hue = 0.8 * np.sign(values) if signed else 0.35 + 0.65 * values
    mixed = blended(tile, coloured(hue, signed=signed), _TINT * strength)
    inside = ndimage.uniform_filter(strength, 5, mode="nearest") >= _HALF
    # The rim lies inside, two pixels wide; at the border of the tile there is none.
    rim = inside & ~ndimage.binary_erosion(inside, iterations=2, border_value=1)
    mixed[rim] = INK
    return mixed


def _page(
    panels: Mapping[str, Image],
    titles: Sequence[str],
    ticks: Sequence[tuple[float, str]],
    *,
    signed: bool,
) -> bytes:
    font, title = font_of(_FONT_PX), font_of(_TITLE_PX)
    height, width = panels["tile"].shape[:2]
    head = _MARGIN + 2 * (_TITLE_PX + 8)
    across = 3 * width + 2 * _GAP + _BAR_WIDTH
    words = max(title.getlength(text) for text in titles)
    page_size = (
        2 * _MARGIN + max(across, int(words)),
        head + 10 + height + _FONT_PX + 12 + _MARGIN,
    )
    page = PillowImage.new("RGB", page_size, (255, 255, 255))
    draw = ImageDraw.Draw(page)
    for number, text in enumerate(titles):
        draw.text((_MARGIN, _MARGIN + number * (_TITLE_PX + 8)), text, fill=INK, font=title)
    top, left = head + 10, _MARGIN
    for caption, panel in panels.items():
        page.paste(PillowImage.fromarray(panel), (left, top))
        draw.rectangle((left - 1, top - 1, left + width, top + height), outline=QUIET)
        draw.text((left, top + height + 6), caption, fill=INK, font=font)
        left += width + _GAP
        if caption == "map":
            draw_colour_bar(page, (left, top), height, ticks, font, signed=signed)
            left += _BAR_WIDTH
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()
