"""What is true of a procedural slide: classes, areas, tumour outlines and boxes, lymph nodes."""

import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from histokeras import files
from histokeras.slides.synthetic.artefacts import artefacts_at
from histokeras.slides.synthetic.contours import area, boxes, polygons
from histokeras.slides.synthetic.fields import Field
from histokeras.slides.synthetic.layout import CELL_PX, MASK_UM, class_map, plan_slide
from histokeras.slides.synthetic.nodes import PlacedNode
from histokeras.slides.synthetic.spec import SlideSpec
from histokeras.slides.synthetic.tiles import CLASSES, GLASS

Bytes = npt.NDArray[np.uint8]

_LEAST_NEST_UM2 = 900.0
_CELL_MM2 = MASK_UM**2 / 1e6
# A node's wavy border stays within this many times its radii.
_AROUND = 1.1


@dataclass(frozen=True)
class NodeTruth:
    """A lymph node as it lies on the slide.

    Attributes:
        outline: Its outer ring in level-0 pixels, float64 (n, 2).
        area_mm2: Its area, deposits included, its capsule not.
        deposits_mm2: Areas of its deposits, in the order of the spec.
    """

    outline: Field
    area_mm2: float
    deposits_mm2: tuple[float, ...]


@dataclass(frozen=True)
class SlideTruth:
    """What is true of a procedural slide.

    Attributes:
        spec: The slide.
        mask: Index into ``CLASSES`` or ``GLASS``, uint8 (h, w), at ``mask_mpp``.
        artefacts: Sums of FOLD 1, BLUR 2 and PEN 4, uint8 (h, w).
        mask_mpp: Micrometres per pixel of both.
        areas_mm2: Area of each class that occurs.
        tumour: Polygons (outer ring, then holes) in level-0 pixels, float64 (n, 2) each.
        boxes: Tumour nests in level-0 pixels: x0, y0, x1, y1, float64 (n, 4).
        nodes: Lymph nodes in the order of the spec.
    """

    spec: SlideSpec
    mask: Bytes
    artefacts: Bytes
    mask_mpp: float
    areas_mm2: dict[str, float]
    tumour: list[tuple[Field, ...]]
    boxes: Field
    nodes: tuple[NodeTruth, ...]


def slide_truth(spec: SlideSpec) -> SlideTruth:
    """Return what is true of a slide, without painting it.

    Args:
        spec: The slide.

    Returns:
        Masks at 4 um per pixel, and what is counted and outlined on them.

    Raises:
        ValueError: If the lymph nodes do not fit.
    """
    mask = class_map(spec)
    scale = MASK_UM / spec.mpp
    is_tumour = mask == CLASSES.index("TUM")
    rings = [tuple(ring * scale for ring in polygon) for polygon in polygons(is_tumour)]
    least = math.ceil(_LEAST_NEST_UM2 / MASK_UM**2)
    return SlideTruth(
        spec=spec,
        mask=mask,
        artefacts=_artefacts(spec, mask.shape),
        mask_mpp=MASK_UM,
        areas_mm2=_areas(mask),
        tumour=rings,
        boxes=boxes(is_tumour, least_px=least) * scale,
        nodes=_nodes(spec, mask),
    )


def _areas(mask: Bytes) -> dict[str, float]:
    counts = np.bincount(mask.ravel(), minlength=GLASS + 1)
    return {
        name: float(count * _CELL_MM2)
        for name, count in zip(CLASSES, counts.tolist(), strict=False)
        if count
    }


def _artefacts(spec: SlideSpec, shape: Sequence[int]) -> Bytes:
    xs, ys = (np.arange(length) * CELL_PX + CELL_PX // 2 for length in (shape[1], shape[0]))
    strips = [artefacts_at(spec, xs, ys[i : i + 256]) for i in range(0, len(ys), 256)]
    return np.concatenate(strips)


def _nodes(spec: SlideSpec, mask: Bytes) -> tuple[NodeTruth, ...]:
    """Measure nodes and deposits on the mask."""
    return tuple(_node(spec, mask, node) for node in plan_slide(spec).nodes)


def _node(spec: SlideSpec, mask: Bytes, node: PlacedNode) -> NodeTruth:
    left, top = (
        max(0, math.floor((middle - _AROUND * half) / CELL_PX))
        for middle, half in ((node.x, node.half_width), (node.y, node.half_height))
    )
    right = math.ceil((node.x + _AROUND * node.half_width) / CELL_PX)
    bottom = math.ceil((node.y + _AROUND * node.half_height) / CELL_PX)
    part = mask[top:bottom, left:right]
    xs = (np.arange(left, left + part.shape[1]) + 0.5)[None, :] * CELL_PX
    ys = (np.arange(top, top + part.shape[0]) + 0.5)[:, None] * CELL_PX
    # The corners of the box may belong to the next node.
    own = np.hypot((xs - node.x) / node.half_width, (ys - node.y) / node.half_height) < _AROUND
    tumour = part == CLASSES.index("TUM")
    inside = own & (tumour | (part == CLASSES.index("LYM")))
    deposits = tuple(
        float((tumour & (np.hypot(xs - x, ys - y) < radius * 1.1 + CELL_PX)).sum() * _CELL_MM2)
        for x, y, radius in node.deposits
    )
    outline = max((rings[0] for rings in polygons(inside)), key=area) + np.array([left, top])
    return NodeTruth(outline * (MASK_UM / spec.mpp), float(inside.sum() * _CELL_MM2), deposits)


def tumour_geojson(truth: SlideTruth) -> dict[str, Any]:
    """Return the tumour's outlines as a GeoJSON FeatureCollection in level-0 pixels."""
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"objectType": "annotation", "classification": {"name": "Tumor"}},
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [[*ring.tolist(), ring[0].tolist()] for ring in polygon],
                },
            }
            for polygon in truth.tumour
        ],
    }


def write_truth(folder: Path, truth: SlideTruth) -> None:
    """Write what is true of a slide.

    Args:
        folder: Made if need be; gets ``mask.png`` (class indices, 255 glass), ``artefacts.png``
            (sums of 1 fold, 2 blur, 4 pen), ``tumour.geojson`` and ``truth.json``.
        truth: From ``slide_truth`` or ``write_he_slide``.

    Raises:
        OutputError: If it cannot be written.
    """
    files.prepare_folder(folder)
    for name, mask in (("mask", truth.mask), ("artefacts", truth.artefacts)):
        buffer = io.BytesIO()
        PillowImage.fromarray(mask).save(buffer, "PNG")
        files.write_bytes(folder / f"{name}.png", buffer.getvalue())
    files.write_json(folder / "tumour.geojson", tumour_geojson(truth))
    spec = asdict(truth.spec)
    spec.pop("profile")
    content = {
        "spec": spec,
        "classes": list(CLASSES),
        "glass": GLASS,
        "mask_mpp": truth.mask_mpp,
        "areas_mm2": truth.areas_mm2,
        "boxes": [
            dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)) for box in truth.boxes.tolist()
        ],
        "nodes": [
            {
                "outline": node.outline.tolist(),
                "area_mm2": node.area_mm2,
                "deposits_mm2": list(node.deposits_mm2),
            }
            for node in truth.nodes
        ],
    }
    files.write_json(folder / "truth.json", content)
