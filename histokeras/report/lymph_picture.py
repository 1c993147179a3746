"""One picture of ``lymph-nodes``: the slide with its nodes, the tumour inside, and their table."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image as PillowImage
from scipy import ndimage

from histokeras.report.colours import rgb
from histokeras.report.heatmap import draw_page
from histokeras.report.lymph_badges import Badge, draw_badges, place_badges
from histokeras.report.lymph_beside import TINT, nodes_beside
from histokeras.report.lymph_looks import LOOKS, look_of
from histokeras.report.outlines import Outline, draw_outlines
from histokeras.slides.source import Image
from histokeras.tiles.paint import blended, coloured

SIDE_PX = 1100
"""Longest side of the slide in the picture."""
LEAST_PX = 550
"""A smaller one is enlarged by whole numbers, so that outlines and words can be read."""
_PALE = 0.45
_CASING_PX, _AROUND = 2, 8
_RIM = (90, 90, 90)
_GAP_PX = 18
_WIDE = 1.3
_QUALITY = 90
Labels = npt.NDArray[np.integer]
Bits = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int64]


def draw_slide(
    thumbnail: Image,
    labels: Labels,
    tumour: Bits,
    heat: npt.NDArray[np.float32] | None,
    nodes: pd.DataFrame,
    *,
    titles: Sequence[str],
    um_per_px: float | None,
    threshold: float = 0.5,
    note: str,
) -> bytes:
    """Return a slide with its lymph nodes, the map of tumour inside them, and a table, as a JPEG.

    Args:
        thumbnail: uint8 (h, w, 3), the slide.
        labels: The number of the node of each pixel of the overview, 0 where none is; of any size.
        tumour: bool, as large as ``labels``: the tumour as it is measured.
        heat: Probability of tumour, 0..1, of the whole slide, of any size, NaN where it was not
            read; None where the tumour was drawn by hand.
        nodes: A row a node: ``node_id``, ``node_area_mm2``, ``tumour_area_mm2``, ``ratio``,
            ``largest_deposit_mm``, ``metastatic`` and ``size_class``; may be empty.
        titles: Lines above.
        um_per_px: Micrometres per pixel of the thumbnail; None if unknown: no scale bar then.
        threshold: Above which probability a pixel is tumour, 0..1.
        note: Line below.
    """
    times = max(1, -(-LEAST_PX // max(thumbnail.shape[:2])))
    slide = thumbnail.repeat(times, axis=0).repeat(times, axis=1)
    rows, columns = _nearest(slide, labels)
    shown = labels[rows, columns]
    panels = [_outlined(slide, shown, nodes)]
    if len(nodes):
        counted = tumour[rows, columns] & (shown > 0)
        values = None if heat is None else heat[_nearest(slide, heat)]
        panels.append(_mapped(slide, shown > 0, counted, values))
    badges = _badges(shown, nodes)
    panels = [draw_badges(panel, badges) for panel in panels]
    page = draw_page(
        [_joined(panels)],
        nodes_beside(nodes, threshold=None if heat is None else threshold),
        titles,
        None if um_per_px is None else um_per_px / times,
        note,
    )
    buffer = io.BytesIO()
    PillowImage.open(io.BytesIO(page)).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def _outlined(slide: Image, labels: Labels, nodes: pd.DataFrame) -> Image:
    """Draw the outlines of nodes, the metastatic ones above the others."""
    drawn, places = slide.copy(), ndimage.find_objects(labels)
    found = [(look_of(row), int(row["node_id"])) for row in nodes.to_dict("records")]
    # Nodes that touch are drawn one by one: the border between them is a border of both.
    for look in reversed(LOOKS):
        for number in [number for known, number in found if known == look]:
            place = places[number - 1] if number <= len(places) else None
            if place is None:
                continue
            around = tuple(slice(max(s.start - _AROUND, 0), s.stop + _AROUND) for s in place)
            outline = Outline(labels[around] == number, look.colour, look.width_px, _CASING_PX)
            drawn[around] = draw_outlines(drawn[around], [outline])
    return drawn


def _mapped(
    slide: Image, inside: Bits, tumour: Bits, values: npt.NDArray[np.float32] | None
) -> Image:
    """Colour the inside of nodes by the probability of tumour, over the slide in pale grey."""
    grey = slide.mean(axis=2, keepdims=True).repeat(3, axis=2)
    pale = np.rint(255 - (255 - grey) * _PALE).astype(np.uint8)
    if values is None:
        colours = np.broadcast_to(np.array(rgb(LOOKS[0].colour), np.uint8), slide.shape)
        known = tumour
    else:
        colours = coloured(np.nan_to_num(values))
        known = np.isfinite(values) & inside
    drawn = blended(pale, colours, np.where(known, TINT, 0.0))
    drawn = draw_outlines(drawn, [Outline(tumour, "#000000", width_px=2, casing_px=1)])
    drawn[inside & ~ndimage.binary_erosion(inside, border_value=1)] = _RIM
    return drawn


def _badges(labels: Labels, nodes: pd.DataFrame) -> list[Badge]:
    found = [(int(row["node_id"]), look_of(row)) for row in nodes.to_dict("records")]
    return place_badges(labels, [(number, rgb(look.colour), look.filled) for number, look in found])


def _joined(panels: Sequence[Image]) -> Image:
    """Return panels as one picture: beside each other, of a wide slide one below the other."""
    if len(panels) == 1:
        return panels[0]
    height, width = panels[0].shape[:2]
    axis = 0 if width > _WIDE * height else 1
    gap = np.full((_GAP_PX, width, 3) if axis == 0 else (height, _GAP_PX, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1]], axis=axis)


def _nearest(slide: Image, values: npt.NDArray[Any]) -> tuple[Index, Index]:
    """Return the row and column of the nearest value of each pixel of a picture of one view."""
    height, width = slide.shape[:2]
    rows = (2 * np.arange(height) + 1) * values.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * values.shape[1] // (2 * width)
    return rows[:, None], columns[None]
