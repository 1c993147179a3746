"""``write_report``: the page of one run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from histokeras.errors import ConfigError, FeatureError
from histokeras.report import tables
from histokeras.report.cautions import cautions
from histokeras.report.cluster_page import write_cluster_page
from histokeras.report.composition_page import write_composition_page
from histokeras.report.drawn import read_drawn
from histokeras.report.html import (
    MAX_BYTES,
    data_folder,
    render,
    require_own_page,
    require_own_run_folder,
    write_page,
)
from histokeras.report.lymph_page import write_lymph_pages
from histokeras.report.lymph_truth_page import is_truth_folder, write_truth_page
from histokeras.report.methods import methods
from histokeras.report.more_plots import history_plots, scores_plot
from histokeras.report.number_page import MORE_THAN_COLOUR, NUMBER_FILES, number_content
from histokeras.report.pictures import Pictures, left_out_text, read_pictures
from histokeras.report.plots import Plot, calibration_plot, curve_plot
from histokeras.report.risk_page import RISK_FILES, risk_content
from histokeras.report.run_files import RunFiles, read_run
from histokeras.report.segmentation_page import write_segmentation_page
from histokeras.report.sites import site_section
from histokeras.report.strata import strata_left_out, strata_tables
from histokeras.report.survival_page import write_survival_page
from histokeras.report.text import at
from histokeras.report.words import verdict
from histokeras.runs.record import read_record
from histokeras.types import CLASSIFICATION, REGRESSION, SURVIVAL

_MARGIN_BYTES = 200_000
_DRAWN_BYTES = 2_000_000
_FILES = {
    "run.json": "what was done, with which settings, versions and inputs",
    "metrics.json": "all figures with intervals",
    "curves.json": "points of the ROC, precision-recall and calibration curves",
    "patients.csv": "one row a patient: side, label, probabilities, predicted class, type and site",
    "slides.csv": "one row a slide: side, label, probabilities, predicted class",
    "predictions": "one table a slide: the probabilities of every tile",
    "split.csv": "which patient is on which side",
    "dropped.csv": "what was left out, and why",
    "failures.csv": "slides that failed, and what to do",
    "duplicates.csv": "near-identical tiles or slides",
    "history.csv": "training curves",
    "folds": "head and training curves of each fold",
    "head": "the trained head, for `histokeras predict`",
    "heatmaps": "maps of slides, GeoJSON for QuPath, heatmaps.csv",
    "explain": "where in tiles the network sees a class, explain.csv",
    "pictures": "the pictures of this page",
    "pictures.csv": "what each picture shows",
}
_OTHERS = {
    "cluster": write_cluster_page,
    "composition": write_composition_page,
    "fit-segmenter": write_segmentation_page,
    "lymph-nodes": write_lymph_pages,
    "survival": write_survival_page,
}
"""Commands whose folders have a page of another kind."""


def write_report(run: str | Path | object, path: str | Path | None = None) -> Path:
    """Write the page of a run, and the data of its plots beside it.

    The page needs no script and asks for nothing: pictures and plots stand inside it.

    Args:
        run: The run folder, or an object whose ``folder`` is it; or what ``cluster -o``,
            ``composition -o``, ``survival -o``, ``fit-segmenter -o`` or ``lymph-nodes -o`` was
            given.
        path: The page; ``report.html`` in the run folder if None. Plot data go to ``report/``
            beside it (``<stem>_files/`` if the page is not called report.html).

    Returns:
        The page, below 5 MB.

    Raises:
        FeatureError: If there is no finished run (RUN_MISSING, RUN_UNFINISHED).
        TableError: If a table of it cannot be read.
        ConfigError: If ``path`` is of other origin, or ``run`` has no folder.
        OutputError: If it cannot be written.
    """
    folder = _folder(run)
    command = str(read_record(folder).get("command", ""))
    if command == "clinical":
        raise FeatureError(
            f"{folder} holds a clinical link, whose report.html was written with it.",
            code="RUN_MISSING",
            hint="Give `histokeras clinical` again for a new page.",
        )
    if command in _OTHERS:
        return _OTHERS[command](folder, Path(path) if path is not None else None)
    if is_truth_folder(folder):
        return write_truth_page(folder, Path(path) if path is not None else None)
    files = read_run(folder)
    page = Path(path) if path is not None else files.folder / "report.html"
    require_own_page(page)
    require_own_run_folder(page, files.folder)
    content, plots = _content(files)
    content["files"] = _files(files, page)
    content["drawn"], content["not_drawn"] = read_drawn(files.folder, _DRAWN_BYTES)
    html = render("run.html.j2", **content, **_galleries(Pictures()))
    room = MAX_BYTES - _MARGIN_BYTES - len(html.encode("utf-8"))
    pictures = read_pictures(files, max(room, 0))
    if pictures.galleries or pictures.left_out:
        html = render("run.html.j2", **content, **_galleries(pictures))
    write_page(page, html, plots)
    return page


def _folder(run: str | Path | object) -> Path:
    folder = run if isinstance(run, (str, Path)) else getattr(run, "folder", None)
    if folder is None:
        raise ConfigError(
            f"a report is of one run: its folder, or what fit_head returned. Received: "
            f"{type(run).__name__}.",
            hint="Several runs: `histokeras report RUN RUN`.",
        )
    return Path(folder)


def _galleries(pictures: Pictures) -> dict[str, Any]:
    kinds = ("overview", "sample", "wrong", "right", "low", "high")
    return {
        "galleries": {kind: pictures.of(kind) for kind in kinds},
        "tile_labels": pictures.tile_labels,
        "of_bags": pictures.of_bags,
        "left_out": left_out_text(pictures),
    }


def _content(run: RunFiles) -> tuple[dict[str, Any], list[Plot]]:
    record = run.record
    own, plots = _CONTENT.get(run.task, _class_content)(run)
    sides = own.pop("sides")
    content = {
        **own,
        "title": run.name,
        "subtitle": _subtitle(run),
        "cautions": cautions(run),
        "funnel": [
            tables.funnel_table(run),
            sides,
            tables.dropped_table(run),
            tables.pairs_table(run),
        ],
        "not_evaluated": tables.not_evaluated(run),
        "strata": strata_tables(run),
        "strata_left_out": strata_left_out(run),
        "sites": site_section(run),
        "methods": methods(run),
        "command": _commands(record),
        "settings": [
            tables.settings_table("Options of the command", at(record, "config")),
            tables.settings_table("How the features were made", _settings(record)),
            tables.settings_table("Split", record.get("split")),
            tables.settings_table("Versions", record.get("versions")),
            tables.settings_table("Hardware", record.get("hardware")),
        ],
    }
    return content, plots


def _class_content(run: RunFiles) -> tuple[dict[str, Any], list[Plot]]:
    found = {
        "roc": curve_plot(run, "roc"),
        "pr": curve_plot(run, "pr"),
        "calibration": calibration_plot(run),
        "scores": scores_plot(run),
    }
    confusion, history = tables.confusion_table(run), history_plots(run)
    plots = [plot for plot in (*found.values(), *history) if plot is not None]
    if confusion is not None:
        plots.append(_confusion_data(run, confusion.caption))
    content = {
        "verdict": verdict(run),
        "sides": tables.sides_table(run),
        "figures": [*tables.figure_tables(run), tables.other_sides_table(run)],
        "baselines": tables.baseline_table(run),
        "baselines_title": MORE_THAN_COLOUR,
        "folds": tables.fold_table(run),
        "plots": found,
        "history": history,
        "confusion": confusion,
        "calibration": tables.calibration_table(run),
    }
    return content, plots


_CONTENT = {
    CLASSIFICATION: _class_content,
    REGRESSION: number_content,
    SURVIVAL: risk_content,
}
_OWN_FILES = {REGRESSION: NUMBER_FILES, SURVIVAL: RISK_FILES}


def _settings(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = at(record, "features", "settings")
    return found


def _commands(record: Mapping[str, Any]) -> str:
    """Return what was typed for features, head and evaluation, as far as known, a line each."""
    lines = [
        at(record, "features", "command_line"),
        at(record, "predictions", "command_line"),
        record.get("command_line"),
    ]
    return "\n".join(dict.fromkeys(str(line) for line in lines if line))


def _subtitle(run: RunFiles) -> str:
    date = str(run.record.get("started") or "")[:16].replace("T", " ")
    what = {"fit-head": "Trained head", "finetune": "Fine-tuned", "evaluate": "Evaluation"}.get(
        str(run.record.get("command")), ""
    )
    backbone = at(run.record, "features", "settings", "backbone")
    parts = (what, str(backbone or ""), f"{date} UTC" if date else "")
    return " · ".join(part for part in parts if part)


def _confusion_data(run: RunFiles, caption: str) -> Plot:
    content = {"classes": run.classes, **run.figures["confusion"]}
    rows = [
        {"true": true, "predicted": predicted, "count": count, "row_share": share}
        for true, counts, shares in zip(
            run.classes, content["counts"], content["row_shares"], strict=False
        )
        for predicted, count, share in zip(run.classes, counts, shares, strict=False)
    ]
    return Plot("confusion", "Confusion", Markup(""), caption, (), pd.DataFrame(rows), content)


def _files(run: RunFiles, page: Path) -> tables.Table:
    files = {**_FILES, **_OWN_FILES.get(run.task, {})}
    rows = [
        [f"{name}/" if (run.folder / name).is_dir() else name, text]
        for name, text in files.items()
        if (run.folder / name).exists()
    ]
    rows.append([f"{data_folder(page).name}/", "data of every plot of this page, CSV and JSON"])
    return tables.Table("Files of the run", ("File", "Holds"), rows, css="settings")
