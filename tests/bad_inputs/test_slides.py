"""Bad slides, row by row of the table of bad inputs: each has its code, and the others go on.

Tested elsewhere: sizes before allocation and permissions (tests/slides/test_checks.py), white
under transparent pixels (test_reader.py, test_plain.py), every source of an mpp (test_mpp.py).
"""

import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner, Result
from PIL import Image

from histokeras.cli.main import main
from histokeras.features.store import read_features
from histokeras.files import original_name
from histokeras.slides import reader
from histokeras.slides.slide import Slide
from histokeras.slides.synthetic import paint_slide, write_pyramid
from tests.bad_inputs.slide_files import forge, spoil_tile, write_svs, write_tiff

LONG = "l" * 250
ODD = ("a b", "a,b", 'a"b', "🔬", "a\nb", "-a", LONG)
COMMANDS = ("slides", "tile", "extract")


class Row(NamedTuple):
    """What the user must see: number in the table, file, codes, and what the message says."""

    number: int
    file: str
    code: str
    text: str
    stage: str = "open"


FAILS = [
    Row(1, "empty.svs", "SLIDE_EMPTY", "0 bytes"),
    Row(2, "ends.svs", "SLIDE_TRUNCATED", "x=128 y=128 (level 0): the file ends early", "tile"),
    Row(3, "headless.svs", "SLIDE_UNREADABLE", "cannot be opened: "),
    Row(4, "page.svs", "SLIDE_NOT_A_SLIDE", "starts with '<html><head>"),
    Row(4, "photo.svs", "SLIDE_NOT_A_SLIDE", "is a JPEG file under the name of a scanner format"),
    Row(6, "picture.png", "MPP_MISSING", "does not say its resolution"),
    Row(7, "mute.tiff", "MPP_MISSING", "does not say its resolution"),
    Row(8, "zero.svs", "MPP_ABSURD", "mpp 0 (slide properties) lies outside 0.05-20"),
    Row(8, "negative.svs", "MPP_ABSURD", "mpp -0.5"),
    Row(8, "nan.svs", "MPP_ABSURD", "mpp nan"),
    Row(8, "tiny.svs", "MPP_ABSURD", "mpp 1e-06"),
    Row(8, "huge.svs", "MPP_ABSURD", "mpp 50"),
    Row(9, "oblong.tiff", "MPP_ANISOTROPIC", "more than 2% apart"),
    Row(11, "bomb.svs", "SLIDE_TOO_LARGE", "2147483648 x 2147483648 px"),
    Row(12, "strip.tif", "SLIDE_TOO_LARGE", "pieces of 60000 x 60000 px"),
    Row(12, "tile.svs", "SLIDE_TOO_LARGE", "pieces of 60000 x 60000 px"),
    Row(14, "coarse.svs", "MAG_UNAVAILABLE", "finest level has 4 um per pixel", "tile"),
    Row(15, "glass.tiff", "NO_TISSUE", "no tissue found", "tile"),
    Row(16, "sparse.tiff", "NO_TILES", "quartiles of the", "tile"),
    Row(18, "corrupt.svs", "TILE_CORRUPT", "x=256 y=128 (level 0): cannot be decoded", "tile"),
    Row(20, "deep.tiff", "NOT_BRIGHTFIELD", "16 bits a colour"),
    Row(20, "fluorescence.tiff", "NOT_BRIGHTFIELD", "greyscale or fluorescence"),
    Row(20, "grey.tiff", "NOT_BRIGHTFIELD", "greyscale or fluorescence"),
    Row(22, "alone.mrxs", "SLIDE_INCOMPLETE", "its data folder `alone` is missing"),
    Row(22, "half.mrxs", "SLIDE_INCOMPLETE", "its file `half/Slidedat.ini` is missing"),
    Row(22, "lone.vms", "SLIDE_INCOMPLETE", "its file `map.jpg` is missing"),
    Row(22, "started.svs.partial", "SLIDE_INCOMPLETE", "is an unfinished download"),
    Row(23, "denied.svs", "SLIDE_PERMISSION", "may not be read (owner"),
    Row(25, "bytes\udcff.svs", "SLIDE_NAME", "its name is no text"),
    Row(27, "loop.svs", "SLIDE_UNREADABLE", "symbolic links"),
    Row(27, "gone.svs", "SLIDE_UNREADABLE", "is a link to a file that is not there"),
    Row(27, "pipe.svs", "SLIDE_NOT_A_SLIDE", "is a pipe or device, no file"),
    Row(27, "device.svs", "SLIDE_NOT_A_SLIDE", "is a pipe or device, no file"),
    Row(28, "growing.svs", "SLIDE_CHANGED", "changed while it was read", "tile"),
    Row(30, "lost.svs", "IO_ERROR", "the storage failed 3 times (Stale file handle)", "tile"),
]  # fmt: skip
DONE = [
    Row(0, "good.svs", "", ""),
    Row(5, "content.slide", "EXTENSION", "is none of a slide; its content is generic-tiff"),
    Row(10, "conflict.svs", "MPP_CONFLICT", "objective power 40 suggests 0.25"),
    Row(13, "flat.tiff", "NO_PYRAMID", "has one level only; it is read slower"),
    Row(17, "black.tiff", "ALL_TISSUE", "100% of the slide is dark enough for tissue"),
    Row(19, "clear.tiff", "", ""),
    Row(21, "print.tiff", "CMYK", "were converted without a profile"),
    Row(21, "profile.tiff", "ICC_PROFILE", "the colour profile is for CMYK colours"),
    *(Row(25, f"{name}.svs", "", "") for name in ODD),
]  # fmt: skip


