import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from histokeras.errors import SlideError
from histokeras.slides import checks
from histokeras.slides.reader import open_slide


def refuse(path: Path) -> SlideError:
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    return caught.value


@pytest.mark.parametrize(
    ("name", "content", "code", "text"),
    [
        ("a.svs", b"", "SLIDE_EMPTY", "0 bytes. Download it again"),
        ("a.svs", b"\n <html><head>", "SLIDE_NOT_A_SLIDE", "starts with '<html"),
        ("a.svs", b'{"error": "expired"}', "SLIDE_NOT_A_SLIDE", "expired download link"),
        ("a.svs", b"\xff\xd8\xff\xe0JFIF", "SLIDE_NOT_A_SLIDE", "is a JPEG file"),
        ("a.svs", b"random bytes" * 40, "SLIDE_UNREADABLE", "Unsupported or missing image file"),
        ("a.tiff", b"II*\0\x08\0\0\0", "SLIDE_UNREADABLE", "cannot be opened"),
        ("a.svs.partial", b"II*\0", "SLIDE_INCOMPLETE", "unfinished download"),
        ("a.mrxs", b"\xff\xd8\xff", "SLIDE_INCOMPLETE", "data folder `a` is missing"),
    ],
)
def test_a_file_that_is_no_slide_says_what_it_is(
    tmp_path: Path, name: str, content: bytes, code: str, text: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    error = refuse(path)

    assert error.code == code
    assert text in str(error)
    assert name in str(error)


def test_pipes_folders_loops_and_dangling_links_are_refused_without_waiting(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "pipe.svs")
    (tmp_path / "dir.svs").mkdir()
    (tmp_path / "gone.svs").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.svs").symlink_to(tmp_path / "loop.svs")

    assert refuse(tmp_path / "pipe.svs").code == "SLIDE_NOT_A_SLIDE"
    assert "a folder" in str(refuse(tmp_path / "dir.svs"))
    assert "is a link to a file that is not there" in str(refuse(tmp_path / "gone.svs"))
    assert refuse(tmp_path / "loop.svs").code == "SLIDE_UNREADABLE"
    assert refuse(tmp_path / "none.svs").code == "SLIDE_NOT_FOUND"


def test_a_file_that_may_not_be_read_names_owner_and_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.svs"
    path.write_bytes(b"II*\0")
    path.chmod(0o200)

    def deny(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    error = refuse(path)

    assert error.code == "SLIDE_PERMISSION"
    assert f"owner {os.getuid()}, mode --w-------" in str(error)


def test_forged_sizes_are_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="2147483648 x 2147483648") as caught:
        checks.require_reasonable_size((2**31, 2**31), (256, 256), "a.svs")
    with pytest.raises(SlideError, match="pieces of 60000 x 60000 px"):
        checks.require_reasonable_size((60_000, 60_000), (60_000, 60_000), "a.svs")
    with pytest.raises(SlideError, match="300 x 0 px: its header is damaged"):
        checks.require_reasonable_size((300, 0), (256, 256), "a.svs")
    checks.require_reasonable_size((300_000, 200_000), (512, 512), "a.svs")

    assert caught.value.code == "SLIDE_TOO_LARGE"


def test_a_tiff_bomb_is_refused_by_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint8), tile=(64, 64), photometric="rgb")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages[0].tags
        offsets = [tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
    for offset in offsets:
        data[offset : offset + 4] = (2**31 - 1).to_bytes(4, "little")
    path.write_bytes(data)

    assert refuse(path).code in {"SLIDE_TOO_LARGE", "SLIDE_UNREADABLE"}


def test_truncation_is_seen_only_where_data_lie_beyond_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb")

    assert not checks.is_truncated(path)
    path.write_bytes(path.read_bytes()[:-1000])
    assert checks.is_truncated(path)
    path.write_bytes(b"no tiff")
    assert not checks.is_truncated(path)
