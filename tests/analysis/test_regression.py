import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from histokeras.analysis.bootstrap import patient_bootstrap
from histokeras.analysis.regression import REGRESSION_FIGURES, figures_of, value_figures


def test_figures_by_hand() -> None:
    # Errors 1, 0, 2, 1: squares sum to 6; deviations of the truth from 2.5 squared sum to 5.
    # Ranks of the predictions 2, 3, 1, 4: squared differences to 1, 2, 3, 4 sum to 1 + 1 + 4 = 6.
    found = figures_of(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.5, 1.0, 5.0]))

    assert found["mae"] == pytest.approx((1 + 0.5 + 2 + 1) / 4)
    assert found["r2"] == pytest.approx(1 - (1 + 0.25 + 4 + 1) / 5)
    assert found["rmse"] == pytest.approx(np.sqrt(6.25 / 4))
    assert found["spearman"] == pytest.approx(1 - 6 * 6 / (4 * 15))
    # Deviations of the predictions from 2.625: -0.625, -0.125, -1.625, 2.375.
    covariance = 1.5 * 0.625 + 0.5 * 0.125 - 0.5 * 1.625 + 1.5 * 2.375
    spread = 0.625**2 + 0.125**2 + 1.625**2 + 2.375**2
    assert found["pearson"] == pytest.approx(covariance / np.sqrt(spread * 5))


def test_every_resample_is_as_scipy_and_scikit_learn_have_it() -> None:
    rng = np.random.default_rng(0)
    # Ties on both sides, several units a patient, a large offset.
    targets = rng.integers(0, 9, 60) + 10_000.0
    predictions = np.round(targets + rng.normal(size=60) * 3)
    patients = np.repeat(np.arange(20), 3)
    counts = rng.multinomial(20, [1 / 20] * 20, size=40).astype(np.float64)

    values = value_figures(targets, predictions, patients).of_counts(counts)

    for count, row in zip(counts, values, strict=True):
        drawn = np.repeat(np.arange(60), count[patients].astype(int))
        y, x = targets[drawn], predictions[drawn]
        expected = {
            "spearman": spearmanr(y, x)[0],
            "r2": r2_score(y, x),
            "mae": mean_absolute_error(y, x),
            "pearson": pearsonr(y, x)[0],
            "rmse": root_mean_squared_error(y, x),
        }
        np.testing.assert_allclose(row, [expected[n] for n in REGRESSION_FIGURES], atol=1e-9)


def test_what_is_constant_has_no_correlation_and_no_r2_of_a_constant_truth() -> None:
    varied, constant = np.array([0.1, 0.7, 0.3]), np.full(3, 0.1)

    predictions = figures_of(varied, constant)
    truth = figures_of(constant, varied)

    assert predictions["spearman"] is predictions["pearson"] is None
    assert predictions["r2"] == pytest.approx(r2_score(varied, constant))
    assert truth["spearman"] is truth["pearson"] is truth["r2"] is None
    assert truth["mae"] == pytest.approx(0.8 / 3)


def test_blocks_of_many_units_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    data = rng.normal(size=50), rng.normal(size=50), np.arange(50)
    whole = patient_bootstrap(value_figures(*data), n_resamples=100)
    monkeypatch.setattr("histokeras.analysis.regression._CELLS_A_BLOCK", 350)

    assert patient_bootstrap(value_figures(*data), n_resamples=100) == whole
    assert whole["spearman"].low is not None
    assert whole["spearman"].low < 0 < whole["spearman"].high


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="`predictions` must be finite"):
        figures_of(np.array([1.0, 2.0]), np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="equally long"):
        value_figures(np.zeros(2), np.zeros(3), np.arange(2))
