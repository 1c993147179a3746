"""Cox's proportional hazards by statsmodels: the one file that knows it."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from histokeras.analysis.efron import (
    efron_data,
    log_likelihood,
    proportional_hazards,
    ridge_coefficients,
)
from histokeras.analysis.metrics import Bools, Floats
from histokeras.errors import MissingError

try:
    from statsmodels.duration.hazard_regression import PHReg
except ImportError as error:
    raise MissingError(
        "`histokeras survival` needs statsmodels, which is not installed.",
        hint='pip install "histokeras[survival]"',
    ) from error

_FARTHEST, _WIDEST = 10.0, 10.0
"""Of a coefficient and its standard error, in standard deviations of the covariate: beyond them the
likelihood has no maximum (a hazard ratio of 22,000)."""


@dataclass(frozen=True)
class CoxTerm:
    """One term of a Cox model.

    Attributes:
        name: What it is: "T, each step", "sex: male against female".
        coef: Logarithm of the hazard ratio.
        se: Its standard error.
        hazard_ratio: Above 1 for those who have the event earlier.
        low: Lower end of its 95 % interval (Wald).
        high: Upper end.
        p: Of Wald's test.
        correlation: Of the scaled Schoenfeld residuals with log time; None where not computed.
        proportional_p: p-value of the hypothesis that the hazard ratio stays the same over time.
    """

    name: str
    coef: float
    se: float
    hazard_ratio: float
    low: float
    high: float
    p: float
    correlation: float | None
    proportional_p: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class CoxFit:
    """A Cox model, or why there is none.

    Attributes:
        terms: Empty if ``problem`` says why.
        n: Patients.
        n_events: Events.
        log_likelihood: Partial, at the coefficients; None without terms.
        problem: "" or what kept the model from being fitted.
        separating: Terms for which the likelihood has no maximum.
    """

    terms: tuple[CoxTerm, ...]
    n: int
    n_events: int
    log_likelihood: float | None
    problem: str = ""
    separating: tuple[str, ...] = ()


def fit_cox(
    x: Floats, names: Sequence[str], time: Floats, event: Bools, *, alpha: float = 0.05
) -> CoxFit:
    """Fit Cox's model with Efron's ties.

    Args:
        x: Covariates, ``(P, K)``, finite, none constant.
        names: Name of each term.
        time: Follow-up, ``(P,)``.
        event: Whether it ended in the event, ``(P,)``, at least one.
        alpha: Share outside the intervals.

    Returns:
        The fit; where the likelihood has no maximum (a term separates those with the event, or
        terms tell the same) there are no terms, and ``problem`` says so.
    """
    size, n_events = len(time), int(event.sum())
    # Fitted on one scale, told on the covariates' own.
    spread = x.std(axis=0)
    scaled = (x - x.mean(axis=0)) / spread
    model = PHReg(time, scaled, status=event.astype(np.int64), ties="efron")
    start, converged = ridge_coefficients(efron_data(scaled, time, event), 0.0)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            # Our own steps are faster; statsmodels begins where they ended, and has the last word.
            fitted = model.fit(disp=0, start_params=start if converged else None)
            coef, se = np.asarray(fitted.params), np.asarray(fitted.bse)
            covariance = np.asarray(fitted.cov_params())
    except np.linalg.LinAlgError:
        return CoxFit((), size, n_events, None, "terms tell the same: no single fit")
    wild = ~np.isfinite(coef) | ~np.isfinite(se) | (np.abs(coef) > _FARTHEST) | (se > _WIDEST)
    if wild.any():
        which = tuple(name for name, bad in zip(names, wild, strict=True) if bad)
        listed = ", ".join(which)
        problem = f"no fit: {listed} separates those with the event from the others, or nearly so"
        return CoxFit((), size, n_events, None, problem, which)
    coef, se = coef / spread, se / spread
    covariance = covariance / np.outer(spread, spread)
    data = efron_data(x, time, event)
    checked = proportional_hazards(data, coef, covariance)
    ends = _ends(coef, se, alpha)
    terms = tuple(
        CoxTerm(
            name,
            float(coef[i]),
            float(se[i]),
            float(np.exp(coef[i])),
            *ends[i],
            float(fitted.pvalues[i]),
            *(float(value) if np.isfinite(value) else None for value in checked[i]),
        )
        for i, name in enumerate(names)
    )
    return CoxFit(terms, size, n_events, log_likelihood(data, coef))


def _ends(coef: Floats, se: Floats, alpha: float) -> list[tuple[float, float]]:
    half = stats.norm.ppf(1 - alpha / 2) * se
    return [(float(np.exp(c - h)), float(np.exp(c + h))) for c, h in zip(coef, half, strict=True)]
