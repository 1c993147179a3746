import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from histokeras.analysis.collect import Predictions, collect_predictions
from histokeras.analysis.evaluate import default_positive, evaluate_levels
from histokeras.analysis.units import EvaluationConfig
from histokeras.errors import ConfigError

QUICK = EvaluationConfig(n_resamples=100)


def cohort(n_patients: int = 20, *, label_level: str = "patient", seed: int = 0) -> pd.DataFrame:
    """Two slides a patient, 10 tiles a slide; even patients are "no", odd ones "yes"."""
    rng = np.random.default_rng(seed)
    slide = np.repeat(np.arange(2 * n_patients), 10)
    patient = slide // 2
    truth = patient % 2
    if label_level == "tile":
        truth = rng.integers(0, 2, len(slide))
    yes = np.clip(0.2 + 0.3 * truth + rng.normal(0, 0.3, len(slide)), 0, 1)
    return pd.DataFrame(
        {
            "slide_id": [f"S{s:03d}" for s in slide],
            "patient_id": [f"P{p:03d}" for p in patient],
            "label": np.where(truth == 1, "yes", "no"),
            "split": np.where(patient % 4 < 2, "test", "val"),
            "prob_no": 1 - yes,
            "prob_yes": yes,
        }
    )


def collected(table: pd.DataFrame) -> Predictions:
    parts = [part for _, part in table.groupby("slide_id")] if "slide_id" in table else [table]
    return collect_predictions(parts, keep_tiles=True)


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (("0", "1"), "1"),
        (("no", "yes"), "yes"),
        (("No", "Yes"), "Yes"),
        (("Positive", "NEGATIVE"), "Positive"),
        (("a", "b"), None),
        (("no", "positive"), None),
        (("0", "1", "2"), None),
        (("yes",), None),
    ],
)
def test_default_positive_knows_three_pairs(classes: tuple[str, ...], positive: str | None) -> None:
    assert default_positive(classes) == positive


def test_figures_stand_patients_first_and_not_below_the_labels() -> None:
    levels = evaluate_levels(collected(cohort()), "slide", config=QUICK)["splits"]["test"]

    assert list(levels) == ["patient", "slide", "tile"]
    assert levels["patient"]["n"] == 10
    assert levels["slide"]["n"] == 20
    assert levels["slide"]["n_patients"] == 10
    assert levels["tile"] == {"evaluated": False, "reason": "labels stand at the slide level"}


def test_patient_auc_is_that_of_the_pooled_tiles() -> None:
    table = cohort()
    test = table[table["split"] == "test"]
    pooled = test.groupby("patient_id").agg(label=("label", "first"), yes=("prob_yes", "mean"))
    share = (test["prob_yes"] > test["prob_no"]).groupby(test["patient_id"]).mean()

    patient = evaluate_levels(collected(table), "patient", config=QUICK)["splits"]["test"][
        "patient"
    ]

    found = patient["aggregations"]
    assert list(found) == ["mean_probability", "share_of_tiles"]
    assert found["mean_probability"]["auc"]["value"] == pytest.approx(
        sk.roc_auc_score(pooled["label"] == "yes", pooled["yes"])
    )
    assert found["share_of_tiles"]["auc"]["value"] == pytest.approx(
        sk.roc_auc_score(pooled["label"] == "yes", share)
    )
    assert found["mean_probability"]["accuracy"]["value"] == pytest.approx(
        ((pooled["yes"] > 0.5) == (pooled["label"] == "yes")).mean()
    )


def test_tile_figures_resample_patients() -> None:
    table = cohort(label_level="tile")
    twice = pd.concat([table, table.assign(slide_id=table["slide_id"] + "b")])

    once, copied = (
        evaluate_levels(collected(t), "tile", config=QUICK)["splits"]["test"]["tile"]
        for t in (table, twice)
    )

    assert once["resampled_by"] == "patient"
    assert (once["n"], copied["n"]) == (200, 400)
    # Doubled tiles double the counts, and nothing else.
    single, double = (
        level["aggregations"]["probability"].pop("confusion") for level in (once, copied)
    )
    assert (2 * np.array(single["counts"]) == double["counts"]).all()
    assert once["aggregations"] == copied["aggregations"]


def test_patients_of_several_labels_are_not_evaluated() -> None:
    table = cohort(label_level="tile")

    levels = evaluate_levels(collected(table), "tile", config=QUICK)["splits"]["test"]

    assert levels["tile"]["evaluated"]
    assert levels["patient"] == {
        "evaluated": False,
        "reason": "10 of 10 patients carry more than one label",
    }
    assert "of 20 slides carry more than one label" in levels["slide"]["reason"]


def test_order_of_rows_and_tables_changes_no_figure() -> None:
    table = cohort(label_level="tile")
    found = evaluate_levels(collected(table), "tile", config=QUICK)

    shuffled = table.sample(frac=1, random_state=1)
    parts = [part for _, part in shuffled.groupby("slide_id")][::-1]

    again = evaluate_levels(collect_predictions(parts, keep_tiles=True), "tile", config=QUICK)
    assert json.dumps(again) == json.dumps(found)


