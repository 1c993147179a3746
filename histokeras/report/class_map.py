"""The class map of a slide: each tile in the colour of its most probable class."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from histokeras.report.colours import class_looks, rgb
from histokeras.report.heatmap import FONT_PX, Beside, draw_page
from histokeras.slides.source import Image
from histokeras.tiles.paint import INK, QUIET, blended, font_of
from histokeras.tissue import TISSUE_WORDS, tissue_of
from histokeras.types import PROB

_TINT = 0.7
_GLASS = 245
_SWATCH, _ROW, _SPACE = 18, 28, 10
Place = tuple[int, int, int, int]


def most_probable(table: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """Return the most probable class of each tile; of equal ones the first.

    Args:
        table: Tile predictions with ``prob_<class>``.
        classes: In the order of the run.
    """
    best = table[[f"{PROB}{name}" for name in classes]].to_numpy().argmax(axis=1)
    return [classes[i] for i in best]


def class_shares(found: Sequence[str], classes: Sequence[str]) -> dict[str, float]:
    """Return the share of tiles of each class, 0..1; all 0 without a tile."""
    return {name: found.count(name) / max(len(found), 1) for name in classes}


def draw_class_map(
    thumbnail: Image,
    places: Sequence[Place],
    found: Sequence[str],
    sure: Sequence[float],
    shares: Mapping[str, float],
    *,
    titles: Sequence[str],
    um_per_px: float | None,
    note: str,
) -> bytes:
    """Return thumbnail and class map beside each other, with a legend, as a PNG.

    Args:
        thumbnail: uint8 (h, w, 3), the slide.
        places: Left, top, right, bottom of each tile in pixels of the thumbnail.
        found: The class of each tile.
        sure: Its probability: where tiles overlap, the surest lies on top.
        shares: Class -> share of the tiles, 0..1, in the order of the legend.
        titles: Lines above.
        um_per_px: Micrometres per pixel of the thumbnail; None if unknown: no scale bar then.
        note: Line below.
    """
    colours = {name: rgb(look.colour) for name, look in class_looks(shares).items()}
    height, width = thumbnail.shape[:2]
    paint = np.zeros((height, width, 3), np.uint8)
    strength = np.zeros((height, width), np.float32)
    for i in np.argsort(np.asarray(sure), kind="stable"):
        left, top, right, bottom = places[i]
        paint[top:bottom, left:right] = colours[found[i]]
        strength[top:bottom, left:right] = _TINT
    mapped = blended(thumbnail, paint, strength)
    return draw_page([thumbnail, mapped], class_legend(shares, colours), titles, um_per_px, note)


def class_legend(
    shares: Mapping[str, float],
    colours: Mapping[str, tuple[int, int, int]],
    tint: float = _TINT,
) -> Beside:
    """Return what names the classes beside a map.

    Args:
        shares: Class -> share of what is mapped, 0..1, in the order of the legend.
        colours: Red, green and blue of each.
        tint: How strong a colour is in the map, 0..1; 1 for lines.
    """
    font = font_of(FONT_PX)
    names = {name: _words(name) for name in shares}
    wide = max(font.getlength(text) for text in names.values())
    share_at = _SWATCH + _SPACE + wide + _SPACE

    def draw(page: PillowImage.Image, corner: tuple[int, int], tall: int) -> None:
        pen = ImageDraw.Draw(page)
        for number, (name, share) in enumerate(shares.items()):
            x, y = corner[0], corner[1] + number * _ROW
            swatch = blended(
                np.full((_SWATCH, _SWATCH, 3), _GLASS, np.uint8),
                np.full((_SWATCH, _SWATCH, 3), colours[name], np.uint8),
                np.full((_SWATCH, _SWATCH), tint, np.float32),
            )
            page.paste(PillowImage.fromarray(swatch), (x, y))
            pen.rectangle((x - 1, y - 1, x + _SWATCH, y + _SWATCH), outline=QUIET)
            pen.text((x + _SWATCH + _SPACE, y - 2), names[name], fill=INK, font=font)
            _right_aligned(pen, (x + share_at, y - 2), f"{share:.1%}".replace("%", " %"), font)

    width = share_at + font.getlength("100.0 %")
    return Beside(draw, round(width) + _SPACE, len(shares) * _ROW)


def _right_aligned(
    pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, font: ImageFont.FreeTypeFont
) -> None:
    x = corner[0] + font.getlength("100.0 %") - font.getlength(text)
    pen.text((x, corner[1]), text, fill=INK, font=font)


def _words(name: str) -> str:
    tissue = tissue_of(name)
    return name if tissue is None else f"{name}  {TISSUE_WORDS[tissue]}"
