from pathlib import Path

import pandas as pd
import pytest

from histokeras.cohort.labels import read_cohort
from histokeras.cohort.numbers import by_quantiles, canonical_numbers, label_numbers
from histokeras.cohort.split import count_patients, split_patients
from histokeras.errors import TableError


def table(scores: list[str]) -> pd.DataFrame:
    patients = [f"P{i:02d}" for i in range(len(scores))]
    return pd.DataFrame({"patient_id": patients, "score": scores})


def test_one_number_has_one_form() -> None:
    texts = ["1", " 1.0", "1e0", "-0", "0.1", "+.5", "", "123456789.25"]

    found = canonical_numbers(texts, range(2, 10), "score")

    assert found == ["1", "1", "1", "0", "0.1", "0.5", "", "123456789.25"]
    assert label_numbers(found)[3:6] == [0.0, 0.1, 0.5]


@pytest.mark.parametrize("cell", ["low", "0,5", "inf", "1_000", "12 %"])
def test_what_is_no_number_is_named_with_its_row(cell: str) -> None:
    with pytest.raises(TableError, match=rf"column `score` holds '{cell}' in row 3, and in 1 more"):
        read_cohort(table(["1.5", cell, "3", cell]), target="score", task="regression")


def test_a_decimal_comma_is_explained() -> None:
    with pytest.raises(TableError) as caught:
        canonical_numbers(["0,5"], [2], "score")

    assert "decimal point" in (caught.value.hint or "")
    assert caught.value.code == "TARGET_NOT_NUMBER"


def test_numbers_are_read_and_missing_ones_are_listed() -> None:
    cohort = read_cohort(table(["1.50", "NA", "-2", "1.5"]), target="SCORE", task="regression")

    assert cohort.task == "regression"
    assert cohort.classes == ()
    assert cohort.outputs == ("score",)
    assert cohort.table["label"].tolist() == ["1.5", "-2", "1.5"]
    assert cohort.dropped["reason"].tolist() == ["no label"]
    assert "`score` from -2 to 1.5" in cohort.notes[0]


def test_one_key_with_the_same_number_twice_is_one_row_and_with_two_is_refused() -> None:
    same = pd.DataFrame({"patient_id": ["A", "A", "B"], "score": ["1", "1.0", "2"]})
    assert len(read_cohort(same, target="score", task="regression").table) == 2

    with pytest.raises(TableError, match="bear two labels"):
        read_cohort(same.assign(score=["1", "3", "2"]), target="score", task="regression")


def test_one_number_for_all_cannot_be_learned() -> None:
    with pytest.raises(TableError, match="only the number 7"):
        read_cohort(table(["7", "7.0"]), target="score", task="regression")
    with pytest.raises(ValueError, match="`task` must be one of"):
        read_cohort(table(["7", "8"]), target="score", task="ranking")


def test_quantiles_are_of_equal_size_by_the_mean_of_each_patient() -> None:
    patients = [f"P{i}" for i in range(12)]
    rows = pd.DataFrame({"group": [*patients, "P0"], "label": [*map(str, range(12)), "100"]})

    found = by_quantiles(rows, "group", 3)

    # P0 has 0 and 100: its mean of 50 puts it last.
    bins = dict(zip(found["group"], found["label"], strict=True))
    assert bins["P0"] == bins["P11"] == "quantile 2"
    assert bins["P1"] == bins["P6"] == "quantile 1"
    assert found["label"].value_counts().to_dict() == {"quantile 1": 6, "quantile 2": 7}


def test_a_split_balances_the_quantiles_in_any_order_of_rows() -> None:
    scores = table([str(i * i) for i in range(60)])
    cohort = read_cohort(scores, target="score", task="regression")

    split = split_patients(cohort, shares=(60, 20, 20))
    again = read_cohort(scores.sample(frac=1, random_state=3), target="score", task="regression")

    assert split.digest == split_patients(again, shares=(60, 20, 20)).digest
    sides = split.table.set_index("patient_id")["split"]
    for start in range(0, 60, 12):
        mine = sides[[f"P{i:02d}" for i in range(start, start + 12)]]
        assert set(mine) == {"train", "val", "test"}
    counts = count_patients(split, cohort)
    assert counts["patients"].tolist() == [36, 12, 12]
    assert counts["mean"].max() < 1.2 * counts["mean"].min()
    folds = split_patients(cohort, folds=5)
    assert folds.table["fold"].value_counts().tolist() == [12] * 5


def test_the_buffa_scores_are_read_as_numbers(real_data: Path) -> None:
    path = real_data / "tables/buffa_hypoxia_scores.csv"
    cohort = read_cohort(path, target="Buffa_hypoxia_score_pan_cancer", task="regression")

    assert len(cohort.table) == 7791
    values = pd.Series(label_numbers(cohort.table["label"].tolist()))
    assert (values.min(), values.max()) == (-49, 51)
    with pytest.raises(TableError, match="`tumour_type` holds 'BLCA' in row 2"):
        read_cohort(path, target="tumour_type", task="regression")
