"""What pictures with maps have in common: fonts, scale bar, colours of values, colour bar."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from histokeras.slides.source import Image

INK = (20, 20, 20)
QUIET = (150, 150, 150)
SEQUENTIAL, DIVERGING = "viridis", "BrBG"
"""Colours of 0..1 (perceptually uniform, told apart by the colour-blind) and of -1..1 (ColorBrewer:
brown below 0, teal above, white at 0; neither is a colour of H&E)."""
_NICE_UM = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)
_BAR_PX = 18


def font_of(size_px: int) -> ImageFont.FreeTypeFont:
    """Return a font that has the micro sign, which Pillow's own lacks; matplotlib brings it."""
    fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(fonts / "DejaVuSans.ttf", size_px)


def draw_scale_bar(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    um_per_px: float,
    width: int,
    font: ImageFont.FreeTypeFont,
) -> None:
    """Draw a bar of a round length, at most a quarter of the picture, and its length in words.

    Args:
        draw: Where to.
        corner: Upper left (x, y) in pixels.
        um_per_px: Micrometres per pixel of the picture.
        width: Of the picture, in pixels.
        font: Of the words.
    """
    fitting = [um for um in _NICE_UM if um / um_per_px <= max(60, width / 4)]
    um = fitting[-1] if fitting else _NICE_UM[0]
    x, y = corner
    length = round(um / um_per_px)
    draw.rectangle((x, y + 8, x + length, y + 13), fill=INK)
    text = f"{um} µm" if um < 1000 else f"{um // 1000} mm"
    draw.text((x + length + 10, y - 2), text, fill=INK, font=font)


def coloured(values: npt.NDArray[np.floating], *, signed: bool = False) -> Image:
    """Return the colours of values.

    Args:
        values: 0..1, or -1..1 where ``signed``; any shape.
        signed: Whether values lie on both sides of 0.

    Returns:
        uint8 (*shape, 3).
    """
    colours = mpl.colormaps[DIVERGING if signed else SEQUENTIAL]
    place = (np.asarray(values) + 1) / 2 if signed else np.asarray(values)
    return np.asarray(colours(place, bytes=True))[..., :3]


def blended(image: Image, colours: Image, share: npt.NDArray[np.floating]) -> Image:
    """Return an image under colours.

    Args:
        image: uint8 (h, w, 3).
        colours: uint8 (h, w, 3).
        share: How much of the colour shows, 0..1, (h, w).

    Returns:
        uint8 (h, w, 3).
    """
    part = share[..., None].astype(np.float32)
    mixed = image * (1 - part) + colours * part
    return mixed.round().astype(np.uint8)


def draw_colour_bar(
    page: PillowImage.Image,
    corner: tuple[int, int],
    height: int,
    ticks: Sequence[tuple[float, str]],
    font: ImageFont.FreeTypeFont,
    *,
    signed: bool = False,
    colours: Image | None = None,
) -> None:
    """Draw an upright colour bar with its ticks on the right.

    Args:
        page: Where to.
        corner: Upper left (x, y) in pixels.
        height: In pixels.
        ticks: Value (0..1, or -1..1 where ``signed``) and text of each.
        font: Of the texts.
        signed: Whether values lie on both sides of 0.
        colours: uint8 (height, 3), from above; those of :func:`coloured` if None.
    """
    low = -1.0 if signed else 0.0
    ramp = coloured(np.linspace(1, low, height), signed=signed) if colours is None else colours
    page.paste(PillowImage.fromarray(ramp[:, None].repeat(_BAR_PX, axis=1)), corner)
    draw = ImageDraw.Draw(page)
    x, y = corner
    draw.rectangle((x - 1, y - 1, x + _BAR_PX, y + height), outline=QUIET)
    for value, text in ticks:
        at = y + round((1 - value) / (1 - low) * (height - 1))
        draw.line((x + _BAR_PX, at, x + _BAR_PX + 5, at), fill=INK)
        # Words stay within the bar's height.
        top = min(max(at - font.size / 2, y - 2), y + height - font.size)
        draw.text((x + _BAR_PX + 9, top), text, fill=INK, font=font)
