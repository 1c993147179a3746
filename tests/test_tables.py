import datetime as dt
import io
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from histokeras.errors import LeakageError, TableError
from histokeras.tables import (
    find_column,
    read_table,
    require_columns,
    require_disjoint_patients,
    row_numbers,
    text_table,
    with_standard_columns,
)


def write(folder: Path, content: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_excel(folder: Path, rows: list[list[object]], **more: list[list[object]]) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    for title, other in more.items():
        extra = book.create_sheet(title)
        for row in other:
            extra.append(row)
    book.save(folder / "labels.xlsx")
    return folder / "labels.xlsx"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_any_usual_separator_line_end_and_bom_gives_the_same_table(
    tmp_path: Path, separator: str, line_end: str, bom: str
) -> None:
    rows = [["patient_id", "label"], ["001", "a"], ["1e5", "b"], ["SEPT2", "1,5"]]
    text = bom + line_end.join(
        separator.join(f'"{cell}"' if separator in cell else cell for cell in row) for row in rows
    )

    table = read_table(write(tmp_path, text))

    assert [list(table.columns), *table.to_numpy().tolist()] == rows


def test_every_spelling_of_a_missing_value_is_empty_text(tmp_path: Path) -> None:
    cells = ["NA", "N/A", "NaN", "nan", "null", "None", "", "  "]
    path = write(tmp_path, "id,label\n" + "".join(f"p{i},{c}\n" for i, c in enumerate(cells)))

    table = read_table(path)

    assert table["label"].tolist() == [""] * len(cells)
    assert table["id"].tolist() == [f"p{i}" for i in range(len(cells))]


def test_blanks_quotes_and_line_breaks_in_cells_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, 'id,label\n p1 ,"a ""b"", c"\n"p\n2",d\n')

    table = read_table(path)

    assert table.to_numpy().tolist() == [["p1", 'a "b", c'], ["p\n2", "d"]]


def test_comment_lines_above_the_header_are_kept_aside(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "# one, two, three\r\n# four\r\nid,label\r\n#1,a\r\n"))

    assert table.attrs["header"] == ("# one, two, three", "# four")
    assert table["id"].tolist() == ["#1"]
    assert row_numbers(table) == [4]


def test_row_numbers_are_those_of_the_file_even_past_empty_rows(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "id,label\np1,a\n\n,\np2,b\n"))

    assert table["id"].tolist() == ["p1", "p2"]
    assert row_numbers(table) == [2, 5]
    assert row_numbers(table.iloc[1:]) == [2]


def test_unnamed_empty_columns_go_and_an_unnamed_index_stays(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, ",id,label,,\n0,p1,a,,\n1,p2,b,NA,\n"))

    assert list(table.columns) == ["Unnamed: 0", "id", "label"]


def test_a_table_of_one_column_is_read(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "slide_id\na\nb\n"))["slide_id"].tolist() == ["a", "b"]


