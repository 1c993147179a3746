"""Legend and table of nodes beside a slide."""

import numpy as np
import pandas as pd
from PIL import Image as PillowImage
from PIL import ImageDraw

from histokeras.report.colours import rgb
from histokeras.report.heatmap import FONT_PX, Beside
from histokeras.report.lymph_looks import LOOKS, NodeLook, look_of
from histokeras.report.lymph_numbers import area_text, class_text, length_text, share_text
from histokeras.tiles.paint import INK, QUIET, blended, coloured, font_of

MOST_ROWS = 40
"""Nodes in the table of a picture; of more, those with tumour come first."""
TINT = 0.8
"""How much of its colour a probability of tumour shows over the slide, 0..1."""
HEAD = ("node", "area\nmm²", "tumour\nmm²", "tumour\n%", "largest\nmm", "class")
_ROW, _HEAD_PX, _SPACE, _KEY_PX = 24, 52, 22, 30
_RAMP_PX, _RAMP_HIGH = 260, 18
_PALE = 235
_BAND = (244, 246, 249)


def nodes_beside(nodes: pd.DataFrame, *, threshold: float | None) -> Beside:
    """Return the legend of a picture of nodes, and below it the table of its nodes.

    Args:
        nodes: A row a node, as :func:`~histokeras.report.lymph_picture.draw_slide` takes them.
        threshold: Above which probability a pixel is tumour, 0..1; None where tumour was drawn by
            hand.
    """
    font = font_of(FONT_PX)
    rows, left_out = table_rows(nodes)
    widths = [
        max(font.getlength(text) for text in [*HEAD[i].split("\n"), *(row[i] for row in rows)])
        for i in range(len(HEAD))
    ]
    keys = _keys(nodes)
    legend = len(keys) * _KEY_PX + (80 if threshold is not None and len(nodes) else 10)
    height = legend + (_HEAD_PX + _ROW * (len(rows) + bool(left_out)) if len(nodes) else 0)
    wide = max(
        [sum(widths) + _SPACE * (len(widths) - 1), _RAMP_PX + 60.0]
        + [font.getlength(text) + 44 for _, text in keys]
    )

    def draw(page: PillowImage.Image, corner: tuple[int, int], tall: int) -> None:
        pen = ImageDraw.Draw(page)
        x, y = corner
        for number, (look, text) in enumerate(keys):
            _draw_key(pen, (x, y + number * _KEY_PX), look)
            pen.text((x + 44, y + number * _KEY_PX), text, fill=INK, font=font)
        if len(nodes):
            if threshold is not None:
                _draw_ramp(page, (x, y + len(keys) * _KEY_PX + 4), threshold)
            _draw_table(pen, (x, y + legend), widths, rows, left_out)

    return Beside(draw, round(wide) + 8, height)


def table_rows(nodes: pd.DataFrame) -> tuple[list[list[str]], str]:
    """Return the cells of the table, and what must be said of nodes that found no place.

    Args:
        nodes: A row a node.
    """
    shown = nodes
    left_out = ""
    if len(nodes) > MOST_ROWS:
        order = nodes["tumour_area_mm2"].sort_values(ascending=False, kind="stable").index
        shown = nodes.loc[order[:MOST_ROWS]].sort_values("node_id")
        rest = nodes.drop(index=shown.index)
        without = "without tumour" if rest["tumour_area_mm2"].eq(0).all() else "with less tumour"
        left_out = f"and {len(rest)} more {without}, see nodes.csv"
    rows = [
        [
            str(row["node_id"]),
            area_text(row["node_area_mm2"]),
            area_text(row["tumour_area_mm2"]),
            share_text(row["ratio"]),
            length_text(row["largest_deposit_mm"]),
            class_text(row),
        ]
        for row in shown.to_dict("records")
    ]
    return rows, left_out


def _keys(nodes: pd.DataFrame) -> list[tuple[NodeLook, str]]:
    """Return the kinds of nodes that are there, each with its number."""
    found = [look_of(row) for row in nodes.to_dict("records")]
    return [(look, f"{look.title}: {found.count(look)}") for look in LOOKS if look in found]


def _draw_key(pen: ImageDraw.ImageDraw, corner: tuple[int, int], look: NodeLook) -> None:
    x, y = corner
    colour, white = rgb(look.colour), (255, 255, 255)
    fill, ink = (colour, white) if look.filled else (white, colour)
    pen.rounded_rectangle((x, y, x + 32, y + 22), radius=6, fill=fill, outline=colour, width=2)
    pen.text((x + 16, y + 11), "n", fill=ink, font=font_of(16), anchor="mm")


def _draw_ramp(page: PillowImage.Image, corner: tuple[int, int], threshold: float) -> None:
    """Draw the colours of probabilities from 0 to 1, and where tumour begins."""
    pen = ImageDraw.Draw(page)
    x, y = corner
    font = font_of(FONT_PX - 2)
    pen.text((x, y), "probability of tumour", fill=INK, font=font)
    y += 24
    # The same mixture as on the slide, over its pale grey.
    under = np.full((_RAMP_HIGH, _RAMP_PX, 3), _PALE, np.uint8)
    ramp = coloured(np.linspace(0, 1, _RAMP_PX))[None].repeat(_RAMP_HIGH, axis=0)
    mixed = blended(under, ramp, np.full((_RAMP_HIGH, _RAMP_PX), TINT))
    page.paste(PillowImage.fromarray(mixed), (x, y))
    pen.rectangle((x - 1, y - 1, x + _RAMP_PX, y + _RAMP_HIGH), outline=QUIET)
    at = x + round(threshold * (_RAMP_PX - 1))
    pen.line((at, y - 4, at, y + _RAMP_HIGH + 4), fill=INK, width=2)
    pen.text((x, y + _RAMP_HIGH + 3), "0", fill=INK, font=font)
    pen.text((at, y + _RAMP_HIGH + 3), f"{threshold:g}", fill=INK, font=font, anchor="ma")
    pen.text((x + _RAMP_PX, y + _RAMP_HIGH + 3), "1", fill=INK, font=font, anchor="ra")


def _draw_table(
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    widths: list[float],
    rows: list[list[str]],
    left_out: str,
) -> None:
    font = font_of(FONT_PX)
    x, y = corner
    total = sum(widths) + _SPACE * (len(widths) - 1)
    lefts = [x + sum(widths[:i]) + _SPACE * i for i in range(len(widths))]
    for i, title in enumerate(HEAD):
        for line, text in enumerate(title.split("\n")):
            _cell(pen, i, (lefts[i], y + line * 22), widths[i], text)
    y += _HEAD_PX
    pen.line((x, y - 4, x + total, y - 4), fill=INK, width=2)
    for number, row in enumerate(rows):
        top = y + number * _ROW
        if number % 2:
            pen.rectangle((x - 4, top - 2, x + total + 4, top + _ROW - 3), fill=_BAND)
        for i, text in enumerate(row):
            _cell(pen, i, (lefts[i], top), widths[i], text)
    if left_out:
        pen.text((x, y + len(rows) * _ROW), left_out, fill=INK, font=font)


def _cell(
    pen: ImageDraw.ImageDraw, column: int, corner: tuple[float, float], width: float, text: str
) -> None:
    """Write a cell: numbers end at the right, the class begins at the left."""
    font = font_of(FONT_PX)
    last = column == len(HEAD) - 1
    x = corner[0] if last else corner[0] + width - font.getlength(text)
    pen.text((x, corner[1]), text, fill=INK, font=font)
