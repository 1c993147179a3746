from typing import Any

import numpy as np
import pandas as pd
import pytest

from histokeras.analysis.collect import collect_predictions, predicted_names
from histokeras.analysis.evaluate import curves_of_levels, evaluate_levels
from histokeras.analysis.format import format_metrics
from histokeras.analysis.number_units import evaluate_numbers
from histokeras.analysis.units import EvaluationConfig, Units
from histokeras.errors import ConfigError, TableError

QUICK = EvaluationConfig(n_resamples=200)


def made(
    slope: float = 1.0, floor: float = 0.0, n: int = 60, noise: float = 1.0, **columns: Any
) -> dict[str, Any]:
    """One level: negative targets, a floor that follows them, the mean, an unlabelled unit."""
    rng = np.random.default_rng(0)
    targets = rng.normal(-5, 1, n)
    scores = slope * targets + noise * rng.normal(size=n)
    baselines = {"mean": np.full((n, 1), -4.9, np.float32), "floor": None}
    baselines["floor"] = (floor * targets + rng.normal(size=n))[:, np.newaxis]
    units = Units(
        level="patient",
        targets=np.append(targets, np.nan),
        scores={"mean_prediction": np.append(scores, 0.0)[:, np.newaxis]},
        patients=np.arange(n + 1),
        baselines={k: np.vstack([v, [[0.0]]]) for k, v in {**baselines, **columns}.items()},
    )
    return evaluate_numbers(units, config=QUICK)


def test_a_skilled_network_beats_a_floor_without_skill() -> None:
    level = made()

    assert (level["n"], level["n_unlabelled"], level["n_patients"]) == (60, 1, 60)
    own = level["aggregations"]["mean_prediction"]
    assert own["spearman"]["low"] > 0.4
    assert level["target"]["mean"] == pytest.approx(-5, abs=0.3)
    assert level["verdict"]["beaten"] is True
    assert level["verdict"]["text"].startswith("The network beats colour and texture alone")
    assert level["baselines"]["mean"]["title"] == "mean of the training patients"
    assert "calibration" not in level


def test_one_number_for_everyone_has_a_note_and_no_correlation() -> None:
    level = made()
    mean = level["baselines"]["mean"]

    for figure in ("spearman", "pearson"):
        assert mean[figure]["value"] is None
        assert mean[figure]["note"] == "all predictions are equal: no correlation"
        assert mean["difference"][figure]["value"] is None
        assert "not defined" in mean["difference"][figure]["note"]
    assert mean["r2"]["value"] <= 0
    network = level["aggregations"]["mean_prediction"]["mae"]["value"]
    difference = mean["difference"]["mae"]
    assert difference["value"] == pytest.approx(network - mean["mae"]["value"])


@pytest.mark.parametrize(
    ("changes", "beaten", "words"),
    [
        ({"slope": 0.0}, False, "No relation to the target is shown"),
        # The floor ranks backwards: a network without skill still beats nothing.
        ({"slope": 0.0, "floor": -3.0}, False, "not shown to beat"),
        (
            {"slope": 0.3, "floor": 5.0},
            False,
            "does NOT beat colour and texture alone, it is worse",
        ),
        ({"slope": -2.0}, False, "run against the target"),
        ({"slope": 0.0, "noise": 0.0}, False, "all predictions are equal"),
        ({"noise": 0.01}, True, "the network is nearer"),
    ],
)
def test_the_verdict_says_what_is_shown(
    changes: dict[str, float], beaten: bool, words: str
) -> None:
    verdict = made(**changes)["verdict"]

    assert verdict["beaten"] is beaten
    assert words in verdict["text"]


def tile_table(slide: int, label: str, predictions: list[float], **columns: Any) -> pd.DataFrame:
    facts = {"slide_id": f"S{slide}", "patient_id": f"P{slide // 2}", "label": label,
             "split": "test"}  # fmt: skip
    n = len(predictions)
    mean = np.full(n, 2.5, np.float32)
    return pd.DataFrame({"pred_score": predictions, "mean_score": mean}).assign(**facts, **columns)


def test_tiles_are_averaged_to_slides_and_patients() -> None:
    tables = [tile_table(0, "1.5", [1.0, 2.0, 6.0]), tile_table(1, "1.5", [10.0]),
              tile_table(2, "-4", [0.0]), tile_table(3, "-4", [-8.0, 0.0])]  # fmt: skip

    found = collect_predictions(tables)
    metrics = evaluate_levels(found, "patient", config=QUICK)

    assert found.task == "regression"
    assert found.slides["pred_score"].tolist() == [3.0, 10.0, 0.0, -4.0]
    # A patient is the pool of its tiles, not the mean of slide means.
    assert found.patients["pred_score"].tolist() == [19 / 4, pytest.approx(-8 / 3)]
    assert metrics["task"] == "regression"
    assert metrics["target"] == "score"
    assert not {"classes", "positive", "specificity"} & set(metrics)
    level = metrics["splits"]["test"]["patient"]
    own = level["aggregations"]["mean_prediction"]
    assert own["mae"]["value"] == pytest.approx((3.25 + 4 / 3) / 2)
    assert level["baselines"]["mean"]["mae"]["value"] == pytest.approx((1 + 6.5) / 2)
    assert curves_of_levels(found, metrics) == {}
    text = format_metrics(metrics)
    assert "test, patient level: 2 patients; score -4 to 1.5" in text
    assert "mean of the training patients" in text
    with pytest.raises(ConfigError, match="regression has none"):
        evaluate_levels(found, "patient", positive="x")


def test_tile_labels_and_folds_are_evaluated() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=40)
    tables = [
        tile_table(i, "", (truth[i::8] + 0.1).tolist(), fold=str(i % 2)).assign(label=truth[i::8])
        for i in range(8)
    ]

    found = collect_predictions(tables, keep_tiles=True)
    level = evaluate_levels(found, "tile", config=QUICK)["splits"]["test"]["tile"]

    assert level["n"] == 40
    assert level["aggregations"]["prediction"]["mae"]["value"] == pytest.approx(0.1, abs=1e-6)
    assert level["aggregations"]["prediction"]["spearman"]["value"] == pytest.approx(1)
    assert [fold["n"] for fold in level["folds"]] == [20, 20]
    assert level["folds"][0]["mae"] == pytest.approx(0.1, abs=1e-6)


def test_predictions_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(TableError, match=r"`pred_score` values that are no finite numbers: 1 row"):
        collect_predictions([tile_table(0, "1", [1.0, float("nan")])])
    assert predicted_names(pd.DataFrame({"prob_a": [1.0], "pred_x": [1.0]}))[0] == "classification"
