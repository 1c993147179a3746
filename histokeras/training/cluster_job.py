"""What ``cluster`` is asked for, and its inputs joined: features, split, any labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.cohort.categories import category_values
from histokeras.cohort.join import join_labels
from histokeras.cohort.labels import read_cohort
from histokeras.cohort.pseudonyms import (
    patients_by_slide,
    read_labels,
    read_pseudonyms,
    require_renamed,
    translated_split,
)
from histokeras.cohort.split_file import read_split
from histokeras.cohort.split_table import Split, apply_split
from histokeras.errors import ConfigError, TableError
from histokeras.features.index import FeatureIndex, index_features
from histokeras.files import sha256_text
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.training.cluster import ClusterConfig
from histokeras.training.cluster_map import PCA_MAP, Projection
from histokeras.training.fit_job import told_of_pseudonyms
from histokeras.training.rows import TileRows, tile_rows
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, TILE


@dataclass(frozen=True, kw_only=True)
class ClusterJob:
    """What to cluster.

    Attributes:
        features: Folder of feature files.
        split: A split file; clusters are fitted on its train side.
        labels: Table of labels to compare with; None for none, or those of ready-made tiles.
        target: Its column.
        slide_table: Table with slide_id and patient_id, where ids do not tell.
        patients_unknown: Accept a split by slide or tile.
        clusters: Which clusters, how fitted.
        memory_gb: Features beyond this are streamed.
        projection: How the map is made.
        pseudonyms: Table of pseudonyms, by which labels, slide table and split are translated.
    """

    features: Path
    split: Path
    labels: Path | None = None
    target: str = LABEL
    slide_table: Path | None = None
    patients_unknown: bool = False
    clusters: ClusterConfig = field(default_factory=ClusterConfig)
    memory_gb: float = 4.0
    projection: Projection = PCA_MAP
    pseudonyms: Path | None = None


@dataclass(frozen=True)
class ClusterStudy:
    """Features, split and known groups, joined.

    Attributes:
        index: The feature files.
        rows: The tiles, their units with ``patient_id``, ``split`` and the columns of ``groups``.
        groups: Columns of units to compare clusters with: ``label``, ``tumour_type``, ``site``.
        split: Who is on which side.
        dropped: Slides or tiles that are not used, with the reason.
        inputs: What decides the result.
        note: "" or why patients may lie on two sides.
    """

    index: FeatureIndex
    rows: TileRows
    groups: tuple[str, ...]
    split: Split
    dropped: pd.DataFrame
    inputs: dict[str, Any]
    note: str


def prepare_clusters(job: ClusterJob) -> ClusterStudy:
    """Join features, split and labels.

    Slides without a label are clustered too; they only count in no comparison with labels.

    Args:
        job: What to cluster.

    Raises:
        TableError: If tables do not fit each other or the features, or train is empty.
        LeakageError: If a patient lies on two sides of the split.
        FeatureError: If the features do not belong together.
        ConfigError: If the split has folds, or is not by patient.
    """
    try:
        return _joined(job)
    except TableError as error:
        raise told_of_pseudonyms(error, job.features, job.pseudonyms) from error


def _joined(job: ClusterJob) -> ClusterStudy:
    pseudonyms = read_pseudonyms(job.pseudonyms)
    split = _read_split(job, pseudonyms)
    index = index_features(job.features)
    units = index.units()
    require_renamed(units, pseudonyms)
    key = SLIDE_ID if index.tiles is None else TILE
    labels = read_labels(job.labels, pseudonyms) if job.labels is not None else None
    slide_patients = patients_by_slide(job.slide_table, pseudonyms, labels)
    labelled = _labelled(job, labels, index, units, slide_patients)
    if labelled is not None:
        told = units[key].map(labelled.units.set_index(key)[PATIENT_ID])
        units = units.assign(**{PATIENT_ID: told.fillna(units.get(PATIENT_ID, "")).fillna("")})
    # The split's own ids, as a table without labels, tell the patients of the other slides.
    known = read_cohort(split.table[[split.unit]], target=None)
    known = replace(known, table=known.table.assign(**{LABEL: ""}))
    joined = join_labels(
        units, known, slide_patients=slide_patients, patients_unknown=job.patients_unknown
    )
    placed, outside = apply_split(joined.units, split)
    tables = [pd.DataFrame({key: joined.units[key], **category_values(known, joined)})]
    if labelled is not None:
        named = {name: labelled.units[name] for name in (key, LABEL)}
        first = pd.DataFrame({**named, **labelled.found})
        tables = [first, tables[0].drop(columns=list(labelled.found), errors="ignore")]
    placed = placed.drop(columns=LABEL, errors="ignore")
    for table in tables:
        placed = placed.merge(table, on=key, how="left", validate="1:1")
    groups = tuple(name for table in tables for name in table.columns if name != key)
    # Tiles take the label of their unit; there may be none.
    placed = placed.assign(**{LABEL: placed.get(LABEL, "")}).fillna("")
    rows = tile_rows(index, placed, {})
    _require_train(job, len(rows.on_side("train")))
    inputs = {
        "features": index.digest,
        "split": split.digest,
        "groups": sha256_text(placed.to_csv(index=False)),
        "clusters": job.clusters.as_dict(),
        "memory_gb": job.memory_gb,
        # Not written for the default, so that folders from before there was a choice are known.
        **({"map": job.projection.name} if job.projection != PCA_MAP else {}),
    }
    dropped = pd.concat([joined.dropped, outside], ignore_index=True)
    return ClusterStudy(index, rows, groups, split, dropped, inputs, joined.note or split.note)


def _require_train(job: ClusterJob, n: int) -> None:
    if not n:
        raise TableError(
            f"no tile lies in train of {job.split.name}.",
            code="SPLIT_IMPOSSIBLE",
            hint="Split anew with `histokeras split`, or check which slides have features.",
        )
    if n < job.projection.fewest:
        raise TableError(
            f"{n} train tile(s) are too few for a map by {job.projection.name}, which needs "
            f"{job.projection.fewest}.",
            code="TOO_FEW_TILES",
            hint="Take more slides, or leave `--map` out.",
        )


def _read_split(job: ClusterJob, pseudonyms: Pseudonyms | None) -> Split:
    split = translated_split(read_split(job.split), pseudonyms)
    if split.folds is not None:
        raise ConfigError(
            f"{job.split.name} has folds; clusters are fitted once, on train.",
            hint="Make a split into train, val and test with `histokeras split`.",
        )
    if split.note and not job.patients_unknown:
        raise ConfigError(
            f"the split {job.split.name} is {split.note}.",
            code="PATIENT_UNKNOWN",
            hint="Make one by patient, or accept it with --patients-unknown.",
        )
    return split


@dataclass(frozen=True)
class _Labelled:
    units: pd.DataFrame
    found: dict[str, list[str]]


def _labelled(
    job: ClusterJob,
    labels: pd.DataFrame | None,
    index: FeatureIndex,
    units: pd.DataFrame,
    slide_patients: Mapping[str, str],
) -> _Labelled | None:
    """Return the units that have a label, with their tumour types and sites; None without any."""
    own = index.tiles is not None and bool((index.tiles[LABEL] != "").any())
    if labels is None and not own:
        return None
    source = labels if labels is not None else index.own_labels()
    cohort = read_cohort(source, target=job.target if labels is not None else LABEL)
    joined = join_labels(
        units, cohort, slide_patients=slide_patients, patients_unknown=job.patients_unknown
    )
    return _Labelled(joined.units, category_values(cohort, joined))
