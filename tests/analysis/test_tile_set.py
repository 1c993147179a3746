from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histokeras.analysis.tile_set import TileSetFacts, look_at_tiles
from histokeras.slides.synthetic import paint_slide
from histokeras.tiles.folders import read_tile_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 64 px tiles, with copies, a mirrored copy, a blank pair and a bad file."""
    root = tmp_path_factory.mktemp("tiles")
    for number, kind in enumerate("ab"):
        (root / kind).mkdir()
        image = paint_slide(size_px=(256, 192), seed=number, kind=kind)
        for i in range(12):
            x, y = 64 * (i % 4), 64 * (i // 4)
            Image.fromarray(image[y : y + 64, x : x + 64]).save(root / kind / f"{i}.png")
    Image.open(root / "a" / "1.png").save(root / "b" / "copy.png")
    mirrored = np.asarray(Image.open(root / "a" / "2.png"))[:, ::-1]
    Image.fromarray(mirrored).save(root / "a" / "mirrored.png")
    for kind in "ab":
        Image.new("RGB", (64, 64), (250, 250, 250)).save(root / kind / "blank.png")
    Image.new("RGB", (32, 64), (200, 90, 160)).save(root / "a" / "narrow.png")
    (root / "b" / "bad.png").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def facts(folder: Path) -> TileSetFacts:
    return look_at_tiles(read_tile_set([folder]))


def test_tiles_are_counted_by_hand(facts: TileSetFacts) -> None:
    classes = facts.classes.set_index("label")

    assert classes.loc["a", ["n", "n_unreadable", "n_sizes"]].tolist() == [15, 0, 2]
    assert classes.loc["b", ["n", "n_unreadable", "n_sizes"]].tolist() == [14, 1, 1]
    assert classes["share"].sum() == pytest.approx(1)
    bad = facts.tiles[facts.tiles["problem"] != ""]
    assert bad["tile"].tolist() == ["b/bad.png"]
    assert bad["problem"].iloc[0].startswith("TILE_CORRUPT")


def test_mean_colour_is_that_of_the_pixels(facts: TileSetFacts, folder: Path) -> None:
    row = facts.tiles.set_index("tile").loc["a/narrow.png"]
    pixels = np.asarray(Image.open(folder / "a" / "3.png"), float).mean(axis=(0, 1)) / 255

    assert row[["width", "height"]].tolist() == [32, 64]
    assert row[["mean_red", "mean_green", "mean_blue"]].astype(float).tolist() == pytest.approx(
        [200 / 255, 90 / 255, 160 / 255], abs=1e-4
    )
    other = facts.tiles.set_index("tile").loc["a/3.png", ["mean_red", "mean_green", "mean_blue"]]
    assert other.astype(float).tolist() == pytest.approx(pixels.tolist(), abs=1e-4)


def test_copies_are_found_and_blank_tiles_are_none(facts: TileSetFacts) -> None:
    found = {
        (row["tile_a"], row["tile_b"]): (row["how"], row["note"])
        for row in facts.duplicates.to_dict("records")
    }

    assert found["a/1.png", "b/copy.png"] == ("same pixels", "two labels")
    assert found["a/2.png", "a/mirrored.png"] == ("alike", "")
    assert not any("blank" in a or "blank" in b for a, b in found)


def test_patients_of_a_pair_are_compared(folder: Path, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "tile": ["a/1.png", "b/copy.png", "a/2.png", "a/mirrored.png"],
            "label": ["x", "x", "y", "y"],
            "patient_id": ["P1", "P2", "P3", "P3"],
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)

    facts = look_at_tiles(read_tile_set([folder], tile_table=tmp_path / "t.csv"))

    notes = dict(zip(facts.duplicates["tile_a"], facts.duplicates["note"], strict=True))
    assert notes == {"a/1.png": "two patients", "a/2.png": "one patient"}


def test_samples_hold_each_label_and_come_again(facts: TileSetFacts, folder: Path) -> None:
    again = look_at_tiles(read_tile_set([folder]), workers=4)

    assert set(facts.samples) == {"a", "b"}
    assert all(len(tiles) == 12 for tiles in facts.samples.values())
    assert again.samples == facts.samples
    pd.testing.assert_frame_equal(again.duplicates, facts.duplicates)
