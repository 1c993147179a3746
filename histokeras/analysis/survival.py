"""Kaplan-Meier curves and the log-rank test: who lives how long, and do groups differ."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from histokeras.analysis.metrics import Bools, Floats, Ints
from histokeras.errors import TableError

FEWEST_EVENTS = 10
"""With fewer events nothing is fitted: it is said instead."""
EVENTS_A_TERM, FEWEST_EVENTS_A_TERM = 10, 5
"""Events that each term of a Cox model should have, and below which it is not fitted."""
IMPOSSIBLE = "COX_IMPOSSIBLE"


@dataclass(frozen=True)
class KaplanMeier:
    """A curve that steps down at the times of events.

    Attributes:
        time: 0, then every time of an event or of censoring, ascending, ``(m,)``.
        survival: Share that lives past that time, 0..1.
        low: Lower end of the pointwise interval (log-log); NaN where all have died.
        high: Upper end.
        at_risk: How many are followed up to just before each time.
        events: Events at each time.
        n: Patients.
        n_events: Events in all.
        median: First time at which the curve is at or below one half; None if it never is.
        median_low: The same of the lower end of the interval.
        median_high: The same of the upper end.
    """

    time: Floats
    survival: Floats
    low: Floats
    high: Floats
    at_risk: Ints
    events: Ints
    n: int
    n_events: int
    median: float | None
    median_low: float | None
    median_high: float | None


@dataclass(frozen=True)
class LogRank:
    """Do groups have the same survival?

    Attributes:
        statistic: Chi-squared.
        df: Degrees of freedom, groups less one.
        p: Its p-value.
        observed: Events in each group, in the order of the groups' names.
        expected: Events that each group would have, had all the same hazard.
    """

    statistic: float
    df: int
    p: float
    observed: tuple[int, ...]
    expected: tuple[float, ...]


def require_outcome(time: Floats, event: Bools) -> None:
    """Refuse an outcome from which nothing can be learned.

    Args:
        time: Follow-up of each patient, ``(P,)``, 0 or more, finite, in any unit.
        event: Whether it ended in the event (True) or was censored (False).

    Raises:
        TableError: If nobody is left, or all are censored (COX_IMPOSSIBLE).
        ValueError: If a time is negative or not a number, or lengths differ.
    """
    if len(time) != len(event) or not np.isfinite(time).all() or (time < 0).any():
        raise ValueError("`time` must be finite and at least 0, and as long as `event`.")
    if not len(time):
        raise TableError(
            "no patient has time and event.",
            code=IMPOSSIBLE,
            hint="Check that the patients of the tables are the same.",
        )
    if not event.any():
        raise TableError(
            f"all {len(time)} patients are censored: no event, so survival tells nothing.",
            code=IMPOSSIBLE,
            hint="Check the event column: 1 is an event (death), 0 is censored.",
        )


def kaplan_meier(time: Floats, event: Bools, *, alpha: float = 0.05) -> KaplanMeier:
    """Estimate the survival curve of one group.

    Patients who are censored at the time of an event count as followed past it.

    Args:
        time: Follow-up, ``(P,)``, at least one patient.
        event: Whether it ended in the event, ``(P,)``.
        alpha: Share outside the interval: 0.05 gives 95 % intervals, symmetric on the scale of
            log(-log S), so that they stay within 0..1.
    """
    times, at_risk, events = _risk_table(time, event)
    survival = np.cumprod(1 - events / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(events / (at_risk * (at_risk - events)))
        scale = np.log(-np.log(survival))
        half = stats.norm.ppf(1 - alpha / 2) * np.sqrt(greenwood) / np.abs(np.log(survival))
        low, high = np.exp(-np.exp(scale + half)), np.exp(-np.exp(scale - half))
    before = np.cumsum(events) == 0
    low[before] = high[before] = 1.0
    low[survival == 0] = high[survival == 0] = np.nan
    curve = [np.concatenate([[1.0], part]) for part in (survival, low, high)]
    times = np.concatenate([[0.0], times])
    return KaplanMeier(
        times,
        survival=curve[0],
        low=curve[1],
        high=curve[2],
        at_risk=np.concatenate([[len(time)], at_risk]),
        events=np.concatenate([[0], events]),
        n=len(time),
        n_events=int(event.sum()),
        median=_first_below(times, curve[0]),
        median_low=_first_below(times, curve[1]),
        median_high=_first_below(times, curve[2]),
    )


def _risk_table(time: Floats, event: Bools) -> tuple[Floats, Ints, Ints]:
    times, inverse = np.unique(time, return_inverse=True)
    ending = np.bincount(inverse, minlength=len(times))
    events = np.bincount(inverse, weights=event, minlength=len(times)).astype(np.int64)
    return times, ending[::-1].cumsum()[::-1], events


def _first_below(times: Floats, survival: Floats) -> float | None:
    below = np.flatnonzero(survival <= 0.5)
    return float(times[below[0]]) if len(below) else None


def survival_at(curve: KaplanMeier, times: Sequence[float]) -> Floats:
    """Return survival and its interval at given times, ``(len(times), 3)``: value, low, high."""
    at = np.searchsorted(curve.time, np.asarray(times, np.float64), side="right") - 1
    return np.column_stack([curve.survival, curve.low, curve.high])[at]


def numbers_at_risk(time: Floats, times: Sequence[float]) -> list[int]:
    """Return how many patients are followed up to each of ``times`` or longer."""
    return [int((time >= moment).sum()) for moment in times]


def log_rank(time: Floats, event: Bools, group: Sequence[str]) -> LogRank:
    """Test whether groups have the same survival (Mantel-Haenszel, ties by their exact variance).

    Args:
        time: Follow-up, ``(P,)``.
        event: Whether it ended in the event, ``(P,)``, at least one.
        group: Group of each patient; at least two different ones. Names are sorted.

    Raises:
        ValueError: If there are fewer than two groups, or no event.
    """
    names, member = np.unique(np.asarray(group, str), return_inverse=True)
    if len(names) < 2 or not event.any():
        raise ValueError(f"`group` must hold two groups, with an event. Received: {len(names)}")
    moments = np.unique(time[event])
    at_risk = np.empty((len(moments), len(names)))
    died = np.empty_like(at_risk)
    for k in range(len(names)):
        mine = np.sort(time[member == k])
        deaths = np.sort(time[(member == k) & event])
        at_risk[:, k] = len(mine) - np.searchsorted(mine, moments, side="left")
        ends = [np.searchsorted(deaths, moments, side=side) for side in ("left", "right")]
        died[:, k] = ends[1] - ends[0]
    total, d = at_risk.sum(axis=1), died.sum(axis=1)
    share = at_risk / total[:, np.newaxis]
    expected = (d[:, np.newaxis] * share).sum(axis=0)
    # One patient at risk: no variance.
    factor = np.where(total > 1, d * (total - d) / np.maximum(total - 1, 1), 0.0)
    variance = np.diag(factor @ share) - (share * factor[:, np.newaxis]).T @ share
    score = (died.sum(axis=0) - expected)[:-1]
    statistic = float(score @ np.linalg.pinv(variance[:-1, :-1]) @ score)
    df = len(names) - 1
    return LogRank(
        statistic,
        df,
        float(stats.chi2.sf(statistic, df)),
        tuple(died.sum(axis=0).astype(int).tolist()),
        tuple(expected.tolist()),
    )
