"""Figures of predicted numbers as a short table for the terminal: the counterpart of ``format``."""

from collections.abc import Mapping
from typing import Any

from histokeras.analysis.regression import LOWER_IS_BETTER
from histokeras.analysis.strata_format import strata_lines
from histokeras.analysis.text import OPTIMISTIC, aligned, cell, measured, plural, short, wrapped
from histokeras.analysis.verdict import signed

TITLES = {
    "spearman": "Spearman",
    "r2": "R2 (against the mean of these)",
    "mae": "mean absolute error",
    "pearson": "Pearson",
    "rmse": "root mean squared error",
}
"""What each figure is called on the screen."""
_AGGREGATIONS = {"prediction": "prediction", "mean_prediction": "mean prediction"}
_COMPARED = ("spearman", "mae")


def number_block(
    metrics: Mapping[str, Any], split: str, level: str, figures: Mapping[str, Any]
) -> list[str]:
    """Return the lines of one evaluated level.

    Args:
        metrics: What :func:`histokeras.analysis.evaluate.evaluate_levels` returns.
        split: Name of the part.
        level: ``tile``, ``slide`` or ``patient``.
        figures: Its figures.
    """
    aggregations = figures["aggregations"]
    rows = [("", *(_AGGREGATIONS.get(name, name) for name in aggregations))]
    rows += [
        (title, *(_figure(name, values[name]) for values in aggregations.values()))
        for name, title in TITLES.items()
    ]
    resamples = f"{metrics['n_resamples']:,} resamples of {figures['resampled_by']}s"
    estimates = [values[name] for values in aggregations.values() for name in TITLES]
    notes = [OPTIMISTIC.get(split, ""), figures["note"], *(item["note"] for item in estimates)]
    return [
        _header(metrics, split, level, figures),
        *aligned(rows),
        *_folds(figures),
        f"  [..]: {100 * (1 - metrics['alpha']):g} % intervals, {resamples}",
        *(f"  note: {note}" for note in dict.fromkeys(notes) if note),
        *_baselines(figures),
        *strata_lines(figures),
    ]


def _figure(name: str, estimate: Mapping[str, Any], *, sign: bool = False) -> str:
    if name in LOWER_IS_BETTER:
        return measured(estimate, sign=sign)
    return signed(estimate) if sign and estimate["value"] is not None else cell(estimate)


def _header(metrics: Mapping[str, Any], split: str, level: str, figures: Mapping[str, Any]) -> str:
    count = plural(figures["n"], level)
    if level != "patient" and figures["n_patients"] is not None:
        count += f" of {plural(figures['n_patients'], 'patient')}"
    target = figures["target"]
    spread = "" if target["sd"] is None else f", SD {target['sd']:.4g}"
    return (
        f"{split}, {level} level: {count}; {metrics['target']} {target['min']:.4g} to "
        f"{target['max']:.4g}, mean {target['mean']:.4g}{spread}"
    )


def _folds(figures: Mapping[str, Any]) -> list[str]:
    folds = figures.get("folds")
    if not folds:
        return []
    values = (
        f"{TITLES[name]} {' '.join(map(write, (fold[name] for fold in folds)))}"
        for name, write in (("spearman", short), ("mae", _digits))
    )
    return [f"  folds: {'; '.join(values)}"]


def _digits(number: float | None) -> str:
    return "-" if number is None else f"{number:.3g}"


def _baselines(figures: Mapping[str, Any]) -> list[str]:
    """Return a line a baseline, then the verdict in words."""
    baselines = figures.get("baselines")
    if not baselines:
        return []
    rows = [("simple baseline", "Spearman", "this run minus it", "mean abs. error",
             "this run minus it")]  # fmt: skip
    for block in baselines.values():
        cells = []
        for name in _COMPARED:
            difference = block["difference"][name]
            cells += [_figure(name, block[name]), _figure(name, difference, sign=True)]
        rows.append((block["title"], *cells))
    return [*aligned(rows), *wrapped(figures["verdict"]["text"])]
