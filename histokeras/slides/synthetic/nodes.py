"""Lymph nodes in fat, with tumour deposits of chosen size."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from histokeras.slides.synthetic.fields import Field, Whole, cell_draws, draws, fractal, key_of
from histokeras.slides.synthetic.spec import NodeSpec, SlideSpec
from histokeras.slides.synthetic.tiles import CLASSES, GLASS

_PX_PER_MM = 2000.0
_GAP = 1.12
_CAPSULE_PX = 26.0
_FAT_PX = 300.0
_TRIES = 400
Disc = tuple[float, float, float]
"""x, y and radius in painted pixels."""


@dataclass(frozen=True)
class PlacedNode:
    """A lymph node on the slide; lengths in painted pixels of 0.5 um.

    Attributes:
        x: Column of its centre.
        y: Row of its centre.
        half_width: Half its width.
        half_height: Half its height.
        deposits: Its tumour deposits.
    """

    x: float
    y: float
    half_width: float
    half_height: float
    deposits: tuple[Disc, ...]


def place_nodes(spec: SlideSpec) -> tuple[PlacedNode, ...]:
    """Lay the nodes of a slide in rows.

    Args:
        spec: The slide.

    Returns:
        The nodes in the order of ``spec.nodes``.

    Raises:
        ValueError: If they do not fit on the slide, or deposits not into their node.
    """
    width, height = spec.painted_px
    placed: list[PlacedNode] = []
    left = top = 0.06 * min(width, height)
    x, y, tallest = left, top, 0.0
    for index, node in enumerate(spec.nodes):
        aspect = 1 + 0.45 * draws(spec.seed, "node", index)[0]
        half_x = node.diameter_mm * _PX_PER_MM / 2 * math.sqrt(aspect)
        half_y = node.diameter_mm * _PX_PER_MM / 2 / math.sqrt(aspect)
        if x + 2 * half_x * _GAP > width - left and x > left:
            x, y, tallest = left, y + tallest, 0.0
        if x + 2 * half_x * _GAP > width - left / 2 or y + 2 * half_y * _GAP > height - top / 2:
            raise ValueError(
                f"`nodes` do not fit on a slide of {spec.size_px} px at {spec.mpp} um per px. "
                f"Received: node {index + 1} of {node.diameter_mm} mm"
            )
        centre = (x + half_x * _GAP, y + half_y * _GAP)
        deposits = _deposits(spec, index, node, centre, (half_x, half_y))
        placed.append(PlacedNode(*centre, half_x, half_y, deposits))
        x, tallest = x + 2 * half_x * _GAP, max(tallest, 2 * half_y * _GAP)
    return tuple(placed)


def _deposits(
    spec: SlideSpec,
    index: int,
    node: NodeSpec,
    centre: tuple[float, float],
    half: tuple[float, float],
) -> tuple[Disc, ...]:
    discs: list[Disc] = []
    for number, size in enumerate(node.deposits_mm):
        radius = size * _PX_PER_MM / 2
        tries = np.arange(_TRIES, dtype=np.int64)
        key = key_of(spec.seed, "deposit", index)
        turn, far = cell_draws(key, tries, np.full(_TRIES, number, np.int64), 2).astype(float)
        room = np.array(half) - radius * 1.08
        if room.min() >= 0:
            x = centre[0] + room[0] * np.sqrt(far) * np.cos(2 * np.pi * turn)
            y = centre[1] + room[1] * np.sqrt(far) * np.sin(2 * np.pi * turn)
            free = np.ones(_TRIES, np.bool_)
            for other in discs:
                free &= np.hypot(x - other[0], y - other[1]) > (radius + other[2]) * 1.12 + 16
            if free.any():
                first = int(np.argmax(free))
                discs.append((float(x[first]), float(y[first]), radius))
                continue
        raise ValueError(
            f"`deposits_mm` do not fit into a node of {node.diameter_mm} mm. "
            f"Received: deposits_mm={node.deposits_mm}"
        )
    return tuple(discs)


def lay_nodes(
    spec: SlideSpec, nodes: tuple[PlacedNode, ...], xs: Whole, ys: Whole
) -> npt.NDArray[np.uint8]:
    """Return the classes of nodes in fat.

    Args:
        spec: The slide.
        nodes: From ``place_nodes``.
        xs: Columns in painted pixels, int64 (w,).
        ys: Rows, int64 (h,).

    Returns:
        uint8 (h, w): glass, fat, stroma (capsules), lymphocytes, tumour (deposits).
    """
    classes = np.full((len(ys), len(xs)), GLASS, np.uint8)
    fat = _FAT_PX + 0.3 * _FAT_PX * fractal(key_of(spec.seed, "fat"), 200, xs, ys, octaves=5)
    inner: list[tuple[Field, PlacedNode]] = []
    wavy = fractal(key_of(spec.seed, "node border"), 60, xs, ys, octaves=4)
    for node in nodes:
        dx, dy = (xs - node.x)[None, :], (ys - node.y)[:, None]
        mean = math.sqrt(node.half_width * node.half_height)
        length = np.hypot(dx / node.half_width, dy / node.half_height)
        depth = (1 - length) * mean + 0.02 * mean * wavy
        classes[depth > -fat] = CLASSES.index("ADI")
        inner.append((depth, node))
    for depth, node in inner:
        classes[depth > -_CAPSULE_PX] = CLASSES.index("STR")
        classes[depth > 0] = CLASSES.index("LYM")
        for x, y, radius in node.deposits:
            far = np.hypot((xs - x)[None, :], (ys - y)[:, None])
            classes[far < radius * (1 + 0.02 * wavy)] = CLASSES.index("TUM")
    return classes
