import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from histokeras.analysis.collect import Predictions, collect_predictions
from histokeras.analysis.evaluate import evaluate_levels
from histokeras.analysis.format import format_metrics
from histokeras.analysis.strata import MOST_VALUES
from histokeras.analysis.units import EvaluationConfig

QUICK = EvaluationConfig(n_resamples=200, seed=3)


def predicted(
    types: list[str], labels: list[str], yes: list[float], *, splits: str = "", **more: list[str]
) -> Predictions:
    """One tile a patient, in the order of the ids."""
    names = [f"P{i:03d}" for i in range(len(types))]
    table = pd.DataFrame({"slide_id": names, "patient_id": names, "label": labels})
    table["prob_no"], table["prob_yes"] = 1 - np.array(yes), yes
    if splits:
        table["split"] = splits
    found = {"tumour_type": types, **more}
    categories = {name: dict(zip(names, values, strict=True)) for name, values in found.items()}
    return dataclasses.replace(collect_predictions([table]), categories=categories)


def evaluated(predictions: Predictions, config: EvaluationConfig = QUICK) -> dict:
    split = evaluate_levels(predictions, "patient", config=config)["splits"]
    return next(iter(split.values()))["patient"]


def made(n: int = 60, seed: int = 0) -> Predictions:
    """Three types; the label goes with the first of them, and a little with the probability."""
    rng = np.random.default_rng(seed)
    types = rng.choice(["lung", "colon", "skin"], n).tolist()
    truth = rng.random(n) < np.where(np.array(types) == "lung", 0.7, 0.4)
    yes = np.clip(0.4 + 0.2 * truth + rng.normal(0, 0.2, n), 0, 1)
    return predicted(types, np.where(truth, "yes", "no").tolist(), yes.round(1).tolist())


def test_figures_within_a_type_are_those_counted_by_hand() -> None:
    # colon: of 2 x 2 pairs .6 beats .2 and .5, .5 beats .2 and ties with .5: 3.5 of 4. Above .5
    # lies one of two that are yes; neither of two that are no: (1 + 1/2) / 2.
    # lung: .9 against .1: 1, and all right.
    by = evaluated(
        predicted(
            ["colon", "lung", "colon", "colon", "lung", "colon", ""],
            ["yes", "yes", "no", "yes", "no", "no", "no"],
            [0.6, 0.9, 0.5, 0.5, 0.1, 0.2, 0.95],
        )
    )["by"]["tumour_type"]

    assert list(by) == ["colon", "lung"]
    colon = by["colon"]
    assert (colon["n"], colon["n_patients"]) == (4, 4)
    assert colon["n_per_class"] == {"no": 2, "yes": 2}
    assert colon["auc"]["value"] == 3.5 / 4
    assert colon["balanced_accuracy"]["value"] == 0.75
    assert by["lung"]["auc"]["value"] == by["lung"]["balanced_accuracy"]["value"] == 1
    assert colon["note"] == "fewer than 5 patients in class no, class yes: interval not reliable"


def test_a_type_is_evaluated_as_if_its_patients_were_the_cohort() -> None:
    predictions = made()
    whole = evaluated(predictions)
    without = evaluated(dataclasses.replace(predictions, categories={}))

    # Nothing else changes by a bit.
    assert json.dumps({k: v for k, v in whole.items() if k[:2] != "by"}) == json.dumps(without)
    types = predictions.categories["tumour_type"]
    slides = predictions.slides
    for value, found in whole["by"]["tumour_type"].items():
        rows = slides[slides["patient_id"].map(types) == value]
        alone = evaluated(collect_predictions([rows]))
        own = alone["aggregations"]["mean_probability"]
        assert found["n"] == alone["n"] > 10
        assert found["n_per_class"] == alone["n_per_class"]
        assert found["auc"] == own["auc"]
        assert found["auc"]["low"] < found["auc"]["value"] < found["auc"]["high"]
        assert found["balanced_accuracy"] == own["balanced_accuracy"]
        assert found["note"] == ""


def test_one_class_alone_has_no_figure_and_says_so() -> None:
    by = evaluated(
        predicted(["a"] * 4 + ["b"] * 3, ["yes", "no"] * 2 + ["no"] * 3, [0.8, 0.1] * 2 + [0.2] * 3)
    )["by"]["tumour_type"]

    assert by["b"]["n_per_class"] == {"no": 3, "yes": 0}
    assert by["b"]["note"] == "class no alone: not defined"
    for name in ("auc", "balanced_accuracy"):
        assert [by["b"][name][key] for key in ("value", "low", "high")] == [None] * 3
    assert by["a"]["auc"]["value"] == 1


def test_a_class_that_a_type_lacks_is_named() -> None:
    names = [f"P{i:02d}" for i in range(24)]
    table = pd.DataFrame({"slide_id": names, "patient_id": names, "label": list("abcb") * 6})
    probs = np.random.default_rng(0).dirichlet([1, 1, 1], 24)
    table[["prob_a", "prob_b", "prob_c"]] = probs
    in_x = (table["label"] == "c") | (table.index < 8)
    types = dict(zip(names, np.where(in_x, "x", "y").tolist(), strict=True))
    found = collect_predictions([table])

    by = evaluated(dataclasses.replace(found, categories={"site": types}))["by"]["site"]

    assert by["y"]["n_per_class"] == {"a": 4, "b": 8, "c": 0}
    assert by["y"]["note"].startswith("class c does not occur; fewer than 5 patients in class a")
    assert by["y"]["auc"]["value"] is not None