def write_cohort(folder: Path) -> None:
    """Write every slide of the rows into one folder."""
    image = paint_slide(seed=1, size_px=(640, 512), tissue_share=0.7)
    tags: dict[str, Any] = {"metadata": None, "software": False, "compression": "deflate"}
    tags |= {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tiled = {**tags, "tile": (128, 128)}
    for name in ("good", "cut", "ends", "corrupt", "growing", "lost", "denied", *ODD):
        write_svs(folder / f"{name}.svs", image)
    data = (folder / "cut.svs").read_bytes()
    (folder / "headless.svs").write_bytes(data[:100])
    (folder / "cut.svs").rename(folder / os.fsdecode(b"bytes\xff.svs"))
    forge(folder / "ends.svs", "TileOffsets", len(data), index=6)
    spoil_tile(folder / "corrupt.svs", 7)
    (folder / "empty.svs").touch()
    (folder / "page.svs").write_text("<html><head>Sign in</head></html>")
    Image.fromarray(image).save(folder / "photo.svs", "JPEG")
    Image.fromarray(image).save(folder / "picture.png")
    write_pyramid(folder / "mute.tiff", image, mpp=None, downsamples=())
    for name, mpp in (("zero", "0"), ("negative", "-0.5"), ("nan", "nan"), ("tiny", "1e-6"),
                      ("huge", "50"), ("coarse", "4")):  # fmt: skip
        write_svs(folder / f"{name}.svs", image, mpp=mpp, power="")
    write_svs(folder / "conflict.svs", image, power="40")
    tifffile.imwrite(
        folder / "oblong.tiff", image, photometric="rgb",
        **{**tiled, "resolution": (20_000, 18_000)},
    )  # fmt: skip
    for name, side in (("bomb", "Image"), ("tile", "Tile")):
        write_svs(folder / f"{name}.svs", image)
        for tag in (f"{side}Width", f"{side}Length"):
            forge(folder / f"{name}.svs", tag, 2**31 if side == "Image" else 60_000)
    tifffile.imwrite(folder / "strip.tif", image, photometric="rgb", rowsperstrip=512, **tags)
    for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
        forge(folder / "strip.tif", tag, 60_000)
    write_pyramid(folder / "glass.tiff", np.full_like(image, 245), mpp=0.5, downsamples=())
    sparse = np.full_like(image, 245)
    sparse[::2, ::2] = image[:256, :320]
    write_pyramid(folder / "sparse.tiff", sparse, mpp=0.5, downsamples=())
    large = np.pad(image, ((0, 200), (0, 200), (0, 0)), constant_values=245)
    write_pyramid(folder / "flat.tiff", large, mpp=0.5, downsamples=())
    write_pyramid(folder / "black.tiff", np.zeros_like(image), mpp=0.5, downsamples=())
    write_tiff(folder / "content.slide", image)
    tifffile.imwrite(folder / "deep.tiff", image.astype("u2") * 200, photometric="rgb", **tiled)
    tifffile.imwrite(folder / "grey.tiff", image[..., 0], photometric="minisblack", **tiled)
    tifffile.imwrite(
        folder / "fluorescence.tiff", np.moveaxis(image, -1, 0), photometric="minisblack",
        planarconfig="separate", **tiled,
    )  # fmt: skip
    alpha = np.where(np.arange(640) < 320, 0, 255).astype(np.uint8)
    clear = np.dstack([image, np.broadcast_to(alpha, image.shape[:2])])
    clear[:, :320] = 0
    tifffile.imwrite(
        folder / "clear.tiff", clear, photometric="rgb", extrasamples=["unassalpha"], **tiled
    )
    inks = np.dstack([255 - image, np.zeros(image.shape[:2], np.uint8)])
    tifffile.imwrite(folder / "print.tiff", inks, photometric="separated", **tiled)
    profile = bytes(16) + b"CMYK" + bytes(16) + b"acsp" + bytes(88)
    tifffile.imwrite(folder / "profile.tiff", image, photometric="rgb", iccprofile=profile, **tiled)
    for name in ("alone", "half"):
        Image.fromarray(image[:64, :64]).save(folder / f"{name}.mrxs", "JPEG")
    (folder / "half").mkdir()
    keys = "NoLayers=1\nNoJpegColumns=1\nNoJpegRows=1\nImageFile=a.jpg\nMapFile=map.jpg\n"
    (folder / "lone.vms").write_text(f"[Virtual Microscope Specimen]\n{keys}")
    (folder / "started.svs.partial").write_bytes(data[:1000])
    (folder / "loop.svs").symlink_to(folder / "loop.svs")
    (folder / "gone.svs").symlink_to(folder / "nowhere.svs")
    (folder / "device.svs").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.svs")


class Seen(NamedTuple):
    """How one command ended: its result, row of failures.csv and outcome of each slide."""

    result: Result
    failures: dict[str, dict[str, str]]
    outcomes: dict[str, dict[str, Any]]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(item) for item in arguments])


