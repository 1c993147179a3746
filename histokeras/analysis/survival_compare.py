"""Models side by side: the risk each gives to patients it has not seen, and its C-index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.analysis.bootstrap import Figures, join_figures, patient_bootstrap
from histokeras.analysis.compare import difference_figures
from histokeras.analysis.concordance import C_INDEX, c_figures
from histokeras.analysis.covariates import design, independent, known_values, learn_covariate
from histokeras.analysis.cutoff import HIGH, LOW, learn_cutoff
from histokeras.analysis.metrics import Bools, Floats, Ints
from histokeras.analysis.risk_model import Inputs, RiskModel, fit_risk
from histokeras.analysis.survival import FEWEST_EVENTS
from histokeras.analysis.survival_study import Side, SurvivalStudy

CLINICAL, TABLE, FEATURES = "clinical", "table", "features"


@dataclass(frozen=True, eq=False)
class Risks:
    """What one model says of patients it has not seen.

    Attributes:
        name: ``clinical``, ``table``, ``clinical+table``, ``features``, ``clinical+features``.
        risk: Of each patient, NaN where it was not tested, ``(P,)``.
        high: Whether it lies above the cut-off of the patients that were learned from.
        fold: Number of the model that was used, -1 where there was none.
        choices: Penalty, components and cut-off of each fold.
        problem: "" or why there is no risk.
    """

    name: str
    risk: Floats
    high: Bools
    fold: Ints
    choices: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""


def model_parts(study: SurvivalStudy) -> dict[str, tuple[str, ...]]:
    """Return the models that can be compared: name -> its parts, clinical alone first."""
    has = [kind for kind in (CLINICAL, TABLE) if study.columns.get(kind)]
    if study.features is not None:
        has.append(FEATURES)
    found: dict[str, tuple[str, ...]] = {kind: (kind,) for kind in has}
    if CLINICAL in has:
        found |= {f"{CLINICAL}+{kind}": (CLINICAL, kind) for kind in has if kind != CLINICAL}
    return found


def complete_patients(study: SurvivalStudy) -> Bools:
    """Return who has every column of every model: the patients that all models share."""
    known = np.ones(len(study.patients), bool)
    for names in study.columns.values():
        for name in names:
            known &= known_values(study.patients[name])
    return known


def tell_risks(study: SurvivalStudy, *, cutoff: str, seed: int) -> list[Risks]:
    """Learn each model on each side's patients and tell the risk of the others.

    Args:
        study: The patients.
        cutoff: How the risk is cut in two.
        seed: Of the inner folds.
    """
    known = complete_patients(study)
    return [
        _told(study, name, parts, known, cutoff, seed) for name, parts in model_parts(study).items()
    ]


def _told(
    study: SurvivalStudy, name: str, parts: Sequence[str], known: Bools, cutoff: str, seed: int
) -> Risks:
    n = len(study.patients)
    found = Risks(name, np.full(n, np.nan), np.zeros(n, bool), np.full(n, -1))
    for number, side in enumerate(study.sides):
        learn, test = side.learn[known[side.learn]], side.test[known[side.test]]
        events = int(study.event[learn].sum())
        if events < FEWEST_EVENTS:
            problem = f"{events} events to learn from are too few: ten are needed"
            return Risks(name, np.full(n, np.nan), found.high, np.full(n, -1), problem=problem)
        inputs = _inputs(study, parts, learn)
        if not inputs.plain.shape[1] and not inputs.wide.shape[1]:
            problem = "no column has two values among those it is learned from"
            return Risks(name, np.full(n, np.nan), found.high, np.full(n, -1), problem=problem)
        model = fit_risk(inputs.of(learn), study.time[learn], study.event[learn], seed=seed)
        learned = model.risk(inputs.of(learn))
        cut = learn_cutoff(learned, study.time[learn], study.event[learn], cutoff)
        found.risk[test], found.fold[test] = model.risk(inputs.of(test)), number
        if cut is not None:
            found.high[test] = found.risk[test] > cut.value
        found.choices.append(_choice(model, cut.value if cut is not None else None, len(learn)))
    return found


def _choice(model: RiskModel, cut: float | None, n: int) -> dict[str, Any]:
    return {
        "n_learned_from": n,
        "penalty_in_events": model.shrinkage,
        "n_components": model.n_components,
        "cutoff": cut,
        "converged": model.converged,
    }


def _inputs(study: SurvivalStudy, parts: Sequence[str], learn: Ints) -> Inputs:
    """Return terms and features of all patients; terms are learned on some."""
    names = [name for part in parts for name in study.columns.get(part, ())]
    learned = [learn_covariate(study.patients[name].iloc[learn]) for name in names]
    covariates = [item for item in learned if item is not None]
    n = len(study.patients)
    plain = np.empty((n, 0))
    if covariates:
        # Patients who lack a column are neither learned from nor tested: any number will do.
        plain = np.nan_to_num(design(covariates, study.patients))
        plain = plain[:, independent(plain[learn])]
    features = study.features if FEATURES in parts else None
    return Inputs(plain, np.empty((n, 0)) if features is None else features)


def compare_risks(
    study: SurvivalStudy, risks: Sequence[Risks], *, n_resamples: int, seed: int
) -> dict[str, Any]:
    """Return the C-index of each model with its interval, and how far it is beyond clinical-only.

    Risks of different folds are not compared with each other. All models are of the same patients,
    and differences are paired: on the same resamples.

    Args:
        study: The patients.
        risks: From :func:`tell_risks`.
        n_resamples: Resamples of patients behind each interval.
        seed: Of the resamples.

    Returns:
        ``computed`` False with a ``reason``; else ``n``, ``n_events``, ``tested`` and ``models``:
        name -> ``c_index`` and, beside clinical-only, ``difference`` (Estimates as plain values),
        ``choices``, or ``problem``.
    """
    usable = [item for item in risks if not item.problem]
    failed: dict[str, Any] = {r.name: {"problem": r.problem} for r in risks if r.problem}
    if not usable:
        reason = risks[0].problem if risks else "no column or feature to learn from"
        return {"computed": False, "reason": reason, "models": failed}
    tested = np.flatnonzero(np.isfinite(usable[0].risk))
    n_events = int(study.event[tested].sum())
    about = {"n": len(tested), "n_events": n_events, "tested": study.tested}
    if n_events < FEWEST_EVENTS:
        reason = (
            f"{n_events} events among the {len(tested)} patients that are tested are too few for a "
            "C-index: ten are needed"
        )
        return {"computed": False, "reason": reason, **about, "models": failed}
    figures = {item.name: _figures(study, item, tested) for item in usable}
    estimates = patient_bootstrap(
        join_figures(*_with_differences(figures)), n_resamples=n_resamples, seed=seed
    )
    models: dict[str, Any] = {}
    for item in usable:
        models[item.name] = {"c_index": estimates[item.name].as_json(), "choices": item.choices}
        if f"{item.name} less clinical" in estimates:
            models[item.name]["difference"] = estimates[f"{item.name} less clinical"].as_json()
    return {"computed": True, **about, "models": {**models, **failed}}


def _figures(study: SurvivalStudy, risks: Risks, tested: Ints) -> Figures:
    return c_figures(
        study.time[tested], study.event[tested], risks.risk[tested], risks.fold[tested]
    )


def _with_differences(figures: Mapping[str, Figures]) -> list[Figures]:
    found = [_called(name, item) for name, item in figures.items()]
    base = figures.get(CLINICAL)
    for name, item in figures.items():
        if base is not None and name != CLINICAL:
            less = difference_figures(item, base, (C_INDEX,))
            found.append(_called(f"{name} less clinical", less))
    return found


def _called(name: str, item: Figures) -> Figures:
    return Figures((name,), item.of_counts, item.n_patients, item.needs, item.groups)


def cut_number(
    values: Floats, study: SurvivalStudy, method: str
) -> tuple[npt.NDArray[np.object_], list[dict[str, Any]]]:
    """Cut a number at what is learned on each side's patients; the others are parted by it.

    Args:
        values: Of each patient, NaN where missing, ``(P,)``.
        study: The patients and sides.
        method: ``median`` or ``logrank``.

    Returns:
        ``high``, ``low`` or "" (not tested, or missing) of each patient, and each side's cut-off.
    """
    group, cuts = np.full(len(values), "", object), []
    known = np.isfinite(values)
    for side in study.sides:
        learn, test = _known(side, known)
        cut = learn_cutoff(values[learn], study.time[learn], study.event[learn], method)
        if cut is None:
            continue
        group[test] = np.where(values[test] > cut.value, HIGH, LOW)
        cuts.append({"value": cut.value, "p": cut.p, "n_learned_from": len(learn)})
    return group, cuts


def cut_at(
    values: Floats, study: SurvivalStudy, cut: float
) -> tuple[npt.NDArray[np.object_], list[dict[str, Any]]]:
    """Part the patients that are tested at a cut-off that was given; nothing is learned.

    Args:
        values: Of each patient, NaN where missing, ``(P,)``.
        study: The patients and sides.
        cut: The cut-off; it belongs to ``low``.

    Returns:
        As :func:`cut_number` does; ``given`` is true.
    """
    known = np.isfinite(values) & tested_patients(study)
    group = np.where(known, np.where(values > cut, HIGH, LOW), "").astype(object)
    return group, [{"value": cut, "p": None, "n_learned_from": 0, "given": True}]


def tested_patients(study: SurvivalStudy) -> Bools:
    """Return who is tested on any side, ``(P,)``."""
    tested = np.zeros(len(study.patients), bool)
    for side in study.sides:
        tested[side.test] = True
    return tested


def _known(side: Side, known: Bools) -> tuple[Ints, Ints]:
    return side.learn[known[side.learn]], side.test[known[side.test]]