def test_columns_that_group_nobody_are_left_out_with_the_reason() -> None:
    n = 2 * (MOST_VALUES + 1)
    labels, yes = ["no", "yes"] * (n // 2), [0.2, 0.7] * (n // 2)
    pairs = [f"{i // 2:03d}" for i in range(n)]
    few = [f"S{min(i, 4)}" for i in range(n)]

    many = evaluated(predicted(pairs, labels, yes, site=few))
    one = evaluated(predicted(["x"] * n, labels, yes, site=[""] * n))

    assert many["by"] == one["by"] == {}
    assert many["by_left_out"] == {
        "tumour_type": "51 values, more than 50",
        "site": "4 of 5 values have one patient only",
    }
    assert one["by_left_out"] == {
        "tumour_type": "all have the same", "site": "not known of any patient",
    }  # fmt: skip


def test_only_the_side_that_counts_and_its_first_level_are_looked_at() -> None:
    types, labels = ["a", "b"] * 8, ["no", "no", "yes", "yes"] * 4
    predictions = predicted(types, labels, [0.1, 0.3, 0.4, 0.6] * 4, splits="test")
    levels = evaluate_levels(predictions, "slide", config=QUICK)["splits"]["test"]

    assert set(levels["patient"]["by"]["tumour_type"]) == {"a", "b"}
    assert "by" not in levels["slide"]
    val = predicted(types, labels, [0.1, 0.3, 0.4, 0.6] * 4, splits="val")
    config = dataclasses.replace(QUICK, splits=("val",))
    assert "by" not in evaluated(val, config)


def test_tiles_are_grouped_by_their_patient() -> None:
    rng = np.random.default_rng(0)
    names = np.repeat([f"P{i}" for i in range(8)], 10)
    table = pd.DataFrame({"slide_id": names, "patient_id": names})
    table["label"] = rng.choice(["no", "yes"], len(table))
    # Numbers of patients count those of the other side too.
    table["split"] = np.where(np.arange(len(table)) < 20, "val", "test")
    table["prob_yes"] = rng.random(len(table))
    table["prob_no"] = 1 - table["prob_yes"]
    types = {f"P{i}": "odd" if i % 2 else "even" for i in range(8)}
    parts = [part for _, part in table.groupby("slide_id")][::-1]
    found = dataclasses.replace(
        collect_predictions(parts, keep_tiles=True), categories={"tumour_type": types}
    )

    level = evaluate_levels(found, "tile", config=QUICK)["splits"]["test"]["tile"]

    odd = table[(table["split"] == "test") & (table["patient_id"].map(types) == "odd")]
    alone = evaluate_levels(collect_predictions([odd], keep_tiles=True), "tile", config=QUICK)
    mine = level["by"]["tumour_type"]["odd"]
    assert (mine["n"], mine["n_patients"]) == (30, 3)
    assert mine["auc"] == alone["splits"]["test"]["tile"]["aggregations"]["probability"]["auc"]


def test_numbers_have_spearman_and_error_within_each_type() -> None:
    rng = np.random.default_rng(1)
    n = 24
    names = [f"P{i:02d}" for i in range(n)]
    score = rng.normal(10, 2, n).round(2)
    table = pd.DataFrame({"slide_id": names, "patient_id": names, "label": score.astype(str)})
    table["pred_score"] = (score + rng.normal(0, 1, n)).round(3)
    types = dict(zip(names, ["a", "b", "b"] * 8, strict=True))
    found = dataclasses.replace(collect_predictions([table]), categories={"tumour_type": types})

    metrics = evaluate_levels(found, "patient", config=QUICK)

    level = metrics["splits"]["all"]["patient"]
    for value in ("a", "b"):
        rows = table[table["patient_id"].map(types) == value]
        alone = evaluated(collect_predictions([rows]))["aggregations"]["mean_prediction"]
        mine = level["by"]["tumour_type"][value]
        assert set(mine) == {"n", "n_patients", "spearman", "mae", "note"}
        assert (mine["spearman"], mine["mae"]) == (alone["spearman"], alone["mae"])
        truth = rows["label"].astype(float)
        expected = spearmanr(truth, rows["pred_score"]).statistic
        assert mine["spearman"]["value"] == pytest.approx(expected)
        assert mine["mae"]["value"] == pytest.approx((truth - rows["pred_score"]).abs().mean())
    text = format_metrics(metrics)
    assert "within each tumour type  patients  Spearman" in text


def test_the_terminal_shows_two_to_25_values() -> None:
    labels, yes = ["no", "yes"] * 52, [0.2, 0.7, 0.6, 0.5] * 26
    several = [f"T{i % 26:02d}" for i in range(104)]
    site = ["north"] * 50 + ["south"] * 53 + [""]
    found = predicted(several, labels, yes, site=site)
    metrics = evaluate_levels(found, "patient", config=QUICK)

    lines = format_metrics(metrics).splitlines()

    assert len(metrics["splits"]["all"]["patient"]["by"]["tumour_type"]) == 26
    assert not [line for line in lines if "T00" in line]
    (north,) = [line for line in lines if line.startswith("  north")]
    assert north.split()[:5] == ["north", "50", "25", "/", "25"]
    assert any("2 were looked at, none is corrected" in line for line in lines)
    assert all(len(line) <= 100 for line in lines)
