import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histokeras.slides.geojson import read_polygons
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import (
    CLASSES,
    GLASS,
    NodeSpec,
    SlideSpec,
    class_map,
    render_region,
    slide_truth,
    write_he_slide,
    write_truth,
)
from histokeras.slides.synthetic.contours import area, boxes, polygons

SMALL = SlideSpec(seed=8, size_px=(600, 520), folds=1, blurs=1, pens=1)
NODES = SlideSpec(
    seed=5,
    size_px=(7200, 3600),
    nodes=(NodeSpec(1.2, (0.4, 0.1)), NodeSpec(0.7), NodeSpec(0.6, (0.25,))),
)


@pytest.mark.parametrize("spec", [SMALL, replace(SMALL, seed=-3, mpp=0.37), replace(SMALL, mpp=1)])
def test_two_windows_of_a_slide_agree_to_the_pixel(spec: SlideSpec) -> None:
    image, classes = render_region(spec, 100, 60, 400, 300)
    part_image, part_classes = render_region(spec, 231, 83, 150, 111)
    here = (slice(23, 134), slice(131, 281))

    assert (image[here] == part_image).all()
    assert (classes[here] == part_classes).all()
    assert image.std() > 20


def test_windows_larger_than_a_block_agree_too() -> None:
    spec = SlideSpec(seed=3, size_px=(1400, 700))
    image, _ = render_region(spec, 300, 200, 700, 90)

    assert (image[:, 450:600] == render_region(spec, 750, 200, 150, 90)[0]).all()


@pytest.mark.parametrize("mpp", [0.5, 0.25, 0.37])
def test_the_mask_agrees_with_the_classes_of_level_0(mpp: float) -> None:
    spec = SlideSpec(seed=1, size_px=(900, 800), mpp=mpp)
    mask = class_map(spec)
    _, classes = render_region(spec, 0, 0, *spec.size_px)
    rows, columns = (np.floor((np.arange(n) + 0.5) * mpp / 4).astype(int) for n in (800, 900))

    assert mask.shape == tuple(np.ceil(np.array([800, 900]) * mpp / 4))
    assert (mask[np.ix_(rows, columns)] == classes).all()
    assert (mask == GLASS).any()


def test_the_tissue_has_the_composition_that_was_asked_for() -> None:
    shares = (0.0, 0.05, 0.1, 0.05, 0.1, 0.1, 0.2, 0.4)
    masks = [
        class_map(SlideSpec(seed=seed, size_px=(3000, 3000), composition=shares))
        for seed in range(3)
    ]
    tissue = np.concatenate([mask[mask != GLASS] for mask in masks])
    found = np.bincount(tissue, minlength=8) / tissue.size

    assert np.abs(found - shares).max() < 0.04
    assert found[0] == 0
    assert np.mean([(mask != GLASS).mean() for mask in masks]) == pytest.approx(0.7, abs=0.05)


def test_sites_change_the_colour_and_nothing_else() -> None:
    one, two = (render_region(replace(SMALL, site=site), 150, 150, 200, 200) for site in (0, 1))

    assert (one[1] == two[1]).all()
    assert np.abs(one[0].mean(axis=(0, 1)) - two[0].mean(axis=(0, 1))).max() > 3
    grey_one, grey_two = (image.mean(axis=2).ravel() for image in (one[0], two[0]))
    assert np.corrcoef(grey_one, grey_two)[0, 1] > 0.95


def test_artefacts_are_seen_where_the_truth_has_them() -> None:
    clean, _ = render_region(replace(SMALL, folds=0, blurs=0, pens=0), 0, 0, 600, 520)
    spoilt, _ = render_region(SMALL, 0, 0, 600, 520)
    bits = slide_truth(SMALL).artefacts.repeat(8, axis=0).repeat(8, axis=1)[:520, :600]
    changed = np.abs(clean.astype(int) - spoilt).max(axis=2)

    assert np.mean(changed[bits & 4 > 0] > 40) > 0.9
    assert (bits & 1).any()
    assert (bits & 2).any()
    assert changed[bits == 0].mean() < 0.1 * changed[bits > 0].mean()


@pytest.mark.parametrize("mpp", [0.5, 0.2525])
def test_openslide_opens_the_slide_with_its_mpp_and_pixels(tmp_path: Path, mpp: float) -> None:
    spec = SlideSpec(seed=2, size_px=(1100, 610), mpp=mpp)
    write_he_slide(tmp_path / "a.tiff", spec)
    image, _ = render_region(spec, 0, 0, *spec.size_px)

    with open_slide(tmp_path / "a.tiff") as slide:
        assert slide.mpp == mpp
        assert slide.level_dimensions == ((1100, 610), (275, 153))
        level_0 = slide.read_region((0, 0), 0, (1100, 610))
        level_1 = slide.read_region((0, 0), 1, (275, 152))
    assert np.abs(level_0.astype(int) - image).mean() < 6
    small = np.asarray(Image.fromarray(image[:608]).reduce(4))
    assert np.abs(level_1.astype(int) - small).mean() < 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tiff"]


