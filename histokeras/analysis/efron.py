"""The partial likelihood of Cox's model with Efron's ties: a ridge fit, and Schoenfeld residuals.

Efron, J Am Stat Assoc 1977;72:557. For each event ``e``, the ``l``-th of ``d`` at its time, the
risk set's sum is ``S - l/d D``, where ``D`` is the sum of those who have the event at that time.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from histokeras.analysis.metrics import Bools, Floats, Ints

_STEPS, _HALVINGS, _SMALL = 60, 30, 1e-9


@dataclass(frozen=True, eq=False)
class EfronData:
    """Patients in the order of their time, and who is at risk when.

    Attributes:
        x: Covariates, ``(P, K)``.
        order: Position of each row among the patients as they were given.
        event: Whether each had the event, ``(P,)``.
        start: First row that is at risk at each of the ``E`` events.
        tie: Number of each event's time, 0 for the first.
        share: ``l/d`` of each event.
    """

    x: Floats
    order: Ints
    event: Bools
    time: Floats
    start: Ints
    tie: Ints
    share: Floats


@dataclass(frozen=True)
class RidgeFit:
    """Coefficients of a Cox model.

    Attributes:
        coef: ``(K,)``.
        covariance: Inverse of the (penalised) information, ``(K, K)``.
        log_likelihood: Partial log-likelihood without the penalty.
        converged: Whether the gradient vanished.
    """

    coef: Floats
    covariance: Floats
    log_likelihood: float
    converged: bool


def efron_data(x: Floats, time: Floats, event: Bools) -> EfronData:
    """Sort patients by time and find the risk sets.

    Args:
        x: Covariates, ``(P, K)``, finite.
        time: Follow-up, ``(P,)``.
        event: Whether it ended in the event, ``(P,)``, at least one.
    """
    order = np.argsort(time, kind="stable")
    time, event, x = time[order], event[order], x[order]
    times = time[event]
    _, tie, counts = np.unique(times, return_inverse=True, return_counts=True)
    within = np.arange(len(times)) - np.repeat(np.cumsum(counts) - counts, counts)
    start = np.searchsorted(time, times, side="left")
    return EfronData(x, order, event, time, start, tie, within / counts[tie])


def log_likelihood(data: EfronData, coef: Floats) -> float:
    """Return the partial log-likelihood of coefficients ``(K,)``."""
    eta = data.x @ coef
    top = float(eta.max())
    risk = np.exp(eta - top)
    sums = _set_sums(data, risk)
    return float((eta[data.event] - top).sum() - np.log(sums).sum())


def _set_sums(data: EfronData, values: Floats) -> Floats:
    """Return the sum of ``values``, ``(P,)`` or ``(P, K)``, over each event's risk set."""
    whole = np.cumsum(values[::-1], axis=0)[::-1][data.start]
    tied = np.add.reduceat(values[data.event], _firsts(data), axis=0)
    share = data.share if values.ndim == 1 else data.share[:, np.newaxis]
    found: Floats = whole - share * tied[data.tie]
    return found


def _firsts(data: EfronData) -> Ints:
    """Return the first event of each time."""
    return np.flatnonzero(np.diff(data.tie, prepend=-1))


