"""One row a tile: where its vector lies, whose it is, its target and its side of the split."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.features.index import FeatureIndex
from histokeras.training.vectors import Rows
from histokeras.types import LABEL, SLIDE_ID, SPLIT, TILE


@dataclass(frozen=True)
class TileRows:
    """Tiles that are used, in the order of the feature files and of the rows within them.

    Attributes:
        file: Number of the feature file of each tile, shape ``(n,)``.
        row: Its row in that file.
        unit: Its row in ``units``.
        target: Number of its class; -1 where its label is not known. For regression its number,
            float64; NaN where it is not known.
        units: One row a slide (or a tile, for ready-made tiles): ``slide_id``, ``patient_id``,
            ``label``, ``split``.
    """

    file: npt.NDArray[np.int32]
    row: npt.NDArray[np.int64]
    unit: npt.NDArray[np.int64]
    target: npt.NDArray[Any]
    units: pd.DataFrame

    def __len__(self) -> int:
        return len(self.file)

    def where(self, keep: npt.NDArray[np.bool_]) -> "TileRows":
        """Return the tiles for which ``keep`` holds."""
        return TileRows(
            self.file[keep], self.row[keep], self.unit[keep], self.target[keep], self.units
        )

    def on_side(self, side: str) -> "TileRows":
        """Return the tiles on one side of the split."""
        return self.where((self.units[SPLIT] == side).to_numpy()[self.unit])

    def of_files(self) -> Iterator[tuple[int, slice]]:
        """Yield each file's number and where its tiles stand."""
        if not len(self):
            return
        numbers, starts = np.unique(self.file, return_index=True)
        stops = [*starts[1:], len(self)]
        for number, start, stop in zip(numbers, starts, stops, strict=True):
            yield int(number), slice(int(start), int(stop))

    def parts(self, index: FeatureIndex) -> list[Rows]:
        """Return where the vectors lie."""
        return [Rows(index.paths[file], self.row[part]) for file, part in self.of_files()]


def tile_rows(
    index: FeatureIndex, units: pd.DataFrame, classes: Mapping[str, int] | None
) -> TileRows:
    """Spread the label, patient and split of each slide over its tiles.

    Args:
        index: The feature files.
        units: The units that are used, with ``split``, from the joined labels: one row a slide,
            or a tile for ready-made tiles.
        classes: Class to number; labels that are not in it give target -1. None where labels are
            numbers themselves.

    Returns:
        The tiles that are used.
    """
    counts = np.asarray(index.n_tiles)
    file = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    row = np.concatenate([np.arange(count, dtype=np.int64) for count in counts])
    if index.tiles is None:
        keys, names = units[SLIDE_ID], np.asarray(index.names, object)[file]
    else:
        keys, names = units[TILE], index.tiles[TILE].to_numpy(object)
    position = pd.Series(np.arange(len(units)), index=keys.to_numpy(object))
    unit = position.reindex(names).fillna(-1).to_numpy().astype(np.int64)
    used = unit >= 0
    targets = _targets(units[LABEL], classes)
    unit = unit[used]
    return TileRows(file[used], row[used], unit, targets[unit], units.reset_index(drop=True))


def _targets(labels: pd.Series, classes: Mapping[str, int] | None) -> npt.NDArray[Any]:
    if classes is None:
        return np.asarray(pd.to_numeric(labels.replace("", None)), np.float64)
    return labels.map(classes).fillna(-1).to_numpy().astype(np.int32)
