from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histokeras.errors import SlideError
from histokeras.slides.reader import open_slide
from histokeras.slides.slide import Slide
from histokeras.slides.synthetic import write_pyramid


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "s.tiff"
    image = np.full((400, 600, 3), (200, 100, 150), np.uint8)
    write_pyramid(path, image, mpp=0.5, downsamples=(2, 4), lossless=True)
    return path


@pytest.fixture
def slide(path: Path) -> Iterator[Slide]:
    with open_slide(path) as slide:
        yield slide


def test_a_thumbnail_keeps_the_proportions_and_colours(slide: Slide) -> None:
    thumbnail = slide.thumbnail(90)

    assert thumbnail.shape == (60, 90, 3)
    assert (thumbnail == (200, 100, 150)).all()
    assert slide.thumbnail(5000).shape == (400, 600, 3)


def test_the_content_id_follows_the_content_not_the_name(slide: Slide, tmp_path: Path) -> None:
    other = tmp_path / "other.tiff"
    data = bytearray(slide.path.read_bytes())
    other.write_bytes(data)
    with open_slide(other) as same:
        assert same.content_id() == slide.content_id()
    data[-1] ^= 1
    other.write_bytes(data)
    with open_slide(other) as changed:
        assert changed.content_id() != slide.content_id()
    assert len(slide.content_id()) == 64


def test_a_slide_that_changes_while_it_is_read_is_refused(slide: Slide) -> None:
    slide.require_unchanged()
    with slide.path.open("ab") as file:
        file.write(b"more")

    with pytest.raises(SlideError, match="changed while it was read") as caught:
        slide.require_unchanged()

    assert caught.value.code == "SLIDE_CHANGED"


def test_notebooks_show_picture_size_and_mpp(slide: Slide) -> None:
    page = slide._repr_html_()

    assert "600 x 400 px" in page
    assert "0.5 µm per pixel (TIFF resolution)" in page
    assert slide._repr_png_().startswith(b"\x89PNG")
    assert repr(slide) == "Slide('s', 600 x 400 px, 3 level(s))"


def test_a_slide_without_mpp_is_shown_all_the_same(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10), (200, 100, 150)).save(tmp_path / "a.png")

    with open_slide(tmp_path / "a.png") as slide:
        assert "MPP_MISSING" in slide._repr_html_()
        assert slide.notes == ()


def test_notes_tell_of_conflicts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_slide(path) as slide:
        properties = {"openslide.mpp-x": "0.5", "openslide.objective-power": "40"}
        monkeypatch.setattr(slide, "_properties", properties)
        slide.vendor = "aperio"

        assert [note.split(":")[0] for note in slide.notes] == ["MPP_CONFLICT"]


def test_a_large_slide_without_pyramid_says_that_it_is_slow(tmp_path: Path) -> None:
    image = np.full((4200, 4200, 3), 240, np.uint8)
    write_pyramid(tmp_path / "flat.tiff", image, mpp=0.5, downsamples=())

    with open_slide(tmp_path / "flat.tiff") as slide:
        assert slide.notes[0].startswith("NO_PYRAMID")
