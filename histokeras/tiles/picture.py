"""A picture per slide: where tissue was seen, which tiles were kept, which were not, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from histokeras import files
from histokeras.slides.overview import read_overview
from histokeras.slides.tissue import Mask
from histokeras.tiles.paint import INK, draw_scale_bar, font_of
from histokeras.tiles.plan import BACKGROUND, CORRUPT, TilePlan

_SIDE_PX = 1200
_MIN_SIDE_PX = 500
_MARGIN = 24
_FONT_PX, _TITLE_PX = 18, 21
_LEAST_WIDTH = 640
Colour = tuple[int, int, int]
# Okabe and Ito's colours, apart for every kind of colour vision; none occurs in H&E.
_KEPT: Colour = (0, 114, 178)
_REJECTED: Colour = (230, 159, 0)
_CORRUPT: Colour = (213, 94, 0)
_UNREAD: Colour = (150, 150, 150)
_OUTLINE: Colour = (0, 120, 90)
_UNREAD_WHY = {
    "luminance": "the overview shows too much background",
    "otsu": "too little tissue on the overview",
    "geojson": "outside the drawn regions, or too much background",
}
_MASK_NAMES = {
    "luminance": "tissue: darker than glass (luminance below 220)",
    "otsu": "tissue (Otsu's threshold on saturation)",
    "none": "darker than glass (not used: all tiles are kept)",
    "geojson": "regions drawn in the GeoJSON file",
}


@dataclass(frozen=True)
class _Layout:
    """The thumbnail's size and how level-0 pixels fall on it."""

    size: tuple[int, int]
    per_px: float

    def box(self, x: int, y: int, side: int) -> tuple[float, float, float, float]:
        return (
            x / self.per_px,
            y / self.per_px,
            (x + side) / self.per_px - 1,
            (y + side) / self.per_px - 1,
        )


def draw_tiles(plan: TilePlan, manifest: pd.DataFrame, path: Path) -> None:
    """Draw the slide with its tiles and write a PNG.

    Args:
        plan: The grid of the slide, which must still be open.
        manifest: Its finished manifest.
        path: The .png; its folder must exist.

    Raises:
        SlideError: If the slide cannot be read.
        OutputError: If the picture cannot be written.
    """
    layout = _layout(plan.slide.dimensions)
    slide = _thumbnail(plan, layout.size)
    _draw_grid(slide, layout, manifest)
    if plan.mask is not None:
        _draw_outline(slide, plan.mask)
    page = _page(plan, manifest, slide, layout)
    with files.temporary_path(path) as part:
        page.save(part, format="PNG", optimize=False)


def _layout(dimensions: tuple[int, int]) -> _Layout:
    longest = max(dimensions)
    # A small slide is enlarged, so that its tiles and the legend can be told apart.
    side = max(_MIN_SIDE_PX, min(_SIDE_PX, longest))
    per_px = longest / side
    width, height = dimensions
    return _Layout((max(1, round(width / per_px)), max(1, round(height / per_px))), per_px)


def _thumbnail(plan: TilePlan, size: tuple[int, int]) -> PillowImage.Image:
    dimensions = plan.slide.dimensions
    coarse = plan.thumbnail
    if coarse is not None and coarse.shape[1] >= size[0]:
        image = coarse
    else:
        shown = min(size[0], dimensions[0]), min(size[1], dimensions[1])
        holes = np.zeros(shown[::-1], np.bool_) if plan.max_bad_tiles else None
        image = read_overview(plan.slide, shown, holes=holes)
    return PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BOX)


def _draw_grid(slide: PillowImage.Image, layout: _Layout, manifest: pd.DataFrame) -> None:
    draw = ImageDraw.Draw(slide, "RGBA")
    columns = manifest[["x", "y", "size_level0_px", "kept", "reason"]]
    # Frames only, since a tint would change the stain's colours. Kept tiles come last, so that
    # their frames lie on top of shared borders.
    for x, y, side, kept, reason in columns.sort_values("kept", kind="stable").itertuples(
        index=False
    ):
        box = layout.box(int(x), int(y), int(side))
        if kept:
            draw.rectangle(box, outline=(*_KEPT, 255), width=3)
        elif reason == BACKGROUND:
            draw.rectangle(box, outline=(*_REJECTED, 255), width=2)
            draw.line((box[0], box[1], box[2], box[3]), fill=(*_REJECTED, 255), width=2)
            draw.line((box[0], box[3], box[2], box[1]), fill=(*_REJECTED, 255), width=2)
        elif reason == CORRUPT:
            draw.rectangle(box, outline=(*_CORRUPT, 255), width=3)
        else:
            draw.rectangle(box, outline=(*_UNREAD, 255), width=1)


