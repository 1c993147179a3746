from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histokeras.errors import SlideError
from histokeras.slides import reader
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import write_pyramid


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (520, 700, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pyramid(noise: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "noise.tiff"
    write_pyramid(path, noise, mpp=0.25, downsamples=(2, 4), lossless=True)
    return path


def test_a_slide_tells_its_size_levels_and_mpp(pyramid: Path) -> None:
    with open_slide(pyramid) as slide:
        assert slide.slide_id == "noise"
        assert slide.dimensions == (700, 520)
        assert slide.level_dimensions == ((700, 520), (350, 260), (175, 130))
        assert slide.level_downsamples == (1, 2, 4)
        assert slide.level_count == 3
        assert slide.vendor == "generic-tiff"
        assert (slide.mpp, slide.mpp_source) == (0.25, "TIFF resolution")


def test_a_window_holds_the_exact_pixels(pyramid: Path, noise: np.ndarray) -> None:
    with open_slide(str(pyramid)) as slide:
        window = slide.read_region((100, 50), 0, (30, 20))
        coarse = slide.read_region((100, 48), 1, (30, 20))

    assert window.shape == (20, 30, 3)
    assert window.dtype == np.uint8
    np.testing.assert_array_equal(window, noise[50:70, 100:130])
    means = noise[48:88, 100:160].reshape(20, 2, 30, 2, 3).mean(axis=(1, 3))
    assert np.abs(coarse - means).max() <= 0.5


def test_what_lies_beyond_the_rim_is_white(pyramid: Path, noise: np.ndarray) -> None:
    with open_slide(pyramid) as slide:
        window = slide.read_region((690, -5), 0, (20, 10))

    np.testing.assert_array_equal(window[5:, :10], noise[:5, 690:])
    assert (window[:5] == 255).all()
    assert (window[:, 10:] == 255).all()


def test_transparent_pixels_are_mixed_with_white() -> None:
    class Half:
        properties: dict[str, str] = {}  # noqa: RUF012
        level_dimensions = ((3, 1),)
        level_downsamples = (1.0,)

        def read_region(self, *_: object) -> Image.Image:
            pixels = np.array([[[10, 20, 30, 0], [100, 0, 200, 128], [1, 2, 3, 255]]], np.uint8)
            return Image.fromarray(pixels, "RGBA")

    image = reader._OpenSlideSource(Half()).read((0, 0), 0, (3, 1))

    # 100 * 128 / 255 + 255 * 127 / 255 = 177.2; 0 gives 127; 200 gives 227.4.
    assert image.tolist() == [[[255, 255, 255], [177, 127, 227], [1, 2, 3]]]


def test_the_users_mpp_wins_and_the_default_comes_last(pyramid: Path) -> None:
    with open_slide(pyramid, mpp=0.3, default_mpp=1.0) as slide:
        assert (slide.mpp, slide.mpp_source) == (0.3, "slide table")
    with open_slide(pyramid, default_mpp=1.0) as slide:
        assert slide.mpp == 0.25


def test_a_slide_under_an_unknown_extension_is_read_by_its_content(
    pyramid: Path, tmp_path: Path
) -> None:
    path = tmp_path / "näme, with 'quote' 🔬.slide"
    path.write_bytes(pyramid.read_bytes())

    with open_slide(path) as slide:
        assert slide.slide_id == "näme, with 'quote' 🔬"
        assert slide.read_region((0, 0), 0, (5, 5)).shape == (5, 5, 3)


def test_a_slide_without_its_end_names_place_and_size(pyramid: Path, tmp_path: Path) -> None:
    import tifffile

    data = bytearray(pyramid.read_bytes())
    with tifffile.TiffFile(pyramid) as tiff:
        where = tiff.pages[0].tags["TileOffsets"].valueoffset
    # The last tile of level 0 (x from 512, y from 512) lies beyond the end now.
    data[where + 8 * 4 : where + 9 * 4] = len(data).to_bytes(4, "little")
    path = tmp_path / "cut.tiff"
    path.write_bytes(data)

    with open_slide(path) as slide:
        slide.read_region((0, 0), 0, (20, 20))
        with pytest.raises(SlideError, match=rf"x=600 y=515 .*after {len(data)} bytes") as caught:
            slide.read_region((600, 515), 0, (5, 5))
        # OpenSlide's handle is dead after an error: the next place has a new one.
        assert slide.read_region((0, 0), 0, (20, 20)).shape == (20, 20, 3)

    assert caught.value.code == "SLIDE_TRUNCATED"
    assert str(tmp_path) not in str(caught.value)


def test_a_slide_cut_off_so_early_that_it_does_not_open_says_so_without_its_folder(
    pyramid: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.tiff"
    path.write_bytes(pyramid.read_bytes()[:-50_000])

    with pytest.raises(SlideError, match=r"`cut\.tiff` cannot be opened: .*Short read") as caught:
        open_slide(path)

    assert str(tmp_path) not in str(caught.value)


def test_a_damaged_tile_is_tile_corrupt_with_its_place(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "bad.tiff"
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    write_pyramid(path, image, mpp=0.5, downsamples=())
    with tifffile.TiffFile(path) as tiff:
        start, size = tiff.pages[0].dataoffsets[3], tiff.pages[0].databytecounts[3]
    data = bytearray(path.read_bytes())
    data[start : start + size] = bytes(size)
    path.write_bytes(data)

    with open_slide(path) as slide, pytest.raises(SlideError, match="x=260 y=270") as caught:
        slide.read_region((260, 270), 0, (20, 20))

    assert caught.value.code == "TILE_CORRUPT"


@pytest.mark.parametrize("arguments", [((0, 0), 3, (5, 5)), ((0, 0), 0, (0, 5))])
def test_impossible_windows_are_refused(
    pyramid: Path, arguments: tuple[tuple[int, int], int, tuple[int, int]]
) -> None:
    with open_slide(pyramid) as slide, pytest.raises(ValueError, match="`level` must be 0 to 2"):
        slide.read_region(*arguments)


def test_label_and_macro_images_are_never_opened(
    pyramid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(self: object) -> None:
        raise AssertionError("associated images were touched")

    monkeypatch.setattr("openslide.OpenSlide.associated_images", property(forbidden))

    with open_slide(pyramid) as slide:
        assert max(slide.thumbnail(64).shape) <= 64
        assert len(slide.content_id()) == 64
        assert pyramid.stem in slide._repr_html_()


def test_the_version_of_the_library_is_known() -> None:
    assert reader.openslide_version()[0].isdigit()


def test_every_real_bad_slide_has_its_own_reason(real_data: Path) -> None:
    reasons = {}
    for path in sorted((real_data / "slides" / "bad").iterdir()):
        try:
            with open_slide(path) as slide:
                slide.read_region((0, 0), 0, (16, 16))
                reasons[path.name] = f"mpp {slide.mpp:g}"
        except SlideError as error:
            reasons[path.name] = f"{error.code} {error.message}"

    assert reasons["broken.svs"].startswith("SLIDE_UNREADABLE")
    assert reasons["openslide-boxes.tiff"].startswith("MPP_ABSURD")
    assert reasons["openslide-small.svs"] == "mpp 0.499"
    assert "Unsupported TIFF compression" in reasons["openslide-unopenable.tiff"]
    assert reasons["openslide-unreadable.svs"].startswith("TILE_CORRUPT")
    assert "Bogus marker length" in reasons["openslide-unreadable.svs"]


def test_the_real_slide_is_read(real_data: Path) -> None:
    with open_slide(real_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        assert slide.dimensions == (2220, 2967)
        assert (slide.mpp, slide.mpp_source, slide.vendor) == (0.499, "slide properties", "aperio")


def test_the_real_plain_tiff_is_read_with_a_given_mpp(real_data: Path) -> None:
    path = real_data / "slides" / "kidney-48-5.tif"
    with open_slide(path) as slide, pytest.raises(SlideError, match="does not say") as caught:
        assert slide.mpp
    with open_slide(path, default_mpp=0.5) as slide:
        window = slide.read_region((700, 400), 0, (300, 200))
        assert (slide.mpp, slide.mpp_source) == (0.5, "--default-mpp")

    assert caught.value.code == "MPP_MISSING"
    with Image.open(path) as whole:
        np.testing.assert_array_equal(window, np.asarray(whole)[400:600, 700:1000])
