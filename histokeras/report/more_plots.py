"""Plots of how it came about: training curves, scores by label, and runs side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from histokeras.report.colours import FAINT, class_looks
from histokeras.report.plots import Key, Plot
from histokeras.report.run_files import RunFiles
from histokeras.report.svg import drawing, inline_svg
from histokeras.report.text import interval, is_number, plural

_BLUE = "#0072b2"
_MOST_POINTS = 300
_MOST_NAME = 44


def history_plots(run: RunFiles) -> list[Plot]:
    """Draw the training curves, each fold in light lines, with the epoch that was kept.

    Args:
        run: The run; without histories there is no plot.

    Returns:
        The losses, which bear the data of both, and the validation figures.
    """
    if not run.histories:
        return []
    best = [_best_epoch(history) for history in run.histories]
    text = (
        f"{plural(len(best), 'fold')}, one line each; dots mark the epochs that were kept."
        if len(best) > 1
        else f"The dot marks the epoch that was kept: {best[0]} of {len(run.histories[0])}."
    )
    tables = [table.assign(fold=i) for i, table in enumerate(run.histories)]
    table = pd.concat(tables, ignore_index=True)
    losses = {
        "loss": Key("training loss", "#d55e00", (4, 2)),
        "val_loss": Key("validation loss", "#0072b2"),
    }
    figures = {
        "val_auc": Key("validation AUC", "#0072b2"),
        "val_balanced_accuracy": Key("validation balanced accuracy", "#009e73", (1.5, 2)),
        "val_iou": Key("validation IoU", "#0072b2"),
        "val_mean_iou": Key("validation mean IoU", "#009e73", (1.5, 2)),
        "val_spearman": Key("validation Spearman, tiles", "#0072b2"),
        "val_c_index": Key("validation C-index", "#0072b2"),
    }
    figures = {name: key for name, key in figures.items() if name in table}
    drawn = [("history", "Training: loss", losses, "Loss")]
    if figures:
        drawn.append(("history-figures", "Training: validation figures", figures, "Figure"))
    plots = []
    for name, title, keys, axis in drawn:
        svg = _history_svg(run, name, title, keys, axis, text)
        data = (table, records(table)) if name == "history" else (pd.DataFrame(), {})
        plots.append(Plot(name, title, svg, text, list(keys.values()), *data))
    return plots


def _history_svg(
    run: RunFiles, name: str, title: str, keys: Mapping[str, Key], axis: str, text: str
) -> Markup:
    with drawing(name):
        figure = Figure(figsize=(4.9, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for history in run.histories:
            for column, key in keys.items():
                _draw_history(axes, history, column, key, light=len(run.histories) > 1)
        axes.set_xlabel("Epoch")
        axes.set_ylabel(axis)
        axes.grid(visible=True)
        axes.tick_params(length=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return inline_svg(figure, name=name, title=title, text=text)


def _best_epoch(history: pd.DataFrame) -> int:
    if "best" in history and history["best"].any():
        return int(history.loc[history["best"], "epoch"].iloc[0])
    losses = history["val_loss"] if "val_loss" in history else history["epoch"] * 0
    return int(history["epoch"].iloc[int(np.argmin(losses.to_numpy()))])


def _draw_history(axes: Axes, history: pd.DataFrame, name: str, key: Key, *, light: bool) -> None:
    if name not in history:
        return
    width, alpha = (1.0, 0.55) if light else (1.8, 1.0)
    dash: Any = key.dash or (None, None)
    epochs, values = history["epoch"], history[name]
    axes.plot(epochs, values, color=key.colour, linewidth=width, alpha=alpha, dashes=dash)
    if name != "loss":
        kept = epochs == _best_epoch(history)
        axes.plot(epochs[kept], values[kept], "o", color=key.colour, markersize=5)


def scores_plot(run: RunFiles) -> Plot | None:
    """Draw how the probabilities lie, one strip a true class.

    With a positive class (or two classes) it is that class's probability; with more classes that
    of the true class.

    Args:
        run: The run; without labelled predictions of its main level there is no plot.
    """
    scores = run.scores()
    labels = [name for name in run.classes if (scores["label"] == name).any()]
    if not labels:
        return None
    target = run.positive or (run.classes[-1] if len(run.classes) == 2 else None)
    looks, rng = class_looks(run.classes), np.random.default_rng(0)
    axis = f"Probability of {_shortened(target)}" if target else "Probability of the true class"
    columns = {name: f"prob_{target or name}" for name in labels}
    with drawing("scores"):
        figure, axes = rows_figure(labels, height=0.95)
        for row, name in enumerate(labels):
            values = scores.loc[scores["label"] == name, columns[name]].to_numpy(np.float64)
            draw_strip(axes, values, row, looks[name].colour, looks[name].marker, rng)
        axes.set_xlim(-0.01, 1.01)
        axes.set_xlabel(axis)
        counts = ", ".join(f"{name} {(scores['label'] == name).sum():,}" for name in labels)
        text = (
            f"{axis}, by true class, {run.level} level ({counts}). Each mark is one {run.level}"
            f"{_thinned(scores, labels)}; the bar spans the middle half, the line is the median."
        )
        svg = inline_svg(figure, name="scores", title="Scores by label", text=text)
    return Plot("scores", "Scores by label", svg, text, (), scores, records(scores))


def _thinned(scores: pd.DataFrame, labels: Sequence[str]) -> str:
    many = max(int((scores["label"] == name).sum()) for name in labels) > _MOST_POINTS
    return f" (at most {_MOST_POINTS} a class are drawn)" if many else ""


def draw_strip(
    axes: Axes, values: Any, row: int, colour: str, marker: str, rng: np.random.Generator
) -> None:
    """Draw values as a strip of points, with the middle half as a bar and the median as a line.

    Args:
        axes: Of :func:`rows_figure`.
        values: ``(n,)``, at least one; of many, some evenly through the ranks.
        row: Number of the row.
        colour: ``#rrggbb``.
        marker: matplotlib's marker.
        rng: Where points lie across the strip.
    """
    first, middle, third = np.quantile(values, [0.25, 0.5, 0.75])
    axes.barh(row, third - first, left=first, height=0.56, color=colour, alpha=0.16, linewidth=0)
    axes.vlines(middle, row - 0.32, row + 0.32, color=colour, linewidth=2.5)
    shown = np.sort(values)
    if len(shown) > _MOST_POINTS:
        # Evenly through the ranks: the ends and the shape stay.
        shown = shown[np.linspace(0, len(shown) - 1, _MOST_POINTS).round().astype(int)]
    heights = row + rng.uniform(-0.22, 0.22, len(shown))
    axes.plot(
        shown, heights, marker, color=colour, markersize=4, alpha=0.65, markeredgecolor="none"
    )


def forest_plot(
    rows: Sequence[tuple[str, Mapping[str, Any]]], figure_name: str = "AUC", chance: float = 0.5
) -> Plot | None:
    """Draw a figure of several runs with its intervals, one below the other.

    Args:
        rows: Name of each run and its figure, an Estimate as JSON.
        figure_name: What the figure is called.
        chance: Its value without any skill; 1 is perfect.

    Returns:
        The plot; None if no run has the figure.
    """
    name_of_files, title = figure_name.lower(), f"{figure_name} of each run"
    known = [(name, estimate) for name, estimate in rows if is_number(estimate.get("value"))]
    if not known:
        return None
    with drawing(name_of_files):
        figure, axes = rows_figure([name for name, _ in known], height=0.7)
        for row, (_, estimate) in enumerate(known):
            if is_number(estimate.get("low")) and is_number(estimate.get("high")):
                axes.hlines(row, estimate["low"], estimate["high"], color=_BLUE, linewidth=2)
            axes.plot(estimate["value"], row, "s", color=_BLUE, markersize=7)
        axes.axvline(chance, color=FAINT, linewidth=1, dashes=(3, 3))
        low, high = axes.get_xlim()
        # As far below chance as 1 lies above it: 0 for an AUC, -1 for a correlation.
        least = max(2 * chance - 1.0, min(low, chance - 0.02))
        axes.set_xlim(least, min(1.005, max(high, 1.0)))
        axes.set_xlabel(figure_name)
        said = f"{figure_name} with 95 % intervals; the dashed line at {chance:g} is chance. "
        text = said + "; ".join(f"{name}: {interval(estimate)}" for name, estimate in known)
        svg = inline_svg(figure, name=name_of_files, title=title, text=text)
    table = pd.DataFrame(
        [{"run": n, **{k: e.get(k) for k in ("value", "low", "high")}} for n, e in known]
    )
    return Plot(name_of_files, title, svg, text, (), table, records(table))


def rows_figure(names: Sequence[str], *, height: float) -> tuple[Figure, Axes]:
    """Return axes with one row a name, each below its name: long names then take no width.

    Args:
        names: Rows, from above.
        height: Of a row, in inches.
    """
    figure = Figure(figsize=(4.9, 0.7 + height * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_ylim(len(names) - 0.55, -0.72)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="x")
    axes.tick_params(length=0)
    across = axes.get_yaxis_transform()
    for row, name in enumerate(names):
        axes.text(
            0, row - 0.4, _shortened(name), transform=across, va="bottom", backgroundcolor="white"
        )
    return figure, axes


def _shortened(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"{name[: _MOST_NAME - 1]}…"


def records(table: pd.DataFrame) -> dict[str, Any]:
    """Return the columns of a table as JSON has them: None for what is not a number."""
    return {
        str(name): [None if pd.isna(item) else item for item in table[name].tolist()]
        for name in table
    }
