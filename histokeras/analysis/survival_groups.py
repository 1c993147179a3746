"""Groups of patients and their curves: by a category, a number that is cut, or a model's risk."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.cutoff import HIGH, LOW
from histokeras.analysis.metrics import Bools, Floats
from histokeras.analysis.survival import FEWEST_EVENTS, kaplan_meier, log_rank
from histokeras.analysis.survival_compare import Risks, cut_at, cut_number, tested_patients
from histokeras.analysis.survival_study import SurvivalStudy
from histokeras.analysis.survival_words import ALL, RISK

MOST_GROUPS = 6
_KNOWN = "all patients of whom it is known"
KM_HEAD = ("curve", "group", "time", "survival", "low", "high", "at_risk", "events")
"""Columns of km.csv."""
Texts = npt.NDArray[np.object_]


@dataclass(frozen=True, kw_only=True)
class _Part:
    """How patients are parted for one curve: "" for who is in no group."""

    name: str
    about: str
    group: Texts
    cuts: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, Any] = field(default_factory=dict)


def all_curves(
    study: SurvivalStudy, risks: Sequence[Risks], cutoff: str
) -> tuple[list[dict[str, Any]], pd.DataFrame, dict[str, Texts]]:
    """Return the curves of everybody, of each group that was asked for, and of the risk.

    Args:
        study: The patients.
        risks: Risks of each model; the last that has one parts the patients.
        cutoff: How a number is cut in two: learned on other patients than those it parts.

    Returns:
        What metrics.json holds of each; km.csv; and curve -> group of each patient.
    """
    blocks, tables, groups = [], [], {}
    everybody = np.full(len(study.patients), "all", object)
    parts = [_Part(name=ALL, about="", group=everybody)]
    parts += [_of_column(study, name, cutoff) for name in study.groups]
    told = [item for item in risks if not item.problem]
    if told:
        parts.append(_of_risk(told[-1]))
    for part in parts:
        order = study.levels.get(part.name, ())
        block, table = _curves(part.name, part.group, study.time, study.event, order)
        blocks.append({**block, "about": part.about, "cutoffs": part.cuts, **part.missing})
        tables.append(table)
        groups[part.name] = part.group
    return blocks, pd.concat(tables, ignore_index=True), groups


def _of_column(study: SurvivalStudy, name: str, cutoff: str) -> _Part:
    if name in study.labels:
        group = study.labels[name].to_numpy(object)
        return _Part(name=name, about=_KNOWN, group=group)
    values = study.patients[name].to_numpy(np.float64)
    known = np.unique(values[np.isfinite(values)])
    given = study.cuts.get(name)
    if given is None and len(known) == 2:
        return _Part(name=name, about=_KNOWN, group=_two_values(values))
    if given is None:
        group, cuts = cut_number(values, study, cutoff)
        about = f"{study.tested}; the cut-off too"
    else:
        group, cuts = cut_at(values, study, given)
        about = _KNOWN if tested_patients(study).all() else study.tested
    missing = _missing(study, values)
    if study.missing_group:
        group[missing] = study.missing_group
    told = {
        "n_missing": int(missing.sum()),
        "n_unmeasured": int((~np.isfinite(values) & tested_patients(study)).sum() - missing.sum()),
        "missing_group": study.missing_group,
    }
    return _Part(name=name, about=about, group=group, cuts=cuts, missing=told)


def _missing(study: SurvivalStudy, values: Floats) -> Bools:
    """Return who is tested and lacks the number, though there was something to measure."""
    found: Bools = ~np.isfinite(values) & tested_patients(study) & ~study.unmeasured
    return found


def _two_values(values: Floats) -> Texts:
    return np.array([f"{value:g}" if np.isfinite(value) else "" for value in values], object)


def _of_risk(risks: Risks) -> _Part:
    tested = np.isfinite(risks.risk)
    group = np.where(tested, np.where(risks.high, HIGH, LOW), "")
    cuts = [
        {"value": item["cutoff"], "p": None, "n_learned_from": item["n_learned_from"]}
        for item in risks.choices
    ]
    about = "predicted for patients whom the model did not see; cut at what it learned from others"
    return _Part(name=f"{RISK}{risks.name}", about=about, group=group.astype(object), cuts=cuts)


def _curves(
    name: str, group: Texts, time: Floats, event: Bools, order: Sequence[str]
) -> tuple[dict[str, Any], pd.DataFrame]:
    known = [level for level in _ordered(group, order) if level]
    shown = known[:MOST_GROUPS]
    tables, levels = [pd.DataFrame(columns=list(KM_HEAD))], []
    for level in shown:
        mine = group == level
        curve = kaplan_meier(time[mine], event[mine])
        levels.append({
            "group": level, "n": curve.n, "n_events": curve.n_events, "median": curve.median,
            "median_low": curve.median_low, "median_high": curve.median_high,
        })  # fmt: skip
        tables.append(pd.DataFrame({
            "curve": name, "group": level, "time": curve.time, "survival": curve.survival,
            "low": curve.low, "high": curve.high, "at_risk": curve.at_risk,
            "events": curve.events,
        }))  # fmt: skip
    block: dict[str, Any] = {"name": name, "levels": levels, "n_groups": len(known)}
    block |= _tested(group, known, time, event)
    return block, pd.concat([t for t in tables if len(t)] or tables, ignore_index=True)


def _ordered(group: Texts, order: Sequence[str]) -> list[str]:
    found = set(group.tolist())
    if not order and {LOW, HIGH} & found and len(found - {LOW, HIGH, ""}) <= 1:
        # Beside them may stand the group of those who lack the number.
        order = (LOW, HIGH)
    known = [level for level in order if level in found]
    return known + sorted(found - set(known))


def _tested(group: Texts, known: Sequence[str], time: Floats, event: Bools) -> dict[str, Any]:
    """Return the log-rank test of groups, or why there is none."""
    mine = group != ""
    n_events = int(event[mine].sum())
    reason = ""
    if len(known) < 2:
        reason = "one group" if known else "nobody is tested"
    elif len(known) > MOST_GROUPS:
        reason = f"{len(known)} groups are too many to compare: name a column with fewer"
    elif n_events < FEWEST_EVENTS:
        reason = f"{n_events} events are too few for a test: ten are needed"
    if reason:
        return {"log_rank": None, "reason": reason}
    test = log_rank(time[mine], event[mine], group[mine].tolist())
    found = {"statistic": test.statistic, "df": test.df, "p": test.p}
    return {"log_rank": found, "reason": ""}
