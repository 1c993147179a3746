"""Survival against worked cases, against lifelines, and on patients with a known hazard."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from histokeras.analysis.bootstrap import patient_bootstrap
from histokeras.analysis.concordance import c_figures, c_index
from histokeras.analysis.cox import fit_cox
from histokeras.analysis.efron import efron_data, fit_ridge, log_likelihood
from histokeras.analysis.survival import (
    kaplan_meier,
    log_rank,
    numbers_at_risk,
    require_outcome,
    survival_at,
)
from histokeras.errors import TableError

DATA = Path(__file__).parent / "data"
SETS = ("rossi", "larynx", "waltons")
Outcome = tuple[pd.DataFrame, "np.ndarray", "np.ndarray"]


def _read(name: str) -> Outcome:
    table = pd.read_csv(DATA / f"survival_{name}.csv", comment="#")
    return table, table["time"].to_numpy(float), table["event"].to_numpy(bool)


def _referee(name: str, figure: str) -> dict[str, float]:
    known = pd.read_csv(
        DATA / "survival_reference.csv", comment="#", dtype={"item": str}, keep_default_na=False
    )
    mine = known[(known["data"] == name) & (known["figure"] == figure)]
    return dict(zip(mine["item"], mine["value"].astype(float), strict=True))


@pytest.mark.parametrize("name", SETS)
def test_kaplan_meier_and_log_rank_agree_with_lifelines(name: str) -> None:
    table, time, event = _read(name)
    curve = kaplan_meier(time, event)

    for column, figure in enumerate(("km", "km_low", "km_high")):
        known = _referee(name, figure)
        found = survival_at(curve, [float(moment) for moment in known])[:, column]
        assert_allclose(found, list(known.values()), atol=1e-4)
    for figure in ("median", "median_low", "median_high"):
        found_median = getattr(curve, figure)
        assert (np.inf if found_median is None else found_median) == _referee(name, figure)[""]
    test, known = log_rank(time, event, table["group"]), _referee(name, "log_rank")
    assert_allclose([test.statistic, test.p], [known["statistic"], known["p"]], atol=1e-4)
    assert sum(test.observed) == pytest.approx(sum(test.expected)) == event.sum()


@pytest.mark.parametrize("name", SETS)
def test_cox_and_c_index_agree_with_lifelines(name: str) -> None:
    table, time, event = _read(name)
    names = list(_referee(name, "coef"))
    x = table[names].to_numpy(float)

    fit = fit_cox(x, names, time, event)
    data = efron_data(x, time, event)
    own = fit_ridge(data)

    for figure, field in (("coef", "coef"), ("se", "se"), ("p", "p"), ("ph_p", "proportional_p")):
        found = [getattr(term, field) for term in fit.terms]
        assert_allclose(found, list(_referee(name, figure).values()), atol=1e-4)
    assert fit.log_likelihood == pytest.approx(_referee(name, "log_likelihood")[""], abs=1e-4)
    # Our own Newton steps and statsmodels come to the same maximum.
    assert own.converged
    assert_allclose(own.coef, [term.coef for term in fit.terms], atol=1e-5)
    assert_allclose(np.sqrt(np.diag(own.covariance)), [t.se for t in fit.terms], atol=1e-5)
    spread = x.std(axis=0, ddof=1)
    scaled = efron_data((x - x.mean(axis=0)) / spread, time, event)
    ridge = fit_ridge(scaled, 0.1 * len(x)).coef / spread
    assert_allclose(ridge, list(_referee(name, "ridge_0.1").values()), atol=1e-4)
    known = _referee(name, "c_index")
    assert c_index(time, event, x @ own.coef) == pytest.approx(known["cox"], abs=1e-4)
    for column, term in enumerate(names):
        assert c_index(time, event, x[:, column]) == pytest.approx(known[term], abs=1e-4)


def test_a_worked_curve_and_log_rank() -> None:
    # 1+ is censored: at 2 two of three die, at 4 the last.
    time, event = np.array([1.0, 2, 2, 4]), np.array([False, True, True, True])
    curve = kaplan_meier(time, event)

    assert curve.time.tolist() == [0, 1, 2, 4]
    assert_allclose(curve.survival, [1, 1, 1 / 3, 0])
    assert curve.at_risk.tolist() == [4, 4, 3, 1]
    assert (curve.median, curve.n_events) == (2.0, 3)
    assert (curve.low[1], curve.high[1]) == (1.0, 1.0)
    assert np.isnan(curve.low[3])
    assert numbers_at_risk(time, [0, 2, 3]) == [4, 3, 1]
    # A dies at 1 and 3, B at 2 and 4: E_A = 1/2 + 1/3 + 1/2, V = 1/4 + 2/9 + 1/4.
    test = log_rank(np.array([1.0, 3, 2, 4]), np.ones(4, bool), ["A", "A", "B", "B"])
    assert_allclose(test.expected[0], 4 / 3)
    assert_allclose(test.statistic, (2 - 4 / 3) ** 2 / (13 / 18))
    with pytest.raises(ValueError, match="two groups"):
        log_rank(time, event, ["A"] * 4)


def test_efrons_likelihood_of_a_tie_by_hand() -> None:
    # Two of three die together: (r1 + r2 + r3)(r1 + r2 + r3 - (r1 + r2) / 2).
    data = efron_data(np.array([[1.0], [0], [0]]), np.array([1.0, 1, 2]), np.array([1, 1, 0]) > 0)
    e = np.e

    expected = 1 - np.log(e + 2) - np.log(e + 2 - (e + 1) / 2)
    assert log_likelihood(data, np.array([1.0])) == pytest.approx(expected)


def test_c_index_of_perfect_reversed_and_constant_risk() -> None:
    time, event = np.array([1.0, 2, 3, 4]), np.array([True, True, True, False])

    assert c_index(time, event, -time) == 1.0
    assert c_index(time, event, time) == 0.0
    assert c_index(time, event, np.zeros(4)) == 0.5
    # Of equal times the one with the event is first; two events at once are not comparable.
    assert c_index(np.ones(2), np.array([True, False]), np.array([1.0, 0])) == 1.0
    assert np.isnan(c_index(np.ones(2), np.ones(2, bool), np.array([1.0, 0])))
    # Risks of different models are not compared: 1 with 3 and 2 with 4 remain, one of them wrong.
    assert c_index(time, event, np.array([2.0, 0, 1, 9]), np.array([0, 1, 0, 1])) == 0.5


def test_the_interval_of_a_c_index_resamples_patients() -> None:
    rng = np.random.default_rng(3)
    risk = rng.normal(size=80)
    time, event = rng.exponential(np.exp(-risk)), rng.random(80) < 0.7
    figures = c_figures(time, event, risk)
    counts = np.zeros((1, 80))
    drawn = rng.integers(0, 80, 80)
    np.add.at(counts[0], drawn, 1)

    found = figures.of_counts(counts)[0, 0]
    estimate = patient_bootstrap(figures, n_resamples=200)["c_index"]

    # Counting patients is the same as repeating their rows.
    assert found == pytest.approx(c_index(time[drawn], event[drawn], risk[drawn]))
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low < c_index(time, event, risk) < estimate.high


def test_cox_finds_a_planted_effect_and_tells_a_changing_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 1))
    death, end = rng.exponential(np.exp(-0.7 * x[:, 0])), rng.uniform(0.2, 3, 500)
    time, event = np.minimum(death, end), death <= end
    term = fit_cox(x, ["x"], time, event).terms[0]
    # Early a risk, late none: the sign of the effect turns at the median time.
    turned = np.where(death < 0.5, death, 0.5 + rng.exponential(np.exp(0.7 * x[:, 0])))
    changing = fit_cox(x, ["x"], turned, np.ones(500, bool)).terms[0]

    assert term.coef == pytest.approx(0.7, abs=0.15)
    assert term.low < np.exp(0.7) < term.high
    assert term.proportional_p is not None
    assert term.proportional_p > 0.05
    assert changing.proportional_p is not None
    assert changing.proportional_p < 1e-4
    assert changing.correlation is not None
    assert changing.correlation < 0


def test_separation_and_repeated_terms_are_said() -> None:
    rng = np.random.default_rng(1)
    x, time = rng.normal(size=60), rng.exponential(size=60)
    event = time < np.median(time)

    apart = fit_cox(np.column_stack([x, event]), ["x", "z"], time, event)
    twice = fit_cox(np.column_stack([x, 2 * x]), ["x", "y"], time, event)

    assert not apart.terms
    assert apart.problem.startswith("no fit: z separates")
    assert twice.problem == "terms tell the same: no single fit"
    assert not fit_ridge(efron_data(np.column_stack([x, 2 * x]), time, event)).converged


def test_an_outcome_without_events_is_refused() -> None:
    with pytest.raises(TableError, match="all 3 patients are censored") as found:
        require_outcome(np.ones(3), np.zeros(3, bool))
    assert found.value.code == "COX_IMPOSSIBLE"
    with pytest.raises(TableError, match="no patient"):
        require_outcome(np.empty(0), np.empty(0, bool))
    with pytest.raises(ValueError, match="at least 0"):
        require_outcome(np.array([-1.0]), np.ones(1, bool))
