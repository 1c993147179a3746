"""Thresholds along a ranking: precision, recall and their areas, for any resample of patients."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from histokeras.analysis.metrics import AnyFloats, AnyInts, Bools, Floats, Ints, divide, tie_groups

MAX_STEPS = 10_000
"""With more distinct scores than this, neighbours are merged: each step then holds at most one
ten-thousandth of the positives, which moves sensitivities and areas by less than 1e-4."""
_CELLS_A_BLOCK = 1_000_000
# 1 - 0.9 is a little less than 0.1: a tenth of the negatives must not be one too many.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Ranked:
    """Units of two sides, counted for every patient and threshold.

    Attributes:
        positives: How many positives of a patient each threshold adds: sparse, shape ``(G, P)``,
            float64, the highest scores first. ``G`` is the number of thresholds.
        negatives: The same for negatives.
    """

    positives: Any
    negatives: Any

    def each(self, counts: Floats, measure: Callable[[Floats, Floats], Floats]) -> Floats:
        """Measure every resample, a block at a time, so that memory stays small.

        Args:
            counts: How often every patient was drawn, shape ``(b, P)``, whole numbers.
            measure: Takes the positives and the negatives at or above every threshold, shape
                ``(G, c)`` each, for ``c`` of the resamples; returns shape ``(c,)`` or ``(c, M)``.

        Returns:
            Shape ``(b,)`` or ``(b, M)``.
        """
        return np.concatenate([measure(tp, fp) for tp, fp in self._above(counts)])

    def _above(self, counts: Floats) -> Iterator[tuple[Floats, Floats]]:
        rows = max(1, _CELLS_A_BLOCK // max(1, self.positives.shape[0]))
        for begin in range(0, len(counts), rows):
            drawn = np.ascontiguousarray(counts[begin : begin + rows].T)
            sides = (self.positives @ drawn, self.negatives @ drawn)
            for side in sides:
                np.cumsum(side, axis=0, out=side)
            yield sides


def rank(positive: Bools, scores: AnyFloats, patients: AnyInts, n_patients: int) -> Ranked:
    """Rank units by score.

    Up to ``MAX_STEPS`` distinct scores, or positives with so many, each is a threshold of its own
    and all measures are exact.

    Args:
        positive: Which units are positive, shape ``(n,)``.
        scores: Higher means more positive, shape ``(n,)``, finite. Equal scores share a threshold.
        patients: Patient numbers, shape ``(n,)``, in ``0..P-1``.
        n_patients: Number of patients, ``P``.

    Raises:
        ValueError: If the lengths differ or a score is not finite.
    """
    order, starts = tie_groups(positive, -scores)
    ordered = positive[order]
    if len(starts) > MAX_STEPS:
        starts = starts[_steps(np.add.reduceat(ordered.astype(np.int64), starts))]
    begins = np.zeros(len(order), dtype=np.int64)
    begins[starts] = 1
    step = np.cumsum(begins) - 1

    def counted(side: Bools) -> Any:
        cells = (step[side], patients[order][side])
        return csr_array((np.ones(len(cells[0])), cells), shape=(len(starts), n_patients))

    return Ranked(counted(ordered), counted(~ordered))


def _steps(positives: Ints) -> Bools:
    """Return which of the distinct scores begin a step; there are at most ``2 * MAX_STEPS + 1``.

    A step ends with the positives of one ten-thousandth. Negatives that come before the first
    positive of it are a step of their own: no corner of the ROC curve is cut off.
    """
    before = np.cumsum(positives) - positives
    share = before * MAX_STEPS // max(1, int(positives.sum()))
    begins = np.ones(len(positives), dtype=np.bool_)
    begins[1:] = share[1:] != share[:-1]
    at_begin = np.maximum.accumulate(np.where(begins, before, 0))
    begins |= (positives > 0) & (before == at_begin)
    return begins


def average_precision(tp: Floats, fp: Floats) -> Floats:
    """Return the area under the precision-recall curve as scikit-learn's average precision.

    Precision at each threshold, weighted with the recall that the threshold adds; no
    interpolation (Davis and Goadrich 2006, doi:10.1145/1143844.1143874, say why).

    Args:
        tp: Positives at or above every threshold, shape ``(G, b)``, growing along the first axis.
        fp: Negatives, the same shape.

    Returns:
        Shape ``(b,)``, in 0..1; NaN without a positive or without a negative.
    """
    if not len(tp):
        return np.full(tp.shape[1], np.nan)
    # One minus what is missing: a perfect ranking then gives exactly 1.
    added = np.diff(tp, axis=0, prepend=0.0)
    wrong = np.divide(fp, tp + fp, out=np.zeros_like(fp), where=added > 0)
    missing = (divide(added, tp[-1]) * wrong).sum(axis=0)
    return np.where(fp[-1] > 0, 1 - missing, np.nan)


def sensitivity_at(tp: Floats, fp: Floats, specificity: float) -> Floats:
    """Return the largest sensitivity of the thresholds that are at least so specific.

    Args:
        tp: Positives at or above every threshold, shape ``(G, b)``, growing along the first axis.
        fp: Negatives, the same shape.
        specificity: In 0..1. The threshold above all scores, sensitivity 0, always counts.

    Returns:
        Shape ``(b,)``, in 0..1; NaN without a positive or without a negative.
    """
    if not len(tp):
        return np.full(tp.shape[1], np.nan)
    allowed = (fp <= (1 - specificity + _ROUNDING) * fp[-1]).sum(axis=0)
    reached = np.where(allowed > 0, tp[allowed - 1, np.arange(tp.shape[1])], 0.0)
    return np.where(fp[-1] > 0, divide(reached, tp[-1]), np.nan)


def sensitivity_on(tp: Floats, fp: Floats, grid: Floats) -> Floats:
    """Return the ROC curve's height on a grid: straight lines join the thresholds.

    Args:
        tp: Positives at or above every threshold, shape ``(G, b)``, growing along the first axis.
        fp: Negatives, the same shape.
        grid: False-positive rates, shape ``(M,)``, in 0..1; where the curve is upright, its top.

    Returns:
        Shape ``(b, M)``, in 0..1; NaN without a positive or without a negative.
    """
    curves = np.full((tp.shape[1], len(grid)), np.nan)
    for column in np.flatnonzero((tp[-1:] > 0).any(axis=0) & (fp[-1:] > 0).any(axis=0)):
        across = np.concatenate([[0.0], fp[:, column] / fp[-1, column]])
        up = np.concatenate([[0.0], tp[:, column] / tp[-1, column]])
        curves[column] = np.interp(grid, across, up)
    return curves


def precision_on(tp: Floats, fp: Floats, grid: Floats) -> Floats:
    """Return the precision on a grid of recalls, in steps as :func:`average_precision` sums them.

    Args:
        tp: Positives at or above every threshold, shape ``(G, b)``, growing along the first axis.
        fp: Negatives, the same shape.
        grid: Recalls, shape ``(M,)``, in 0..1. Each gets the precision of the highest threshold
            that reaches it; recall 0 that of the first positive.

    Returns:
        Shape ``(b, M)``, in 0..1; NaN without a positive or without a negative.
    """
    curves = np.full((tp.shape[1], len(grid)), np.nan)
    for column in np.flatnonzero((tp[-1:] > 0).any(axis=0) & (fp[-1:] > 0).any(axis=0)):
        right, wrong = tp[:, column], fp[:, column]
        wanted = np.maximum(grid * right[-1] * (1 - _ROUNDING), 0.5)
        at = np.searchsorted(right, wanted)
        curves[column] = right[at] / (right[at] + wrong[at])
    return curves
