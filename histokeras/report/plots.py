"""Plots of what the head can do: ROC, precision and recall, calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histokeras.report.colours import FAINT, INK, Look, class_looks
from histokeras.report.run_files import RunFiles
from histokeras.report.svg import drawing, inline_svg
from histokeras.report.text import at, number

SQUARE = (4.9, 4.7)
"""Inches; 72 units of the page each: legible on a phone, where the page shows 330 units."""
_MOST_BANDS = 4


@dataclass(frozen=True)
class Key:
    """One entry of a legend, which the page shows as real text.

    Attributes:
        label: Text.
        colour: ``#rrggbb``.
        dash: Lengths of dashes and gaps; empty for a solid line.
        kind: ``line``, ``dot`` (filled), ``ring`` or ``band``.
    """

    label: str
    colour: str
    dash: tuple[float, ...] = ()
    kind: str = "line"

    @property
    def dashes(self) -> str:
        """The dash as SVG writes it."""
        return " ".join(f"{length:g}" for length in self.dash) or "none"


@dataclass(frozen=True, eq=False)
class Plot:
    """A plot and its data.

    Attributes:
        name: Name of its files and beginning of its ids.
        title: Heading.
        svg: One ``<svg>`` element.
        text: What it shows; caption and alternative text.
        keys: Legend.
        table: Its data, one row a point.
        content: Its data as JSON.
    """

    name: str
    title: str
    svg: Markup
    text: str
    keys: Sequence[Key] = ()
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    content: Mapping[str, Any] = field(default_factory=dict)


def floats(values: Sequence[Any] | None) -> npt.NDArray[np.float64]:
    """Return numbers with NaN for what is None; an empty array for None itself."""
    return np.array([np.nan if item is None else item for item in values or []], np.float64)


def unit_axes(axes: Axes, x: str, y: str) -> None:
    """Give both axes 0..1, a grid and names."""
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    ticks = np.linspace(0, 1, 6)
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.set_aspect("equal")
    axes.grid(visible=True)
    axes.tick_params(length=0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def curve_plot(run: RunFiles, kind: str) -> Plot | None:
    """Draw the ROC curves (``roc``) or the precision-recall curves (``pr``) of the main level.

    Args:
        run: The run; ``curves`` may lack them.
        kind: ``roc`` or ``pr``.

    Returns:
        The plot; its data hold all levels. None if there are no curves.
    """
    curves: Mapping[str, Any] = at(run.curves, run.level, kind) or {}
    if not curves:
        return None
    roc = kind == "roc"
    names = ("fpr", "tpr") if roc else ("recall", "precision")
    looks, keys = class_looks(run.classes), []
    title = "ROC curve" if roc else "Precision and recall"
    with drawing(kind):
        figure = Figure(figsize=SQUARE, layout="constrained")
        axes = figure.add_subplot()
        if roc:
            axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, dashes=(3, 3))
            unit_axes(axes, "False-positive rate (1 - specificity)", "Sensitivity")
        else:
            unit_axes(axes, "Recall (sensitivity)", "Precision")
        for name, curve in curves.items():
            look = looks.get(name, Look(INK, (), "o"))
            _draw_curve(axes, curve, names, look, band=len(curves) <= _MOST_BANDS)
            if not roc and curve.get("base_rate") is not None:
                axes.axhline(curve["base_rate"], color=look.colour, linewidth=0.8, dashes=(2, 3))
            area = f"AUC {number(curve.get('auc'))}" if roc else f"AP {number(curve.get('ap'))}"
            keys.append(Key(f"{name} ({area})", look.colour, look.dash))
        text = _curve_text(run, roc=roc, banded=len(curves) <= _MOST_BANDS)
        svg = inline_svg(
            figure, name=kind, title=title, text=f"{text} {', '.join(key.label for key in keys)}."
        )
    content = {level: at(values, kind) or {} for level, values in run.curves.items()}
    return Plot(kind, title, svg, text, keys, _curve_table(content, names), content)


def _draw_curve(
    axes: Axes, curve: Mapping[str, Any], names: tuple[str, str], look: Look, *, band: bool
) -> None:
    x, y = floats(curve.get(names[0])), floats(curve.get(names[1]))
    low, high = floats(curve.get("low")), floats(curve.get("high"))
    if band and len(low) == len(x) == len(high):
        known = np.isfinite(low) & np.isfinite(high)
        axes.fill_between(x, low, high, where=known, color=look.colour, alpha=0.14, linewidth=0)
    axes.plot(x, y, color=look.colour, linewidth=2, dashes=look.dash or (None, None))


def _curve_text(run: RunFiles, *, roc: bool, banded: bool) -> str:
    what = (
        "Sensitivity against the false-positive rate at every threshold; the dashed diagonal is "
        "what chance gives."
        if roc
        else "Precision against recall at every threshold; the thin dashed line is what chance "
        "gives: the share of the class."
    )
    shown = " Bands are pointwise 95 % intervals." if banded else ""
    return f"{run.level.capitalize()} level, {side_text(run)}. {what}{shown}"


def side_text(run: RunFiles) -> str:
    """Return what was tested: "test side" or "whole cohort"."""
    return "whole cohort" if run.split == "all" else f"{run.split} side"


def _curve_table(content: Mapping[str, Any], names: tuple[str, str]) -> pd.DataFrame:
    parts = []
    for level, curves in content.items():
        for label, curve in curves.items():
            columns = {
                key: pd.Series(floats(curve.get(key)))
                for key in (*names, "low", "high")
                if curve.get(key) is not None
            }
            table = pd.DataFrame(columns)
            table.insert(0, "class", label)
            table.insert(0, "level", level)
            parts.append(table)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def calibration_plot(run: RunFiles) -> Plot | None:
    """Draw the reliability diagram of the main level, before and after temperature scaling.

    Args:
        run: The run; ``curves`` may lack it.
    """
    states: Mapping[str, Any] = at(run.curves, run.level, "calibration") or {}
    states = {name: states[name] for name in ("before", "after") if at(states, name)}
    if not states:
        return None
    keys, scaled = [], "before" in states
    with drawing("calibration"):
        figure = Figure(figsize=SQUARE, layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, dashes=(3, 3))
        unit_axes(axes, "Confidence (probability of the predicted class)", "Share that was right")
        for name, bins in states.items():
            filled = name == "after"
            colour = "#0072b2" if filled else "#d55e00"
            _draw_bins(axes, bins, colour, filled=filled)
            label = f"{name} temperature scaling" if scaled else "as predicted"
            keys.append(Key(label, colour, () if filled else (4, 3), "dot" if filled else "ring"))
        text = (
            f"{run.level.capitalize()} level, {side_text(run)}. On the diagonal a confidence of "
            "0.8 is right in 80 % of the cases; below it the run is too sure of itself. Each "
            f"mark is a bin of equal width, the larger the more {run.level}s it holds; bars are "
            "95 % intervals."
        )
        svg = inline_svg(figure, name="calibration", title="Calibration", text=text)
    content = {level: at(values, "calibration") or {} for level, values in run.curves.items()}
    return Plot("calibration", "Calibration", svg, text, keys, _bins_table(content), content)


def _draw_bins(axes: Axes, bins: Mapping[str, Any], colour: str, *, filled: bool) -> None:
    x, y = floats(bins.get("confidence")), floats(bins.get("accuracy"))
    known = np.isfinite(x) & np.isfinite(y)
    low, high = floats(bins.get("low")), floats(bins.get("high"))
    if filled and len(low) == len(x) == len(high):
        barred = known & np.isfinite(low) & np.isfinite(high)
        axes.vlines(x[barred], low[barred], high[barred], color=colour, linewidth=1.2, alpha=0.6)
    counts = floats(bins.get("n"))
    share = counts[known] / counts[known].max() if len(counts) == len(x) and known.any() else 0.3
    # No line from bin to bin: among bins of one or two units it would only show chance.
    axes.scatter(
        x[known],
        y[known],
        s=16 + 180 * share,
        color=colour if filled else "white",
        edgecolors=colour,
        linewidths=1.4,
        marker="o" if filled else "s",
        alpha=0.85,
        zorder=3 if filled else 2,
        # A mark at 1 is no half mark.
        clip_on=False,
    )


def _bins_table(content: Mapping[str, Any]) -> pd.DataFrame:
    parts = []
    for level, states in content.items():
        for state, bins in states.items():
            keys = ("confidence", "accuracy", "n", "low", "high")
            table = pd.DataFrame({key: pd.Series(floats(at(bins, key))) for key in keys})
            table.insert(0, "bin", np.arange(1, len(table) + 1))
            table.insert(0, "scaling", state)
            table.insert(0, "level", level)
            parts.append(table)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