def _draw_outline(slide: PillowImage.Image, mask: Mask) -> None:
    fitted = PillowImage.fromarray(mask).convert("L").resize(slide.size)
    filled = _smooth(np.asarray(fitted) >= 128)
    rim = filled & ~ndimage.binary_erosion(filled, iterations=2, border_value=1)
    pixels = np.asarray(slide).copy()
    pixels[rim] = _OUTLINE
    slide.paste(PillowImage.fromarray(pixels))


def _smooth(mask: Mask) -> npt.NDArray[np.bool_]:
    """Close small gaps and drop specks: for the eye only, tiles are judged by the exact mask."""
    blurred = ndimage.uniform_filter(mask.astype(np.float32), 9, mode="nearest")
    return np.asarray(blurred >= 0.5)


def _page(
    plan: TilePlan, manifest: pd.DataFrame, slide: PillowImage.Image, layout: _Layout
) -> PillowImage.Image:
    """Put title, thumbnail, scale bar and legend on one white page."""
    font, title = font_of(_FONT_PX), font_of(_TITLE_PX)
    entries = _legend(plan, manifest)
    line = _FONT_PX + 12
    widest = max(title.getlength(text) for text in _titles(plan))
    widest = max(widest, *(font.getlength(text) + 44 for _, text in entries))
    width = max(_LEAST_WIDTH, slide.width, int(widest)) + 2 * _MARGIN
    top = _MARGIN + 2 * (_TITLE_PX + 8) + 8
    height = top + slide.height + 64 + line * len(entries) + _MARGIN
    page = PillowImage.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    for i, text in enumerate(_titles(plan)):
        draw.text((_MARGIN, _MARGIN + i * (_TITLE_PX + 8)), text, fill=INK, font=title)
    page.paste(slide, (_MARGIN, top))
    frame = (_MARGIN - 1, top - 1, _MARGIN + slide.width, top + slide.height)
    draw.rectangle(frame, outline=_UNREAD)
    below = top + slide.height + 14
    draw_scale_bar(draw, (_MARGIN, below), layout.per_px * plan.slide.mpp, slide.width, font)
    for i, (kind, text) in enumerate(entries):
        _draw_entry(draw, (_MARGIN, below + 50 + i * line), kind, text, font)
    return page


def _titles(plan: TilePlan) -> tuple[str, str]:
    spec, choice = plan.spec, plan.choice
    side_um = spec.size_px * choice.mpp
    return (
        plan.slide.slide_id,
        f"tiles of {spec.size_px} px = {side_um:.0f} µm, at {choice.mpp:.4g} µm per pixel",
    )


def _legend(plan: TilePlan, manifest: pd.DataFrame) -> Sequence[tuple[str, str]]:
    kept = int(manifest["kept"].sum())
    rejected = int((manifest["reason"] == BACKGROUND).sum())
    corrupt = int((manifest["reason"] == CORRUPT).sum())
    unread = len(manifest) - kept - rejected - corrupt
    entries = [("kept", f"{kept} of {len(manifest)} tiles kept")]
    if rejected:
        limit = f"{plan.spec.max_background:.0%}"
        entries.append(("rejected", f"{rejected} rejected: more than {limit} background"))
    if corrupt:
        entries.append(("corrupt", f"{corrupt} left out: cannot be decoded"))
    if unread:
        entries.append(("unread", f"{unread} not read: {_UNREAD_WHY[plan.spec.tissue]}"))
    if plan.mask is not None:
        entries.append(("outline", f"outline of {_MASK_NAMES[plan.spec.tissue]}"))
    return entries


def _draw_entry(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    kind: str,
    text: str,
    font: ImageFont.FreeTypeFont,
) -> None:
    x, y = corner
    box = (x, y, x + 28, y + 22)
    if kind == "kept":
        draw.rectangle(box, outline=_KEPT, width=3)
    elif kind == "corrupt":
        draw.rectangle(box, outline=_CORRUPT, width=3)
    elif kind == "rejected":
        draw.rectangle(box, outline=_REJECTED, width=2)
        draw.line((x, y, x + 28, y + 22), fill=_REJECTED, width=2)
        draw.line((x, y + 22, x + 28, y), fill=_REJECTED, width=2)
    elif kind == "unread":
        draw.rectangle(box, outline=_UNREAD, width=1)
    else:
        draw.line((x, y + 11, x + 28, y + 11), fill=_OUTLINE, width=3)
    draw.text((x + 42, y - 1), text, fill=INK, font=font)
