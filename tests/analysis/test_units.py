import json
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

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


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """2 to 5 classes, 8 to 80 units, every second case with many equal scores."""
    rng = np.random.default_rng(seed)
    n_classes = 2 if seed % 3 else int(rng.integers(3, 6))
    n = int(rng.integers(8, 80))
    targets = rng.integers(0, n_classes, n)
    targets[:n_classes] = np.arange(n_classes)
    probs = rng.dirichlet(np.ones(n_classes), n) + np.eye(n_classes)[targets] / 3
    if seed % 2:
        probs = probs.round(1) + 0.1
    return targets, probs / probs.sum(axis=1, keepdims=True), tuple("abcde"[:n_classes])


def of_scikit_learn(targets: np.ndarray, probs: np.ndarray, ranked: list[int]) -> dict:
    said, classes = probs.argmax(axis=1), range(probs.shape[1])
    truths = {k: targets == k for k in classes}
    sensitivities = []
    for k in ranked:
        fpr, tpr, _ = sk.roc_curve(truths[k], probs[:, k], drop_intermediate=False)
        sensitivities.append(tpr[1 - fpr >= 0.8 - 1e-12].max())
    briers = [sk.brier_score_loss(truths[k], probs[:, k]) for k in classes]
    f1 = [sk.f1_score(truths[k], said == k, zero_division=np.nan) for k in classes]
    areas = [sk.roc_auc_score(truths[k], probs[:, k]) for k in ranked]
    precisions = [sk.average_precision_score(truths[k], probs[:, k]) for k in ranked]
    return {
        "auc": np.mean(areas),
        "auc_per_class": areas,
        "balanced_accuracy": sk.balanced_accuracy_score(targets, said),
        "accuracy": sk.accuracy_score(targets, said),
        "f1_macro": sk.f1_score(targets, said, average="macro"),
        "f1_per_class": f1,
        "pr_auc": np.mean(precisions),
        "pr_auc_per_class": precisions,
        "sensitivity_at_specificity": sensitivities,
        "brier": briers[0] if len(briers) == 2 else sum(briers),
    }


def test_each_metric_equals_scikit_learn_on_100_random_cases() -> None:
    config = EvaluationConfig(n_resamples=1, specificity=0.8)
    for seed in range(100):
        targets, probs, classes = random_case(seed)
        positive = "b" if len(classes) == 2 and seed % 4 else None
        given = Units(
            level="patient",
            targets=targets,
            scores={"mean_probability": probs},
            patients=np.arange(len(targets)),
        )

        found = evaluate_units(given, classes, positive=positive, config=config)

        values = found["aggregations"]["mean_probability"]
        ranked = [1] if positive else list(range(len(classes)))
        for name, wanted in of_scikit_learn(targets, probs, ranked).items():
            has = values[name]
            got = (
                [part["value"] for part in has.values()]
                if isinstance(wanted, list)
                else has["value"]
            )
            assert got == pytest.approx(wanted, abs=1e-12), (seed, name)
        said = probs.argmax(axis=1)
        counts = sk.confusion_matrix(targets, said)
        shares = sk.confusion_matrix(targets, said, normalize="true")
        assert values["confusion"]["counts"] == counts.tolist()
        np.testing.assert_allclose(values["confusion"]["row_shares"], shares)


def test_sensitivity_says_its_specificity() -> None:
    config = EvaluationConfig(n_resamples=20, specificity=0.75)

    found = evaluate_units(units(), ("no", "yes"), positive="yes", config=config)

    values = found["aggregations"]["probability"]
    assert values["specificity"] == 0.75
    assert list(values["sensitivity_at_specificity"]) == ["yes"]
    assert list(values["pr_auc_per_class"]) == ["yes"]


@pytest.mark.parametrize("specificity", [0.0, 1.0, -0.1, 90])
def test_impossible_specificities_are_refused(specificity: float) -> None:
    with pytest.raises(ValueError, match="`specificity` is a share in"):
        EvaluationConfig(specificity=specificity)


def test_shares_of_tiles_are_no_probabilities() -> None:
    scores = dict.fromkeys(("mean_probability", "share_of_tiles"), units().scores["probability"])

    found = evaluate_units(units(scores=scores), ("no", "yes"), config=QUICK)["aggregations"]

    assert {"brier", "ece"} <= set(found["mean_probability"])
    assert not {"brier", "ece"} & set(found["share_of_tiles"])
    assert found["mean_probability"]["brier"]["value"] == pytest.approx(
        (7 * 0.1**2 + 5 * 0.2**2) / 12
    )


