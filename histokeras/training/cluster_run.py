"""Cluster a study into a folder: tables, figures, the model and the record."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.clustering import agreement, compare_agreement
from histokeras.cohort.categories import SITE, patient_categories
from histokeras.errors import OutputError
from histokeras.features.index import FeatureIndex
from histokeras.features.store import read_extras, read_features
from histokeras.files import (
    prepare_folder,
    remove,
    write_csv,
    write_json,
)
from histokeras.runs.record import RunRecord, require_own_folder
from histokeras.runs.same import require_same_inputs
from histokeras.training.cluster import ClusterConfig, FittedClusters, fit_clusters
from histokeras.training.cluster_file import write_clusters
from histokeras.training.cluster_job import ClusterJob, ClusterStudy
from histokeras.training.cluster_map import ClusterMap, map_tiles
from histokeras.training.rows import TileRows
from histokeras.training.vectors import MemoryVectors, Vectors, open_vectors
from histokeras.types import KMEANS, LABEL, PATIENT_ID, SLIDE_ID, SPLIT, SPLITS, TILE

CLUSTER, DISTANCE = "cluster", "distance"
MAP, GALLERY = "map.png", "gallery.png"
OUTPUTS = ("metrics.json", "model", "clusters.csv", "slides.csv", "patients.csv", "history.csv",
           "dropped.csv", MAP, GALLERY, "report.html")  # fmt: skip
"""What the folder holds beside run.json; pictures and the page are drawn afterwards."""
_WHOLE = ("metrics.json", "model/model.json", "clusters.csv", "slides.csv", "patients.csv", MAP)
_SHOWN, _SHOWN_EACH = 10, 3
"""Tiles of a cluster in the gallery, and at most of one patient."""


@dataclass(frozen=True)
class Clustered:
    """What was found.

    Attributes:
        tiles: One row a tile: ``slide_id``, ``x``, ``y`` (or ``tile``), ``patient_id``, ``split``,
            ``cluster``, ``distance``.
        metrics: As in metrics.json.
        map: Where a sample of tiles lies.
        nearest: For each cluster JPEGs of the tiles nearest its centre, nearest first.
        limit: Of whom at most so many of these are, in words; "" for no limit.
    """

    tiles: pd.DataFrame
    metrics: dict[str, Any]
    map: ClusterMap
    nearest: list[list[bytes]]
    limit: str


def run_clusters(
    job: ClusterJob,
    study: ClusterStudy,
    folder: Path,
    *,
    config: Mapping[str, Any],
    command_line: str = "",
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Clustered | None:
    """Fit clusters on train, assign every tile, and write what was found.

    Args:
        job: What to cluster.
        study: From :func:`prepare_clusters`.
        folder: The output folder.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.
        overwrite: Whether another run may be replaced.
        say: Called with a line before each fit.

    Returns:
        What was found; None if this very run stands there already, finished.

    Raises:
        FeatureError: If another run stands there (CONFIG_MISMATCH).
        ConfigError: If something else stands there.
        OutputError: If it cannot be written.
    """
    require_own_folder(folder, ("cluster",), OUTPUTS)
    if not overwrite:
        finished = require_same_inputs(folder, study.inputs)
        if finished and all((folder / name).is_file() for name in _WHOLE):
            return None
    prepare_folder(folder)
    remove(folder, OUTPUTS)
    record = RunRecord("cluster", config, command_line=command_line)
    record.facts = {
        "inputs": study.inputs,
        "note": study.note,
        "split": {"signed": study.split.signed, "sha256": study.split.digest, **study.split.meta},
        "n_dropped": len(study.dropped),
    }
    record.write(folder, status="running")
    try:
        result = _clustered(job, study, folder, say)
    except BaseException:
        with suppress(OutputError):
            record.write(folder, status="interrupted")
        raise
    record.write(folder, status="done")
    return result


def _clustered(
    job: ClusterJob, study: ClusterStudy, folder: Path, say: Callable[[str], None]
) -> Clustered:
    def opened(side: str | None) -> Vectors:
        rows = study.rows if side is None else study.rows.on_side(side)
        return open_vectors(
            rows.parts(study.index), study.index.n_features, memory_gb=job.memory_gb
        )

    train = opened("train")
    say(f"Fitting {job.clusters.n_clusters} clusters to {len(train)} train tiles.")
    fitted = fit_clusters(train, job.clusters)
    every = opened(None)
    tiles = tile_table(study.index, study.rows)
    tiles[CLUSTER], tiles[DISTANCE] = fitted.assign(every)
    metrics: dict[str, Any] = {
        "method": job.clusters.method,
        "n_clusters": job.clusters.n_clusters,
        "note": study.note,
        "unit": _unit(tiles),
        "n_tiles": tiles[SPLIT].value_counts().to_dict(),
        "cluster_tiles": np.bincount(tiles[CLUSTER], minlength=job.clusters.n_clusters).tolist(),
        "agreement": {job.clusters.method: _figures(tiles, study)},
    }
    if job.clusters.method != KMEANS:
        metrics["agreement"][KMEANS] = None
        if isinstance(train, MemoryVectors):
            plain = fit_clusters(train, replace(job.clusters, method=KMEANS))
            beside = tiles.assign(**{CLUSTER: plain.assign(every)[0]})
            metrics["agreement"][KMEANS] = _figures(beside, study)
            tiles[KMEANS] = beside[CLUSTER]
        else:
            metrics["kmeans_note"] = "not fitted: the train features are larger than --memory-gb"
    metrics["site_or_label"] = _site_or_label(_by_patient(tiles, study), job.clusters.seed)
    drawn = map_tiles(train, every, tiles, job.projection, job.clusters.seed)
    metrics["map"] = {
        "method": job.projection.name, "axes": drawn.axes, "note": job.projection.note
    }  # fmt: skip
    _write(folder, study, tiles, fitted, job.clusters)
    write_json(folder / "metrics.json", metrics)
    nearest, limit = _nearest(study, tiles, job.clusters.n_clusters)
    return Clustered(tiles, metrics, drawn, nearest, limit)


def tile_table(index: FeatureIndex, rows: TileRows) -> pd.DataFrame:
    """Return where each tile lies and whose it is, in the order of the rows.

    Args:
        index: The feature files.
        rows: The tiles, their units with ``patient_id`` and ``split``.
    """
    parts = []
    names = [SLIDE_ID, "x", "y"] if index.tiles is None else [TILE]
    for file, part in rows.of_files():
        known = read_features(index.paths[file], vectors=False).tiles
        parts.append(known[names].iloc[rows.row[part]])
    table = pd.concat(parts, ignore_index=True)
    units = rows.units.iloc[rows.unit].reset_index(drop=True)
    if index.tiles is not None:
        table[SLIDE_ID] = units[SLIDE_ID]
    return table.assign(**{name: units[name] for name in (PATIENT_ID, SPLIT)})


def _figures(tiles: pd.DataFrame, study: ClusterStudy) -> dict[str, Any]:
    """Return agreement by side, level (tile, patient) and group; sides without tiles are absent."""
    units = study.rows.units.iloc[study.rows.unit]
    groups = {name: units[name].to_numpy(object) for name in study.groups}
    by_tile = tiles[[SPLIT, CLUSTER]].assign(**groups)
    by_patient = _by_patient(tiles, study)
    by_tile[SLIDE_ID] = tiles[SLIDE_ID]
    found: dict[str, Any] = {}
    for side in ("all", *SPLITS):
        levels = {}
        for level, table in (("tile", by_tile), ("patient", by_patient)):
            table = table if side == "all" else table[table[SPLIT] == side]
            names = [name for name in (*study.groups, SLIDE_ID) if name in table]
            compared = {name: _compared(table, name) for name in names}
            levels[level] = {name: value for name, value in compared.items() if value is not None}
        if side == "all" or (by_tile[SPLIT] == side).any():
            found[side] = levels
    return found


def _by_patient(tiles: pd.DataFrame, study: ClusterStudy) -> pd.DataFrame:
    """Return each patient's cluster, side and groups, "" where its tiles differ in a group."""
    patients = _majorities(tiles)
    settled = _settled(tiles, study, PATIENT_ID)
    return patients.assign(
        **{name: patients[PATIENT_ID].map(known) for name, known in settled.items()}
    )


