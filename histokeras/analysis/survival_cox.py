"""Hazard ratios of columns, one by one and together, and what keeps them from being computed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from histokeras.analysis.covariates import (
    Covariate,
    design,
    independent,
    known_values,
    learn_covariate,
)
from histokeras.analysis.cox import CoxFit, fit_cox
from histokeras.analysis.survival import EVENTS_A_TERM, FEWEST_EVENTS, FEWEST_EVENTS_A_TERM

UNIVARIABLE = "univariable"
HEAD = ("model", "column", "term", "n", "events", "hazard_ratio", "low", "high", "p", "q", "coef",
        "se", "ph_correlation", "ph_p", "problem")  # fmt: skip
"""Columns of cox.csv."""


@dataclass(frozen=True)
class Hazards:
    """A Cox model of some columns.

    Attributes:
        model: ``univariable``, or the name of the model.
        columns: The columns it was asked for.
        of_term: Column of each term of ``fit``.
        fit: The model; without terms ``fit.problem`` says why.
        notes: What was left out of it, and how far it may be trusted.
    """

    model: str
    columns: tuple[str, ...]
    of_term: tuple[str, ...]
    fit: CoxFit
    notes: tuple[str, ...] = ()


def fit_hazards(model: str, columns: Sequence[str], patients: pd.DataFrame) -> Hazards:
    """Fit one Cox model on all patients who have every column.

    Args:
        model: What it is called.
        columns: At least one.
        patients: ``time``, ``event`` and the columns.

    Returns:
        The model. It is not fitted with fewer than ten events, or fewer than five a term; with
        fewer than ten a term a note says so. A term that others tell, and columns that separate
        those with the event from the others, are left out, with a note.
    """
    known = np.all([known_values(patients[name]) for name in columns], axis=0)
    mine = patients[known]
    notes = _missing(len(patients) - len(mine), model)
    n, events = len(mine), int(mine["event"].sum())
    if events < FEWEST_EVENTS:
        return _none(model, columns, n, events, f"{events} events are too few: ten are needed")
    learned = [learn_covariate(mine[name]) for name in columns]
    covariates = [item for item in learned if item is not None]
    constant = [name for name, item in zip(columns, learned, strict=True) if item is None]
    notes += [f"{name} has one value and is left out" for name in constant]
    found = _fitted(model, columns, covariates, mine)
    return replace(found, notes=(*notes, *found.notes))


def _fitted(
    model: str, columns: Sequence[str], covariates: Sequence[Covariate], mine: pd.DataFrame
) -> Hazards:
    n, events = len(mine), int(mine["event"].sum())
    if not covariates:
        return _none(model, columns, n, events, "no column has two values")
    x = design(covariates, mine)
    names = [term for item in covariates for term in item.terms]
    of_term = [item.name for item in covariates for _ in item.terms]
    kept = independent(x)
    notes = [
        f"{name} is left out: the others tell it"
        for name, good in zip(names, kept, strict=True)
        if not good
    ]
    n_terms = int(kept.sum())
    if events < FEWEST_EVENTS_A_TERM * n_terms:
        problem = (
            f"{events} events are too few for {n_terms} terms: five a term are needed, ten are good"
        )
        return _none(model, columns, n, events, problem)
    if events < EVENTS_A_TERM * n_terms:
        notes.append(f"{events} events for {n_terms} terms: fewer than ten a term, so unsteady")
    names = [name for name, good in zip(names, kept, strict=True) if good]
    owners = [name for name, good in zip(of_term, kept, strict=True) if good]
    time, event = mine["time"].to_numpy(np.float64), mine["event"].to_numpy(bool)
    fit = fit_cox(x[:, kept], names, time, event)
    wild = {owners[names.index(term)] for term in fit.separating}
    rest = [item for item in covariates if item.name not in wild]
    if wild and rest:
        found = _fitted(model, columns, rest, mine)
        said = (
            f"{', '.join(sorted(wild))} left out: it separates those with the event, or nearly so"
        )
        return replace(found, notes=(*notes, said, *found.notes))
    told = tuple(owners) if fit.terms else ()
    return Hazards(model, tuple(columns), told, fit, tuple(notes))


def _none(model: str, columns: Sequence[str], n: int, events: int, problem: str) -> Hazards:
    return Hazards(model, tuple(columns), (), CoxFit((), n, events, None, problem))


def _missing(count: int, model: str) -> list[str]:
    if not count or model == UNIVARIABLE:
        return []
    return [f"{count} patient{'' if count == 1 else 's'} left out who lack one of its columns"]


def hazard_table(models: Sequence[Hazards]) -> pd.DataFrame:
    """Return cox.csv: one row a term, or a model that was not fitted.

    ``q`` is the p-value of univariable terms after Benjamini and Hochberg.
    """
    rows = []
    for item in models:
        base = (item.model, item.fit.n, item.fit.n_events)
        if not item.fit.terms:
            rows.append(_row(base, ", ".join(item.columns), problem=item.fit.problem))
        rows += [
            _row(
                base, column, term=term.name, hazard_ratio=term.hazard_ratio, low=term.low,
                high=term.high, p=term.p, coef=term.coef, se=term.se,
                ph_correlation=term.correlation, ph_p=term.proportional_p,
            )
            for column, term in zip(item.of_term, item.fit.terms, strict=True)
        ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(HEAD))
    alone = (table["model"] == UNIVARIABLE) & table["p"].notna()
    if alone.any():
        p = table.loc[alone, "p"].to_numpy(np.float64)
        table.loc[alone, "q"] = stats.false_discovery_control(p)
    return table


def _row(base: tuple[str, int, int], column: str, **values: object) -> dict[str, object]:
    model, n, events = base
    return {"model": model, "column": column, "n": n, "events": events, "q": np.nan, **values}