def test_class_without_a_unit_has_no_row_shares() -> None:
    scores = {"probability": np.column_stack([*units().scores["probability"].T, np.zeros(12)])}

    found = evaluate_units(units(scores=scores), ("a", "b", "c"), config=QUICK)

    confusion = found["aggregations"]["probability"]["confusion"]
    assert confusion["counts"] == [[5, 0, 0], [0, 7, 0], [0, 0, 0]]
    assert confusion["row_shares"] == [[1, 0, 0], [0, 1, 0], [None, None, None]]


def test_calibration_before_and_after_scaling_stand_side_by_side() -> None:
    raw = np.eye(2)[units().targets] * 0.98 + 0.01
    raw[0] = raw[0, ::-1]

    scaled = evaluate_units(units(raw={"probability": raw}), ("no", "yes"), config=QUICK)
    plain = evaluate_units(units(), ("no", "yes"), config=QUICK)

    assert plain["calibration"] is None
    found, values = scaled["calibration"], scaled["aggregations"]["probability"]
    assert found["after"] == {"brier": values["brier"], "ece": values["ece"]}
    assert found["before"]["brier"]["value"] == pytest.approx((11 * 0.01**2 + 0.99**2) / 12)
    assert found["before"]["brier"]["low"] is not None


def test_baselines_stand_beside_the_network_with_paired_differences() -> None:
    network = units().scores["probability"]
    constant = np.tile([0.3, 0.7], (12, 1))
    given = units(baselines={"majority": constant, "colour": network, "floor": constant})

    found = evaluate_units(given, ("no", "yes"), positive="yes", config=QUICK)

    blocks = found["baselines"]
    assert [block["title"] for block in blocks.values()] == [
        "majority class", "six colour numbers", "colour and texture, no network"
    ]  # fmt: skip
    majority = blocks["majority"]
    assert (majority["auc"]["value"], majority["auc"]["low"]) == (0.5, 0.5)
    assert majority["accuracy"]["value"] == pytest.approx(7 / 12)
    assert majority["balanced_accuracy"]["value"] == 0.5
    assert majority["difference"]["auc"]["value"] == 0.5
    assert majority["difference"]["accuracy"]["value"] == pytest.approx(5 / 12)
    for estimate in blocks["colour"]["difference"].values():
        assert (estimate["value"], estimate["low"], estimate["high"]) == (0, 0, 0)
    assert found["verdict"]["beaten"] is True
    assert "But even six colour numbers alone may do as well" in found["verdict"]["text"]


def test_without_baselines_the_verdict_is_open() -> None:
    found = evaluate_units(units(), ("no", "yes"), config=QUICK)

    assert found["baselines"] == {}
    assert found["verdict"]["beaten"] is None


@pytest.mark.parametrize("n", [1, 2, 6])
def test_degenerate_cohorts_give_none_and_never_nan(n: int) -> None:
    constant = np.tile([0.5, 0.5], (n, 1))
    given = Units(
        level="patient",
        targets=np.zeros(n, dtype=int),
        scores={"mean_probability": constant, "share_of_tiles": constant},
        patients=np.arange(n),
        raw={"mean_probability": constant},
        baselines={"majority": constant, "floor": constant},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate_units(given, ("no", "yes"), positive="yes", config=QUICK)

    json.dumps(found, allow_nan=False)
    assert found["aggregations"]["mean_probability"]["pr_auc"]["value"] is None
    assert found["verdict"]["beaten"] is None


def test_unlabelled_rows_are_left_out_of_all_scores() -> None:
    targets = units().targets.copy()
    targets[0] = -1
    scores = units().scores["probability"]
    wrong = scores.copy()
    wrong[0] = [0.0, 1.0]
    given = units(
        targets=targets,
        scores={"probability": wrong},
        raw={"probability": wrong},
        baselines={"floor": wrong},
    )

    found = evaluate_units(given, ("no", "yes"), config=QUICK)

    assert found["calibration"]["before"]["brier"]["value"] == pytest.approx(
        (7 * 0.1**2 + 4 * 0.2**2) / 11
    )
    assert found["baselines"]["floor"]["auc"]["value"] == 1
    assert found["aggregations"]["probability"]["confusion"]["counts"] == [[4, 0], [0, 7]]
