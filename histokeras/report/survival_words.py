"""What survival says, in words that claim no more than it does, and its warnings."""

from collections.abc import Mapping, Sequence
from typing import Any

from histokeras.analysis.survival import EVENTS_A_TERM, FEWEST_EVENTS
from histokeras.analysis.survival_words import hazard_title, model_title, p_text
from histokeras.report.caution import Caution
from histokeras.report.text import at, interval, listed, plural

_CLINICAL = "clinical"
_ALPHA = 0.05
_CHANCE = 0.5
_FEW_COMPLETE = 0.8


def headline(metrics: Mapping[str, Any]) -> str:
    """Return the one line of the page: what goes beyond clinical columns, as far as figures tell.

    Args:
        metrics: The content of metrics.json.
    """
    models = _models(metrics)
    if not at(metrics, "compared", "computed"):
        why = "too few events" if metrics["few_events"] else at(metrics, "compared", "reason")
        n, events = plural(metrics["n"], "patient"), plural(metrics["n_events"], "event")
        return f"{n}, {events}: no C-index ({why})."
    added = [name for name in models if name.startswith(f"{_CLINICAL}+")]
    if not added:
        name = next(iter(models))
        found = models[name]["c_index"]
        chance = found["low"] is not None and found["low"] <= _CHANCE <= found["high"]
        said_of = ": not to be told from chance" if chance else ""
        return f"{model_title(name)}: C-index {interval(found)}{said_of}."
    said = [_added(name, models[name]) for name in added if models[name].get("difference")]
    if not said:
        return f"{model_title(added[-1])}: C-index {interval(models[added[-1]]['c_index'])}."
    return " ".join(said)


def _added(name: str, model: Mapping[str, Any]) -> str:
    what = "Tissue" if name.endswith("table") else "Features"
    less = model["difference"]
    verb = ("adds nothing" if what == "Tissue" else "add nothing") + " that can be told from chance"
    if less["low"] is not None and less["low"] > 0:
        verb = "tells more than" if what == "Tissue" else "tell more than"
        return f"{what} {verb} clinical columns alone: C-index higher by {interval(less)}."
    if less["high"] is not None and less["high"] < 0:
        return f"{what} made clinical columns worse: C-index changed by {_signed(less)}."
    return f"{what} {verb} to clinical columns: C-index changed by {_signed(less)}."


def _signed(estimate: Mapping[str, Any]) -> str:
    return interval(estimate, signed=True)


def _models(metrics: Mapping[str, Any]) -> dict[str, Any]:
    found = at(metrics, "compared", "models") or {}
    return {name: model for name, model in found.items() if "c_index" in model}


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Return what stands below the headline: how many, how long, and who was tested."""
    unit = f" {metrics['time_unit']}" if metrics["time_unit"] else ""
    followed = metrics["median_follow_up"]
    said = [
        f"{plural(metrics['n'], 'patient')}, {plural(metrics['n_events'], 'event')}"
        + (f"; median follow-up {followed:.3g}{unit}" if followed is not None else "")
        + f", the longest {metrics['longest']:.3g}{unit}."
    ]
    if at(metrics, "compared", "computed"):
        n = plural(metrics["compared"]["n"], "patient")
        events = plural(metrics["compared"]["n_events"], "event")
        said.append(
            f"C-index of {metrics['tested']}: {n} with every column, {events}. 0.5 is chance, 1 "
            "puts every pair of patients in the right order. Square brackets hold the 95 % "
            "interval, from resampling patients."
        )
    if not metrics["time_unit"]:
        said.append("The unit of time is not known: give it with --time-unit.")
    return said


def cautions(metrics: Mapping[str, Any]) -> list[Caution]:
    """Return the warnings, the gravest first.

    Args:
        metrics: The content of metrics.json.
    """
    found = [
        _few_events(metrics), _untested(metrics), _not_fitted(metrics), _unsteady(metrics),
        _changing(metrics), _incomplete(metrics),
    ]  # fmt: skip
    return [caution for caution in found if caution is not None]


def _few_events(metrics: Mapping[str, Any]) -> Caution | None:
    if not metrics["few_events"]:
        return None
    return Caution(
        "few-events",
        f"{plural(metrics['n_events'], 'event')}: too few to compute from",
        f"With fewer than {FEWEST_EVENTS} events any hazard ratio, test or C-index would be chance."
        " The curves show what was seen, and no more.",
        "Wait for longer follow-up, or take more patients.",
    )


def _untested(metrics: Mapping[str, Any]) -> Caution | None:
    if metrics["few_events"] or at(metrics, "compared", "computed"):
        return None
    return Caution(
        "untested",
        "no model was tested",
        f"{str(at(metrics, 'compared', 'reason')).capitalize()}. Hazard ratios alone do not tell "
        "how well survival is predicted.",
        "Leave `--split` out: folds of patients (`--cv 5`) test everybody.",
    )


def _not_fitted(metrics: Mapping[str, Any]) -> Caution | None:
    failed = [m for m in metrics["models"] if m["problem"] and not metrics["few_events"]]
    if not failed:
        return None
    said = [
        f"{m['columns'][0] if m['model'] == 'univariable' else hazard_title(m['model'])}: "
        f"{m['problem']}"
        for m in failed
    ]
    return Caution(
        "not-fitted",
        f"{plural(len(failed), 'Cox model')} could not be fitted",
        f"{'; '.join(said)}.",
        "Name fewer columns with --columns, those that are known to matter.",
    )


def _unsteady(metrics: Mapping[str, Any]) -> Caution | None:
    names = [
        hazard_title(m["model"])
        for m in metrics["models"]
        if m["terms"] and m["n_events"] < EVENTS_A_TERM * len(m["terms"])
    ]
    if not names:
        return None
    return Caution(
        "unsteady",
        "few events for so many terms",
        f"{listed(names)}: fewer than {EVENTS_A_TERM} events a term. Hazard ratios jump from "
        "sample to sample and tend to be too far from 1.",
        "Name fewer columns with --columns.",
    )


def changing_terms(models: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return univariable terms whose hazard ratio seems to change over time."""
    return [
        term
        for model in models
        if model["model"] == "univariable"
        for term in model["terms"]
        if term["proportional_p"] is not None and term["proportional_p"] < _ALPHA
    ]


