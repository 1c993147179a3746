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
from histokeras.slides.synthetic.contours import boxes, polygons
from histokeras.slides.synthetic.fields import Field
from histokeras.slides.synthetic.layout import CELL_PX, MASK_UM, class_map
from histokeras.slides.synthetic.node_truth import (
    NodeTruth,
    area_feature,
    node_features,
    node_truths,
    outside_mm2,
)
from histokeras.slides.synthetic.spec import SlideSpec
from histokeras.slides.synthetic.tiles import CLASSES, GLASS

Bytes = npt.NDArray[np.uint8]

_LEAST_NEST_UM2 = 900.0
_CELL_MM2 = MASK_UM**2 / 1e6


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
        outside_mm2: Areas of the tumour deposits outside nodes, in the order of the spec.
    """

    spec: SlideSpec
    mask: Bytes
    artefacts: Bytes
    mask_mpp: float
    areas_mm2: dict[str, float]
    tumour: list[tuple[Field, ...]]
    boxes: Field
    nodes: tuple[NodeTruth, ...]
    outside_mm2: tuple[float, ...]


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
        nodes=node_truths(spec),
        outside_mm2=outside_mm2(spec),
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


def tumour_geojson(truth: SlideTruth) -> dict[str, Any]:
    """Return the tumour's outlines as a GeoJSON FeatureCollection in level-0 pixels."""
    return {
        "type": "FeatureCollection",
        "features": [area_feature("Tumor", polygon) for polygon in truth.tumour],
    }


def nodes_geojson(truth: SlideTruth) -> dict[str, Any]:
    """Return the outlines of nodes and of tumour as a GeoJSON FeatureCollection.

    Args:
        truth: From ``slide_truth`` or ``write_he_slide``.

    Returns:
        In level-0 pixels: nodes of class "Lymph node" named "node 1" and on, without holes, then
        tumour of class "Tumor" inside and outside them, its necrosis as holes.
    """
    content = tumour_geojson(truth)
    return {**content, "features": [*node_features(truth.nodes), *content["features"]]}


def write_truth(folder: Path, truth: SlideTruth) -> None:
    """Write what is true of a slide.

    Args:
        folder: Made if need be; gets ``mask.png`` (class indices, 255 glass), ``artefacts.png``
            (sums of 1 fold, 2 blur, 4 pen), ``tumour.geojson`` and ``truth.json``; where the slide
            has lymph nodes ``nodes.geojson`` too.
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
    if truth.nodes:
        files.write_json(folder / "nodes.geojson", nodes_geojson(truth))
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
        "nodes": [node.as_json() for node in truth.nodes],
        "outside_mm2": list(truth.outside_mm2),
    }
    files.write_json(folder / "truth.json", content)
