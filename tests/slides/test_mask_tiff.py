import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from histokeras.errors import OutputError
from histokeras.slides.mask_tiff import (
    class_mask_writer,
    most_frequent,
    probability_writer,
    read_class_mask,
)
from histokeras.slides.reader import open_slide

COLOURS = [(0, 114, 178), (213, 94, 0), (0, 158, 115)]


def test_class_mask_keeps_its_numbers_and_shows_its_colours(tmp_path):
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 3, (23, 27), np.uint8).repeat(50, axis=0).repeat(50, axis=1)
    path = tmp_path / "S1.mask.tif"
    with class_mask_writer(path, (1350, 1150), COLOURS, mpp=0.5) as paste:
        # Sections, and what is left between and below them is not segmented.
        paste(0, 100, mask[100:700, :600])
        paste(600, 0, mask[:1000, 600:])
    expected = mask.copy()
    expected[:100, :600] = expected[700:, :600] = expected[1000:] = 255

    assert [file.name for file in tmp_path.iterdir()] == ["S1.mask.tif"]
    np.testing.assert_array_equal(tifffile.imread(path), expected)
    with Image.open(path) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), expected)
        picture.seek(1)
        np.testing.assert_array_equal(np.asarray(picture), most_frequent(expected))
    small, factor = read_class_mask(path, 400 * 400)
    assert factor == 4
    np.testing.assert_array_equal(small, most_frequent(expected, 4))
    np.testing.assert_array_equal(read_class_mask(path, 1350 * 1150)[0], expected)
    with open_slide(path) as slide:
        assert slide.vendor == "generic-tiff"
        assert slide.dimensions == (1350, 1150)
        assert slide.level_downsamples == pytest.approx((1, 4), rel=0.01)
        assert slide.mpp == pytest.approx(0.5, rel=1e-4)
        shown = slide.read_region((550, 80), 0, (100, 60))
    table = np.array([*COLOURS, *[(255, 255, 255)] * 253])
    np.testing.assert_array_equal(shown, table[expected[80:140, 550:650]])


def test_no_class_is_made_of_two_others_in_coarser_levels():
    mask = np.zeros((4, 10), np.uint8)
    mask[:2, :4] = 2
    mask[:3, 4:8] = 1
    mask[:, 8:] = 255
    # Eight pixels against eight: the lower; twelve of four; a square cut off at the border.
    assert most_frequent(mask).tolist() == [[0, 1, 255]]


def test_without_an_mpp_none_is_told(tmp_path):
    path = tmp_path / "p.tif"
    with probability_writer(path, (300, 200), mpp=None) as paste:
        paste(10, 20, np.full((30, 40), 128, np.uint8))
    with openslide.OpenSlide(path) as slide:
        assert "openslide.mpp-x" not in slide.properties
        assert slide.read_region((15, 25), 0, (1, 1)).getpixel((0, 0)) == (128, 128, 128, 255)
    found = tifffile.imread(path)
    assert (found[20:50, 10:50] == 128).all()
    assert int(found.astype(int).sum()) == 128 * 1200


def test_a_broken_writer_leaves_nothing(tmp_path):
    path = tmp_path / "p.tif"
    with (
        pytest.raises(ValueError, match="no such part"),
        probability_writer(path, (300, 200), mpp=1) as paste,
    ):
        paste(250, 0, np.zeros((5, 60), np.uint8))
    assert not list(tmp_path.iterdir())
    with (
        pytest.raises(OutputError),
        class_mask_writer(tmp_path / "no" / "p.tif", (9, 9), COLOURS, mpp=1),
    ):
        pass