def _changing(metrics: Mapping[str, Any]) -> Caution | None:
    terms = changing_terms(metrics["models"])
    if not terms:
        return None
    said = [
        f"{term['name']} ({p_text(term['proportional_p'])}: "
        f"{'weaker' if _fades(term) else 'stronger'} as time goes on)"
        for term in terms
    ]
    n = sum(len(m["terms"]) for m in metrics["models"] if m["model"] == "univariable")
    return Caution(
        "changing",
        "hazards that are not proportional",
        f"Cox's model takes a hazard ratio to be the same all along. It is not for {listed(said)}."
        f" Of {plural(n, 'term')} one in twenty is named here by chance.",
        "Read these ratios as averages over the follow-up, and look at the curves.",
    )


def _fades(term: Mapping[str, Any]) -> bool:
    """Whether the effect comes nearer to none: residuals fall for a ratio above 1."""
    return bool(((term["correlation"] or 0.0) < 0) == (term["coef"] > 0))


def _incomplete(metrics: Mapping[str, Any]) -> Caution | None:
    n, complete = metrics["n"], metrics["n_complete"]
    if complete >= _FEW_COMPLETE * n:
        return None
    return Caution(
        "incomplete",
        f"{n - complete:,} of {plural(n, 'patient')} lack a column",
        "Models are of those who have every column; they may be other patients than those who lack "
        "one.",
        "Name columns that are seldom missing with --columns.",
    )


def methods(metrics: Mapping[str, Any]) -> list[str]:
    """Return how it was computed, for a paper's methods section."""
    cut = {
        "median": "the median",
        "logrank": "the largest standardised log-rank statistic between the 10th and 90th "
        "percentile (Lausen and Schumacher 1992)",
    }[str(metrics["cutoff"])]
    return [
        "Curves by Kaplan and Meier, with pointwise intervals on the scale of log(-log S) and "
        "medians read off the same; follow-up by the reverse curve. Groups by the log-rank test.",
        "Hazard ratios by Cox's model with Efron's ties (statsmodels), of all patients who have "
        "the columns: they tell of association, and are no test of a prediction. Numbers with more "
        "than six values per standard deviation, others per step; categories against the commonest."
        " q is the p-value of the columns alone after Benjamini and Hochberg. Proportional hazards "
        "by scaled Schoenfeld residuals against the logarithm of time (Grambsch and Therneau 1994)."
        f" Nothing is fitted with fewer than {FEWEST_EVENTS} events, or five a term.",
        "Risks by Cox's model with a ridge penalty, chosen by the cross-validated partial "
        "likelihood in five inner folds of the patients that are learned from; features as "
        "principal components of each patient's mean, their number chosen likewise. C-index by "
        "Harrell; risks of different folds are not compared with each other. Differences are "
        "paired: of the same patients, on the same resamples; models are not fitted anew for them.",
        f"Numbers are cut at {cut}, learned on the patients that models learn from, and applied "
        "unchanged to those that are tested." + _given(metrics),
    ]


def _given(metrics: Mapping[str, Any]) -> str:
    """Return which cut-offs were given instead."""
    cuts = [
        f"{curve['name']} at {cut['value']:g}"
        for curve in metrics["curves"]
        for cut in curve["cutoffs"]
        if cut.get("given")
    ]
    return f" Given, and not learned, were the cut-offs of {listed(cuts)}." if cuts else ""
