"""Classification metrics on arrays, fast enough to be repeated thousands of times.

Everywhere: ``n`` units, ``K`` classes, targets are class numbers in ``0..K-1``. A figure that is
not defined, because a class does not occur, is NaN. scikit-learn's definitions hold.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
AnyFloats = npt.NDArray[np.floating[Any]]
AnyInts = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]


def divide(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> Floats:
    """Return the quotient, NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    quotient = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient


def mean_of_defined(values: Floats) -> Floats:
    """Return the mean over the last axis without NaN; NaN where all are NaN."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


def require_targets(targets: AnyInts, n_units: int, n_classes: int) -> None:
    """Check class numbers.

    Raises:
        ValueError: If the length differs from ``n_units`` or a number lies outside ``0..K-1``.
    """
    if targets.shape != (n_units,):
        raise ValueError(
            f"`targets` must hold one class number a row, shape ({n_units},). "
            f"Received: shape {targets.shape}"
        )
    if n_units and not (targets.min() >= 0 and targets.max() < n_classes):
        raise ValueError(
            f"`targets` are class numbers in 0..{n_classes - 1}. "
            f"Received: {targets.min()}..{targets.max()}"
        )


def predicted_classes(scores: AnyFloats) -> Ints:
    """Return the class with the largest score, the first one where several are equal.

    Args:
        scores: Shape ``(n, K)``.

    Returns:
        Class numbers, shape ``(n,)``, int64.
    """
    return np.asarray(scores.argmax(axis=1), dtype=np.int64)


def log_loss(targets: AnyInts, probs: AnyFloats, *, weights: AnyFloats | None = None) -> float:
    """Return the mean negative natural logarithm of the true class's probability.

    Args:
        targets: Class numbers, shape ``(n,)``.
        probs: Probabilities, shape ``(n, K)``, each row summing to 1.
        weights: Weight of every row, shape ``(n,)``, not negative; equal weights if None.

    Returns:
        The loss, 0 or more; NaN without rows. Probabilities are clipped to their dtype's epsilon.

    Raises:
        ValueError: If ``targets`` do not fit ``probs``.
    """
    require_targets(targets, *probs.shape)
    if not len(targets):
        return float("nan")
    eps = np.finfo(probs.dtype).eps
    of_truth = probs[np.arange(len(targets)), targets].clip(eps, 1 - eps).astype(np.float64)
    return float(np.average(-np.log(of_truth), weights=weights))


def confusion_matrix(
    targets: AnyInts, predicted: AnyInts, n_classes: int, *, weights: AnyFloats | None = None
) -> Floats:
    """Count the units of every pair of true and predicted class.

    Args:
        targets: True class numbers, shape ``(n,)``.
        predicted: Predicted class numbers, shape ``(n,)``.
        n_classes: Number of classes, ``K``.
        weights: Weight of every unit, shape ``(n,)``; 1 if None.

    Returns:
        Shape ``(K, K)``, float64: rows are the truth, columns the prediction.

    Raises:
        ValueError: If a class number lies outside ``0..K-1``.
    """
    require_targets(targets, len(targets), n_classes)
    require_targets(predicted, len(targets), n_classes)
    cells = targets.astype(np.int64) * n_classes + predicted
    counts = np.bincount(cells, weights=weights, minlength=n_classes**2)
    return np.asarray(counts, dtype=np.float64).reshape(n_classes, n_classes)


def grouped_confusion(
    targets: AnyInts, predicted: AnyInts, groups: AnyInts, n_classes: int, n_groups: int
) -> Floats:
    """Count one confusion matrix a group, so that resamples of groups are sums of matrices.

    Args:
        targets: True class numbers, shape ``(n,)``.
        predicted: Predicted class numbers, shape ``(n,)``.
        groups: Group numbers, shape ``(n,)``, in ``0..n_groups-1``.
        n_classes: Number of classes, ``K``.
        n_groups: Number of groups, ``P``.

    Returns:
        Shape ``(P, K, K)``, float64 (whole numbers).

    Raises:
        ValueError: If a class or group number lies outside its range.
    """
    require_targets(targets, len(targets), n_classes)
    require_targets(predicted, len(targets), n_classes)
    require_targets(groups, len(targets), n_groups)
    cells = (groups.astype(np.int64) * n_classes + targets) * n_classes + predicted
    counts = np.bincount(cells, minlength=n_groups * n_classes**2)
    return np.asarray(counts, dtype=np.float64).reshape(n_groups, n_classes, n_classes)


def accuracy(confusion: npt.NDArray[Any]) -> Floats:
    """Return the share of right predictions.

    Args:
        confusion: Shape ``(..., K, K)``, rows the truth; leading axes are kept.

    Returns:
        Shape ``(...)``, in 0..1.
    """
    right = np.trace(confusion, axis1=-2, axis2=-1)
    return divide(np.asarray(right), confusion.sum(axis=(-2, -1)))


def balanced_accuracy(confusion: npt.NDArray[Any]) -> Floats:
    """Return the mean recall over the classes that occur in the truth.

    Args:
        confusion: Shape ``(..., K, K)``, rows the truth; leading axes are kept.

    Returns:
        Shape ``(...)``, in 0..1.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return mean_of_defined(divide(right, confusion.sum(axis=-1)))


