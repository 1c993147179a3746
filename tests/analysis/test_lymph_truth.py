import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from histokeras.analysis.lymph_drawn import DrawnClasses, DrawnSlide, draw_truth
from histokeras.analysis.lymph_nodes import NodeRules, measure_nodes
from histokeras.analysis.lymph_truth import compare_slide, overlap, tile_auc, tile_truth
from histokeras.slides.annotations import Region, read_regions

CLASSES = DrawnClasses(("Lymph node",), ("Tumor",))


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)


def drawn(*regions: Region, classes: DrawnClasses = CLASSES) -> DrawnSlide:
    return draw_truth(regions, classes, (50, 100), scale=20.0, mpp=10.0, rules=NodeRules())


def tiles(*boxes: tuple[int, int, int, int]) -> pd.DataFrame:
    return pd.DataFrame(boxes, columns=["minx", "miny", "width", "height"])


def test_each_polygon_is_a_node_as_it_was_drawn() -> None:
    left = Region("Lymph node", (box(0, 0, 400, 400),))
    right = Region("Lymph node", (box(400, 0, 800, 400), box(500, 100, 600, 200)))
    tumour = Region("Tumor", (box(380, 100, 420, 200),))

    true = drawn(right, left, tumour)

    # Pixels of 20: nodes of 20 x 20, one less a hole of 5 x 5, touch and are two.
    assert true.nodes["node_area_mm2"].tolist() == pytest.approx([0.04, 0.0375])
    # 5 px each: 0.05 mm long, without a least area, and never unresolved.
    assert true.nodes["tumour_area_mm2"].tolist() == pytest.approx([0.0005, 0.0005])
    assert true.nodes["size_class"].tolist() == ["ITC", "ITC"]
    assert not true.nodes["metastatic"].any()


def test_what_was_drawn_as_one_object_of_several_areas_is_one_node(tmp_path: Path) -> None:
    areas = [[[*map(list, box(*sides)), [sides[0], sides[1]]]] for sides in
             ((0, 0, 400, 400), (600, 0, 1000, 400))]  # fmt: skip
    node = {"properties": {"classification": {"name": "Lymph node"}}, "type": "Feature"}
    features = [
        {**node, "geometry": {"type": "MultiPolygon", "coordinates": areas}},
        {**node, "geometry": {"type": "Polygon", "coordinates": [
            [[x, y + 600] for x, y in areas[0][0]]]}},
    ]  # fmt: skip
    path = tmp_path / "S1.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))

    true = drawn(*read_regions(path), Region("Tumor", (box(0, 0, 1000, 400),)))

    # 20 x 20 pixels of 10 um each area.
    assert true.nodes["node_area_mm2"].tolist() == pytest.approx([0.08, 0.04])
    assert true.nodes["ratio"].tolist() == [1, 0]


def test_tumour_is_unknown_where_none_was_drawn_in_the_cohort() -> None:
    node = Region("Lymph node", (box(0, 0, 400, 400),))

    assert drawn(node, classes=DrawnClasses(("Lymph node",), ())).tumour is None
    assert drawn(node).tumour is not None


def test_overlap_by_hand() -> None:
    dice, iou = overlap(np.array([100, 0]), np.array([50, 0]), np.array([40, 0]))

    assert dice[0] == pytest.approx(80 / 150)
    assert iou[0] == pytest.approx(40 / 110)
    assert np.isnan([dice[1], iou[1]]).all()


def test_share_of_a_tile_that_is_tumour_by_hand() -> None:
    labels, tumour = np.zeros((10, 10), np.int32), np.zeros((10, 10), np.bool_)
    labels[:, :5], tumour[:, :3] = 1, True

    # Two pixels wide, from 0, 2, 2.5, 4 and partly beyond the right side.
    found = tiles(
        (0, 0, 40, 40), (40, 0, 40, 40), (50, 30, 40, 40), (80, 0, 40, 40), (190, 0, 40, 40)
    )
    share, inside = tile_truth(labels, tumour, found, 20.0)

    assert share.tolist() == pytest.approx([1, 0.5, 0.25, 0, 0])
    assert inside.tolist() == [True, True, True, False, False]


def test_share_of_a_tile_is_that_of_its_finest_pixels() -> None:
    rng = np.random.default_rng(1)
    tumour = rng.random((30, 40)) > 0.5
    fine = np.kron(tumour, np.ones((8, 8)))
    corners = np.column_stack([rng.integers(0, 200, 50), rng.integers(0, 150, 50)])
    found = tiles(*[(x, y, 51, 51) for x, y in corners.tolist()])

    share, _ = tile_truth(np.ones((30, 40), np.int32), tumour, found, 8.0)

    expected = [fine[y : y + 51, x : x + 51].mean() for x, y in corners.tolist()]
    np.testing.assert_allclose(share, expected, atol=1e-12)


def test_tiles_are_ranked_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(2)
    positive, scores = rng.random(200) > 0.7, rng.integers(0, 20, 200) / 20

    assert tile_auc(positive, scores) == pytest.approx(roc_auc_score(positive, scores))
    assert np.isnan(tile_auc(np.zeros(3, np.bool_), np.array([0.1, 0.2, 0.3])))


def test_slide_is_compared_by_pixels_nodes_and_tiles() -> None:
    true = drawn(
        Region("Lymph node", (box(0, 0, 800, 800),)), Region("Tumor", (box(0, 0, 400, 800),))
    )
    # Ten columns of forty were not found, of the tumour's twenty, too.
    labels = np.zeros((50, 100), np.int32)
    labels[:40, 10:40] = 1
    tumour = np.zeros((50, 100), np.bool_)
    tumour[:, 10:25] = True
    nodes = measure_nodes(labels, tumour, 10.0, NodeRules(), scale=20.0, cell_um=10.0)
    read = tiles((0, 0, 200, 200), (300, 0, 200, 200), (600, 0, 200, 200), (1200, 0, 200, 200))

    found = compare_slide(
        true, labels, tumour, nodes, read.assign(prob=[0.9, 0.4, 0.6, 1.0]), scale=20.0
    )

    assert [found.row[f"node_px{of}"] for of in ("_true", "", "_both")] == [1600, 1200, 1200]
    assert [found.row[f"tumour_px{of}"] for of in ("_true", "", "_both")] == [800, 600, 400]
    assert found.nodes.loc[0, ["outcome", "ratio_true", "ratio"]].tolist() == ["found", 0.5, 0.5]
    # The last tile lies outside; one of half tumour is tumour.
    assert found.positive is not None
    assert found.positive.tolist() == [True, True, False]
    assert tile_auc(found.positive, found.scores) == 0.5
