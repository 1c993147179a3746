"""What ``survival`` found, as plain text for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from histokeras.analysis.survival import FEWEST_EVENTS
from histokeras.analysis.survival_words import ALL, RISK, hazard_title, model_title, p_text
from histokeras.analysis.text import aligned, cell, plural


def format_survival(metrics: Mapping[str, Any]) -> str:
    """Return the figures of metrics.json as a short text.

    Args:
        metrics: What :func:`~histokeras.analysis.survival_run.run_survival` returns.
    """
    lines = [f"{plural(metrics['n'], 'patient')}, {plural(metrics['n_events'], 'event')}."]
    if metrics["few_events"]:
        few = f"Fewer than {FEWEST_EVENTS} events are too few: nothing is computed."
        return "\n".join([*lines, few])
    lines += _compared(metrics["compared"])
    rows = [
        [term["name"], f"{term['hazard_ratio']:.2f} [{term['low']:.2f}, {term['high']:.2f}]",
         p_text(term["p"])]
        for model in metrics["models"] if model["model"] == "univariable"
        for term in model["terms"]
    ]  # fmt: skip
    if rows:
        lines += ["Hazard ratio of each column alone, with 95 % interval:", *aligned(rows)]
    return "\n".join([*lines, *_problems(metrics["models"]), *_tests(metrics["curves"])])


def _problems(models: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for model in models:
        if model["problem"]:
            alone = model["model"] == "univariable"
            which = model["columns"][0] if alone else hazard_title(model["model"])
            lines.append(f"Not computed: {which}: {model['problem']}.")
    return lines


def _tests(curves: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for curve in curves:
        name = curve["name"]
        if name.startswith(RISK):
            name = f"groups by the risk of: {model_title(name.removeprefix(RISK))}"
        name += _cut(curve)
        if curve["log_rank"]:
            lines.append(f"Log-rank, {name}: {p_text(curve['log_rank']['p'])}.")
        elif name != ALL:
            lines.append(f"Log-rank, {name}: not computed: {curve['reason']}.")
    return lines


def _cut(curve: Mapping[str, Any]) -> str:
    """Return where a number was cut if that was given, and who has none."""
    told = [f"cut at {cut['value']:g} as given" for cut in curve["cutoffs"] if cut.get("given")]
    if curve.get("n_missing"):
        group = curve["missing_group"]
        became = f"are {group}" if group else "left out"
        told.append(f"{plural(curve['n_missing'], 'patient')} without it {became}")
    if curve.get("n_unmeasured"):
        told.append(f"{plural(curve['n_unmeasured'], 'patient')} with nothing to measure left out")
    return f" ({', '.join(told)})" if told else ""


def _compared(compared: Mapping[str, Any]) -> list[str]:
    if not compared["computed"]:
        return [f"C-index: not computed: {compared['reason']}."]
    n = f"{plural(compared['n'], 'patient')}, {plural(compared['n_events'], 'event')}"
    rows = []
    for name, model in compared["models"].items():
        if "problem" in model:
            rows.append([model_title(name), "not computed", model["problem"]])
            continue
        less = model.get("difference")
        beyond = f"beyond clinical alone {cell(less)}" if less else ""
        rows.append([model_title(name), cell(model["c_index"]), beyond])
    return [f"C-index of {compared['tested']} ({n}):", *aligned(rows)]
