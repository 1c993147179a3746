"""Bags: which tiles belong to one labelled slide or patient, and their vectors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.errors import TableError
from histokeras.features.index import FeatureIndex
from histokeras.models.catalog import BAG_HEADS
from histokeras.training.rows import TileRows
from histokeras.training.vectors import Matrix, Positions, Vectors, open_vectors
from histokeras.types import PATIENT_ID, SLIDE_ID


@dataclass(frozen=True)
class BagVectors:
    """Vectors of tiles, and the bag that each is in.

    Attributes:
        vectors: The tiles.
        positions: Numbers of the tiles of each bag, int64, ascending; every tile is in one.
    """

    vectors: Vectors
    positions: tuple[Positions, ...]

    @property
    def n_features(self) -> int:
        """Length of a vector."""
        return self.vectors.n_features

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self.vectors)

    def batches(
        self, size: int, rng: np.random.Generator | None = None
    ) -> Iterator[tuple[Positions, Matrix]]:
        """Yield numbers and float32 vectors, each once; shuffled if ``rng`` is given."""
        return self.vectors.batches(size, rng)

    def take(self, positions: Positions) -> Matrix:
        """Return the float32 vectors of ascending numbers."""
        return self.vectors.take(positions)


def in_bags(vectors: Vectors, codes: npt.NDArray[np.int64] | None = None) -> BagVectors:
    """Return vectors in bags.

    Args:
        vectors: ``n`` vectors; those that are in bags already stay as they are without ``codes``.
        codes: The number of the bag of each, shape ``(n,)``; one bag if None.
    """
    if codes is None:
        if isinstance(vectors, BagVectors):
            return vectors
        return BagVectors(vectors, (np.arange(len(vectors)),) if len(vectors) else ())
    order = np.argsort(codes, kind="stable")
    _, begins = np.unique(codes[order], return_index=True)
    return BagVectors(vectors, tuple(np.split(order, begins[1:])) if len(codes) else ())


def bag_codes(rows: TileRows, key: str) -> npt.NDArray[np.int64]:
    """Return the number of the bag of each tile, int64 ``(n,)``.

    Args:
        rows: The tiles.
        key: Column of ``rows.units`` at which labels stand: slide_id or patient_id. Where a
            patient is not known, as new slides may be, the slide is the bag.

    Raises:
        TableError: If neither patient nor slide of a tile is known.
    """
    units = rows.units
    slides = units[SLIDE_ID].to_numpy(str)
    patients = units[PATIENT_ID].to_numpy(str) if key == PATIENT_ID else np.full(len(units), "")
    names = [(str(p), "") if p else ("", str(s)) for p, s in zip(patients, slides, strict=True)]
    if any(name == ("", "") for name in names):
        raise TableError(
            "the slide of some tiles is not known, and with it their bag.",
            code="COLUMN_MISSING",
            hint="Extract the tiles with a --tile-table that has slide_id.",
        )
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)[rows.unit]


def bag_key_of(card: Mapping[str, Any]) -> str | None:
    """Return the column that tells the bag of a tile, from a head's card; None for one of tiles."""
    if card["head"] not in BAG_HEADS:
        return None
    return PATIENT_ID if card.get("level") == "patient" else SLIDE_ID


def open_tiles(
    index: FeatureIndex, rows: TileRows, *, memory_gb: float, bag_key: str | None = None
) -> Vectors:
    """Return the vectors of tiles, in their order.

    Args:
        index: The feature files.
        rows: The tiles.
        memory_gb: Vectors beyond this are streamed.
        bag_key: slide_id or patient_id to have them in bags; None for tiles alone.

    Raises:
        FeatureError: If a file does not match its checksum, or holds what is no number.
        TableError: If the bag of a tile is not known.
    """
    vectors = open_vectors(rows.parts(index), index.n_features, memory_gb=memory_gb)
    return vectors if bag_key is None else in_bags(vectors, bag_codes(rows, bag_key))
