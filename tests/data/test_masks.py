import dataclasses
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from histokeras.data.mask_choice import choose_decoding
from histokeras.data.mask_codes import read_codes
from histokeras.data.masks import MaskCoding, read_mask
from histokeras.errors import ConfigError, SlideError, TableError
from tests.data.pair_files import COLOURS, Codes, codes, save, save_palette, save_text, save_tiff

GREYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
FOUR = "a=0;b=1;c=2;d=3"
HEXES = "a=#ff0000;b=#00ff00;c=#0000ff;d=#ffff00"


def rgb(plane: Codes, at: int) -> np.ndarray:
    """The mask in one channel, noise in the others."""
    pixels = np.random.default_rng(9).integers(0, 256, (*plane.shape, 3)).astype(np.uint8)
    pixels[..., at] = plane
    return pixels


def with_alpha(plane: Codes, alpha: Codes) -> np.ndarray:
    return np.dstack([plane, plane, plane, alpha])


Write = Callable[[Path, Codes], Path]
BINARY: dict[str, tuple[Write, MaskCoding]] = {
    "0 and 1": (lambda f, m: save(f / "a.png", m), MaskCoding()),
    "0 and 255": (lambda f, m: save(f / "a.png", m * 255), MaskCoding()),
    "bits": (lambda f, m: save(f / "a.png", m.astype(bool)), MaskCoding()),
    "16 bits": (lambda f, m: save(f / "a.png", m.astype(np.uint16) * 65535), MaskCoding()),
    "grey as RGB": (lambda f, m: save(f / "a.png", m * 255, "RGB"), MaskCoding()),
    "opaque": (lambda f, m: save(f / "a.png", with_alpha(m * 255, m * 0 + 255)), MaskCoding()),
    "black and white palette": (
        lambda f, m: save_palette(f / "a.png", m, GREYS[[0, 255]]), MaskCoding()),
    "grey palette": (lambda f, m: save_palette(f / "a.png", m * 255, GREYS), MaskCoding()),
    "palette": (
        lambda f, m: save_palette(f / "a.png", m, COLOURS), MaskCoding(kind="palette")),
    "another value": (lambda f, m: save(f / "a.png", m * 128), MaskCoding(kind="binary")),
    "green channel": (lambda f, m: save(f / "a.png", rgb(m * 255, 1)), MaskCoding(kind="channel")),
    "blue channel, 127 and 128": (
        lambda f, m: save(f / "a.png", rgb(m + 127, 2)), MaskCoding(kind="channel", channel=2)),
    "alpha": (
        lambda f, m: save(f / "a.png", with_alpha(m * 0 + 9, m * 255)), MaskCoding(kind="alpha")),
    "grey with alpha": (
        lambda f, m: save(f / "a.png", np.dstack([m * 0, m * 200])), MaskCoding(kind="alpha")),
    "soft, 8 bits": (
        lambda f, m: save(f / "a.png", m * 100 + 100), MaskCoding(kind="soft", threshold=0.6)),
    "soft, 16 bits": (
        lambda f, m: save(f / "a.png", m.astype(np.uint16) * 40000 + 9), MaskCoding(kind="soft")),
    "soft, floats": (
        lambda f, m: save_tiff(f / "a.tif", (m * 0.5 + 0.3).astype(np.float32)),
        MaskCoding(kind="soft")),
    "tiled TIFF": (lambda f, m: save_tiff(f / "a.tif", m * 255, tile=(16, 16)), MaskCoding()),
    "bits in a TIFF": (
        lambda f, m: save_tiff(f / "a.tif", m.astype(bool), photometric="minisblack"),
        MaskCoding()),
    "0 shown as white": (
        lambda f, m: save_tiff(f / "a.tif", m * 255, photometric="miniswhite"),
        MaskCoding(kind="binary")),
    "separate planes": (
        lambda f, m: save_tiff(
            f / "a.tif", np.stack([m * 255] * 3), planarconfig="separate", photometric="rgb"),
        MaskCoding()),
    "palette TIFF": (
        lambda f, m: save_tiff(f / "a.tif", m, photometric="palette",
                               colormap=GREYS.T.astype(np.uint16) * 257), MaskCoding()),
    "JPEG in a TIFF": (
        lambda f, m: save_tiff(f / "a.tif", m * 255, compression="jpeg"), MaskCoding(kind="soft")),
    "matrix": (lambda f, m: save_text(f / "a.txt", m), MaskCoding()),
    "matrix with commas": (lambda f, m: save_text(f / "a.csv", m * 255, ","), MaskCoding()),
    "matrix with tabs": (lambda f, m: save_text(f / "a.tsv", m, "\t"), MaskCoding()),
    "matrix of fractions": (lambda f, m: save_text(f / "a.txt", m * 0.7), MaskCoding(kind="soft")),
    "matrix of whole shares": (lambda f, m: save_text(f / "a.txt", m), MaskCoding(kind="soft")),
    "one code": (
        lambda f, m: save(f / "a.png", m * 4), MaskCoding(codes=read_codes("foreground=4"))),
    "colour against all": (
        lambda f, m: save(f / "a.png", COLOURS[m]),
        MaskCoding(codes=read_codes("foreground=#00FF00"))),
    "white bits": (
        lambda f, m: save(f / "a.png", m.astype(bool)),
        MaskCoding(codes=read_codes("foreground=#ffffff"))),
    "0, 1 and 255 as none": (lambda f, m: save(f / "a.png", m), MaskCoding(ignore=(255,))),
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_however_a_mask_is_written_it_reads_the_same(name: str, tmp_path: Path) -> None:
    truth = codes(3, (48, 64))
    if name == "JPEG in a TIFF":
        # Whole blocks survive JPEG.
        truth = np.kron(codes(3, (3, 4)), np.ones((16, 16), np.uint8))
    write, coding = BINARY[name]
    path = write(tmp_path, truth)

    found = choose_decoding([path], coding).decoding

    assert found.classes == ("background", "foreground")
    np.testing.assert_array_equal(read_mask(path, found), truth)


@pytest.mark.parametrize(
    ("write", "coding"),
    [
        (lambda f, m: save(f / "a.png", m), MaskCoding(codes=read_codes(FOUR))),
        (lambda f, m: save_text(f / "a.txt", m), MaskCoding(codes=read_codes(FOUR))),
        (
            lambda f, m: save_text(f / "a.txt", np.where(m == 3, -1, m.astype(int))),
            MaskCoding(codes=read_codes("a=0;b=1;c=2;d=6,-1")),
        ),
        (lambda f, m: save(f / "a.png", COLOURS[m]), MaskCoding(codes=read_codes(HEXES))),
        (
            lambda f, m: save_palette(f / "a.png", m, COLOURS),
            MaskCoding(kind="colours", codes=read_codes(HEXES)),
        ),
        (
            lambda f, m: save_palette(f / "a.png", m, COLOURS[::-1]),
            MaskCoding(kind="palette", codes=read_codes(FOUR)),
        ),
        (
            lambda f, m: save_tiff(f / "a.tif", m.astype(np.uint16) * 1000),
            MaskCoding(codes=read_codes("a=0;b=1000;c=2000;d=3000")),
        ),
    ],
)
def test_four_classes_read_the_same_from_codes_and_colours(
    write: Write, coding: MaskCoding, tmp_path: Path
) -> None:
    truth = codes(5, n=4)
    path = write(tmp_path, truth)

    found = choose_decoding([path], coding).decoding

    assert found.classes == ("a", "b", "c", "d")
    np.testing.assert_array_equal(read_mask(path, found), truth)


def test_ignored_values_have_no_class(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 1, 255]], np.uint8))

    found = choose_decoding([path], MaskCoding(ignore=(255,))).decoding

    assert read_mask(path, found).tolist() == [[0, 1, 255]]


