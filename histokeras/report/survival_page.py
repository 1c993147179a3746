"""The page of ``histokeras survival``: curves, hazard ratios, models beside clinical columns."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.analysis.survival_words import hazard_title, model_title, p_text
from histokeras.report import tables
from histokeras.report.html import render, require_own_page, require_own_run_folder, write_page
from histokeras.report.more_plots import forest_plot
from histokeras.report.page_files import PageKind, files_table, read_finished, read_texts, started
from histokeras.report.survival_plots import curve_plot, hazard_plot
from histokeras.report.survival_words import cautions, headline, methods, sentences
from histokeras.report.tables import Cell, Table
from histokeras.report.text import DASH, at, interval, plural

_NUMBERS = ("time", "survival", "low", "high", "at_risk", "events")
_KIND = PageKind(
    what="survival",
    is_whole=lambda metrics: (
        isinstance(at(metrics, "compared"), dict) and bool(metrics.get("curves"))
    ),
    again="Run `histokeras survival` anew, with --overwrite.",
    files={
        "run.json": "what was done, with which settings, versions and inputs",
        "metrics.json": "all figures",
        "cox.csv": "one row a term of each Cox model, or why there is none",
        "km.csv": "the steps of every curve, with bands and numbers at risk",
        "patients.csv": "one row a patient: outcome, fold in which it was tested, risks and groups",
        "dropped.csv": "patients, rows and columns that were left out, and why",
    },
)


def write_survival_page(folder: Path, page: Path | None = None) -> Path:
    """Write the page of a folder of survival. It needs no script and asks for nothing.

    Args:
        folder: What ``survival -o`` was given.
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
    km = read_texts(folder / "km.csv", _KIND, ("curve", *_NUMBERS))
    km = km.assign(**{name: pd.to_numeric(km[name], errors="coerce") for name in _NUMBERS})
    cox = read_texts(folder / "cox.csv", _KIND, ("model", "term", "q"))
    unit = str(metrics["time_unit"])
    drawn = [
        curve_plot(block, km[km["curve"] == block["name"]], unit, f"curve-{i}")
        for i, block in enumerate(metrics["curves"])
    ]
    html = render(
        "survival.html.j2",
        title=run.name,
        subtitle=_subtitle(metrics, record),
        headline=headline(metrics),
        sentences=sentences(metrics),
        cautions=cautions(metrics),
        compared=_compared_table(metrics),
        forest=_c_index_plot(metrics),
        curves=[plot for plot in drawn if plot is not None],
        hazards=hazard_plot(metrics["models"]),
        hazard_tables=_hazard_tables(metrics, cox),
        funnel=tables.funnel_table(run),
        dropped=tables.dropped_table(run),
        methods=methods(metrics),
        notes=list(record.get("notes") or []),
        command=record.get("command_line", ""),
        settings=[
            tables.settings_table("Options of the command", at(record, "config")),
            tables.settings_table("Versions", record.get("versions")),
            tables.settings_table("Hardware", record.get("hardware")),
        ],
        files=files_table(folder, _KIND),
    )  # fmt: skip
    write_page(page, html, [])
    return page


def told_survival(folder: Path) -> tuple[str, list[Table]]:
    """Return what another page says of a folder of survival: one line, and the models compared.

    Raises:
        FeatureError: If the command did not end there (RUN_UNFINISHED), or a file is damaged.
    """
    metrics = read_finished(folder, _KIND).metrics
    table = _compared_table(metrics)
    return headline(metrics), [] if table is None else [table]


def _subtitle(metrics: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    parts = ("Survival", plural(metrics["n"], "patient"), started(record))
    return " · ".join(part for part in parts if part)


def _compared_table(metrics: Mapping[str, Any]) -> Table | None:
    models = at(metrics, "compared", "models") or {}
    if not at(metrics, "compared", "computed"):
        return None
    rows: list[list[str | Cell]] = []
    for name, model in models.items():
        if "problem" in model:
            rows.append([model_title(name), "not computed", model["problem"], DASH])
            continue
        less = model.get("difference")
        beyond = interval(less, signed=True) if less else DASH
        rows.append([model_title(name), interval(model["c_index"]), beyond, _choice(model)])
    head = ("Model", "C-index", "Beyond clinical columns alone", "Penalty, in events")
    notes = ["The penalty holds coefficients back: 0.01 hardly, 10 nearly to nothing."]
    return Table("C-index of patients that the models did not see", head, rows, notes)


def _choice(model: Mapping[str, Any]) -> str:
    found = sorted({choice["penalty_in_events"] for choice in model["choices"]})
    said = f"{found[0]:g}" + (f" to {found[-1]:g}" if len(found) > 1 else "")
    sizes = sorted({choice["n_components"] for choice in model["choices"]} - {0})
    if sizes:
        said += f"; {sizes[0]}" + (f" to {sizes[-1]}" if len(sizes) > 1 else "") + " components"
    return said


def _c_index_plot(metrics: Mapping[str, Any]) -> Any:
    models = at(metrics, "compared", "models") or {}
    rows = [(model_title(name), m["c_index"]) for name, m in models.items() if "c_index" in m]
    plot = forest_plot(rows, "C-index") if rows else None
    return None if plot is None else replace(plot, title="C-index of each model")


def _hazard_tables(metrics: Mapping[str, Any], cox: pd.DataFrame) -> list[Table]:
    if metrics["few_events"]:
        return []
    names = dict.fromkeys(str(model["model"]) for model in metrics["models"])
    return [_hazard_table(name, metrics, cox) for name in names]


def _hazard_table(model: str, metrics: Mapping[str, Any], cox: pd.DataFrame) -> Table:
    """Return the terms of the models of one name, and why others have none."""
    blocks = [block for block in metrics["models"] if block["model"] == model]
    alone = model == "univariable"
    q = dict(zip(cox["term"][cox["model"] == model], cox["q"][cox["model"] == model], strict=True))
    rows: list[list[str | Cell]] = []
    notes = []
    for block in blocks:
        for term in block["terms"]:
            found = q.get(term["name"], "")
            rows.append([
                term["name"],
                f"{term['hazard_ratio']:.2f} [{term['low']:.2f}, {term['high']:.2f}]",
                _bare(term["p"]),
                *([_bare(float(found)) if found else DASH] if alone else []),
                _steady(term),
                f"{block['n']:,} / {block['n_events']:,}",
            ])  # fmt: skip
        if block["problem"]:
            named = f"{block['columns'][0]}: " if alone else ""
            notes.append(f"{named}not computed: {block['problem']}.")
        notes += [f"{note[0].upper()}{note[1:]}." for note in block["notes"]]
    head = ["Term", "Hazard ratio", "p", *(["q"] if alone else []), "Same over time?",
            "Patients / events"]  # fmt: skip
    return Table(hazard_title(model), head, rows, notes)


def _bare(p: float) -> str:
    return p_text(p).removeprefix("p = ").removeprefix("p ")


def _steady(term: Mapping[str, Any]) -> str:
    p = term["proportional_p"]
    if p is None:
        return DASH
    return f"no ({p_text(p)})" if p < 0.05 else f"not refuted ({p_text(p)})"
