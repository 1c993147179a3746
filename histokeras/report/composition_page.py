"""The page of ``histokeras composition``: bars, medians, every patient with intervals."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.report import tables
from histokeras.report.colours import class_looks
from histokeras.report.composition_words import (
    cautions,
    counts,
    headline,
    leading_class,
    main_prefix,
    methods,
    named,
    sentences,
)
from histokeras.report.html import render, require_own_page, require_own_run_folder, write_page
from histokeras.report.page_files import PageKind, files_table, read_finished, read_texts, started
from histokeras.report.plots import Key, Plot
from histokeras.report.stacked_bars import READABLE, Group, evenly, stacked_bars
from histokeras.report.tables import Cell, Table
from histokeras.report.text import DASH, at, is_number, plural
from histokeras.types import SPLIT

_MOST_ROWS = 200
_DERIVED = {
    "tumour_stroma_ratio": "STR / (STR + TUM)",
    "lym_tum_ratio": "LYM / TUM",
    "entropy": "Entropy (nats)",
}
_KINDS = {"share_": "Of tiles", "soft_": "Mean probability", "corrected_": "Corrected"}
_KIND = PageKind(
    what="composition",
    figures="composition.json",
    is_whole=lambda metrics: (
        isinstance(at(metrics, "summary", "all"), dict) and bool(metrics.get("classes"))
    ),
    again="Compose anew, with --overwrite.",
    files={
        "run.json": "what was done, with which settings, versions and inputs",
        "composition.json": "medians and quartiles of every figure, and what is to be known of it",
        "patients.csv": "one row a patient: side, tiles, every figure with its interval",
        "slides.csv": "one row a slide: the same",
        "dropped.csv": "what has no figures or counts for no patient, and why",
    },
)
_SIDES = {"train": "train (the classifier knows them)", "val": "val", "test": "test", "": "new"}


def write_composition_page(folder: Path, page: Path | None = None) -> Path:
    """Write the page of a folder of compositions. It needs no script and asks for nothing.

    Args:
        folder: What ``composition -o`` was given.
        page: The page; ``report.html`` in the folder if None.

    Returns:
        The page.

    Raises:
        FeatureError: If the command did not end there (RUN_UNFINISHED), or a file is damaged.
        TableError: If a table of it cannot be read.
        ConfigError: If ``page`` is of other origin.
        OutputError: If it cannot be written.
    """
    page = page or folder / "report.html"
    require_own_page(page)
    require_own_run_folder(page, folder)
    run = read_finished(folder, _KIND)
    metrics, record = run.metrics, run.record
    unit = str(metrics["unit"])
    table = _figures(folder / f"{unit}s.csv", metrics)
    html = render(
        "composition.html.j2",
        title=run.name,
        subtitle=_subtitle(metrics, record),
        headline=headline(metrics),
        sentences=sentences(metrics),
        cautions=cautions(metrics),
        unit=unit,
        bars=_bars(table, metrics),
        medians=_medians(metrics),
        rows=_rows(table, metrics),
        dropped=tables.dropped_table(run),
        methods=methods(metrics),
        command=record.get("command_line", ""),
        settings=[
            tables.settings_table("Options of the command", at(record, "config")),
            tables.settings_table("Versions", record.get("versions")),
            tables.settings_table("Hardware", record.get("hardware")),
        ],
        files=files_table(folder, _KIND),
    )
    write_page(page, html, [])
    return page


def told_composition(folder: Path) -> tuple[str, list[Table]]:
    """Return what another page says of a composition: one line, and the cohort's medians.

    Raises:
        FeatureError: If the command did not end there (RUN_UNFINISHED), or a file is damaged.
        TableError: If a table of it cannot be read.
    """
    metrics = read_finished(folder, _KIND).metrics
    return headline(metrics), [_medians(metrics)]


def _figures(path: Path, metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows that have figures, by side, then by the share of the leading class."""
    texts = read_texts(path, _KIND)
    kept = ("slide_id", "patient_id", SPLIT)
    table = pd.DataFrame({
        str(name): texts[name] if name in kept else pd.to_numeric(texts[name], errors="coerce")
        for name in texts.columns
    })  # fmt: skip
    lead = f"{main_prefix(metrics)}{leading_class(metrics)}"
    if lead not in table:
        return table.iloc[:0]
    ranks = {side: i for i, side in enumerate(_SIDES)}
    sides = [ranks.get(side, -1) for side in table[SPLIT]]
    # Those that the classifier does not know come first.
    order = pd.DataFrame({"side": sides, "share": table[lead]}, index=table.index).sort_values(
        ["side", "share"], ascending=False, kind="stable"
    )
    return table.loc[order.index].dropna(subset=[lead])


