"""The page of a search: trials in their order, what each dimension did, the best."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from histokeras.report.colours import FAINT, INK, OKABE_ITO
from histokeras.report.html import render, require_own_page, write_page
from histokeras.report.pictures import Picture
from histokeras.report.tables import Table
from histokeras.report.text import DASH, clean, number, plural
from histokeras.runs.record import read_object, read_record
from histokeras.tables import read_table

PAGE = "tuning.html"
SUMMARY, BEST_RUN = "tuning.json", "best"
"""Names within the folder of a search."""
_DPI = 130
_DONE, _PRUNED = "done", "pruned"
_POINT, _BEST, _CUT = OKABE_ITO[0], OKABE_ITO[1], OKABE_ITO[3]
_MOST_ROWS = 200
_ROOM = 1.4
"""Of the range on a logarithmic axis, to both sides."""
_BASE = 0.05
"""Where trials without a figure are marked: this share of the axis from its foot."""


def format_search(summary: Mapping[str, Any]) -> str:
    """Return what a search found, as plain text.

    Args:
        summary: What stands in tuning.json.
    """
    best, default = summary["best"], summary["default"]["value"]
    before = number(default) if default is not None else "came apart"
    text = f"default {before} -> best {number(best['value'])} (trial {best['number']})"
    if best["number"] == 0:
        text = f"default {before}: no other trial was better"
    counts = ", ".join(f"{n} {state}" for state, n in summary["n"].items() if n)
    return (
        f"{summary['figure']}: {text}; of {plural(summary['n_trials'], 'trial')} {counts}.\n"
        f"Note: {summary['note']}."
    )


def write_tuning_page(folder: Path) -> Path:
    """Write ``tuning.html`` into the folder of a search.

    Args:
        folder: With tuning.json and trials.csv.

    Returns:
        The page.

    Raises:
        ConfigError: If the page is of other origin.
        OutputError: If it cannot be written.
    """
    page = folder / PAGE
    require_own_page(page)
    summary, record = read_object(folder / SUMMARY), read_record(folder)
    trials = read_table(folder / "trials.csv", name="trials")
    values = pd.to_numeric(trials["value"].replace("", None))
    trials = trials.assign(value=values, number=trials["number"].astype(int))
    what, *notes = format_search(summary).splitlines()
    pictures = [
        _picture(history_figure(trials, summary), f"Trials in their order. {what}"),
        _picture(dimension_figure(trials, summary), "Figure of each trial by what was chosen."),
    ]
    tested = (folder / BEST_RUN / "report.html").is_file() or bool(record.get("test_seen"))
    html = render(
        "tuning.html.j2",
        title=clean(folder.resolve().name),
        subtitle=f"Search · histokeras {summary['command']} · {plural(len(trials), 'trial')}",
        verdict=clean(what[:1].upper() + what[1:]),
        notes=[_sentence(clean(note.removeprefix("Note: "))) for note in notes],
        pictures=pictures,
        tables=[_best_table(summary), _trial_table(trials, summary)],
        tested=tested,
        command=clean(record.get("command_line") or ""),
    )
    write_page(page, html, [])
    return page


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def history_figure(trials: pd.DataFrame, summary: Mapping[str, Any]) -> Figure:
    """Draw the figure of each trial, the best so far and the default.

    Args:
        trials: ``number``, ``state``, ``value`` (NaN unless done).
        summary: What stands in tuning.json.
    """
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    done = trials[trials["state"] == _DONE]
    axes.scatter(done["number"], done["value"], s=26, color=_POINT, label="trial", zorder=3)
    so_far = trials["value"].cummax().ffill()
    axes.step(trials["number"], so_far, where="post", color=_BEST, label="best so far", zorder=2)
    default = summary["default"]["value"]
    if default is not None:
        axes.axhline(default, color=FAINT, linestyle=(0, (4, 3)), label="default (trial 0)")
    _mark_cut(axes, trials, trials["number"])
    axes.set_xlim(-0.5, len(trials) - 0.5)
    axes.set_xlabel("trial", color=INK)
    axes.set_ylabel(f"{summary['figure']}", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _plain(axes)
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=9)
    return figure


def dimension_figure(trials: pd.DataFrame, summary: Mapping[str, Any]) -> Figure:
    """Draw the figure of each trial over every dimension that was searched.

    Args:
        trials: As for :func:`history_figure`, with a column a dimension.
        summary: What stands in tuning.json.
    """
    space = {name: item for name, item in summary["space"].items() if len(_values(item)) != 1}
    columns = max(min(3, len(space)), 1)
    rows = -(-len(space) // columns) if space else 1
    figure = Figure(figsize=(3.1 * columns + 0.6, 2.9 * rows + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    best = summary["best"]["number"]
    for axes in grid.flat[len(space) :]:
        axes.set_axis_off()
    for axes, (name, item) in zip(grid.flat, space.items(), strict=False):
        mine = trials[trials[name].astype(str) != ""]
        x = _placed(mine, name, item)
        axes.scatter(x, mine["value"], s=22, color=_POINT, alpha=0.75)
        chosen = (mine["number"] == best).to_numpy()
        axes.scatter(
            x[chosen], mine["value"][chosen], s=90, facecolors="none", edgecolors=_BEST,
            linewidths=2, label="best",
        )  # fmt: skip
        _mark_cut(axes, mine, pd.Series(x, mine.index))
        axes.set_title(name, color=INK, fontsize=10, loc="left")
        if _values(item):
            axes.set_xticks(range(len(_values(item))), list(map(str, _values(item))))
            axes.set_xlim(-0.5, len(_values(item)) - 0.5)
        else:
            axes.set_xscale("log")
            axes.set_xlim(item["low"] / _ROOM, item["high"] * _ROOM)
        _plain(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel(summary["figure"], color=INK, fontsize=9)
    return figure


def _values(item: Mapping[str, Any]) -> Sequence[Any]:
    found: Sequence[Any] = item.get("values", ())
    return found


def _placed(trials: pd.DataFrame, name: str, item: Mapping[str, Any]) -> Any:
    """Return where trials stand on the axis of a dimension; those of a choice beside each other."""
    texts = trials[name].astype(str)
    if not _values(item):
        return texts.astype(float).to_numpy()
    places = {str(value): place for place, value in enumerate(_values(item))}
    base = texts.map(places).to_numpy(float)
    # The same picture each time: no random jitter.
    return base + 0.3 * (np.arange(len(base)) % 7 - 3) / 3


def _mark_cut(axes: Axes, trials: pd.DataFrame, x: pd.Series) -> None:
    """Mark trials without a figure at the foot of the axes."""
    cut = trials["state"] != _DONE
    if cut.any():
        axes.scatter(
            x[cut], np.full(int(cut.sum()), _BASE), transform=axes.get_xaxis_transform(),
            marker="x", s=24, color=_CUT, label="given up", clip_on=False,
        )  # fmt: skip


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=FAINT)
    # Room for the marks at the foot.
    axes.margins(y=0.15)


def _picture(figure: Figure, text: str) -> Picture:
    buffer = io.BytesIO()
    # Without the version of matplotlib: equal searches give equal pages.
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    width, height = (int(side) for side in figure.get_size_inches() * 100)
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
    return Picture(source, clean(text), (clean(text),), width, height)


def _best_table(summary: Mapping[str, Any]) -> Table:
    best, default = summary["best"], summary["default"]
    names = list(summary["space"])
    rows = [
        [
            name,
            _text(default["params"].get(name)),
            _text(best["params"].get(name)),
            _range(summary["space"][name]),
        ]
        for name in names
    ]
    rows.append([summary["figure"], number(default["value"]), number(best["value"]), ""])
    head = ("", "Default (trial 0)", f"Best (trial {best['number']})", "Searched")
    return Table("What was chosen", head, rows)


def _range(item: Mapping[str, Any]) -> str:
    if _values(item):
        return ", ".join(map(str, _values(item)))
    return f"{item['low']:g} to {item['high']:g}"


def _text(value: Any) -> str:
    if value is None or value == "":
        return DASH
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _trial_table(trials: pd.DataFrame, summary: Mapping[str, Any]) -> Table:
    order = trials.sort_values("value", ascending=False, kind="stable", na_position="last")
    names = list(summary["space"])
    rows = [
        [
            str(row["number"]),
            number(row["value"]) if row["state"] == _DONE else str(row["state"]),
            *(_cell(row[name], summary["space"][name]) for name in names),
            str(row["epochs"]),
            f"{float(row['seconds']):.1f}",
        ]
        for row in order.head(_MOST_ROWS).to_dict("records")
    ]
    more = len(trials) - len(rows)
    notes = [f"{plural(more, 'further trial')}: see trials.csv."] if more else []
    head = ("Trial", summary["figure"], *names, "Epochs", "Seconds")
    return Table("All trials, the best first", head, rows, notes)


def _cell(value: Any, item: Mapping[str, Any]) -> str:
    return _text(value if _values(item) or value == "" else float(value))
