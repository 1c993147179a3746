import json
import uuid
from pathlib import Path

import numpy as np
import pytest

from histokeras.slides.geojson import fill_polygons, read_polygons
from histokeras.slides.qupath import area_feature, feature_collection, merge_boxes, tile_features
from histokeras.slides.synthetic.contours import area

COLOURS = {"TUM": (213, 94, 0), "STR": (0, 114, 178)}


def boxes(*rows: tuple[int, int, int, int]) -> np.ndarray:
    return np.array(rows, np.int64).reshape(-1, 4)


def test_neighbours_become_one_ring_without_inner_borders() -> None:
    ((ring,),) = merge_boxes(boxes((0, 0, 10, 10), (10, 0, 10, 10), (0, 10, 10, 10)))

    corners = {(0, 0), (20, 0), (20, 10), (10, 10), (10, 20), (0, 20)}
    assert set(map(tuple, ring.tolist())) == corners
    assert abs(area(ring)) == 300


def test_a_hole_and_tiles_that_touch_at_a_corner_alone() -> None:
    around = [(x, y, 10, 10) for x in (0, 10, 20) for y in (0, 10, 20) if (x, y) != (10, 10)]

    ((outer, hole),) = merge_boxes(boxes(*around))
    diagonal = merge_boxes(boxes((0, 0, 10, 10), (10, 10, 10, 10)))

    assert abs(area(outer)) == 900
    assert abs(area(hole)) == 100
    assert len(diagonal) == 2
    assert merge_boxes(boxes()) == []


def test_overlapping_boxes_cover_what_their_union_covers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.integers(0, 50, (30, 2)), np.full((30, 2), 14)]).astype(np.int64)
    expected = np.zeros((64, 64), bool)
    for x, y, width, height in rows.tolist():
        expected[y : y + height, x : x + width] = True

    feature = area_feature("S1", rows, "TUM", COLOURS["TUM"], "prob_TUM >= 0.5")
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(feature_collection([feature])))

    # Our own reader is the referee: it fills by the even-odd rule.
    np.testing.assert_array_equal(fill_polygons(read_polygons(path), (64, 64), (1, 1)), expected)


def test_tiles_are_written_as_qupath_reads_them() -> None:
    probs = {"prob_TUM": np.array([0.97, 0.25]), "prob_STR": np.array([0.03, 0.75])}

    first, second = tile_features(
        "S1", boxes((0, 0, 448, 448), (448, 0, 448, 448)), probs, ["TUM", "STR"], COLOURS
    )

    assert first["type"] == "Feature"
    ring = first["geometry"]["coordinates"][0]
    assert first["geometry"]["type"] == "Polygon"
    assert ring == [[0, 0], [448, 0], [448, 448], [0, 448], [0, 0]]
    assert first["properties"] == {
        "objectType": "tile",
        "classification": {"name": "TUM", "color": [213, 94, 0]},
        "measurements": {"prob_TUM": 0.97, "prob_STR": 0.03},
        "isLocked": True,
    }
    assert uuid.UUID(first["id"]) != uuid.UUID(second["id"])
    again = tile_features("S1", boxes((0, 0, 448, 448)), probs, ["TUM"], COLOURS)
    assert again[0]["id"] == first["id"]


@pytest.mark.parametrize(("gap", "kind"), [(0, "Polygon"), (5, "MultiPolygon")])
def test_an_area_of_one_member_is_a_polygon(gap: int, kind: str) -> None:
    feature = area_feature(
        "S1", boxes((0, 0, 10, 10), (10 + gap, 0, 10, 10)), "TUM", COLOURS["TUM"], "text"
    )

    assert feature is not None
    assert feature["geometry"]["type"] == kind
    assert feature["properties"]["objectType"] == "annotation"
    assert area_feature("S1", boxes(), "TUM", COLOURS["TUM"], "text") is None
