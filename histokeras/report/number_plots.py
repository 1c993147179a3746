"""Plots of predicted numbers: against the true ones, and their errors."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histokeras.report.colours import FAINT, INK
from histokeras.report.more_plots import records
from histokeras.report.plots import SQUARE, Key, Plot, side_text
from histokeras.report.run_files import RunFiles
from histokeras.report.svg import drawing, inline_svg
from histokeras.report.text import digits, interval

_BLUE, _ORANGE = "#0072b2", "#d55e00"
_MOST_POINTS = 1500


def scatter_plot(run: RunFiles) -> Plot | None:
    """Draw predicted against true numbers on equal axes, with the line on which they agree.

    Args:
        run: The run; without labelled predictions of its main level there is no plot.
    """
    numbers = run.numbers()
    if not len(numbers):
        return None
    mean = float(numbers["true"].mean())
    ends = ends_of(numbers.to_numpy())
    with drawing("scatter"):
        figure, axes = square_axes()
        axes.plot(ends, ends, color=FAINT, linewidth=1, dashes=(3, 3))
        axes.axhline(mean, color=_ORANGE, linewidth=1.2, dashes=(1.5, 2))
        _draw_points(axes, numbers["true"], numbers["predicted"])
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        axes.set_aspect("equal")
        axes.set_xlabel(f"True {run.target}")
        axes.set_ylabel(f"Predicted {run.target}")
        keys = [
            Key(f"one {run.level}", _BLUE, kind="dot"),
            Key("predicted = true", FAINT, (3, 3)),
            Key(f"mean of these true numbers ({digits(mean)})", _ORANGE, (1.5, 2)),
        ]
        text = (
            f"{run.level.capitalize()} level, {side_text(run)}, n = {len(numbers):,}"
            f"{_thinned(numbers)}. Spearman {interval(run.figures.get('spearman'))}. Predictions "
            "lie nearer to the mean than the truth where the tissue tells little."
        )
        svg = inline_svg(figure, name="scatter", title="Predicted and true", text=text)
    return Plot("scatter", "Predicted and true", svg, text, keys, numbers, records(numbers))


def errors_plot(run: RunFiles) -> Plot | None:
    """Draw the errors against the predictions, with their mean and limits of agreement.

    Args:
        run: The run; fewer than three labelled predictions give no plot.
    """
    numbers = run.numbers()
    if len(numbers) < 3:
        return None
    errors = numbers["predicted"] - numbers["true"]
    mean, spread = float(errors.mean()), 1.96 * float(errors.std())
    with drawing("errors"):
        figure, axes = square_axes()
        axes.axhline(0, color=FAINT, linewidth=1, dashes=(3, 3))
        axes.axhline(mean, color=INK, linewidth=1.4)
        for limit in (mean - spread, mean + spread):
            axes.axhline(limit, color=_ORANGE, linewidth=1.2, dashes=(4, 3))
        _draw_points(axes, numbers["predicted"], errors)
        axes.set_xlabel(f"Predicted {run.target}")
        axes.set_ylabel("Error (predicted - true)")
        keys = [
            Key(f"mean error ({digits(mean, signed=True)})", INK),
            Key(
                f"limits of agreement ({digits(mean - spread)} to {digits(mean + spread)})",
                _ORANGE,
                (4, 3),
            ),
        ]
        text = (
            f"{run.level.capitalize()} level, {side_text(run)}, n = {len(numbers):,}"
            f"{_thinned(numbers)}. Between the limits, mean ± 1.96 SD, lie about 95 % of the "
            "errors. A cloud that rises or falls means that large and small predictions are off in "
            "different directions."
        )
        svg = inline_svg(figure, name="errors", title="Errors", text=text)
    table = pd.DataFrame({"predicted": numbers["predicted"], "error": errors})
    return Plot("errors", "Errors", svg, text, keys, table, records(table))


def square_axes() -> tuple[Figure, Axes]:
    """Return a square figure and its axes, with a grid."""
    figure = Figure(figsize=SQUARE, layout="constrained")
    axes = figure.add_subplot()
    axes.grid(visible=True)
    axes.tick_params(length=0)
    return figure, axes


def ends_of(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of an axis that holds all values, with some room."""
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _draw_points(axes: Axes, x: pd.Series, y: pd.Series) -> None:
    shown = np.arange(len(x))
    if len(x) > _MOST_POINTS:
        # Evenly through the ranks: the ends and the shape stay.
        even = np.linspace(0, len(x) - 1, _MOST_POINTS).round().astype(int)
        shown = np.argsort(x.to_numpy(), kind="stable")[even]
    axes.plot(
        x.to_numpy()[shown], y.to_numpy()[shown], "o", color=_BLUE, markersize=5, alpha=0.6,
        markeredgecolor="none",
    )  # fmt: skip


def _thinned(numbers: pd.DataFrame) -> str:
    return f" ({_MOST_POINTS:,} of them are drawn)" if len(numbers) > _MOST_POINTS else ""
