from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histokeras.analysis.tile_set import TileSetFacts, look_at_tiles
from histokeras.report.tile_page import format_tile_set, write_tile_page, write_tile_set
from histokeras.tiles.folders import read_tile_set

HOSTILE = "<script>alert(1)<script>"


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> TileSetFacts:
    root = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    for label, n in ((HOSTILE, 4), ("plain", 30)):
        (root / label).mkdir()
        for i in range(n):
            pixels = rng.integers(0, 255, (64, 64, 3), np.uint8)
            Image.fromarray(pixels).save(root / label / f"{i}.png")
    Image.open(root / "plain" / "0.png").save(root / HOSTILE / "copy.png")
    (root / "plain" / "bad.png").write_bytes(b"")
    return look_at_tiles(read_tile_set([root]))


def test_the_page_warns_and_escapes_names(facts: TileSetFacts, tmp_path: Path) -> None:
    page = write_tile_page(facts, tmp_path / "tiles.html", title=HOSTILE)

    html = page.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert " style=" not in html
    for code in ("two-labels", "unreadable", "few-tiles", "unbalanced", "copies"):
        assert f'id="caution-{code}"' in html
    assert "caution-two-patients" not in html
    assert html.count("<img ") == 5 + 12
    assert html.count("alt=") == html.count("<img ")


def test_everything_is_written_once_and_again(facts: TileSetFacts, tmp_path: Path) -> None:
    page = write_tile_set(tmp_path, facts, title="set", config={})
    first = page.read_bytes()

    assert write_tile_set(tmp_path, facts, title="set", config={}).read_bytes() == first
    assert {path.name for path in tmp_path.iterdir()} == {
        "run.json", "tiles.csv", "duplicates.csv", "tiles.html"
    }  # fmt: skip


def test_the_text_tells_counts_and_warnings(facts: TileSetFacts) -> None:
    text = format_tile_set(facts)

    assert "plain" in text
    assert "30 tiles (86 %)" in text
    assert "sizes: 64 x 64 px (35)" in text
    assert "1 pair of tiles look the same and bear two labels" in text


def test_what_is_no_labelled_tile_of_one_size_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name, size in (("a", 64), ("b", 64), ("c", 1200)):
        pixels = rng.integers(0, 255, (size, size, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")

    text = format_tile_set(look_at_tiles(read_tile_set([tmp_path])))

    assert "3 tiles without a label" in text
    assert "Tiles of 2 sizes; 64 x 64 px is the most frequent" in text
    assert "1 image of more than 1024 px: are these slides?" in text
    assert "Fewer than" not in text
