"""Assign the tiles of new slides to clusters that were fitted before."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.cohort.patients import PatientFinder
from histokeras.cohort.pseudonyms import patients_by_slide, read_pseudonyms, require_renamed
from histokeras.errors import ConfigError, OutputError
from histokeras.features.index import FeatureIndex, index_features
from histokeras.features.settings import require_same_settings
from histokeras.files import prepare_folder, remove, sha256_text, write_csv
from histokeras.runs.record import RunRecord, require_own_folder
from histokeras.runs.same import require_same_inputs
from histokeras.training.cluster_file import read_clusters
from histokeras.training.cluster_run import (
    CLUSTER,
    DISTANCE,
    OUTPUTS,
    cluster_shares,
    tile_table,
)
from histokeras.training.rows import TileRows, tile_rows
from histokeras.training.vectors import open_vectors
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, SPLIT, TILE

_TABLES = ("clusters.csv", "slides.csv", "patients.csv")


def assign_clusters(
    clusters: Path,
    features: Path,
    output: Path,
    *,
    slide_table: Path | None = None,
    pseudonyms: Path | None = None,
    memory_gb: float = 4.0,
    config: Mapping[str, Any],
    command_line: str = "",
    overwrite: bool = False,
) -> bool:
    """Assign tiles to the nearest of known centres; nothing is fitted.

    Args:
        clusters: What ``cluster -o`` was given when they were fitted.
        features: Folder of features, made in the same way.
        output: Where clusters.csv, slides.csv, patients.csv and run.json go.
        slide_table: Table with slide_id and patient_id, where ids do not tell.
        pseudonyms: Table of pseudonyms, by which the slide table is translated.
        memory_gb: Features beyond this are streamed.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.
        overwrite: Whether something else of ``cluster`` may be replaced.

    Returns:
        Whether there was anything to do: False if this very result stands there.

    Raises:
        FeatureError: If the features were made otherwise (CONFIG_MISMATCH), the clusters cannot
            be read, or something else stands in ``output``.
        TableError: If features go by other names than pseudonyms, or tables contradict.
        ConfigError: If ``output`` is of another command, or holds the clusters themselves.
        OutputError: If it cannot be written.
    """
    if output.resolve() == clusters.resolve():
        raise ConfigError(
            f"{output} holds the clusters themselves, which would be replaced.",
            hint="Choose another output folder.",
        )
    fitted, card = read_clusters(clusters / "model")
    index = index_features(features)
    require_same_settings(
        index.settings,
        card["features"],
        where="these features were",
        hint="Extract them in the same way as those that the clusters were fitted to.",
    )
    rows = _rows(index, slide_table, pseudonyms)
    inputs = {
        "features": index.digest,
        "model": card["weights_sha256"],
        "patients": sha256_text(rows.units.to_csv(index=False)),
    }
    require_own_folder(output, ("cluster",), OUTPUTS)
    if not overwrite:
        finished = require_same_inputs(output, inputs)
        if finished and all((output / name).is_file() for name in _TABLES):
            return False
    prepare_folder(output)
    remove(output, OUTPUTS)
    record = RunRecord("cluster", config, command_line=command_line)
    record.facts = {"inputs": inputs, "assigned": True}
    record.write(output, status="running")
    try:
        vectors = open_vectors(rows.parts(index), index.n_features, memory_gb=memory_gb)
        tiles = tile_table(index, rows).drop(columns=SPLIT)
        tiles[CLUSTER], tiles[DISTANCE] = fitted.assign(vectors)
        _write(output, tiles, int(card["n_clusters"]))
    except BaseException:
        with suppress(OutputError):
            record.write(output, status="interrupted")
        raise
    record.write(output, status="done")
    return True


def _rows(index: FeatureIndex, slide_table: Path | None, pseudonyms: Path | None) -> TileRows:
    """Return all tiles, their units with the patient where anything tells it."""
    names = read_pseudonyms(pseudonyms)
    units = index.units().copy()
    require_renamed(units, names)
    finder = PatientFinder([units], patients_by_slide(slide_table, names))
    units[PATIENT_ID] = [
        row.get(PATIENT_ID) or finder.of_tile(row.get(TILE, ""), row[SLIDE_ID])
        for row in units.to_dict("records")
    ]
    return tile_rows(index, units.assign(**{LABEL: "", SPLIT: ""}), {})


def _write(output: Path, tiles: pd.DataFrame, n_clusters: int) -> None:
    write_csv(output / "clusters.csv", tiles.round({DISTANCE: 5}))
    for name, file in ((SLIDE_ID, "slides.csv"), (PATIENT_ID, "patients.csv")):
        write_csv(output / file, cluster_shares(tiles[tiles[name] != ""], name, n_clusters))
