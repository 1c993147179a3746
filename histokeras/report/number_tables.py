"""The tables of a run that predicts a number: the counterpart of those of ``tables``."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from histokeras.analysis.regression import LOWER_IS_BETTER
from histokeras.report.run_files import RunFiles, main_aggregation
from histokeras.report.tables import OPTIMISTIC, Cell, Table, level_caption, noted, same_figures
from histokeras.report.text import DASH, at, digits, interval, measured, number

NAMES = {
    "spearman": "Spearman",
    "r2": "R²",
    "mae": "Mean absolute error (lower is better)",
    "pearson": "Pearson",
    "rmse": "Root mean squared error (lower is better)",
}
"""What each figure is called."""
_SHORT = {**NAMES, "mae": "Mean absolute error", "rmse": "RMSE"}
_COMPARED = ("spearman", "r2", "mae")
_AGGREGATIONS = {"prediction": "Prediction", "mean_prediction": "Mean prediction of tiles"}


def figure_text(name: str, estimate: Any, *, signed: bool = False) -> str:
    """Return a figure with its interval: errors in the target's own unit."""
    write = measured if name in LOWER_IS_BETTER else interval
    return write(estimate, signed=signed)


def number_sides_table(run: RunFiles) -> Table | None:
    """Return how many patients lie on each side, and which numbers they bear."""
    patients = run.tables["patients"]
    if not len(patients) or not {"label", "split"} <= set(patients):
        return None
    # Not numpy's whole numbers, which would pass for no numbers.
    values = pd.to_numeric(patients["label"], errors="coerce").astype(float)
    words = {"train": "Training", "val": "Validation", "test": "Test"}
    rows: list[list[str | Cell]] = []
    for side, word in words.items():
        mine = values[(patients["split"] == side) & values.notna()]
        if len(mine):
            spread = digits(mine.std()) if len(mine) > 1 else DASH
            rows.append([word, f"{len(mine):,}", digits(mine.mean()), spread,
                         digits(mine.min()), digits(mine.max())])  # fmt: skip
    if not rows:
        return None
    head = ("Side", "Patients", "Mean", "SD", "Lowest", "Highest")
    return Table(f"Patients with predictions and their {run.target}, by side", head, rows)


def number_figure_tables(run: RunFiles) -> list[Table]:
    """Return all figures, one table a level."""
    tables: list[Table] = []
    levels = run.levels
    for level, values in levels.items():
        if level == "slide" and same_figures(levels.get("patient"), values):
            tables[-1] = noted(tables[-1], "Slide level: each patient has one slide, so the "
                                           "figures are the same.")  # fmt: skip
            continue
        tables.append(_level_table(run, level, values))
    return tables


def _level_table(run: RunFiles, level: str, values: Mapping[str, Any]) -> Table:
    aggregations: Mapping[str, Any] = values.get("aggregations") or {}
    rows = [
        [name, *(figure_text(key, figures.get(key)) for figures in aggregations.values())]
        for key, name in NAMES.items()
        if any(figures.get(key) for figures in aggregations.values())
    ]
    head = ("Figure", *(_AGGREGATIONS.get(name, name) for name in aggregations))
    target = values.get("target") or {}
    notes = [
        f"{run.target}: mean {digits(target.get('mean'))}, SD {digits(target.get('sd'))}, median "
        f"{digits(target.get('median'))}, from {digits(target.get('min'))} to "
        f"{digits(target.get('max'))}. Errors are in its unit; R² is against the mean of these "
        "true numbers."
    ]
    found = [str(item["note"]) for figures in aggregations.values() for item in figures.values()
             if isinstance(item, Mapping) and item.get("note")]  # fmt: skip
    found += [str(values["note"])] if values.get("note") else []
    notes += [f"Note: {note}." for note in dict.fromkeys(found)]
    return Table(level_caption(run, level, values), head, rows, notes)


def number_other_sides_table(run: RunFiles) -> Table | None:
    """Return the figures of the sides that the verdict does not speak of."""
    rows: list[list[str | Cell]] = []
    for side, levels in (at(run.metrics, "splits") or {}).items():
        for level, values in levels.items():
            if side != run.split and values.get("evaluated") and level in run.levels:
                figures = main_aggregation(values)
                cells = [figure_text(key, figures.get(key)) for key in _COMPARED]
                rows.append([f"{side}, {level} level", f"{values.get('n', 0):,}", *cells,
                             OPTIMISTIC.get(side, "")])  # fmt: skip
    if not rows:
        return None
    head = ("Side", "Number", *(_SHORT[key] for key in _COMPARED), "Mind")
    return Table("Other sides of the split, for comparison only", head, rows)


def number_baseline_table(run: RunFiles) -> Table | None:
    """Return the network and each baseline, with the difference below each figure."""
    baselines: Mapping[str, Any] = run.main.get("baselines") or {}
    if not baselines:
        return None
    rows: list[list[str | Cell]] = [
        ["This run", *(figure_text(key, run.figures.get(key)) for key in _COMPARED)]
    ]
    for name, values in baselines.items():
        cells: list[str | Cell] = [str(values.get("title") or name)]
        for key in _COMPARED:
            difference = at(values, "difference", key)
            known = at(difference, "value") is not None
            below = f"Δ {figure_text(key, difference, signed=True)}" if known else ""
            cells.append(Cell(figure_text(key, values.get(key)), below))
        rows.append(cells)
    unit = run.main.get("resampled_by") or run.level
    notes = [
        f"Δ: this run minus the baseline, on the same resamples of {unit}s. Of Spearman and R² the "
        "run is better above 0, of the error below 0; an interval that holds 0 leaves it open. One "
        "number for everyone ranks nobody: it has no Spearman."
    ]
    if run.main.get("folds"):
        notes.append(
            "Pooled over folds, baselines without skill fall below 0 in Spearman and R², because "
            "each test fold lacks what its training folds have more of."
        )
    caption = f"Simple baselines, fitted to the same training data, {run.level} level"
    head = ("Prediction by", *(_SHORT[key] for key in _COMPARED))
    return Table(caption, head, rows, notes)


def number_fold_table(run: RunFiles) -> Table | None:
    """Return the figures of each fold; None without cross-validation."""
    rows: list[list[str | Cell]] = [
        [f"{fold.get('fold')}", f"{fold.get('n', 0):,}", number(fold.get("spearman")),
         number(fold.get("r2")), digits(fold.get("mae"))]
        for fold in run.main.get("folds") or []
    ]  # fmt: skip
    if not rows:
        return None
    head = ("Fold", f"{run.level.capitalize()}s", *(_SHORT[key] for key in _COMPARED))
    note = (
        "The figures above pool all folds; folds share training data, so their spread is no "
        "interval."
    )
    return Table(f"Folds, {run.level} level", head, rows, [note])