def test_the_same_spec_gives_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    spec = SlideSpec(seed=2, size_px=(300, 530))
    for name, workers in (("a", 1), ("b", 2)):
        write_he_slide(tmp_path / f"{name}.tiff", spec, workers=workers)
    write_he_slide(tmp_path / "c.tiff", replace(spec, seed=3))
    a, b, c = ((tmp_path / f"{name}.tiff").read_bytes() for name in "abc")

    assert a == b
    assert a != c


def test_written_polygons_boxes_and_areas_agree_with_the_mask(tmp_path: Path) -> None:
    spec = SlideSpec(seed=4, size_px=(2400, 2000), mpp=0.5)
    truth = slide_truth(spec)
    write_truth(tmp_path / "truth", truth)
    mask = np.asarray(Image.open(tmp_path / "truth" / "mask.png"))
    content = json.loads((tmp_path / "truth" / "truth.json").read_text())
    rings = read_polygons(tmp_path / "truth" / "tumour.geojson")
    tumour = mask == CLASSES.index("TUM")

    assert (mask == class_map(spec)).all()
    assert (np.asarray(Image.open(tmp_path / "truth" / "artefacts.png")) == 0).all()
    per_mm2 = 16 / 1e6
    for name, found in content["areas_mm2"].items():
        assert found == pytest.approx((mask == CLASSES.index(name)).sum() * per_mm2)
    inside = sum(area(ring) for polygon in rings for ring in polygon) * 0.5**2 / 1e6
    assert inside == pytest.approx(content["areas_mm2"]["TUM"])
    assert content["boxes"]
    for box in content["boxes"]:
        x0, y0, x1, y1 = (round(box[name] / 8) for name in ("x0", "y0", "x1", "y1"))
        nest = tumour[y0:y1, x0:x1]
        assert all(side.any() for side in (nest[0], nest[-1], nest[:, 0], nest[:, -1]))


def test_outlines_of_a_ring_and_of_touching_squares() -> None:
    mask = np.zeros((6, 9), bool)
    mask[1:5, 1:5] = True
    mask[2:4, 2:4] = False
    mask[0, 5] = True
    outer, hole = polygons(mask)[1]

    assert [area(ring) for ring in (outer, hole)] == [16, -4]
    assert {tuple(corner) for corner in outer.tolist()} == {(1, 1), (5, 1), (5, 5), (1, 5)}
    assert boxes(mask, least_px=2).tolist() == [[1, 1, 5, 5]]
    assert boxes(mask, least_px=1).tolist() == [[5, 0, 6, 1], [1, 1, 5, 5]]


def test_holes_that_touch_at_corners_keep_the_area() -> None:
    mask = np.random.default_rng(0).random((40, 50)) < 0.6
    rings = [ring for polygon in polygons(mask) for ring in polygon]

    assert sum(map(area, rings)) == mask.sum()


def test_lymph_nodes_and_their_deposits_have_the_sizes_asked_for() -> None:
    truth = slide_truth(NODES)

    assert len(truth.nodes) == 3
    for node, wanted in zip(truth.nodes, NODES.nodes, strict=True):
        assert node.area_mm2 == pytest.approx(np.pi / 4 * wanted.diameter_mm**2, rel=0.12)
        assert area(node.outline) * 0.25e-6 == pytest.approx(node.area_mm2, rel=0.03)
        for found, diameter in zip(node.deposits_mm2, wanted.deposits_mm, strict=True):
            assert found == pytest.approx(np.pi / 4 * diameter**2, rel=0.15)
    total = sum(sum(node.deposits_mm2) for node in truth.nodes)
    assert truth.areas_mm2["TUM"] == pytest.approx(total)
    assert sum(node.area_mm2 for node in truth.nodes) == pytest.approx(
        truth.areas_mm2["TUM"] + truth.areas_mm2["LYM"]
    )
    assert set(truth.areas_mm2) == {"ADI", "LYM", "STR", "TUM"}


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"size_px": (4, 400)}, r"`size_px` is \(width, height\), each >= 16"),
        ({"mpp": 0}, "`mpp` is in um per pixel"),
        ({"architecture": -0.1}, r"`architecture` must be in \[0, 1\]"),
        ({"tissue_share": 1.2}, r"`tissue_share` must be in \[0, 1\]"),
        ({"folds": -1}, "`folds` must be >= 0. Received: folds=-1"),
        ({"composition": (0.5, 0.5)}, "`composition` must give a share"),
        ({"nodes": (NodeSpec(-1.0),)}, "`nodes` must have diameters > 0"),
    ],
)
def test_bad_specs_are_refused(wrong: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SlideSpec(seed=0, **wrong)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`nodes` do not fit on a slide of"):
        slide_truth(SlideSpec(seed=0, size_px=(1000, 1000), nodes=(NodeSpec(3.0),)))
    with pytest.raises(ValueError, match="`deposits_mm` do not fit into a node of 1 mm"):
        slide_truth(SlideSpec(seed=0, size_px=(4000, 4000), nodes=(NodeSpec(1, (2.0,)),)))
    with pytest.raises(ValueError, match="`workers` must be >= 1"):
        write_he_slide(tmp_path / "a.tiff", SMALL, workers=0)
    with pytest.raises(ValueError, match="`width` and `height` must be >= 1"):
        render_region(SMALL, 0, 0, 0, 5)
