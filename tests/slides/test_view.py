import numpy as np
import pytest
from PIL import Image

from histokeras.errors import SlideError
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import SlideSpec, write_he_slide
from histokeras.slides.view import view_at


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("view") / "S1.tiff"
    write_he_slide(path, SlideSpec(seed=3, size_px=(1300, 1100)))
    with open_slide(path) as found:
        yield found


@pytest.mark.parametrize("mpp", [None, 0.5, 0.51, 0.7, 1.3, 2.0])
def test_a_pixel_is_the_same_in_whatever_window_it_is_read(slide, mpp):
    view = view_at(slide, mpp)
    whole = view.read(0, 0, *view.size_px)
    for x, y, width, height in ((32, 64, 96, 50), (160, 32, 33, 70)):
        part = view.read(x, y, width, height)
        assert part.shape == (height, width, 3)
        apart = part.astype(int) - whole[y : y + height, x : x + width]
        assert np.abs(apart).max() <= 1


def test_resolutions_within_the_tolerance_are_read_as_they_are(slide):
    assert (view_at(slide, None).size_px, view_at(slide, None).mpp) == ((1300, 1100), 0.5)
    near = view_at(slide, 0.52)
    assert (near.size_px, near.mpp, near.scale) == ((1300, 1100), pytest.approx(0.5), 1.0)
    coarse = view_at(slide, 1.0)
    assert (coarse.size_px, coarse.mpp, coarse.scale) == ((650, 550), 1.0, 2.0)
    assert view_at(slide, 2.0).level == 1
    reference = Image.fromarray(slide.read_region((0, 0), 0, (1300, 1100))).reduce(2)
    apart = coarse.read(0, 0, 650, 550).astype(int) - np.asarray(reference)
    assert np.abs(apart).max() <= 1
    with pytest.raises(SlideError, match="coarser than the wanted"):
        view_at(slide, 0.25)


def test_a_picture_without_mpp_is_worked_at_in_its_own_pixels(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
    with open_slide(path) as slide:
        view = view_at(slide, None)
        assert (view.size_px, view.mpp) == ((30, 20), None)
        with pytest.raises(SlideError, match="mpp"):
            view_at(slide, 0.5)
