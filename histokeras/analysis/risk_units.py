"""All figures of predicted risks: the counterpart of ``units`` for survival, of patients alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import optimize, stats

from histokeras.analysis.bootstrap import patient_bootstrap
from histokeras.analysis.compare import baseline_block, difference_figures
from histokeras.analysis.concordance import C_INDEX, c_figures
from histokeras.analysis.efron import EfronData, efron_data, log_likelihood
from histokeras.analysis.metrics import Bools, Floats, Ints
from histokeras.analysis.risk_verdict import risk_verdict
from histokeras.analysis.survival import KaplanMeier, kaplan_meier, log_rank
from histokeras.analysis.units import NOT_PATIENT_SAFE, EvaluationConfig, not_evaluated
from histokeras.cohort.outcome_labels import MIN_EVENTS

HIGH, LOW = "high", "low"
"""Risk above, and up to, the median of the training patients."""
_FARTHEST, _STEP = 10.0, 1e-3


@dataclass(frozen=True, eq=False)
class Risks:
    """Patients of one side with their risks, in the order of their ids.

    Attributes:
        time: Follow-up, ``(P,)``.
        event: Whether it ended in the event, ``(P,)``.
        risk: Of the network, ``(P,)``; higher is worse.
        standard: The same in standard deviations of the training patients.
        high: Whose risk is above the median of the training patients.
        fold: Number of the head that said it; None without cross-validation. Risks of two heads
            are not compared.
        baselines: Name -> what else tells of the same patients, ``(P,)``.
    """

    time: Floats
    event: Bools
    risk: Floats
    standard: Floats
    high: Bools
    fold: Ints | None = None
    baselines: Mapping[str, Floats] = field(default_factory=dict)


def evaluate_risks(
    risks: Risks, *, side: str = "test", config: EvaluationConfig | None = None
) -> dict[str, Any]:
    """Compute the figures of one side.

    Args:
        risks: Whom to evaluate.
        side: Its name, for the message where events are too few.
        config: Resamples and seed; the defaults if None.

    Returns:
        What stands in metrics.json at the patient level, plain values: ``evaluated``, and
        ``reason`` with fewer than 5 events; else counts, ``aggregations`` -> ``risk`` ->
        ``c_index`` and ``hazard_ratio`` (of one standard deviation of the training patients),
        ``groups`` (events, log-rank, hazard ratio of high against low), ``baselines`` -> name ->
        ``title c_index difference`` (network minus baseline, paired), ``verdict``.
    """
    config = config or EvaluationConfig()
    n, n_events = len(risks.time), int(risks.event.sum())
    needed = MIN_EVENTS["test"]
    if n_events < needed:
        return not_evaluated(
            f"{n_events} event(s) in {n} {side} patient(s): with fewer than {needed} nothing is "
            "computed"
        )
    how: dict[str, Any] = {
        "n_resamples": config.n_resamples,
        "alpha": config.alpha,
        "seed": config.seed,
    }
    network = c_figures(risks.time, risks.event, risks.risk, risks.fold)
    own = patient_bootstrap(network, **how)[C_INDEX]
    level: dict[str, Any] = {
        "evaluated": True,
        "n": n,
        "n_patients": n if config.patient_safe else None,
        "n_events": n_events,
        "resampled_by": "patient",
        "note": "" if config.patient_safe else NOT_PATIENT_SAFE,
        "aggregations": {
            "risk": {
                C_INDEX: own.as_json(),
                "hazard_ratio": hazard_ratio(risks, risks.standard, alpha=config.alpha),
            }
        },
        "groups": group_figures(risks, alpha=config.alpha),
        "baselines": {},
    }
    for name, values in risks.baselines.items():
        theirs = c_figures(risks.time, risks.event, values, risks.fold)
        difference = difference_figures(network, theirs, (C_INDEX,))
        level["baselines"][name] = baseline_block(
            name,
            patient_bootstrap(theirs, **how),
            patient_bootstrap(difference, **how),
            (C_INDEX,),
        )
    level["verdict"] = risk_verdict(level, alpha=config.alpha, is_floor=config.is_floor)
    return level


def group_figures(risks: Risks, *, alpha: float) -> dict[str, Any]:
    """Return how the patients of high and of low risk fared.

    Returns:
        ``high`` and ``low`` -> ``n n_events median``; ``p`` of the log-rank test and
        ``hazard_ratio`` of high against low, None with a ``note`` where a group is empty or
        holds no event.
    """
    found: dict[str, Any] = {}
    for name, mine in ((HIGH, risks.high), (LOW, ~risks.high)):
        curve = kaplan_meier(risks.time[mine], risks.event[mine]) if mine.any() else None
        found[name] = {
            "n": int(mine.sum()),
            "n_events": int(risks.event[mine].sum()),
            "median": None if curve is None else curve.median,
        }
    if risks.high.all() or not risks.high.any():
        note = f"all patients are of {HIGH if risks.high.all() else LOW} risk: nothing to compare"
        return {**found, "p": None, "hazard_ratio": _no_ratio(note), "note": note}
    names = np.where(risks.high, HIGH, LOW)
    return {
        **found,
        "p": log_rank(risks.time, risks.event, names.tolist()).p,
        "hazard_ratio": hazard_ratio(risks, risks.high.astype(np.float64), alpha=alpha),
        "note": "",
    }


def group_curves(risks: Risks, *, alpha: float) -> dict[str, Any]:
    """Return the Kaplan-Meier curves of both groups, as curves.json holds them."""
    found = {}
    for name, mine in ((HIGH, risks.high), (LOW, ~risks.high)):
        if mine.any():
            curve = kaplan_meier(risks.time[mine], risks.event[mine], alpha=alpha)
            found[name] = _plain(curve) | {
                "censored": np.sort(risks.time[mine & ~risks.event]).tolist()
            }
    return found


def _plain(curve: KaplanMeier) -> dict[str, Any]:
    names = ("time", "survival", "low", "high", "at_risk")
    columns = {name: getattr(curve, name).tolist() for name in names}
    # NaN is no JSON.
    return {
        name: [None if value != value else value for value in column]
        for name, column in columns.items()
    }


def hazard_ratio(risks: Risks, x: Floats, *, alpha: float) -> dict[str, Any]:
    """Return the hazard ratio of one unit of a number, by Cox's model with Efron's ties.

    Folds are strata: patients of one are not set against those of another.

    Args:
        risks: The patients.
        x: The number, ``(P,)``.
        alpha: Share outside Wald's interval.

    Returns:
        ``value low high p note``; None where the likelihood has no maximum.
    """
    parts = [efron_data(x[mine, np.newaxis], risks.time[mine], risks.event[mine])
             for mine in _strata(risks)]  # fmt: skip
    if not parts or all(np.ptp(part.x) == 0 for part in parts):
        return _no_ratio("the same for everyone: no hazard ratio")
    best = optimize.minimize_scalar(
        lambda b: -_total(parts, b), bounds=(-_FARTHEST, _FARTHEST), method="bounded",
        options={"xatol": 1e-8},
    )  # fmt: skip
    coef = float(best.x)
    bend = _total(parts, coef + _STEP) - 2 * _total(parts, coef) + _total(parts, coef - _STEP)
    if abs(coef) > 0.99 * _FARTHEST or bend >= 0:
        return _no_ratio("it separates those with an event from the others: no hazard ratio")
    error = _STEP / np.sqrt(-bend)
    half = stats.norm.ppf(1 - alpha / 2) * error
    return {
        "value": float(np.exp(coef)),
        "low": float(np.exp(coef - half)),
        "high": float(np.exp(coef + half)),
        "p": float(2 * stats.norm.sf(abs(coef) / error)),
        "note": "",
    }


def _strata(risks: Risks) -> list[Bools]:
    if risks.fold is None:
        return [np.ones(len(risks.time), np.bool_)]
    masks = [risks.fold == fold for fold in np.unique(risks.fold)]
    return [mine for mine in masks if risks.event[mine].any()]


def _total(parts: list[EfronData], coef: float) -> float:
    return sum(log_likelihood(part, np.array([coef])) for part in parts)


def _no_ratio(note: str) -> dict[str, Any]:
    return {"value": None, "low": None, "high": None, "p": None, "note": note}