def f1_per_class(confusion: npt.NDArray[Any]) -> Floats:
    """Return every class's F1, the harmonic mean of its precision and recall.

    Args:
        confusion: Shape ``(..., K, K)``, rows the truth; leading axes are kept.

    Returns:
        Shape ``(..., K)``, in 0..1; NaN for a class that is neither true nor predicted anywhere.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return divide(2 * right, confusion.sum(axis=-1) + confusion.sum(axis=-2))


def macro_f1(confusion: npt.NDArray[Any]) -> Floats:
    """Return the mean F1 over the classes that are true or predicted somewhere.

    Args:
        confusion: Shape ``(..., K, K)``, rows the truth; leading axes are kept.

    Returns:
        Shape ``(...)``, in 0..1.
    """
    return mean_of_defined(f1_per_class(confusion))


def roc_auc(
    positive: npt.NDArray[Any], scores: AnyFloats, *, weights: AnyFloats | None = None
) -> float:
    """Return the area under the ROC curve: how often a positive scores above a negative.

    Args:
        positive: Which units are positive, shape ``(n,)``, bool or 0 and 1.
        scores: Higher means more positive, shape ``(n,)``, finite. Equal scores count one half.
        weights: Weight of every unit, shape ``(n,)``, not negative; 1 if None.

    Returns:
        The area in 0..1; NaN if there is no positive or no negative.

    Raises:
        ValueError: If the lengths differ or a score is not finite.
    """
    order, starts = tie_groups(positive, scores)
    weight = np.ones(len(order)) if weights is None else weights[order].astype(np.float64)
    return sorted_auc(positive[order].astype(np.bool_), weight, starts)


def tie_groups(positive: npt.NDArray[Any], scores: AnyFloats) -> tuple[Ints, Ints]:
    """Sort scores upwards and find the groups of equal ones.

    Args:
        positive: Shape ``(n,)``; only its length is checked.
        scores: Shape ``(n,)``, finite.

    Returns:
        The sorting order, shape ``(n,)``, and the position in it where every group begins.

    Raises:
        ValueError: If the lengths differ or a score is not finite.
    """
    if positive.shape != scores.shape or scores.ndim != 1:
        raise ValueError(
            "`positive` and `scores` must be flat and equally long. "
            f"Received: shapes {positive.shape} and {scores.shape}"
        )
    if not np.isfinite(scores).all():
        raise ValueError(f"`scores` must be finite. Received: {(~np.isfinite(scores)).sum()} not")
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = ordered[1:] != ordered[:-1]
    return order.astype(np.int64), np.flatnonzero(begins)


def sorted_auc(positive: Bools, weights: Floats, starts: Ints) -> float:
    """Return the AUC of units that are already sorted by score; ``O(n)``.

    Args:
        positive: Which units are positive, shape ``(n,)``, in order of score.
        weights: Their weights, shape ``(n,)``.
        starts: Where every group of equal scores begins.

    Returns:
        The area in 0..1; NaN if either side weighs nothing. Whole-number weights give the exact
        quotient, whatever the order of equal scores.
    """
    if not len(positive):
        return float("nan")
    above = np.where(positive, weights, 0.0)
    below = weights - above
    if len(starts) < len(positive):
        above, below = np.add.reduceat(above, starts), np.add.reduceat(below, starts)
    pairs = float(above.sum() * below.sum())
    if pairs <= 0:
        return float("nan")
    return float(above @ (np.cumsum(below) - below / 2)) / pairs


def one_vs_rest_auc(
    targets: AnyInts, scores: AnyFloats, *, weights: AnyFloats | None = None
) -> Floats:
    """Return the AUC of every class against all others.

    Args:
        targets: Class numbers, shape ``(n,)``.
        scores: Shape ``(n, K)``, column ``k`` ranks the units for class ``k``.
        weights: Weight of every unit, shape ``(n,)``; 1 if None.

    Returns:
        Shape ``(K,)``, in 0..1; NaN for a class that does not occur.

    Raises:
        ValueError: If ``targets`` do not fit ``scores``, or a score is not finite.
    """
    require_targets(targets, *scores.shape)
    areas = [roc_auc(targets == k, scores[:, k], weights=weights) for k in range(scores.shape[1])]
    return np.array(areas)


def macro_auc(targets: AnyInts, scores: AnyFloats, *, weights: AnyFloats | None = None) -> float:
    """Return the mean one-vs-rest AUC over the classes that occur.

    Args:
        targets: Class numbers, shape ``(n,)``.
        scores: Shape ``(n, K)``.
        weights: Weight of every unit, shape ``(n,)``; 1 if None.

    Returns:
        The mean area in 0..1; NaN if only one class occurs.

    Raises:
        ValueError: If ``targets`` do not fit ``scores``, or a score is not finite.
    """
    return float(mean_of_defined(one_vs_rest_auc(targets, scores, weights=weights)))
