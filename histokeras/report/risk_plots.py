"""Kaplan-Meier curves of patients of high and low risk, with the numbers at risk."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from histokeras.analysis.risk_units import HIGH, LOW
from histokeras.report.colours import INK
from histokeras.report.plots import Key, Plot, floats
from histokeras.report.risk_words import p_text
from histokeras.report.run_files import RunFiles
from histokeras.report.svg import drawing, inline_svg
from histokeras.report.text import at, interval

_LOOKS: dict[str, tuple[str, tuple[float, ...]]] = {HIGH: ("#d55e00", ()), LOW: ("#0072b2", (5, 2))}
_MOST_TICKS = 6


def survival_plot(run: RunFiles) -> Plot | None:
    """Draw the survival of both groups of the test patients.

    Args:
        run: The run; without figures, or without curves, there is no plot.
    """
    curves = {name: run.curves[name] for name in (HIGH, LOW) if name in run.curves}
    if not run.main or not curves:
        return None
    with drawing("survival"):
        figure = Figure(figsize=(4.9, 4.7), layout="constrained")
        axes, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
        for name, curve in curves.items():
            _draw(axes, curve, name)
        axes.set_ylim(0, 1.03)
        axes.set_xlim(left=0)
        axes.set_ylabel("Survival")
        axes.grid(visible=True)
        axes.tick_params(length=0)
        axes.xaxis.set_major_locator(MaxNLocator(_MOST_TICKS))
        end = max(floats(curve["time"]).max() for curve in curves.values())
        ticks = [float(tick) for tick in axes.get_xticks() if 0 <= tick <= end]
        _numbers(below, curves, ticks)
        below.set_xlabel(str(run.metrics.get("time") or "time"))
        text = _text(run)
        svg = inline_svg(figure, name="survival", title="Survival by risk", text=text)
    keys = [Key(f"{name} risk", *_LOOKS[name]) for name in curves]
    table = pd.concat([_table(curve, name) for name, curve in curves.items()], ignore_index=True)
    return Plot("survival", "Survival by risk", svg, text, keys, table, run.curves)


def _draw(axes: Axes, curve: Mapping[str, Any], name: str) -> None:
    colour, dash = _LOOKS[name]
    time, survival, low, high = (floats(curve[key]) for key in ("time", "survival", "low", "high"))
    axes.fill_between(time, low, high, step="post", color=colour, alpha=0.14, linewidth=0)
    line: Any = dash or (None, None)
    axes.step(time, survival, where="post", color=colour, linewidth=1.8, dashes=line)
    censored = floats(curve.get("censored"))
    at_censored = survival[np.searchsorted(time, censored, side="right") - 1]
    axes.plot(censored, at_censored, "|", color=colour, markersize=8)


def _numbers(axes: Axes, curves: Mapping[str, Any], ticks: list[float]) -> None:
    """Write how many are followed to each tick, a line a group."""
    axes.set_ylim(len(curves) - 0.5, -0.5)
    axes.set_yticks(range(len(curves)), list(curves))
    axes.set_title("Number at risk", color=INK)
    axes.tick_params(length=0)
    # Room for the first count, which stands on the axis.
    axes.tick_params(axis="y", pad=18)
    axes.spines[["left", "bottom"]].set_visible(False)
    for row, (name, curve) in enumerate(curves.items()):
        time, at_risk = floats(curve["time"]), floats(curve["at_risk"])
        for tick in ticks:
            # Those followed at least so long: at risk at the first time that is not before it.
            position = int(np.searchsorted(time, tick, side="left"))
            count = int(at_risk[position]) if position < len(at_risk) else 0
            axes.text(tick, row, str(count), ha="center", va="center", color=_LOOKS[name][0])


def _text(run: RunFiles) -> str:
    groups: Mapping[str, Any] = run.main.get("groups") or {}
    counts = "; ".join(
        f"{name} risk {at(groups, name, 'n') or 0:,} patients, "
        f"{at(groups, name, 'n_events') or 0:,} events"
        for name in (HIGH, LOW)
    )
    return (
        f"Kaplan-Meier, {run.split} patients, cut at the median risk of the training patients: "
        f"{counts}. Log-rank p {p_text(groups.get('p'))}, hazard ratio of high against low risk "
        f"{interval(groups.get('hazard_ratio'))}. Bands: pointwise intervals; strokes: censored."
    )


def _table(curve: Mapping[str, Any], name: str) -> pd.DataFrame:
    names = ("time", "survival", "low", "high", "at_risk")
    return pd.DataFrame({"group": name, **{key: floats(curve[key]) for key in names}})
