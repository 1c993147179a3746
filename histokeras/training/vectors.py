"""Feature vectors as training reads them: held in memory, or streamed when they are too many."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from histokeras.features.store import read_features, read_rows, require_finite

Positions = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]
_RUN = 256


class Vectors(Protocol):
    """Vectors numbered ``0..n-1``, in an order that never changes."""

    @property
    def n_features(self) -> int:
        """Length of a vector."""

    def __len__(self) -> int:
        """Number of vectors."""

    def batches(
        self, size: int, rng: np.random.Generator | None = None
    ) -> Iterator[tuple[Positions, Matrix]]:
        """Yield numbers and float32 vectors, each once; shuffled if ``rng`` is given."""

    def take(self, positions: Positions) -> Matrix:
        """Return the float32 vectors of ascending numbers."""


class MemoryVectors:
    """Vectors held in memory.

    Args:
        matrix: Array ``(n, n_features)``.
    """

    def __init__(self, matrix: npt.NDArray[np.floating]) -> None:
        self._matrix = matrix
        self.n_features = int(matrix.shape[1])

    def __len__(self) -> int:
        return len(self._matrix)

    def batches(
        self, size: int, rng: np.random.Generator | None = None
    ) -> Iterator[tuple[Positions, Matrix]]:
        """Yield numbers and float32 vectors, each once; shuffled if ``rng`` is given."""
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        for start in range(0, len(order), size):
            positions = order[start : start + size]
            yield positions, self.take(positions)

    def take(self, positions: Positions) -> Matrix:
        """Return the float32 vectors of some numbers."""
        return self._matrix[positions].astype(np.float32, copy=False)


@dataclass(frozen=True)
class Rows:
    """Rows of one feature file.

    Attributes:
        path: The file.
        rows: Row numbers in it, ascending.
    """

    path: Path
    rows: Positions


class StoredVectors:
    """Vectors left in their files and read again in each epoch.

    Shuffling is in two steps: runs of 256 neighbouring rows in random order fill a buffer, and
    rows leave the full buffer in random order.

    Args:
        parts: Where they lie; their numbers count through all parts in order.
        n_features: Length of a vector.
        buffer_rows: How many vectors may be held at once.
    """

    def __init__(self, parts: Sequence[Rows], n_features: int, *, buffer_rows: int) -> None:
        self._runs: list[tuple[Path, Positions, int]] = []
        self._n = 0
        self.n_features = n_features
        self._buffer_rows = buffer_rows
        for part in parts:
            for start in range(0, len(part.rows), _RUN):
                rows = part.rows[start : start + _RUN]
                self._runs.append((part.path, rows, self._n))
                self._n += len(rows)

    def __len__(self) -> int:
        return self._n

    def batches(
        self, size: int, rng: np.random.Generator | None = None
    ) -> Iterator[tuple[Positions, Matrix]]:
        """Yield numbers and float32 vectors, each once; shuffled if ``rng`` is given."""
        order = np.arange(len(self._runs)) if rng is None else rng.permutation(len(self._runs))
        left: tuple[Positions, Matrix] = (
            np.empty(0, np.int64),
            np.empty((0, self.n_features), np.float32),
        )
        for group in self._groups(order, size):
            positions, matrix = self._read(group, left)
            if rng is not None:
                mixed = rng.permutation(len(positions))
                positions, matrix = positions[mixed], matrix[mixed]
            whole = len(positions) - len(positions) % size
            for start in range(0, whole, size):
                yield positions[start : start + size], matrix[start : start + size]
            left = positions[whole:], matrix[whole:].copy()
        if len(left[0]):
            yield left

    def take(self, positions: Positions) -> Matrix:
        """Return the float32 vectors of ascending numbers."""
        matrix = np.empty((len(positions), self.n_features), np.float32)
        firsts = np.array([first for _, _, first in self._runs])
        runs = np.searchsorted(firsts, positions, side="right") - 1
        for run in np.unique(runs).tolist():
            path, rows, first = self._runs[run]
            mine = runs == run
            wanted = rows[positions[mine] - first]
            stored = read_rows(path, int(wanted[0]), int(wanted[-1]) + 1)
            matrix[mine] = stored[wanted - wanted[0]]
        return matrix

    def _groups(self, order: Positions, size: int) -> Iterator[list[int]]:
        group: list[int] = []
        rows = 0
        for run in order.tolist():
            group.append(run)
            rows += len(self._runs[run][1])
            if rows >= max(self._buffer_rows - size, size):
                yield group
                group, rows = [], 0
        if group:
            yield group

    def _read(self, group: list[int], left: tuple[Positions, Matrix]) -> tuple[Positions, Matrix]:
        positions, vectors = [left[0]], [left[1]]
        for run in group:
            path, rows, first = self._runs[run]
            start = int(rows[0])
            stored = read_rows(path, start, int(rows[-1]) + 1)
            vectors.append(stored[rows - start].astype(np.float32, copy=False))
            positions.append(np.arange(first, first + len(rows)))
        return np.concatenate(positions), np.concatenate(vectors)


def open_vectors(parts: Sequence[Rows], n_features: int, *, memory_gb: float) -> Vectors:
    """Return vectors, in memory if they fit into ``memory_gb`` as float32, else streamed.

    Args:
        parts: Where they lie.
        n_features: Length of a vector.
        memory_gb: How much memory they may take, in GB of 10^9 bytes.

    Raises:
        FeatureError: If a file does not match its checksum, or holds what is no number.
    """
    n = sum(len(part.rows) for part in parts)
    limit = int(memory_gb * 1e9 / (4 * n_features))
    matrix = np.empty((n if n <= limit else 0, n_features), np.float32)
    filled = 0
    for part in parts:
        # Each file proves itself once, also where its rows are streamed afterwards.
        features = read_features(part.path)
        require_finite(features, part.path.name)
        stored = features.vectors
        if n <= limit:
            matrix[filled : filled + len(part.rows)] = stored[part.rows]
            filled += len(part.rows)
    if n <= limit:
        return MemoryVectors(matrix)
    # Half for the buffer, half for its shuffled copy.
    return StoredVectors(parts, n_features, buffer_rows=max(1, limit // 2))


def mean_and_scale(vectors: Vectors) -> tuple[Matrix, Matrix]:
    """Return what standardises each feature, in one stable pass.

    Args:
        vectors: At least one vector.

    Returns:
        Mean, and 1 / standard deviation, float32 ``(n_features,)`` each. The scale of a feature
        that is constant, up to rounding, is 0: it tells nothing, and dividing by its noise would
        drown the others. Deviations count as at least a thousandth of their median.
    """
    n = 0
    mean = np.zeros(vectors.n_features)
    squares = np.zeros(vectors.n_features)
    for _, matrix in vectors.batches(8192):
        # Chan, Golub, LeVeque 1983: merge the moments of parts.
        part_mean = matrix.mean(axis=0, dtype=np.float64)
        part_squares = np.square(matrix - part_mean).sum(axis=0, dtype=np.float64)
        delta, total = part_mean - mean, n + len(matrix)
        squares += part_squares + np.square(delta) * (n * len(matrix) / total)
        mean += delta * (len(matrix) / total)
        n = total
    deviation = np.sqrt(squares / max(n, 1))
    constant = deviation <= 1e-6 * np.abs(mean)
    if not constant.all():
        # A feature that is nearly always 0 would tower over all others where it is not.
        deviation = np.maximum(deviation, 1e-3 * np.median(deviation[~constant]))
    scale = np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation))
    return mean.astype(np.float32), scale.astype(np.float32)
