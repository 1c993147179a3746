"""Lymph nodes in fat, with tumour deposits of chosen size: which class lies where."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from histokeras.slides.synthetic.fields import Field, Whole, fractal, key_of, noise
from histokeras.slides.synthetic.node_places import PX_PER_MM, Disc, PlacedNode
from histokeras.slides.synthetic.spec import SlideSpec
from histokeras.slides.synthetic.tiles import CLASSES, GLASS

Bits = npt.NDArray[np.bool_]
_CAPSULE_PX = 26.0
# Around tumour outside nodes.
_SCAR_PX = 120.0
# The fine waves of a lumpy outline; lumps and lobes are what makes it uneven.
_MOST_WAVE_PX = 18.0
_MOST_LUMPS = 1.5
# Waves of five standard deviations do not occur: no outline strays further, no fat reaches further.
_MOST_STRAY, _MOST_FAT = 0.15, 2.5
_LOBES = 1.6


@dataclass(frozen=True)
class NodeParts:
    """A node in a window; arrays (h, w).

    Attributes:
        around: Depth below its outline in painted pixels as if it stood alone, float.
        depth: Depth that leaves to nodes that it touches what is theirs, float.
        deposit: Which deposit lies there, 1 and on, 0 for none; uint8.
        hole: Where that deposit is necrotic.
        hilum: Depth in the fat inside, float; None without.
    """

    around: Field
    depth: Field
    deposit: npt.NDArray[np.uint8]
    hole: Bits
    hilum: Field | None

    @property
    def inside(self) -> Bits:
        """Where the node is: fat and deposits included, its capsule not."""
        return np.asarray((self.depth > 0) | (self.deposit > 0), np.bool_)


def node_parts(
    spec: SlideSpec, nodes: tuple[PlacedNode, ...], wanted: Sequence[int], xs: Whole, ys: Whole
) -> list[NodeParts]:
    """Return where nodes and what is in them lies.

    Args:
        spec: The slide.
        nodes: From ``place_nodes``.
        wanted: Numbers of the nodes that are asked for.
        xs: Columns in painted pixels, int64 (w,).
        ys: Rows, int64 (h,).

    Returns:
        One for each that is wanted.
    """
    wavy = fractal(key_of(spec.seed, "node border"), 60, xs, ys, octaves=4)
    needed = {*wanted, *(other for index in wanted for other in nodes[index].touches)}
    alone = {index: _depth(spec, index, nodes[index], wavy, xs, ys) for index in needed}
    parts = []
    for index in wanted:
        node, depth = nodes[index], alone[index]
        for other in node.touches:
            # Half the difference of two depths is the distance from the line where they meet;
            # one capsule lies along it.
            apart = (alone[index] - alone[other] - _CAPSULE_PX) / 2
            depth = np.minimum(depth, apart)
        parts.append(_parts(spec, index, node, alone[index], depth, wavy, xs, ys))
    return parts


def _is_near(node: PlacedNode, margin: float, xs: Whole, ys: Whole) -> bool:
    """Tell whether a node and what lies within a margin of it may reach into a window."""
    far = 1 + _MOST_STRAY + _MOST_LUMPS * node.lumpy
    across, down = far * node.half_width + margin, far * node.half_height + margin
    return bool(
        node.x - across < xs[-1]
        and node.x + across > xs[0]
        and node.y - down < ys[-1]
        and node.y + down > ys[0]
    )


def _lumps(spec: SlideSpec, name: str, index: int, size: float, xs: Whole, ys: Whole) -> Field:
    """Return how an outline strays, in about -1.5..1.5, over lengths of the size's order."""
    coarse = noise(key_of(spec.seed, name, index), max(60.0, 0.35 * size), xs, ys)
    fine = noise(key_of(spec.seed, name, index, "fine"), max(30.0, 0.1 * size), xs, ys)
    return np.asarray(np.clip(coarse + 0.3 * fine, -_MOST_LUMPS, _MOST_LUMPS))


def _depth(
    spec: SlideSpec, index: int, node: PlacedNode, wavy: Field, xs: Whole, ys: Whole
) -> Field:
    dx, dy = (xs - node.x)[None, :], (ys - node.y)[:, None]
    mean = math.sqrt(node.half_width * node.half_height)
    length = np.hypot(dx / node.half_width, dy / node.half_height)
    if not node.lumpy:
        return np.asarray((1 - length) * mean + 0.02 * mean * wavy)
    stray = node.lumpy * mean * _lumps(spec, "lump", index, mean, xs, ys)
    return np.asarray((1 - length) * mean + stray + min(0.02 * mean, _MOST_WAVE_PX) * wavy)


