"""The page of ``evaluate`` where lymph nodes were compared with what was drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.lymph_truth_figures import LYMPH_NODES, RATIO_WITHIN
from histokeras.analysis.lymph_truth_tables import NOT_STAGED
from histokeras.analysis.lymph_truth_text import (
    counts_line,
    headline,
    metastasis_line,
    node_rows,
    notes_of,
    patient_rows,
)
from histokeras.report import tables
from histokeras.report.colours import FAINT, OKABE_ITO
from histokeras.report.html import render, require_own_page, require_own_run_folder, write_page
from histokeras.report.lymph_numbers import share_text
from histokeras.report.lymph_told import rules_table
from histokeras.report.more_plots import records
from histokeras.report.number_plots import ends_of, square_axes
from histokeras.report.page_files import PageKind, files_table, read_finished, read_texts, started
from histokeras.report.plots import Key, Plot
from histokeras.report.run_files import RunFiles
from histokeras.report.segmentation_plots import numbers_of
from histokeras.report.svg import drawing, inline_svg
from histokeras.report.tables import Cell, Table
from histokeras.report.text import DASH, at, is_number, number, percent, plural
from histokeras.runs.record import read_record
from histokeras.types import PATIENT_ID, SLIDE_ID

_MOST = 20
_KIND = PageKind(
    what="comparison of lymph nodes",
    is_whole=lambda metrics: (
        metrics.get("task") == LYMPH_NODES and isinstance(metrics.get("figures"), dict)
    ),
    again="Give the same `histokeras evaluate` again.",
    files={
        "run.json": "what was done, with which settings, versions and inputs",
        "metrics.json": "all figures with intervals",
        "patients.csv": "one row a patient: what is true, what was found, and how they differ",
        "nodes.csv": "one row a node: found, missed, merged, split or invented, and both areas",
        "slides.csv": "one row a slide: Dice and IoU of nodes and tumour, AUC of tiles",
    },
)
_TEXTS = (PATIENT_ID, SLIDE_ID, "outcome", "pN", "pN_true", "flags")
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
    """Write the page of a comparison of lymph nodes with what was drawn.

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
    patients = numbers_of(read_texts(folder / "patients.csv", _KIND, (PATIENT_ID,)), _TEXTS)
    slides = numbers_of(read_texts(folder / "slides.csv", _KIND, (SLIDE_ID,)), _TEXTS)
    metrics, record = run.metrics, run.record
    plot = _scatter(patients, metrics)
    html = render(
        "lymph_truth.html.j2",
        title=run.name,
        subtitle=" · ".join(filter(None, [headline(metrics), started(record)])),
        headline=_headline(metrics),
        sentences=_sentences(metrics),
        figures=_figure_tables(metrics),
        plot=plot,
        stages=_stages_table(metrics),
        patients=_patients_table(patients, metrics),
        slides=_slides_table(slides),
        left_out=_left_out_table(metrics),
        rules=rules_table(record.get("settings") or {}),
        methods=_METHODS.format(unit=metrics["resampled_by"]),
        command=record.get("command_line", ""),
        settings=[
            tables.settings_table("Options of the command", at(record, "config")),
            tables.settings_table("Versions", record.get("versions")),
        ],
        files=files_table(folder, _KIND),
    )
    write_page(page, html, [] if plot is None else [plot])
    return page


def told_truth(folder: Path) -> tuple[str, list[Table]]:
    """Return what another page says of such a comparison: one line, and its figures.

    Raises:
        FeatureError: If the command did not end there (RUN_UNFINISHED), or a file is damaged.
        TableError: If a table of it cannot be read.
    """
    run: RunFiles = read_finished(folder, _KIND)
    return _headline(run.metrics), _figure_tables(run.metrics)


def _headline(metrics: Mapping[str, Any]) -> str:
    figures, unit = metrics["figures"], str(metrics["resampled_by"])
    found, n_true = metrics["counts"]["found"], metrics["n_nodes_true"]
    said = f"{found:,} of {plural(n_true, 'drawn lymph node')} found"
    error = at(figures, "T_MLN_mean_error", "value")
    if is_number(error):
        said += f"; T/MLN off by {100 * error:.1f} points on average"
    if is_number(at(figures, "right_pN", "value")):
        right, n = figures["right_pN"]["value"], figures["right_pN"]["n"]
        said += f"; pN right in {round(right * n):,} of {plural(n, unit)}"
    return f"{said}."


def _sentences(metrics: Mapping[str, Any]) -> list[str]:
    clauses = [f"Nodes: {counts_line(metrics)}"]
    clauses += [metastasis_line(metrics)] if metrics["has_tumour"] else []
    return [f"{text[0].upper()}{text[1:]}." for text in (*clauses, *notes_of(metrics))]


def _figure_tables(metrics: Mapping[str, Any]) -> list[Table]:
    unit = metrics["resampled_by"]
    level = f"Value [{100 * (1 - metrics['alpha']):g} % interval]"
    parts = ((f"Means over {unit}s", f"{unit.capitalize()}s", patient_rows(metrics)),
             ("Shares of the drawn nodes", "Nodes", node_rows(metrics)))  # fmt: skip
    return [
        Table(caption, ("Figure", level, counted), [[a, b, c] for a, b, c in rows])
        for caption, counted, rows in parts
        if rows
    ]


