"""Write what a head predicted: tile, slide and patient tables, and the figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.collect import KINDS, Predictions, collect_predictions
from histokeras.features.index import FeatureIndex
from histokeras.features.store import read_features
from histokeras.files import prepare_folder, safe_name, write_csv
from histokeras.training.rows import TileRows
from histokeras.types import (
    ATTENTION,
    CLASSIFICATION,
    FOLD,
    LABEL,
    PATIENT_ID,
    SLIDE_ID,
    SPLIT,
    SURVIVAL,
    TILE,
)

_KEYS = (SLIDE_ID, TILE, PATIENT_ID, LABEL, SPLIT, FOLD)
TILE_COLUMNS = ("minx", "miny", "width", "height")
"""WSInfer's names: level-0 pixels."""


@dataclass(frozen=True)
class Predicted:
    """Probabilities of tiles, or predicted numbers.

    Attributes:
        rows: Whose they are.
        probabilities: float32 ``(n, n_classes)``; for regression ``(n, 1)``, numbers in the
            target's own unit; for survival ``(n, 1)``, risks.
        classes: The class of each column; for regression the target, for survival ``risk``.
        others: Name -> what else the tiles got, float32 ``(n, n_classes)``: ``raw``, baselines.
        patient_safe: Whether patients are known; if not, ``patient_id`` stays empty in tables.
        task: What was learned.
        attention: What each tile weighs in its bag, float32 ``(n, 1)``; None of a head of tiles.
    """

    rows: TileRows
    probabilities: npt.NDArray[np.float32]
    classes: Sequence[str]
    others: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    patient_safe: bool = True
    task: str = CLASSIFICATION
    attention: npt.NDArray[np.float32] | None = None

    @property
    def columns(self) -> list[str]:
        """Names of the columns of tile tables that hold the predictions."""
        prefix = "" if self.task == SURVIVAL else KINDS[self.task].prefix
        return [f"{prefix}{name}" for name in self.classes]

    def tables(self) -> Iterator[tuple[int, pd.DataFrame]]:
        """Yield each feature file's number and its tiles with their probabilities."""
        for file, part in self.rows.of_files():
            units = self.rows.units.iloc[self.rows.unit[part]]
            names = [name for name in _KEYS if name in units]
            table = units[names].reset_index(drop=True)
            if not self.patient_safe:
                table[PATIENT_ID] = ""
            yield file, table.assign(**self._columns(part))

    def _columns(self, part: slice) -> dict[str, Any]:
        columns = {
            name: self.probabilities[part, number] for number, name in enumerate(self.columns)
        }
        if self.attention is not None:
            columns[ATTENTION] = self.attention[part, 0]
        for other, values in self.others.items():
            columns |= {f"{other}_{c}": values[part, k] for k, c in enumerate(self.classes)}
        return columns

    def collect(self, *, keep_tiles: bool) -> Predictions:
        """Aggregate the tiles to slides and patients."""
        tables = (table for _, table in self.tables())
        return collect_predictions(
            tables, classes=self.classes, keep_tiles=keep_tiles, task=self.task
        )


def write_predictions(folder: Path, index: FeatureIndex, predicted: Predicted) -> None:
    """Write ``predictions/<slide_id>.csv``, one row a tile, and beside it ``reference/``.

    ``reference/<slide_id>.csv`` holds for the same tiles what the predictions are compared with:
    ``raw_<class>``, the probabilities before temperature scaling, and ``<baseline>_<class>``. A
    predicted number stands in ``pred_<target>``, its baselines in ``<baseline>_<target>``. A head
    of bags gives each tile the probabilities of its bag, and ``attention``.

    Args:
        folder: The run folder.
        index: The feature files.
        predicted: Probabilities of their tiles.

    Raises:
        OutputError: If they cannot be written.
    """
    prepare_folder(folder / "predictions")
    prepare_folder(folder / "reference")
    own = [*predicted.columns, *([ATTENTION] if predicted.attention is not None else [])]
    others = [f"{name}_{label}" for name in predicted.others for label in predicted.classes]
    for file, table in predicted.tables():
        name = f"{safe_name(index.names[file])}.csv"
        if TILE in table:
            known = [key for key in (TILE, *_KEYS) if key in table]
            ids = table[list(dict.fromkeys(known))]
            key = ids[[TILE]]
        else:
            ids = _geometry(index.paths[file], predicted.rows.row[predicted.rows.file == file])
            key = ids[list(TILE_COLUMNS[:2])]
        write_csv(folder / "predictions" / name, pd.concat([ids, table[own]], axis=1))
        if others:
            write_csv(folder / "reference" / name, pd.concat([key, table[others]], axis=1))


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