def _settled(tiles: pd.DataFrame, study: ClusterStudy, name: str) -> dict[str, dict[str, str]]:
    """Return group -> slide or patient -> its value, "" where its tiles differ."""
    units = study.rows.units.iloc[study.rows.unit]
    # A pair of unit and value once, not once a tile.
    pairs = pd.DataFrame({group: units[group].to_numpy(object) for group in study.groups})
    pairs = pairs.assign(_of=tiles[name].to_numpy(object)).drop_duplicates()
    return patient_categories(
        pairs["_of"], {group: pairs[group].astype(str).tolist() for group in study.groups}
    )


def _site_or_label(patients: pd.DataFrame, seed: int) -> dict[str, Any] | None:
    """Return how much more patients' clusters agree with the site than with the label, if known."""
    if not {LABEL, SITE} <= set(patients):
        return None
    known = patients[(patients[LABEL] != "") & (patients[SITE] != "")]
    if known[LABEL].nunique() < 2 or known[SITE].nunique() < 2:
        return None
    columns = (known[name].tolist() for name in (CLUSTER, SITE, LABEL))
    return compare_agreement(*columns, seed=seed)


def _compared(table: pd.DataFrame, name: str) -> dict[str, float | int] | None:
    """Return the agreement with a group where it is known; None where it has less than 2 values."""
    known = table[table[name] != ""]
    if known[name].nunique() < 2:
        return None
    return agreement(known[CLUSTER].tolist(), known[name].astype(str).tolist())