def _scatter(patients: pd.DataFrame, metrics: Mapping[str, Any]) -> Plot | None:
    """Draw the T/MLN that was found against the true one, a mark a patient."""
    names = ["T_MLN_mean_true", "T_MLN_mean"]
    if not set(names) <= set(patients):
        return None
    known = patients[names].dropna()
    if known.empty:
        return None
    low, high = ends_of(known.to_numpy(np.float64))
    ends = (max(low, -0.03), min(high, 1.03))
    title, unit = "T/MLN, found and true", str(metrics["resampled_by"])
    lacking = len(patients) - len(known)
    text = f"One mark a {unit}, n = {len(known):,}. The band is {100 * RATIO_WITHIN:g} points wide "
    text += "on either side of agreement."
    if lacking:
        text += f" {plural(lacking, unit)} without metastasis, true or found, cannot be drawn."
    with drawing("scatter"):
        figure, axes = square_axes()
        axes.fill_between(
            ends,
            [end - RATIO_WITHIN for end in ends],
            [end + RATIO_WITHIN for end in ends],
            color=FAINT,
            alpha=0.2,
            linewidth=0,
        )
        axes.plot(ends, ends, color=FAINT, linewidth=1, dashes=(3, 3))
        axes.plot(
            known[names[0]], known[names[1]], "o", color=OKABE_ITO[0], markersize=6, alpha=0.85,
            markeredgecolor="white", markeredgewidth=0.6,
        )  # fmt: skip
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        axes.set_aspect("equal")
        axes.set_xlabel("True T/MLN, mean")
        axes.set_ylabel("T/MLN found")
        svg = inline_svg(figure, name="scatter", title=title, text=text)
    keys = [Key(unit, OKABE_ITO[0], kind="dot"), Key("found = true", FAINT, (3, 3))]
    return Plot("scatter", title, svg, text, keys, known, records(known))


def _stages_table(metrics: Mapping[str, Any]) -> Table | None:
    """Return the true stages by those that were found, shaded by the share of the row."""
    if not metrics["has_tumour"]:
        return None
    stages, cells = metrics["pN"]["stages"], metrics["pN"]["confusion"]
    used = [i for i in range(len(stages)) if sum(cells[i]) or sum(row[i] for row in cells)]
    rows: list[list[str | Cell]] = []
    for i in used:
        total = sum(cells[i])
        shares = [cells[i][j] / total if total else 0.0 for j in used]
        counts = [cells[i][j] for j in used]
        rows.append([
            stages[i],
            *(Cell(f"{count:,}", percent(share) if total else "", shade=round(10 * share))
              for count, share in zip(counts, shares, strict=True)),
        ])  # fmt: skip
    head = ("True pN", *(f"found {stages[j]}" for j in used))
    return Table("Rows: the truth. Columns: what was found.", head, rows, css="confusion")


def _patients_table(patients: pd.DataFrame, metrics: Mapping[str, Any]) -> Table:
    """Return the patients, those who are most wrong first."""
    wrong = _wrongness(patients)
    order = wrong.sort_values([str(name) for name in wrong], ascending=False, kind="stable").index[
        :_MOST
    ]
    columns = {"n_nodes": "Nodes", "n_mln": "Metastatic", "pN": "pN", "T_MLN_mean": "T/MLN"}
    shown = {name: title for name, title in columns.items() if name in patients}
    rows = [
        [str(row[PATIENT_ID]), *(_pair(row, name) for name in shown), number(row["node_dice"])]
        for row in patients.loc[order].to_dict("records")
    ]
    unit = str(metrics["resampled_by"]).capitalize()
    head = (unit, *(f"{title}, found (drawn)" for title in shown.values()), "Node Dice")
    n = len(patients)
    notes = [f"The first {_MOST} of {n:,}: all stand in patients.csv."] if n > _MOST else []
    return Table("Those whose stage or T/MLN is most wrong come first", head, rows, notes)


def _wrongness(patients: pd.DataFrame) -> pd.DataFrame:
    found = pd.DataFrame(index=patients.index)
    if "pN" in patients:
        found["stage"] = (patients["pN"] != patients["pN_true"]).astype(float)
        found["ratio"] = patients["T_MLN_mean_error"].abs().fillna(0.0)
    found["nodes"] = (patients["n_nodes"] - patients["n_nodes_true"]).abs()
    found["dice"] = -patients["node_dice"].fillna(1.0)
    return found


def _pair(row: Mapping[Any, Any], name: str) -> str:
    """Return what was found and, in brackets, what was drawn."""
    said, true = (_shown(row[key], name) for key in (name, f"{name}_true"))
    return f"{said} ({true})"


def _shown(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value or NOT_STAGED
    if not is_number(value):
        return DASH
    return f"{int(value):,}" if name.startswith("n_") else f"{share_text(value)} %"


def _slides_table(slides: pd.DataFrame) -> Table:
    """Return the slides on which nodes, then tumour, were found worst."""
    wanted = {"node_dice": "Node Dice", "tumour_dice": "Tumour Dice", "tile_auc": "Tile AUC"}
    known = [name for name in wanted if name in slides]
    order = slides.sort_values(known, kind="stable").index[:_MOST]
    rows = [
        [str(row[SLIDE_ID]), str(row[PATIENT_ID]), _pair(row, "n_nodes"),
         *(number(row[name]) for name in known)]
        for row in slides.loc[order].to_dict("records")
    ]  # fmt: skip
    n = len(slides)
    notes = [f"The worst {_MOST} of {n:,}: all stand in slides.csv."] if n > _MOST else []
    head = ("Slide", "Patient", "Nodes, found (drawn)", *(wanted[name] for name in known))
    return Table("The slides that went worst come first", head, rows, notes)


def _left_out_table(metrics: Mapping[str, Any]) -> Table | None:
    rows = [[str(name), str(why)] for name, why in metrics["left_out"].items()]
    return Table("Slides that were not compared", ("Slide", "Why"), rows[:200]) if rows else None
