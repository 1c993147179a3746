from pathlib import Path

import numpy as np
import pytest
import tifffile

from histokeras.errors import SlideError
from histokeras.slides.header import colour_remark, largest_page, read_pages, require_sound_tiff
from tests.bad_inputs.slide_files import forge


def write(path: Path, **options: object) -> Path:
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    with tifffile.TiffWriter(path, **options) as writer:
        for pixels in (image[::2, ::2], image):
            writer.write(pixels, tile=(64, 64), photometric="rgb", compression="deflate")
    return path


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_a_header_declares_is_what_tifffile_finds(
    tmp_path: Path, big: bool, order: str
) -> None:
    path = write(tmp_path / "a.tif", bigtiff=big, byteorder=order)

    pages = read_pages(path)

    with tifffile.TiffFile(path) as tiff:
        assert [page.size for page in pages] == [
            (page.imagewidth, page.imagelength) for page in tiff.pages
        ]
        largest = [max(page.databytecounts) for page in tiff.pages]
    assert [page.first(325) for page in pages] == largest
    assert [page.counts[324] for page in pages] == [6, 20]
    assert pages[0].values[258] == (8, 8, 8)
    assert pages[0].tile == (64, 64)
    assert largest_page(pages) is pages[1]
    require_sound_tiff(path, pages)


@pytest.mark.parametrize(
    ("tag", "value", "code", "text"),
    [
        ("ImageWidth", 2**31, "SLIDE_TOO_LARGE", "2147483648 x 200 px"),
        ("ImageWidth", 3000, "SLIDE_UNREADABLE", "need 188 tiles of 64 x 64 px, and it lists 20"),
        ("TileWidth", 0, "SLIDE_UNREADABLE", "its tiles have 0 x 64 px"),
        ("TileByteCounts", 2**31, "SLIDE_UNREADABLE", "a tile has 2147483648 bytes, the file"),
        ("BitsPerSample", 16, "NOT_BRIGHTFIELD", "16 bits a colour"),
        ("PhotometricInterpretation", 1, "NOT_BRIGHTFIELD", "greyscale or fluorescence"),
    ],
)
def test_a_forged_header_is_refused_before_a_library_reads_it(
    tmp_path: Path, tag: str, value: int, code: str, text: str
) -> None:
    path = write(tmp_path / "a.tif")
    forge(path, tag, value, page=1)

    with pytest.raises(SlideError, match=text) as caught:
        require_sound_tiff(path, read_pages(path))

    assert caught.value.code == code


def test_damaged_directories_end_the_search_and_raise_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", bigtiff=True)
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"\xff" * 8 + data[16:])
    assert read_pages(path) == []
    for n in range(4, len(data), 997):
        path.write_bytes(data[:n])
        assert len(read_pages(path)) <= 2
    path.write_bytes(b"II*\0\x04\0\0\0")
    assert read_pages(path) == []
    path.write_bytes(b"no tiff at all")
    assert read_pages(path) == []


def test_a_profile_for_other_colours_is_remarked_upon() -> None:
    right = bytes(16) + b"RGB " + bytes(16) + b"acsp"

    assert colour_remark("RGB", right) == colour_remark("RGB", None) == ""
    assert "is for GRAY colours" in colour_remark("RGB", right.replace(b"RGB ", b"GRAY"))
    assert "is damaged" in colour_remark("RGB", b"short")
    assert colour_remark("CMYK", right).startswith("CMYK: ")
