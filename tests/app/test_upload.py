import io

import numpy as np
import pytest
from PIL import Image

from histokeras.app import upload
from histokeras.app.upload import fit_to_tile, read_upload
from histokeras.errors import SlideError
from tests.app.conftest import painted


def data_of(image: Image.Image, kind: str = "PNG", **how: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_pictures_are_known_by_their_content(kind: str) -> None:
    image, said = read_upload(data_of(painted(), kind), "anything.bmp")

    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert said == f"{kind}, 64 x 64 px"


def test_what_is_transparent_becomes_white() -> None:
    layers = painted().convert("RGBA")
    layers.putalpha(Image.new("L", layers.size, 0))

    image, said = read_upload(data_of(layers), "tile.png")

    assert (image == 255).all()
    assert said.endswith("what is transparent made white")


def test_of_a_tiff_of_several_pages_the_first_counts() -> None:
    other = Image.new("RGB", (64, 64))
    data = data_of(painted(), "TIFF", save_all=True, append_images=[other])

    image, said = read_upload(data, "tile.tif")

    assert image.mean() > 50
    assert said.endswith("the first of its pages")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is no PNG, JPEG or TIFF, or damaged"),
        (b"<html>", "is no PNG, JPEG or TIFF, or damaged"),
        (b"", "is no PNG, JPEG or TIFF, or damaged"),
        (data_of(painted(), "BMP"), "is no PNG, JPEG or TIFF, or damaged"),
        (data_of(painted())[:900], "is no PNG, JPEG or TIFF, or damaged"),
        (data_of(painted().convert("L")), "greyscale"),
        (data_of(Image.new("I;16", (64, 64))), "greyscale or deeper than 8 bits"),
        (data_of(Image.new("RGB", (8, 600))), "has 8 x 600 px"),
        # 20 kB that would take 147 MB.
        (data_of(Image.new("RGB", (7000, 7000)), optimize=True), "at most 36 million"),
        # What Pillow itself holds for a bomb.
        (data_of(Image.new("1", (20_000, 20_000))), "too large to be decoded"),
    ],
    ids=["eps", "html", "empty", "bmp", "cut", "grey", "16bit", "thin", "large", "bomb"],
)
def test_other_content_is_refused_in_one_line(data: bytes, why: str) -> None:
    with pytest.raises(SlideError, match=why) as caught:
        read_upload(data, "tile\n.png")

    assert "\n" not in str(caught.value)


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of(painted())
    monkeypatch.setattr(upload, "MAX_PX", 64 * 64 - 1)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))

    with pytest.raises(SlideError, match="million are read"):
        read_upload(data, "tile.png")


def test_a_tile_of_the_right_size_is_left_as_it_is() -> None:
    image = np.asarray(painted())

    tile, said = fit_to_tile(image, 64, mpp=None, wanted_mpp=0.5)

    np.testing.assert_array_equal(tile, image)
    assert said.startswith("It was taken as it is, 64 x 64 px. Its resolution is unknown")


def test_without_a_resolution_the_whole_middle_is_taken() -> None:
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, 100:200] = 200

    tile, said = fit_to_tile(image, 50, mpp=None, wanted_mpp=None)

    assert tile.shape == (50, 50, 3)
    assert (tile == 200).all()
    assert said.startswith("The middle 100 x 100 px were cut out. They were resampled to 50 x 50")


def test_with_a_resolution_a_tile_shows_as_much_tissue_as_one_of_the_run() -> None:
    # A tile of 64 px at 0.5 um shows 32 um: 128 px at 0.25.
    image = np.zeros((200, 200, 3), np.uint8)
    image[36:164, 36:164] = 200

    tile, said = fit_to_tile(image, 64, mpp=0.25, wanted_mpp=0.5)

    assert (tile == 200).all()
    assert "128 x 128 px were cut" in said
    assert "unknown" not in said
    with pytest.raises(SlideError, match="shows 20 µm, a tile of the run 32 µm"):
        fit_to_tile(image, 64, mpp=0.1, wanted_mpp=0.5)