def _unit(tiles: pd.DataFrame) -> str:
    """Return what the rows of patients.csv are: patient, or the slide or tile in its place."""
    if (tiles[PATIENT_ID] == tiles[SLIDE_ID]).all():
        return "slide"
    return "tile" if TILE in tiles and (tiles[PATIENT_ID] == tiles[TILE]).all() else "patient"


def _majorities(tiles: pd.DataFrame) -> pd.DataFrame:
    """Return the cluster of most tiles of each patient; of equal ones the larger cluster's."""
    tiles = tiles[tiles[PATIENT_ID] != ""]
    counts = pd.crosstab(tiles[PATIENT_ID], tiles[CLUSTER])
    sides = tiles.drop_duplicates(PATIENT_ID).set_index(PATIENT_ID)[SPLIT]
    table = pd.DataFrame({CLUSTER: counts.idxmax(axis=1), SPLIT: sides.reindex(counts.index)})
    return table.rename_axis(PATIENT_ID).reset_index()


def cluster_shares(tiles: pd.DataFrame, name: str, n_clusters: int) -> pd.DataFrame:
    """Return the share of each cluster among the tiles of each slide or patient.

    Args:
        tiles: With ``cluster``, ``patient_id`` and ``name``, and ``split`` where there is one.
        name: ``slide_id`` or ``patient_id``.
        n_clusters: How many clusters there are.

    Returns:
        ``name``, ``patient_id``, ``split`` if given, ``n_tiles`` and ``share_0`` ..., sorted by
        ``name``.
    """
    counts = pd.crosstab(tiles[name], tiles[CLUSTER]).reindex(
        columns=range(n_clusters), fill_value=0
    )
    first = tiles.drop_duplicates(name).set_index(name).reindex(counts.index)
    table = first[
        [column for column in (PATIENT_ID, SPLIT) if column != name and column in first]
    ].copy()
    table["n_tiles"] = counts.sum(axis=1)
    for cluster in range(n_clusters):
        table[f"share_{cluster}"] = (counts[cluster] / table["n_tiles"]).round(6)
    return table.rename_axis(name).reset_index()


def _nearest(
    study: ClusterStudy, tiles: pd.DataFrame, n_clusters: int
) -> tuple[list[list[bytes]], str]:
    """Return pictures of tiles near each centre, of those that are stored, and their limit."""
    found = []
    for file, part in study.rows.of_files():
        extras = read_extras(study.index.paths[file])
        if extras is None:
            continue
        rows = study.rows.row[part]
        for at in np.flatnonzero(np.isin(rows, list(extras.pictures))):
            found.append((part.start + int(at), extras.pictures[int(rows[at])]))
    table = tiles.iloc[[at for at, _ in found]].assign(_picture=[data for _, data in found])
    table, limit = _owned(table.sort_values(DISTANCE, kind="stable"))
    shown = []
    for cluster in range(n_clusters):
        mine = table[table[CLUSTER] == cluster]
        # One patient's tissue must not stand for the cluster.
        mine = mine.groupby("_owner", sort=False).head(_SHOWN_EACH)
        shown.append(mine["_picture"].head(_SHOWN).tolist())
    return shown, limit


def _owned(tiles: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Add whose each tile is: its patient's, else its slide's, else nobody's; say which, in words.

    The words are "" where patients and slides of all tiles are unknown.
    """
    owners: list[str] = []
    kinds = set()
    names = zip(tiles[PATIENT_ID], tiles[SLIDE_ID], tiles.get(TILE, tiles[SLIDE_ID]), strict=True)
    for i, (patient, slide, tile) in enumerate(names):
        # A slide or tile stands in for a patient that is unknown.
        kind = "patient" if patient not in ("", slide, tile) else "slide" if slide else ""
        owners.append(f"{kind} {({'patient': patient, 'slide': slide}).get(kind, i)}")
        kinds.add(kind)
    words = " or ".join(f"of a {kind}" for kind in ("patient", "slide") if kind in kinds)
    limit = f"at most {_SHOWN_EACH} {words}" if words else ""
    return tiles.assign(_owner=owners), limit


def _write(
    folder: Path,
    study: ClusterStudy,
    tiles: pd.DataFrame,
    fitted: FittedClusters,
    config: ClusterConfig,
) -> None:
    write_csv(folder / "dropped.csv", study.dropped)
    write_csv(folder / "clusters.csv", tiles.round({DISTANCE: 5}))
    for name, file in ((SLIDE_ID, "slides.csv"), (PATIENT_ID, "patients.csv")):
        known = tiles[tiles[name] != ""]
        shares = cluster_shares(known, name, config.n_clusters)
        settled = _settled(tiles, study, name)
        groups = {group: shares[name].map(values) for group, values in settled.items()}
        write_csv(folder / file, shares.assign(**groups))
    if len(fitted.history):
        write_csv(folder / "history.csv", fitted.history)
    made = {"n_features": study.index.n_features, "features": study.index.settings}
    write_clusters(folder / "model", fitted, {**made, **config.as_dict()})