def test_metrics_are_json_with_stable_keys() -> None:
    found = evaluate_levels(collected(cohort()), "patient", config=QUICK)

    text = json.dumps(found, allow_nan=False)

    assert json.loads(text) == found
    assert list(found) == [
        "classes",
        "positive",
        "label_level",
        "n_resamples",
        "alpha",
        "seed",
        "specificity",
        "splits",
    ]
    assert found["positive"] == "yes"
    assert set(found["splits"]["test"]["patient"]["aggregations"]["mean_probability"]) == {
        "auc",
        "auc_of",
        "auc_per_class",
        "balanced_accuracy",
        "accuracy",
        "f1_macro",
        "f1_per_class",
        "pr_auc",
        "pr_auc_per_class",
        "sensitivity_at_specificity",
        "specificity",
        "brier",
        "ece",
        "confusion",
    }


def test_splits_are_evaluated_on_request() -> None:
    config = EvaluationConfig(n_resamples=50, splits=("test", "val"))

    splits = evaluate_levels(collected(cohort()), "patient", config=config)["splits"]

    assert list(splits) == ["test", "val"]
    assert splits["val"]["patient"]["n"] == 10
    one = splits["test"]["patient"]["aggregations"]
    assert one != splits["val"]["patient"]["aggregations"]


def test_split_without_rows_is_not_evaluated() -> None:
    config = EvaluationConfig(splits=("train",))

    levels = evaluate_levels(collected(cohort()), "tile", config=config)["splits"]["train"]

    assert levels["patient"]["reason"] == "no patients in the split train"
    assert levels["tile"]["reason"] == "no tiles in the split train"


def test_predictions_without_split_are_evaluated_together() -> None:
    table = cohort().drop(columns="split")

    splits = evaluate_levels(collected(table), "tile", config=QUICK)["splits"]

    assert list(splits) == ["all"]
    assert splits["all"]["patient"]["n"] == 20
    assert splits["all"]["tile"]["n"] == 400


def test_without_patients_each_level_resamples_itself_and_says_so() -> None:
    levels = evaluate_levels(
        collected(cohort(40).drop(columns="patient_id")), "tile", config=QUICK
    )["splits"]["test"]

    assert levels["patient"] == {"evaluated": False, "reason": "no patient ids are known"}
    for level in ("slide", "tile"):
        assert levels[level]["resampled_by"] == level
        assert levels[level]["note"] == "tile-level, not patient-safe"


def test_ready_made_tiles_may_lack_slides() -> None:
    levels = evaluate_levels(collected(cohort().drop(columns="slide_id")), "tile", config=QUICK)[
        "splits"
    ]["test"]

    assert levels["slide"] == {"evaluated": False, "reason": "no slide ids are known"}
    assert levels["patient"]["n"] == 10


def test_three_classes_are_set_one_against_the_rest() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet([1, 1, 1], 30)
    table = pd.DataFrame({"patient_id": [f"P{i:02d}" for i in range(30)]})
    table["label"] = [("a", "b", "c")[i % 3] for i in range(30)]
    table[["prob_a", "prob_b", "prob_c"]] = probs

    found = evaluate_levels(collected(table), "patient", config=QUICK)

    mean = found["splits"]["all"]["patient"]["aggregations"]["mean_probability"]
    expected = [sk.roc_auc_score(table["label"] == c, table[f"prob_{c}"]) for c in "abc"]
    assert found["positive"] is None
    assert mean["auc_of"] == "macro"
    assert [mean["auc_per_class"][c]["value"] for c in "abc"] == pytest.approx(expected)
    assert mean["auc"]["value"] == pytest.approx(np.mean(expected))


def test_positive_that_is_no_class_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Received: positive='maybe', classes \['no', 'yes'\]"):
        evaluate_levels(collected(cohort()), "patient", positive="maybe")


def test_single_class_is_refused() -> None:
    table = cohort().drop(columns="prob_no").assign(label="yes")

    with pytest.raises(ConfigError, match=r"at least 2 classes. Received: \['yes'\]"):
        evaluate_levels(collected(table), "patient")


def test_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="`label_level` must be one of"):
        evaluate_levels(collected(cohort()), "case")


def test_tile_labels_need_the_tiles() -> None:
    without = collect_predictions([cohort()])

    with pytest.raises(ValueError, match="collect the predictions with keep_tiles=True"):
        evaluate_levels(without, "tile")


def test_positive_class_can_be_chosen() -> None:
    chosen = evaluate_levels(collected(cohort()), "patient", positive="no", config=QUICK)

    mean = chosen["splits"]["test"]["patient"]["aggregations"]["mean_probability"]
    assert chosen["positive"] == "no"
    assert list(mean["auc_per_class"]) == ["no"]
