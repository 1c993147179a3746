import numpy as np
import pytest

from histokeras.analysis.units import EvaluationConfig, Units, evaluate_units
from histokeras.errors import TableError

QUICK = EvaluationConfig(n_resamples=200)


def units(level: str = "tile", **changes: object) -> Units:
    targets = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0])
    yes = np.where(targets == 1, 0.9, 0.2)
    given: dict = {
        "level": level,
        "targets": targets,
        "scores": {"probability": np.column_stack([1 - yes, yes])},
        "patients": np.arange(12),
    }
    return Units(**(given | changes))


def test_counts_and_base_rate_are_plain() -> None:
    found = evaluate_units(units(patients=np.arange(12) // 2), ("no", "yes"), config=QUICK)

    assert found["n"] == 12
    assert found["n_patients"] == 6
    assert found["n_per_class"] == {"no": 5, "yes": 7}
    assert found["n_patients_per_class"] == {"no": 3, "yes": 4}
    assert found["base_rate"] == pytest.approx(7 / 12)
    assert found["prevalence"] == pytest.approx({"no": 5 / 12, "yes": 7 / 12})
    assert found["resampled_by"] == "patient"
    assert found["note"] == ""


def test_unlabelled_units_are_left_out_and_counted() -> None:
    targets = units().targets.copy()
    targets[:2] = -1

    found = evaluate_units(units(targets=targets), ("no", "yes"), config=QUICK)

    assert (found["n"], found["n_unlabelled"], found["n_patients"]) == (10, 2, 10)


def test_positive_class_gives_the_headline() -> None:
    named = evaluate_units(units(), ("no", "yes"), positive="yes", config=QUICK)
    unnamed = evaluate_units(units(), ("no", "yes"), config=QUICK)

    named, unnamed = (found["aggregations"]["probability"] for found in (named, unnamed))
    assert named["auc_of"] == "yes"
    assert list(named["auc_per_class"]) == ["yes"]
    assert named["auc"]["value"] == 1
    assert unnamed["auc_of"] == "macro"
    assert list(unnamed["auc_per_class"]) == ["no", "yes"]
    assert list(unnamed["f1_per_class"]) == ["no", "yes"]


def test_interval_says_how_it_was_made() -> None:
    found = evaluate_units(units(), ("no", "yes"), config=QUICK)

    assert found["aggregations"]["probability"]["accuracy"] == {
        "value": 1.0,
        "low": 1.0,
        "high": 1.0,
        "n_patients": 12,
        "n_resamples": 200,
        "redrawn": 0,
        "note": "",
    }


def test_mixed_labels_are_not_evaluated() -> None:
    found = evaluate_units(units("patient", n_mixed=3), ("no", "yes"))

    assert found == {"evaluated": False, "reason": "3 of 12 patients carry more than one label"}


def test_units_without_labels_are_not_evaluated() -> None:
    found = evaluate_units(units("slide", targets=np.full(12, -1)), ("no", "yes"))

    assert found == {"evaluated": False, "reason": "none of 12 slides has a label"}


def test_unknown_patients_are_called_not_patient_safe() -> None:
    found = evaluate_units(units(patients=None), ("no", "yes"), config=QUICK)

    assert found["resampled_by"] == "tile"
    assert found["note"] == "tile-level, not patient-safe"
    assert found["n_patients"] is None
    assert found["n_patients_per_class"] is None
    assert found["aggregations"]["probability"]["auc"]["n_patients"] is None


def test_tile_level_split_is_called_so_even_with_patient_ids() -> None:
    config = EvaluationConfig(n_resamples=200, patient_safe=False)

    found = evaluate_units(units(), ("no", "yes"), config=config)

    assert found["resampled_by"] == "patient"
    assert found["note"] == "tile-level, not patient-safe"


def test_class_that_does_not_occur_is_named() -> None:
    scores = {"probability": np.column_stack([*units().scores["probability"].T, np.zeros(12)])}

    found = evaluate_units(units(scores=scores), ("a", "b", "c"), config=QUICK)

    assert found["note"] == "class c does not occur"
    assert found["n_per_class"]["c"] == 0
    assert found["aggregations"]["probability"]["auc_per_class"]["c"]["value"] is None


def test_patients_known_for_a_part_are_refused() -> None:
    with pytest.raises(TableError, match="1 of 12 tiles have no patient_id, the others have one"):
        evaluate_units(units(patients=np.arange(-1, 11)), ("no", "yes"))
