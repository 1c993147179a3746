"""Where tiles lie on a map of two directions: a sample of them, on axes fitted to train alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.decomposition import PCA

from histokeras.training.vectors import Matrix, Vectors, mean_and_scale
from histokeras.types import SPLIT

_MOST_TILES = 5000


@dataclass(frozen=True)
class Projection:
    """A way to map features to two numbers.

    Attributes:
        name: ``pca`` or ``umap``.
        fit: Takes standardised features of train tiles ``(n, n_features)`` and of others
            ``(m, n_features)``, and a seed; gives ``(n, 2)``, ``(m, 2)`` and the names of the axes.
        note: What the reader of a map must know.
        fewest: Train tiles that it needs.
    """

    name: str
    fit: Callable[[Matrix, Matrix, int], tuple[Matrix, Matrix, tuple[str, str]]]
    note: str
    fewest: int


def _fit_pca(train: Matrix, others: Matrix, seed: int) -> tuple[Matrix, Matrix, tuple[str, str]]:
    pca = PCA(2, random_state=seed).fit(train)
    first, second = pca.explained_variance_ratio_
    names = (
        f"first principal component ({first:.0%} of the variance)",
        f"second principal component ({second:.0%})",
    )
    placed = pca.transform(np.concatenate([train, others]))
    return placed[: len(train)], placed[len(train) :], names


PCA_MAP = Projection(
    "pca",
    _fit_pca,
    "Both directions in which train tiles vary most: clusters that overlap here may lie apart in "
    "others.",
    2,
)


@dataclass(frozen=True)
class ClusterMap:
    """Where tiles lie.

    Attributes:
        points: ``x``, ``y`` and ``cluster`` of a sample of all tiles.
        axes: Names of x and y.
    """

    points: pd.DataFrame
    axes: tuple[str, str]


def map_tiles(
    train: Vectors,
    every: Vectors,
    tiles: pd.DataFrame,
    projection: Projection,
    seed: int,
) -> ClusterMap:
    """Map a sample of all tiles, on axes fitted to the train tiles among them.

    Args:
        train: The vectors of train.
        every: Those of all tiles.
        tiles: ``cluster`` and ``split`` of each of these, in the same order.
        projection: How.
        seed: Of the sample and the projection.
    """
    mean, scale = mean_and_scale(train)
    is_train = (tiles[SPLIT] == "train").to_numpy()
    wanted = _sampled(is_train, projection.fewest, np.random.default_rng(seed))
    parts = []
    for positions, matrix in every.batches(4096):
        keep = wanted[positions]
        parts.append((positions[keep], (matrix[keep] - mean) * scale))
    positions = np.concatenate([part for part, _ in parts])
    matrix = np.concatenate([part for _, part in parts])
    fitting = is_train[positions]
    placed = np.empty((len(matrix), 2), np.float32)
    placed[fitting], placed[~fitting], axes = projection.fit(
        matrix[fitting], matrix[~fitting], seed
    )
    clusters = tiles["cluster"].to_numpy()[positions]
    return ClusterMap(
        pd.DataFrame({"x": placed[:, 0], "y": placed[:, 1], "cluster": clusters}), axes
    )


def _sampled(
    is_train: npt.NDArray[np.bool_], fewest: int, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Return which tiles are drawn: as many of train as its share, at least ``fewest``."""
    share = min(1.0, _MOST_TILES / len(is_train))
    wanted = np.zeros(len(is_train), bool)
    for side, least in ((is_train, fewest), (~is_train, 0)):
        known = np.flatnonzero(side)
        n = min(len(known), max(least, round(share * len(known))))
        wanted[rng.choice(known, n, replace=False)] = True
    return wanted
