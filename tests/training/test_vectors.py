from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from histokeras.errors import FeatureError
from histokeras.features.store import FeatureSet, write_features
from histokeras.training.vectors import (
    MemoryVectors,
    Rows,
    StoredVectors,
    Vectors,
    mean_and_scale,
    open_vectors,
)


@pytest.fixture
def parts(tmp_path: Path) -> list[Rows]:
    """1,230 rows of two files, of which every second of the first is used."""
    made = []
    for number, n in enumerate((900, 780)):
        vectors = np.arange(n * 4, dtype=np.float32).reshape(n, 4) + number * 10_000
        table = pd.DataFrame({"slide_id": str(number), "x": np.arange(n), "y": 0})
        path = tmp_path / f"{number}.h5"
        write_features(path, FeatureSet(vectors, table, "b", {"slide_id": str(number)}))
        made.append(Rows(path, np.arange(0, n, 2 - number)))
    return made


def gathered(vectors: Vectors, size: int, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    rng = None if seed is None else np.random.default_rng(seed)
    batches = list(vectors.batches(size, rng))
    assert all(len(positions) == size for positions, _ in batches[:-1])
    return tuple(np.concatenate(column) for column in zip(*batches, strict=True))  # type: ignore


@pytest.mark.parametrize("size", [1, 7, 256, 5000])
def test_streamed_and_held_vectors_are_the_same(parts: list[Rows], size: int) -> None:
    held = open_vectors(parts, 4, memory_gb=1)
    streamed = open_vectors(parts, 4, memory_gb=6e-6)
    assert isinstance(held, MemoryVectors)
    assert isinstance(streamed, StoredVectors)
    assert len(held) == len(streamed) == 1230

    positions, matrix = gathered(held, size, None)
    again_positions, again = gathered(streamed, size, None)

    np.testing.assert_array_equal(positions, np.arange(1230))
    np.testing.assert_array_equal(again_positions, positions)
    np.testing.assert_array_equal(again, matrix)
    assert matrix[1, 0] == 8
    assert matrix[450, 0] == 10_000


@pytest.mark.parametrize("memory_gb", [1, 6e-6])
def test_shuffling_gives_each_vector_once_in_a_seeded_order(
    parts: list[Rows], memory_gb: float
) -> None:
    vectors = open_vectors(parts, 4, memory_gb=memory_gb)
    _, plain = gathered(vectors, 9999, None)

    positions, matrix = gathered(vectors, 64, 1)
    again, _ = gathered(vectors, 64, 1)
    other, _ = gathered(vectors, 64, 2)

    np.testing.assert_array_equal(np.sort(positions), np.arange(1230))
    np.testing.assert_array_equal(matrix, plain[positions])
    np.testing.assert_array_equal(positions, again)
    assert not np.array_equal(positions, other)
    assert np.abs(np.diff(positions)).mean() > 20


def test_mean_and_scale_do_not_depend_on_streaming(parts: list[Rows]) -> None:
    held = open_vectors(parts, 4, memory_gb=1)
    _, matrix = gathered(held, 9999, None)

    for vectors in (held, open_vectors(parts, 4, memory_gb=6e-6)):
        mean, scale = mean_and_scale(vectors)
        np.testing.assert_allclose(mean, matrix.mean(0), rtol=1e-6)
        np.testing.assert_allclose(1 / scale, matrix.std(0), rtol=1e-5)


def test_damaged_files_are_noticed_before_training(parts: list[Rows]) -> None:
    path = parts[1].path
    data = bytearray(path.read_bytes())
    position = data.find(np.float32(10_400).tobytes())
    data[position + 1] ^= 255
    path.write_bytes(bytes(data))

    for memory_gb in (1, 6e-6):
        with pytest.raises(FeatureError, match="SHA-256"):
            open_vectors(parts, 4, memory_gb=memory_gb)
