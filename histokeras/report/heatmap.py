"""Draw a map over a slide's thumbnail."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw

from histokeras.slides.source import Image
from histokeras.tiles.paint import (
    INK,
    QUIET,
    blended,
    coloured,
    draw_colour_bar,
    draw_scale_bar,
    font_of,
)

FONT_PX = 18
_GAP, _MARGIN, _BAR_WIDTH, _BELOW = 18, 24, 150, 74
_TITLE_PX = 21
_TINT = 0.6
_FRAME = (250, 250, 250)
_WIDE = 1.3
_LEAST_TOP = 1e-6
_CUT = 99.5


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What colours mean.

    Attributes:
        top: The value of the brightest colour; 0 is the darkest.
        ticks: Share of ``top`` (0..1) and text of each.
        even: Whether all values are tinted alike, as probabilities are, each of which says
            something; if not, high ones are tinted more, and none is no evidence.
    """

    top: float
    ticks: Sequence[tuple[float, str]]
    even: bool


@dataclass(frozen=True)
class Beside:
    """What stands at the right of the panels and says what colours mean.

    Attributes:
        draw: Given the page, its own upper left corner and the height of a panel, draws it.
        width: In pixels.
        height: The least height in pixels that it needs.
    """

    draw: Callable[[PillowImage.Image, tuple[int, int], int], None]
    width: int
    height: int = 0


def probability_scale() -> Scale:
    """Return the scale of probabilities: 0 to 1 on every slide, so that slides compare."""
    return Scale(
        top=1.0, ticks=[(part / 4, f"{part / 4:g}") for part in range(4, -1, -1)], even=True
    )


def evidence_scale(values: npt.NDArray[np.float32]) -> Scale:
    """Return the scale of a slide's own evidence, in logits.

    Args:
        values: The map, NaN where no tile lies. Its largest half percent is cut off.
    """
    known = values[np.isfinite(values)]
    top = float(np.percentile(known, _CUT)) if len(known) else 0.0
    top = top if top > _LEAST_TOP else 0.0
    ticks = [(part / 4, f"{part / 4 * top:.2g}") for part in range(4, -1, -1)]
    return Scale(top=top, ticks=ticks if top else [(0.0, "none")], even=False)


def of_tenth(weights: npt.NDArray[np.float64]) -> float:
    """Return the sum over the tenth of the tiles that weigh most, at least one."""
    return float(np.sort(weights)[-max(1, len(weights) // 10) :].sum())


def draw_heatmap(
    thumbnail: Image,
    values: npt.NDArray[np.float32],
    scale: Scale,
    *,
    titles: Sequence[str],
    um_per_px: float | None,
    note: str,
    frames: Sequence[tuple[int, int, int, int]] = (),
) -> bytes:
    """Return thumbnail and map beside each other (of a wide slide one below the other) as a PNG.

    Args:
        thumbnail: uint8 (h, w, 3), the slide.
        values: float32 (h, w), NaN where no tile lies: there the slide stays bare.
        scale: What colours mean.
        titles: Lines above.
        um_per_px: Micrometres per pixel of the thumbnail; None if unknown: no scale bar then.
        note: Line below.
        frames: Left, top, right, bottom of tiles in pixels of the map, to be outlined: a low
            value is no bare slide.
    """
    known = np.isfinite(values)
    share = np.nan_to_num(values).clip(0, scale.top) / (scale.top or 1.0)
    mapped = PillowImage.fromarray(_tinted(thumbnail, share, scale, known))
    draw = ImageDraw.Draw(mapped)
    for left, top, right, bottom in frames:
        draw.rectangle((left, top, right - 1, bottom - 1), outline=_FRAME)
    return draw_page([thumbnail, np.asarray(mapped)], _bar(scale), titles, um_per_px, note)


def _bar(scale: Scale) -> Beside:
    def draw(page: PillowImage.Image, corner: tuple[int, int], tall: int) -> None:
        tall = min(tall, 400)
        # The same mixture as on the slide, over its glass.
        glass = np.full((tall, 1, 3), 245, np.uint8)
        ramp = _tinted(glass, np.linspace(1, 0, tall)[:, None], scale)
        draw_colour_bar(page, corner, tall, scale.ticks, font_of(FONT_PX), colours=ramp[:, 0])

    return Beside(draw, _BAR_WIDTH)


def _tinted(
    image: Image,
    share: npt.NDArray[np.floating],
    scale: Scale,
    known: npt.NDArray[np.bool_] | bool = True,
) -> Image:
    strength = np.where(known, _TINT * (np.ones_like(share) if scale.even else share), 0.0)
    return blended(image, coloured(share if scale.even else 0.35 + 0.65 * share), strength)


def draw_page(
    panels: Sequence[Image],
    beside: Beside,
    titles: Sequence[str],
    um_per_px: float | None,
    note: str,
) -> bytes:
    """Return panels beside each other (wide ones one below the other) as a PNG.

    Args:
        panels: One picture or two, uint8 (h, w, 3), of one size.
        beside: What stands at the right of the last.
        titles: Lines above.
        um_per_px: Micrometres per pixel of the panels; None if unknown: no scale bar then.
        note: Line below.
    """
    font, title = font_of(FONT_PX), font_of(_TITLE_PX)
    height, width = panels[0].shape[:2]
    stacked = width > _WIDE * height
    step = (0, height + _GAP) if stacked else (width + _GAP, 0)
    if len(panels) == 1:
        step = (0, 0)
    across, down = width + step[0] + beside.width, max(height, beside.height) + step[1]
    words = max([title.getlength(text) for text in titles] + [font.getlength(note)])
    top = _MARGIN + len(titles) * (_TITLE_PX + 8) + 8
    size = (2 * _MARGIN + max(across, int(words)), top + down + _BELOW + _MARGIN)
    page = PillowImage.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(page)
    for number, text in enumerate(titles):
        draw.text((_MARGIN, _MARGIN + number * (_TITLE_PX + 8)), text, fill=INK, font=title)
    for number, panel in enumerate(panels):
        x, y = _MARGIN + number * step[0], top + number * step[1]
        page.paste(PillowImage.fromarray(panel), (x, y))
        draw.rectangle((x - 1, y - 1, x + width, y + height), outline=QUIET)
    beside.draw(page, (_MARGIN + step[0] + width + _GAP, top + step[1]), height)
    below = top + down + 12
    if um_per_px is not None:
        draw_scale_bar(draw, (_MARGIN, below), um_per_px, width, font)
    draw.text((_MARGIN, below + 32), note, fill=INK, font=font)
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()
