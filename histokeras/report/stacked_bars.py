"""Stacked bars, one a patient or slide: what each is made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histokeras.report.colours import FAINT, INK
from histokeras.report.plots import SQUARE
from histokeras.report.svg import drawing, inline_svg

READABLE = 60
"""So many bars are wide enough for a name; more are thinner and nameless."""
MOST = 2000
"""No more bars are drawn."""
_ROW_PT, _HEAD_PT, _MARGIN_PT, _THIN_PT = 12.0, 22.0, 26.0, 560.0
_NAME = 18
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """Bars under one heading.

    Attributes:
        title: The heading.
        names: Name of each bar.
        shares: Shape ``(n_bars, n_parts)``, each row summing to 1.
    """

    title: str
    names: list[str]
    shares: Floats


def evenly(n: int) -> npt.NDArray[np.int64]:
    """Return which of ``n`` bars are drawn: all, or :data:`MOST` taken evenly."""
    if n <= MOST:
        return np.arange(n)
    return np.linspace(0, n - 1, MOST).round().astype(np.int64)


def stacked_bars(
    groups: Sequence[Group], colours: Sequence[str], *, name: str, title: str, text: str
) -> Markup:
    """Draw bars from 0 to all of the tiles, one below the other.

    Args:
        groups: What is drawn, from the top.
        colours: ``#rrggbb`` of each part.
        name: Unique on the page; begins each id.
        title: Short name, for those who cannot see it.
        text: What it shows, for those who cannot see it.
    """
    n = sum(len(group.names) for group in groups)
    row = _ROW_PT if n <= READABLE else _THIN_PT / n
    height = n * row + len(groups) * _HEAD_PT + _MARGIN_PT
    with drawing(name):
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
        return inline_svg(figure, name=name, title=title, text=text)


def _draw(axes: Axes, shares: Floats, edges: Floats, colours: Sequence[str]) -> None:
    ends = shares.cumsum(axis=1)
    for part, colour in enumerate(colours):
        # One path a part: thousands of bars stay small.
        axes.stairs(
            ends[:, part], edges, baseline=ends[:, part] - shares[:, part],
            orientation="horizontal", fill=True, color=colour, linewidth=0,
        )  # fmt: skip


def _name(axes: Axes, names: list[str], edges: Floats) -> None:
    axes.hlines(edges, 0, 1, colors="white", linewidth=1.5)
    for name, start in zip(names, edges[:-1], strict=True):
        shown = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
        axes.text(
            -0.015, start + _ROW_PT / 2, shown, ha="right", va="center", fontsize=8, color=FAINT
        )
