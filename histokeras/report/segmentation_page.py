"""The page of ``histokeras fit-segmenter``: figures beside floors, shares, outlines, curves."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.analysis.segmentation import NETWORK
from histokeras.report import segmentation_tables as own
from histokeras.report import tables
from histokeras.report.html import (
    MAX_BYTES,
    render,
    require_own_page,
    require_own_run_folder,
    write_page,
)
from histokeras.report.more_plots import history_plots
from histokeras.report.page_files import PageKind, files_table, read_finished, read_texts, started
from histokeras.report.run_files import RunFiles, read_histories
from histokeras.report.segmentation_pictures import outline_galleries, outline_keys
from histokeras.report.segmentation_plots import dice_plot, numbers_of, share_plot
from histokeras.report.segmentation_words import (
    headline,
    segmentation_cautions,
    segmentation_methods,
    segmentation_verdict_of,
)
from histokeras.report.tables import Table
from histokeras.report.text import at, clean
from histokeras.runs.record import read_object
from histokeras.types import FOLD

_MARGIN_BYTES = 200_000
_TEXTS = ("image_id", "patient_id", "slide_id")
_KIND = PageKind(
    what="segmentation",
    is_whole=lambda metrics: (
        metrics.get("task") == "segmentation"
        and isinstance(at(metrics, "models", NETWORK, "pooled"), dict)
    ),
    again="Run `histokeras fit-segmenter` anew, with --overwrite.",
    files={
        "run.json": "what was done, with which settings, versions and inputs",
        "metrics.json": "all figures with intervals",
        "images.csv": "one row a test image: pixels by true and predicted class, figures, of the "
        "network and of each floor",
        "patients.csv": "one row a patient: true and predicted share, figures",
        "split.csv": "which patient is on which side",
        "dropped.csv": "what was left out, and why",
        "failures.csv": "images that failed, and what to do",
        "history.csv": "training curves",
        "folds": "network and training curves of each fold",
        "segmenter": "the trained network, for `histokeras segment`",
        "predictions": "the predicted class mask of each test image",
        "pictures": "test images, small, with their true and predicted masks",
    },
)


def write_segmentation_page(folder: Path, page: Path | None = None) -> Path:
    """Write the page of a run of fit-segmenter. It needs no script and asks for nothing.

    Args:
        folder: What ``fit-segmenter -o`` was given.
        page: The page; ``report.html`` in the folder if None.

    Returns:
        The page, below 5 MB.

    Raises:
        FeatureError: If the command did not end there (RUN_UNFINISHED), or a file is damaged.
        TableError: If a table of it cannot be read.
        ConfigError: If ``page`` is of other origin.
        OutputError: If it cannot be written.
    """
    page = page or folder / "report.html"
    require_own_page(page)
    require_own_run_folder(page, folder)
    run = replace(read_finished(folder, _KIND), histories=_histories(folder))
    metrics, record = run.metrics, run.record
    card = _card(folder, record)
    images = numbers_of(read_texts(folder / "images.csv", _KIND, ("image_id",)), _TEXTS)
    patients = numbers_of(read_texts(folder / "patients.csv", _KIND), _TEXTS)
    found = {"dice": dice_plot(images, metrics), "scatter": share_plot(patients, metrics)}
    history = history_plots(run)
    content = {
        "title": run.name,
        "subtitle": _subtitle(record, card),
        "verdict": segmentation_verdict_of(metrics),
        "cautions": segmentation_cautions(metrics, card),
        "funnel": tables.funnel_table(run, "From the images found to the figures"),
        "dropped": tables.dropped_table(run),
        "notes": [note for note in (record.get("note"), *(record.get("notes") or [])) if note],
        "figures": own.figure_table(metrics),
        "models": own.model_table(metrics),
        "classes": own.class_table(metrics),
        "confusion": own.confusion_table(metrics),
        "shares": own.share_table(metrics),
        "unit": metrics["resampled_by"],
        "folds": own.fold_table(metrics),
        "plots": found,
        "history": history,
        "keys": outline_keys(str(metrics["positive"] or "each class")),
        "methods": segmentation_methods(record, metrics, card),
        "command": record.get("command_line", ""),
        "settings": [
            tables.settings_table("Options of the command", at(record, "config")),
            tables.settings_table("The network", _told_card(card)),
            tables.settings_table("Split", record.get("split")),
            tables.settings_table("Versions", record.get("versions")),
            tables.settings_table("Hardware", record.get("hardware")),
        ],
        "files": files_table(folder, _KIND),
    }
    html = render("segmentation.html.j2", galleries=[], **content)
    room = MAX_BYTES - _MARGIN_BYTES - len(html.encode("utf-8"))
    galleries = outline_galleries(folder, images, metrics, max(room, 0))
    if galleries:
        html = render("segmentation.html.j2", galleries=galleries, **content)
    write_page(page, html, [plot for plot in (*found.values(), *history) if plot is not None])
    return page


def told_segmentation(folder: Path) -> tuple[str, list[Table]]:
    """Return what another page says of a run: one line, and the network beside its floors.

    Raises:
        FeatureError: If the command did not end there (RUN_UNFINISHED), or a file is damaged.
        TableError: If a table of it cannot be read.
    """
    run: RunFiles = read_finished(folder, _KIND)
    text = str(at(run.metrics, "verdict", "text") or "")
    return f"{headline(run.metrics)}. {text}".strip(), [own.model_table(run.metrics)]


def _histories(folder: Path) -> list[pd.DataFrame]:
    """Return the training curves, one table a fold, however many files they stand in."""
    return [
        part
        for table in read_histories(folder)
        for _, part in (table.groupby(FOLD) if FOLD in table else [(0, table)])
    ]


def _card(folder: Path, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what all networks of the run have in common; {} if nothing tells."""
    if isinstance(record.get("segmenter"), dict):
        told: Mapping[str, Any] = record["segmenter"]
        return told
    cards = [folder / "segmenter" / "model.json", *sorted(folder.glob("folds/*/segmenter/*.json"))]
    path = next((path for path in cards if path.is_file()), None)
    found: Mapping[str, Any] = clean(read_object(path)) if path is not None else {}
    return found


def _told_card(card: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a reader wants to know of a card: no digests of each array."""
    told = {key: value for key, value in card.items() if not isinstance(value, (dict, list))}
    return told or None


def _subtitle(record: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    network = " on ".join(str(card[key]) for key in ("network", "backbone") if card.get(key))
    return " · ".join(filter(None, ["Segmentation", network, started(record)]))
