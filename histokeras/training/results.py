"""Write what a head predicted: tile, slide and patient tables, and the figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.collect import Predictions, collect_predictions
from histokeras.features.index import FeatureIndex
from histokeras.features.store import read_features
from histokeras.files import prepare_folder, safe_name, write_csv
from histokeras.training.rows import TileRows
from histokeras.types import LABEL, PATIENT_ID, PROB, SLIDE_ID, SPLIT, TILE

TILE_COLUMNS = ("minx", "miny", "width", "height")
"""WSInfer's names: level-0 pixels."""


@dataclass(frozen=True)
class Predicted:
    """Probabilities of tiles.

    Attributes:
        rows: Whose they are.
        probabilities: float32 ``(n, n_classes)``.
        classes: The class of each column.
        patient_safe: Whether patients are known; if not, ``patient_id`` stays empty in tables.
    """

    rows: TileRows
    probabilities: npt.NDArray[np.float32]
    classes: Sequence[str]
    patient_safe: bool = True

    def tables(self) -> Iterator[tuple[int, pd.DataFrame]]:
        """Yield each feature file's number and its tiles with their probabilities."""
        for file, part in self.rows.of_files():
            units = self.rows.units.iloc[self.rows.unit[part]]
            names = [name for name in (SLIDE_ID, TILE, PATIENT_ID, LABEL, SPLIT) if name in units]
            table = units[names].reset_index(drop=True)
            if not self.patient_safe:
                table[PATIENT_ID] = ""
            yield file, table.assign(**self._columns(part))

    def _columns(self, part: slice) -> dict[str, Any]:
        return {
            f"{PROB}{name}": self.probabilities[part, number]
            for number, name in enumerate(self.classes)
        }

    def collect(self, *, keep_tiles: bool) -> Predictions:
        """Aggregate the tiles to slides and patients."""
        tables = (table for _, table in self.tables())
        return collect_predictions(tables, classes=self.classes, keep_tiles=keep_tiles)


def write_predictions(folder: Path, index: FeatureIndex, predicted: Predicted) -> None:
    """Write ``predictions/<slide_id>.csv``, one row a tile.

    Args:
        folder: The run folder.
        index: The feature files.
        predicted: Probabilities of their tiles.

    Raises:
        OutputError: If they cannot be written.
    """
    prepare_folder(folder / "predictions")
    for file, table in predicted.tables():
        scores = table.filter(regex=f"^{PROB}")
        if TILE in table:
            known = [name for name in (TILE, SLIDE_ID, PATIENT_ID, LABEL, SPLIT) if name in table]
            written = pd.concat([table[known], scores], axis=1)
        else:
            rows = predicted.rows.row[predicted.rows.file == file]
            written = pd.concat([_geometry(index.paths[file], rows), scores], axis=1)
        write_csv(folder / "predictions" / f"{safe_name(index.names[file])}.csv", written)


def _geometry(path: Path, rows: npt.NDArray[np.int64]) -> pd.DataFrame:
    features = read_features(path, vectors=False)
    coords = features.tiles[["x", "y"]].to_numpy()[rows]
    attributes = features.coords_attributes
    # CLAM's own files have the side at the level they were read from, and the level's downsample.
    side = attributes.get("patch_size_level0")
    if side is None:
        downsample = np.ravel(attributes.get("downsample", 1))[0]
        side = round(float(attributes.get("patch_size", 0)) * float(downsample))
    x, y = coords[:, 0], coords[:, 1]
    return pd.DataFrame(
        dict(zip(TILE_COLUMNS, (x, y, int(side), int(side)), strict=True)), index=range(len(rows))
    )
