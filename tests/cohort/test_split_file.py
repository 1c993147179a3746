import json
from pathlib import Path

import pandas as pd
import pytest

from histokeras.cohort.split import Split, read_split, split_patients, split_text, write_split
from histokeras.errors import ConfigError, LeakageError, TableError


@pytest.fixture
def split() -> Split:
    table = pd.DataFrame(
        {"patient_id": [f"p{i:02d}" for i in range(20)], "label": ["a", "b"] * 10, "site": "x"}
    )
    return split_patients(table, target="label", stratify=["site"], seed=7)


def save(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_a_split_survives_writing_and_reading(split: Split, tmp_path: Path) -> None:
    assert write_split(tmp_path / "split.csv", split)

    found = read_split(tmp_path / "split.csv")

    pd.testing.assert_frame_equal(found.table, split.table)
    assert found.signed
    assert found.meta == split.meta
    assert found.digest == split.digest
    assert (found.seed, found.shares, found.target) == (7, (70.0, 15.0, 15.0), "label")


def test_folds_survive_writing_and_reading(tmp_path: Path) -> None:
    split = split_patients(pd.DataFrame({"patient_id": list("abcdefg")}), folds=3)
    write_split(tmp_path / "folds.csv", split)

    found = read_split(tmp_path / "folds.csv")

    pd.testing.assert_frame_equal(found.table, split.table)
    assert found.sides(1) == split.sides(1)


def test_awkward_ids_survive(tmp_path: Path) -> None:
    ids = ['a"b', "c,d", "e;f", "grün 1", "# 1", "007", "1e5", "Ω"]
    split = split_patients(pd.DataFrame({"patient_id": ids}))
    write_split(tmp_path / "split.csv", split)

    assert sorted(read_split(tmp_path / "split.csv").table["patient_id"]) == sorted(ids)


def test_the_first_line_says_how_the_split_was_made(split: Split) -> None:
    first, second, *_ = split_text(split).splitlines()

    assert first.startswith("# histokeras-split {")
    content = json.loads(first.removeprefix("# histokeras-split "))
    assert content.pop("sha256") == split.digest
    assert content == {
        "version": 1,
        "unit": "patient_id",
        "seed": 7,
        "shares": [70.0, 15.0, 15.0],
        "target": "label",
        "stratify": ["site"],
        "note": "",
    }
    assert second == "patient_id,split"


def test_the_same_split_is_left_and_another_is_not_overwritten(
    split: Split, tmp_path: Path
) -> None:
    path = tmp_path / "split.csv"
    write_split(path, split)

    assert not write_split(path, split)
    path.write_text("mine")
    with pytest.raises(ConfigError, match=r"exists and holds something else.*--overwrite"):
        write_split(path, split)
    assert path.read_text() == "mine"
    assert write_split(path, split, overwrite=True)
    assert path.read_text() == split_text(split)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("p03,train", "p03,test").replace("p03,val", "p03,train"),
        lambda text: "\n".join(text.splitlines()[:-1]) + "\n",
        lambda text: text + "p99,train\n",
        lambda text: text.replace('"seed":7', '"seed":8'),
        lambda text: text.replace('"seed":7', '"seed":'),
        lambda text: text.replace('"seed":7,', ""),
        lambda text: text.replace("patient_id,split", "patient,split"),
        lambda text: text + text.splitlines()[-1] + "\n",
        lambda text: '"' + text.replace('"', '""').replace("\n", '",\n', 1),
    ],
)
def test_a_file_changed_after_signing_is_refused(split: Split, tmp_path: Path, edit) -> None:
    changed = edit(split_text(split))
    assert changed != split_text(split)

    with pytest.raises(TableError, match=r"split\.csv.*remove its first line") as caught:
        read_split(save(tmp_path / "split.csv", changed))
    assert caught.value.code == "SPLIT_ALTERED"


def test_a_changed_fold_number_is_refused(tmp_path: Path) -> None:
    text = split_text(split_patients(pd.DataFrame({"patient_id": list("abcdefg")}), folds=3))
    head, last = text.rstrip("\n").rsplit(",", 1)

    for wrong in ("x", str((int(last) + 1) % 3)):
        with pytest.raises(TableError, match="first line") as caught:
            read_split(save(tmp_path / "folds.csv", f"{head},{wrong}\n"))
        assert caught.value.code == "SPLIT_ALTERED"


def test_line_ends_bom_and_order_do_not_break_the_signature(split: Split, tmp_path: Path) -> None:
    first, names, *rows = split_text(split).splitlines()
    text = "\ufeff" + "\r\n".join([first, names, *reversed(rows)]) + "\r\n"

    found = read_split(save(tmp_path / "split.csv", text))

    assert found.signed
    assert found.digest == split.digest


def test_a_newer_version_is_named(split: Split, tmp_path: Path) -> None:
    text = split_text(split).replace('"version":1', '"version":2')

    with pytest.raises(TableError, match="version 2; this histokeras reads 1"):
        read_split(save(tmp_path / "split.csv", text))