def test_a_header_without_rows_is_an_empty_table(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "id,label\n"))

    assert list(table.columns) == ["id", "label"]
    assert len(table) == 0
    assert row_numbers(table) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\np1,a\np2,b,c\n", r"row 3 has 3 column\(s\) where the header has 2"),
        ("id;label\np1;a\np2\n", r"row 3 has 1 column\(s\).*separator ';'"),
        ("id|label\np1|a\n", r"one column; it looks separated by '\|'"),
        ("id label\np1 a\n", "one column; it looks separated by blanks"),
        ("id\np1,a\n", r"row 2 has 2 column\(s\) where the header has 1"),
        ("id,label\np1,a,\np2,b\n", "row 2 has 3"),
        ("a,b;c\n1,2;3\n", "can be read with ',' and ';'"),
        ("id,id\n1,2\n", "two columns named `id`"),
        ('id,label\n"p1,a\n', "quotation mark that is never closed"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        (",,\n,,\n", "is empty"),
        ("# only a comment\n", "is empty"),
    ],
)
def test_what_is_no_table_is_refused_with_its_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message) as caught:
        read_table(write(tmp_path, text))

    assert "labels.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tabs_win_in_a_tsv_file(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "id\tlabel (0, 1)\np1\ta, b\n", "labels.tsv"))

    assert table.to_numpy().tolist() == [["p1", "a, b"]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_named(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(TableError, match=r"byte 0: the text is UTF-16.*Save it as UTF-8") as caught:
        read_table(write(tmp_path, "id,label\np1,a\n".encode(encoding)))

    assert caught.value.code == "LABELS_ENCODING"


def test_latin1_is_named_with_row_and_byte(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"row 3, byte 16 \(0xfc\): not UTF-8"):
        read_table(write(tmp_path, "id,label\np1,a\nüp2,b\n".encode("latin-1")[:14] + b"xx\xfc"))


def test_a_missing_file_offers_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path, "id\n1\n", "labels.csv")

    with pytest.raises(TableError, match=r"no such file.*Did you mean .*labels\.csv"):
        read_table(tmp_path / "label.csv")
    with pytest.raises(TableError, match="no such file"):
        read_table(tmp_path / "nowhere" / "labels.csv")
    with pytest.raises(TableError, match="is a folder"):
        read_table(tmp_path)


def test_excel_cells_read_as_a_person_sees_them(tmp_path: Path) -> None:
    path = write_excel(
        tmp_path,
        [
            ["patient_id", "label", "score", "date", "done"],
            ["001", 1.0, 1.5, dt.datetime(2024, 3, 1), True],
            [12, 0, None, dt.datetime(2024, 3, 1, 12, 30), False],
            ["#N/A", "NA", -49, dt.time(8), "x"],
        ],
    )

    table = read_table(path)

    assert table.to_numpy().tolist() == [
        ["001", "1", "1.5", "2024-03-01", "TRUE"],
        ["12", "0", "", "2024-03-01T12:30:00", "FALSE"],
        ["", "", "-49", "08:00:00", "x"],
    ]


def test_excel_zeros_of_the_number_format_stay(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["patient_id"])
    sheet.append([7])
    sheet["A2"].number_format = "000"
    book.save(tmp_path / "labels.xlsx")

    assert read_table(tmp_path / "labels.xlsx")["patient_id"].tolist() == ["007"]


def test_excel_notes_the_sheets_left_out_and_skips_empty_rows(tmp_path: Path) -> None:
    path = write_excel(tmp_path, [["id"], [], ["p1"]], notes=[["x"]], old=[["y"]])

    table = read_table(path)

    assert table["id"].tolist() == ["p1"]
    assert row_numbers(table) == [3]
    assert table.attrs["notes"] == ("read sheet 'Sheet'; left out: notes, old",)


def test_excel_formula_that_nobody_computed_is_refused(tmp_path: Path) -> None:
    path = write_excel(tmp_path, [["id", "label"], ["p1", "=1+1"]])

    with pytest.raises(TableError, match=r"row 2, column 2: the formula '=1\+1' has no stored"):
        read_table(path)


def test_excel_error_cell_is_refused(tmp_path: Path) -> None:
    path = write_excel(tmp_path, [["id", "label"], ["p1", "#REF!"]])

    with pytest.raises(TableError, match=r"row 2, column 2: the cell holds the error #REF!"):
        read_table(path)


def test_excel_whose_first_sheet_is_empty_names_the_others(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"first sheet, 'Sheet', is empty; there are also \['b'\]"):
        read_table(write_excel(tmp_path, [], b=[["id"], ["p1"]]))


def test_files_that_only_look_like_excel_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no readable Excel workbook"):
        read_table(write(tmp_path, b"PK\x03\x04 not a zip", "a.xlsx"))
    with pytest.raises(TableError, match=r"old Excel file.*Save it as \.xlsx"):
        read_table(write(tmp_path, b"\xd0\xcf\x11\xe0rest", "a.xls"))


def test_excel_and_csv_agree(tmp_path: Path) -> None:
    rows: list[list[object]] = [["# note"], ["patient_id", "label"], ["p1", "a"], ["p2", "b"]]
    csv = write(tmp_path, "# note\npatient_id,label\np1,a\np2,b\n")

    left, right = read_table(csv), read_table(write_excel(tmp_path, rows))

    pd.testing.assert_frame_equal(left, right)
    assert left.attrs == right.attrs


def test_text_table_brings_pandas_tables_into_the_same_form() -> None:
    table = pd.read_csv(io.StringIO("id,label,note\n1,1.0, x \n2,,NA\n"), index_col=False)
    table.index = [7, 7]

    text = text_table(table)

    assert text.to_numpy().tolist() == [["1", "1", "x"], ["2", "", ""]]
    assert text.index.tolist() == [0, 1]
    assert text_table(pd.DataFrame({"a": [None, pd.NA, pd.NaT, "None"]}))["a"].tolist() == [""] * 4


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        ("case_id", "patient_id"),
        ("PATIENT", "patient_id"),
        ("Patient", "patient_id"),
        ("Patient ID", "patient_id"),
        ("case_submitter_id", "patient_id"),
        ("submitter_id", "patient_id"),
        ("slide", "slide_id"),
        ("FILENAME", "slide_id"),
        ("wsi", "slide_id"),
        ("file_name", "slide_id"),
        ("category", "label"),
        ("Tile", "tile"),
        ("MPP", "mpp"),
    ],
)
def test_names_of_other_tools_are_found_without_case(column: str, wanted: str) -> None:
    table = pd.DataFrame({"other": ["x"], column: ["y"]})

    assert find_column(table, wanted) == column
    assert list(with_standard_columns(table, [wanted]).columns) == ["other", wanted]
    assert list(table.columns) == ["other", column]


