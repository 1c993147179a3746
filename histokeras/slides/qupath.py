"""Tiles and areas as GeoJSON that QuPath opens."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.slides.synthetic.contours import polygons

Boxes = npt.NDArray[np.int64]
_NAMESPACE = uuid.UUID("6f1d2a8e-4a55-5f0e-9c3b-0d9c2f6b7a11")
_DIGITS = 6


def feature_collection(features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document that QuPath reads: File, Import objects."""
    return {"type": "FeatureCollection", "features": list(features)}


def tile_features(
    slide_id: str,
    boxes: Boxes,
    measurements: Mapping[str, npt.NDArray[np.floating]],
    classes: Sequence[str],
    colours: Mapping[str, Sequence[int]],
) -> list[dict[str, Any]]:
    """Return one object a tile.

    Args:
        slide_id: Its slide; the ids are the same whenever the same tile is written.
        boxes: int64 (n, 4): x, y, width, height in level-0 pixels.
        measurements: Name (``prob_<class>``) to the value of each tile.
        classes: The class of each tile.
        colours: Red, green and blue, 0..255, of each class.
    """
    features = []
    for number, (x, y, width, height) in enumerate(boxes.tolist()):
        ring = [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]
        name = classes[number]
        features.append(
            _feature(
                f"{slide_id} {x} {y} {width} {height}",
                {"type": "Polygon", "coordinates": [ring]},
                objectType="tile",
                classification={"name": name, "color": list(colours[name])},
                measurements={
                    key: round(float(values[number]), _DIGITS)
                    for key, values in measurements.items()
                },
            )
        )
    return features


def area_feature(
    slide_id: str, boxes: Boxes, name: str, colour: Sequence[int], text: str
) -> dict[str, Any] | None:
    """Return the union of tiles as one annotation; None if there are none.

    Args:
        slide_id: The slide.
        boxes: int64 (n, 4): x, y, width, height in level-0 pixels; they may overlap.
        name: The class.
        colour: Red, green and blue, 0..255.
        text: Name of the object, such as "prob_TUM >= 0.5".
    """
    parts = merge_boxes(boxes)
    if not parts:
        return None
    return _feature(
        f"{slide_id} {name} {text}",
        _geometry(parts),
        objectType="annotation",
        name=text,
        classification={"name": name, "color": list(colour)},
    )


def outline_feature(
    key: str, rings: Sequence[npt.NDArray[np.floating]], name: str, colour: Sequence[int]
) -> dict[str, Any]:
    """Return one outlined area as an annotation.

    Args:
        key: What makes it this area and no other; the same key gives the same id.
        rings: The outer ring, then its holes: (m, 2) x and y in level-0 pixels, the first corner
            not repeated.
        name: The class.
        colour: Red, green and blue, 0..255.
    """
    return _feature(
        key,
        _geometry([rings]),
        objectType="annotation",
        classification={"name": name, "color": list(colour)},
    )


def measured_feature(
    key: str,
    parts: Sequence[Sequence[npt.NDArray[np.floating]]],
    name: str,
    colour: Sequence[int],
    *,
    own_colour: Sequence[int],
    text: str,
    measurements: Mapping[str, float],
) -> dict[str, Any]:
    """Return an object of one or several areas as an annotation with a name and measurements.

    It is not locked: whoever corrects it in QuPath need not unlock it first.

    Args:
        key: What makes it this object and no other; the same key gives the same id.
        parts: Its areas, at least one: outer ring, then holes, (m, 2) x and y in level-0 pixels,
            the first corner not repeated.
        name: The class.
        colour: Red, green and blue, 0..255, of the class: QuPath takes one colour for all of it.
        own_colour: Likewise of this object, which is drawn in it.
        text: Name of the object.
        measurements: Name and finite value of each measurement.
    """
    return _feature(
        key,
        _geometry(parts),
        objectType="annotation",
        name=text,
        color=list(own_colour),
        classification={"name": name, "color": list(colour)},
        isLocked=False,
        measurements={k: round(float(value), _DIGITS) for k, value in measurements.items()},
    )


def merge_boxes(boxes: Boxes) -> list[tuple[npt.NDArray[np.int64], ...]]:
    """Return the outlines of the union of boxes.

    Args:
        boxes: int64 (n, 4): x, y, width, height.

    Returns:
        For each connected area its outer ring, then its holes: (m, 2) x and y of the corners, the
        first not repeated. Areas that touch at a corner alone are two.
    """
    if not len(boxes):
        return []
    left, top = boxes[:, 0], boxes[:, 1]
    # Every border is a line of an uneven grid, on which the union is a mask.
    xs = np.unique(np.concatenate([left, left + boxes[:, 2]]))
    ys = np.unique(np.concatenate([top, top + boxes[:, 3]]))
    mask = np.zeros((len(ys) - 1, len(xs) - 1), np.bool_)
    for x, y, width, height in boxes.tolist():
        columns = slice(*np.searchsorted(xs, (x, x + width)))
        mask[slice(*np.searchsorted(ys, (y, y + height))), columns] = True
    return [
        tuple(np.column_stack([xs[ring[:, 0]], ys[ring[:, 1]]]) for ring in polygon)
        for polygon in polygons(mask)
    ]


def _geometry(parts: Sequence[Sequence[npt.NDArray[Any]]]) -> dict[str, Any]:
    """Return areas as a geometry; each is its outer ring, then its holes."""
    closed = [[[*ring.tolist(), ring[0].tolist()] for ring in rings] for rings in parts]
    # A MultiPolygon of one member is refused by some readers.
    if len(closed) == 1:
        return {"type": "Polygon", "coordinates": closed[0]}
    return {"type": "MultiPolygon", "coordinates": closed}


def _feature(key: str, geometry: Mapping[str, Any], **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, key)),
        "geometry": dict(geometry),
        "properties": {"isLocked": True, **properties},
    }
