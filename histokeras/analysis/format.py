"""Metrics as a short table for the terminal."""

from collections.abc import Mapping
from typing import Any

from histokeras.analysis.number_format import number_block
from histokeras.analysis.risk_format import risk_block
from histokeras.analysis.site_text import site_lines
from histokeras.analysis.strata_format import strata_lines
from histokeras.analysis.text import OPTIMISTIC, aligned, cell, plural, short, value, wrapped
from histokeras.analysis.verdict import signed
from histokeras.types import REGRESSION, SURVIVAL

_AGGREGATIONS = {
    "probability": "probability",
    "mean_probability": "mean probability",
    "share_of_tiles": "share of tiles",
}


_ONE_SLIDE = "{split}, slide level: as at patient level, each patient has one slide"


def format_metrics(metrics: Mapping[str, Any]) -> str:
    """Return the figures as plain text: patients first, one block a level, one line a figure.

    Below them how well the features tell the site, where that was measured.

    Args:
        metrics: What :func:`histokeras.analysis.evaluate.evaluate_levels` returns.

    Returns:
        Lines without a final line feed.
    """
    blocks = [
        [_ONE_SLIDE.format(split=split)]
        if level == "slide" and _same_figures(figures, levels.get("patient", {}))
        else _level_block(metrics, split, level, figures)
        for split, levels in metrics["splits"].items()
        for level, figures in levels.items()
    ]
    blocks.append(site_lines(metrics))
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _same_figures(slide: Mapping[str, Any], patient: Mapping[str, Any]) -> bool:
    return bool(
        slide["evaluated"]
        and patient.get("evaluated")
        and slide["n"] == patient["n"]
        and slide["aggregations"] == patient["aggregations"]
    )


def _level_block(
    metrics: Mapping[str, Any], split: str, level: str, figures: Mapping[str, Any]
) -> list[str]:
    if not figures["evaluated"]:
        return [f"{split}, {level} level: not evaluated ({figures['reason']})"]
    if metrics.get("task") == REGRESSION:
        return number_block(metrics, split, level, figures)
    if metrics.get("task") == SURVIVAL:
        return risk_block(metrics, split, figures)
    aggregations = figures["aggregations"]
    rows = [("", *(_AGGREGATIONS.get(name, name) for name in aggregations), "n")]
    for label, *path in _rows(next(iter(aggregations.values()))):
        cells = [cell(_at(values, path)) for values in aggregations.values()]
        rows.append((label, *cells, f"{figures['n']}"))
    resamples = f"{metrics['n_resamples']:,} resamples of {figures['resampled_by']}s"
    ending = f"  [..]: {100 * (1 - metrics['alpha']):g} % intervals, {resamples}"
    notes = [OPTIMISTIC.get(split, ""), figures["note"], *_estimate_notes(figures)]
    return [
        _header(split, level, figures),
        *aligned(rows),
        *_calibration(figures),
        *_folds(figures),
        ending + _redrawn(figures),
        *(f"  note: {note}" for note in dict.fromkeys(notes) if note),
        *_baselines(figures),
        *strata_lines(figures),
    ]


def _calibration(figures: Mapping[str, Any]) -> list[str]:
    found = figures.get("calibration")
    if not found:
        return []
    changes = [
        f"{title} {value(found['before'][name])} -> {value(found['after'][name])}"
        for name, title in (("brier", "Brier"), ("ece", "ECE"))
    ]
    return [f"  temperature scaling: {', '.join(changes)}"]


def _folds(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures of each fold alone, in their order."""
    folds = figures.get("folds")
    if not folds:
        return []
    shown = (("auc", "AUC"), ("balanced_accuracy", "balanced accuracy"))
    values = (f"{title} {' '.join(short(fold[name]) for fold in folds)}" for name, title in shown)
    return [f"  folds: {'; '.join(values)}"]


def _baselines(figures: Mapping[str, Any]) -> list[str]:
    """Return a line a baseline, then the verdict in words."""
    baselines = figures.get("baselines")
    if not baselines:
        return []
    rows = [("simple baseline", "AUC", "this run minus it")]
    for block in baselines.values():
        difference = block["difference"]["auc"]
        rows.append(
            (
                block["title"],
                cell(block["auc"]),
                "-" if difference["value"] is None else signed(difference),
            )
        )
    return [*aligned(rows), *wrapped(figures["verdict"]["text"])]


def _header(split: str, level: str, figures: Mapping[str, Any]) -> str:
    """Return the line that tells the level, the numbers and the prevalence."""
    count = plural(figures["n"], level)
    if level != "patient" and figures["n_patients"] is not None:
        count += f" of {plural(figures['n_patients'], 'patient')}"
    shares = ", ".join(
        f"{name} {figures['n_per_class'][name]:,} ({100 * share:.0f} %)"
        for name, share in figures["prevalence"].items()
    )
    return f"{split}, {level} level: {count}; {shares}"


def _rows(values: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return what each line is called, and where its figure stands."""
    per_class = values["auc_per_class"]
    rows: list[tuple[str, ...]] = [(f"AUC {values['auc_of']}", "auc")]
    if values["auc_of"] == "macro":
        rows += [(f"AUC {name}", "auc_per_class", name) for name in per_class]
    rows += [
        ("balanced accuracy", "balanced_accuracy"),
        ("accuracy", "accuracy"),
        ("F1 macro", "f1_macro"),
    ]
    rows += [(f"F1 {name}", "f1_per_class", name) for name in values["f1_per_class"]]
    rows.append((f"PR-AUC {values['auc_of']}", "pr_auc"))
    if values["auc_of"] != "macro":
        at = f"sensitivity at specificity {values['specificity']:g}"
        rows.append((at, "sensitivity_at_specificity", values["auc_of"]))
    if "brier" in values:
        rows += [("Brier score", "brier"), ("ECE", "ece")]
    return rows


def _at(values: Mapping[str, Any], path: list[str]) -> Mapping[str, Any] | None:
    """Return the estimate at the end of a path; None where an aggregation has none."""
    found: Any = values
    for key in path:
        if key not in found:
            return None
        found = found[key]
    return dict(found)


def _estimates(figures: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = [
        _at(values, path)
        for values in figures["aggregations"].values()
        for _, *path in _rows(values)
    ]
    return [estimate for estimate in found if estimate is not None]


def _estimate_notes(figures: Mapping[str, Any]) -> list[str]:
    return [estimate["note"] for estimate in _estimates(figures)]


def _redrawn(figures: Mapping[str, Any]) -> str:
    most = max(estimate["redrawn"] for estimate in _estimates(figures))
    return f", up to {most:,} drawn again for want of a class" if most else ""
