"""What is true of the lymph nodes of a procedural slide: outlines, areas, deposits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from histokeras.slides.synthetic.contours import area, polygons
from histokeras.slides.synthetic.fields import Field
from histokeras.slides.synthetic.layout import CELL_PX, MASK_UM, plan_slide
from histokeras.slides.synthetic.node_places import PlacedNode
from histokeras.slides.synthetic.nodes import NodeParts, node_parts, outside_edge
from histokeras.slides.synthetic.spec import SlideSpec

Bits = npt.NDArray[np.bool_]
NODE_CLASS = "Lymph node"
_CELL_MM2 = MASK_UM**2 / 1e6
# A node's wavy border stays within this many times its radii, and lumps may add to that.
_AROUND, _LUMPS = 1.1, 2.0


@dataclass(frozen=True)
class NodeTruth:
    """A lymph node as it lies on the slide.

    Attributes:
        outline: Its outer ring in level-0 pixels, float64 (n, 2).
        area_mm2: Its area, deposits and fat inside included, its capsule not.
        deposits_mm2: Areas of its deposits without their necrosis, in the order of the spec.
        filled_mm2: The same with the necrosis.
        hilum_mm2: Area of the fat inside it and the rim of that.
        largest_mm: Greatest dimension of the largest deposit; 0 without any.
        centroid_px: x and y of its centre of gravity in level-0 pixels.
    """

    outline: Field
    area_mm2: float
    deposits_mm2: tuple[float, ...]
    filled_mm2: tuple[float, ...]
    hilum_mm2: float
    largest_mm: float
    centroid_px: tuple[float, float]

    @property
    def ratio(self) -> float:
        """Tumour without its necrosis by the area within the outline, 0..1."""
        return sum(self.deposits_mm2) / self.area_mm2

    def as_json(self) -> dict[str, Any]:
        """Return what ``truth.json`` says of it."""
        return {
            "outline": self.outline.tolist(),
            "area_mm2": self.area_mm2,
            "area_without_hilum_mm2": self.area_mm2 - self.hilum_mm2,
            "deposits_mm2": list(self.deposits_mm2),
            "deposits_filled_mm2": list(self.filled_mm2),
            "largest_deposit_mm": self.largest_mm,
            "ratio": self.ratio,
            "centroid_px": list(self.centroid_px),
        }


def node_truths(spec: SlideSpec) -> tuple[NodeTruth, ...]:
    """Measure the nodes of a slide and their deposits at 4 um per pixel.

    Args:
        spec: The slide.

    Returns:
        One for each node, in the order of the spec.

    Raises:
        ValueError: If the lymph nodes do not fit.
    """
    nodes = plan_slide(spec).nodes
    return tuple(_node(spec, nodes, index) for index in range(len(nodes)))


def _cells(spec: SlideSpec, x: tuple[float, float], y: tuple[float, float]) -> tuple[range, range]:
    """Return the columns and rows of cells between places in painted pixels, on the slide."""
    columns, rows = (
        range(
            max(0, math.floor(low / CELL_PX)),
            min(math.ceil(side * spec.mpp / MASK_UM), math.ceil(high / CELL_PX)),
        )
        for (low, high), side in zip((x, y), spec.size_px, strict=True)
    )
    return columns, rows


def _node(spec: SlideSpec, nodes: tuple[PlacedNode, ...], index: int) -> NodeTruth:
    node = nodes[index]
    around = _AROUND + _LUMPS * node.lumpy
    columns, rows = _cells(
        spec,
        (node.x - around * node.half_width, node.x + around * node.half_width),
        (node.y - around * node.half_height, node.y + around * node.half_height),
    )
    xs, ys = (np.asarray(cells) * CELL_PX + CELL_PX // 2 for cells in (columns, rows))
    # Strip by strip: a node may have millions of cells, and its fields are of float64.
    strips = [ys[i : i + 256] for i in range(0, len(ys), 256)]
    parts = [node_parts(spec, nodes, (index,), xs, strip)[0] for strip in strips]
    inside = np.concatenate([part.inside for part in parts])
    deposit = np.concatenate([part.deposit for part in parts])
    hole = np.concatenate([part.hole for part in parts])
    count = len(node.deposits) + 1
    filled = np.bincount(deposit.ravel(), minlength=count)[1:]
    kept = np.bincount(deposit[~hole], minlength=count)[1:]
    outline = max((rings[0] for rings in polygons(inside)), key=area)
    corner = np.array([columns.start, rows.start])
    scale = MASK_UM / spec.mpp
    middle = np.argwhere(inside).mean(axis=0)[::-1] + 0.5 + corner
    return NodeTruth(
        outline=(outline + corner) * scale,
        area_mm2=float(inside.sum() * _CELL_MM2),
        deposits_mm2=tuple((kept * _CELL_MM2).tolist()),
        filled_mm2=tuple((filled * _CELL_MM2).tolist()),
        hilum_mm2=_hilum_mm2(parts),
        largest_mm=_longest_mm(deposit == int(np.argmax(filled)) + 1) if len(filled) else 0.0,
        centroid_px=(float(middle[0] * scale), float(middle[1] * scale)),
    )


def _hilum_mm2(parts: Sequence[NodeParts]) -> float:
    cells = sum(int((part.hilum > 0).sum()) for part in parts if part.hilum is not None)
    return float(cells * _CELL_MM2)


def _longest_mm(mask: Bits) -> float:
    """Return the greatest distance of two points of an area."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0.0
    # All four corners of each cell: a single cell is as long as its diagonal.
    corners = np.concatenate(
        [np.column_stack([columns + dx, rows + dy]) for dx in (0, 1) for dy in (0, 1)]
    )
    hull = corners[ConvexHull(corners).vertices]
    return float(pdist(hull).max() * MASK_UM / 1e3)


def outside_mm2(spec: SlideSpec) -> tuple[float, ...]:
    """Return the areas of the tumour deposits outside nodes, in the order of the spec."""
    areas = []
    for number, (x, y, radius) in enumerate(plan_slide(spec).outside):
        reach = 1.3 * radius
        columns, rows = _cells(spec, (x - reach, x + reach), (y - reach, y + reach))
        xs, ys = (np.asarray(cells) * CELL_PX + CELL_PX // 2 for cells in (columns, rows))
        depth = outside_edge(spec, number, (x, y, radius), xs, ys)
        areas.append(float((depth > 0).sum() * _CELL_MM2))
    return tuple(areas)


def area_feature(label: str, rings: Sequence[Field], *, name: str | None = None) -> dict[str, Any]:
    """Return a GeoJSON feature of an area of a class: its outer ring, then its holes."""
    properties: dict[str, Any] = {"objectType": "annotation", "classification": {"name": label}}
    return {
        "type": "Feature",
        "properties": properties if name is None else {**properties, "name": name},
        "geometry": {
            "type": "Polygon",
            "coordinates": [[*ring.tolist(), ring[0].tolist()] for ring in rings],
        },
    }


def node_features(nodes: Sequence[NodeTruth]) -> list[dict[str, Any]]:
    """Return the outlines of nodes, named "node 1" and on, as GeoJSON features."""
    return [
        area_feature(NODE_CLASS, [node.outline], name=f"node {number}")
        for number, node in enumerate(nodes, start=1)
    ]