def stem(file: str) -> str:
    return os.fsencode(Path(file).stem).decode("utf-8", "backslashreplace")


@pytest.fixture(scope="module")
def storage() -> list[str]:
    """Names of the slides that were opened."""
    return []


@pytest.fixture(scope="module")
def faults(storage: list[str]) -> Iterator[None]:
    """What cannot be made with files alone: permissions under root, growth, a lost drive."""
    with pytest.MonkeyPatch.context() as patch:
        really_open, really_read = Path.open, Slide.read_region
        opened = reader._open_source

        def open_file(self: Path, *arguments: Any, **options: Any) -> Any:
            if self.name == "denied.svs":
                raise PermissionError(13, "Permission denied")
            return really_open(self, *arguments, **options)

        def read(self: Slide, *arguments: Any) -> np.ndarray:
            if self.path.name == "growing.svs":
                with really_open(self.path, "ab") as file:
                    file.write(b"more")
            return really_read(self, *arguments)

        class Lost:
            def __init__(self, source: Any) -> None:
                self.__dict__.update({**source.__dict__, "close": source.close})

            def read(self, *_: Any) -> np.ndarray:
                raise OSError(116, "Stale file handle")

        def open_lost(path: Path) -> Any:
            storage.append(path.name)
            return Lost(opened(path)) if path.name == "lost.svs" else opened(path)

        patch.setattr(Path, "open", open_file)
        patch.setattr(Slide, "read_region", read)
        patch.setattr(reader, "_open_source", open_lost)
        patch.setattr("histokeras.slides.handle.PAUSES_S", [0.0, 0.0])
        # So that flat.tiff is a large one.
        patch.setattr("histokeras.slides.slide._PYRAMID_PX", 700 * 600)
        yield


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, faults: None) -> dict[str, Seen]:
    """The three commands over one folder that holds every row."""
    folder = tmp_path_factory.mktemp("cohort")
    write_cohort(folder)
    named = [folder / name for name in ("picture.png", "content.slide", "started.svs.partial")]
    spec = ("--tile-px", 128, "--mpp", 0.5)
    out = tmp_path_factory.mktemp("out")
    listed = call("slides", folder, *named, "--json")
    assert listed.exit_code == 4, listed.output
    rows = {row["slide"]: row for row in json.loads(listed.stdout)["slides"]}
    bad = {name: row for name, row in rows.items() if not row["readable"]}
    found = {"slides": Seen(listed, bad, rows)}
    texture = ("--backbone", "stain-texture")
    for name, command in (("tile", ("tile",)), ("extract", ("extract-features", *texture))):
        result = call(*command, folder, *named, "-o", out / name, *spec)
        table = pd.read_csv(out / name / "failures.csv", keep_default_na=False)
        record = json.loads((out / name / "run.json").read_text())
        found[name] = Seen(
            result,
            {row["slide"]: row for row in table.to_dict("records")},
            {row["slide"]: row for row in record["slides"]} | {"": {"folder": out / name}},
        )
    return found


