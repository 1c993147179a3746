import pytest

from histokeras.errors import SlideError
from histokeras.slides.pyramid import choose_level


@pytest.mark.parametrize(
    ("slide_mpp", "downsamples", "level", "mpp", "resampled"),
    [
        (0.499, [1.0], 0, 0.499, False),
        (0.5015, [1.0], 0, 0.5015, False),
        (0.504, [1.0], 0, 0.504, False),
        (0.525, [1.0], 0, 0.525, False),
        (0.2525, [1.0, 2.0, 4.0], 1, 0.505, False),
        (0.26, [1.0, 2.0, 4.0], 1, 0.52, False),
        (0.2525, [1.0], 0, 0.5, True),
        (0.26, [1.0, 4.0], 0, 0.5, True),
        (0.1, [1.0, 2.0, 4.0, 8.0], 2, 0.5, True),
    ],
)
def test_a_near_level_is_read_as_it_is_and_else_the_nearest_finer_one_is_shrunk(
    slide_mpp: float, downsamples: list[float], level: int, mpp: float, resampled: bool
) -> None:
    choice = choose_level(slide_mpp, downsamples, 0.5, tolerance=0.05)

    assert (choice.level, choice.resampled) == (level, resampled)
    assert choice.mpp == pytest.approx(mpp, rel=1e-12)


def test_a_slide_coarser_than_the_tolerance_is_refused_not_enlarged() -> None:
    with pytest.raises(SlideError, match=r"0\.53 um per pixel.*never enlarged") as caught:
        choose_level(0.53, [1.0, 4.0], 0.5, tolerance=0.05)

    assert caught.value.code == "MAG_UNAVAILABLE"


def test_tile_sizes_in_level_0_pixels_are_whole_and_near() -> None:
    at_40x = choose_level(0.25, [1.0], 0.5, tolerance=0.05)
    at_odd = choose_level(0.2525, [1.0], 0.5, tolerance=0.05)
    from_level = choose_level(0.26, [1.0, 2.0], 0.5, tolerance=0.05)

    assert (at_40x.size_level0_px(299), at_40x.read_px(299)) == (598, 598)
    assert at_odd.size_level0_px(299) == 592  # 299 * 0.5 / 0.2525 = 592.08
    assert (from_level.size_level0_px(299), from_level.read_px(299)) == (598, 299)


def test_a_tile_shrunk_from_a_coarser_level_reads_its_share_of_that_level() -> None:
    choice = choose_level(0.1, [1.0, 4.0], 0.5, tolerance=0.05)

    assert choice.size_level0_px(200) == 1000
    assert choice.read_px(200) == 250
