"""Where the lymph nodes of a slide lie, and in them their deposits and fat."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from histokeras.slides.synthetic.fields import cell_draws, draws, key_of
from histokeras.slides.synthetic.spec import NodeSpec, SlideSpec

PX_PER_MM = 2000.0
"""Painted pixels of 0.5 um."""
_GAP = 1.12
# Centres of touching nodes are this share of the sum of their radii apart.
_PRESSED = 0.92
# Tumour outside a node keeps this far from it.
_APART_MM = 0.25
_TRIES = 400
_STEP_PX = 256
_LONGEST = 1.5
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
        holes: Radius of the necrosis in each of them; 0 for none.
        hilum: The fat inside it.
        touches: Numbers of the nodes that it is pressed against.
        lumpy: How far outlines stray, as a share of the radius.
    """

    x: float
    y: float
    half_width: float
    half_height: float
    deposits: tuple[Disc, ...]
    holes: tuple[float, ...] = ()
    hilum: Disc | None = None
    touches: tuple[int, ...] = ()
    lumpy: float = 0.0


@dataclass(frozen=True)
class _Item:
    """What stands in a row: a node, nodes that touch, or a deposit outside nodes.

    Attributes:
        shifts: Where the centre of each part lies, from the first one on.
        ends: Half the width of the first and of the last part.
        tallest: Half its height.
        told: What to call it.
    """

    shifts: tuple[float, ...]
    ends: tuple[float, float]
    tallest: float
    told: str

    @property
    def width(self) -> float:
        """Width with the gap around it."""
        return self.ends[0] * _GAP + self.shifts[-1] + self.ends[1] * _GAP

    @property
    def height(self) -> float:
        """Height with the gap around it."""
        return 2 * self.tallest * _GAP


def place_nodes(spec: SlideSpec) -> tuple[PlacedNode, ...]:
    """Lay the nodes of a slide in rows.

    Args:
        spec: The slide.

    Returns:
        The nodes in the order of ``spec.nodes``.

    Raises:
        ValueError: If they do not fit on the slide, or deposits not into their node.
    """
    halves = _halves(spec)
    items = _items(spec, halves)
    placed: list[PlacedNode] = []
    for item, (x, y) in zip(items, _centres(spec, items), strict=True):
        for shift in item.shifts:
            index = len(placed)
            if index == len(spec.nodes):
                return tuple(placed)
            node = spec.nodes[index]
            bare = PlacedNode(x + shift, y, *halves[index], (), lumpy=node.lumpy)
            touches = _touches(spec, index)
            placed.append(replace(_filled(spec, index, node, bare), touches=touches))
    return tuple(placed)


def place_outside(spec: SlideSpec) -> tuple[Disc, ...]:
    """Lay the tumour deposits outside nodes.

    Args:
        spec: The slide.

    Returns:
        The deposits in the order of ``spec.outside_mm``.

    Raises:
        ValueError: If they do not fit on the slide.
    """
    if not spec.outside_mm:
        return ()
    items = _items(spec, _halves(spec))
    centres = list(_centres(spec, items))[-len(spec.outside_mm) :]
    return tuple(
        (x, y, size * PX_PER_MM / 2) for (x, y), size in zip(centres, spec.outside_mm, strict=True)
    )


def least_size(spec: SlideSpec) -> tuple[int, int]:
    """Return the size of the smallest slide that holds the nodes.

    Args:
        spec: The slide; its size does not matter.

    Returns:
        (width, height) at level 0, each at most 1.5 times the other where that is possible.

    Raises:
        ValueError: If deposits do not fit into their node.
    """
    items = _items(spec, _halves(spec))
    widest, tallest = max(item.width for item in items), max(item.height for item in items)
    most = sum(item.width for item in items)
    found: list[tuple[bool, int, tuple[int, int]]] = []
    for width in range(_whole(widest), _whole(1.3 * most) + _STEP_PX, _STEP_PX):
        height = next(
            (
                height
                for height in range(_whole(tallest), _whole(4 * most), _STEP_PX)
                if _fits(items, (width, height))
            ),
            None,
        )
        if height is not None:
            long = max(width, height) > _LONGEST * min(width, height)
            found.append((long, width * height, (width, height)))
    width, height = min(found)[2]
    return math.ceil(width / spec.scale), math.ceil(height / spec.scale)


def without_crowding(spec: SlideSpec) -> SlideSpec:
    """Return the slide without the deposits that do not fit into their node.

    Args:
        spec: The slide; where it lies does not matter to what fits into a node.

    Returns:
        The slide; nodes lose deposits from the last on.
    """
    nodes = []
    for index, (node, half) in enumerate(zip(spec.nodes, _halves(spec), strict=True)):
        bare = PlacedNode(0.0, 0.0, *half, ())
        n_kept = len(node.deposits_mm)
        while _n_placed(spec, index, _first_deposits(node, n_kept), bare) < n_kept:
            n_kept -= 1
        nodes.append(_first_deposits(node, n_kept))
    return replace(spec, nodes=tuple(nodes))


def _first_deposits(node: NodeSpec, n: int) -> NodeSpec:
    return replace(
        node, deposits_mm=node.deposits_mm[:n], deposit_holes_mm=node.deposit_holes_mm[:n]
    )


