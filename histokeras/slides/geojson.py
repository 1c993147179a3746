"""Read regions drawn in QuPath (GeoJSON) and turn them into a mask."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.errors import SlideError
from histokeras.foreign.text import read_limited
from histokeras.slides.tissue import Mask

Ring = npt.NDArray[np.float64]
"""Shape (n, 2): x and y in level-0 pixels of the corners of a closed line."""
Polygon = tuple[Ring, ...]
"""The outer ring, then the holes."""

_INSIDE = {
    "FeatureCollection": "features",
    "Feature": "geometry",
    "GeometryCollection": "geometries",
}
_THIN = frozenset({"Point", "MultiPoint", "LineString", "MultiLineString"})
MAX_BYTES = 64 << 20
"""Read whole, JSON takes up to 20 times as much memory."""
MAX_MASK_PX = 1 << 26
_MOST_CROSSINGS = 1 << 28
_BLOCK_CROSSINGS = 1 << 22


def _error(path: Path, what: str, hint: str = "Export it again from QuPath.") -> SlideError:
    return SlideError(f"annotations {path.name}: {what}.", code="ANNOTATION_UNREADABLE", hint=hint)


def read_polygons(path: Path) -> list[Polygon]:
    """Read the polygons of a GeoJSON file.

    A FeatureCollection, one Feature, a bare geometry, a list of these and a GeometryCollection are
    understood, as QuPath and others write them. Points and lines enclose nothing and are left out.

    Args:
        path: The file; coordinates in level-0 pixels from the slide's top-left corner.

    Returns:
        The polygons; a MultiPolygon gives several.

    Raises:
        SlideError: ANNOTATION_MISSING or ANNOTATION_UNREADABLE.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _error(path, f"larger than {MAX_BYTES >> 20} MB", "Export fewer objects.")
        content = json.loads(read_limited(path, MAX_BYTES).decode("utf-8-sig"))
        polygons = [_polygon(rings) for rings in _ring_lists(content)]
    except FileNotFoundError as error:
        raise SlideError(
            f"annotations {path.name}: no such file.",
            code="ANNOTATION_MISSING",
            hint="Draw the tissue in QuPath and export it as <slide_id>.geojson.",
        ) from error
    except OSError as error:
        raise _error(
            path, f"cannot be read ({error.strerror})", "Check its permissions."
        ) from error
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        raise _error(path, f"is no valid GeoJSON ({str(error)[:200]})") from error
    if not polygons:
        raise _error(path, "holds no polygon", "Draw closed regions.")
    return polygons


def _ring_lists(content: Any) -> Iterator[Sequence[Any]]:
    """Walk through the nesting of GeoJSON and yield the ring list of every polygon."""
    if isinstance(content, list):
        for item in content:
            yield from _ring_lists(item)
        return
    kind = content["type"]
    if kind in _INSIDE:
        yield from _ring_lists(content[_INSIDE[kind]] or [])
    elif kind == "Polygon":
        yield content["coordinates"]
    elif kind == "MultiPolygon":
        yield from content["coordinates"]
    elif kind not in _THIN:
        raise ValueError(f"unknown type {kind!r}")


def _polygon(rings: Sequence[Any]) -> Polygon:
    return tuple(_ring(ring) for ring in rings)


def _ring(points: Any) -> Ring:
    ring = np.asarray([point[:2] for point in points], np.float64)
    if ring.ndim != 2 or len(ring) < 3 or not np.isfinite(ring).all():
        raise ValueError("a ring needs at least 3 points (x, y) of finite numbers")
    return ring


def fill_polygons(
    polygons: Sequence[Polygon], shape: tuple[int, int], scale: tuple[float, float]
) -> Mask:
    """Draw polygons into a mask.

    A pixel belongs to a polygon if its centre lies inside (even-odd rule, so holes stay empty);
    several polygons unite.

    Args:
        polygons: Rings in level-0 pixels.
        shape: (height, width) of the mask.
        scale: Level-0 pixels per pixel of the mask, in x and y.

    Returns:
        Shape (height, width), True inside.
    """
    mask = np.zeros(shape, np.bool_)
    for polygon in polygons:
        rings = [ring / np.array(scale) for ring in polygon]
        _fill(mask, rings)
    return mask


def _fill(mask: Mask, rings: Sequence[Ring]) -> None:
    height, width = mask.shape
    points = np.vstack(rings)
    left = min(max(math.floor(points[:, 0].min()), 0), width)
    right = max(min(math.ceil(points[:, 0].max()) + 1, width), left)
    top = min(max(math.floor(points[:, 1].min()), 0), height)
    bottom = max(min(math.ceil(points[:, 1].max()) + 1, height), top)
    # Each crossing of an edge with a row's middle line toggles all pixels right of it.
    toggles = np.zeros((bottom - top, right - left + 1), np.uint8)
    for ring in rings:
        for rows, x in _crossings(ring, top, bottom):
            columns = np.clip(np.ceil(x - 0.5) - left, 0, right - left).astype(np.int64)
            np.bitwise_xor.at(toggles, (rows - top, columns), 1)
    inside = np.bitwise_xor.accumulate(toggles, axis=1)[:, :-1].astype(np.bool_)
    mask[top:bottom, left:right] |= inside


def _crossings(
    ring: Ring, top: int, bottom: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Yield rows and x where the ring crosses the middle lines of rows top..bottom - 1.

    Edges come in blocks: a million of them, each as high as the slide, would fill the memory.
    """
    start, end = ring, np.roll(ring, -1, axis=0)
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(low - 0.5), top, bottom).astype(np.int64)
    last = np.clip(np.ceil(high - 0.5), top, bottom).astype(np.int64)
    n_rows = last - first
    before = np.cumsum(n_rows) - n_rows
    if n_rows.sum() > _MOST_CROSSINGS:
        raise SlideError(
            f"a polygon of {len(ring)} points goes up and down too often to be drawn.",
            code="ANNOTATION_UNREADABLE",
            hint="Simplify it in QuPath.",
        )
    block = before // _BLOCK_CROSSINGS
    for number in np.unique(block):
        some = np.flatnonzero(block == number)
        edge = np.repeat(some, n_rows[some])
        within = np.arange(len(edge)) - np.repeat(before[some] - before[some[0]], n_rows[some])
        rows = first[edge] + within
        slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
        yield rows, start[edge, 0] + (rows + 0.5 - start[edge, 1]) * slope
