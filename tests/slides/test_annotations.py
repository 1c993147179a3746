import json
from pathlib import Path

import numpy as np
import pytest

from histokeras.errors import SlideError
from histokeras.slides.annotations import Drawing, Region, read_regions, ring_area
from tests.data.pair_files import save_geojson, square

ASAP = """<?xml version="1.0"?>
<ASAP_Annotations><Annotations>
 <Annotation Name="A 0" Type="Polygon" PartOfGroup="Tumor" Color="#F4FA58"><Coordinates>
  <Coordinate Order="1" X="20" Y="10"/><Coordinate Order="0" X="10" Y="10"/>
  <Coordinate Order="2" X="20" Y="20"/><Coordinate Order="3" X="10,0" Y="20"/>
 </Coordinates></Annotation>
 <Annotation Name="A 1" Type="Rectangle" PartOfGroup="None"><Coordinates>
  <Coordinate Order="0" X="0" Y="0"/><Coordinate Order="1" X="5" Y="0"/>
  <Coordinate Order="2" X="5" Y="5"/></Coordinates></Annotation>
 <Annotation Name="A 2" Type="Dot" PartOfGroup="Tumor"><Coordinates>
  <Coordinate Order="0" X="0" Y="0"/></Coordinates></Annotation>
</Annotations><AnnotationGroups><Group Name="Tumor"/></AnnotationGroups></ASAP_Annotations>
"""


def drawn(regions: tuple[Region, ...], numbers: list[int], side: int = 40) -> np.ndarray:
    picture = np.zeros((side, side), np.uint8)
    Drawing(regions, numbers).draw(picture, (1.0, 1.0))
    return picture


def test_qupath_classes_come_along_in_order(tmp_path: Path) -> None:
    hole = square(12, 12, 4)
    path = save_geojson(
        tmp_path / "a.geojson",
        ("Tumor", [square(10, 10, 20), hole]), ("Stroma: dense", [square(20, 20, 5)]),
        ("", [square(0, 0, 2)]),
    )  # fmt: skip

    regions = read_regions(path)
    picture = drawn(regions, [1, 2, 3])

    assert [region.label for region in regions] == ["Tumor", "Stroma: dense", ""]
    assert [region.area_px for region in regions] == [400 - 16, 25, 4]
    assert np.bincount(picture.ravel()).tolist() == [1600 - 384 - 4, 384 - 25, 25, 4]


@pytest.mark.parametrize(
    ("classification", "label"),
    [
        ({"name": "Tumor", "color": [1, 2, 3]}, "Tumor"),
        ({"names": ["Tumor", "Positive"]}, "Tumor: Positive"),
        ("Tumor", "Tumor"),
        (None, ""),
        ({}, ""),
    ],
)
def test_every_form_of_a_class_is_understood(
    tmp_path: Path, classification: object, label: str
) -> None:
    path = tmp_path / "a.geojson"
    geometry = {"type": "MultiPolygon", "coordinates": [[square(0, 0, 1)], [square(4, 4, 1)]]}
    properties = {"classification": classification}
    path.write_text(
        json.dumps([{"type": "Feature", "geometry": geometry, "properties": properties}])
    )

    assert [region.label for region in read_regions(path)] == [label, label]


def test_negative_polygons_are_holes_in_the_positive_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps(
            {
                "negative": [{"name": "b", "vertices": square(12, 12, 4)[:-1]}],
                "positive": [{"name": "a", "vertices": square(10, 10, 10)[:-1]}],
            }
        )
    )

    regions = read_regions(path)

    assert [region.erases for region in regions] == [False, True]
    assert drawn(regions, [1, 0]).sum() == 100 - 16
    path.write_text('{"positive": [], "negative": []}')
    assert read_regions(path) == ()


def test_the_groups_of_asap_are_classes(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(ASAP)

    regions = read_regions(path)

    assert [(region.label, region.area_px) for region in regions] == [("Tumor", 100), ("", 12.5)]
    assert drawn(regions, [1, 0])[10:20, 10:20].all()


def test_a_window_shows_what_the_whole_shows_at_any_scale() -> None:
    generator = np.random.default_rng(0)
    regions = tuple(Region("", (generator.uniform(-20, 220, (7, 2)),)) for _ in range(12))
    drawing = Drawing(regions, list(range(1, 13)))
    for scale in (1.0, 2.0, 3.3):
        whole = np.zeros((60, 60), np.uint8)
        drawing.draw(whole, (scale, scale))
        window = np.zeros((25, 17), np.uint8)
        drawing.draw(window, (scale, scale), (13, 21))
        np.testing.assert_array_equal(window, whole[21:46, 13:30])
        assert len(np.unique(whole)) > 3


def test_areas_agree_with_a_hand_figure_and_with_what_is_drawn() -> None:
    # A right triangle with legs of 30 and 40, far from the origin.
    triangle = np.array([[0, 0], [30, 0], [0, 40]], float) + 50_000.25
    assert ring_area(triangle) == 600
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    disc = np.column_stack([np.cos(angles), np.sin(angles)]) * 150 + 200
    picture = drawn((Region("", (disc,)),), [1], 400)
    assert picture.sum() == pytest.approx(ring_area(disc), rel=1e-3)
    assert ring_area(disc) == pytest.approx(np.pi * 150**2, rel=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "no annotation file"),
        ('{"type": "Feature", "geometry": {"type": "Star"}}', "unknown type 'Star'"),
        ('{"positive": [{"vertices": [[1, 2], [3, 4]]}]}', "at least 3 points"),
        ('{"positive": 3}', "`positive` is no list"),
        ('{"type": "Polygon", "coordinates": []}', "no ring"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1e999, 1]]]}', "finite"),
        ("<a/>", "its root is <a>"),
        ("<ASAP_Annotations>", "it is no XML"),
        ("<ASAP_Annotations><Annotation><Coordinate X='1'/></Annotation></ASAP_Annotations>",
         "could not convert"),
        ('<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><ASAP_Annotations>&b;'
         "</ASAP_Annotations>", "declares entities"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><ASAP_Annotations/>', "declares entities"),
        ("", "no annotation file"),
    ],
)  # fmt: skip
def test_hostile_and_broken_files_are_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(text)

    with pytest.raises(SlideError, match=message) as caught:
        read_regions(path)

    assert caught.value.code == "ANNOTATION_UNREADABLE"
    assert "\n" not in str(caught.value)


def test_missing_files_are_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="no such file"):
        read_regions(tmp_path / "a.geojson")


@pytest.mark.parametrize(
    ("name", "positive", "negative"),
    [("Tumor_009", 6, 0), ("Tumor_025", 1, 26), ("Tumor_102", 53, 0), ("Normal_040", 0, 16)],
)
def test_real_polygons_cover_their_shoelace_area(
    real_data: Path, name: str, positive: int, negative: int
) -> None:
    regions = read_regions(real_data / f"masks/camelyon16_polygons/{name}.json")

    signs = [region.erases for region in regions]
    assert (signs.count(False), signs.count(True)) == (positive, negative)
    corners = np.concatenate([region.polygon[0] for region in regions])
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = 16.0
    width, height = np.ceil((high - low) / scale).astype(int) + 1
    picture = np.zeros((height, width), np.uint8)
    # Drawn areas first, so that what erases in a tumour is cut out of it.
    Drawing(regions, [int(not erases or not positive) for erases in signs]).draw(
        picture, (scale, scale), tuple(low / scale)
    )
    net = sum(-r.area_px if r.erases and positive else r.area_px for r in regions)
    assert picture.sum() * scale**2 == pytest.approx(net, rel=1e-3)
