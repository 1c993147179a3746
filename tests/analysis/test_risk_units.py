import dataclasses

import numpy as np
import pandas as pd
import pytest

from histokeras.analysis.cox import fit_cox
from histokeras.analysis.format import format_metrics
from histokeras.analysis.risk_baselines import encoded, fit_risk_baselines
from histokeras.analysis.risk_units import Risks, evaluate_risks, group_curves, hazard_ratio
from histokeras.analysis.units import EvaluationConfig

QUICK = EvaluationConfig(n_resamples=200)


def planted(n: int = 120, beta: float = 1.0, *, seed: int = 0) -> Risks:
    """Patients whose hazard goes with their risk, and a clinical number that knows nothing."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    time = rng.exponential(np.exp(-beta * risk))
    end = rng.exponential(2, n)
    return Risks(
        np.minimum(time, end).round(2) + 0.01,
        time < end,
        risk,
        risk / risk.std(),
        risk > np.median(risk),
        baselines={"constant": np.zeros(n), "clinical": rng.normal(size=n)},
    )


def test_c_index_and_groups_by_hand() -> None:
    # Events at 1, 2, 4, 5, 6; censored at 3. Comparable: 5 + 4 + 2 + 1 pairs; the risk is wrong
    # of (2, 3), (2, 4), and in doubt of (5, 6).
    time = np.array([1.0, 2, 3, 4, 5, 6])
    event = np.array([True, True, False, True, True, True])
    risk = np.array([9.0, 3, 4, 5, 1, 1])
    level = evaluate_risks(
        Risks(time, event, risk, risk, risk > 3.5, baselines={"constant": np.zeros(6)}),
        config=QUICK,
    )

    own = level["aggregations"]["risk"]
    assert own["c_index"]["value"] == pytest.approx((12 - 2 - 0.5) / 12)
    assert level["baselines"]["constant"]["c_index"]["value"] == 0.5
    difference = level["baselines"]["constant"]["difference"]["c_index"]
    assert difference["value"] == pytest.approx(9.5 / 12 - 0.5)
    assert (level["n"], level["n_events"]) == (6, 5)
    assert level["groups"]["high"] == {"n": 3, "n_events": 2, "median": 4.0}
    curves = group_curves(Risks(time, event, risk, risk, risk > 3.5), alpha=0.05)
    assert curves["high"]["survival"] == pytest.approx([1, 2 / 3, 2 / 3, 0])
    assert curves["high"]["censored"] == [3.0]
    assert None in curves["high"]["low"]


def test_fewer_than_five_events_are_said_and_not_computed() -> None:
    few = planted(20)
    few = dataclasses.replace(few, event=np.arange(20) < 4)

    level = evaluate_risks(few, side="test")

    assert level == {
        "evaluated": False,
        "reason": "4 event(s) in 20 test patient(s): with fewer than 5 nothing is computed",
    }


def test_hazard_ratio_agrees_with_statsmodels_and_keeps_folds_apart() -> None:
    risks = planted()
    term = fit_cox(risks.standard[:, np.newaxis], ["risk"], risks.time, risks.event).terms[0]

    found = hazard_ratio(risks, risks.standard, alpha=0.05)

    for name, value in (("value", term.hazard_ratio), ("low", term.low), ("high", term.high)):
        assert found[name] == pytest.approx(value, rel=1e-3)
    # Another fold in which all is the other way round but far later: strata leave it alone.
    later = dataclasses.replace(planted(seed=1), time=planted(seed=1).time + 1000)
    both = Risks(*(
        np.concatenate([getattr(part, name) for part in (risks, later)])
        for name in ("time", "event", "risk", "standard", "high")
    ), fold=np.repeat([0, 1], 120))  # fmt: skip
    alone = [hazard_ratio(part, part.standard, alpha=0.05)["value"] for part in (risks, later)]
    pooled = hazard_ratio(both, both.standard, alpha=0.05)["value"]
    assert min(alone) < pooled < max(alone)
    nobody = hazard_ratio(risks, np.zeros(120), alpha=0.05)
    assert (nobody["value"], nobody["note"]) == (None, "the same for everyone: no hazard ratio")


def test_a_planted_risk_is_found_and_noise_is_not_claimed() -> None:
    risks = planted()
    level = evaluate_risks(risks, config=QUICK)

    assert level["verdict"]["beaten"] is True
    assert "It tells more than the clinical columns alone (C-index 0." in level["verdict"]["text"]
    low, high = (level["aggregations"]["risk"]["hazard_ratio"][end] for end in ("low", "high"))
    assert low < np.exp(risks.risk.std()) < high
    assert level["groups"]["p"] < 0.001
    metrics = {
        "task": "survival", "n_resamples": 200, "alpha": 0.05,
        "splits": {"test": {"patient": {**level, "clinical_columns": ["age"]}}},
    }  # fmt: skip
    text = format_metrics(metrics)
    assert "test, patient level: 120 patients, " in text
    assert "clinical columns: age" in text
    noise = dataclasses.replace(risks, risk=risks.baselines["clinical"], baselines={})
    level = evaluate_risks(noise, config=QUICK)
    assert level["verdict"]["beaten"] is False
    assert level["verdict"]["text"].startswith("No relation to survival is shown: the C-index is")
    assert level["verdict"]["text"].endswith("There are no clinical columns to compare with.")


def test_columns_become_covariates_by_what_training_patients_have() -> None:
    train = np.array([True, True, True, False, False])
    stage = pd.CategoricalDtype(["T1", "T2", "T3"], ordered=True)
    columns = {
        "age": pd.Series([50.0, np.nan, 70, np.nan, 90]),
        "T": pd.Series(pd.Categorical(["T1", "T3", "T2", None, "T3"], dtype=stage)),
        "type": pd.Series(pd.Categorical(["a", "b", "a", "c", None])),
        "gone": pd.Series([np.nan, np.nan, np.nan, 1, 2]),
    }

    terms, x = encoded(columns, train)

    assert terms == ["age", "age: missing", "T", "type: b"]
    assert x[:, 0].tolist() == [50, 60, 70, 60, 90]
    assert x[:, 1].tolist() == [0, 1, 0, 1, 0]
    assert x[:, 2].tolist() == [0, 2, 1, 1, 2]
    # A type that was not seen, and none at all, count as the first.
    assert x[:, 3].tolist() == [0, 1, 0, 0, 0]


def test_baselines_learn_from_training_patients_alone() -> None:
    risks = planted(200)
    train = np.arange(200) < 140
    x = np.column_stack([risks.risk, risks.baselines["clinical"]])
    spoilt = np.where(train[:, np.newaxis], x, 1e6 * x)

    models, told = fit_risk_baselines(
        {"clinical": (["risk", "noise"], x)}, risks.time, risks.event, train
    )
    _, others = fit_risk_baselines(
        {"clinical": (["risk", "noise"], spoilt)}, risks.time, risks.event, train
    )

    assert list(told) == ["constant", "clinical"]
    np.testing.assert_allclose(told["clinical"][train], others["clinical"][train])
    assert told["clinical"][train].mean() == pytest.approx(0, abs=1e-9)
    ratios = models.as_json()["clinical"]["log_hazard_ratios"]
    assert ratios["risk"] > 0.5 > abs(ratios["noise"])
