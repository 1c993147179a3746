import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from histokeras.slides.geojson import read_polygons
from histokeras.slides.synthetic import (
    CLASSES,
    NodeSpec,
    SlideSpec,
    class_map,
    nodes_geojson,
    render_region,
    slide_truth,
    write_truth,
)
from histokeras.slides.synthetic.contours import area
from histokeras.slides.synthetic.fields import key_of, noise
from histokeras.slides.synthetic.node_places import least_size, place_nodes

PLAIN = SlideSpec(
    seed=5,
    size_px=(7200, 3600),
    nodes=(NodeSpec(1.2, (0.4, 0.1)), NodeSpec(0.7), NodeSpec(0.6, (0.25,))),
)
SPEC = SlideSpec(
    seed=10_000_123,
    size_px=(7680, 5888),
    outside_mm=(0.3,),
    fat_mm=0.2,
    nodes=(
        NodeSpec(1.2, (0.5,), (0.25,), lumpy=0.05),
        NodeSpec(1.0, (0.2,), touching=True, lumpy=0.05),
        NodeSpec(1.0, (), hilum_mm=0.4, lumpy=0.05),
    ),
)


def test_slides_with_plain_nodes_are_what_they_were() -> None:
    # The classes are exact; colours may differ in a last bit between machines, not in a mean.
    digest = hashlib.sha256(class_map(PLAIN).tobytes()).hexdigest()
    window, _ = render_region(PLAIN, 1000, 1500, 96, 96)

    assert digest == "ddcedec2e7b49864c58398d469320c5e432e5dac6a2b57176408b4f4a432c506"
    red = window.reshape(6, 16, 6, 16, 3).mean(axis=(1, 3))[..., 0]
    np.testing.assert_allclose(red[0], [184.6, 140.5, 183.3, 181.7, 194.1, 236.2], atol=0.2)
    np.testing.assert_allclose(red[5], [189.6, 169.5, 123.5, 138.6, 140.5, 141.4], atol=0.2)


@pytest.mark.parametrize("sigma", [0.5, 6.0])
def test_noise_wider_than_its_bank_repeats_and_agrees_with_its_parts(sigma: float) -> None:
    columns, rows, key = np.arange(1100), np.arange(4), key_of(3, "wide")

    wide = noise(key, sigma, columns, rows)

    assert wide.shape == (4, 1100)
    for part in (slice(0, 40), slice(1000, 1100)):
        np.testing.assert_array_equal(wide[:, part], noise(key, sigma, columns[part], rows))


def test_windows_of_a_coarse_slide_agree() -> None:
    spec = SlideSpec(seed=0, size_px=(4000, 4000), mpp=1.0, nodes=(NodeSpec(2.0, (0.5,)),))
    image, _ = render_region(spec, 700, 600, 540, 24)

    assert (image[:, 500:540] == render_region(spec, 1200, 600, 40, 24)[0]).all()


def test_touching_nodes_are_one_piece_but_for_a_capsule() -> None:
    truth = slide_truth(replace(SPEC, nodes=SPEC.nodes[:2], outside_mm=()))
    inside = np.isin(truth.mask, [CLASSES.index(name) for name in ("LYM", "TUM", "DEB")])
    labels, n = ndimage.label(inside)
    sizes = np.sort(np.bincount(labels.ravel())[1:])[::-1]
    joined = ndimage.label(ndimage.binary_dilation(inside, iterations=2))[1]

    assert sizes[:2] * 16e-6 == pytest.approx([node.area_mm2 for node in truth.nodes], rel=0.01)
    assert sizes[2:].sum() < 0.001 * sizes[0]
    assert n > joined == 1
    for node, wanted in zip(truth.nodes, SPEC.nodes, strict=False):
        assert node.area_mm2 == pytest.approx(np.pi / 4 * wanted.diameter_mm**2, rel=0.15)


