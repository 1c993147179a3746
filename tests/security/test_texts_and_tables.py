"""JSON, GeoJSON, TOML, CSV and Excel files of strangers: size, depth, entities, cells far out."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from histokeras.cohort.split_file import read_split
from histokeras.config import read_config
from histokeras.errors import HistokerasError, SlideError, TableError
from histokeras.foreign.text import parse_json
from histokeras.runs.record import read_record
from histokeras.slides import geojson
from histokeras.slides.geojson import fill_polygons, read_polygons
from histokeras.study.config import read_study
from histokeras.tables import read_table
from tests.security.conftest import SECRET, little_memory, zipped

Sparse = Callable[[str, bytes], Path]


@pytest.mark.parametrize(
    ("name", "start", "read", "code"),
    [
        ("run.json", b'{"a": "', lambda path: read_record(path.parent), "RECORD_DAMAGED"),
        ("s.geojson", b'{"type": "', read_polygons, "ANNOTATION_UNREADABLE"),
        ("splits.json", b'{"splits": "', read_split, "TABLE"),
        ("study.toml", b"a = '", lambda path: read_config(path, ()), "CONFIG_NOT_TOML"),
        ("labels.csv", b"patient_id,label\n", read_table, "TABLE_TOO_LARGE"),
        ("labels.xlsx", b"PK\x03\x04", read_table, "TABLE_TOO_LARGE"),
    ],
)
def test_500_mb_are_refused_before_they_are_read(
    name: str, start: bytes, read: Callable[[Path], object], code: str, sparse: Sparse
) -> None:
    path = sparse(name, start)

    with pytest.raises(HistokerasError) as caught, little_memory(2):
        read(path)

    assert caught.value.code == code
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("run.json", "[" * 200_000, lambda path: read_record(path.parent)),
        ("run.json", '{"a":' * 65 + "1" + "}" * 65, lambda path: read_record(path.parent)),
        ("s.geojson", "[" * 200_000, read_polygons),
        ("s.geojson", "[" * 900 + "]" * 900, read_polygons),
        ("splits.json", "[" * 200_000, read_split),
        ("study.toml", "a = " + "[" * 100_000, lambda path: read_config(path, ())),
        ("study.toml", "a = " + "9" * 10_000, lambda path: read_config(path, ())),
    ],
)
def test_nesting_and_digits_without_end_are_one_line(
    name: str, content: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")

    with pytest.raises(HistokerasError, match=name) as caught:
        read(tmp_path / name)

    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": NaN}', "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ('{"classes": [], "classes": [1]}', "'classes' stands twice"),
        ("9" * 5000, "digits"),
        ('{"a":' * 65 + "1" + "}" * 65, "64 deep"),
    ],
)
def test_json_that_programs_understand_differently_is_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_json(text)


def test_json_as_deep_as_allowed_is_read() -> None:
    text = '{"a":' * 63 + "[1]" + "}" * 63

    assert json.dumps(parse_json(text), separators=(",", ":")) == text


@pytest.mark.parametrize("content", [b"\xff\xfe{\x00}\x00", b'{"a": "\xff"}'])
def test_json_that_is_not_utf8_is_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(content)

    with pytest.raises(HistokerasError, match="is damaged") as caught:
        read_record(tmp_path)

    assert caught.value.code == "RECORD_DAMAGED"


def ring(n: int, height: float) -> np.ndarray:
    """A line that goes up and down."""
    return np.column_stack([np.linspace(0, 90, n), np.tile([0, height], n // 2)])


def test_a_polygon_of_endless_crossings_is_refused_before_it_is_drawn() -> None:
    with pytest.raises(SlideError, match="too often") as caught, little_memory():
        fill_polygons([(ring(40_000, 8192.0),)], (8192, 100), (1.0, 1.0))

    assert caught.value.code == "ANNOTATION_UNREADABLE"


def test_polygons_drawn_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    polygon = [(ring(60, 50.0), ring(14, 33.0))]
    whole = fill_polygons(polygon, (64, 100), (1.0, 1.0))

    monkeypatch.setattr(geojson, "_BLOCK_CROSSINGS", 70)

    assert whole.any()
    assert not whole.all()
    np.testing.assert_array_equal(fill_polygons(polygon, (64, 100), (1.0, 1.0)), whole)


@pytest.mark.parametrize("text", ["{out.__class__}", "{out:>1000000000}", "{out!r}"])
def test_a_placeholder_of_a_study_is_a_name_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    stage = f'[[study.stages]]\ncommand = "split"\n[study.stages.options]\nlabels = ["{text}"]\n'
    path.write_text(f"[study]\n{stage}", encoding="utf-8")

    with pytest.raises(HistokerasError, match="which is no input"):
        read_study(path, ("split",))


MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def workbook(path: Path, sheet: str) -> Path:
    """Write an .xlsx whose first sheet is any XML."""
    buffer = io.BytesIO()
    openpyxl.Workbook().save(buffer)
    with zipfile.ZipFile(buffer) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return zipped(path, {**members, "xl/worksheets/sheet1.xml": sheet.encode()})


def rows(inner: str, before: str = "", dimension: str = "A1:B2") -> str:
    return (
        f'<?xml version="1.0"?>{before}<worksheet {MAIN}><dimension ref="{dimension}"/>'
        f"<sheetData>{inner}</sheetData></worksheet>"
    )


def cell(place: str, text: str) -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


GOOD = (
    f'<row r="1">{cell("A1", "patient_id")}{cell("B1", "label")}</row>'
    f'<row r="2">{cell("A2", "P1")}{cell("B2", "1")}</row>'
)
LAUGHS = "<!DOCTYPE x [" + '<!ENTITY a "lol">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
) + "]>"  # fmt: skip


def test_a_plain_workbook_of_such_make_is_read(tmp_path: Path) -> None:
    table = read_table(workbook(tmp_path / "t.xlsx", rows(GOOD)))

    assert table.to_dict("list") == {"patient_id": ["P1"], "label": ["1"]}


def test_a_workbook_that_lies_about_its_size_is_read_as_it_is(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", rows(GOOD, dimension="A1:XFD1048576"))

    with little_memory():
        assert read_table(path).shape == (1, 2)


def test_a_workbook_with_entities_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(SECRET)
    outside = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{tmp_path}/secret.txt">]>'
    for before, use in ((LAUGHS, "&i;"), (outside, "&e;")):
        inner = GOOD.replace(">1<", f">{use}<")
        path = workbook(tmp_path / "t.xlsx", rows(inner, before))

        with pytest.raises(TableError, match="declares entities") as caught, little_memory():
            read_table(path)

        assert caught.value.code == "XML_UNSAFE"
        assert SECRET.decode() not in str(caught.value)


def test_cells_far_out_are_too_many(tmp_path: Path) -> None:
    far = "".join(f'<row r="{n}">{cell(f"XFD{n}", "x")}</row>' for n in range(3, 400))
    path = workbook(tmp_path / "t.xlsx", rows(GOOD + far))

    with pytest.raises(TableError, match="more than 5,000,000 cells") as caught, little_memory(90):
        read_table(path)

    assert caught.value.code == "TABLE_TOO_LARGE"


@pytest.mark.parametrize(
    ("members", "link", "message"),
    [
        ({"../../canary": b"x"}, "", "lies outside"),
        ({"/canary": b"x"}, "", "lies outside"),
        ({"xl/workbook.xml": b"/etc/passwd"}, "xl/workbook.xml", "is a link"),
        ({"xl/sharedStrings.xml": bytes(40 << 20)}, "", "inflates"),
    ],
)
def test_unsafe_workbooks_are_not_unpacked(
    members: dict[str, bytes], link: str, message: str, tmp_path: Path, canary: Path
) -> None:
    path = zipped(tmp_path / "labels.xlsx", members, link=link)

    with pytest.raises(TableError, match=message) as caught, little_memory():
        read_table(path)

    assert caught.value.code == "ARCHIVE_UNSAFE"


def test_a_zip_that_is_no_workbook_is_one_line(tmp_path: Path) -> None:
    path = zipped(tmp_path / "labels.xlsx", {"arr_0.npy": b"\x93NUMPY"})

    with pytest.raises(TableError, match="no readable Excel workbook"):
        read_table(path)