def test_masks_are_judged_together(tmp_path: Path) -> None:
    """An empty mask and a full one tell nothing alone."""
    empty = save(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    full = save(tmp_path / "b.png", np.full((4, 4), 255, np.uint8))

    found = choose_decoding([empty, full], MaskCoding()).decoding

    assert read_mask(full, found).tolist() == [[1] * 4] * 4
    assert not read_mask(empty, found).any()


ASKED: dict[str, tuple[list[Write], str]] = {
    "0 and 2": (
        [lambda f, m: save(f / "a.png", m * 2)], r"holds the values 0, 2\. Say .*foreground=2"),
    "0, 1, 2": ([lambda f, m: save(f / "a.png", codes(n=3))], r"0, 1, 2\. Say .*--mask-codes"),
    "codes with 255": (
        [lambda f, m: save(f / "s1/mask.png", np.array([[0, 1, 2, 255]], np.uint8))],
        r"`s1/mask\.png` holds .*\"foreground=2\" for .*; and --mask-ignore 255 if that is no"),
    "1 and 255 in one": (
        [lambda f, m: save(f / "a.png", np.array([[0, 1, 255]], np.uint8))],
        r"0, 1, 255\. Give --mask-ignore 255"),
    "1 in one, 255 in another": (
        [lambda f, m: save(f / "a.png", m), lambda f, m: save(f / "b.png", m * 255)],
        r"`a\.png` holds the values 0, 1, `b\.png` the values 0, 255\. Give --mask-ignore"),
    "grey levels": (
        [lambda f, m: save(f / "a.png", np.arange(256, dtype=np.uint8)[None])],
        r"and more, up to 255\. That looks like grey levels in between: give --mask-coding soft"),
    "JPEG": (
        [lambda f, m: save(f / "a.jpg", m * 255)], "JPEG, which blurs edges: give"),
    "colour JPEG": ([lambda f, m: save(f / "a.jpg", COLOURS[m])], "is a JPEG with three channels"),
    "channels": (
        [lambda f, m: save(f / "a.png", rgb(m, 1))], r"channels that differ\. Give --mask-coding"),
    "palette": (
        [lambda f, m: save_palette(f / "a.png", m, COLOURS)],
        "palette whose colours are not its numbers"),
    "palette of grey codes": (
        [lambda f, m: save_palette(f / "a.png", m, GREYS[[0, 128]])],
        "palette whose colours are not its numbers"),
    "alpha": (
        [lambda f, m: save(f / "a.png", with_alpha(m, m * 255))], "alpha channel that varies"),
    "0 shown as white": (
        [lambda f, m: save_tiff(f / "a.tif", m * 255, photometric="miniswhite")],
        r"0 is shown as white.*Give --mask-coding binary"),
    "fractions": (
        [lambda f, m: save_tiff(f / "a.tif", m * np.float32(0.5))],
        r"holds fractions\. Give --mask-coding soft"),
    "numbered objects": (
        [lambda f, m: save(f / "a.png", np.arange(300, dtype=np.uint16)[None])],
        r"number single objects, give --mask-codes .foreground=\*;background=0"),
    "all 1": ([lambda f, m: save(f / "a.png", m * 0 + 1)], r"nothing but 1: is that foreground"),
    "all 255": ([lambda f, m: save(f / "a.png", m * 0 + 255)], "nothing but 255"),
    "minus one": (
        [lambda f, m: save_text(f / "a.txt", m.astype(int) * 2 - 1)], "the values -1, 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_what_may_be_read_in_two_ways_is_asked(name: str, tmp_path: Path) -> None:
    writes, message = ASKED[name]
    paths = [write(tmp_path, codes()) for write in writes]

    with pytest.raises(ConfigError, match=message) as caught:
        choose_decoding(paths, MaskCoding())

    assert caught.value.code == "MASK_AMBIGUOUS"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pixels", "coding", "message"),
    [
        (codes() * 0, MaskCoding(), r"none of 1 mask\(s\) has a pixel other than 0"),
        (codes(), MaskCoding(kind="soft"), "has a pixel above 0.5 of full white"),
        (codes(), MaskCoding(kind="alpha"), r"`a\.png` has no alpha channel"),
        (COLOURS[codes()], MaskCoding(kind="binary"), "is coloured, unlike"),
        (COLOURS[codes()], MaskCoding(kind="palette"), "is coloured without a palette"),
        (
            codes(n=4),
            MaskCoding(codes=read_codes("a=0;b=1;c=2")),
            r"`a\.png`: \d+ px have the value 3, .*--mask-ignore 3",
        ),
        (
            COLOURS[codes(n=4)],
            MaskCoding(codes=read_codes("a=#ff0000;b=#00ff00;c=#0000ff")),
            r"px have the colour #ffff00, which means no class",
        ),
        (codes(), MaskCoding(codes=read_codes("a=0;b=1"), group="x=a"), "nothing to be told"),
    ],
)
def test_masks_that_contradict_what_is_said_are_refused(
    pixels: np.ndarray, coding: MaskCoding, message: str, tmp_path: Path
) -> None:
    path = save(tmp_path / "a.png", pixels)

    with pytest.raises((TableError, ConfigError), match=message):
        choose_decoding([path], coding)


def test_shares_of_full_white_are_not_guessed(tmp_path: Path) -> None:
    soft = MaskCoding(kind="soft")
    faint = save_text(tmp_path / "a.txt", codes())
    strong = save_text(tmp_path / "b.txt", codes() * 255)
    floats = save_tiff(tmp_path / "c.tif", codes() * np.float32(100.5))

    with pytest.raises(ConfigError, match=r"`a\.txt` holds no number above 1, `b\.txt` numbers up"):
        choose_decoding([faint, strong], soft)
    with pytest.raises(TableError, match=r"`c\.tif` holds fractions up to 100\.5; shares of full"):
        choose_decoding([floats], soft)


def test_one_class_in_all_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", codes() * 0 + 2)

    with pytest.raises(TableError, match=r"the masks hold 1 class\(es\) \(c\)"):
        choose_decoding([path], MaskCoding(codes=read_codes(FOUR)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "grey"}, "--mask-coding` is one of"),
        ({"kind": "codes"}, "needs to know what they mean"),
        ({"channel": 3}, "0 .red., 1 .green. or 2"),
        ({"threshold": 1.0}, "share of full white"),
        ({"kind": "soft", "ignore": (255,)}, "soft` cuts masks at a threshold: they have no codes"),
    ],
)
def test_impossible_codings_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MaskCoding(**given)  # type: ignore[arg-type]


