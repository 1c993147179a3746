"""Pictures of strangers, run folders that lead out of themselves, and names on the terminal."""

import io
import os
import struct
from pathlib import Path
from subprocess import CalledProcessError

import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from histokeras.analysis.saved import open_saved
from histokeras.cli.doctor import keras_faults
from histokeras.cli.main import main
from histokeras.cli.terminal import SafeStream
from histokeras.errors import FeatureError, SlideError
from histokeras.foreign.text import printable
from histokeras.report.pictures import read_pictures, shrunk_jpeg
from histokeras.report.run_files import read_run
from histokeras.runs.progress import Progress
from histokeras.slides.plain import open_plain
from histokeras.tiles.folders import read_image
from tests.report.conftest import build_tile_run
from tests.security.conftest import SECRET, little_memory

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gs` that leaves the canary: what Pillow starts for PostScript."""
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho 10\nmkdir '{canary}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    return canary


def test_postscript_under_the_name_of_a_picture_is_not_run(
    tmp_path: Path, ghostscript: Path
) -> None:
    path = tmp_path / "tile.png"
    path.write_bytes(EPS)

    with pytest.raises(SlideError, match="cannot be read") as caught:
        read_image(path)

    assert caught.value.code == "TILE_CORRUPT"
    assert shrunk_jpeg(path, 100) is None
    assert not ghostscript.exists()


def test_pillow_would_run_it(tmp_path: Path, ghostscript: Path) -> None:
    (tmp_path / "tile.png").write_bytes(EPS)

    with Image.open(tmp_path / "tile.png") as image, pytest.raises(CalledProcessError):
        image.load()

    ghostscript.rmdir()  # raises if it is not there


def tiff(path: Path, data: bytes, *, side: int, compression: int, channels: int = 3) -> Path:
    """Write a TIFF of one strip by hand, whatever the strip holds."""
    bits = struct.pack(f"<{channels}H", *[8] * channels)
    tags = [(256, 3, side), (257, 3, side), (258, 3, None), (259, 3, compression), (262, 3, 2),
            (273, 4, None), (277, 3, channels), (278, 3, side), (279, 4, len(data))]  # fmt: skip
    place = 8 + 2 + 12 * len(tags) + 4
    values = {258: (channels, place), 273: (1, place + len(bits))}
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    for tag, kind, value in tags:
        n, number = values.get(tag, (1, value))
        head += struct.pack("<HHII", tag, kind, n, number)
    path.write_bytes(head + bytes(4) + bits + data)
    return path


def jpeg(side: int, says: int) -> bytes:
    """Return a JPEG whose header says another size than it has."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (200, 100, 150)).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", says, says)
    return bytes(data)


def test_a_piece_that_says_it_is_larger_than_its_place_is_not_decoded(tmp_path: Path) -> None:
    good = open_plain(tiff(tmp_path / "a.tif", jpeg(256, 256), side=256, compression=7))
    with_bomb = open_plain(tiff(tmp_path / "b.tif", jpeg(256, 9000), side=256, compression=7))

    assert good.read((0, 0), 0, (256, 256)).mean() == pytest.approx(150, abs=2)
    with pytest.raises(ValueError, match="says it has 9000 x 9000 px"), little_memory():
        with_bomb.read((0, 0), 0, (256, 256))
    good.close()
    with_bomb.close()


def test_a_thousand_channels_are_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", b"x", side=16_000, compression=1, channels=1000)

    with pytest.raises(SlideError, match="1000 channels") as caught, little_memory():
        open_plain(path)

    assert caught.value.code == "NOT_BRIGHTFIELD"


@pytest.mark.parametrize("name", ["pictures/0001.jpg", "curves.json", "predictions/S.csv", "head"])
def test_a_link_out_of_a_run_folder_is_not_followed(name: str, tmp_path: Path) -> None:
    folder = build_tile_run(tmp_path / "run", ["a", "b", "c"])
    secret = tmp_path / "secret.txt"
    secret.write_bytes(SECRET)
    place = folder / name
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(secret)

    for read in (read_run, open_saved):
        with pytest.raises(FeatureError, match="is a link out of run") as caught:
            read(folder)
        assert caught.value.code == "PATH_UNSAFE"


def test_links_inside_a_run_and_a_run_that_is_a_link_are_fine(tmp_path: Path) -> None:
    folder = build_tile_run(tmp_path / "run", ["a", "b", "c"])
    (folder / "again.csv").symlink_to(folder / "patients.csv")
    (folder / "features").symlink_to(tmp_path)
    (tmp_path / "other").symlink_to(folder)

    assert read_run(tmp_path / "other").classes == ["a", "b", "c"]


def test_a_table_of_pictures_names_no_file_elsewhere(tmp_path: Path) -> None:
    folder = build_tile_run(tmp_path / "run", ["a", "b", "c"])
    Image.new("RGB", (32, 32), (1, 2, 3)).save(tmp_path / "secret.jpg")
    pictures = pd.read_csv(folder / "pictures.csv", dtype=str, keep_default_na=False)
    assert read_pictures(read_run(folder), 10**6).galleries
    pictures["file"] = "../secret.jpg"
    pictures.to_csv(folder / "pictures.csv", index=False)

    assert read_pictures(read_run(folder), 10**6).galleries == ()


EVIL = "S\x1b]0;owned\x07\x1b[2J\r\n[1/1] B: done\u202etxt\x9b31m"


def test_a_name_is_no_command_to_the_terminal() -> None:
    shown = printable(EVIL, one_line=True)

    assert shown == (
        "S\\x1b]0;owned\\x07\\x1b[2J\\x0d\\n[1/1] B: done\\u202etxt\\x9b31m"
    )  # fmt: skip
    assert printable("Grün 日本 😀\t\n") == "Grün 日本 😀\t\n"


def test_progress_shows_hostile_names_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(1) as progress:
        progress.slide(EVIL, "failed", "SLIDE_UNREADABLE")

    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert shown.rstrip("\n").isprintable()


def test_errors_and_tables_show_hostile_names_as_text(tmp_path: Path) -> None:
    folder = tmp_path / EVIL.replace("/", "")
    folder.mkdir()

    result = CliRunner().invoke(main, ["verify", str(folder)])

    assert result.exit_code == 3
    assert result.stderr.startswith("Error: no feature files")
    assert result.stderr.count("\n") == 1
    assert result.stderr.rstrip("\n").isprintable()


def test_a_bar_of_progress_still_goes_back_to_its_line() -> None:
    buffer = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stream = SafeStream(buffer)

    stream.write("\r 50%")
    stream.write("a\rb\x1bé\n")
    stream.flush()

    assert buffer.buffer.getvalue() == b"\r 50%a\\x0db\\x1b\\xe9\n"  # type: ignore[attr-defined]
    assert stream.encoding == "utf-8"


def test_the_doctor_names_what_old_keras_does() -> None:
    assert "CVE-2026-12479" in keras_faults("3.13.2")[0]
    assert "3.15.1" in keras_faults("3.15.0rc1")[0]
    assert keras_faults("3.15.1") == keras_faults("3.16.0.dev0") == keras_faults("4.0") == []
