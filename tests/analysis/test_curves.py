import json

import numpy as np
import pytest
from sklearn import metrics as sk

from histokeras.analysis.calibration import reliability
from histokeras.analysis.curves import level_curves
from histokeras.analysis.units import EvaluationConfig, Units

QUICK = EvaluationConfig(n_resamples=100)
GRID = np.linspace(0, 1, 101)


def units(n_classes: int = 2, **changes: object) -> Units:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, n_classes, 400)
    logits = rng.normal(size=(400, n_classes)) + np.eye(n_classes)[targets]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given: dict = {
        "level": "tile",
        "targets": targets,
        "scores": {"probability": probs},
        "patients": np.arange(400) % 40,
    }
    return Units(**(given | changes))


def test_curves_equal_scikit_learn() -> None:
    given = units()
    truth, scores = given.targets == 1, given.scores["probability"][:, 1]

    found = level_curves(given, ("no", "yes"), positive="yes", config=QUICK)

    assert found["n"] == 400
    assert list(found["roc"]) == list(found["pr"]) == ["yes"]
    roc, pr = found["roc"]["yes"], found["pr"]["yes"]
    fpr, tpr, _ = sk.roc_curve(truth, scores, drop_intermediate=False)
    precision, recall, _ = sk.precision_recall_curve(truth, scores)
    assert roc["fpr"] == pr["recall"] == pytest.approx(GRID)
    assert roc["tpr"] == pytest.approx(np.interp(GRID, fpr, tpr))
    assert roc["auc"] == pytest.approx(sk.roc_auc_score(truth, scores))
    assert pr["precision"][1:] == pytest.approx(
        [precision[recall >= at - 1e-9][-1] for at in GRID[1:]]
    )
    assert pr["ap"] == pytest.approx(sk.average_precision_score(truth, scores))
    assert pr["base_rate"] == pytest.approx(truth.mean())


def test_bands_surround_the_curve_and_are_repeated_bit_for_bit() -> None:
    first, again = (level_curves(units(), ("no", "yes"), config=QUICK) for _ in range(2))

    assert first == again
    assert list(first["roc"]) == ["no", "yes"]
    roc = first["roc"]["yes"]
    inside = [
        low <= value <= high
        for low, value, high in zip(roc["low"], roc["tpr"], roc["high"], strict=True)
    ]
    assert all(inside)
    assert roc["high"][20] - roc["low"][20] > 0.02


def test_reliability_stands_before_and_after_scaling() -> None:
    given = units(3)
    raw = given.scores["probability"] ** 3
    raw /= raw.sum(axis=1, keepdims=True)
    given = units(3, raw={"probability": raw})

    found = level_curves(given, ("a", "b", "c"), config=QUICK)["calibration"]

    for name, probs in (("after", given.scores["probability"]), ("before", raw)):
        table = reliability(given.targets, probs)
        part = found[name]
        assert part["n"] == table.n.tolist()
        for n, accuracy, confidence, low, high in zip(
            *(part[key] for key in ("n", "accuracy", "confidence", "low", "high")), strict=True
        ):
            assert (accuracy is None) == (confidence is None) == (n == 0)
            assert (low is None) == (high is None)
            assert low is None or low <= accuracy <= high
        filled = [value for value in part["accuracy"] if value is not None]
        assert filled == pytest.approx(table.accuracy[table.n > 0])


def test_bins_of_few_patients_have_no_band() -> None:
    sure = np.tile([0.99, 0.01], (12, 1))
    sure[:4] = [0.6, 0.4]
    given = Units(
        level="patient",
        targets=np.arange(12) % 2,
        scores={"mean_probability": sure},
        patients=np.arange(12),
    )

    found = level_curves(given, ("no", "yes"), config=QUICK)["calibration"]["after"]

    assert (found["n"][8], found["n"][14]) == (4, 8)
    assert (found["accuracy"][8], found["low"][8], found["high"][8]) == (0.5, None, None)
    assert found["low"][14] is not None


def test_shares_of_tiles_have_no_reliability() -> None:
    given = units(scores={"share_of_tiles": units().scores["probability"]})

    assert level_curves(given, ("no", "yes"), config=QUICK)["calibration"] == {}


def test_class_that_does_not_occur_has_no_curve() -> None:
    scores = np.column_stack([units().scores["probability"], np.zeros(400)])

    found = level_curves(units(scores={"probability": scores}), ("a", "b", "c"), config=QUICK)

    assert list(found["roc"]) == list(found["pr"]) == ["a", "b"]


def test_levels_that_cannot_be_evaluated_have_no_curves() -> None:
    assert level_curves(units(n_mixed=1), ("no", "yes")) == {}
    assert level_curves(units(targets=np.full(400, -1)), ("no", "yes")) == {}


@pytest.mark.parametrize("patients", [np.zeros(400, dtype=int), None])
def test_curves_are_json_without_nan(patients: np.ndarray | None) -> None:
    targets = units().targets.copy()
    targets[:10] = -1

    found = level_curves(units(targets=targets, patients=patients), ("no", "yes"), config=QUICK)

    json.dumps(found, allow_nan=False)
    assert found["n"] == 390
    # One patient alone has no band.
    assert (found["roc"]["yes"]["low"][50] is None) == (patients is not None)