def bomb(path: Path) -> Path:
    """A PNG whose header says 60,000 x 60,000 px."""
    save(path, np.zeros((8, 8), np.uint8))
    data = bytearray(path.read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: bomb(f / "a.png"), "too large to be decoded whole"),
        (lambda f: written(f / "a.png", b"nothing"), "`a.png` cannot be read"),
        (lambda f: written(f / "a.tif", b"II*\0\x08\0\0\0\xff\xff"), "`a.tif` cannot be read"),
        (lambda f: written(f / "a.txt", b"0 1\n0\n"), "`a.txt` cannot be read"),
        (lambda f: written(f / "a.txt", b"0 nan\n0 1\n"), "not finite"),
        (lambda f: written(f / "a.txt", b""), "no row of numbers"),
        (lambda f: written(f / "a.txt", b"label,code\n0,1\n"), "`a.txt` cannot be read"),
        (lambda f: written(f / "a.txt", b"\0" * 4096), "`a.txt` cannot be read"),
        (lambda f: save_tiff(f / "a.tif", np.full((4, 4), np.nan, np.float32)), "not finite"),
        (lambda f: f / "none.png", "No such file"),
    ],
)
def test_hostile_files_are_refused_in_one_line(
    make: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    path = make(tmp_path)

    with pytest.raises(SlideError, match=message) as caught:
        choose_decoding([path], MaskCoding())

    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_matrix_that_is_too_long_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("histokeras.data.mask_files.MAX_TEXT_BYTES", 1 << 10)
    path = save_text(tmp_path / "a.txt", codes())

    with pytest.raises(SlideError, match="larger than"):
        choose_decoding([path], MaskCoding())


def test_a_cut_tiff_is_refused(tmp_path: Path) -> None:
    path = save_tiff(tmp_path / "a.tif", codes(shape=(64, 64)), compression="zlib", tile=(16, 16))
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(SlideError, match="cannot be read"):
        choose_decoding([path], MaskCoding())


def test_a_large_tiff_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)

    with pytest.raises(SlideError, match="50 x 40 px and must be decoded whole"):
        choose_decoding([save_tiff(tmp_path / "a.tif", codes())], MaskCoding())


