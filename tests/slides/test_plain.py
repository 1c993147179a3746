from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from histokeras.errors import SlideError
from histokeras.slides import plain
from histokeras.slides.reader import open_slide


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (300, 200, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "options",
    [
        {"rowsperstrip": 16},
        {"rowsperstrip": 16, "compression": "adobe_deflate"},
        {"rowsperstrip": 300, "compression": "lzw", "predictor": True},
        {"tile": (64, 48), "compression": "zstd"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_a_tiff_window_holds_the_exact_pixels(
    noise: np.ndarray, tmp_path: Path, options: dict[str, object]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise, photometric="rgb", **options)

    source = plain.open_plain(path)
    window = source.read((90, 70), 0, (60, 130))
    rim = source.read((-10, 280), 0, (40, 40))
    outside = source.read((500, 500), 0, (3, 3))
    source.close()

    np.testing.assert_array_equal(window, noise[70:200, 90:150])
    np.testing.assert_array_equal(rim[:20, 10:], noise[280:, :30])
    assert (rim[20:] == 255).all()
    assert (rim[:, :10] == 255).all()
    assert (outside == 255).all()


def test_only_the_strips_under_the_window_are_decoded(
    noise: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise, photometric="rgb", rowsperstrip=10, compression="lzw")
    source = plain.open_plain(path)
    assert isinstance(source, plain._TiffSource)
    decoded = []
    decode = source._decode
    monkeypatch.setattr(source, "_decode", lambda index: decoded.append(index) or decode(index))

    source.read((0, 25), 0, (5, 10))
    source.read((50, 30), 0, (5, 10))

    source.close()

    assert decoded == [2, 3]


def test_the_cache_forgets_the_oldest_pieces(
    noise: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise, photometric="rgb", rowsperstrip=10, compression="lzw")
    monkeypatch.setattr(plain, "_CACHE_BYTES", 3 * 10 * 200 * 3)
    source = plain.open_plain(path)
    assert isinstance(source, plain._TiffSource)

    source.read((0, 0), 0, (200, 300))
    source.close()

    assert list(source._cache) == [27, 28, 29]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_transparency_becomes_white(tmp_path: Path, suffix: str) -> None:
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[:, 10:] = (10, 20, 30, 255)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels).save(path)

    source = plain.open_plain(path)
    image = source.read((0, 0), 0, (20, 20))
    source.close()

    assert (image[:, :10] == 255).all()
    assert (image[:, 10:] == (10, 20, 30)).all()


def test_png_is_a_slide_of_one_level_with_its_density_as_mpp(
    noise: np.ndarray, tmp_path: Path
) -> None:
    Image.fromarray(noise).save(tmp_path / "fine.png", dpi=(50_800, 50_800))
    Image.fromarray(noise).save(tmp_path / "print.png", dpi=(300, 300))

    with open_slide(tmp_path / "fine.png") as slide:
        assert slide.level_dimensions == ((200, 300),)
        assert slide.mpp == pytest.approx(0.5, rel=1e-4)
        assert slide.mpp_source == "image resolution"
        np.testing.assert_array_equal(slide.read_region((5, 6), 0, (10, 20)), noise[6:26, 5:15])
    with (
        open_slide(tmp_path / "print.png") as slide,
        pytest.raises(SlideError, match="300 dots per inch"),
    ):
        assert slide.mpp


def test_cmyk_and_palettes_are_converted(tmp_path: Path) -> None:
    red = Image.new("RGB", (30, 20), (200, 30, 40))
    red.convert("CMYK").save(tmp_path / "cmyk.tif")
    red.convert("P").save(tmp_path / "palette.tif")

    for name in ("cmyk.tif", "palette.tif"):
        image = plain.open_plain(tmp_path / name).read((0, 0), 0, (30, 20))
        np.testing.assert_allclose(image.mean(axis=(0, 1)), (200, 30, 40), atol=8)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("deep.tif", np.zeros((20, 20, 3), np.uint16)),
        ("grey.tif", np.zeros((20, 20), np.uint8)),
        ("grey.png", np.zeros((20, 20), np.uint8)),
        ("deep.png", np.zeros((20, 20), np.uint16)),
    ],
)
def test_what_is_no_brightfield_colour_image_is_refused(
    tmp_path: Path, name: str, pixels: np.ndarray
) -> None:
    if name.endswith("tif"):
        tifffile.imwrite(tmp_path / name, pixels)
    else:
        Image.fromarray(pixels).save(tmp_path / name)

    with pytest.raises(SlideError, match=r"three colours of 8 bits") as caught:
        open_slide(tmp_path / name)

    assert caught.value.code == "NOT_BRIGHTFIELD"


@pytest.mark.parametrize("limit", [50 * 50, 50 * 99])
def test_an_image_over_the_limit_is_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    Image.new("RGB", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)

    with pytest.raises(SlideError, match="decoded whole") as caught:
        open_slide(tmp_path / "a.png")

    assert caught.value.code == "SLIDE_TOO_LARGE"


def test_a_damaged_strip_is_named_by_the_slide(noise: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise, photometric="rgb", rowsperstrip=10, compression="adobe_deflate")
    with tifffile.TiffFile(path) as tiff:
        start, size = tiff.pages[0].dataoffsets[20], tiff.pages[0].databytecounts[20]
    data = bytearray(path.read_bytes())
    data[start : start + size] = bytes(size)
    path.write_bytes(data)

    with open_slide(path) as slide, pytest.raises(SlideError, match="x=0 y=195") as caught:
        slide.read_region((0, 195), 0, (20, 20))

    assert caught.value.code == "TILE_CORRUPT"
