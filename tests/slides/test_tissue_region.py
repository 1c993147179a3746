import numpy as np
import pytest
from PIL import Image

from histokeras.slides.reader import open_slide
from histokeras.slides.tissue_region import TissueRegion
from histokeras.slides.view import view_at


@pytest.fixture
def picture(tmp_path):
    """Tissue of 200 to 800 px with a gap of 50 µm and one of 160; it reaches the right border."""
    image = np.full((800, 1200, 3), 245, np.uint8)
    image[200:800, 200:] = (200, 80, 160)
    image[400:450, 400:450] = 245
    image[400:560, 700:860] = 245
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    return path


def test_small_gaps_are_tissue_and_large_ones_are_not(picture):
    with open_slide(picture, mpp=1.0) as slide:
        region = TissueRegion.of(view_at(slide, 2.0))
    assert region.size_px == (600, 400)
    inside = region.inside(0, 0, 600, 400)
    assert not inside[:96].any()
    assert inside[210:220, 210:220].all()
    assert not inside[230:250, 380:400].any()
    assert inside[104:, -1].all()
    assert inside[-1, 104:].all()
    # 200 px of glass beside: to the coarse pixel, 4 px here.
    assert abs(int(inside.sum()) - (500 * 300 - 80 * 80)) < 4 * 2 * (500 + 300 + 4 * 80)


def test_a_window_touches_tissue_if_and_only_if_a_pixel_is_inside(picture):
    with open_slide(picture, mpp=1.0) as slide:
        region = TissueRegion.of(view_at(slide, None))
    whole = region.inside(0, 0, *region.size_px)
    rng = np.random.default_rng(0)
    seen = set()
    for x, y in zip(rng.integers(0, 1100, 200), rng.integers(0, 700, 200), strict=True):
        part = region.inside(x, y, 60, 37)
        np.testing.assert_array_equal(part, whole[y : y + 37, x : x + 60])
        assert region.touches(x, y, 60, 37) == part.any()
        seen.add(bool(part.any()))
    assert seen == {True, False}
