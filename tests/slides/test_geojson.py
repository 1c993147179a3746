import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histokeras.errors import SlideError
from histokeras.slides import geojson
from histokeras.slides.geojson import fill_polygons, read_polygons

SQUARE = [[10, 20], [30, 20], [30, 40], [10, 40], [10, 20]]
HOLE = [[15, 25], [20, 25], [20, 30], [15, 30], [15, 25]]
POLYGON = {"type": "Polygon", "coordinates": [SQUARE, HOLE]}


def feature(geometry: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": "0b1c",
        "geometry": geometry,
        "properties": {"objectType": "annotation", "classification": {"name": "Tumour"}},
    }


def write(folder: Path, content: object) -> Path:
    path = folder / "a.geojson"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "n"),
    [
        ({"type": "FeatureCollection", "features": [feature(POLYGON)]}, 1),
        (feature(POLYGON), 1),
        (POLYGON, 1),
        ([feature(POLYGON), feature(POLYGON)], 2),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], [HOLE]]}, 2),
        ({"type": "GeometryCollection", "geometries": [POLYGON, POLYGON]}, 2),
        ([feature({"type": "Point", "coordinates": [1, 2]}), feature(POLYGON)], 1),
        ([{"type": "Feature", "geometry": None}, POLYGON], 1),
    ],
)
def test_every_usual_nesting_is_read(tmp_path: Path, content: object, n: int) -> None:
    assert len(read_polygons(write(tmp_path, content))) == n


def test_areas_and_holes_are_exact_on_whole_pixels(tmp_path: Path) -> None:
    polygons = read_polygons(write(tmp_path, POLYGON))

    mask = fill_polygons(polygons, (50, 60), (1.0, 1.0))

    assert mask.sum() == 20 * 20 - 5 * 5
    assert mask[20:40, 10:30].sum() == mask.sum()
    assert not mask[25:30, 15:20].any()


def test_overlapping_polygons_unite_and_the_rim_cuts(tmp_path: Path) -> None:
    shifted = [[x + 10, y] for x, y in SQUARE]
    far = [[-100, -100], [5, -100], [5, 5], [-100, 5], [-100, -100]]
    outside = [[500, 500], [600, 500], [600, 600], [500, 500]]
    rings = [[SQUARE], [shifted], [far], [outside]]
    polygons = read_polygons(write(tmp_path, {"type": "MultiPolygon", "coordinates": rings}))

    mask = fill_polygons(polygons, (50, 60), (1.0, 1.0))

    assert mask[20:40, 10:40].all()
    assert mask[:5, :5].all()
    assert mask.sum() == 20 * 30 + 25


def test_the_scale_shrinks_the_drawing(tmp_path: Path) -> None:
    polygons = read_polygons(write(tmp_path, {"type": "Polygon", "coordinates": [SQUARE]}))

    mask = fill_polygons(polygons, (25, 60), (1.0, 2.0))

    assert mask.sum() == 10 * 20
    assert mask[10:20, 10:30].all()


def test_a_triangle_has_half_the_area_of_its_square() -> None:
    triangle = np.array([[0.0, 0.0], [1000.0, 0.0], [0.0, 1000.0]])

    mask = fill_polygons([(triangle,)], (1000, 1000), (1.0, 1.0))

    assert mask.sum() == pytest.approx(500_000, rel=0.002)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not json", "no valid GeoJSON"),
        ('{"type": "Circle"}', "unknown type 'Circle'"),
        ('{"features": []}', "no valid GeoJSON"),
        ('{"type": "FeatureCollection", "features": []}', "holds no polygon"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}', "at least 3 points"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [NaN, 2]]]}', "finite"),
        ('{"type": "Polygon", "coordinates": [[["a", 0], [1, 1], [2, 2]]]}', "no valid GeoJSON"),
        ("[" * 100_000, "no valid GeoJSON"),
        ("3", "no valid GeoJSON"),
    ],
)
def test_damaged_files_are_one_clear_error(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(text)

    with pytest.raises(SlideError, match=reason) as caught:
        read_polygons(path)

    assert caught.value.code == "ANNOTATION_UNREADABLE"


def test_missing_and_huge_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SlideError, match="no such file") as caught:
        read_polygons(tmp_path / "none.geojson")
    monkeypatch.setattr(geojson, "MAX_BYTES", 10)
    with pytest.raises(SlideError, match="larger than"):
        read_polygons(write(tmp_path, POLYGON))
    monkeypatch.undo()
    with pytest.raises(SlideError, match="cannot be read"):
        read_polygons(tmp_path)

    assert caught.value.code == "ANNOTATION_MISSING"
