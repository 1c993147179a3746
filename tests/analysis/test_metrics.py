import math
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from histokeras.analysis.metrics import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    f1_per_class,
    grouped_confusion,
    log_loss,
    macro_auc,
    macro_f1,
    one_vs_rest_auc,
    predicted_classes,
    roc_auc,
)

# 3 units of class 0 (2 right, 1 called class 1), 2 of class 1 (1 right, 1 called class 0).
HAND = np.array([[2, 1], [1, 1]])


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return targets, scores with many ties, and weights with zeros among them."""
    rng = np.random.default_rng(seed)
    n, n_classes = int(rng.integers(5, 60)), int(rng.integers(2, 6))
    # Every third case lacks its last class in the truth.
    targets = rng.integers(0, n_classes - (seed % 3 == 0 and n_classes > 2), n)
    targets[:2] = 0, 1
    scores = rng.random((n, n_classes))
    if seed % 2:
        scores = scores.round(1) + 0.01
    scores /= scores.sum(axis=1, keepdims=True)
    weights = rng.integers(0, 4, n).astype(float)
    weights[:2] = 1
    return targets, scores, weights


def test_accuracy_is_the_share_of_right_predictions() -> None:
    assert accuracy(HAND) == pytest.approx(3 / 5)


def test_balanced_accuracy_is_the_mean_recall() -> None:
    assert balanced_accuracy(HAND) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_f1_is_calculated_by_hand() -> None:
    np.testing.assert_allclose(f1_per_class(HAND), [4 / 6, 2 / 4])
    assert macro_f1(HAND) == pytest.approx((4 / 6 + 2 / 4) / 2)


def test_log_loss_is_calculated_by_hand() -> None:
    probs = np.array([[0.5, 0.5], [0.75, 0.25]])

    assert log_loss(np.array([0, 1]), probs) == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_auc_counts_pairs_and_halves_ties() -> None:
    # Positives .8 and .4 against negatives .6 and .4: won, won, lost, tied.
    positive = np.array([True, True, False, False])

    assert roc_auc(positive, np.array([0.8, 0.4, 0.6, 0.4])) == 2.5 / 4


def test_one_vs_rest_auc_is_calculated_by_hand() -> None:
    targets = np.array([0, 1, 2])
    scores = np.array([[0.6, 0.3, 0.1], [0.5, 0.2, 0.3], [0.7, 0.1, 0.2]])

    np.testing.assert_allclose(one_vs_rest_auc(targets, scores), [0.5, 0.5, 0.5])
    assert macro_auc(targets, scores) == 0.5


def test_confusion_matrix_has_the_truth_in_rows() -> None:
    counted = confusion_matrix(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 1]), 2)

    np.testing.assert_array_equal(counted, HAND)


def test_grouped_confusion_sums_to_the_whole() -> None:
    targets, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])

    grouped = grouped_confusion(targets, predicted, np.array([0, 1, 1, 2]), 2, 3)

    np.testing.assert_array_equal(grouped[1], [[0, 1], [0, 1]])
    np.testing.assert_array_equal(grouped.sum(axis=0), confusion_matrix(targets, predicted, 2))


def test_first_class_wins_an_equal_score() -> None:
    scores = np.array([[0.5, 0.5], [0.2, 0.8]])

    np.testing.assert_array_equal(predicted_classes(scores), [0, 1])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(50))
def test_metrics_equal_scikit_learn(seed: int, weighted: bool) -> None:
    targets, scores, weights = random_case(seed)
    w = weights if weighted else None
    n_classes = scores.shape[1]
    predicted = predicted_classes(scores)
    counted = confusion_matrix(targets, predicted, n_classes, weights=w)
    labels = list(range(n_classes))

    np.testing.assert_allclose(
        counted, sk.confusion_matrix(targets, predicted, labels=labels, sample_weight=w)
    )
    assert accuracy(counted) == pytest.approx(
        sk.accuracy_score(targets, predicted, sample_weight=w)
    )
    with warnings.catch_warnings():
        # scikit-learn warns where a class is predicted that never is true; that is wanted here.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        expected = sk.balanced_accuracy_score(targets, predicted, sample_weight=w)
    assert balanced_accuracy(counted) == pytest.approx(expected)
    f1 = sk.f1_score(
        targets, predicted, labels=labels, average=None, zero_division=np.nan, sample_weight=w
    )
    np.testing.assert_allclose(f1_per_class(counted), f1)
    assert macro_f1(counted) == pytest.approx(np.nanmean(f1))
    assert log_loss(targets, scores, weights=w) == pytest.approx(
        sk.log_loss(targets, scores, labels=labels, sample_weight=w)
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(50))
def test_auc_equals_scikit_learn(seed: int, weighted: bool) -> None:
    targets, scores, weights = random_case(seed)
    w = weights if weighted else None

    areas = one_vs_rest_auc(targets, scores, weights=w)

    for k, area in enumerate(areas):
        held = weights[targets == k] > 0 if weighted else targets == k
        if held.any():
            assert area == pytest.approx(
                sk.roc_auc_score(targets == k, scores[:, k], sample_weight=w)
            )
        else:
            assert np.isnan(area)
    assert macro_auc(targets, scores, weights=w) == pytest.approx(np.nanmean(areas))


def test_macro_auc_of_three_classes_equals_scikit_learn() -> None:
    rng = np.random.default_rng(7)
    targets, scores = np.arange(60) % 3, rng.dirichlet([1, 1, 1], 60)

    expected = sk.roc_auc_score(targets, scores, multi_class="ovr")

    assert macro_auc(targets, scores) == pytest.approx(expected)


def test_log_loss_of_float32_stays_finite() -> None:
    probs = np.array([[1, 0], [1, 0]], dtype=np.float32)

    loss = log_loss(np.array([0, 1]), probs)

    assert loss == pytest.approx(-np.log(np.finfo(np.float32).eps) / 2, rel=1e-5)


def test_undefined_figures_are_nan() -> None:
    one_sided = np.array([True, True])

    assert np.isnan(roc_auc(one_sided, np.array([0.1, 0.2])))
    assert np.isnan(roc_auc(one_sided[:0], np.zeros(0)))
    assert np.isnan(roc_auc(np.array([True, False]), np.zeros(2), weights=np.array([0.0, 1.0])))
    assert np.isnan(accuracy(np.zeros((2, 2))))
    assert np.isnan(log_loss(np.zeros(0, dtype=int), np.zeros((0, 2))))
    np.testing.assert_array_equal(f1_per_class(np.diag([3, 0])), [1, np.nan])


def test_metrics_take_many_matrices_at_once() -> None:
    stack = np.stack([HAND, np.diag([1, 1])])

    np.testing.assert_allclose(accuracy(stack), [0.6, 1])
    np.testing.assert_allclose(balanced_accuracy(stack), [7 / 12, 1])
    np.testing.assert_allclose(f1_per_class(stack), [[2 / 3, 1 / 2], [1, 1]])


def test_target_outside_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"class numbers in 0\.\.1\. Received: 0\.\.2"):
        confusion_matrix(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match=r"Received: -1\.\.0"):
        log_loss(np.array([-1, 0]), np.full((2, 2), 0.5))


def test_targets_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\)\. Received: shape \(3,\)"):
        one_vs_rest_auc(np.zeros(3, dtype=int), np.full((2, 2), 0.5))


def test_auc_refuses_scores_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match=r"`scores` must be finite\. Received: 1 not"):
        roc_auc(np.array([True, False]), np.array([0.5, np.nan]))


def test_auc_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="flat and equally long"):
        roc_auc(np.array([True, False]), np.zeros(3))
