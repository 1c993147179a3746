from pathlib import Path

import numpy as np
import pytest

from histokeras.slides import overview
from histokeras.slides.overview import overview_level, read_overview
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import write_pyramid


def test_the_coarsest_level_that_is_fine_enough_is_chosen(tmp_path: Path) -> None:
    write_pyramid(tmp_path / "a.tiff", np.zeros((640, 640, 3), np.uint8), mpp=0.5)

    with open_slide(tmp_path / "a.tiff") as slide:
        assert [overview_level(slide, d) for d in (0.5, 1, 3.9, 4, 100)] == [0, 0, 1, 2, 3]


def test_blocks_join_without_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    image = np.repeat(np.repeat(rng.integers(0, 256, (50, 60, 3), np.uint8), 10, 0), 10, 1)
    write_pyramid(tmp_path / "a.tiff", image, mpp=0.5, downsamples=(2,), lossless=True)
    monkeypatch.setattr(overview, "_BLOCK_PX", 37)

    with open_slide(tmp_path / "a.tiff") as slide:
        small = read_overview(slide, (60, 50))

    np.testing.assert_array_equal(small, image[::10, ::10])


def test_memory_stays_bounded_by_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pyramid(tmp_path / "a.tiff", np.zeros((700, 900, 3), np.uint8), mpp=1, downsamples=())
    monkeypatch.setattr(overview, "_BLOCK_PX", 128)
    sizes = []

    with open_slide(tmp_path / "a.tiff") as slide:
        read = slide.read_region

        def recorded(location: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
            sizes.append(size)
            return read(location, level, size)

        monkeypatch.setattr(slide, "read_region", recorded)
        read_overview(slide, (91, 71))

    assert max(max(size) for size in sizes) <= 129
    assert sum(width * height for width, height in sizes) < 1.1 * 700 * 900
