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


def annotation_error(
    path: Path, what: str, hint: str = "Export it again from QuPath."
) -> SlideError:
    """Return the error for a file of regions that cannot be used.

    Args:
        path: The file.
        what: What is wrong with it, a clause.
        hint: What to do.
    """
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
            raise annotation_error(
                path, f"larger than {MAX_BYTES >> 20} MB", "Export fewer objects."
            )
        content = json.loads(read_limited(path, MAX_BYTES).decode("utf-8-sig"))
        polygons = [polygon for _, polygon in labelled_polygons(content)]
    except FileNotFoundError as error:
        raise missing_error(path) from error
    except OSError as error:
        raise annotation_error(
            path, f"cannot be read ({error.strerror})", "Check its permissions."
        ) from error
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        raise annotation_error(path, f"is no valid GeoJSON ({str(error)[:200]})") from error
    if not polygons:
        raise annotation_error(path, "holds no polygon", "Draw closed regions.")
    return polygons


def missing_error(path: Path) -> SlideError:
    """Return the error for a file of regions that is not there."""
    return SlideError(
        f"annotations {path.name}: no such file.",
        code="ANNOTATION_MISSING",
        hint="Draw the tissue in QuPath and export it as <slide_id>.geojson.",
    )


def labelled_polygons(content: Any, label: str = "") -> Iterator[tuple[str, Polygon]]:
    """Walk through the nesting of GeoJSON and yield (class, polygon) of every polygon.

    Args:
        content: What the JSON holds.
        label: Class of what has none of its own.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: If it is no GeoJSON.
    """
    for name, polygons in labelled_objects(content, label):
        yield from ((name, polygon) for polygon in polygons)


def labelled_objects(content: Any, label: str = "") -> Iterator[tuple[str, list[Polygon]]]:
    """Do as :func:`labelled_polygons` does, but keep together what was drawn as one object.

    Yields:
        (class, polygons): several of a MultiPolygon, else one.
    """
    if isinstance(content, list):
        for item in content:
            yield from labelled_objects(item, label)
        return
    kind = content["type"]
    if kind in _INSIDE:
        label = _class_of(content.get("properties")) or label
        yield from labelled_objects(content[_INSIDE[kind]] or [], label)
    elif kind == "Polygon":
        yield label, [_polygon(content["coordinates"])]
    elif kind == "MultiPolygon":
        yield label, [_polygon(rings) for rings in content["coordinates"]]
    elif kind not in _THIN:
        raise ValueError(f"unknown type {kind!r}")


def _class_of(properties: Any) -> str:
    """Return the name of QuPath's class; "" if there is none. Derived ones come as ``names``."""
    found = (properties or {}).get("classification") or {}
    if isinstance(found, str):
        return found.strip()
    names = found.get("names") or []
    return str(found.get("name") or ": ".join(map(str, names))).strip()


def _polygon(rings: Sequence[Any]) -> Polygon:
    polygon = tuple(ring_of(ring) for ring in rings)
    if not polygon:
        raise ValueError("a polygon has no ring")
    return polygon


def ring_of(points: Any) -> Ring:
    """Return a ring from a list of points.

    Args:
        points: At least 3 of ``[x, y]``.

    Raises:
        ValueError, TypeError: If they are fewer, or no finite numbers.
    """
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
        where, inside = filled(rings, shape)
        mask[where] |= inside
    return mask


def filled(rings: Sequence[Ring], shape: tuple[int, int]) -> tuple[tuple[slice, slice], Mask]:
    """Return which pixels of a picture lie inside a polygon.

    Args:
        rings: The polygon in pixels of the picture, which it may leave.
        shape: (height, width) of the picture.

    Returns:
        The part of the picture that the polygon may touch, and True inside, of that shape.
    """
    height, width = shape
    points = np.vstack(rings)
    left = min(max(math.floor(points[:, 0].min()), 0), width)
    right = max(min(math.ceil(points[:, 0].max()) + 1, width), left)
    top = min(max(math.floor(points[:, 1].min()), 0), height)
    bottom = max(min(math.ceil(points[:, 1].max()) + 1, height), top)
    # Each crossing of an edge with a row's middle line toggles all pixels right of it.
    toggles = np.zeros((bottom - top, right - left + 1), np.uint8)
    for ring in rings:
        for rows, x in _crossings(ring, top, bottom):
            columns = (np.ceil(x - 0.5) - left).clip(0, right - left).astype(np.int64)
            np.bitwise_xor.at(toggles, (rows - top, columns), 1)
    inside = np.bitwise_xor.accumulate(toggles, axis=1)[:, :-1].astype(np.bool_)
    return (slice(top, bottom), slice(left, right)), inside


def _crossings(
    ring: Ring, top: int, bottom: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Yield rows and x where the ring crosses the middle lines of rows top..bottom - 1.

    Edges come in blocks: a million of them, each as high as the slide, would fill the memory.
    """
    start, end = ring, np.concatenate([ring[1:], ring[:1]])
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.ceil(low - 0.5).clip(top, bottom).astype(np.int64)
    last = np.ceil(high - 0.5).clip(top, bottom).astype(np.int64)
    n_rows = last - first
    before = np.cumsum(n_rows) - n_rows
    if n_rows.sum() > _MOST_CROSSINGS:
        raise SlideError(
            f"a polygon of {len(ring)} points goes up and down too often to be drawn.",
            code="ANNOTATION_UNREADABLE",
            hint="Simplify it in QuPath.",
        )
    crossed = np.flatnonzero(n_rows)
    block = before[crossed] // _BLOCK_CROSSINGS
    for number in range(int(block[-1]) + 1 if len(block) else 0):
        some = crossed[block == number]
        if not len(some):
            continue
        edge = np.repeat(some, n_rows[some])
        within = np.arange(len(edge)) - np.repeat(before[some] - before[some[0]], n_rows[some])
        rows = first[edge] + within
        slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
        yield rows, start[edge, 0] + (rows + 0.5 - start[edge, 1]) * slope
