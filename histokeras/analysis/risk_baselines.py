"""What could have told the risk without a network: clinical columns, tumour type, site, colour.

Each is a Cox model with a ridge penalty on numbers of a patient, fitted to the training patients of
the network, its penalty chosen by folds of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.clinical_terms import learn_columns, terms_of
from histokeras.analysis.compare import CONSTANT
from histokeras.analysis.efron import efron_data, log_likelihood
from histokeras.analysis.metrics import AnyFloats, Bools, Floats
from histokeras.analysis.risk_model import Inputs, RiskModel, fit_risk


@dataclass(frozen=True, eq=False)
class RiskBaselines:
    """The baselines of one training set, beside the one that says the same of everyone.

    Attributes:
        models: Name (``clinical``, ``colour``, ``floor``, ``tumour_type``, ``site``) -> model.
        terms: Name -> what each of its covariates is.
    """

    models: Mapping[str, RiskModel] = field(default_factory=dict)
    terms: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return what was fitted as plain values: hazard ratios of one standard deviation."""
        return {
            name: {
                "log_hazard_ratios": dict(zip(self.terms[name], model.coef.tolist(), strict=True)),
                "shrinkage": model.shrinkage,
            }
            for name, model in self.models.items()
        }


def fit_risk_baselines(
    covariates: Mapping[str, tuple[Sequence[str], Floats]],
    time: Floats,
    event: Bools,
    train: Bools,
    *,
    seed: int = 0,
) -> tuple[RiskBaselines, dict[str, Floats]]:
    """Fit the baselines to the training patients, and say what each tells of all.

    Args:
        covariates: Name -> names of its covariates, and their values, ``(P, k)``, finite.
        time: Follow-up, ``(P,)``, patients in the order of their ids.
        event: Whether it ended in the event, ``(P,)``.
        train: Whom to fit, ``(P,)``, at least 5 events.
        seed: Of the inner folds that choose the penalty.

    Returns:
        The baselines; name -> risks, float64 ``(P,)``, 0 for the mean of the training patients.
        ``constant``, the same for everyone, comes first.
    """
    rows = np.flatnonzero(train)
    models, told = {}, {CONSTANT: np.zeros(len(time))}
    for name, (_, x) in covariates.items():
        inputs = Inputs(x, np.empty((len(x), 0)))
        models[name] = fit_risk(inputs.of(rows), time[rows], event[rows], seed=seed)
        told[name] = models[name].risk(inputs)
    terms = {name: list(names) for name, (names, _) in covariates.items()}
    return RiskBaselines(models, terms), told


def cox_deviance(time: Floats, event: Bools, risk: AnyFloats) -> float:
    """Return the negative partial log-likelihood an event, Efron's ties; lower is better.

    Args:
        time: Follow-up, ``(n,)``.
        event: Whether it ended in the event, ``(n,)``, at least one.
        risk: Logarithms of hazard ratios, ``(n,)``.
    """
    data = efron_data(np.asarray(risk, np.float64)[:, np.newaxis], time, event)
    return -log_likelihood(data, np.ones(1)) / int(event.sum())


def encoded(columns: Mapping[str, "pd.Series[Any]"], train: Bools) -> tuple[list[str], Floats]:
    """Turn columns of a table into covariates, learning from the training patients alone.

    Numbers stay, ordered categories become the number of their level (T1 -> 0, T2 -> 1), others
    one covariate a level that training patients have, but the first. What is missing becomes the
    median of the training patients (no level, of categories without order), and a further
    covariate tells that it was.

    Args:
        columns: Name -> values of all patients: float64 (NaN where missing), or categorical.
        train: Who is a training patient, ``(n,)``.

    Returns:
        Names of the covariates, and their values, float64 ``(n, k)``, finite.
    """
    return terms_of(learn_columns(columns, train), columns, len(train))
