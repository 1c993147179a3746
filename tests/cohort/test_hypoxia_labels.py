from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from histokeras.analysis.baselines import fit_category
from histokeras.analysis.metrics import roc_auc
from histokeras.cohort.hypoxia import parse_rule
from histokeras.cohort.hypoxia_labels import COLUMNS, HypoxiaLabels, label_hypoxia
from histokeras.cohort.hypoxia_table import read_scores
from histokeras.cohort.labels import read_cohort
from histokeras.cohort.split import split_patients
from histokeras.cohort.split_table import Split, build_table
from histokeras.errors import ConfigError, TableError

TABLE = """patient_id,score,tumour_type
TCGA-A2-0001,-3,A
TCGA-A2-0002,1,A
TCGA-A2-0003,5,A
TCGA-A2-0003-1,-9,A
TCGA-A2-0004-1,9,B
TCGA-A2-0004,7,B
TCGA-A2-0005,9,B
TCGA-A2-0006,11,B
TCGA-A2-0007,40,
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "scores.csv"
    path.write_text(TABLE)
    return path


def made(path: Path, rule: str = "tumour-type", **options: object) -> HypoxiaLabels:
    return label_hypoxia(read_scores(path), parse_rule(rule), **options)


def split_of(**sides: str) -> Split:
    pairs = [(f"TCGA-A2-{name[1:]}", side) for name, side in sides.items()]
    return Split(build_table(pairs, "patient_id", "split"))


def test_labels_say_score_threshold_type_and_rule(table: Path) -> None:
    labels = made(table)

    assert labels.table.to_csv(index=False).splitlines()[:3] == [
        "patient_id,label,score,threshold,scaled,tumour_type,rule",
        "TCGA-A2-0001,non-hypoxic,-3,1,-1.0,A,tumour-type",
        "TCGA-A2-0002,non-hypoxic,1,1,0.0,A,tumour-type",
    ]
    assert (labels.table["label"] == "hypoxic").tolist() == [False, False, True] * 2


def test_every_row_left_out_is_listed_and_opposite_samples_are_named(table: Path) -> None:
    labels = made(table)

    assert labels.dropped.to_numpy().tolist() == [
        [
            "row", "TCGA-A2-0003-1",
            "further sample with the opposite label: row 4 of TCGA-A2-0003 is kept", 5,
        ],
        ["row", "TCGA-A2-0004-1", "further sample: row 7 of TCGA-A2-0004 is kept", 6],
        ["row", "TCGA-A2-0007", "no tumour type", 10],
    ]  # fmt: skip
    assert labels.left_out() == (
        "further sample with the opposite label 1, further sample 1, no tumour type 1"
    )
    assert len(labels.table) + len(labels.dropped) == labels.facts["rows"]


def test_the_site_of_a_patient_stays_with_its_label(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("patient_id,score,Hospital\np1,-3,north\np2,5,south\np3,1,\n")

    labels = made(path, "sign")

    assert list(labels.table.columns) == [*COLUMNS, "site"]
    assert labels.table["site"].tolist() == ["north", "south", ""]


def test_chosen_types_keep_the_pooled_median_of_all(table: Path) -> None:
    labels = made(table, "pooled", tumour_types=["b", "A"])
    only_a = made(table, "cutoff=0", tumour_types=["a"])

    assert labels.table["threshold"].unique().tolist() == [7]
    assert made(table, "pooled").counts.index.tolist() == ["A", "B", "unknown", "all"]
    assert labels.dropped["reason"].tolist()[-1] == "tumour type not asked for: unknown"
    assert set(only_a.table["tumour_type"]) == {"A"}
    assert only_a.counts.index.tolist() == ["A", "all"]
    with pytest.raises(ConfigError, match="the table has no 'C'"):
        made(table, tumour_types=["A", "C"])


def test_a_class_without_patients_is_refused_before_anything_is_written(table: Path) -> None:
    with pytest.raises(TableError, match="leaves no hypoxic patient, and 7 non-hypoxic") as caught:
        made(table, "cutoff=50")
    assert caught.value.code == "SPLIT_IMPOSSIBLE"
    with pytest.raises(TableError, match="leaves no non-hypoxic patient, and 3 hypoxic"):
        made(table, "sign", tumour_types=["B"])
    with pytest.raises(TableError, match=r"leaves no hypoxic patient, and 0 non-.*min-group"):
        label_hypoxia(read_scores(table), parse_rule("tumour-type", min_group=10))


def test_a_type_with_one_class_only_is_named(table: Path) -> None:
    assert "B: no non-hypoxic patient among 3" in made(table, "sign").notes


def test_tumour_types_are_needed_where_the_rule_needs_them(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("patient_id,score\np1,1\np2,2\np3,3\n")

    pooled = made(path, "pooled")
    assert len(pooled.table) == 3
    assert pooled.counts.index.tolist() == ["all"]
    with pytest.raises(TableError, match=r"no column of tumour types.*--rule pooled"):
        made(path)


def test_medians_of_training_patients_alone_label_all(table: Path) -> None:
    split = split_of(p0001="train", p0002="train", p0003="test", p0004="val", p0005="train")

    labels = made(table, split=split)
    outcome = dict(zip(labels.table["patient_id"].str[-4:], labels.table["label"], strict=True))

    assert labels.fitted.groups["A"].threshold == -1  # of -3 and 1; the test patient's 5 is unseen
    assert labels.fitted.groups["B"].threshold == 9
    assert outcome["0002"] == outcome["0003"] == outcome["0006"] == "hypoxic"
    assert labels.rule == "tumour-type fitted on train"
    assert labels.counts["learned_from"].tolist() == [2, 1, 3]
    assert labels.facts["fit_on"] == split.digest
    assert "2 patient(s) are not in the split: labelled, nothing learned of them" in labels.notes


def test_changing_a_test_score_changes_no_other_label(table: Path, tmp_path: Path) -> None:
    split = split_of(p0001="train", p0002="train", p0003="test", p0004="train", p0005="train")
    before = made(table, split=split).table.set_index("patient_id")
    other = tmp_path / "other.csv"
    other.write_text(TABLE.replace("0003,5,A", "0003,51,A"))

    after = made(other, split=split).table.set_index("patient_id")

    assert after["score"].ne(before["score"]).sum() == 1
    pd.testing.assert_frame_equal(after.drop(columns=["score", "scaled"]),
                                  before.drop(columns=["score", "scaled"]))  # fmt: skip
    assert after["scaled"].ne(before["scaled"]).sum() == 1


def test_a_type_without_training_patients_stays_unlabelled_with_its_reason(table: Path) -> None:
    labels = made(table, split=split_of(p0001="train", p0002="train", p0004="test"))

    assert set(labels.table["tumour_type"]) == {"A"}
    lost = labels.dropped[labels.dropped["reason"].str.startswith("small group")]
    assert lost["reason"].unique().tolist() == [
        "small group: B, 0 patient(s) to learn the median from"
    ]
    assert len(lost) == 3


def test_further_samples_follow_the_side_of_their_patient(table: Path) -> None:
    split = split_of(p0001="train", p0002="train", p0003="test", p0004="train", p0005="train")
    scores = read_scores(table, keep_samples=True)

    labels = label_hypoxia(scores, parse_rule("pooled"), split=split)

    # -3, 1, 7, 9 and the further sample 9 of a training patient; not the -9 of the test patient.
    assert labels.fitted.groups[""] == (5, 7.0, 10.0)


def test_a_split_that_cannot_be_learned_from_is_refused(table: Path) -> None:
    with pytest.raises(TableError, match="ids look like 'TCGA-A2-0001' and 'TCGA-A2-x'") as caught:
        made(table, split=split_of(px="train"))
    assert caught.value.code == "NO_OVERLAP"
    folds = Split(build_table([(f"p{i}", i) for i in range(3)], "patient_id", "fold"), folds=3)
    with pytest.raises(ConfigError, match="this split is of 3 folds"):
        made(table, split=folds)
    slides = Split(build_table([("s", "train")], "slide_id", "split"), "slide_id")
    with pytest.raises(ConfigError, match="this split is of slide_id"):
        made(table, split=slides)


@pytest.fixture(scope="module")
def buffa(real_data: Path) -> Path:
    return real_data / "tables/buffa_hypoxia_scores.csv"


def test_the_pooled_rule_is_that_of_the_study(buffa: Path) -> None:
    theirs = pd.read_csv(buffa)
    scores = read_scores(buffa, keep_samples=True)

    pooled = label_hypoxia(scores, parse_rule("pooled"))
    by_type = label_hypoxia(scores, parse_rule("tumour-type"))

    assert len(pooled.table) == 7791
    assert pooled.dropped.empty
    ours = (pooled.table["label"] == "hypoxic").astype(int)
    assert int((ours.to_numpy() != theirs["Labels_median"].to_numpy()).sum()) == 0
    assert pooled.counts.loc["all", ["hypoxic", "ties"]].tolist() == [3692, 217]
    assert pooled.counts.loc["BRCA", "hypoxic"] == 318
    counted = ["n", "median", "hypoxic", "ties", "non-hypoxic"]
    assert by_type.counts.loc["BRCA", counted].tolist() == [1100, -13, 533, 38, 529]
    assert by_type.counts.loc["all", "ties"] == 516
    brca = by_type.table[by_type.table["tumour_type"] == "BRCA"]
    assert (brca["scaled"].min(), brca["scaled"].max()) == (-0.6, 1.0)
    assert label_hypoxia(
        scores, parse_rule("pooled"), tumour_types=["BRCA"]
    ).table["label"].value_counts().to_dict() == {"hypoxic": 318, "non-hypoxic": 782}  # fmt: skip


def test_by_default_patients_of_the_study_count_once(buffa: Path, tmp_path: Path) -> None:
    pooled, by_type = made(buffa, "pooled"), made(buffa)

    assert pooled.counts.loc["all", ["n", "median", "hypoxic"]].tolist() == [7731, 1, 3673]
    counted = ["n", "median", "hypoxic", "ties", "non-hypoxic"]
    assert by_type.counts.loc["BRCA", counted].tolist() == [1093, -13, 531, 38, 524]
    assert len(pooled.dropped) == 60
    assert pooled.dropped["reason"].str.contains("opposite").sum() == 9
    pooled.table.to_csv(tmp_path / "labels.csv", index=False)
    cohort = read_cohort(tmp_path / "labels.csv")
    assert (len(cohort.table), cohort.classes) == (7731, ("hypoxic", "non-hypoxic"))
    assert read_cohort(tmp_path / "labels.csv", target="score").target == "score"


def test_the_tumour_type_does_not_tell_the_label_by_type(buffa: Path) -> None:
    def auc_of_type(labels: HypoxiaLabels) -> float:
        types = labels.table["tumour_type"].tolist()
        targets = (labels.table["label"] == "hypoxic").to_numpy(np.int64)
        shares = fit_category(types, targets, 2)
        return roc_auc(targets, np.array([shares[name][1] for name in types]))

    assert auc_of_type(made(buffa, "pooled")) > 0.88
    assert auc_of_type(made(buffa)) < 0.53


def test_the_study_is_split_before_it_is_labelled(buffa: Path) -> None:
    table = pd.read_csv(buffa)

    split = split_patients(table, stratify=["tumour_type"], seed=0)
    labels = made(buffa, split=split)

    assert len(split.table) == 7731  # 60 further samples lie with their patients
    assert len(labels.table) == 7731
    assert labels.counts.loc["all", "learned_from"] == 5412
