import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histokeras.errors import ConfigError, FeatureError
from histokeras.files import write_json
from histokeras.report.heatmap import draw_heatmap, evidence_scale, probability_scale
from histokeras.report.heatmap_job import HeatmapJob
from histokeras.report.heatmap_run import write_heatmaps
from histokeras.slides.geojson import read_polygons
from histokeras.slides.synthetic import write_pyramid

SIDE = 100


def write_predictions(folder: Path, slide_id: str, prob_a: list[list[float]]) -> None:
    """A grid of tiles of 100 px, NaN for none."""
    rows = [
        {"minx": x * SIDE, "miny": y * SIDE, "width": SIDE, "height": SIDE, "prob_a": prob,
         "prob_b": 1 - prob}
        for y, line in enumerate(prob_a) for x, prob in enumerate(line) if np.isfinite(prob)
    ]  # fmt: skip
    (folder / "predictions").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "predictions" / f"{slide_id}.csv", index=False)


def write_predicted(folder: Path, *, positive: str | None = "a", heads: str = "x") -> Path:
    folder.mkdir(parents=True)
    facts = {"command": "predict", "classes": ["a", "b"], "positive": positive, "heads": [heads]}
    write_json(folder / "run.json", facts)
    return folder


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Two slides of 600 x 500 px, and predictions of the first."""
    for name in ("S1", "S2"):
        pixels = np.full((500, 600, 3), (220, 150, 200), np.uint8)
        write_pyramid(tmp_path / f"{name}.tiff", pixels, mpp=0.5, downsamples=(), lossless=True)
    run = write_predicted(tmp_path / "run")
    write_predictions(run, "S1", [[0.9, 0.1], [0.8, np.nan]])
    return tmp_path


def job(lab: Path, **changes: Any) -> HeatmapJob:
    known = {"run": lab / "run", "slides": [lab / "S1.tiff"]}
    return HeatmapJob(**{**known, **changes})


def panel(path: Path, size: tuple[int, int]) -> np.ndarray:
    """The map: the right one of two panels with 18 px between, under two lines of title."""
    with Image.open(path) as page:
        pixels = np.asarray(page.convert("RGB"))
    left = 24 + size[0] + 18
    return pixels[90 : 90 + size[1], left : left + size[0]]


def test_tiles_are_coloured_in_their_places_and_the_rest_stays_bare(lab: Path) -> None:
    drawn = write_heatmaps(job(lab), lab / "out", quiet=True)

    (row,) = drawn.rows
    assert row["file"] == "S1.prob.a.png"
    assert (row["n_tiles"], row["mean_prob"]) == (3, 0.6)
    assert row["share_of_tiles_above_half"] == pytest.approx(2 / 3, abs=1e-6)
    drawn_map = panel(lab / "out" / "S1.prob.a.png", (600, 500)).astype(int)
    bare, high, low = drawn_map[150, 150], drawn_map[50, 50], drawn_map[50, 150]
    assert bare.tolist() == [220, 150, 200]
    # Viridis: yellow is high, dark blue is low.
    assert high[0] > high[2] + 60
    assert low[2] > low[0]
    assert low.sum() < high.sum()


def test_geojson_holds_every_tile_and_areas_above_the_threshold(lab: Path) -> None:
    write_heatmaps(job(lab, threshold=0.5), lab / "out", quiet=True)

    tiles = json.loads((lab / "out" / "S1.geojson").read_text())["features"]
    found = [tile["properties"]["measurements"]["prob_a"] for tile in tiles]
    assert found == [0.9, 0.1, 0.8]
    assert [tile["properties"]["classification"]["name"] for tile in tiles] == ["a", "b", "a"]
    ((ring,),) = read_polygons(lab / "out" / "S1.a.areas.geojson")
    corners = {(0, 0), (100, 0), (100, 200), (0, 200)}
    assert set(map(tuple, ring.tolist())) == corners


def test_bad_slides_are_listed_a_line_each_and_the_others_go_on(lab: Path) -> None:
    write_predictions(lab / "run", "S2", [[0.5] * 7])
    slides = [lab / "none.svs", lab / "S2.tiff", lab / "S1.tiff"]

    drawn = write_heatmaps(job(lab, slides=slides), lab / "out", quiet=True)
    (lab / "run/predictions/S2.csv").unlink()
    again = write_heatmaps(job(lab, slides=slides), lab / "out", quiet=True)

    codes = [row["code"] for row in drawn.failures]
    assert codes == ["SLIDE_NOT_FOUND", "PREDICTIONS_UNFIT"]
    assert [row["code"] for row in again.failures] == ["SLIDE_NOT_FOUND", "PREDICTIONS_MISSING"]
    assert [row["slide_id"] for row in drawn.rows] == ["S1"]
    assert len(pd.read_csv(lab / "out" / "failures.csv")) == 2
    record = json.loads((lab / "out" / "run.json").read_text())
    assert record["status"] == "done with failures"


def test_pictures_of_earlier_calls_stay_unless_overwritten(lab: Path) -> None:
    write_heatmaps(job(lab, class_name="b"), lab / "out", quiet=True)
    write_heatmaps(job(lab), lab / "out", quiet=True)

    table = pd.read_csv(lab / "out" / "heatmaps.csv")
    assert table["file"].tolist() == ["S1.prob.a.png", "S1.prob.b.png"]
    other = write_predicted(lab / "other", heads="y")
    write_predictions(other, "S1", [[0.5]])
    with pytest.raises(FeatureError, match="pictures of another run"):
        write_heatmaps(job(lab, run=other), lab / "out", quiet=True)
    write_heatmaps(job(lab, run=other), lab / "out", overwrite=True, quiet=True)
    assert pd.read_csv(lab / "out" / "heatmaps.csv")["file"].tolist() == ["S1.prob.a.png"]
    assert not (lab / "out" / "S1.prob.b.png").exists()


def test_classes_and_folders_are_checked(lab: Path) -> None:
    each = write_predicted(lab / "each", positive=None)
    write_predictions(each, "S1", [[0.5]])

    drawn = write_heatmaps(job(lab, run=each), lab / "out", quiet=True)

    assert [row["class"] for row in drawn.rows] == ["a", "b"]
    with pytest.raises(ConfigError, match="one of a, b"):
        write_heatmaps(job(lab, class_name="c"), lab / "out", quiet=True)
    with pytest.raises(FeatureError, match="no head and no predictions"):
        write_heatmaps(job(lab, run=lab), lab / "out", quiet=True)
    with pytest.raises(ConfigError, match="output of predict"):
        write_heatmaps(job(lab), lab / "run", quiet=True)


def test_evidence_is_scaled_by_the_slide_and_none_stays_dark() -> None:
    values = np.array([[0.0, 2.0], [4.0, np.nan]], np.float32)
    slide = np.full((200, 200, 3), 200, np.uint8)

    scale = evidence_scale(np.kron(values, np.ones((100, 100), np.float32)))
    nothing = evidence_scale(np.zeros((2, 2), np.float32))
    empty = np.zeros((200, 200), np.float32)
    page = draw_heatmap(slide, empty, nothing, titles=("t",), um_per_px=None, note="")

    assert scale.top == pytest.approx(4)
    assert nothing.top == 0
    assert probability_scale().top == 1
    assert page.startswith(b"\x89PNG")


def test_a_small_slide_is_enlarged_and_a_wide_one_is_stacked(lab: Path) -> None:
    pixels = np.full((60, 200, 3), 200, np.uint8)
    write_pyramid(lab / "S2.tiff", pixels, mpp=None, downsamples=(), lossless=True)
    write_predictions(lab / "run", "S2", [])
    table = pd.DataFrame(
        {"minx": [0], "miny": [0], "width": [50], "height": [50], "prob_a": [1], "prob_b": [0]}
    )
    table.to_csv(lab / "run/predictions/S2.csv", index=False)

    drawn = write_heatmaps(job(lab, slides=[lab / "S2.tiff"]), lab / "out", quiet=True)

    assert not drawn.failures
    with Image.open(lab / "out" / "S2.prob.a.png") as page:
        # Three times 200 x 60, one below the other; without mpp there is no scale bar.
        assert page.height > 2 * 180
        assert page.width < 2 * 600


def test_attention_is_drawn_once_a_slide(lab: Path) -> None:
    path = lab / "run" / "predictions" / "S1.csv"
    table = pd.read_csv(path)
    with_attention = table.assign(attention=[0.1, 0.7, 0.2])

    refused = write_heatmaps(job(lab, attention=True), lab / "maps")
    with_attention.to_csv(path, index=False)
    drawn = write_heatmaps(job(lab, attention=True), lab / "maps")

    assert "ATTENTION_MISSING" in refused.failures[0].values()
    assert [row["file"] for row in drawn.rows] == ["S1.attention.png"]
    values = panel(lab / "maps" / "S1.attention.png", (600, 500)).astype(int)
    bare = np.array([220, 150, 200])
    tints = [np.abs(values[50, x] - bare).sum() for x in (50, 150)]
    assert tints[1] > tints[0]
    document = json.loads((lab / "maps" / "S1.geojson").read_text())
    measured = document["features"][1]["properties"]["measurements"]
    assert measured["attention"] == pytest.approx(0.7)
