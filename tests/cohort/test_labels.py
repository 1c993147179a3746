from pathlib import Path

import pandas as pd
import pytest

from histokeras.cohort.labels import find_target, read_cohort
from histokeras.errors import TableError


def frame(columns: str, *rows: str) -> pd.DataFrame:
    return pd.DataFrame([row.split(",") for row in rows], columns=columns.split(","))


@pytest.mark.parametrize(
    ("columns", "level"),
    [
        ("patient_id,label", "patient"),
        ("PATIENT,label", "patient"),
        ("case_id,slide_id,label", "slide"),
        ("FILENAME,label", "slide"),
        ("tile,slide_id,patient_id,label", "tile"),
    ],
)
def test_the_finest_key_column_is_the_level(columns: str, level: str) -> None:
    n_keys = columns.count(",")
    rows = [",".join([f"k{i}"] * n_keys + [label]) for i, label in enumerate("ab")]

    cohort = read_cohort(frame(columns, *rows))

    assert cohort.level == level
    assert cohort.key in cohort.table.columns
    assert cohort.classes == ("a", "b")


def test_level_can_be_chosen() -> None:
    table = frame("patient_id,slide_id,label", "p1,s1,a", "p1,s2,a", "p2,s3,b")

    cohort = read_cohort(table, level="patient")

    assert cohort.table["patient_id"].tolist() == ["p1", "p2"]
    assert cohort.dropped.to_numpy().tolist() == [[3, "p1", "duplicate of row 2"]]
    with pytest.raises(ValueError, match="`level` must be one of"):
        read_cohort(table, level="case")
    with pytest.raises(TableError, match="no `tile` column"):
        read_cohort(table, level="tile")


def test_an_empty_key_column_does_not_count() -> None:
    assert read_cohort(frame("tile,patient_id,label", ",p1,a", ",p2,b")).level == "patient"


def test_every_dropped_row_is_listed_with_its_row_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("patient_id,label\np1,a\np2,NA\n\n,b\np1,a\np3, b \np4,\n")

    cohort = read_cohort(path)

    assert cohort.table[["patient_id", "label"]].to_numpy().tolist() == [["p1", "a"], ["p3", "b"]]
    assert cohort.dropped.to_numpy().tolist() == [
        [3, "p2", "no label"],
        [5, "", "no patient_id"],
        [6, "p1", "duplicate of row 2"],
        [8, "p4", "no label"],
    ]
    assert cohort.notes == (
        "2 of 6 rows left out: no label",
        "1 of 6 rows left out: no patient_id",
        "1 of 6 rows left out: duplicate",
    )
    assert cohort.listed["patient_id"].tolist() == ["p1", "p2", "p3", "p4"]


def test_conflicting_labels_are_an_error_with_their_rows() -> None:
    table = frame("patient_id,label", "p1,a", "p2,b", "p1,b")

    with pytest.raises(TableError, match=r"'p1' is 'a' \(row 2\) and 'b' \(row 4\)") as caught:
        read_cohort(table)
    assert caught.value.code == "LABELS_CONFLICT"


def test_two_folders_with_one_slide_name_are_one_slide() -> None:
    with pytest.raises(TableError, match="'s1' is 'a'"):
        read_cohort(frame("slide_id,label", "x/s1.svs,a", "y/s1.tif,b"))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["1.0", "0", "1", "0.0"], ("0", "1")),
        (["0", "1", "0", "1"], ("0", "1")),
        (["01", "02", "01", "02"], ("01", "02")),
        (["1,0", "2,0", "1", "2"], ("1", "2")),
        (["1.0", "x", "1", "x"], ("1", "1.0", "x")),
        (["1.5", "2.0", "1.5", "2.0"], ("1.5", "2.0")),
        (["10", "9", "9", "9"], ("10", "9")),
    ],
)
def test_whole_numbers_are_one_class_however_written(
    labels: list[str], classes: tuple[str, ...]
) -> None:
    table = pd.DataFrame({"patient_id": ["p1", "p2", "p3", "p4"], "label": labels})

    assert read_cohort(table).classes == classes


