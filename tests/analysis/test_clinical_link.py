from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from histokeras.analysis.clinical_link import ClinicalLink, link_clinical
from histokeras.cohort.clinical import Clinical, read_clinical
from histokeras.errors import TableError


@pytest.fixture
def clinical(tmp_path: Path) -> Clinical:
    rng = np.random.default_rng(0)
    pd.DataFrame({
        "Patient": [f"p{i:02d}" for i in range(60)],
        "VI(Negative=0,Positive=1)": rng.integers(0, 2, 60),
        "age": rng.integers(40, 80, 60),
        "label": [("a", "b")[i % 2] for i in range(60)],
        "time": rng.uniform(1, 50, 60).round(1),
        "event": rng.integers(0, 2, 60),
    }).to_csv(tmp_path / "clinical.csv", index=False)  # fmt: skip
    return read_clinical(tmp_path / "clinical.csv")


def measured(folder: Path, clinical: Clinical, **columns: object) -> Path:
    """Write shares of 50 of the patients and of 5 strangers; the first ten were trained on."""
    rng = np.random.default_rng(1)
    names = [*clinical.table["patient_id"][:50], *(f"q{i}" for i in range(5))]
    positive = np.r_[clinical.table["vi"][:50] == "Positive", np.zeros(5)]
    share = (0.3 + 0.3 * positive + rng.uniform(0, 0.1, 55)).round(6)
    pd.DataFrame({
        "patient_id": names,
        "split": ["train"] * 10 + ["test"] * 45,
        "label": [("a", "b")[i % 2] for i in range(55)],
        "n_tiles": rng.integers(50, 99, 55),
        "share_TUM": share,
        "share_TUM_low": share - 0.1,
        "share_rest": (1 - share).round(6),
        "noise": rng.uniform(0, 1, 55),
        **columns,
    }).to_csv(folder / "patients.csv", index=False)  # fmt: skip
    return folder / "patients.csv"


@pytest.fixture
def link(tmp_path: Path, clinical: Clinical) -> ClinicalLink:
    return link_clinical(clinical, measured(tmp_path, clinical))


def test_the_join_counts_every_patient_it_loses(link: ClinicalLink) -> None:
    assert link.funnel == {
        "patients in patients.csv": 55, "in the clinical table too": 50, "used": 40,
    }  # fmt: skip
    assert link.dropped["reason"].value_counts().to_dict() == {
        "trained on": 10, "in the clinical table only": 10, "not in the clinical table": 5,
    }  # fmt: skip
    assert link.table["patient_id"].tolist() == [f"p{i:02d}" for i in range(10, 50)]
    assert any("10 patients were trained on and are left out" in note for note in link.notes)


def test_only_what_was_measured_is_tested_and_nothing_twice(link: ClinicalLink) -> None:
    # Counts and ends of intervals are no measures; the rest is one less the tumour.
    assert link.measures == ("label", "share_TUM", "noise")
    assert any("`share_rest` orders the patients as `share_TUM`" in note for note in link.notes)
    # Follow-up needs to know of censoring; the label is no finding about itself.
    assert list(link.clinical) == ["vi", "age"]
    assert any("`time`, `event`" in note for note in link.notes)
    assert any("`label` is the label itself" in note for note in link.notes)


def test_a_planted_link_is_found(link: ClinicalLink) -> None:
    found = link.results[link.results["q"] < 0.05]

    assert found[["measure", "clinical"]].to_numpy().tolist() == [["share_TUM", "vi"]]
    assert found["effect_size"].item() > 0.5
    assert found["direction"].item().startswith("highest in Positive")


def test_train_patients_come_only_when_asked_for(tmp_path: Path, clinical: Clinical) -> None:
    path = measured(tmp_path, clinical)

    link = link_clinical(clinical, path, with_train=True, columns=["share_*", "noise"])

    assert link.funnel["used"] == 50
    assert link.measures == ("share_TUM", "noise")
    assert any("may say what it was told" in note for note in link.notes)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"patient_id": [f"x{i}" for i in range(55)]}, "no patient of .* look like 'x0', .* 'p00'"),
        ({"patient_id": ["p00"] * 55}, "'p00' stands in the rows 2 and 3"),
        ({"split": "train"}, "every patient of .* was trained on"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    tmp_path: Path, clinical: Clinical, columns: dict[str, object], message: str
) -> None:
    path = measured(tmp_path, clinical, **columns)

    with pytest.raises(TableError, match=message):
        link_clinical(clinical, path)


def test_a_column_that_is_not_there_is_named(tmp_path: Path, clinical: Clinical) -> None:
    with pytest.raises(TableError, match=r"is called `share_TUN`.*Did you mean `share_TUM`"):
        link_clinical(clinical, measured(tmp_path, clinical), columns=["share_TUN"])


def test_an_infinite_ratio_has_the_highest_rank(tmp_path: Path, clinical: Clinical) -> None:
    ratio = [f"{i / 7:.3f}" for i in range(54)] + ["inf"]
    ratio[30], ratio[54] = "inf", "2"

    link = link_clinical(clinical, measured(tmp_path, clinical, ratio=ratio), columns=["ratio"])

    assert link.table["ratio"].max() == np.inf
    assert link.results.set_index("clinical")["n"]["age"] == 40
    assert link.results["p"].notna().all()