def _slopes(data: EfronData, coef: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the gradient, the information, and the mean of ``x`` over each event's risk set."""
    eta = data.x @ coef
    risk = np.exp(eta - eta.max())
    sums = _set_sums(data, risk)
    means = _set_sums(data, risk[:, np.newaxis] * data.x) / sums[:, np.newaxis]
    weights = risk * _hazard(data, sums)
    gradient = data.x[data.event].sum(axis=0) - means.sum(axis=0)
    information = (data.x * weights[:, np.newaxis]).T @ data.x - means.T @ means
    return gradient, information, means


def _hazard(data: EfronData, sums: Floats) -> Floats:
    """Return what each patient's risk is multiplied by in all sets that hold it."""
    # Events up to and with the patient's own time, each set's sum in turn.
    ends = np.searchsorted(data.time[data.event], data.time, side="right")
    total = np.concatenate([[0.0], np.cumsum(1 / sums)])[ends]
    # Who has the event at that time is in the set with a part only.
    less = np.bincount(data.tie, weights=data.share / sums)
    total[data.event] -= less[data.tie]
    return np.asarray(total)


def fit_ridge(data: EfronData, penalty: float = 0.0) -> RidgeFit:
    """Maximise the partial log-likelihood less ``penalty / 2`` times the sum of squares.

    Args:
        data: Patients; covariates of one scale where there is a penalty.
        penalty: 0 or more; 0 is the plain Cox model.

    Returns:
        The fit; ``converged`` is False where it has no maximum, such as where a covariate separates
        those with the event from all others.

    Raises:
        ValueError: If ``penalty`` is negative.
    """
    coef, converged = ridge_coefficients(data, penalty)
    information = _slopes(data, coef)[1] + penalty * np.eye(len(coef))
    covariance = np.asarray(np.linalg.pinv(information), np.float64)
    return RidgeFit(coef, covariance, log_likelihood(data, coef), converged)


def ridge_coefficients(
    data: EfronData, penalty: float, start: Floats | None = None
) -> tuple[Floats, bool]:
    """Return the coefficients of :func:`fit_ridge`, and whether they are the maximum.

    Args:
        data: Patients.
        penalty: 0 or more.
        start: Coefficients to begin with, such as those of another penalty; zeros if None.

    Raises:
        ValueError: If ``penalty`` is negative.
    """
    if penalty < 0:
        raise ValueError(f"`penalty` must be at least 0. Received: penalty={penalty}")
    size = data.x.shape[1]
    coef, converged = np.zeros(size) if start is None else start, False
    best = log_likelihood(data, coef) - penalty / 2 * float(coef @ coef)
    for _ in range(_STEPS):
        gradient, information, _ = _slopes(data, coef)
        gradient, information = gradient - penalty * coef, information + penalty * np.eye(size)
        step = np.linalg.lstsq(information, gradient, rcond=None)[0]
        if np.abs(gradient @ step) < _SMALL:
            converged = bool(np.linalg.matrix_rank(information) == size)
            break
        for _ in range(_HALVINGS):
            value = log_likelihood(data, coef + step) - penalty / 2 * ((coef + step) ** 2).sum()
            if np.isfinite(value) and value >= best:
                break
            step = step / 2
        coef, best = coef + step, value
    return coef, converged


def proportional_hazards(data: EfronData, coef: Floats, covariance: Floats) -> Floats:
    """Test whether each hazard ratio stays the same over time (Grambsch and Therneau 1994).

    Scaled Schoenfeld residuals, one an event, are set against the logarithm of time.

    Args:
        data: Patients, times above 0.
        coef: Coefficients, ``(K,)``.
        covariance: Their covariance, ``(K, K)``.

    Returns:
        ``(K, 2)``: the correlation (Pearson) of the residuals with log time, and the p-value
        of chi-squared with one degree of freedom; NaN with fewer than three times.
    """
    _, _, means = _slopes(data, coef)
    # All who have the event at one time share the mean over the sets of that time.
    counts = np.bincount(data.tie)[:, np.newaxis]
    shared = np.add.reduceat(means, _firsts(data), axis=0)
    residuals = data.x[data.event] - (shared / counts)[data.tie]
    scaled = len(residuals) * residuals @ covariance
    moment = np.log(np.maximum(data.time[data.event], np.finfo(float).tiny))
    moment = moment - moment.mean()
    if len(np.unique(moment)) < 3:
        return np.full((len(coef), 2), np.nan)
    spread = (moment**2).sum()
    statistic = (moment @ scaled) ** 2 / (len(residuals) * spread * np.diag(covariance))
    centred = scaled - scaled.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = moment @ centred / np.sqrt(spread * (centred**2).sum(axis=0))
    return np.column_stack([correlation, stats.chi2.sf(statistic, 1)])
