"""Slides with squares on them, drawings, and a classifier that is the redness of a tile."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from histokeras.report.lymph_job import LymphJob, NodeSlide
from histokeras.slides.synthetic import write_pyramid
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.tile_scorer import TileScorer
from histokeras.types import Mpp

TISSUE, RED, GLASS = (120, 110, 160), (255, 0, 0), (245, 245, 245)
Square = tuple[float, float, float, float]
"""Left, top, right, bottom in um."""


def redness(images: np.ndarray) -> np.ndarray:
    """1 where all is pure red, 0 without any red: the share of it."""
    colours = images.astype(np.float32)
    red = colours[..., 0] - colours[..., 1:].mean(axis=-1)
    return (red.clip(0) / 255).mean(axis=(1, 2)).astype(np.float32)


SCORER = TileScorer(
    predict=redness,
    spec=TileSpec(size_px=64, mpp=Mpp(1.0)),
    tile_class="TUM",
    digests=("x",),
    batch_size=8,
)
"""Tiles of 64 um."""


def write_slide(
    path: Path,
    size_um: tuple[float, float],
    *,
    mpp: float = 1.0,
    red: Sequence[Square] = (),
    glass: Sequence[Square] = (),
    downsamples: tuple[int, ...] = (),
) -> Path:
    """Tissue with red squares and glass ones on it."""
    width, height = (round(side / mpp) for side in size_um)
    pixels = np.full((height, width, 3), TISSUE, np.uint8)
    for colour, squares in ((GLASS, glass), (RED, red)):
        for square in squares:
            left, top, right, bottom = (round(side / mpp) for side in square)
            pixels[top:bottom, left:right] = colour
    write_pyramid(path, pixels, mpp=mpp, downsamples=downsamples, lossless=True)
    return path


def write_drawing(path: Path, mpp: float = 1.0, **classes: Sequence[Square]) -> Path:
    """Rectangles by class: ``node``, ``tumour``, ..."""
    features: list[dict[str, Any]] = []
    for name, squares in classes.items():
        for square in squares:
            left, top, right, bottom = (side / mpp for side in square)
            ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
            features.append(
                {
                    "type": "Feature",
                    "geometry": {"type": "Polygon", "coordinates": [ring]},
                    "properties": {"classification": {"name": name}},
                }
            )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def job(lab: Path, *slides: NodeSlide, **changes: Any) -> LymphJob:
    """Nodes drawn as ``node``, tumour by redness at a stride of 32 um."""
    known = {
        "slides": slides,
        "output": lab / "out",
        "node_classes": ("node",),
        "scorer": SCORER,
        "tumour_classes": ("TUM",),
        "stride_um": 32.0,
        "itc_stride_um": 0.0,
        "readers": 2,
    }
    return LymphJob(**{**known, **changes})
