"""Cut-offs that are given or learned, and patients without the number, as with T/MLN."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from histokeras.analysis.survival_groups import all_curves
from histokeras.analysis.survival_study import SurvivalJob, SurvivalStudy, prepare_survival
from histokeras.errors import ConfigError, TableError

# Twenty patients, five each: T/MLN 0.1, 0.25 and 0.6, and none, of whom the last has no node.
RATIO = [0.1] * 5 + [0.25] * 5 + [0.6] * 5 + [np.nan] * 5
N_MLN = [1, 2, 1, 3, 2] * 3 + [0] * 5
N_NODES = [20] * 19 + [0]
# Those of a high ratio die in months 1 to 5, the others later.
TIME = [*range(11, 21), *range(1, 6), *range(21, 26)]
EVENT = [1] * 15 + [0] * 5


def _study(tmp_path: Path, *, ratio: list[float] = RATIO, **job: Any) -> SurvivalStudy:
    patients = [f"P{i:02d}" for i in range(20)]
    clinical = pd.DataFrame({"patient_id": patients, "time": TIME, "event": EVENT})
    clinical.assign(age=range(50, 70)).to_csv(tmp_path / "clinical.csv", index=False)
    nodes = pd.DataFrame({
        "patient_id": patients, "n_slides": 1, "n_nodes": N_NODES, "n_mln": N_MLN, "n_itc": 0,
        "T_MLN_mean": ratio, "T_LN_pooled": np.linspace(0, 0.4, 20),
        "pN": ["pN1"] * 15 + ["pN0"] * 4 + [""], "flags": ["fewer than 16 examined"] * 19 + [""],
    })  # fmt: skip
    nodes.to_csv(tmp_path / "patients.csv", index=False)
    return prepare_survival(
        SurvivalJob(clinical=tmp_path / "clinical.csv", table=tmp_path / "patients.csv", **job)
    )


def _curve(study: SurvivalStudy, cutoff: str = "median") -> tuple[dict[str, Any], list[str]]:
    blocks, _, groups = all_curves(study, [], cutoff)
    return blocks[-1], groups["T_MLN_mean"].tolist()


def test_a_given_cutoff_is_applied_as_it_is(tmp_path: Path) -> None:
    block, group = _curve(_study(tmp_path, cuts=(("T_MLN_mean", 0.25),)))

    # The cut-off itself is low; those without the number are in no group.
    assert group == ["low"] * 10 + ["high"] * 5 + [""] * 5
    assert block["cutoffs"] == [{"value": 0.25, "p": None, "n_learned_from": 0, "given": True}]
    assert [(row["group"], row["n"], row["median"]) for row in block["levels"]] == [
        ("low", 10, 15.0), ("high", 5, 3.0)
    ]  # fmt: skip
    # Of high, 15, 14, ... 11 are at risk in months 1 to 5, of them 5, 4, ... 1 high.
    risk = [(5 - i, 15 - i) for i in range(5)]
    expected = sum(mine / all_ for mine, all_ in risk)
    variance = sum(mine / all_ * (1 - mine / all_) for mine, all_ in risk)
    assert block["log_rank"]["statistic"] == pytest.approx((5 - expected) ** 2 / variance)
    assert (block["n_missing"], block["n_unmeasured"]) == (4, 1)


def test_patients_without_metastasis_may_be_a_group_but_not_those_without_nodes(
    tmp_path: Path,
) -> None:
    block, group = _curve(
        _study(tmp_path, cuts=(("T_MLN_mean", 0.25),), missing_group="no metastasis")
    )

    assert group[15:] == ["no metastasis"] * 4 + [""]
    assert [row["group"] for row in block["levels"]] == ["low", "high", "no metastasis"]
    assert block["log_rank"]["df"] == 2


def test_a_learned_cutoff_does_not_move_with_those_it_is_tested_on(tmp_path: Path) -> None:
    split = pd.DataFrame({
        "patient_id": [f"P{i:02d}" for i in range(20)], "split": ["train", "train", "test"] * 6
        + ["train", "test"],
    })  # fmt: skip
    split.to_csv(tmp_path / "split.csv", index=False)
    tested = (split["split"] == "test").to_numpy()
    rng = np.random.default_rng(0)
    ratio = rng.uniform(0.05, 0.9, 20)
    other = np.where(tested, ratio[::-1] / 3, ratio)
    asked: dict[str, Any] = {"groups": ("T_MLN_mean",), "split": tmp_path / "split.csv"}

    first, group = _curve(_study(tmp_path, ratio=ratio.tolist(), **asked), "logrank")
    moved, changed = _curve(_study(tmp_path, ratio=other.tolist(), **asked), "logrank")

    assert first["cutoffs"] == moved["cutoffs"]
    assert first["cutoffs"][0]["p"] is not None
    value = first["cutoffs"][0]["value"]
    for groups, values in ((group, ratio), (changed, other)):
        expected = np.where(tested, np.where(values > value, "high", "low"), "")
        assert groups == expected.tolist()
    # A given one parts the same patients: those that are tested.
    given = _study(tmp_path, ratio=ratio.tolist(), cuts=(("T_MLN_mean", value),), **asked)
    assert _curve(given)[1] == group


def test_of_many_figures_of_nodes_models_use_two(tmp_path: Path) -> None:
    study = _study(tmp_path, groups=("T_MLN_mean",))

    assert study.columns["table"] == ("T_MLN_mean", "n_mln")
    left_out = study.left_out.set_index("id")["reason"]
    assert left_out["T_LN_pooled"] == "not beside T_MLN_mean and n_mln unless named with --columns"
    assert any("5 of 20 patients have no T_MLN_mean" in note for note in study.notes)
    asked = _study(tmp_path, columns=("T_LN_pooled", "age"))
    assert asked.columns["table"] == ("T_LN_pooled",)
    assert not asked.notes


@pytest.mark.parametrize(
    ("job", "error", "text"),
    [
        ({"cuts": (("T_MLN_mean", 25.0),)}, TableError, "their numbers are from 0.1 to 0.6"),
        ({"cuts": (("T_MLN_mean", 0.6),)}, TableError, "leaves all patients in one group"),
        ({"cuts": (("pN", 1.0),)}, TableError, "`pN` of the table of the tissue holds no numbers"),
        ({"cuts": (("n_nodes", 1.0),)}, TableError, r"has two values \(0, 20\)"),
        ({"cuts": (("T_MLN_men", 0.2),)}, TableError, "no table has a column `T_MLN_men`"),
        ({"cuts": (("age", 55.0), ("age", 60.0))}, ConfigError, "names age twice"),
        ({"missing_group": "low"}, ConfigError, "cannot be called low"),
    ],
)
def test_slips_are_one_clear_line(
    tmp_path: Path, job: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text) as caught:
        _study(tmp_path, **job)
    assert "\n" not in str(caught.value)


def test_patients_who_lack_slides_and_a_folder_that_is_not_done_are_told(tmp_path: Path) -> None:
    study = _study(tmp_path)
    assert not any("slides" in note for note in study.notes)
    table = pd.read_csv(tmp_path / "patients.csv")
    table.loc[[2, 16], "flags"] = "incomplete: 1 of 2 slide(s) failed; fewer than 16 examined"
    table.loc[3, "flags"] = "a network learned from this patient"
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    table.to_csv(nodes / "patients.csv", index=False)
    (nodes / "run.json").write_text('{"command": "lymph-nodes", "status": "interrupted"}')

    study = prepare_survival(
        SurvivalJob(clinical=tmp_path / "clinical.csv", table=nodes / "patients.csv")
    )

    assert any("2 of 20 patients lack slides" in note for note in study.notes)
    assert any("1 of 20 patients took part in training" in note for note in study.notes)
    assert any("run.json says interrupted" in note for note in study.notes)
