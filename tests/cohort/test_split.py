import random
from pathlib import Path

import pandas as pd
import pytest

from histokeras.cohort.join import join_labels
from histokeras.cohort.labels import Cohort, read_cohort
from histokeras.cohort.split import (
    count_patients,
    count_strata,
    parse_shares,
    split_patients,
    split_text,
    split_units,
)
from histokeras.errors import ConfigError, TableError


def thousand_patients() -> pd.DataFrame:
    """1,000 patients with 1 to 4 slides, one row a slide."""
    draw = random.Random(0)
    rows = []
    for i in range(1000):
        label, site = draw.choice(["hyp", "non", "non"]), draw.choice("ABCDE")
        rows += [(f"p{i:04d}", f"s{i:04d}-{k}", label, site) for k in range(draw.randint(1, 4))]
    return pd.DataFrame(rows, columns=["patient_id", "slide_id", "label", "site"])


def small(n: int = 20) -> pd.DataFrame:
    return pd.DataFrame(
        {"patient_id": [f"p{i:02d}" for i in range(n)], "label": ["ab"[i % 2] for i in range(n)]}
    )


def slides_of(cohort: Cohort) -> pd.DataFrame:
    """One slide a patient, named like it."""
    return pd.DataFrame({"slide_id": cohort.table["patient_id"]})


def test_a_thousand_patients_keep_their_shares_and_strata() -> None:
    table = thousand_patients()

    split = split_patients(table, target="label", stratify=["site"])

    patients = table.drop_duplicates("patient_id").assign(
        split=lambda t: t["patient_id"].map(split.sides())
    )
    assert len(split.table) == 1000
    assert patients["split"].value_counts().to_dict() == {"train": 700, "val": 150, "test": 150}
    overall = (patients["label"] == "hyp").mean()
    for _, side in patients.groupby("split"):
        assert abs((side["label"] == "hyp").mean() - overall) < 0.01
        for site in "ABCDE":
            assert abs((side["site"] == site).mean() - (patients["site"] == site).mean()) < 0.03


def test_the_file_is_the_same_in_any_row_order() -> None:
    table = thousand_patients()
    shuffled = table.sample(frac=1, random_state=1)

    first = split_text(split_patients(table, target="label", stratify=["site"], seed=5))

    assert split_text(split_patients(shuffled, target="label", stratify=["site"], seed=5)) == first
    assert split_text(split_patients(table, target="label", stratify=["site"], seed=6)) != first


def test_folds_balance_classes_and_name_their_sides() -> None:
    split = split_patients(small(25), target="label", folds=5)

    counts = count_patients(split, read_cohort(small(25)))

    assert counts["patients"].tolist() == [5] * 5
    assert counts.index.tolist() == [0, 1, 2, 3, 4]
    assert set(counts["a"]) <= {2, 3}
    folds = dict(zip(split.table["patient_id"], split.table["fold"], strict=True))
    for name, side in split.sides(4).items():
        assert side == {4: "test", 0: "val"}.get(folds[name], "train")


def test_each_fold_is_test_once_and_val_once() -> None:
    split = split_patients(small(12), target="label", folds=3)

    sides = [split.sides(fold) for fold in range(3)]

    for name in split.table["patient_id"]:
        assert sorted(side[name] for side in sides) == ["test", "train", "val"]


def test_folds_that_do_not_exist_are_refused() -> None:
    folded, plain = split_patients(small(), folds=4), split_patients(small())

    for fold in (None, -1, 4):
        with pytest.raises(ConfigError, match=r"`fold` must be in 0\.\.3"):
            folded.sides(fold)
    with pytest.raises(ConfigError, match="this split has none"):
        plain.sides(0)
    with pytest.raises(ConfigError, match="at least 3 folds"):
        split_patients(small(), folds=2)


@pytest.mark.parametrize("shares", [(70, 15, 15), (0.7, 0.15, 0.15)])
def test_percent_and_fractions_are_the_same_shares(shares: tuple[float, ...]) -> None:
    split = split_patients(small(), shares=shares)

    assert split.shares == (70.0, 15.0, 15.0)
    assert split.digest == split_patients(small()).digest


def test_test_may_be_empty_and_val_may_not() -> None:
    split = split_patients(small(), target="label", shares=(80, 20, 0))

    counts = count_patients(split, read_cohort(small()))
    assert counts.to_numpy().tolist() == [[16, 8, 8], [4, 2, 2], [0, 0, 0]]
    with pytest.raises(ConfigError, match="train and val must be above 0"):
        split_patients(small(), shares=(80, 0, 20))


@pytest.mark.parametrize("shares", [(70, 15, 10), (70, 30), (120, -10, -10), (0.5, 0.5, 0.5)])
def test_shares_that_do_not_sum_to_the_whole_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="three numbers that sum to 100"):
        split_patients(small(), shares=shares)


def test_shares_are_read_from_text() -> None:
    assert parse_shares("60/20/20") == parse_shares(".6/.2/.2") == (60.0, 20.0, 20.0)
    for text in ("60/40", "a/b/c", ""):
        with pytest.raises(ConfigError, match="such as 70/15/15"):
            parse_shares(text)


