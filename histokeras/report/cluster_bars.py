"""The share of each cluster in each patient (or slide), as one stacked bar a patient."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histokeras.report.colours import FAINT, INK, OKABE_ITO, class_looks
from histokeras.report.plots import SQUARE, Key, Plot
from histokeras.report.svg import drawing, inline_svg
from histokeras.report.text import plural
from histokeras.types import LABEL

READABLE = 60
"""So many bars are wide enough for a name; more are thinner and nameless."""
_MOST = 2000
_ROW_PT, _HEAD_PT, _MARGIN_PT, _THIN_PT = 12.0, 22.0, 26.0, 560.0
_NAME = 18
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Group:
    title: str
    names: list[str]
    shares: Floats


def cluster_colours(n_clusters: int) -> list[str]:
    """Return ``#rrggbb`` of each cluster: those of the map and the gallery."""
    looks = class_looks(f"{cluster:04d}" for cluster in range(n_clusters))
    return [look.colour for look in looks.values()]


def share_plot(table: pd.DataFrame, unit: str, n_clusters: int) -> Plot | None:
    """Draw the share of each cluster, a bar a patient or slide, sorted by label, then by share.

    Args:
        table: ``<unit>_id``, ``share_0`` ... (numbers) and ``label`` where known, "" for none.
        unit: ``patient`` or ``slide``.
        n_clusters: How many clusters there are.

    Returns:
        The plot; None for an empty table.
    """
    if table.empty:
        return None
    groups = _groups(_drawn(_sorted(table, n_clusters)), unit, n_clusters)
    n = sum(len(group.names) for group in groups)
    row = _ROW_PT if n <= READABLE else _THIN_PT / n
    height = n * row + len(groups) * _HEAD_PT + _MARGIN_PT
    colours = cluster_colours(n_clusters)
    text = _text(table, unit, n)
    if n_clusters > len(OKABE_ITO):
        text += " From the ninth cluster on colours come again: a bar has its clusters in order."
    with drawing("shares"):
        figure = Figure(figsize=(SQUARE[0], height / 72))
        left = 0.29 if n <= READABLE else 0.02
        axes = figure.add_axes((left, _MARGIN_PT / height, 0.97 - left, 1 - _MARGIN_PT / height))
        top = 0.0
        for group in groups:
            axes.text(0, top + _HEAD_PT - 6, group.title, color=INK, fontsize=10, va="baseline")
            top += _HEAD_PT
            edges = top + row * np.arange(len(group.names) + 1, dtype=np.float64)
            _draw(axes, group.shares, edges, colours)
            if n <= READABLE:
                _name(axes, group.names, edges)
            top = float(edges[-1])
        axes.set_xlim(0, 1)
        axes.set_ylim(top, 0)
        axes.set_yticks([])
        axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 % of tiles"])
        axes.get_xticklabels()[-1].set_horizontalalignment("right")
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
        svg = inline_svg(figure, name="shares", title=f"Clusters in each {unit}", text=text)
    keys = [Key(f"cluster {i}", colour, kind="dot") for i, colour in enumerate(colours)]
    return Plot("shares", f"Clusters in each {unit}", svg, text, keys)


def _draw(axes: Axes, shares: Floats, edges: Floats, colours: list[str]) -> None:
    ends = shares.cumsum(axis=1)
    for cluster, colour in enumerate(colours):
        # One path a cluster: thousands of bars stay small.
        axes.stairs(
            ends[:, cluster], edges, baseline=ends[:, cluster] - shares[:, cluster],
            orientation="horizontal", fill=True, color=colour, linewidth=0,
        )  # fmt: skip


def _name(axes: Axes, names: list[str], edges: Floats) -> None:
    axes.hlines(edges, 0, 1, colors="white", linewidth=1.5)
    for name, start in zip(names, edges[:-1], strict=True):
        shown = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
        axes.text(
            -0.015, start + _ROW_PT / 2, shown, ha="right", va="center", fontsize=8, color=FAINT
        )


def _sorted(table: pd.DataFrame, n_clusters: int) -> pd.DataFrame:
    """Sort by label (none last), by the largest cluster, and by its share, the largest first."""
    shares = table[[f"share_{i}" for i in range(n_clusters)]].to_numpy(float)
    labels = table[LABEL].astype(str) if LABEL in table else pd.Series("", table.index)
    order = pd.DataFrame({
        LABEL: labels.to_numpy(), "_none": labels.eq("").to_numpy(),
        "_largest": shares.argmax(axis=1), "_share": -shares.max(axis=1),
    }).sort_values(["_none", LABEL, "_largest", "_share"], kind="stable")  # fmt: skip
    return table.assign(**{LABEL: labels}).iloc[order.index]


def _drawn(table: pd.DataFrame) -> pd.DataFrame:
    if len(table) <= _MOST:
        return table
    return table.iloc[np.linspace(0, len(table) - 1, _MOST).round().astype(int)]


def _groups(table: pd.DataFrame, unit: str, n_clusters: int) -> list[_Group]:
    found = []
    known = bool((table[LABEL] != "").any())
    for label, part in table.groupby(LABEL, sort=False):
        name = str(label) if label else "without label" if known else "all"
        found.append(
            _Group(
                f"{name}: {plural(len(part), unit)}",
                part[f"{unit}_id"].astype(str).tolist(),
                part[[f"share_{i}" for i in range(n_clusters)]].to_numpy(float),
            )
        )
    return found


def _text(table: pd.DataFrame, unit: str, n: int) -> str:
    order = "sorted by label, then by their largest cluster and its share"
    if not (LABEL in table and (table[LABEL] != "").any()):
        order = "sorted by their largest cluster and its share"
    text = f"One bar a {unit}, {order}. {plural(len(table), unit)} of all sides"
    if n < len(table):
        return f"{text}; {n:,} of them, evenly taken in this order, are drawn."
    if n > READABLE:
        return f"{text}: too many for names, which stand in {unit}s.csv."
    return f"{text}."