def _n_placed(spec: SlideSpec, index: int, node: NodeSpec, bare: PlacedNode) -> int:
    try:
        return len(_filled(spec, index, node, bare).deposits)
    except ValueError:
        return -1


def _whole(length: float) -> int:
    return math.ceil(length / _STEP_PX) * _STEP_PX


def _fits(items: list[_Item], size: tuple[int, int]) -> bool:
    return all(place is not None for place in _rows(items, size))


def _halves(spec: SlideSpec) -> list[tuple[float, float]]:
    """Return half the width and half the height of each node."""
    found = []
    for index, node in enumerate(spec.nodes):
        aspect = 1 + 0.45 * draws(spec.seed, "node", index)[0]
        half = node.diameter_mm * PX_PER_MM / 2
        found.append((half * math.sqrt(aspect), half / math.sqrt(aspect)))
    return found


def _touches(spec: SlideSpec, index: int) -> tuple[int, ...]:
    before = (index - 1,) if spec.nodes[index].touching else ()
    after = index + 1 < len(spec.nodes) and spec.nodes[index + 1].touching
    return before + ((index + 1,) if after else ())


def _items(spec: SlideSpec, halves: list[tuple[float, float]]) -> list[_Item]:
    items: list[_Item] = []
    for index, (node, (half_x, half_y)) in enumerate(zip(spec.nodes, halves, strict=True)):
        told = f"node {index + 1} of {node.diameter_mm} mm"
        if node.touching:
            last = items.pop()
            shift = last.shifts[-1] + _PRESSED * (last.ends[1] + half_x)
            tallest = max(last.tallest, half_y)
            items.append(_Item((*last.shifts, shift), (last.ends[0], half_x), tallest, told))
        else:
            items.append(_Item((0.0,), (half_x, half_x), half_y, told))
    for size in spec.outside_mm:
        half = (size / 2 + _APART_MM) * PX_PER_MM
        items.append(_Item((0.0,), (half, half), half, f"a deposit outside nodes of {size} mm"))
    return items


def _rows(items: list[_Item], size: tuple[int, int]) -> Iterator[tuple[float, float] | None]:
    """Yield the centre of the first part of each item, None once one does not fit."""
    width, height = size
    margin = 0.06 * min(width, height)
    x, y, tallest = margin, margin, 0.0
    for item in items:
        if x + item.width > width - margin and x > margin:
            x, y, tallest = margin, y + tallest, 0.0
        if x + item.width > width - margin / 2 or y + item.height > height - margin / 2:
            yield None
            return
        yield x + item.ends[0] * _GAP, y + item.tallest * _GAP
        x, tallest = x + item.width, max(tallest, item.height)


def _centres(spec: SlideSpec, items: list[_Item]) -> Iterator[tuple[float, float]]:
    for item, centre in zip(items, _rows(items, spec.painted_px), strict=False):
        if centre is None:
            raise ValueError(
                f"`nodes` do not fit on a slide of {spec.size_px} px at {spec.mpp} um per px. "
                f"Received: {item.told}"
            )
        yield centre


def _filled(spec: SlideSpec, index: int, node: NodeSpec, bare: PlacedNode) -> PlacedNode:
    """Put the fat and the deposits into a node."""
    radii = [size * PX_PER_MM / 2 for size in node.deposits_mm]
    discs: list[Disc] = []
    if node.hilum_mm:
        turn, far = draws(spec.seed, "hilum", index, n=2)
        radius = node.hilum_mm * PX_PER_MM / 2
        away = 0.6 * far
        x = bare.x + away * (bare.half_width - radius) * math.cos(2 * math.pi * turn)
        y = bare.y + away * (bare.half_height - radius) * math.sin(2 * math.pi * turn)
        discs.append((x, y, radius))
    for number, radius in enumerate(radii):
        disc = _free_disc(key_of(spec.seed, "deposit", index), number, radius, bare, discs)
        if disc is None:
            raise ValueError(
                f"`deposits_mm` do not fit into a node of {node.diameter_mm} mm. "
                f"Received: deposits_mm={node.deposits_mm}"
                + (f", hilum_mm={node.hilum_mm}" if node.hilum_mm else "")
            )
        discs.append(disc)
    hilum = discs.pop(0) if node.hilum_mm else None
    holes = tuple(size * PX_PER_MM / 2 for size in node.holes_mm)
    return replace(bare, deposits=tuple(discs), holes=holes, hilum=hilum)


def _free_disc(
    key: int, number: int, radius: float, node: PlacedNode, others: list[Disc]
) -> Disc | None:
    """Return a disc inside a node that lies apart from others, if one was found."""
    tries = np.arange(_TRIES, dtype=np.int64)
    turn, far = cell_draws(key, tries, np.full(_TRIES, number, np.int64), 2).astype(float)
    room = np.array((node.half_width, node.half_height)) - radius * 1.08
    if room.min() < 0:
        return None
    x = node.x + room[0] * np.sqrt(far) * np.cos(2 * np.pi * turn)
    y = node.y + room[1] * np.sqrt(far) * np.sin(2 * np.pi * turn)
    free = np.ones(_TRIES, np.bool_)
    for other in others:
        free &= np.hypot(x - other[0], y - other[1]) > (radius + other[2]) * 1.12 + 16
    if not free.any():
        return None
    first = int(np.argmax(free))
    return float(x[first]), float(y[first]), radius
