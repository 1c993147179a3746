"""The page of ``histokeras cluster``: agreement, map, gallery, clusters in each patient."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.errors import FeatureError
from histokeras.report import tables
from histokeras.report.cluster_bars import share_plot
from histokeras.report.cluster_words import caution, headline, sentences, unit_of
from histokeras.report.html import render, require_own_page, require_own_run_folder, write_page
from histokeras.report.page_files import PageKind, files_table, read_finished, read_texts, started
from histokeras.report.pictures import Picture, shrunk_jpeg
from histokeras.report.run_files import RunFiles
from histokeras.report.tables import Cell, Table
from histokeras.report.text import at, clean, number, percent, plural
from histokeras.runs.record import read_object, read_record
from histokeras.types import KMEANS

METHODS = {
    "dkm-a": "deep k-means, annealed",
    "dkm-p": "deep k-means, pretrained",
    "kmeans": "k-means",
}
_SIDES_PX, _MOST_BYTES = (6000, 3000, 1500), 3_000_000
_KIND = PageKind(
    what="clusters",
    is_whole=lambda metrics: isinstance(at(metrics, "agreement", str(metrics.get("method"))), dict),
    again="Cluster anew, with --overwrite.",
    files={
        "run.json": "what was done, with which settings, versions and inputs",
        "metrics.json": "all figures, of every side",
        "patients.csv": "one row a patient: side, share of each cluster, label, type and site",
        "slides.csv": "one row a slide: the same",
        "clusters.csv": "one row a tile: where it lies, its cluster, its distance to the centre",
        "dropped.csv": "what was left out, and why",
        "history.csv": "training curves",
        "map.png": "the map of this page",
        "gallery.png": "the gallery of this page",
        "model": "the clusters: weights and what belongs to them",
    },
)


def write_cluster_page(folder: Path, page: Path | None = None) -> Path:
    """Write the page of a folder of clusters. It needs no script and asks for nothing.

    Args:
        folder: What ``cluster -o`` was given.
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
    run = _read(folder)
    metrics, record = run.metrics, run.record
    unit = unit_of(metrics)
    shares = _shares(folder, unit)
    card = clean(read_object(folder / "model" / "model.json"))
    warned = caution(metrics)
    html = render(
        "cluster.html.j2",
        title=run.name,
        subtitle=_subtitle(metrics, record, card),
        headline=headline(metrics),
        sentences=sentences(metrics),
        cautions=[warned] if warned else [],
        note=metrics.get("note") or "",
        unit=unit_of(metrics),
        sizes=_size_table(metrics),
        agreement=_agreement_tables(metrics),
        kmeans_note=metrics.get("kmeans_note", ""),
        map=_picture(folder / "map.png", "Map of tiles in the colours of their clusters"),
        gallery=_picture(folder / "gallery.png", "Tiles nearest the centre of each cluster"),
        has_gallery=(folder / "gallery.png").is_file(),
        map_note=at(metrics, "map", "note") or "",
        bars=share_plot(shares, unit, int(metrics["n_clusters"])),
        dropped=tables.dropped_table(run),
        command=record.get("command_line", ""),
        settings=[
            tables.settings_table("Options of the command", at(record, "config")),
            tables.settings_table("How the features were made", at(card, "features")),
            tables.settings_table("Split", record.get("split")),
            tables.settings_table("Versions", record.get("versions")),
            tables.settings_table("Hardware", record.get("hardware")),
        ],
        files=files_table(folder, _KIND),
    )
    write_page(page, html, [])
    return page


def told_clusters(folder: Path) -> tuple[str, list[Table]]:
    """Return what another page says of a folder of clusters: one line, and the agreement.

    Raises:
        FeatureError: If the command did not end there (RUN_UNFINISHED), or a file is damaged.
        TableError: If a table of it cannot be read.
    """
    metrics = _read(folder).metrics
    return headline(metrics), _agreement_tables(metrics)[:1]


def _read(folder: Path) -> RunFiles:
    if read_record(folder).get("assigned"):
        raise FeatureError(
            f"{folder} holds tiles of new slides, assigned to clusters: these have no page.",
            code="RUN_MISSING",
            hint="Look at clusters.csv, slides.csv and patients.csv there.",
        )
    return read_finished(folder, _KIND)


def _shares(folder: Path, unit: str) -> pd.DataFrame:
    """Return the share of each cluster in patients, or in slides where patients are unknown."""
    # A tile has one cluster: no bar.
    table = (
        pd.DataFrame()
        if unit == "tile"
        else read_texts(folder / f"{unit}s.csv", _KIND, optional=True)
    )
    numbers = [str(name) for name in table if str(name).startswith("share_")]
    return table.assign(**{name: pd.to_numeric(table[name]) for name in numbers})


def _subtitle(metrics: Mapping[str, Any], record: Mapping[str, Any], card: Any) -> str:
    parts = (
        f"{metrics['n_clusters']} clusters by {METHODS.get(metrics['method'], metrics['method'])}",
        plural(sum(metrics["n_tiles"].values()), "tile"),
        str(at(card, "features", "backbone") or ""),
        started(record),
    )
    return " · ".join(part for part in parts if part)


def _size_table(metrics: Mapping[str, Any]) -> Table:
    sizes = metrics.get("cluster_tiles") or []
    every = max(sum(sizes), 1)
    rows: list[list[str | Cell]] = [
        [f"cluster {i}", Cell(f"{n:,}", bar=n / every), percent(n / every)]
        for i, n in enumerate(sizes)
    ]
    notes = ["The fit had no use for a cluster without tiles: ask for fewer with --k."]
    return Table(
        "Tiles of each cluster",
        ("Cluster", "Tiles", "Share"),
        rows,
        notes if 0 in sizes else (),
        css="funnel",
    )


def _agreement_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Return the figures of test, then of all sides; train and val are left to metrics.json."""
    own = metrics["agreement"][metrics["method"]]
    beside = metrics["agreement"].get(KMEANS) if metrics["method"] != KMEANS else None
    unit, found = unit_of(metrics), []
    titles = {
        "test": f"On test: {unit}s that the clusters were not fitted to",
        "all": "On all sides together",
    }
    # Where tiles stand in for patients, both rows would be the same.
    levels = {"tile": "tile"} if unit == "tile" else {"patient": unit, "tile": "tile"}
    for side, title in titles.items():
        rows = [
            _agreement_row(word, name, figures, at(beside, side, level, name))
            for level, word in levels.items()
            for name, figures in (at(own, side, level) or {}).items()
        ]
        if rows:
            head = ("Compared with", "Groups", "NMI", "ARI", "ACC", "A constant's ACC")
            found.append(Table(title, head, rows))
    return found


def _agreement_row(word: str, name: str, own: Any, beside: Any) -> list[str | Cell]:
    words = {"slide_id": "slide", "tumour_type": "tumour type"}.get(name, name)
    cells = [
        Cell(number(own[key]), below=f"k-means {number(beside[key])}" if beside else "")
        for key in ("nmi", "ari", "acc")
    ]
    return [
        f"{words}, of {plural(own['n'], word)}",
        f"{own['n_groups']:,}",
        *cells,
        number(own["largest_group"]),
    ]


def _picture(path: Path, alt: str) -> Picture | None:
    """Return a picture, smaller if it must be; None if there is none, or it is too large."""
    for side in _SIDES_PX:
        encoded = shrunk_jpeg(path, side)
        if encoded is None:
            return None
        data, (width, height) = encoded
        if len(data) * 4 // 3 <= _MOST_BYTES // 2:
            source = f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
            return Picture(source, alt, (), width, height)
    return None
