from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from histokeras.report.cautions import cautions
from histokeras.report.run_files import read_run
from histokeras.report.tables import calibration_table

LEVEL = ("splits", "test", "patient")
ABSENT: dict[str, Any] = {"beaten": None, "text": ""}
FAULTS: dict[str, tuple[str, tuple[Any, ...], Any]] = {
    "unfinished": ("run.json", ("status",), "interrupted"),
    "not-compared": ("run.json", ("duplicates",), {"n": 0, "note": "not compared by pixels"}),
    "not-patient-safe": ("metrics.json", ("note",), "tile-level, not patient-safe"),
    "unsigned-split": ("run.json", ("split", "signed"), False),
    "duplicates-patients": ("run.json", ("duplicates",), {"n": 1, "across_patients": 1}),
    "duplicates-sides": ("run.json", ("duplicates",), {"n": 1, "across_sides": 1}),
    "floor-not-beaten": ("metrics.json", (*LEVEL, "verdict"), {"beaten": False, "text": "No."}),
    "no-floor": ("metrics.json", (*LEVEL, "verdict"), ABSENT),
    "random-weights": ("run.json", ("features", "settings", "weights"), "random:0"),
    "small-class": ("metrics.json", (*LEVEL, "n_patients_per_class"), {"MSI-H": 9, "MSS": 31}),
    "missing-class": ("metrics.json", (*LEVEL, "n_patients_per_class"), {"MSI-H": 0, "MSS": 40}),
    "failed-slides": ("run.json", ("slides",), [{"slide": "S1", "outcome": "failed"}]),
    "not-evaluated": ("metrics.json", ("splits", "test"), {"patient": {"evaluated": False}}),
}


def codes(run: Path) -> list[str]:
    return [caution.code for caution in cautions(read_run(run))]


@pytest.mark.parametrize("code", FAULTS)
def test_each_fault_is_warned_of_and_nothing_else(
    code: str, patient_run: Path, change: Callable[..., None]
) -> None:
    assert codes(patient_run) == []
    name, keys, value = FAULTS[code]

    change(patient_run / name, *keys, value=value)

    assert codes(patient_run) == [code]


@pytest.mark.parametrize(
    ("name", "table", "code"),
    [
        ("dropped", {"kind": ["slide"], "id": ["S1"], "reason": ["failed in extract-features"]},
         "failed-slides"),
        ("failures", {"slide": ["S1"], "stage": ["open"]}, "failed-slides"),
        ("duplicates", {"kind": ["tile"], "across": ["sides"]}, "duplicates-sides"),
        ("duplicates", {"kind": ["tile"], "across": ["patients"]}, "duplicates-patients"),
    ],
)  # fmt: skip
def test_tables_tell_faults_too(
    name: str, table: dict[str, list[str]], code: str, patient_run: Path
) -> None:
    pd.DataFrame(table).to_csv(patient_run / f"{name}.csv", index=False)

    assert codes(patient_run) == [code]


def test_a_backbone_that_never_saw_tissue_is_told(
    patient_run: Path, change: Callable[..., None]
) -> None:
    for key, value in (("backbone", "mini"), ("weights", "bundled")):
        change(patient_run / "run.json", "features", "settings", key, value=value)

    assert codes(patient_run) == ["mini"]


@pytest.mark.parametrize("name", ["run.json", "curves.json", "dropped.csv", "slides.csv"])
def test_a_lost_file_is_told(name: str, patient_run: Path) -> None:
    (patient_run / name).unlink()

    assert "files-missing" in codes(patient_run)
    (caution,) = [c for c in cautions(read_run(patient_run)) if c.code == "files-missing"]
    assert name in caution.title


def test_tumour_type_alone_is_warned_of(patient_run: Path, change: Callable[..., None]) -> None:
    network = {"value": 0.9, "low": 0.8, "high": 1.0}
    for low, expected in ((-0.1, ["tumour-type-not-beaten"]), (0.1, [])):
        baseline = {
            "title": "tumour type alone",
            "auc": network,
            "difference": {"auc": {"value": 0.2, "low": low, "high": 0.3}},
        }
        change(patient_run / "metrics.json", *LEVEL, "baselines", "tumour_type", value=baseline)
        assert codes(patient_run) == expected


@pytest.mark.parametrize(
    ("sides", "text"),
    [(("train", "test"), "tested on pictures that it had seen"),
     (("0", "3"), "tested on pictures that it had seen"),
     (("val", "train"), "None of them joins training and test")],
)  # fmt: skip
def test_a_pair_is_judged_by_its_sides(
    sides: tuple[str, str], text: str, patient_run: Path
) -> None:
    pd.DataFrame(
        {"kind": ["tile"], "across": ["sides"], "split_a": sides[0], "split_b": sides[1]}
    ).to_csv(patient_run / "duplicates.csv", index=False)

    (caution,) = cautions(read_run(patient_run))

    assert text in caution.meaning


def test_calibration_is_doubted_only_where_chance_does_not_explain_it(
    patient_run: Path, change: Callable[..., None]
) -> None:
    metrics = patient_run / "metrics.json"
    change(metrics, *LEVEL, "calibration", "after", "ece", "low", value=0.2)
    few = codes(patient_run)

    change(metrics, *LEVEL, "n_patients", value=100)

    assert few == []
    assert codes(patient_run) == ["calibration"]


def test_a_head_that_could_not_be_calibrated_says_why(patient_run: Path) -> None:
    (patient_run / "head").mkdir()
    card = '{"temperature_note": "not scaled: no validation row has a label"}'
    (patient_run / "head" / "model.json").write_text(card)

    table = calibration_table(read_run(patient_run))

    assert table is not None
    assert any("no validation row has a label" in note for note in table.notes)
    assert codes(patient_run) == []


def test_a_pair_across_both_is_warned_of_twice_and_counted_once(patient_run: Path) -> None:
    table = pd.DataFrame({"kind": ["tile"], "across": ["patients and sides"]})
    table.to_csv(patient_run / "duplicates.csv", index=False)

    found = cautions(read_run(patient_run))

    assert [item.code for item in found] == ["duplicates-sides", "duplicates-patients"]
    assert found[0].title.startswith("1 pair of")


def test_every_warning_says_what_it_means_and_what_to_do(
    patient_run: Path, change: Callable[..., None]
) -> None:
    for name, keys, value in list(FAULTS.values())[:-1]:
        change(patient_run / name, *keys, value=value)

    for caution in cautions(read_run(patient_run)):
        assert caution.meaning.endswith(".")
        assert caution.action.endswith(".")