def test_of_a_large_pyramid_a_coarser_level_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = np.kron(codes(shape=(4, 8)), np.ones((16, 16), np.uint8))
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(truth, tile=(16, 16), subifds=1)
        writer.write(truth[::2, ::2], tile=(16, 16), subfiletype=1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", truth.size - 1)

    found = choose_decoding([path], MaskCoding())

    assert found.sizes == ((64, 32),)
    np.testing.assert_array_equal(read_mask(path, found.decoding), truth[::2, ::2])


def test_groups_of_a_mask_without_classes_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", codes())

    with pytest.raises(ConfigError, match="no classes but background and foreground"):
        choose_decoding([path], MaskCoding(group="necrosis"))


def test_numbered_objects_are_foreground_where_that_is_said(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.arange(300, dtype=np.uint16)[None])

    found = choose_decoding([path], MaskCoding(codes=read_codes("nuclei=*;background=0"))).decoding

    assert (found.classes, found.positive) == (("background", "nuclei"), "nuclei")
    assert read_mask(path, found).sum() == 299


def test_a_decision_can_be_written_down(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", codes())
    decision = dataclasses.asdict(choose_decoding([path], MaskCoding()).decoding)

    assert json.loads(json.dumps(decision))["numbers"] == [[0, 0], [1, 1]]
