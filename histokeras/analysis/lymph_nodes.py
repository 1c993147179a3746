"""Lymph nodes on the overview of a slide, and the tumour inside them, in mm2."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from histokeras.analysis.lymph_size import (
    ITC,
    NO_TUMOUR,
    Lengths,
    measure_deposits,
    size_class,
)
from histokeras.analysis.lymph_split import SMOOTH_UM, Labels, split_touching
from histokeras.slides.tissue import Mask

FILL, KEEP = "fill", "keep"
HOLES = (FILL, KEEP)
"""What to do with holes: make them part of what surrounds them, or leave them out."""
NODE_COLUMNS = (
    "node_id",
    "x",
    "y",
    "width",
    "height",
    "centroid_x_mm",
    "centroid_y_mm",
    "node_area_mm2",
    "tumour_area_mm2",
    "ratio",
    "n_deposits",
    "largest_deposit_mm",
    "n_tiles",
    "max_prob",
    "metastatic",
    "size_class",
    "stride_um",
)
Probability = npt.NDArray[np.float32]
_ROUND = np.ones((3, 3), np.bool_)
_UM2_A_MM2 = 1e6


@dataclass(frozen=True, kw_only=True)
class NodeRules:
    """What counts as a lymph node, and as a metastatic one.

    Attributes:
        min_node_mm2: Smaller pieces are no nodes, in mm2; 0.5 mm2 lies within the 2.5 mm of outline
            that the original asked for.
        split_touching: Whether nodes that touch are parted at their neck.
        neck: A neck parts two nodes if its half width is below this share of the inner radius of
            the smaller one, in (0, 1). At 0.7, 4 of 200 random pairs of ragged ellipses, necks up
            to 0.6, stayed one and 5 of 600 ragged, notched or bent single nodes came apart; at 0.9
            about 70 did.
        node_holes: ``fill`` or ``keep``: whether a hole in a node belongs to it.
        tumour_holes: Likewise of a hole in tumour.
        min_tumour_mm2: From this tumour area a node is metastatic, in mm2; less is not believed.
        count_itc: Whether a node that holds isolated tumour cells alone counts as metastatic.

    Raises:
        ValueError: If an area is negative, the share outside (0, 1) or a policy unknown.
    """

    min_node_mm2: float = 0.5
    split_touching: bool = True
    neck: float = 0.7
    node_holes: str = FILL
    tumour_holes: str = KEEP
    min_tumour_mm2: float = 0.01
    count_itc: bool = False

    def __post_init__(self) -> None:
        for name in ("min_node_mm2", "min_tumour_mm2"):
            area = getattr(self, name)
            if not (np.isfinite(area) and area >= 0):
                raise ValueError(f"`{name}` is an area of at least 0 mm2. Received: {name}={area}")
        if not 0 < self.neck < 1:
            raise ValueError(f"`neck` is a share in (0, 1). Received: neck={self.neck}")
        for name in ("node_holes", "tumour_holes"):
            if getattr(self, name) not in HOLES:
                raise ValueError(
                    f"`{name}` must be one of {HOLES}. Received: {name}={getattr(self, name)!r}"
                )


def find_nodes(
    mask: Mask, mpp: float, rules: NodeRules, *, split: bool | None = None
) -> tuple[Labels, int]:
    """Find the lymph nodes in a mask.

    Args:
        mask: Shape (h, w), True in nodes.
        mpp: Micrometres per pixel.
        rules: What counts as one.
        split: Whether to part nodes that touch; None for what ``rules`` says.

    Returns:
        Shape (h, w), int32: 0 outside, nodes 1..n in reading order (rows of nodes from the top,
        each from the left); and how many pieces were dropped, smaller than ``rules.min_node_mm2``.
    """
    least_px = rules.min_node_mm2 * _UM2_A_MM2 / mpp**2
    parted = rules.split_touching if split is None else split
    neck, least = (rules.neck if parted else 0.0), max(least_px, 1.0)
    filled = np.asarray(ndimage.binary_fill_holes(mask))
    solid = filled & ~_gaps(mask, filled & ~mask, mpp, neck, least) if parted else filled
    labels = split_touching(solid, mpp, neck=neck, least_px=least)
    if rules.node_holes == KEEP:
        labels[~mask] = 0
    return number_nodes(labels, mpp, rules)


def number_nodes(labels: Labels, mpp: float, rules: NodeRules) -> tuple[Labels, int]:
    """Drop nodes that are too small, and number the others in reading order.

    Args:
        labels: Shape (h, w), int32: 0 outside, any number above 0 for each node.
        mpp: Micrometres per pixel.
        rules: ``min_node_mm2`` counts.

    Returns:
        As :func:`find_nodes` does.
    """
    least_px = rules.min_node_mm2 * _UM2_A_MM2 / mpp**2
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = np.flatnonzero((sizes >= least_px) & (sizes > 0))
    n_dropped = int(np.count_nonzero(sizes)) - len(kept)
    new = np.zeros(len(sizes), np.int32)
    new[kept] = 1 + np.arange(len(kept))
    labels = new[labels]
    order = np.zeros(len(kept) + 1, np.int32)
    order[1 + _reading_order(ndimage.find_objects(labels))] = 1 + np.arange(len(kept))
    return order[labels], n_dropped


def counted_tumour(labels: Labels, tumour: Mask, rules: NodeRules) -> Mask:
    """Return the tumour that counts: inside nodes, its holes by ``rules``.

    Args:
        labels: Shape (h, w), int32: 0 outside, nodes 1..n.
        tumour: Shape (h, w), True in tumour.
        rules: ``tumour_holes`` counts.

    Returns:
        Shape (h, w), True in tumour as :func:`measure_nodes` measures it.
    """
    counted = np.zeros(labels.shape, np.bool_)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            counted[box] |= _inside(labels[box] == number, tumour[box], rules)
    return counted


def _inside(node: Mask, tumour: Mask, rules: NodeRules) -> Mask:
    inside = tumour & node
    if rules.tumour_holes == FILL:
        inside = np.asarray(ndimage.binary_fill_holes(inside)) & node
    return inside


def _gaps(mask: Mask, holes: Mask, mpp: float, neck: float, least_px: float) -> Mask:
    """Return the holes that several touching nodes enclose: they belong to none of them."""
    numbered, n_holes = ndimage.label(holes)
    between = np.zeros(n_holes + 1, np.bool_)
    # A smaller one is smoothed away before any neck is looked for.
    large = np.bincount(numbered.ravel(), minlength=n_holes + 1) >= (SMOOTH_UM / mpp) ** 2
    if not large[1:].any():
        return np.zeros(mask.shape, np.bool_)
    # The walls around a hole in one node differ in width, too: those between nodes by far.
    pieces = split_touching(mask, mpp, neck=neck / 2, least_px=least_px)
    # Specks, such as lymphocytes in the fat of a hole, are no second node beside it.
    is_node = np.bincount(pieces.ravel()) >= least_px
    is_node[0] = False
    for number, (down, across) in enumerate(ndimage.find_objects(numbered), start=1):
        if not large[number]:
            continue
        # A hole never reaches the border of the picture: there is a pixel around it.
        box = slice(down.start - 1, down.stop + 1), slice(across.start - 1, across.stop + 1)
        hole = numbered[box] == number
        owners = pieces[box][ndimage.binary_dilation(hole, _ROUND) & ~hole]
        between[number] = len(np.unique(owners[is_node[owners]])) > 1
    return np.asarray(between[numbered])


def _reading_order(boxes: list[Any]) -> npt.NDArray[np.int64]:
    """Return which box comes first, second, ...: in rows as deep as their topmost box."""
    left_over = sorted(range(len(boxes)), key=lambda at: boxes[at][0].start)
    order: list[int] = []
    while left_over:
        bottom = boxes[left_over[0]][0].stop
        row = [at for at in left_over if sum(_ends(boxes[at][0])) / 2 < bottom]
        order += sorted(row, key=lambda at: sum(_ends(boxes[at][1])))
        left_over = [at for at in left_over if at not in set(row)]
    return np.array(order, np.int64)


def _ends(side: slice) -> tuple[int, int]:
    return side.start, side.stop


def measure_nodes(
    labels: Labels,
    tumour: Mask,
    mpp: float,
    rules: NodeRules,
    *,
    scale: float | tuple[float, float],
    cell_um: Lengths,
    probability: Probability | None = None,
) -> pd.DataFrame:
    """Measure lymph nodes and the tumour inside them.

    Tumour outside nodes does not count, and a deposit that reaches over two nodes is one in each.

    Args:
        labels: Shape (h, w), int32: 0 outside, nodes 1..n.
        tumour: Shape (h, w), True in tumour.
        mpp: Micrometres per pixel.
        rules: What counts.
        scale: Level-0 pixels per pixel, or those in x and y.
        cell_um: Side of the cells in which tumour was read, in micrometres (the stride of tiles; of
            drawn tumour the pixel of the overview): of all nodes, or of each, (n,).
        probability: Of tumour, shape (h, w), float32, 0..1, NaN where it was not read.

    Returns:
        One row a node, ``NODE_COLUMNS``: its box in level-0 pixels, its centroid in mm from the
        slide's corner, areas, ``ratio`` (tumour by node, 0..1), ``largest_deposit_mm`` (greatest
        dimension), ``n_tiles`` 0 (whoever read tiles fills it), ``max_prob`` (NaN if not known),
        ``metastatic``, ``size_class`` (one of ``SIZE_CLASSES``), ``stride_um``.
    """
    boxes = ndimage.find_objects(labels)
    cells = np.broadcast_to(np.asarray(cell_um, np.float64), (len(boxes),))
    per_px = np.broadcast_to(np.asarray(scale, np.float64), (2,))
    rows = []
    for number, box in enumerate(boxes, start=1):
        if box is None:
            raise ValueError(f"`labels` must be 1..n without a gap. Received: no node {number}")
        node = labels[box] == number
        row = _place(node, box, mpp, per_px)
        row |= _tumour_of(node, tumour[box], mpp, rules, float(cells[number - 1]))
        if probability is not None:
            read = probability[box][node]
            row["max_prob"] = float(np.nanmax(read)) if np.isfinite(read).any() else np.nan
        rows.append({"node_id": number} | row)
    return _typed(pd.DataFrame(rows, columns=list(NODE_COLUMNS)))


def _place(
    node: Mask, box: tuple[slice, slice], mpp: float, per_px: npt.NDArray[np.float64]
) -> dict[str, Any]:
    down, across = box
    y, x = np.nonzero(node)
    left, top = np.rint(np.array([across.start, down.start]) * per_px).astype(int).tolist()
    right, bottom = np.rint(np.array([across.stop, down.stop]) * per_px).astype(int).tolist()
    return {
        "x": left,
        "y": top,
        "width": right - left,
        "height": bottom - top,
        # Positions are those of the middles of pixels.
        "centroid_x_mm": (across.start + float(x.mean()) + 0.5) * mpp / 1000,
        "centroid_y_mm": (down.start + float(y.mean()) + 0.5) * mpp / 1000,
        "node_area_mm2": len(x) * mpp**2 / _UM2_A_MM2,
    }


def _tumour_of(
    node: Mask, tumour: Mask, mpp: float, rules: NodeRules, cell_um: float
) -> dict[str, Any]:
    inside = _inside(node, tumour, rules)
    area_mm2 = int(np.count_nonzero(inside)) * mpp**2 / _UM2_A_MM2
    n_deposits, largest_px, deposit_px = measure_deposits(inside)
    largest_mm = largest_px * mpp / 1000
    name = NO_TUMOUR
    # Tumour of less than what is believed has no class either.
    if area_mm2 > 0 and area_mm2 >= rules.min_tumour_mm2:
        name = size_class(largest_mm, deposit_px * (mpp / cell_um) ** 2, cell_um)
    return {
        "tumour_area_mm2": area_mm2,
        "ratio": float(np.count_nonzero(inside) / np.count_nonzero(node)),
        "n_deposits": n_deposits,
        "largest_deposit_mm": largest_mm,
        "n_tiles": 0,
        "max_prob": np.nan,
        "metastatic": name != NO_TUMOUR and (name != ITC or rules.count_itc),
        "size_class": name,
        "stride_um": cell_um,
    }


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Give columns their types, also where there is no node."""
    whole = ("node_id", "x", "y", "width", "height", "n_deposits", "n_tiles")
    types: dict[str, Any] = dict.fromkeys(NODE_COLUMNS, np.float64)
    types |= dict.fromkeys(whole, np.int64) | {"metastatic": np.bool_, "size_class": object}
    return table.astype(types)