def test_patients_with_two_labels_are_a_stratum_of_their_own() -> None:
    rows = [(f"p{i}", f"s{i}-{k}", "ab"[k]) for i in range(20) for k in range(2)]
    rows += [(f"q{i}", f"t{i}", "a") for i in range(20)]
    table = pd.DataFrame(rows, columns=["patient_id", "slide_id", "label"])

    split = split_patients(table, target="label", shares=(50, 25, 25))

    counts = count_patients(split, read_cohort(table))
    assert counts.to_numpy().tolist() == [[20, 20, 10], [10, 10, 5], [10, 10, 5]]


def test_a_class_with_too_few_patients_is_refused_with_counts() -> None:
    table = pd.DataFrame({"patient_id": list("abcdef"), "label": ["x"] * 4 + ["y"] * 2})

    with pytest.raises(TableError, match=r"\['y'\].*x: 4, y: 2") as caught:
        split_patients(table, target="label")
    assert caught.value.code == "SPLIT_IMPOSSIBLE"
    assert split_patients(table).target == ""


def test_slides_named_by_barcode_need_no_patient_column() -> None:
    table = pd.DataFrame(
        {"slide_id": [f"TCGA-A2-A0{i:02d}-01Z-00-DX{k}.svs" for i in range(10) for k in (1, 2)]}
    )

    split = split_patients(table)

    assert split.unit == "patient_id"
    assert len(split.table) == 10


def test_samples_of_one_patient_stay_together() -> None:
    ids = [f"TCGA-A2-A0{i:02d}-{sample}" for i in range(20) for sample in ("01", "06")]

    split = split_patients(pd.DataFrame({"patient_id": ids}))

    assert len(split.table) == 20


def test_unknown_patients_are_an_error_unless_accepted() -> None:
    tiles = pd.DataFrame({"tile": [f"{i}.png" for i in range(20)], "label": ["a", "b"] * 10})

    with pytest.raises(TableError, match=r"20 of 20 row\(s\) is unknown.*--patients-unknown") as e:
        split_patients(tiles, target="label")
    assert e.value.code == "PATIENT_UNKNOWN"

    by_tile = split_patients(tiles, target="label", patients_unknown=True)
    by_slide = split_patients(tiles.assign(slide_id=tiles["tile"]), patients_unknown=True)
    mixed = split_patients(tiles.assign(patient_id=["p1"] + [""] * 19), patients_unknown=True)
    assert (by_tile.unit, by_tile.note) == ("tile", "tile-level, not patient-safe")
    assert (by_slide.unit, by_slide.note) == ("slide_id", "slide-level, not patient-safe")
    assert (mixed.unit, mixed.patient_safe) == ("patient_id", False)


def test_a_missing_stratify_column_offers_the_nearest() -> None:
    with pytest.raises(TableError, match=r"no column `sight`.*`site`"):
        split_patients(small().assign(site="x"), stratify=["sight"])


def test_joined_units_split_like_their_table() -> None:
    table = thousand_patients()
    cohort = read_cohort(table)
    joined = join_labels(table[["slide_id"]], cohort)
    unknown = join_labels(
        table[["slide_id"]], read_cohort(table[["slide_id", "label"]]), patients_unknown=True
    )

    assert split_text(split_units(joined)) == split_text(split_patients(cohort))
    assert split_units(unknown).unit == "slide_id"
    assert split_units(unknown).note == "slide-level, not patient-safe"


def test_real_lung_tiles_split_by_source_group(real_data: Path) -> None:
    cohort = read_cohort(real_data / "tables/lc25000_lung_tiles.csv")

    counts = count_patients(split_patients(cohort), cohort)

    assert counts["patients"].tolist() == [417, 89, 89]
    assert (counts > 0).all().all()


def test_a_missing_stratify_column_shows_the_columns_of_the_user_only() -> None:
    cohort = read_cohort(small())
    joined = join_labels(slides_of(cohort), cohort)

    for make in (
        lambda: split_patients(cohort, stratify=["site"]),
        lambda: split_units(joined, stratify=["site"]),
    ):
        with pytest.raises(TableError, match="no column `site`") as caught:
            make()
        assert "_group" not in str(caught.value)


def test_classes_that_differ_only_in_case_are_named_with_their_rows() -> None:
    table = small()
    table.loc[5, "label"] = "B"
    joined = join_labels(slides_of(read_cohort(table)), read_cohort(table))

    for make in (lambda: split_patients(table, target="label"), lambda: split_units(joined)):
        with pytest.raises(
            TableError, match=r"'B' \(row 7\) and 'b' \(row 3\) differ only in case"
        ):
            make()


def test_strata_are_counted_on_each_side() -> None:
    table = small(12).assign(Site=["x", "x", "y"] * 4)
    cohort = read_cohort(table)

    counts = count_strata(split_patients(cohort, stratify=["site"], folds=3), cohort)["Site"]

    assert counts.sum().to_dict() == {"x": 8, "y": 4}
    assert counts.sum(axis=1).tolist() == [4, 4, 4]
    assert counts.index.tolist() == [0, 1, 2]


def test_a_further_sample_lies_on_the_side_of_its_patient() -> None:
    names = [f"TCGA-A2-{i:04d}" for i in range(20)]
    further = [f"{name}-1" for name in names]
    table = pd.DataFrame({"patient_id": names + further, "label": ["a", "b"] * 20})

    split = split_patients(table, target="label", shares=(60, 20, 20))

    assert split.table["patient_id"].tolist() == names