def test_fat_in_a_node_and_necrosis_in_a_deposit_are_told_apart_from_them() -> None:
    truth = slide_truth(SPEC)
    annular, plain, fatty = truth.nodes

    # Discs of 0.5 and 0.25 mm: a quarter of the area is necrosis.
    assert annular.filled_mm2[0] == pytest.approx(np.pi / 4 * 0.5**2, rel=0.12)
    assert annular.deposits_mm2[0] == pytest.approx(0.75 * annular.filled_mm2[0], rel=0.04)
    assert annular.largest_mm == pytest.approx(0.5, rel=0.12)
    assert plain.filled_mm2 == plain.deposits_mm2
    assert annular.ratio == annular.deposits_mm2[0] / annular.area_mm2
    assert fatty.hilum_mm2 == pytest.approx(np.pi / 4 * 0.4**2, rel=0.15)
    assert fatty.ratio == fatty.largest_mm == 0
    # The outline holds the fat.
    assert area(fatty.outline) * 0.25e-6 == pytest.approx(fatty.area_mm2, rel=0.01)
    total = sum(sum(node.deposits_mm2) for node in truth.nodes) + truth.outside_mm2[0]
    assert truth.areas_mm2["TUM"] == pytest.approx(total)
    assert truth.outside_mm2[0] == pytest.approx(np.pi / 4 * 0.3**2, rel=0.15)
    necrosis = annular.filled_mm2[0] - annular.deposits_mm2[0]
    assert truth.areas_mm2["DEB"] == pytest.approx(necrosis)


def test_outlines_of_nodes_and_tumour_are_written_for_others(tmp_path: Path) -> None:
    truth = slide_truth(SPEC)
    write_truth(tmp_path, truth)
    rings = read_polygons(tmp_path / "nodes.geojson")
    features = json.loads((tmp_path / "nodes.geojson").read_text())["features"]
    content = json.loads((tmp_path / "truth.json").read_text())
    classes = [feature["properties"]["classification"]["name"] for feature in features]

    assert features == json.loads(json.dumps(nodes_geojson(truth)))["features"]
    assert classes == ["Lymph node"] * 3 + ["Tumor"] * 3
    assert [feature["properties"].get("name") for feature in features[:3]] == [
        "node 1",
        "node 2",
        "node 3",
    ]
    assert sorted(len(polygon) for polygon in rings) == [1, 1, 1, 1, 1, 2]
    tumour = sum(area(ring) for polygon in rings[3:] for ring in polygon) * 0.25e-6
    assert tumour == pytest.approx(truth.areas_mm2["TUM"])
    fatty = content["nodes"][2]
    assert fatty["area_mm2"] - fatty["area_without_hilum_mm2"] == pytest.approx(
        truth.nodes[2].hilum_mm2
    )
    assert content["nodes"][0]["ratio"] == truth.nodes[0].ratio
    assert content["outside_mm2"] == list(truth.outside_mm2)


def test_the_smallest_slide_holds_the_nodes_and_hardly_more() -> None:
    size = least_size(SPEC)

    assert len(place_nodes(replace(SPEC, size_px=size))) == 3
    assert max(size) <= 1.5 * min(size)
    with pytest.raises(ValueError, match="do not fit on a slide"):
        place_nodes(replace(SPEC, size_px=(size[0] - 256, size[1] - 256)))
    assert least_size(replace(SPEC, mpp=1.0)) == (size[0] // 2, size[1] // 2)


@pytest.mark.parametrize(
    ("node", "match"),
    [
        (NodeSpec(1.0, touching=True), "the first node has none before it"),
        (NodeSpec(1.0, hilum_mm=0.7), "`hilum_mm` must be 0 to 0.6 of the node's diameter"),
        (NodeSpec(1.0, lumpy=0.5), r"`lumpy` must be in \[0, 0.1\]"),
        (NodeSpec(1.0, (0.5,), (0.45,)), "`deposit_holes_mm` must be 0 to 0.8 of the deposits'"),
        (NodeSpec(1.0, (0.5,), (0.1, 0.1)), "no more than there are deposits"),
    ],
)
def test_impossible_nodes_are_refused(node: NodeSpec, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SlideSpec(seed=0, nodes=(node,))


def test_impossible_surroundings_are_refused() -> None:
    with pytest.raises(ValueError, match="`outside_mm` are diameters > 0 on a slide with `nodes`"):
        SlideSpec(seed=0, outside_mm=(0.5,))
    with pytest.raises(ValueError, match="`fat_mm` must be above 0 and at most 2"):
        SlideSpec(seed=0, fat_mm=0)
    with pytest.raises(ValueError, match="Received: a deposit outside nodes of 3"):
        slide_truth(replace(SPEC, outside_mm=(3.0,)))
