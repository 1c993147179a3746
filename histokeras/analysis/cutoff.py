"""Cut a number in two where survival differs: a cut-off is learnt on train and then left alone."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from histokeras.analysis.metrics import Bools, Floats

MEDIAN, LOG_RANK = "median", "logrank"
CUTOFFS = (MEDIAN, LOG_RANK)
"""Ways to learn one: the median; where the log-rank statistic is largest."""
LOW, HIGH = "low", "high"
"""Groups: up to the cut-off, and above it."""
_SMALLEST_SHARE = 0.1


@dataclass(frozen=True)
class Cutoff:
    """Where patients are parted: ``high`` is above it.

    Attributes:
        value: The cut-off itself belongs to ``low``.
        method: One of ``CUTOFFS``.
        p: Of the patients it was learnt on: corrected for having looked at every cut-off (Lausen
            and Schumacher 1992) where it was selected, None for the median.
    """

    value: float
    method: str
    p: float | None = None


def learn_cutoff(values: Floats, time: Floats, event: Bools, method: str = MEDIAN) -> Cutoff | None:
    """Learn a cut-off from train patients.

    Args:
        values: The number of each patient, ``(P,)``, finite.
        time: Follow-up, ``(P,)``.
        event: Whether it ended in the event, ``(P,)``.
        method: ``median``, or ``logrank``: of all cut-offs that leave a tenth of the patients on
            either side the one whose standardised log-rank score statistic is largest.

    Returns:
        The cut-off; None where no cut leaves patients on both sides.

    Raises:
        ValueError: If ``method`` is another.
    """
    if method not in CUTOFFS:
        raise ValueError(f"`method` must be one of {CUTOFFS}. Received: method={method!r}")
    if len(values) < 2 or values.min() == values.max():
        return None
    if method == MEDIAN:
        middle = float(np.median(values))
        # Where most share the highest number, the median would leave nobody above it.
        below = values[values < values.max()].max()
        return Cutoff(min(middle, float(below)), MEDIAN)
    return _selected(values, log_rank_scores(time, event))


def log_rank_scores(time: Floats, event: Bools) -> Floats:
    """Return event less cumulative hazard (Nelson-Aalen) of each patient: the sum is 0."""
    _, inverse = np.unique(time, return_inverse=True)
    at_risk = np.bincount(inverse)[::-1].cumsum()[::-1]
    hazard = np.cumsum(np.bincount(inverse, weights=event) / at_risk)
    found: Floats = event - hazard[inverse]
    return found


def _selected(values: Floats, scores: Floats) -> Cutoff | None:
    n, order = len(values), np.argsort(values, kind="stable")
    values, scores = values[order], scores[order]
    below = np.flatnonzero(np.diff(values) > 0) + 1
    share = below / n
    kept = (share >= _SMALLEST_SHARE) & (share <= 1 - _SMALLEST_SHARE)
    below, share = below[kept], share[kept]
    spread = ((scores - scores.mean()) ** 2).sum()
    if not len(below) or spread == 0:
        return None
    sums = np.cumsum(scores)[below - 1] - below * scores.mean()
    variance = below * (n - below) / (n * (n - 1)) * spread
    statistic = np.abs(sums) / np.sqrt(variance)
    best = int(np.argmax(statistic))
    value = float((values[below[best] - 1] + values[below[best]]) / 2)
    return Cutoff(value, LOG_RANK, selected_p(float(statistic[best]), share[0], share[-1]))


def selected_p(statistic: float, first: float, last: float) -> float:
    """Return the p-value of the largest of many standardised statistics.

    Lausen and Schumacher, Biometrics 1992;48:73, for cut-offs between two quantiles.

    Args:
        statistic: The largest, 0 or more.
        first: Share of patients below the first cut-off that was looked at, in (0, 1).
        last: Share below the last one.
    """
    if statistic <= 1:
        return 1.0
    density = stats.norm.pdf(statistic)
    odds = np.log(last * (1 - first) / ((1 - last) * first))
    p = 4 * density / statistic + density * (statistic - 1 / statistic) * odds
    return float(np.clip(p, 0.0, 1.0))
