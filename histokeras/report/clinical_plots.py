"""Pictures of the clinical link: the strength of all pairs, the patients behind the strongest."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from histokeras.analysis.association import MIN_GROUP
from histokeras.analysis.clinical_link import ClinicalLink
from histokeras.report.colours import FAINT, INK, OKABE_ITO
from histokeras.report.plots import SQUARE, Key, Plot
from histokeras.report.svg import drawing, inline_svg
from histokeras.report.text import number, plural

ALPHA = 0.05
"""A false discovery rate below this bears a star."""
_MOST = 30
_CELL_PT, _LEFT_PT, _BOTTOM_PT, _TOP_PT = 30.0, 200.0, 150.0, 8.0
_NAME = 26
_LETTERS = 60
"""So many fit below one plot."""
_RISES, _FALLS, _GROUPS = OKABE_ITO[0], OKABE_ITO[1], "#5a6472"
_FULL = 0.6
"""Strength at which a colour is full: links of tissue and clinic are rarely stronger."""


def effect_plot(link: ClinicalLink) -> Plot | None:
    """Draw the strength of every pair as a coloured cell; a star where q is below 0.05.

    Args:
        link: The join; of more than 30 rows or columns those with the strongest pair are drawn.

    Returns:
        The plot; None where nothing was tested.
    """
    results = link.results[link.results["p"].notna()]
    if results.empty:
        return None
    rows = _strongest(results, "clinical", list(link.clinical))
    columns = _strongest(results, "measure", list(link.measures))
    cells = {(r["clinical"], r["measure"]): r for r in results.to_dict("records")}
    width = _LEFT_PT + len(columns) * _CELL_PT + 10
    height = _TOP_PT + len(rows) * _CELL_PT + _BOTTOM_PT
    text = _effect_text(link, results, len(rows) * len(columns))
    with drawing("effects"):
        figure = Figure(figsize=(max(width, 72 * SQUARE[0]) / 72, height / 72))
        width = max(width, 72 * SQUARE[0])
        axes = figure.add_axes((
            _LEFT_PT / width, _BOTTOM_PT / height,
            len(columns) * _CELL_PT / width, len(rows) * _CELL_PT / height,
        ))  # fmt: skip
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                _draw_cell(axes, i, j, cells.get((row, column)))
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(rows), 0)
        places = (np.arange(len(columns)) + 0.5, np.arange(len(rows)) + 0.5)
        axes.set_xticks(places[0], [_short(name) for name in columns], rotation=60, ha="right",
                        rotation_mode="anchor")  # fmt: skip
        axes.set_yticks(places[1], [_short(name) for name in rows])
        axes.tick_params(length=0, labelsize=12)
        axes.spines[:].set_visible(False)
        svg = inline_svg(figure, name="effects", title="Strength of every pair", text=text)
    keys = [
        Key("more of the one, more of the other", _RISES, kind="dot"),
        Key("more of the one, less of the other", _FALLS, kind="dot"),
        Key("differs between groups without an order", _GROUPS, kind="dot"),
    ]
    return Plot("effects", "Strength of every pair", svg, text, keys)


def _strongest(results: pd.DataFrame, by: str, order: Sequence[str]) -> list[str]:
    best = results["strength"].abs().groupby(results[by]).max().nlargest(_MOST).index
    return [name for name in order if name in set(best)]


def _draw_cell(axes: Axes, row: int, column: int, result: Mapping[Any, Any] | None) -> None:
    if result is None:
        axes.text(column + 0.5, row + 0.5, "\u00b7", ha="center", va="center", color=FAINT)
        return
    colour, dark = cell_colour(result)
    axes.fill(
        [column + 0.03, column + 0.97, column + 0.97, column + 0.03],
        [row + 0.03, row + 0.03, row + 0.97, row + 0.97],
        color=colour, linewidth=0,
    )  # fmt: skip
    if result["q"] < ALPHA:
        axes.text(column + 0.5, row + 0.56, "*", ha="center", va="center", fontsize=15,
                  color="white" if dark else INK)  # fmt: skip


def cell_colour(result: Mapping[Any, Any]) -> tuple[tuple[float, ...], bool]:
    """Return the colour of a pair, and whether it is dark."""
    strength = float(result["strength"])
    signed = result["test"] == "Spearman" or str(result["groups"]).count(",") == 1
    full = (_RISES if strength >= 0 else _FALLS) if signed else _GROUPS
    share = min(abs(strength) / _FULL, 1.0)
    # Near white at 0, never white itself: an empty cell was not computed.
    return LinearSegmentedColormap.from_list("cell", ["#eef0f3", full])(share), share > 0.55


def _effect_text(link: ClinicalLink, results: pd.DataFrame, n_drawn: int) -> str:
    n_stars = int((results["q"] < ALPHA).sum())
    text = (
        f"The darker a cell, the stronger the link; full colour from {_FULL:g} on. Strength is "
        "Spearman's rho, the root of epsilon squared (groups; of two groups the colour tells "
        "whether the second, such as Positive, has more), or Cramér's V (groups with groups). "
        f"A star: false discovery rate q below {ALPHA:g} over all {len(results):,} tests; "
        f"{n_stars or 'none'} of them. A dot: not computed."
    )
    if n_drawn < len(link.clinical) * len(link.measures):
        text += " Rows and columns with the strongest pairs are drawn; all stand in the table."
    return text


def pair_plot(link: ClinicalLink, result: Mapping[Any, Any], name: str) -> Plot:
    """Draw the patients behind one pair: boxes of a number in groups, or two numbers.

    Args:
        link: The join.
        result: A row of its results that was tested, whose measure is a number.
        name: Name of the plot.
    """
    whole = link.table[result["measure"]]
    values = whole.replace(np.inf, np.nan)
    clinical = link.table[link.clinical[result["clinical"]]]
    title = f"{result['measure']} by {result['clinical']}"
    effect = {"spearman_rho": "rho", "epsilon_squared": "epsilon\u00b2", "cramers_v": "V"}
    text = (
        f"{plural(int(result['n']), 'patient')}, {effect[result['effect']]} "
        f"{number(result['effect_size'])}, q {_small(result['q'])}."
    )
    if np.isinf(whole).any():
        text += f" Not drawn: {plural(int(np.isinf(whole).sum()), 'infinite value')}."
    if result["left_out"]:
        text += f" Groups too small for the test: {result['left_out']}."
    with drawing(name):
        figure = Figure(figsize=(4.9, 3.6), layout="constrained")
        axes = figure.add_subplot()
        if clinical.dtype.kind == "f":
            axes.scatter(clinical, values, s=14, color=_RISES, alpha=0.5, linewidths=0)
        else:
            text += f" {_boxes(axes, values, clinical)}"
        axes.set_xlabel(_short(str(result["clinical"])))
        axes.set_ylabel(_short(str(result["measure"])))
        axes.grid(visible=True, axis="y")
        axes.tick_params(length=0)
        svg = inline_svg(figure, name=name, title=title, text=text)
    return Plot(name, title, svg, text)


def _boxes(axes: Axes, values: "pd.Series[float]", groups: "pd.Series[Any]") -> str:
    """Draw a box of each group that has somebody, every patient as a dot beside."""
    levels = [False, True] if groups.dtype == "boolean" else list(groups.cat.categories)
    parts = {level: values[(groups == level).fillna(False) & values.notna()] for level in levels}
    parts = {level: part for level, part in parts.items() if len(part)}
    places = np.arange(len(parts), dtype=float)
    # The same every time: where a dot stands beside its fellows means nothing.
    rng = np.random.default_rng(0)
    for place, part in zip(places, parts.values(), strict=True):
        beside = place + rng.uniform(-0.22, 0.22, len(part))
        axes.scatter(beside, part, s=9, color=_RISES, alpha=0.3, linewidths=0)
    boxed = [(place, part) for place, part in zip(places, parts.values(), strict=True)
             if len(part) >= MIN_GROUP]  # fmt: skip
    if boxed:
        axes.boxplot(
            [part.to_numpy() for _, part in boxed], positions=[place for place, _ in boxed],
            widths=0.6, showfliers=False, manage_ticks=False,
            boxprops={"color": INK}, medianprops={"color": _FALLS, "linewidth": 2},
            whiskerprops={"color": INK}, capprops={"color": INK},
        )  # fmt: skip
    names = {False: "no", True: "yes"} if groups.dtype == "boolean" else {}
    labels = [f"{_short(str(names.get(k, k)), 22)} ({len(v)})" for k, v in parts.items()]
    if max(map(len, labels)) * len(labels) > _LETTERS:
        axes.set_xticks(places, labels, fontsize=8, rotation=30, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(places, labels, fontsize=9)
    axes.set_xlim(-0.6, len(parts) - 0.4)
    return "Boxes: quartiles and median; in brackets the number of patients."


def _small(value: float) -> str:
    return f"{value:.1e}" if value < 0.001 else f"{value:.3f}"


def _short(name: str, most: int = _NAME) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}\u2026"
