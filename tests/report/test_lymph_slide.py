"""One slide: where tiles and heat lie, what is read, and what is measured of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histokeras.analysis.lymph_nodes import NodeRules
from histokeras.features.seen import slide_change
from histokeras.report.lymph_job import LymphJob, NodeSlide
from histokeras.report.lymph_run import measure_lymph_nodes
from histokeras.report.lymph_words import job_words
from histokeras.slides.annotations import read_regions
from histokeras.slides.node_classes import NODE, TUMOUR
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import write_pyramid
from histokeras.slides.synthetic.plain import paint_slide
from histokeras.tiles.segmenter import Segmenter
from histokeras.tiles.windows import Windows
from tests.report.lymph_stub import SCORER, job, redness, write_drawing, write_slide

SIZE = (1000.0, 800.0)
SQUARE = (407.0, 293.0, 507.0, 393.0)
"""On the grid of no tile, cell or pixel of the overview."""


def _read(one: LymphJob, slide_id: str, what: str) -> np.ndarray:
    with Image.open(one.path(slide_id, what)) as picture:
        return np.asarray(picture)


def _row(one: LymphJob, name: str) -> pd.Series:
    return pd.read_csv(one.output / name).iloc[0]


@pytest.mark.parametrize(
    ("mpp", "downsamples"), [(0.5, (2, 4)), (0.25, (4,)), (0.4, (2,)), (1.0, ())]
)
def test_heat_and_tiles_lie_on_the_slide(
    tmp_path: Path, mpp: float, downsamples: tuple[int, ...]
) -> None:
    """Pyramids of factor 2 and 4, one whose levels do not fit, one that is read at level 0."""
    slide = write_slide(tmp_path / "S1.tiff", SIZE, mpp=mpp, red=[SQUARE], downsamples=downsamples)
    drawn = write_drawing(tmp_path / "S1.geojson", mpp, node=[(0, 0, *SIZE)])
    one = job(tmp_path, NodeSlide(path=slide, slide_id="S1", nodes=drawn))
    measure_lymph_nodes(one, quiet=True)

    tiles = pd.read_csv(one.output / "predictions" / "S1.csv")
    corners = tiles[["minx", "miny"]].to_numpy() * mpp
    low = np.maximum(corners, SQUARE[:2])
    high = np.minimum(corners + tiles[["width"]].to_numpy() * mpp, SQUARE[2:])
    share = (high - low).clip(0).prod(axis=1) / 64**2
    # Each tile has the share of red that it has where the table says it lies.
    np.testing.assert_allclose(tiles["prob_TUM"], share, atol=0.04)
    assert share.max() == 1
    heat = _read(one, "S1", "tumour.png").astype(float)
    assert heat.shape == (80, 100)
    assert heat.max() <= 254
    rows, columns = np.nonzero(heat == heat.max())
    peak = np.array([columns.mean() + 0.5, rows.mean() + 0.5]) * 10
    assert np.abs(peak - (457, 343)).max() <= 16
    found = _row(one, "nodes.csv")
    # Tiles of 64 um round the corners of a square of 100 um.
    assert 0.006 < found["tumour_area_mm2"] < 0.01
    assert found["node_area_mm2"] == pytest.approx(0.8, rel=1e-6)
    assert found["max_prob"] == pytest.approx(heat[heat < 255].max() / 254, abs=0.003)
    deposits = [one for one in read_regions(one.path("S1", "geojson")) if one.label == TUMOUR]
    assert len(deposits) == 1
    ring = deposits[0].polygon[0] * mpp
    centre = (ring.min(axis=0) + ring.max(axis=0)) / 2
    assert np.abs(centre - (457, 343)).max() <= 10


def test_a_straight_edge_stays_where_it_is(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "S1.tiff", SIZE, red=[(0, 0, 403, 800)])
    drawn = write_drawing(tmp_path / "S1.geojson", node=[(0, 0, *SIZE)])
    one = job(tmp_path, NodeSlide(path=slide, slide_id="S1", nodes=drawn))
    measure_lymph_nodes(one, quiet=True)
    assert _row(one, "nodes.csv")["ratio"] == pytest.approx(0.403, abs=0.005)


def test_tiles_where_no_node_lies_are_never_read(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "S1.tiff", (1600, 960))
    # 10 x 20 cells of 32 um; each cell needs 2 x 2 tiles.
    drawn = write_drawing(tmp_path / "S1.geojson", node=[(320, 320, 640, 960)])
    rules = NodeRules(min_node_mm2=0.1)
    one = job(tmp_path, NodeSlide(path=slide, slide_id="S1", nodes=drawn), rules=rules)
    record = measure_lymph_nodes(one, quiet=True)

    row = _row(one, "slides.csv")
    # 50 x 30 cells are 49 x 29 tiles; the node ends at the slide's lower edge.
    assert row["tiles_on_grid"] == 49 * 29
    assert row["tiles_read"] == 11 * 20
    assert row["share_not_read"] == pytest.approx(1 - 220 / (49 * 29))
    assert row["tiles_read_again"] == 0
    assert f"{row['share_not_read']:.1%} of the tiles never read" in record.slides[0]["detail"]
    assert _row(one, "nodes.csv")["n_tiles"] == 220
    heat = _read(one, "S1", "tumour.png")
    assert (heat[32:96, 32:64] == 0).all()
    assert (heat == 255).sum() == 96 * 160 - 32 * 64


def test_drawn_nodes_and_tumour_are_measured_as_they_were_drawn(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "S1.tiff", (2000, 1000))
    drawn = write_drawing(
        tmp_path / "S1.geojson",
        # Two that touch, one that is too small.
        node=[(100, 100, 900, 900), (900, 100, 1700, 900), (1800, 100, 1900, 200)],
        # In the first; in both; in the fat; in the small one.
        tumour=[(200, 200, 400, 400), (800, 500, 1300, 700), (1750, 300, 1950, 400),
                (1800, 100, 1850, 150)],
    )  # fmt: skip
    one = job(
        tmp_path, NodeSlide(path=slide, slide_id="S1", patient_id="P", nodes=drawn, tumour=drawn),
        scorer=None, tumour_classes=("tumour",),
    )  # fmt: skip
    measure_lymph_nodes(one, quiet=True)

    nodes = pd.read_csv(one.output / "nodes.csv")
    assert nodes["node_area_mm2"].tolist() == pytest.approx([0.64, 0.64])
    assert nodes["tumour_area_mm2"].tolist() == pytest.approx([0.04 + 0.02, 0.08])
    assert nodes["ratio"].tolist() == pytest.approx([0.09375, 0.125])
    assert nodes["size_class"].tolist() == ["micro", "micro"]
    assert nodes[["x", "width"]].to_numpy().tolist() == [[100, 800], [900, 800]]
    assert nodes["max_prob"].isna().all()
    row = _row(one, "slides.csv")
    assert (row["n_nodes"], row["n_metastatic"], row["n_dropped"]) == (2, 2, 1)
    assert np.isnan(row["tiles_read"])
    patient = _row(one, "patients.csv")
    assert (patient["pN"], patient["n_mln"]) == ("pN1", 2)
    assert patient["T_MLN_mean"] == pytest.approx((0.09375 + 0.125) / 2)
    assert not (one.output / "predictions").exists()
    labels, tumour = _read(one, "S1", "nodes.png"), _read(one, "S1", "tumour.png")
    assert labels.dtype == np.uint16
    assert np.unique(labels).tolist() == [0, 1, 2]
    assert set(np.unique(tumour)) == {0, 254, 255}
    # What was written can be given as a drawing again.
    again = one.path("S1", "geojson")
    second = replace(
        one, slides=[NodeSlide(path=slide, slide_id="S1", nodes=again, tumour=again)],
        output=tmp_path / "two", node_classes=(NODE,), tumour_classes=(TUMOUR,),
    )  # fmt: skip
    measure_lymph_nodes(second, quiet=True)
    pd.testing.assert_frame_equal(
        pd.read_csv(second.output / "nodes.csv").drop(columns="patient_id"),
        nodes.drop(columns="patient_id"),
    )


def test_nodes_with_little_tumour_are_read_again_and_others_are_not(tmp_path: Path) -> None:
    size = (4200.0, 700.0)
    red = [(300, 300, 420, 420), (2000, 200, 4150, 330)]
    slide = write_slide(tmp_path / "S1.tiff", size, red=red)
    boxes = [(0, 0, 900, 700), (960, 0, 1800, 700), (1860, 0, 4200, 700)]
    drawn = write_drawing(tmp_path / "S1.geojson", node=boxes)
    entry = NodeSlide(path=slide, slide_id="S1", nodes=drawn)
    known = {"stride_um": 64.0, "itc_stride_um": 16.0}
    one, coarse = (
        job(tmp_path, entry, output=tmp_path / f"{again}", **{**known, "itc_stride_um": again})
        for again in (16.0, 0.0)
    )
    for each in (one, coarse):
        measure_lymph_nodes(each, quiet=True)

    nodes = pd.read_csv(one.output / "nodes.csv")
    # A small deposit; none; one of more than 2 mm.
    assert nodes["stride_um"].tolist() == [16, 64, 64]
    assert nodes["size_class"].fillna("").tolist() == ["ITC", "", "macro"]
    before = pd.read_csv(coarse.output / "nodes.csv")
    areas = [table.loc[0, "tumour_area_mm2"] for table in (before, nodes)]
    assert abs(areas[1] - 0.0144) < min(0.003, abs(areas[0] - 0.0144))
    # One tile of 64 um was more than half red, which made it be read again.
    assert before["size_class"].fillna("").tolist() == ["", "", "macro"]
    pd.testing.assert_frame_equal(nodes[1:], before[1:])
    row = _row(one, "slides.csv")
    # First 15 x 11 tiles of the first node. Three of them are more than half red; what lies within
    # one of 64 um of these, 16 x 16 cells of 16 um but for 3 x 3 at a corner, is read again:
    # 19 x 19 tiles, each over 4 x 4 cells, but for 3 x 3. On both grids lie 4 x 4.
    assert nodes.loc[0, "n_tiles"] == 15 * 11 + 19 * 19 - 3 * 3 - 4 * 4
    tiles = pd.read_csv(one.output / "predictions" / "S1.csv")
    assert not tiles.duplicated(["minx", "miny"]).any()
    assert len(tiles) == row["tiles_read"] + row["tiles_read_again"]
    assert (tiles["stride_um"] == 16).sum() == row["tiles_read_again"]
    # Those that lie on both grids were read once.
    assert row["tiles_read_again"] == 19 * 19 - 3 * 3 - 4 * 4


def test_glass_in_a_node_is_not_read_and_holds_no_tumour(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "S1.tiff", SIZE, glass=[(300, 200, 700, 600)])
    drawn = write_drawing(tmp_path / "S1.geojson", node=[(0, 0, *SIZE)])
    bright = replace(
        SCORER, predict=lambda images: (images.mean(axis=(1, 2, 3)) > 240).astype("f4")
    )
    one = job(tmp_path, NodeSlide(path=slide, slide_id="S1", nodes=drawn), scorer=bright)
    measure_lymph_nodes(one, quiet=True)

    row, node = _row(one, "slides.csv"), _row(one, "nodes.csv")
    # 400 um of glass hold 11 x 11 tiles of 64 um every 32 um, about.
    assert 9 * 9 <= row["tiles_on_grid"] - row["tiles_read"] <= 12 * 12
    assert node["node_area_mm2"] == pytest.approx(0.8)
    assert node["tumour_area_mm2"] == 0


def test_nodes_of_a_segmenter_are_parted_and_holes_filled(tmp_path: Path) -> None:
    """Dark is node: two discs that touch, with a hole in one; glass alone is empty."""
    mpp = 2.0
    y, x = np.mgrid[:800, :1500] * mpp
    pixels = np.full((800, 1500, 3), 245, np.uint8)
    pixels[(np.hypot(x - 900, y - 800) < 600) | (np.hypot(x - 2050, y - 800) < 600)] = (90, 60, 130)
    pixels[np.hypot(x - 900, y - 800) < 150] = 245
    for name, image in (("S1", pixels), ("G", np.full_like(pixels, 245))):
        write_pyramid(tmp_path / f"{name}.tiff", image, mpp=mpp, downsamples=(4,), lossless=True)

    def dark(images: np.ndarray) -> np.ndarray:
        node = (images.mean(axis=-1) < 170).astype(np.float32)
        return np.stack([1 - node, node], axis=-1)

    network = Segmenter(
        predict=dark, classes=("other", "node"), positive="node", mpp=10.0, digests=("n",),
        windows=Windows(size_px=128, overlap_px=32, rim_px=8),
    )  # fmt: skip
    spec = replace(SCORER.spec, mpp=2.0, size_px=32)
    slides = [
        NodeSlide(path=tmp_path / f"{name}.tiff", slide_id=name, patient_id="P")
        for name in ("G", "S1")
    ]
    one = job(
        tmp_path, *slides, segmenter=network, scorer=replace(SCORER, spec=spec), stride_um=64.0
    )
    record = measure_lymph_nodes(one, quiet=True)

    assert [row["outcome"] for row in record.slides] == ["empty", "done"]
    assert [row["code"] for row in record.facts["failures"]] == ["NO_TISSUE"]
    nodes = pd.read_csv(one.output / "nodes.csv")
    disc = np.pi * 0.6**2
    assert nodes["node_area_mm2"].tolist() == pytest.approx([disc, disc], rel=0.03)
    assert nodes["centroid_x_mm"].tolist() == pytest.approx([0.9, 2.05], abs=0.03)
    assert nodes["x"].tolist() == pytest.approx([150, 737], abs=15)
    slides_table = pd.read_csv(one.output / "slides.csv").set_index("slide_id")
    assert slides_table["outcome"].tolist() == ["empty", "done"]
    # Glass alone is known to hold nothing: the patient lacks no slide.
    assert "incomplete" not in _row(one, "patients.csv")["flags"]


def test_a_segmenter_that_tells_tumour_from_node_is_warned_of(tmp_path: Path) -> None:
    network = Segmenter(
        predict=lambda images: images, classes=("background", "Lymph node", "Tumor"),
        positive=None, mpp=10.0, digests=("n",),
    )  # fmt: skip
    one = job(tmp_path, segmenter=network, node_classes=("Lymph node",))

    assert "takes for Tumor is no node" in " ".join(job_words(one))
    whole = replace(one, segmenter=replace(network, classes=("background", "Lymph node")))
    assert "Warning" not in " ".join(job_words(whole))


def test_a_drawing_of_another_slide_is_refused(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "S1.tiff", SIZE)
    width, height = SIZE
    inside = write_drawing(tmp_path / "S1.geojson", node=[(0, 0, width + 90, height + 90)])
    beyond = write_drawing(tmp_path / "S2.geojson", node=[(0, 0, 2 * width + 90, height)])
    entry = NodeSlide(path=slide, slide_id="S1", nodes=inside, tumour=beyond)
    one = job(tmp_path, entry, scorer=None, tumour_classes=("node",))

    record = measure_lymph_nodes(one, quiet=True)
    assert [row["code"] for row in record.facts["failures"]] == ["ANNOTATION_OUTSIDE"]
    entry = replace(entry, nodes=beyond, tumour=inside)
    record = measure_lymph_nodes(replace(one, slides=[entry]), quiet=True)
    assert [row["code"] for row in record.facts["failures"]] == ["ANNOTATION_OUTSIDE"]
    record = measure_lymph_nodes(replace(one, slides=[replace(entry, nodes=inside)]), quiet=True)
    assert not record.facts["failures"]


def test_tiles_are_seen_in_the_stain_of_the_run(tmp_path: Path) -> None:
    pixels = paint_slide(seed=1, size_px=(512, 512), mpp=1.0, kind="a")
    write_pyramid(tmp_path / "S1.tiff", pixels, mpp=1.0, downsamples=(), lossless=True)
    drawn = write_drawing(tmp_path / "S1.geojson", node=[(100, 100, 400, 400)])
    seen: list[np.ndarray] = []

    def watched(images: np.ndarray) -> np.ndarray:
        seen.append(images[0])
        return redness(images)

    scorer = replace(SCORER, predict=watched, stain_norm="reinhard")
    one = job(
        tmp_path, NodeSlide(path=tmp_path / "S1.tiff", slide_id="S1", nodes=drawn), scorer=scorer,
        rules=NodeRules(min_node_mm2=0),
    )  # fmt: skip
    measure_lymph_nodes(one, quiet=True)
    x, y = pd.read_csv(one.output / "predictions" / "S1.csv").loc[0, ["minx", "miny"]].astype(int)
    with open_slide(tmp_path / "S1.tiff") as slide:
        tile = slide.read_region((x, y), 0, (64, 64))
        expected = slide_change(slide, scorer.spec, "reinhard")(tile)
    np.testing.assert_array_equal(seen[0], expected)
    assert np.abs(expected.astype(int) - tile).max() > 5
