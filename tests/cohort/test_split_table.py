import pandas as pd
import pytest

from histokeras.cohort.split import Split, apply_split, require_no_leak, split_patients
from histokeras.cohort.split_table import build_table
from histokeras.errors import LeakageError, TableError

UNITS = pd.DataFrame(
    {"slide_id": ["s1", "s2", "s3", "s4"], "patient_id": ["p1", "p2", "p3", "p9"]},
    index=[3, 1, 2, 0],
)
BY_PATIENT = Split(
    pd.DataFrame({"patient_id": ["p1", "p2", "p3"], "split": ["train", "val", "test"]})
)


def test_units_get_their_side_and_the_rest_is_listed() -> None:
    placed, dropped = apply_split(UNITS, BY_PATIENT)

    assert placed.to_numpy().tolist() == [
        ["s1", "p1", "train"],
        ["s2", "p2", "val"],
        ["s3", "p3", "test"],
    ]
    assert placed.index.tolist() == [0, 1, 2]
    assert dropped.to_numpy().tolist() == [["slide", "s4", "patient_id p9 is not in the split"]]
    assert "split" not in UNITS.columns


def test_folds_are_applied_one_at_a_time() -> None:
    folded = Split(pd.DataFrame({"patient_id": ["p1", "p2", "p3"], "fold": [0, 1, 2]}), folds=3)

    assert apply_split(UNITS, folded, 2)[0]["split"].tolist() == ["val", "train", "test"]


def test_tiles_are_listed_as_tiles() -> None:
    units = UNITS.assign(tile=["a", "b", "c", "d"])

    _, dropped = apply_split(units, BY_PATIENT)

    assert dropped.to_numpy().tolist() == [["tile", "d", "patient_id p9 is not in the split"]]


def test_a_split_of_other_patients_is_an_error() -> None:
    with pytest.raises(TableError, match="looks like 'p1', theirs like 'q'"):
        apply_split(UNITS.assign(patient_id="q"), BY_PATIENT)
    with pytest.raises(TableError, match=r"lacks column\(s\) \['patient_id'\]"):
        apply_split(UNITS[["slide_id"]], BY_PATIENT)


def test_a_slide_split_that_tears_a_patient_apart_is_a_leak() -> None:
    by_slide = Split(
        pd.DataFrame({"slide_id": ["s1", "s2", "s3"], "split": ["train", "test", "val"]}),
        unit="slide_id",
    )

    require_no_leak(UNITS, by_slide)
    torn = UNITS.assign(patient_id=["p1", "p1", "p3", "p1"])
    with pytest.raises(LeakageError, match=r"1 patient\(s\).*'p1' \(test and train\)") as caught:
        require_no_leak(torn, by_slide)
    assert caught.value.code == "LEAKAGE"
    with pytest.raises(LeakageError, match="p1"):
        apply_split(torn, by_slide)


def test_folds_are_checked_for_leaks_too() -> None:
    by_slide = Split(
        pd.DataFrame({"slide_id": ["s1", "s2", "s3"], "fold": [0, 1, 2]}), "slide_id", folds=3
    )

    with pytest.raises(LeakageError, match=r"'p1' \(0 and 1\)"):
        require_no_leak(UNITS.assign(patient_id=["p1", "p1", "p3", "p4"]), by_slide)


def test_ids_are_compared_in_one_form() -> None:
    split = split_patients(
        pd.DataFrame(
            {"patient_id": [f"TCGA.A2.A00{i}" for i in range(9)], "label": list("abc") * 3}
        ),
        target="label",
    )
    units = pd.DataFrame({"slide_id": ["x"], "patient_id": ["TCGA-A2-A001-01Z-00-DX1"]})

    placed, _ = apply_split(units, split)

    assert len(placed) == 1


def test_the_table_of_a_split_has_each_id_once() -> None:
    table = build_table(
        [("b.svs", "val"), ("x/a", "train"), ("b", "val"), ("", "val")], "slide_id", "split"
    )

    assert table.to_numpy().tolist() == [["a", "train"], ["b", "val"]]
    many = [(f"p{i:02d}", side) for i in range(12) for side in ("train", "test")]
    with pytest.raises(LeakageError, match=r"12 patient\(s\) lie on two sides.*'p09'.*\), \.\.\."):
        build_table(many, "patient_id", "split")
    with pytest.raises(TableError, match="no rows"):
        build_table([], "patient_id", "split")