@pytest.mark.parametrize("row", FAILS, ids=lambda row: f"{row.number}-{stem(row.file)}")
def test_a_bad_slide_has_its_code_and_says_what_and_where(row: Row, seen: dict[str, Seen]) -> None:
    name = stem(row.file)
    for command in COMMANDS:
        if command == "slides" and row.stage == "tile" and name != "lost":
            # A list does not read whole slides.
            assert seen[command].outcomes[name]["readable"]
            continue
        failure = seen[command].failures[name]
        assert (failure["code"], row.text in failure["message"]) == (row.code, True), failure
        # No folder of the user.
        assert "cohort" not in failure["message"]
    assert seen["tile"].failures[name]["stage"] == row.stage
    wanted = "empty" if row.code in ("NO_TISSUE", "NO_TILES") else "failed"
    for command in ("tile", "extract"):
        assert seen[command].outcomes[name]["outcome"] == wanted
        assert seen[command].failures[name]["hint"]


@pytest.mark.parametrize("row", DONE, ids=lambda row: f"{row.number}-{stem(row.file)[:20]!r}")
def test_an_odd_slide_is_done_and_says_what_is_odd(row: Row, seen: dict[str, Seen]) -> None:
    name = stem(row.file)
    assert seen["slides"].outcomes[name]["readable"]
    for command in ("tile", "extract"):
        outcome = seen[command].outcomes[name]
        assert (outcome["outcome"], outcome["tiles"] > 0) == ("done", True)
        notes = " ".join(outcome.get("notes", []))
        assert row.code in notes
        assert row.text in notes
        if not row.code:
            assert not notes


def test_the_cohort_goes_on_to_its_end_and_says_how_many_failed(seen: dict[str, Seen]) -> None:
    everything = {stem(row.file) for row in (*FAILS, *DONE)}
    for command in COMMANDS:
        assert seen[command].result.exit_code == 4, seen[command].result.output
        assert set(seen[command].outcomes) - {""} == everything
    for command in ("tile", "extract"):
        assert set(seen[command].failures) == {stem(row.file) for row in FAILS}


def test_storage_that_fails_is_tried_three_times_with_new_handles(
    seen: dict[str, Seen], storage: list[str]
) -> None:
    # Three commands, one read each, since the first that fails ends the slide.
    assert storage.count("lost.svs") == 3 * len(COMMANDS)
    assert seen["extract"].failures["lost"]["code"] == "IO_ERROR"


def test_output_names_lead_back_to_the_slide(seen: dict[str, Seen]) -> None:
    folder = seen["extract"].outcomes[""]["folder"]
    paths = list((folder / "features").glob("*.h5"))

    names = {original_name(path.stem): path for path in paths}

    # A name too long for a file system is cut: its file alone says whose it is.
    assert set(ODD) - {LONG} <= set(names)
    ids = {read_features(path).provenance["slide_id"] for path in paths}
    assert ids == {stem(row.file) for row in DONE}


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ("a.svs", "b/a.svs", "the id `a`: "),
        ("a.svs", "a.tif", "the id `a`: "),
        ("Case.svs", "case.svs", "case and the way an accent is written make no difference"),
        (f"{unicodedata.normalize('NFC', 'é')}.svs", f"{unicodedata.normalize('NFD', 'é')}.svs",
         "case and the way an accent is written make no difference"),
    ],
    ids=["26-folders", "26-suffixes", "25-case", "25-accents"],
)  # fmt: skip
@pytest.mark.parametrize("command", COMMANDS)
def test_twins_are_refused_before_any_work(
    command: str, first: str, second: str, text: str, tmp_path: Path
) -> None:
    for name in (first, second):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    words = {"extract": ["extract-features", "--backbone", "stain-texture"]}.get(command, [command])
    output = [] if command == "slides" else ["-o", tmp_path / "out"]

    result = call(*words, tmp_path / "in", "--recursive", *output)

    assert result.exit_code == 3
    assert text in result.stderr
    assert all(str(tmp_path / "in" / name) in result.stderr for name in (first, second))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["tile", "extract-features"])
def test_an_output_that_cannot_be_written_ends_it_before_any_work(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_svs(tmp_path / "a.svs", paint_slide(seed=1, size_px=(300, 300)))
    backbone = [] if command == "tile" else ["--backbone", "stain-texture"]

    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    def read(*_: Any) -> None:
        raise AssertionError("a slide was read")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Slide, "read_region", read)
    result = call(command, tmp_path / "a.svs", "-o", tmp_path / "out", *backbone)

    assert result.exit_code == 6, result.output
    assert f"cannot write {tmp_path / 'out'}" in result.stderr
    assert "Read-only file system" in result.stderr
