"""Plots of survival: curves with the numbers at risk below, and hazard ratios with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from histokeras.analysis.cutoff import HIGH, LOW
from histokeras.analysis.survival_words import ALL, RISK, model_title, p_text
from histokeras.report.colours import FAINT, INK, OKABE_ITO, class_looks
from histokeras.report.plots import SQUARE, Key, Plot
from histokeras.report.svg import drawing, inline_svg
from histokeras.report.text import digits, plural

_TOP_PT, _CURVE_PT, _AXIS_PT, _LINE_PT, _LEFT, _RIGHT = 10.0, 215.0, 42.0, 14.0, 0.115, 0.955
_MOST_TICKS = 6
_STEPS = {"months": (1, 2, 3, 6, 12, 24, 36, 60, 120), "days": (30, 90, 180, 365, 730, 1825, 3650)}
_MOST_NAME = 34
_MOST_TERMS = 30
_ROW_PT, _WIDEST = 31.0, 20.0
_ALONE, _TOGETHER = OKABE_ITO[0], OKABE_ITO[1]
_TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


def curve_plot(block: Mapping[str, Any], km: pd.DataFrame, unit: str, name: str) -> Plot | None:
    """Draw the Kaplan-Meier curves of groups, with bands and the numbers at risk.

    Args:
        block: One of ``curves`` in metrics.json.
        km: Its rows of km.csv, numbers as numbers.
        unit: Unit of time; "" if unknown.
        name: Unique on the page.

    Returns:
        The plot; None where there is no group.
    """
    levels = [str(level["group"]) for level in block["levels"]]
    if not levels:
        return None
    colours = _colours(levels)
    ticks = time_ticks(float(km["time"].max()), unit)
    bottom = _AXIS_PT + _LINE_PT * (2 * len(levels) + 1.6)
    height = _TOP_PT + _CURVE_PT + bottom
    text, title = _curve_text(block), _title(str(block["name"]))
    with drawing(name):
        figure = Figure(figsize=(SQUARE[0], height / 72))
        axes = figure.add_axes((_LEFT, bottom / height, _RIGHT - _LEFT, _CURVE_PT / height))
        for level in levels:
            _draw_curve(axes, km[km["group"] == level], colours[level])
        axes.set_xlim(0, max(ticks[-1], float(km["time"].max())) * 1.02)
        axes.set_ylim(-0.02, 1.03)
        axes.set_xticks(ticks)
        axes.set_yticks(np.linspace(0, 1, 6), [f"{share} %" for share in range(0, 101, 20)])
        axes.tick_params(length=0, labelsize=9)
        axes.grid(visible=True)
        axes.set_xlabel(f"Time ({unit})" if unit else "Time (unit not given)", fontsize=10)
        _draw_risk(figure, axes, km, levels, colours, ticks, bottom / height, height)
        svg = inline_svg(figure, name=name, title=f"Survival: {title}", text=text)
    keys = [
        Key(f"{level['group']}: {plural(level['n'], 'patient')}, "
            f"{plural(level['n_events'], 'event')}, {_median(level, unit)}",
            colours[str(level["group"])])
        for level in block["levels"]
    ]  # fmt: skip
    return Plot(name, title, svg, text, keys)


def _title(name: str) -> str:
    if name == ALL:
        return "All patients"
    if name.startswith(RISK):
        model = model_title(name.removeprefix(RISK))
        return f"By the risk that a model gives: {model[0].lower()}{model[1:]}"
    return f"By {name}"


def _colours(levels: Sequence[str]) -> dict[str, str]:
    others = [level for level in levels if level not in (LOW, HIGH)]
    if len(others) < len(levels) and len(others) < 2:
        return {LOW: OKABE_ITO[0], HIGH: OKABE_ITO[1], **dict.fromkeys(others, OKABE_ITO[2])}
    looks = class_looks(f"{i:04d}" for i in range(len(levels)))
    return {level: looks[f"{i:04d}"].colour for i, level in enumerate(levels)}


def time_ticks(longest: float, unit: str) -> list[float]:
    """Return where an axis of time is marked, from 0: whole years where they fit.

    Args:
        longest: The longest follow-up, above 0.
        unit: days, months, years, or "".
    """
    power = 10.0 ** np.floor(np.log10(longest / _MOST_TICKS))
    plain = [power * part for part in (1, 2, 5, 10)]
    fitting = [
        step
        for steps in (_STEPS.get(unit, ()), plain)
        for step in steps
        if longest / step <= _MOST_TICKS
    ]
    step = fitting[0]
    return [float(tick) for tick in np.arange(0, longest * 1.0001, step)]


def _draw_curve(axes: Axes, curve: pd.DataFrame, colour: str) -> None:
    time, survival = (curve[name].to_numpy(np.float64) for name in ("time", "survival"))
    # Where all have died there is no interval: the band ends with the curve's last fall.
    low, high = (curve[name].ffill().to_numpy(np.float64) for name in ("low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    axes.fill_between(
        time, low, high, where=known, step="post", color=colour, alpha=0.14, linewidth=0
    )
    axes.step(time, survival, where="post", color=colour, linewidth=1.8)
    at_risk, events = (curve[name].to_numpy(np.int64) for name in ("at_risk", "events"))
    censored = at_risk - events - np.append(at_risk[1:], 0) > 0
    axes.plot(time[censored], survival[censored], "|", color=colour, markersize=6)


def _draw_risk(
    figure: Figure,
    axes: Axes,
    km: pd.DataFrame,
    levels: Sequence[str],
    colours: Mapping[str, str],
    ticks: Sequence[float],
    bottom: float,
    height: float,
) -> None:
    """Write how many are followed up to each mark of the axis, a group below the other."""
    line = _LINE_PT / height
    y = bottom - _AXIS_PT / height
    figure.text(0.01, y, "Patients at risk", fontsize=10, color=INK, va="center")
    low, high = axes.get_xlim()
    for level in levels:
        curve = km[km["group"] == level]
        y -= line
        shown = level if len(level) <= _MOST_NAME else f"{level[: _MOST_NAME - 1]}…"
        figure.text(0.01, y, shown, fontsize=10, color=colours[level], va="center", weight="bold")
        y -= line
        for tick in ticks:
            x = _LEFT + (_RIGHT - _LEFT) * (tick - low) / (high - low)
            later = curve[curve["time"] >= tick]
            count = int(later["at_risk"].max()) if len(later) else 0
            figure.text(x, y, f"{count:,}", fontsize=10, color=INK, ha="center", va="center")


def _median(level: Mapping[str, Any], unit: str) -> str:
    if level["median"] is None:
        return "median not reached"
    ends = [f"{level[key]:.3g}" if level[key] is not None else "not reached"
            for key in ("median_low", "median_high")]  # fmt: skip
    return f"median {level['median']:.3g}{f' {unit}' if unit else ''} [{ends[0]}, {ends[1]}]"


def _curve_text(block: Mapping[str, Any]) -> str:
    said = "Share without the event (Kaplan-Meier), with 95 % bands; ticks are censored patients."
    if block["about"]:
        said += f" Of {block['about']}." if block["about"].startswith("all") else (
            f" {block['about'][0].upper()}{block['about'][1:]}."
        )  # fmt: skip
    said += _cut_text(block["cutoffs"]) + _missing_text(block)
    if block["n_groups"] > len(block["levels"]):
        said += f" Of {block['n_groups']} groups the first {len(block['levels'])} are drawn."
    if block["log_rank"]:
        test = block["log_rank"]
        df = plural(test["df"], "degree") + " of freedom"
        said += f" Log-rank: chi-squared {test['statistic']:.2f}, {df}, {p_text(test['p'])}."
    elif block["name"] != ALL:
        said += f" Log-rank test not computed: {block['reason']}."
    return said


def _cut_text(cuts: Sequence[Mapping[str, Any]]) -> str:
    values = [cut["value"] for cut in cuts if cut["value"] is not None]
    if not values:
        return ""
    said = f" Cut at {digits(values[0])}"
    if cuts[0].get("given"):
        return (
            f"{said}, which was given: nothing was learned from these patients. The p-value holds "
            "if the cut-off was chosen without them."
        )
    if len(set(values)) > 1:
        said = f" Cut at {digits(min(values))} to {digits(max(values))}, learned anew in each fold"
    found = [cut["p"] for cut in cuts if cut["p"] is not None]
    if found:
        worst = p_text(max(found))
        said += f" (corrected for the search, on those it was learned from, {worst} at most)"
    return f"{said}."


def _missing_text(block: Mapping[str, Any]) -> str:
    """Return what became of patients without the number that is cut."""
    said, name = "", str(block["name"])
    if block.get("n_missing"):
        n = plural(block["n_missing"], "patient")
        group = block["missing_group"]
        said = f" {n} without {name} " + (f"make the group {group}." if group else "are left out.")
    if block.get("n_unmeasured"):
        n = plural(block["n_unmeasured"], "patient")
        said += f" {n} in whom nothing was found to measure are left out."
    return said


def hazard_plot(models: Sequence[Mapping[str, Any]]) -> Plot | None:
    """Draw the hazard ratio of each term: alone, and with all others in the largest model.

    Args:
        models: ``models`` of metrics.json.

    Returns:
        The plot; None where no model was fitted.
    """
    alone = {t["name"]: t for m in models if m["model"] == "univariable" for t in m["terms"]}
    fitted = [m for m in models if m["model"] != "univariable" and m["terms"]]
    together = {term["name"]: term for term in fitted[-1]["terms"]} if fitted else {}
    names = list(dict.fromkeys([*alone, *together]))
    shown = names[:_MOST_TERMS]
    if not shown:
        return None
    text = "Hazard ratios with 95 % intervals: right of 1 the event comes earlier."
    if len(shown) < len(names):
        text += f" {len(names) - len(shown)} further terms stand in cox.csv."
    height = _ROW_PT * len(shown) + 46
    with drawing("hazards"):
        figure = Figure(figsize=(SQUARE[0], height / 72))
        axes = figure.add_axes((0.03, 38 / height, 0.93, 1 - 42 / height))
        reach = _reach([*alone.values(), *together.values()])
        axes.set_xscale("log")
        axes.set_xlim(1 / reach, reach)
        axes.set_ylim(len(shown) - 0.35, -0.55)
        axes.axvline(1, color=FAINT, linewidth=1, dashes=(3, 3))
        across = axes.get_yaxis_transform()
        for row, name in enumerate(shown):
            axes.text(0, row - 0.22, name if len(name) <= 60 else f"{name[:59]}…",
                      transform=across, va="center", fontsize=9, color=INK,
                      bbox={"facecolor": "white", "linewidth": 0, "pad": 0.6})  # fmt: skip
            _draw_term(axes, alone.get(name), row + 0.12, _ALONE, "s", reach)
            _draw_term(axes, together.get(name), row + 0.36, _TOGETHER, "o", reach)
        ticks = [tick for tick in _TICKS if 1 / reach <= tick <= reach]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{tick:g}" for tick in ticks])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.tick_params(length=0)
        axes.grid(visible=True, axis="x")
        axes.set_xlabel("Hazard ratio", fontsize=10)
        svg = inline_svg(figure, name="hazards", title="Hazard ratios", text=text)
    keys = [Key("alone", _ALONE, kind="ring")] if alone else []
    keys += [Key("with all others", _TOGETHER, kind="dot")] if together else []
    return Plot("hazards", "Hazard ratios", svg, text, keys)


def _reach(terms: Sequence[Mapping[str, Any]]) -> float:
    """Return how far the axis goes to either side of 1, as a factor."""
    far = [max(term["high"], 1 / max(term["low"], 1e-9)) for term in terms]
    return float(min(max(1.15 * max(far, default=2.0), 2.2), _WIDEST))


def _draw_term(
    axes: Axes, term: Mapping[str, Any] | None, y: float, colour: str, marker: str, reach: float
) -> None:
    if term is None:
        return
    low, high = max(term["low"], 1 / reach), min(term["high"], reach)
    axes.hlines(y, low, high, color=colour, linewidth=1.8)
    for end, beyond, sign in ((low, term["low"] < low, "<"), (high, term["high"] > high, ">")):
        if beyond:
            axes.plot(end, y, sign, color=colour, markersize=5, clip_on=False)
    if 1 / reach <= term["hazard_ratio"] <= reach:
        axes.plot(term["hazard_ratio"], y, marker, color=colour, markersize=5)
