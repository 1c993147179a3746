"""Figures of predicted numbers on arrays, fast enough to be repeated thousands of times.

Everywhere: ``n`` units with a true number and a predicted one, and weights ``(b, n)``: how often
each unit counts in each of ``b`` resamples. A figure that is not defined, because all true or all
predicted numbers of a resample are equal, is NaN. SciPy's and scikit-learn's definitions hold.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.analysis.bootstrap import Figures
from histokeras.analysis.metrics import AnyFloats, AnyInts, Bools, Floats, Ints, divide

REGRESSION_FIGURES = ("spearman", "r2", "mae", "pearson", "rmse")
"""The figures, in the order of :func:`value_figures`."""
LOWER_IS_BETTER = frozenset({"mae", "rmse"})
_CELLS_A_BLOCK = 4_000_000


def value_figures(targets: AnyFloats, predictions: AnyFloats, patients: AnyInts) -> Figures:
    """Build the figures of a regression as functions of patient counts.

    Args:
        targets: True numbers, shape ``(n,)``, finite.
        predictions: Predicted numbers, same shape, finite, in the target's unit.
        patients: Patient numbers, shape ``(n,)``, in ``0..P-1``, every one of them in use.

    Returns:
        ``spearman`` (correlation of midranks), ``r2`` (1 - squared error / squared deviation from
        the mean of these TEST targets, as usual: below 0 where that mean, which nobody knows
        beforehand, would have done better), ``mae`` (mean absolute error, in the target's unit),
        ``pearson`` and ``rmse`` (root of the mean squared error, in the target's unit).

    Raises:
        ValueError: If shapes differ or a number is not finite.
    """
    targets, predictions = _checked(targets, "targets"), _checked(predictions, "predictions")
    if not targets.shape == predictions.shape == patients.shape:
        raise ValueError(
            "`targets`, `predictions` and `patients` must be equally long. Received: shapes "
            f"{targets.shape}, {predictions.shape}, {patients.shape}"
        )
    n_patients = int(patients.max()) + 1 if len(patients) else 0
    ranked = _Ranks(targets), _Ranks(predictions)
    sums = _sums(targets, predictions, patients, n_patients)
    # The units themselves are needed for ranks alone; all else comes from sums of patients.
    rows = max(1, _CELLS_A_BLOCK // max(len(targets), 1))

    def of_counts(counts: Floats) -> Floats:
        blocks = [
            _figures(counts[start : start + rows], sums, ranked, patients)
            for start in range(0, len(counts), rows)
        ]
        return np.concatenate(blocks)

    return Figures(
        names=REGRESSION_FIGURES,
        of_counts=of_counts,
        n_patients=n_patients,
        needs=((),) * len(REGRESSION_FIGURES),
        groups={},
    )


def _checked(values: AnyFloats, name: str) -> Floats:
    checked = np.asarray(values, np.float64)
    if not np.isfinite(checked).all():
        raise ValueError(f"`{name}` must be finite.")
    return checked


class _Ranks:
    """Values in groups of equal ones, ready to be ranked under any weights."""

    def __init__(self, values: Floats) -> None:
        _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
        self._group: Ints = group.astype(np.int64)
        self._order = np.argsort(group, kind="stable")
        self._starts = np.cumsum(counts) - counts

    def centred(self, weights: Floats) -> tuple[Floats, Bools]:
        """Return midranks minus their mean, ``(b, n)``, and whether any two differ, ``(b,)``.

        A group of equal values that count ``w`` in all, after others that count ``c``, has the
        midrank ``c + (w + 1) / 2``; the mean midrank is ``(total + 1) / 2``.
        """
        in_groups = np.add.reduceat(weights[:, self._order], self._starts, axis=1)
        middle = np.cumsum(in_groups, axis=1) - in_groups / 2
        middle -= in_groups.sum(axis=1, keepdims=True) / 2
        return middle[:, self._group], (in_groups > 0).sum(axis=1) > 1


def _sums(targets: Floats, predictions: Floats, patients: AnyInts, n_patients: int) -> Floats:
    """Return the sums of each patient that errors and moments are made of, ``(P, 8)``."""
    # Centred: squares of a score around 10,000 would swallow its spread.
    y, x = (v - v.mean() if len(v) else v for v in (targets, predictions))
    error = targets - predictions
    columns = (np.ones_like(y), np.abs(error), error**2, y, y * y, x, x * x, x * y)
    return np.column_stack(
        [np.bincount(patients, weights=column, minlength=n_patients) for column in columns]
    )


def _figures(
    counts: Floats, sums: Floats, ranked: tuple[_Ranks, _Ranks], patients: AnyInts
) -> Floats:
    weights = counts[:, patients]
    (rank_y, y_varies), (rank_x, x_varies) = (ranks.centred(weights) for ranks in ranked)
    both = y_varies & x_varies
    n, absolute, squared, y, yy, x, xx, xy = (counts @ sums).T
    spread_y, spread_x = yy - y * y / n, xx - x * x / n
    r2 = 1 - divide(squared, np.where(y_varies, spread_y, 0.0))
    spearman = _correlation(
        (weights * rank_x * rank_y).sum(axis=1),
        (weights * rank_x**2).sum(axis=1),
        (weights * rank_y**2).sum(axis=1),
        both,
    )
    pearson = _correlation(xy - x * y / n, spread_x, spread_y, both)
    return np.column_stack([spearman, r2, absolute / n, pearson, np.sqrt(squared / n)])


def _correlation(covariance: Floats, x: Floats, y: Floats, varies: Bools) -> Floats:
    # Of a resample without spread the moments leave rounding, not 0.
    product = np.where(varies, np.maximum(x, 0) * np.maximum(y, 0), 0.0)
    return np.clip(divide(covariance, np.sqrt(product)), -1.0, 1.0)


def figures_of(targets: AnyFloats, predictions: AnyFloats) -> dict[str, float | None]:
    """Return the figures of units that each count once, without intervals.

    Args:
        targets: True numbers, shape ``(n,)``, at least one.
        predictions: Predicted numbers, same shape.

    Returns:
        Name -> figure, None where it is not defined.
    """
    numbers = np.arange(len(targets), dtype=np.int64)
    figures = value_figures(targets, predictions, numbers)
    values: npt.NDArray[Any] = figures.of_counts(np.ones((1, len(numbers))))[0]
    named = zip(figures.names, values.tolist(), strict=True)
    return {name: value if np.isfinite(value) else None for name, value in named}
