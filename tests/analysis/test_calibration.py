import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from histokeras.analysis.bootstrap import draw_counts, patient_bootstrap
from histokeras.analysis.calibration import (
    N_BINS,
    brier,
    calibration_figures,
    expected_calibration_error,
    fit_temperature,
    reliability,
    temperature_scaled,
)
from histokeras.analysis.metrics import log_loss, roc_auc


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def overconfident(seed: int, n: int = 3000, n_classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Classes drawn from the true probabilities; the head gives their logits threefold."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, n_classes)) * 1.5
    true = softmax(logits)
    targets = (rng.random(n)[:, np.newaxis] > np.cumsum(true, axis=1)).sum(axis=1)
    return np.minimum(targets, n_classes - 1), softmax(3 * logits).astype(np.float32)


def test_brier_by_hand() -> None:
    two = np.array([[0.2, 0.8], [0.7, 0.3]])
    three = np.array([[0.2, 0.5, 0.3]])

    assert brier(np.array([1, 1]), two) == pytest.approx((0.04 + 0.49) / 2)
    assert brier(np.array([1]), three) == pytest.approx(0.04 + 0.25 + 0.09)
    assert np.isnan(brier(np.zeros(0, int), np.zeros((0, 2))))


def test_calibration_error_by_hand() -> None:
    # Two bins: 0.60 lies in (8/15, 9/15], where one of two is right; 0.95 in the last, all right.
    probs = np.array([[0.6, 0.4], [0.4, 0.6], [0.95, 0.05], [0.05, 0.95]])
    targets = np.array([0, 0, 0, 1])

    table = reliability(targets, probs)

    assert expected_calibration_error(targets, probs) == pytest.approx((0.1 + 0.05) / 2)
    assert table.n.tolist() == [0] * 8 + [2] + [0] * 5 + [2]
    assert table.accuracy[[8, 14]].tolist() == [0.5, 1]
    assert table.confidence[[8, 14]] == pytest.approx([0.6, 0.95])
    assert np.isnan(table.accuracy[:8]).all()


def test_calibration_error_of_nothing_is_not_defined() -> None:
    assert np.isnan(expected_calibration_error(np.zeros(0, int), np.zeros((0, 2))))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_reliability_equals_scikit_learn(n_classes: int) -> None:
    targets, probs = overconfident(0, n_classes=n_classes)
    confidence = probs.max(axis=1).astype(np.float64)
    right = probs.argmax(axis=1) == targets

    table = reliability(targets, probs)

    accuracy, mean = calibration_curve(right, confidence, n_bins=N_BINS)
    filled = table.n > 0
    assert table.accuracy[filled] == pytest.approx(accuracy)
    assert table.confidence[filled] == pytest.approx(mean)
    assert expected_calibration_error(targets, probs) == pytest.approx(
        (np.abs(accuracy - mean) * table.n[filled]).sum() / len(targets)
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_resamples_equal_the_figures_on_repeated_rows(n_classes: int) -> None:
    targets, probs = overconfident(1, n=200, n_classes=n_classes)
    rng = np.random.default_rng(0)
    patients = rng.integers(0, 7, 200)
    counts = draw_counts(rng, 10, 7)

    table = calibration_figures(targets, probs, patients, 7).of_counts(counts)

    for row, values in zip(counts.astype(int), table, strict=True):
        rows = np.repeat(np.arange(200), row[patients])
        assert values == pytest.approx(
            [brier(targets[rows], probs[rows]),
             expected_calibration_error(targets[rows], probs[rows])]
        )  # fmt: skip


def test_order_of_rows_changes_no_bit() -> None:
    targets, probs = overconfident(2, n=500)
    patients = np.arange(500) % 20
    rows = np.random.default_rng(0).permutation(500)

    first = patient_bootstrap(calibration_figures(targets, probs, patients, 20), n_resamples=50)
    other = calibration_figures(targets[rows], probs[rows], patients[rows], 20)

    assert first == patient_bootstrap(other, n_resamples=50)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_scaling_an_overconfident_head_lowers_the_error_and_keeps_the_ranking(
    n_classes: int,
) -> None:
    val, val_probs = overconfident(3, n_classes=n_classes)
    test, test_probs = overconfident(4, n_classes=n_classes)

    fitted = fit_temperature(val, val_probs)
    scaled = temperature_scaled(test_probs, fitted.value)

    # The logits are threefold too large.
    assert fitted.value == pytest.approx(3, rel=0.1)
    assert fitted.note == ""
    before = expected_calibration_error(test, test_probs)
    assert before > 0.1
    assert expected_calibration_error(test, scaled) < before / 3
    assert brier(test, scaled) < brier(test, test_probs)
    np.testing.assert_array_equal(scaled.argmax(axis=1), test_probs.argmax(axis=1))
    if n_classes == 2:
        areas = [roc_auc(test == 1, probs[:, 1]) for probs in (test_probs, scaled)]
        assert areas[0] == pytest.approx(areas[1], abs=1e-6)


def test_fitted_temperature_is_the_best_of_a_grid() -> None:
    targets, probs = overconfident(5, n_classes=3)
    probs = probs.astype(np.float64)
    weights = np.random.default_rng(0).random(len(targets))

    found = fit_temperature(targets, probs, weights=weights).value

    losses = {
        t: log_loss(targets, temperature_scaled(probs, t), weights=weights)
        for t in np.geomspace(0.05, 20, 400)
    }
    assert found == pytest.approx(min(losses, key=losses.__getitem__), rel=0.02)
    assert log_loss(targets, temperature_scaled(probs, found), weights=weights) <= min(
        losses.values()
    )


def test_weights_count_rows() -> None:
    targets, probs = overconfident(6, n=200)
    weights = np.random.default_rng(0).integers(0, 3, 200)
    rows = np.repeat(np.arange(200), weights)

    weighted = fit_temperature(targets, probs, weights=weights.astype(float))

    assert weighted.value == pytest.approx(fit_temperature(targets[rows], probs[rows]).value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [0.3, 0.9, 1.7, 20.0])
def test_saturated_probabilities_stay_in_order(dtype: type, temperature: float) -> None:
    logits = np.sort(np.random.default_rng(0).normal(size=5000) * 60)
    yes = 1 / (1 + np.exp(-logits))
    probs = np.column_stack([1 - yes, yes]).astype(dtype)
    assert ((probs == 0) | (probs == 1)).any()

    scaled = temperature_scaled(probs, temperature)

    assert scaled.dtype == dtype
    assert scaled.shape == probs.shape
    assert ((scaled >= 0) & (scaled <= 1)).all()
    assert scaled.sum(axis=1) == pytest.approx(np.ones(5000), abs=1e-6)
    assert (np.diff(scaled[:, 1]) >= 0).all()
    assert (np.diff(scaled[:, 0]) <= 0).all()
    np.testing.assert_array_equal(scaled[:, 1] > 0.5, probs[:, 1] > 0.5)


def test_scaling_by_hand() -> None:
    # Odds 9 become their square root, 3.
    scaled = temperature_scaled(np.array([[0.9, 0.1], [0.5, 0.5]]), 2.0)

    assert scaled.ravel() == pytest.approx([0.75, 0.25, 0.5, 0.5])


def test_temperature_one_changes_no_bit() -> None:
    _, probs = overconfident(7)

    np.testing.assert_array_equal(temperature_scaled(probs, 1.0), probs)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_temperatures_are_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="`temperature` must be above 0"):
        temperature_scaled(np.array([[0.5, 0.5]]), temperature)


def test_without_a_reason_to_scale_the_temperature_is_one_and_says_why() -> None:
    sure = np.array([[0.9, 0.1], [0.2, 0.8]])
    reversed_ = np.tile(sure[::-1], (5, 1))
    unsure = np.tile([[0.5001, 0.4999], [0.4999, 0.5001]], (5, 1))
    right = np.tile([0, 1], 5)
    mostly = right.copy()
    mostly[0] = 1
    cases = [
        (fit_temperature(np.zeros(0, int), np.zeros((0, 2))), "no validation row has a label"),
        (fit_temperature(np.array([0, 0]), sure), "of one class"),
        (fit_temperature(np.array([0, 1]), sure, weights=np.array([1, 0])), "of one class"),
        (fit_temperature(np.array([0, 1]), sure), "makes no error"),
        (fit_temperature(mostly, unsure), "about as probable"),
        (fit_temperature(right, reversed_), "no better than chance"),
    ]
    for found, note in cases:
        assert found.value == 1.0
        assert note in found.note


def test_wrong_class_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"class numbers in 0\.\.1"):
        brier(np.array([2]), np.array([[0.5, 0.5]]))


def test_brier_equals_scikit_learn_for_each_class() -> None:
    targets, probs = overconfident(8, n=100, n_classes=3)
    probs = probs.astype(np.float64)
    parts = [sk.brier_score_loss(targets == k, probs[:, k]) for k in range(3)]

    assert brier(targets, probs) == pytest.approx(sum(parts))
