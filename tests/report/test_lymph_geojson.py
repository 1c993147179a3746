import json
from pathlib import Path

import numpy as np
import pytest

from histokeras.analysis.lymph_nodes import NodeRules, find_nodes, measure_nodes
from histokeras.report.lymph_geojson import nodes_document
from histokeras.slides.annotations import read_regions


def test_outlines_hold_the_areas_of_the_table(tmp_path: Path) -> None:
    mask = np.zeros((200, 300), np.bool_)
    mask[20:120, 10:110] = True
    mask[50:60, 50:60] = False
    mask[30:190, 150:290] = True
    tumour = np.zeros_like(mask)
    # Two deposits in the second node; what lies outside nodes was left out before.
    tumour[40:60, 160:200] = tumour[100:130, 200:220] = True
    rules = NodeRules(node_holes="keep")
    labels, _ = find_nodes(mask, 10.0, rules)
    nodes = measure_nodes(labels, tumour, 10.0, rules, scale=40.0, cell_um=10.0)

    document = nodes_document("S1", labels, tumour, nodes, scale=40.0, mpp=10.0)

    named = {f["properties"]["name"]: f["properties"] for f in document["features"]}
    assert list(named) == ["node 1", "node 2", "node 2, deposit 1", "node 2, deposit 2"]
    assert named["node 2"]["classification"]["name"] == "Lymph node"
    assert named["node 2, deposit 2"]["classification"]["name"] == "Tumor"
    # QuPath has one colour a class; the object's own tells metastatic nodes from others.
    classes = [named[name]["classification"] for name in ("node 1", "node 2")]
    assert classes[0] == classes[1]
    assert named["node 1"]["color"] == classes[0]["color"] != named["node 2"]["color"]
    assert not any(one["isLocked"] for one in named.values())
    measured = named["node 2"]["measurements"]
    assert measured["Node area mm^2"] == pytest.approx(160 * 140 / 1e4)
    assert measured["Tumor area mm^2"] == pytest.approx(1400 / 1e4)
    assert measured["Metastatic"] == 1
    assert named["node 2, deposit 2"]["measurements"] == {"Tumor area mm^2": 0.06}
    # An unknown figure is none: QuPath refuses NaN.
    assert "Largest probability" not in measured
    path = tmp_path / "S1.geojson"
    path.write_text(json.dumps(document, allow_nan=False))
    regions = read_regions(path)
    # 0.25 um per pixel of level 0: 40 of them to a pixel of the overview.
    areas = [region.area_px * 0.25**2 / 1e6 for region in regions]
    assert areas == pytest.approx([0.99, 2.24, 0.08, 0.06])
    assert regions[1].polygon[0].min(axis=0).tolist() == [150 * 40, 30 * 40]


def test_a_node_of_two_pieces_is_one_object() -> None:
    labels = np.zeros((50, 90), np.int32)
    labels[10:40, 10:40] = labels[10:40, 50:80] = 1
    none = np.zeros(labels.shape, np.bool_)
    nodes = measure_nodes(labels, none, 10.0, NodeRules(), scale=(2.0, 4.0), cell_um=10.0)

    (node,) = nodes_document("S1", labels, none, nodes, scale=(2.0, 4.0), mpp=10.0)["features"]

    assert node["geometry"]["type"] == "MultiPolygon"
    corners = np.concatenate([part[0] for part in node["geometry"]["coordinates"]])
    assert corners.min(axis=0).tolist() == [20, 40]
    assert corners.max(axis=0).tolist() == [160, 160]