def test_pandas_numbers_are_labels_too() -> None:
    table = pd.DataFrame({"patient_id": [1, 2, 3], "label": [0.0, 1.0, None]})

    cohort = read_cohort(table)

    assert cohort.table.to_numpy().tolist() == [["1", "0"], ["2", "1"]]
    assert table["label"].dtype == float


def test_a_missing_target_lists_the_columns_and_the_nearest() -> None:
    table = frame("patient_id,Hypoxia", "p1,a", "p2,b")

    with pytest.raises(TableError, match=r"no column `hypoxa`.*Did you mean `Hypoxia`"):
        read_cohort(table, target="hypoxa")
    with pytest.raises(TableError, match="Name one of these"):
        read_cohort(table)
    assert read_cohort(table, target="hypoxia").target == "Hypoxia"
    assert find_target(frame("id,category", "p1,a"), "label") == "category"


def test_another_target_replaces_the_label_column() -> None:
    table = frame("patient_id,label,grade", "p1,a,1", "p2,b,2")

    cohort = read_cohort(table, target="grade")

    assert cohort.table["label"].tolist() == ["1", "2"]
    assert cohort.target == "grade"


@pytest.mark.parametrize("rows", [("p1,a", "p2,a"), ("p1,", "p2,NA")])
def test_less_than_two_classes_is_an_error(rows: tuple[str, ...]) -> None:
    with pytest.raises(TableError, match="at least two classes") as caught:
        read_cohort(frame("patient_id,label", *rows))
    assert caught.value.code == "SPLIT_IMPOSSIBLE"


def test_a_table_without_key_column_is_an_error() -> None:
    with pytest.raises(TableError, match=r"Did you mean `patientid` to be `patient_id`"):
        read_cohort(frame("patientid,label", "p1,a", "p2,b"))
    with pytest.raises(TableError, match="Rename the key column"):
        read_cohort(frame("zz,label", "p1,a", "p2,b"))


def test_a_slide_or_tile_with_two_patients_is_an_error_naming_both() -> None:
    with pytest.raises(TableError, match=r"'s1': 'p1' \(row 2\) and 'p2' \(row 3\)"):
        read_cohort(frame("slide_id,patient_id,label", "s1,p1,a", "s1,p2,a", "s2,p2,b"))
    tiles = frame("tile,slide_id,patient_id,label", "t1,s1,p1,a", "t2,s1,p2,b")
    with pytest.raises(TableError, match="1 slide"):
        read_cohort(tiles)


def test_a_table_without_target_has_no_classes() -> None:
    cohort = read_cohort(frame("patient_id,site", "p1,x", "p2,y", "p1,x"), target=None)

    assert cohort.classes == ()
    assert cohort.target == ""
    assert len(cohort.table) == 2


def test_suffixed_ids_stay_patients_of_their_own(real_data: Path) -> None:
    cohort = read_cohort(real_data / "tables/buffa_hypoxia_scores.csv", target="Labels_median")

    assert len(cohort.table) == 7791
    assert cohort.classes == ("0", "1")
    assert (cohort.table["label"] == "1").sum() == 3692
    assert len(cohort.dropped) == 0


def test_real_tile_table_stands_at_tile_level(real_data: Path) -> None:
    cohort = read_cohort(real_data / "tables/lc25000_lung_tiles.csv")

    assert (cohort.level, len(cohort.table)) == ("tile", 1200)
    assert cohort.table["patient_id"].nunique() == 595


def test_a_table_without_rows_says_so(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("patient_id,label\n")

    with pytest.raises(TableError, match=r"labels\.csv: no rows below the header") as caught:
        read_cohort(path)
    assert caught.value.code == "TABLE_EMPTY"
    with pytest.raises(TableError, match="the label table: no rows"):
        read_cohort(pd.DataFrame({"patient_id": [], "label": []}))


def test_the_first_row_of_each_class_is_known() -> None:
    cohort = read_cohort(frame("patient_id,label", "p0,", "p1,a", "p2,b", "p3,a"))

    assert cohort.label_rows == {"a": 3, "b": 4}