def _parts(
    spec: SlideSpec,
    index: int,
    node: PlacedNode,
    alone: Field,
    depth: Field,
    wavy: Field,
    xs: Whole,
    ys: Whole,
) -> NodeParts:
    deposit, hole = np.zeros(depth.shape, np.uint8), np.zeros(depth.shape, np.bool_)
    # The outlines of plain nodes are left to their deposits.
    open_to = (depth > 0) if node.lumpy or node.touches else np.ones(depth.shape, np.bool_)
    for number, (x, y, radius) in enumerate(node.deposits):
        far = np.hypot((xs - x)[None, :], (ys - y)[:, None])
        edge = _edge(spec, f"lobe {number}", index, radius, node.lumpy, wavy, xs, ys)
        own = (far < edge) & open_to
        deposit[own] = number + 1
        if node.holes[number]:
            hole |= own & (far < edge * (node.holes[number] / radius))
    hilum = None
    if node.hilum is not None:
        x, y, radius = node.hilum
        far = np.hypot((xs - x)[None, :], (ys - y)[:, None])
        edge = _edge(spec, "hilum", index, radius, max(node.lumpy, 0.02), wavy, xs, ys)
        hilum = np.where((deposit == 0) & (depth > 2 * _CAPSULE_PX), edge - far, -np.inf)
    return NodeParts(alone, depth, deposit, hole, hilum)


def _edge(
    spec: SlideSpec,
    name: str,
    index: int,
    radius: float,
    lumpy: float,
    wavy: Field,
    xs: Whole,
    ys: Whole,
) -> Field:
    """Return the radius of a deposit or of fat at each pixel."""
    if not lumpy:
        return np.asarray(radius * (1 + 0.02 * wavy))
    stray = _LOBES * lumpy * np.clip(_lumps(spec, name, index, radius, xs, ys), -1, 1)
    return np.asarray(radius * (1 + stray) + min(0.02 * radius, _MOST_WAVE_PX) * wavy)


def outside_edge(spec: SlideSpec, number: int, disc: Disc, xs: Whole, ys: Whole) -> Field:
    """Return the depth of pixels in a deposit outside nodes, in painted pixels.

    Args:
        spec: The slide.
        number: Which deposit.
        disc: Where it is.
        xs: Columns in painted pixels, int64 (w,).
        ys: Rows, int64 (h,).

    Returns:
        float (h, w), above 0 inside.
    """
    wavy = fractal(key_of(spec.seed, "node border"), 60, xs, ys, octaves=4)
    far = np.hypot((xs - disc[0])[None, :], (ys - disc[1])[:, None])
    return np.asarray(_edge(spec, "outside", number, disc[2], 0.06, wavy, xs, ys) - far)


def lay_nodes(
    spec: SlideSpec,
    nodes: tuple[PlacedNode, ...],
    outside: tuple[Disc, ...],
    xs: Whole,
    ys: Whole,
) -> npt.NDArray[np.uint8]:
    """Return the classes of nodes in fat.

    Args:
        spec: The slide.
        nodes: From ``place_nodes``.
        outside: From ``place_outside``.
        xs: Columns in painted pixels, int64 (w,).
        ys: Rows, int64 (h,).

    Returns:
        uint8 (h, w): glass, fat, stroma (capsules), lymphocytes, tumour (deposits), debris (their
        holes).
    """
    classes = np.full((len(ys), len(xs)), GLASS, np.uint8)
    reach = spec.fat_mm * PX_PER_MM
    fat = reach + 0.3 * reach * fractal(key_of(spec.seed, "fat"), 200, xs, ys, octaves=5)
    near = [i for i, node in enumerate(nodes) if _is_near(node, _MOST_FAT * reach, xs, ys)]
    parts = node_parts(spec, nodes, near, xs, ys)
    lone = [outside_edge(spec, number, disc, xs, ys) for number, disc in enumerate(outside)]
    for depth in (*(part.around for part in parts), *lone):
        classes[depth > -fat] = CLASSES.index("ADI")
    for depth in lone:
        classes[depth > -_SCAR_PX] = CLASSES.index("STR")
        classes[depth > 0] = CLASSES.index("TUM")
    for part in parts:
        classes[part.depth > -_CAPSULE_PX] = CLASSES.index("STR")
        classes[part.depth > 0] = CLASSES.index("LYM")
        if part.hilum is not None:
            classes[part.hilum > -_CAPSULE_PX] = CLASSES.index("STR")
            classes[part.hilum > 0] = CLASSES.index("ADI")
        classes[part.deposit > 0] = CLASSES.index("TUM")
        classes[part.hole] = CLASSES.index("DEB")
    return classes