def test_our_own_name_wins_over_an_alias() -> None:
    assert find_column(pd.DataFrame({"slide": ["1"], "slide_id": ["2"]}), "slide_id") == "slide_id"


def test_between_two_aliases_nothing_is_guessed() -> None:
    table = pd.DataFrame({"case_id": ["uuid"], "PATIENT": ["p1"]})

    with pytest.raises(TableError, match=r"\['case_id', 'PATIENT'\] could each be `patient_id`"):
        find_column(table, "patient_id")
    assert find_column(table.assign(PATIENT="uuid"), "patient_id") == "case_id"


def test_absent_columns_are_none_and_unknown_names_an_error() -> None:
    table = pd.DataFrame({"a": ["1"]})

    assert find_column(table, "patient_id") is None
    assert list(with_standard_columns(table, ["label"]).columns) == ["a"]
    with pytest.raises(ValueError, match="`wanted` must be one of"):
        find_column(table, "colour")


def test_missing_columns_are_named_with_the_nearest() -> None:
    table = pd.DataFrame({"patient_id": ["p"], "Labell": ["a"]})

    require_columns(table, ["patient_id"], name="cohort")
    with pytest.raises(TableError, match=r"cohort lacks column\(s\) \['label'\].*mean `Labell`"):
        require_columns(table, ["patient_id", "label"], name="cohort")


def test_a_patient_on_two_sides_is_a_leak() -> None:
    table = pd.DataFrame({"patient_id": ["p1", "p2", "p1"], "split": ["train", "val", "test"]})

    with pytest.raises(LeakageError, match=r"1 patient\(s\).*'p1'"):
        require_disjoint_patients(table)
    require_disjoint_patients(table.iloc[:2])


def test_real_tables_read(real_data: Path) -> None:
    tables = real_data / "tables"

    clinical = read_table(tables / "HMU-GC-Clinical.csv")
    scores = read_table(tables / "buffa_hypoxia_scores.csv")
    manifest = read_table(tables / "gdc_manifest_20170302_003611.txt")

    assert clinical.shape == (300, 15)
    assert find_column(clinical, "patient_id") == "Patient"
    assert any("\uff0c" in name for name in clinical.columns)
    assert clinical["Patient"].iloc[0] == "1600097"
    assert scores.shape == (7791, 5)
    assert scores["patient_id"].str.fullmatch(r"TCGA-..-....-\d").sum() == 60
    assert manifest.shape == (2167, 5)
    assert list(manifest.columns) == ["id", "filename", "md5", "size", "state"]


def test_na_names_a_slide_or_tile_and_is_a_gap_elsewhere(tmp_path: Path) -> None:
    path = write(tmp_path, "case_id,slide_id,tile,label\nNA,null,None,NA\n,nan,t,b\n")

    table = read_table(path)

    assert table.to_numpy().tolist() == [["", "null", "None", ""], ["", "nan", "t", "b"]]
    assert text_table(table).to_numpy().tolist() == table.to_numpy().tolist()
    assert text_table(pd.DataFrame({"Patient": [None, float("nan"), " "]}))["Patient"].eq("").all()
