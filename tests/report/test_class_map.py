import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histokeras.report.class_map import class_shares, draw_class_map, most_probable
from histokeras.report.colours import class_looks, rgb
from histokeras.report.heatmap_job import HeatmapJob
from histokeras.report.heatmap_run import write_heatmaps
from histokeras.slides.synthetic import write_pyramid
from histokeras.tissue import TISSUE_COLOURS, TISSUES
from tests.report.test_heatmap import write_predicted

WHITE = np.full((60, 60, 3), 255, np.uint8)


def drawn(
    found: list[str], places: list[tuple[int, int, int, int]], sure: list[float]
) -> np.ndarray:
    classes = sorted(set(found))
    png = draw_class_map(
        WHITE, places, found, sure, class_shares(found, classes), titles=("S1", "what"),
        um_per_px=1.0, note="note",
    )  # fmt: skip
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    # The right one of two panels with 18 px between, under two lines of title.
    return pixels[90:150, 24 + 60 + 18 : 24 + 60 + 18 + 60]


def tinted(name: str) -> list[int]:
    """Seven tenths of the colour over white."""
    return [round(0.3 * 255 + 0.7 * part) for part in rgb(TISSUE_COLOURS[name])]


def test_the_most_probable_class_counts_and_of_equal_ones_the_first() -> None:
    table = pd.DataFrame({"prob_STR": [0.5, 0.1, 0.2], "prob_TUM": [0.5, 0.9, 0.7],
                          "prob_LYM": [0.0, 0.0, 0.1]})  # fmt: skip

    found = most_probable(table, ["LYM", "STR", "TUM"])

    assert found == ["STR", "TUM", "TUM"]
    assert class_shares(found, ["LYM", "STR", "TUM"]) == {"LYM": 0, "STR": 1 / 3, "TUM": 2 / 3}


def test_each_tile_has_the_colour_of_its_class_and_the_slide_is_bare_elsewhere() -> None:
    panel = drawn(["TUM", "STR"], [(0, 0, 20, 20), (20, 0, 40, 20)], [0.9, 0.6])

    assert panel[10, 10].tolist() == tinted("TUM")
    assert panel[10, 30].tolist() == tinted("STR")
    assert panel[30, 30].tolist() == [255, 255, 255]


def test_where_tiles_overlap_the_surest_lies_on_top() -> None:
    for sure, top in (([0.9, 0.6], "TUM"), ([0.6, 0.9], "STR")):
        panel = drawn(["TUM", "STR"], [(0, 0, 30, 30), (10, 10, 40, 40)], sure)
        assert panel[20, 20].tolist() == tinted(top)


def test_tissues_keep_their_colours_beside_glass_and_the_rest() -> None:
    for names in (TISSUES, (*TISSUES, "BACK"), ("TUM", "rest"), ("NORM", "TUM")):
        looks = class_looks(names)
        assert looks["TUM"].colour == TISSUE_COLOURS["TUM"]
        assert len({look.colour for look in looks.values()}) == len(names)
    assert class_looks(["NORM", "TUM"])["NORM"].colour == TISSUE_COLOURS["NOR"]
    assert class_looks(["rest", "other"])["other"].colour == class_looks(["a", "b"])["a"].colour


def test_a_slide_has_one_class_map_and_qupath_the_same_colours(tmp_path: Path) -> None:
    pixels = np.full((500, 600, 3), (220, 150, 200), np.uint8)
    write_pyramid(tmp_path / "S1.tiff", pixels, mpp=0.5, downsamples=(), lossless=True)
    run = write_predicted(tmp_path / "run", positive=None)
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "classes": ["LYM", "TUM"]}))
    (run / "predictions").mkdir()
    rows = [{"minx": 100 * i, "miny": 0, "width": 100, "height": 100, "prob_LYM": p,
             "prob_TUM": 1 - p} for i, p in enumerate((0.2, 0.9, 0.4))]  # fmt: skip
    pd.DataFrame(rows).to_csv(run / "predictions/S1.csv", index=False)
    job = HeatmapJob(run=run, slides=[tmp_path / "S1.tiff"], by_class=True)

    result = write_heatmaps(job, tmp_path / "maps", quiet=True)

    assert [(row["file"], row["of"], row["class"], row["n_tiles"]) for row in result.rows] == [
        ("S1.class.png", "class", "", 3)
    ]
    with Image.open(tmp_path / "maps/S1.class.png") as page:
        # 24 px of margin, two panels of 600 px, 18 px before the second; then the legend.
        colour = page.convert("RGB").getpixel((24 + 600 + 18 + 50, 90 + 50))
    expected = 0.3 * np.array([220, 150, 200]) + 0.7 * np.array(rgb(TISSUE_COLOURS["TUM"]))
    np.testing.assert_allclose(colour, expected, atol=1)
    document = json.loads((tmp_path / "maps/S1.geojson").read_text())
    found = [feature["properties"]["classification"] for feature in document["features"]]
    assert [item["name"] for item in found] == ["TUM", "LYM", "TUM"]
    assert found[1]["color"] == list(rgb(TISSUE_COLOURS["LYM"]))


@pytest.mark.parametrize("size", [(900, 120), (120, 900)])
def test_the_legend_of_eight_classes_fits_beside_any_slide(size: tuple[int, int]) -> None:
    shares = dict.fromkeys(TISSUES, 0.125)

    png = draw_class_map(
        np.full((size[1], size[0], 3), 255, np.uint8), [], [], [], shares, titles=("S1", "what"),
        um_per_px=None, note="note",
    )  # fmt: skip

    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    tumour = 0.3 * 245 + 0.7 * np.array(rgb(TISSUE_COLOURS["TUM"]))
    # The last swatch stands there whole.
    assert (np.abs(pixels - tumour).max(axis=2) <= 1).sum() >= 17 * 17
