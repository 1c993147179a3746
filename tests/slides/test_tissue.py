from pathlib import Path

import numpy as np
import pytest

from histokeras.errors import SlideError
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import paint_slide, write_pyramid
from histokeras.slides.tissue import (
    Coarse,
    is_cheap,
    is_surely_bright,
    luminance,
    mask_share,
    otsu_mask,
    read_coarse,
)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2).astype(np.uint8)


def test_luminance_is_the_integer_formula() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    r, g, b = np.moveaxis(image.astype(np.int64), 2, 0)

    expected = (19595 * r + 38470 * g + 7471 * b + 32768) >> 16

    np.testing.assert_array_equal(luminance(image), expected)


def test_the_coarse_picture_has_one_fixed_resolution(tmp_path: Path) -> None:
    for mpp in (0.25, 0.5):
        side = round(400 / mpp)
        image = np.full((side, 2 * side, 3), 240, np.uint8)
        write_pyramid(tmp_path / "a.tiff", image, mpp=mpp)
        with open_slide(tmp_path / "a.tiff") as slide:
            coarse = read_coarse(slide)
        assert coarse.image.shape == (50, 100, 3)
        assert coarse.scale == (8 / mpp, 8 / mpp)


def test_tiles_become_windows_of_the_coarse_picture() -> None:
    coarse = Coarse(np.zeros((10, 10, 3), np.uint8), (16.0, 8.0))

    boxes = coarse.boxes(np.array([[32, 24]]), 16)

    assert boxes.tolist() == [[2.0, 3.0, 3.0, 5.0]]


def test_cut_pixels_count_in_part() -> None:
    mask = np.zeros((4, 4), np.bool_)
    mask[1:3, 1:3] = True

    share = mask_share(
        mask, np.array([[0, 0, 4, 4], [1, 1, 3, 3], [0.5, 1, 1.5, 2], [3, 3, 4, 4.0]])
    )

    np.testing.assert_allclose(share, [0.25, 1.0, 0.5, 0.0])


def test_the_limit_of_glass_is_the_hand_calculated_one() -> None:
    # Of pixels of mean 230 at most (255 - 230 + 2) / 36 = 75 % are dark: just enough.
    box = np.array([[0.0, 0.0, 12.0, 12.0]])

    at_limit = Coarse(grey(np.full((12, 12), 230)), (1.0, 1.0))
    above = Coarse(grey(np.full((12, 12), 231)), (1.0, 1.0))

    assert not is_surely_bright(at_limit, box, 0.25)[0]
    assert is_surely_bright(above, box, 0.25)[0]
    assert not is_surely_bright(above, box, 0.5)[0]
    assert not is_surely_bright(above, box, 1.0)[0]


def test_a_cut_pixel_at_the_rim_may_hide_its_dark_part_inside() -> None:
    # Each pixel's limit is 17 / 36 = 0.472. A window of 2.5 x 2.5 has 4 whole pixels and touches 9:
    # min(9 * 0.472, 4 * 0.472 + 2.25) = 4.14, less than 75 % of 6.25. One of 1.5 x 1.5 has 1 and
    # touches 4: min(4 * 0.472, 0.472 + 1.25) = 1.72, more than 75 % of 2.25.
    coarse = Coarse(grey(np.full((12, 12), 240)), (1.0, 1.0))
    boxes = np.array([[2.0, 2.0, 4.5, 4.5], [2.0, 2.0, 3.5, 3.5], [2.2, 2.2, 2.7, 2.7]])

    assert is_surely_bright(coarse, boxes, 0.25).tolist() == [True, False, False]


def test_a_dark_pixel_beside_a_window_speaks_for_it() -> None:
    values = np.full((12, 12), 245)
    values[:, 8] = 100
    coarse = Coarse(grey(values), (1.0, 1.0))

    found = is_surely_bright(coarse, np.array([[0.0, 0.0, 2.0, 2.0], [6.0, 0.0, 8.0, 2.0]]), 0.5)

    assert found.tolist() == [True, False]


def test_otsu_parts_stain_from_glass_but_not_glass_from_itself() -> None:
    slide = paint_slide(seed=1, size_px=(512, 512), mpp=4.0, tissue_share=0.5)
    glass = paint_slide(seed=1, size_px=(512, 512), mpp=4.0, tissue_share=0.0)

    assert otsu_mask(slide).mean() == pytest.approx(0.5, abs=0.06)
    assert not otsu_mask(glass).any()
    assert not otsu_mask(np.full((9, 9, 3), 240, np.uint8)).any()


def test_a_grey_slide_is_no_brightfield_but_an_empty_one_is(tmp_path: Path) -> None:
    ramp = grey(np.tile(np.linspace(0, 255, 256), (256, 1)))
    write_pyramid(tmp_path / "grey.tiff", ramp, mpp=0.5, downsamples=())
    write_pyramid(tmp_path / "empty.tiff", np.full_like(ramp, 250), mpp=0.5, downsamples=())

    with (
        open_slide(tmp_path / "grey.tiff") as slide,
        pytest.raises(SlideError, match="only grey") as caught,
    ):
        read_coarse(slide)
    with open_slide(tmp_path / "empty.tiff") as slide:
        assert read_coarse(slide).image.min() == 250

    assert caught.value.code == "NOT_BRIGHTFIELD"


def test_the_coarse_picture_is_cheap_on_pyramids_and_small_slides_only() -> None:
    class Slide:
        mpp = 0.25

        def __init__(self, side: int, downsamples: tuple[float, ...]) -> None:
            self.level_downsamples = downsamples
            self.dimensions = (side, side)
            self.level_dimensions = tuple((int(side / d), int(side / d)) for d in downsamples)

    assert is_cheap(Slide(80_000, (1.0, 4.0, 16.0)), 1.0)  # type: ignore[arg-type]
    assert is_cheap(Slide(4_000, (1.0,)), 1.0)  # type: ignore[arg-type]
    assert not is_cheap(Slide(80_000, (1.0,)), 1.0)  # type: ignore[arg-type]
    assert not is_cheap(Slide(80_000, (1.0, 2.0)), 2.0)  # type: ignore[arg-type]
