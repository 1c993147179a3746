"""The page of ``histokeras evaluate`` of lymph nodes: figures, stages, every patient."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from histokeras.analysis.lymph_truth_figures import LYMPH_NODES
from histokeras.analysis.lymph_truth_text import (
    counts_line,
    headline,
    metastasis_line,
    node_rows,
    notes_of,
    patient_rows,
)
from histokeras.report import tables
from histokeras.report.html import render, require_own_page, require_own_run_folder, write_page
from histokeras.report.page_files import PageKind, files_table, read_finished, read_texts, started
from histokeras.report.tables import Cell, Table
from histokeras.report.text import DASH, at
from histokeras.runs.record import read_record

_MOST_ROWS = 500
_KIND = PageKind(
    what="lymph nodes against drawings",
    is_whole=lambda metrics: bool(metrics.get("figures")) and metrics.get("task") == LYMPH_NODES,
    again="Evaluate anew.",
    files={
        "run.json": "what was done, with which settings, versions and inputs",
        "metrics.json": "every figure with its interval",
        "patients.csv": "one row a patient: what was drawn, what was found, how they differ",
        "slides.csv": "one row a slide",
        "nodes.csv": "one row a node: what became of it, areas and tumour on both sides",
    },
)
_METHODS = (
    "Drawn and found nodes were laid over each other on the overview of each slide. Two are one "
    "node if their intersection is more than half of their union. A drawn node without such a "
    "partner is cut up if two or more found ones lie in it, run together if it lies in a found one "
    "with another drawn node, else missed; a found one outside of all drawn nodes is invented. "
    "Dice and IoU count the pixels of all slides of a patient together. A tile is tumour if drawn "
    "tumour covers half of it or more; tiles whose middle lies in a drawn node count. T/MLN and pN "
    "of the drawings follow the same rules as those found, but for the least areas. Intervals "
    "resample whole {unit}s. For research use only."
)


def is_truth_folder(folder: Path) -> bool:
    """Tell whether a folder is of lymph nodes against drawings."""
    return read_record(folder).get("task") == LYMPH_NODES


def write_truth_page(folder: Path, page: Path | None = None) -> Path:
    """Write the page of an evaluation of lymph nodes. It needs no script and asks for nothing.

    Args:
        folder: What ``evaluate -o`` was given.
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
    sentences = [f"Nodes: {counts_line(metrics)}."]
    if metrics["has_tumour"]:
        sentences.append(f"{metastasis_line(metrics).capitalize()}.")
    html = render(
        "lymph_truth.html.j2",
        title=run.name,
        subtitle=started(record),
        headline=headline(metrics),
        sentences=sentences,
        notes=[f"Note: {note}." for note in notes_of(metrics)],
        figures=_figures(metrics),
        stages=_stages(metrics),
        patients=_patients(folder, metrics),
        methods=_METHODS.format(unit=metrics["resampled_by"]),
        command=record.get("command_line", ""),
        settings=[
            tables.settings_table("How the nodes were measured", at(record, "settings")),
            tables.settings_table("Options of the command", at(record, "config")),
            tables.settings_table("Versions", record.get("versions")),
        ],
        files=files_table(folder, _KIND),
    )
    write_page(page, html, [])
    return page


def _figures(metrics: Mapping[str, Any]) -> list[Table]:
    unit = metrics["resampled_by"]
    head = ("Figure", f"Value [{100 * (1 - metrics['alpha']):g} % interval]", "Number")
    return [
        Table(f"Means over {unit}s", head, patient_rows(metrics)),
        Table("Shares of the drawn nodes", head, node_rows(metrics)),
    ]


def _stages(metrics: Mapping[str, Any]) -> Table | None:
    """Return the stages that occur: rows what was drawn, columns what was found."""
    if not metrics["has_tumour"]:
        return None
    names, cells = metrics["pN"]["stages"], metrics["pN"]["confusion"]
    used = [at for at in range(len(names)) if sum(cells[at]) or sum(row[at] for row in cells)]
    rows: list[list[str | Cell]] = []
    for row in used:
        most = max(sum(cells[row]), 1)
        shaded = [
            Cell(f"{cells[row][column]}", shade=round(10 * cells[row][column] / most))
            for column in used
        ]
        rows.append([names[row], *shaded])
    caption = "Rows: pN by the drawings. Columns: pN by what was found."
    return Table(caption, ("pN", *(names[at] for at in used)), rows, css="confusion")


def _patients(folder: Path, metrics: Mapping[str, Any]) -> Table:
    texts = read_texts(folder / "patients.csv", _KIND)
    columns = {"n_nodes": "Nodes", "n_mln": "Metastatic", "T_MLN_mean": "T/MLN", "pN": "pN"}
    shown = {name: title for name, title in columns.items() if name in texts}
    rows: list[list[str | Cell]] = []
    for row in texts.head(_MOST_ROWS).to_dict("records"):
        pairs = [_pair(row, str(name)) for name in shown]
        rows.append([str(row["patient_id"]), *pairs, _decimal(row, "node_dice")])
        if "tile_auc" in texts:
            rows[-1].append(_decimal(row, "tile_auc"))
    head = [metrics["resampled_by"].capitalize(), *(f"{t}, found (drawn)" for t in shown.values())]
    head += ["Node Dice", *(["Tile AUC"] if "tile_auc" in texts else [])]
    more = len(texts) - _MOST_ROWS
    notes = [f"{more:,} more: see patients.csv."] if more > 0 else []
    return Table("What was found, and in brackets what was drawn", head, rows, notes)


def _pair(row: Mapping[Any, Any], name: str) -> str:
    said, true = (_told(row[key], name) for key in (name, f"{name}_true"))
    return f"{said} ({true})"


def _told(value: str, name: str) -> str:
    if not value:
        return DASH
    return f"{100 * float(value):.1f} %" if name == "T_MLN_mean" else value


def _decimal(row: Mapping[Any, Any], name: str) -> str:
    return f"{float(row[name]):.3f}" if row[name] else DASH
