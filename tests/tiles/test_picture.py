from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import write_pyramid
from histokeras.tiles import picture
from histokeras.tiles.cut import cut_tiles
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.paint import INK
from histokeras.tiles.picture import draw_tiles


def draw(slide_path: Path, path: Path, spec: TileSpec) -> np.ndarray:
    with open_slide(slide_path) as slide:
        tiles = cut_tiles(slide, spec, workers=1)
        draw_tiles(tiles.plan, tiles.manifest, path)
    with Image.open(path) as page:
        return np.asarray(page.convert("RGB"))


def count(page: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((page == colour).all(axis=2).sum())


def test_kept_rejected_and_unread_tiles_and_the_outline_are_drawn(
    made_slide: Path, tmp_path: Path
) -> None:
    page = draw(made_slide, tmp_path / "a.png", TileSpec(size_px=100))

    assert page.shape[1] >= 1200
    assert page.shape[0] > 1000 + 100
    for colour in (picture._KEPT, picture._REJECTED, picture._UNREAD, picture._OUTLINE):
        assert count(page, colour) > 500


def test_a_slide_where_all_is_kept_shows_no_other_frames(tmp_path: Path, made_slide: Path) -> None:
    page = draw(made_slide, tmp_path / "a.png", TileSpec(size_px=100, tissue="none"))

    assert count(page, picture._KEPT) > 500
    assert count(page, picture._REJECTED) == 0


@pytest.mark.parametrize("size", [(16, 16), (3000, 40)])
def test_tiny_and_thin_slides_are_drawn(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), (200, 100, 150), np.uint8)
    write_pyramid(tmp_path / "a.tiff", image, mpp=0.5, downsamples=())

    page = draw(tmp_path / "a.tiff", tmp_path / "a.png", TileSpec(size_px=20))

    assert page.shape[1] >= 640


def test_a_picture_needs_no_coarse_picture(
    made_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("histokeras.tiles.plan.is_cheap", lambda *_: False)

    page = draw(made_slide, tmp_path / "a.png", TileSpec(size_px=100))

    assert count(page, picture._KEPT) > 500
    assert count(page, picture._OUTLINE) == 0


def test_the_scale_bar_has_a_round_length(made_slide: Path, tmp_path: Path) -> None:
    page = draw(made_slide, tmp_path / "a.png", TileSpec(size_px=100))
    dark = (page == INK).all(axis=2)
    below = dark[picture._MARGIN + 1000 + 60 :]
    longest = max(
        len(run) for row in below for run in "".join("x" if v else " " for v in row).split()
    )

    # 1200 px of 0.5 um are shown at full size: a quarter is 150 um, so the bar is 100 um long.
    assert longest == pytest.approx(200, abs=2)