def _subtitle(metrics: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    return " · ".join(filter(None, [*reversed(counts(metrics)), started(record)]))


def _bars(table: pd.DataFrame, metrics: Mapping[str, Any]) -> Plot | None:
    if table.empty:
        return None
    unit, lead = str(metrics["unit"]), leading_class(metrics)
    prefix = main_prefix(metrics)
    # The class by which they are sorted begins each bar.
    classes = [lead, *(name for name in metrics["classes"] if name != lead)]
    drawn = table.iloc[evenly(len(table))]
    groups = [
        Group(
            f"{_SIDES.get(str(side), str(side))}: {plural(len(part), unit)}"
            if metrics["sides"].keys() - {"new"}
            else plural(len(part), unit),
            part[f"{unit}_id"].astype(str).tolist(),
            part[[f"{prefix}{name}" for name in classes]].to_numpy(np.float64),
        )
        for side, part in drawn.groupby(SPLIT, sort=False)
    ]
    looks = class_looks(classes)
    colours = [looks[name].colour for name in classes]
    of = "corrected share" if metrics["correction"] else "share"
    text = f"One bar a {unit}, sorted by its {of} of {named(lead)}. {plural(len(table), unit)}"
    if len(drawn) < len(table):
        text += f"; {len(drawn):,} of them, evenly taken in this order, are drawn."
    elif len(table) > READABLE:
        text += f": too many for names, which stand in {unit}s.csv."
    else:
        text += "."
    title = f"Tissue of each {unit}" if "TUM" in map(str.upper, classes) else f"Each {unit}"
    svg = stacked_bars(groups, colours, name="composition", title=title, text=text)
    keys = [
        Key(named(name), colour, kind="dot") for name, colour in zip(classes, colours, strict=True)
    ]
    return Plot("composition", title, svg, text, keys)


def _medians(metrics: Mapping[str, Any]) -> Table:
    """Return median and quartiles of every figure, a column for each way to count."""
    found = metrics["summary"]["all"]
    first = metrics["classes"][0]
    kinds = [kind for kind in _KINDS if f"{kind}{first}" in found]
    rows: list[list[str | Cell]] = [
        [named(name), *(_quartiles(found.get(f"{kind}{name}"), share=True) for kind in kinds)]
        for name in metrics["classes"]
    ]
    for figure, title in _DERIVED.items():
        if figure in found:
            cells = (found.get(f"{kind.removeprefix('share_')}{figure}") for kind in kinds)
            rows.append([title, *(_quartiles(cell, share=False) for cell in cells)])
    n = int(found[f"share_{first}"]["n"])
    caption = f"Median and quartiles over {plural(n, metrics['unit'])}"
    notes = ["Those of each side stand in composition.json."] if len(metrics["sides"]) > 1 else []
    return Table(caption, ("", *(_KINDS[kind] for kind in kinds)), rows, notes)


def _quartiles(found: Any, *, share: bool) -> str | Cell:
    if not at(found, "n"):
        return DASH
    low, high = (_value(found[key], share=share) for key in ("q1", "q3"))
    return Cell(_value(found["median"], share=share) + (" %" if share else ""), f"{low} to {high}")


def _value(value: Any, *, share: bool) -> str:
    if not is_number(value):
        return DASH
    return f"{100 * value:.1f}" if share else f"{value:.3f}"


def _rows(table: pd.DataFrame, metrics: Mapping[str, Any]) -> Table | None:
    """Return one row a patient, each figure above its interval."""
    if table.empty:
        return None
    unit = str(metrics["unit"])
    prefix = main_prefix(metrics)
    corrected = metrics["correction"] is not None
    columns = {f"{prefix}{name}": f"{name} %" for name in metrics["classes"]}
    plain = {name: title for name, title in _DERIVED.items() if name in table}
    columns |= {f"{prefix}{name}" if corrected else name: title for name, title in plain.items()}
    rows: list[list[str | Cell]] = []
    for row in table.head(_MOST_ROWS).to_dict("records"):
        cells: list[str | Cell] = [str(row[f"{unit}_id"]), str(row[SPLIT]) or "new"]
        cells.append(f"{int(row['n_tiles']):,}")
        cells += [_cell(row, name, share=title.endswith("%")) for name, title in columns.items()]
        rows.append(cells)
    notes = ["Below each figure its 95 % interval."] if metrics["interval"] != "none" else []
    notes += ["Shares are the corrected ones."] if corrected else []
    if len(table) > _MOST_ROWS:
        notes.append(f"The first {_MOST_ROWS} of {len(table):,}: all stand in {unit}s.csv.")
    head = (unit.capitalize(), "Side", "Tiles", *columns.values())
    return Table("Shares in per cent, and what follows from them", head, rows, notes)


def _cell(row: Mapping[Any, Any], name: str, *, share: bool) -> str | Cell:
    low, high = (row.get(f"{name}{end}") for end in ("_low", "_high"))
    text = _value(row[name], share=share)
    if not (is_number(low) and is_number(high)):
        return text
    return Cell(text, f"{_value(low, share=share)} to {_value(high, share=share)}")
