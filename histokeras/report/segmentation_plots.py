"""Plots of a segmentation: Dice of each image, predicted against true shares."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from histokeras.analysis.segmentation import NETWORK
from histokeras.report.colours import FAINT, INK
from histokeras.report.more_plots import draw_strip, records, rows_figure
from histokeras.report.number_plots import ends_of, square_axes
from histokeras.report.plots import Key, Plot
from histokeras.report.svg import drawing, inline_svg
from histokeras.report.text import interval, number, plural

_LOOKS = {NETWORK: ("#0072b2", "o"), "colour": ("#e69f00", "s"), "otsu": ("#cc79a7", "D")}
_OTHER_LOOK = ("#009e73", "v")
_MOST_ROWS = 24
_DOT_PT = 8
Named = Mapping[str, Any]


def dice_plot(images: pd.DataFrame, metrics: Named) -> Plot | None:
    """Draw the Dice of each image (mean IoU where no class is of interest), all models.

    Up to 24 images stand in a row each, the worst of the network first; more give a strip a model.

    Args:
        images: images.csv: ``image_id`` text, figures as numbers.
        metrics: The content of metrics.json.
    """
    key, word = ("dice", "Dice") if metrics["positive"] is not None else ("mean_iou", "Mean IoU")
    columns = {name: f"{name}_{key}" for name in metrics["models"] if f"{name}_{key}" in images}
    if NETWORK not in columns or not images[columns[NETWORK]].notna().any():
        return None
    title = f"{word} of each test image"
    known = images.sort_values([columns[NETWORK], "image_id"], na_position="last")
    draw = _draw_rows if len(known) <= _MOST_ROWS else _draw_strips
    with drawing("dice"):
        axes = draw(known, columns, metrics)
        axes.set_xlim(-0.01, 1.01)
        axes.set_xlabel(word)
        undefined = int(known[columns[NETWORK]].isna().sum())
        spread = known[columns[NETWORK]].dropna()
        text = (
            f"Network: median {number(float(spread.median()))}, from {number(float(spread.min()))} "
            f"to {number(float(spread.max()))}."
        )
        if undefined:
            text += (
                f" Of {plural(undefined, 'image')} it is not defined: neither truth nor network "
                "has the class."
            )
        svg = inline_svg(axes.figure, name="dice", title=title, text=text)  # type: ignore[arg-type]
    keys = [_key(name, metrics) for name in columns]
    table = known[["image_id", *columns.values()]]
    return Plot("dice", title, svg, text, keys, table, records(table))


def _key(name: str, metrics: Named) -> Key:
    return Key(str(metrics["models"][name]["title"]), _look(name)[0], kind="dot")


def _look(name: str) -> tuple[str, str]:
    return _LOOKS.get(name, _OTHER_LOOK)


def _draw_rows(table: pd.DataFrame, columns: Mapping[str, str], metrics: Named) -> Axes:
    del metrics
    axes = rows_figure(table["image_id"].tolist(), height=0.5)[1]
    for row, values in enumerate(table[list(columns.values())].to_numpy(np.float64)):
        defined = values[np.isfinite(values)]
        if len(defined):
            axes.hlines(row, defined.min(), defined.max(), color=FAINT, linewidth=1)
    for name in reversed(list(columns)):
        colour, marker = _look(name)
        axes.plot(
            table[columns[name]], np.arange(len(table)), marker, color=colour, linestyle="none",
            markersize=_DOT_PT if name == NETWORK else _DOT_PT - 2, markeredgecolor="white",
            markeredgewidth=0.8,
        )  # fmt: skip
    return axes


def _draw_strips(table: pd.DataFrame, columns: Mapping[str, str], metrics: Named) -> Axes:
    titles = [str(metrics["models"][name]["title"]) for name in columns]
    axes, rng = rows_figure(titles, height=0.95)[1], np.random.default_rng(0)
    for row, (name, column) in enumerate(columns.items()):
        values = table[column].dropna().to_numpy(np.float64)
        if len(values):
            draw_strip(axes, values, row, *_look(name), rng)
    return axes


def share_plot(patients: pd.DataFrame, metrics: Named) -> Plot | None:
    """Draw the predicted against the true share of each patient, with the line of agreement.

    Args:
        patients: patients.csv: ``share_true`` and ``<model>_share`` as numbers.
        metrics: The content of metrics.json.
    """
    columns = {name: f"{name}_share" for name in metrics["models"] if f"{name}_share" in patients}
    share = metrics["models"][NETWORK].get("share")
    if "share_true" not in patients or NETWORK not in columns or not share:
        return None
    known = patients[["share_true", *columns.values()]].dropna(subset=["share_true"])
    positive, unit = str(metrics["positive"]), str(metrics["resampled_by"])
    low, high = ends_of(known.to_numpy(np.float64))
    ends = (max(low, -0.03), min(high, 1.03))
    with drawing("scatter"):
        figure, axes = square_axes()
        axes.plot(ends, ends, color=FAINT, linewidth=1, dashes=(3, 3))
        for name in reversed(list(columns)):
            _draw_shares(axes, known, columns[name], name)
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        axes.set_aspect("equal")
        axes.set_xlabel(f"True share of {positive}", color=INK)
        axes.set_ylabel("Predicted share")
        text = (
            f"One mark a {unit}, n = {len(known):,}. Network: R\u00b2 {interval(share['r2'])}, mean"
            f" absolute error {interval(share['mae'])}."
        )
        title = f"Share of {positive}, predicted and true"
        svg = inline_svg(figure, name="scatter", title=title, text=text)
    keys = [*(_key(name, metrics) for name in columns), Key("predicted = true", FAINT, (3, 3))]
    return Plot("scatter", title, svg, text, keys, known, records(known))


def _draw_shares(axes: Axes, table: pd.DataFrame, column: str, name: str) -> None:
    colour, marker = _look(name)
    axes.plot(
        table["share_true"], table[column], marker, color=colour, markersize=6,
        alpha=0.85 if name == NETWORK else 0.5, markeredgecolor="white", markeredgewidth=0.6,
    )  # fmt: skip


def numbers_of(table: pd.DataFrame, texts: Sequence[str]) -> pd.DataFrame:
    """Return a table of text with all columns as numbers but ``texts``; empty cells are NaN."""
    return pd.DataFrame(
        {
            str(name): column if name in texts else pd.to_numeric(column, errors="coerce")
            for name, column in table.items()
        }
    )
