"""Tables and configs as people send them: each is refused before any work, or read as it was meant.

Tested elsewhere in this form: UTF-16 and latin-1 as such (tests/test_tables.py), signed split files
that were changed (tests/cohort/test_split_file.py), patients on two sides of any kind of split file
(tests/cohort/test_split_table.py), Excel's own cells (tests/test_tables.py), row 45, times and
events of survival (tests/cohort/test_clinical.py).
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from histokeras.cells import plain_cell, safe_cell
from histokeras.cli.main import main
from histokeras.cohort.join import join_labels
from histokeras.cohort.labels import read_cohort
from histokeras.cohort.sides import require_learnable
from histokeras.cohort.split_file import read_split, write_split
from histokeras.cohort.split_table import Split
from histokeras.errors import TableError
from histokeras.files import write_csv
from histokeras.tables import read_own, read_table

GOOD = "patient_id,label\n" + "".join(f"p{n:02d},{'ab'[n % 2]}\n" for n in range(20))


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def split(folder: Path, content: str | bytes, *more: str) -> Result:
    """Split a table; the output would be the folder ``out``."""
    data = content.encode() if isinstance(content, str) else content
    (folder / "labels.csv").write_bytes(data)
    words = more if "--target" in more else ("--target", "label", *more)
    return call("split", "--labels", folder / "labels.csv", "-o", folder / "out/split.csv", *words)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(), id="36 BOM, CRLF"),
        pytest.param(GOOD.replace(",", ";"), id="37 semicolon"),
        pytest.param(GOOD.replace(",", "\t"), id="37 tab"),
        pytest.param(GOOD + "p00,a\n", id="39 same label twice"),
    ],
)
def test_what_is_meant_is_read(tmp_path: Path, content: str | bytes) -> None:
    result = split(tmp_path, content)

    assert result.exit_code == 0, result.output
    assert len(read_split(tmp_path / "out/split.csv").table) == 20


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        pytest.param(GOOD.encode("utf-16"), (), "row 1, byte 0: the text is UTF-16",
            id="36 UTF-16"),
        pytest.param(
            GOOD.encode() + b"M\xfcller,a\n", (), "row 22, byte 138 (0xfc)", id="36 latin-1"
        ),
        pytest.param(GOOD.replace(",", "|"), (), "it looks separated by '|'", id="37 other"),
        pytest.param("patient_id\np1;a\n", (),
            "row 2 has 2 column(s) where the header has 1 (separator ';')", id="37 one column"),
        pytest.param(
            "patient_id;label\n" + "".join(f"p{n};{n},5\n" for n in range(20)),
            ("--task", "regression"), "Write a decimal point, not a comma", id="37 decimal comma",
        ),
        pytest.param(GOOD, ("--target", "lable"), "Did you mean `label`?", id="38 near miss"),
        pytest.param(
            GOOD.replace("patient_id", "patientid"), (), "it has ['patientid', 'label']",
            id="38 missing column",
        ),
        pytest.param(
            GOOD + "p00,b\n", (), "'p00' is 'a' (row 2) and 'b' (row 22)", id="39 conflict"
        ),
        pytest.param(
            GOOD + "q1,NA\n", ("--strict",), "1 of 21 rows cannot be used: row 22: 'q1': no label",
            id="40 strict",
        ),
        pytest.param(GOOD.replace(",b", ",a"), (), "only the class 'a'", id="41 one class"),
        pytest.param(
            GOOD + "q1,c\n", ("--cv", "5"), "patients per class: a: 10, b: 10, c: 1",
            id="41 fewer than folds",
        ),
    ],
)  # fmt: skip
def test_a_cohort_that_cannot_be_split_stops_before_any_work(
    tmp_path: Path, content: str | bytes, more: tuple[str, ...], message: str
) -> None:
    result = split(tmp_path, content, *more)

    assert result.exit_code == 3, result.output
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("n_lost", "red"), [(4, False), (8, True)])
def test_rows_without_label_are_listed_and_warned_of_above_a_fifth(
    tmp_path: Path, n_lost: int, red: bool
) -> None:
    result = split(tmp_path, GOOD + "".join(f"q{n},\n" for n in range(n_lost)) + "p00,a\n")

    assert result.exit_code == 0
    assert f"{n_lost} of {21 + n_lost} rows left out: no label" in result.stderr
    assert "row 22: 'q0': no label" in result.stderr
    assert ("Warning: 28% of the rows have no label" in result.stderr) == red


def labelled(sides: str) -> tuple[pd.DataFrame, Split]:
    """Units of classes a and b in turn, and their split: t, v, e for train, val, test."""
    names = [f"p{n}" for n in range(len(sides))]
    word = {"t": "train", "v": "val", "e": "test"}
    units = pd.DataFrame({"patient_id": names, "label": list("ab" * len(names))[: len(names)]})
    table = pd.DataFrame({"patient_id": names, "split": [word[side] for side in sides]})
    return units, Split(table)


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ("tvtete", r"no class\(es\) b in train \(patients: train a 3, b 0; val a 0, b 1; test"),
        ("ttvtet", r"class\(es\) b are in train alone"),
        ("tttete", "nobody is in val"),
    ],
)
def test_a_class_on_one_side_alone_is_refused_with_the_counts(sides: str, message: str) -> None:
    with pytest.raises(TableError, match=message) as caught:
        require_learnable(*labelled(sides), "classification")

    assert caught.value.code == "SPLIT_IMPOSSIBLE"


def test_sides_with_all_classes_pass() -> None:
    require_learnable(*labelled("ttvvee"), "classification")


def test_labels_and_slides_that_miss_each_other_are_listed(tmp_path: Path) -> None:
    labels = pd.DataFrame({"slide_id": ["s1", "s2", "ghost"], "patient_id": ["p1", "p2", "p3"]})
    units = pd.DataFrame({"slide_id": ["s1", "s2", "s9"]})

    joined = join_labels(units, read_cohort(labels.assign(label=["a", "b", "a"])))

    assert joined.dropped.to_numpy().tolist() == [
        ["slide", "ghost", "labelled, but no slide with features"],
        ["slide", "s9", "no label"],
    ]


@pytest.mark.parametrize(
    ("key", "code", "message"),
    [
        ("slide_id", "NO_OVERLAP", "`slide_id` in the table looks like 'TCGA-AA-0000'"),
        ("patient_id", "ID_RULE", "TCGA barcodes; of the slides 0 of 2 are named by one"),
    ],
)
def test_labels_of_which_none_fits_show_both_sides(key: str, code: str, message: str) -> None:
    cohort = read_cohort(pd.DataFrame({key: ["TCGA-AA-0000", "TCGA-AA-0001"], "label": ["a", "b"]}))

    with pytest.raises(TableError) as caught:
        join_labels(pd.DataFrame({"slide_id": ["case1", "case2"]}), cohort)

    assert caught.value.code == code
    assert message in caught.value.message


def test_ids_that_excel_would_change_stay_text(tmp_path: Path) -> None:
    names = ["001", "1", "1E5", "SEPT2", "2-Sep", "100000"]
    rows = "".join(f"{name},{'ab'[n % 2]}\n" for n, name in enumerate(names))

    result = split(tmp_path, GOOD + rows)

    assert result.exit_code == 0
    assert set(names) < set(read_split(tmp_path / "out/split.csv").table["patient_id"])


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('tile_tabel = "x"', 3, "unknown key 'tile_tabel' in [extract-features]. Did you mean "
         "'tile_table'?"),
        ('tile-px = "big"', 3, "`tile_px` in [extract-features]: 'big' is not a valid integer"),
        ("tile-px = [1, 2]", 3, "`tile_px` in [extract-features] is of the wrong type"),
        ("tile-px = true", 3, "`tile_px` in [extract-features] is of the wrong type"),
        ("tile-px = {a = 1}", 3, "`tile_px` in [extract-features] is of the wrong type"),
        ("seed = 1\nseed = 2", 4, "is not TOML: Cannot overwrite a value (at line 4"),
        ("size_px = 1\npatch_size = 2", 4, "means the same as another key"),
        ("tile-px = __import__('os')", 3, "is not TOML: Invalid value (at line 3"),
    ],
)  # fmt: skip
def test_a_config_is_refused_with_the_line(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f"# first\n[extract-features]\n{text}\n")

    result = call("extract-features", tmp_path, "-o", tmp_path / "out", "--config", config)

    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert f"line {line}" in result.stderr
    assert not (tmp_path / "out").exists()


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\tx", "\rx", " =1", "-1-A",
            "\uff1d1", "'=1", "''@x"]  # fmt: skip


@pytest.mark.parametrize("text", [*FORMULAS, "plain", "'quoted'", "-2.5", "+7", "-", "1e-3", ""])
def test_a_formula_is_written_with_an_apostrophe_and_read_back(text: str) -> None:
    assert plain_cell(safe_cell(text)) == text
    assert (safe_cell(text) != text) == (text in FORMULAS)


@pytest.mark.parametrize("read", [read_table, lambda path: read_own(path, dtype=str)])
def test_a_table_of_formulas_survives_writing(
    tmp_path: Path, read: Callable[[Path], pd.DataFrame]
) -> None:
    table = pd.DataFrame({"slide_id": FORMULAS, "=x": "a", "n": -1.5})

    write_csv(tmp_path / "t.csv", table)

    cells = pd.read_csv(tmp_path / "t.csv", dtype=str)
    assert all(cell.startswith("'") for cell in cells["slide_id"])
    assert cells["n"].tolist() == ["-1.5"] * len(FORMULAS)
    found = read(tmp_path / "t.csv")
    assert list(found) == ["slide_id", "=x", "n"]
    assert found["slide_id"].tolist() == FORMULAS


def test_a_split_of_formulas_is_safe_and_still_signed(tmp_path: Path) -> None:
    made = Split(pd.DataFrame({"patient_id": ["-2+3", "=1"], "split": ["train", "val"]}), seed=0)

    write_split(tmp_path / "s.csv", made)
    found = read_split(tmp_path / "s.csv")

    assert "\n'-2+3,train\n'=1,val\n" in (tmp_path / "s.csv").read_text()
    assert found.signed
    assert found.table["patient_id"].tolist() == ["-2+3", "=1"]
