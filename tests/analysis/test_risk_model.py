"""Cut-offs, terms of columns, and risks that are learned on some patients and told of others."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from histokeras.analysis.concordance import c_index
from histokeras.analysis.covariates import design, independent, learn_covariate
from histokeras.analysis.cutoff import learn_cutoff, log_rank_scores, selected_p
from histokeras.analysis.risk_model import Inputs, deal_folds, fit_risk


def _cohort(n: int, effect: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    death, end = rng.exponential(np.exp(-effect * x[:, 0])), rng.uniform(0.2, 3, n)
    return x, np.minimum(death, end), death <= end


def test_scores_and_corrected_p_by_hand() -> None:
    # Hazard 1/3 at 1, then 1 of 1 at 3: 1 - 1/3, 0 - 1/3, 1 - 4/3.
    time, event = np.array([1.0, 2, 3]), np.array([True, False, True])
    density = np.exp(-(2.5**2) / 2) / np.sqrt(2 * np.pi)

    assert_allclose(log_rank_scores(time, event), [2 / 3, -1 / 3, -1 / 3])
    expected = 4 * density / 2.5 + density * (2.5 - 0.4) * np.log(81)
    assert selected_p(2.5, 0.1, 0.9) == pytest.approx(expected)
    assert expected > 2 * stats.norm.sf(2.5)
    assert selected_p(0.7, 0.1, 0.9) == 1.0


def test_a_selected_cut_off_is_where_survival_changes_and_its_p_is_honest() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(size=300)
    time = rng.exponential(np.where(x > 0.7, 0.3, 2.0))
    found = learn_cutoff(x, time, np.ones(300, bool), "logrank")
    chance = [learn_cutoff(x[:, 1], t, e, "logrank") for x, t, e in
              (_cohort(60, 0.0, seed) for seed in range(200))]  # fmt: skip

    assert found is not None
    assert found.value == pytest.approx(0.7, abs=0.05)
    assert found.p is not None
    assert found.p < 1e-6
    # Of 200 without any effect 5 % may be significant; 16 is two standard errors above.
    assert sum(cut.p < 0.05 for cut in chance if cut is not None) <= 16


def test_the_median_parts_patients_even_where_most_are_alike() -> None:
    time, event = np.arange(1.0, 6), np.ones(5, bool)

    assert learn_cutoff(np.array([1.0, 2, 3, 4, 5]), time, event).value == 3  # type: ignore[union-attr]
    assert learn_cutoff(np.array([1.0, 2, 2, 2, 2]), time, event).value == 1  # type: ignore[union-attr]
    assert learn_cutoff(np.ones(5), time, event) is None
    with pytest.raises(ValueError, match="method"):
        learn_cutoff(np.ones(5), time, event, "best")


def test_columns_become_terms() -> None:
    table = pd.DataFrame({
        "age": np.linspace(40, 80, 20), "stage": [1.0, 2, 3, 4] * 5, "inked": [0, 1] * 10,
        "type": ["a"] * 9 + ["b"] * 6 + ["c", "c", "d", "d", "e"], "one": ["x"] * 20,
    })  # fmt: skip
    found = {name: learn_covariate(table[name]) for name in table}
    kept = [item for item in found.values() if item is not None]
    x = design(kept, table.assign(type="b"))

    assert found["one"] is None
    names = [term for item in kept for term in item.terms]
    assert names == [
        f"age, per SD ({table['age'].std(ddof=0):.3g})", "stage, each step", "inked: 1 against 0",
        "type: b against a", "type: other against a",
    ]  # fmt: skip
    assert x[:, 0].std() == pytest.approx(1)
    assert x[0, 1:].tolist() == [1, 0, 1, 0]
    # A category that was not there counts as other.
    assert design(kept, table.assign(type="new"))[0, 3:].tolist() == [0, 1]
    shares = np.random.default_rng(0).dirichlet([1, 2, 3], 20)
    assert independent(np.column_stack([shares, np.ones(20)])).tolist() == [
        True,
        True,
        False,
        False,
    ]


def test_a_risk_is_learned_from_columns_and_from_components_of_features() -> None:
    x, time, event = _cohort(160, 1.0, 4)
    rng = np.random.default_rng(0)
    features = np.outer(x[:, 0], rng.normal(size=40)) + 2 * rng.normal(size=(160, 40))
    learn, test = np.arange(110), np.arange(110, 160)
    none = np.empty((160, 0))
    planted = c_index(time[test], event[test], x[test, 0])
    assert planted > 0.6
    for inputs in (Inputs(x, none), Inputs(none, features)):
        model = fit_risk(inputs.of(learn), time[learn], event[learn])
        again = fit_risk(inputs.of(learn), time[learn], event[learn])
        risk = model.risk(inputs.of(test))

        assert model.converged
        # What the planted risk itself reaches is the most that can be had.
        assert c_index(time[test], event[test], risk) > planted - 0.06
        assert_allclose(again.risk(inputs.of(test)), risk)
    # Without any effect the strongest penalties win.
    noise = fit_risk(Inputs(rng.normal(size=(160, 8)), none), time, event)
    assert noise.shrinkage >= 1


def test_folds_share_events_evenly() -> None:
    event = np.arange(53) % 3 == 0
    fold = deal_folds(event, 5, seed=1)

    assert {int(n) for n in np.bincount(fold[event])} <= {3, 4}
    assert {int(n) for n in np.bincount(fold)} <= {10, 11}
    assert (fold == deal_folds(event, 5, seed=1)).all()