def test_without_the_line_a_table_is_read_unsigned(split: Split, tmp_path: Path) -> None:
    text = split_text(split).split("\n", 1)[1]

    found = read_split(save(tmp_path / "split.csv", text))

    assert not found.signed
    assert found.seed is None
    pd.testing.assert_frame_equal(found.table, split.table)


def test_other_words_for_the_sides_are_read(tmp_path: Path) -> None:
    text = "PATIENT;Split;age\np1;Training;3\np2;valid;4\np3;Test;5\np1;train;3\n"

    found = read_split(save(tmp_path / "x.csv", text))

    assert found.sides() == {"p1": "train", "p2": "val", "p3": "test"}


def test_unsigned_folds_are_read(tmp_path: Path) -> None:
    found = read_split(save(tmp_path / "x.csv", "slide,fold\na.svs,0\nb.svs,1\nc.svs,2\n"))

    assert found.unit == "slide_id"
    assert found.sides(0) == {"a": "test", "b": "val", "c": "train"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient_id,split\np1,train\np2,holdout\n", r"must be one of.*'holdout'"),
        ("patient_id,fold\np1,0\np2,2\np3,1.5\n", "must count 0, 1, 2"),
        ("patient_id,fold\np1,0\np2,1\n", "at least three folds"),
        ("patient_id,split,fold\np1,train,0\n", "one of `split` and `fold`"),
        ("name,split\np1,train\n", "needs a `patient_id` column"),
    ],
)
def test_a_table_that_is_no_split_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_split(save(tmp_path / "x.csv", text))


def test_a_patient_on_two_sides_is_a_leak(tmp_path: Path) -> None:
    path = save(tmp_path / "x.csv", "patient_id,split\np1,train\np2,val\np1,test\n")

    with pytest.raises(LeakageError, match=r"x\.csv: 1 patient\(s\).*'p1' \(test and train\)"):
        read_split(path)


def test_clam_splits_are_read(tmp_path: Path) -> None:
    path = save(tmp_path / "splits_0.csv", ",train,val,test\n0,s1,s2,s3\n1,s4,,\n")

    found = read_split(path)

    assert (found.unit, found.signed) == ("slide_id", False)
    assert found.sides() == {"s1": "train", "s2": "val", "s3": "test", "s4": "train"}
    with pytest.raises(LeakageError, match="'s1'"):
        read_split(save(path, ",train,val,test\n0,s1,s1,s3\n"))


def test_clam_truth_tables_are_read(tmp_path: Path) -> None:
    text = ",train,val,test\ns1,True,False,False\ns2,False,True,False\ns3,False,False,True\n"

    found = read_split(save(tmp_path / "splits_0_bool.csv", text))

    assert found.sides() == {"s1": "train", "s2": "val", "s3": "test"}


def test_stamp_splits_become_folds(tmp_path: Path) -> None:
    everyone = ["p1", "p2", "p3"]
    content = {
        "splits": [
            {"train_patients": [q for q in everyone if q != p], "test_patients": [p]}
            for p in everyone
        ]
    }

    found = read_split(save(tmp_path / "splits.json", json.dumps(content)))

    assert found.folds == 3
    assert found.sides(0) == {"p1": "test", "p2": "val", "p3": "train"}
    content["splits"][2]["test_patients"] = []
    with pytest.raises(TableError, match=r"1 patient\(s\) never tested"):
        read_split(save(tmp_path / "splits.json", json.dumps(content)))
    with pytest.raises(TableError, match=r"no splits\.json of STAMP"):
        read_split(save(tmp_path / "splits.json", "[]"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such file"):
        read_split(tmp_path / "split.csv")


@pytest.mark.parametrize(
    ("header", "unit"),
    [
        ("slide_id,train,val,test", "slide_id"),
        ("Slide,train,val,test", "slide_id"),
        ("patient_id,train,val,test", "patient_id"),
        (",train,val,test", "slide_id"),
    ],
)
def test_truth_tables_are_read_whatever_their_first_column_and_name(
    tmp_path: Path, header: str, unit: str
) -> None:
    text = f"{header}\ns1,TRUE,FALSE,FALSE\ns2,false,true,false\ns3,,,True\n"

    found = read_split(save(tmp_path / "mine.csv", text))

    assert found.unit == unit
    assert found.sides() == {"s1": "train", "s2": "val", "s3": "test"}


def test_a_truth_table_with_an_index_and_slide_ids_takes_the_ids(tmp_path: Path) -> None:
    text = ",slide_id,train,val\n0,s1,True,False\n1,s2,False,True\n"

    assert read_split(save(tmp_path / "x.csv", text)).sides() == {"s1": "train", "s2": "val"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train,val,test\nTrue,False,False\n", "no column of slide ids"),
        ("slide_id,train,val\ns1,True,False\ns2,maybe,True\n", "also 'maybe'"),
    ],
)
def test_a_damaged_truth_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_split(save(tmp_path / "x.csv", text))


def test_a_slide_true_on_two_sides_is_a_leak(tmp_path: Path) -> None:
    path = save(tmp_path / "x.csv", "slide_id,train,val\ns1,True,True\ns2,False,True\n")

    with pytest.raises(LeakageError, match="'s1' \\(train and val\\)"):
        read_split(path)
