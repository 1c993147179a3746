"""Fit clusters to feature vectors, by deep k-means or k-means, and assign tiles to them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import ops
from sklearn.cluster import KMeans

from histokeras.errors import ConfigError, TableError
from histokeras.models.deep_kmeans import (
    CENTRES,
    EMBEDDING,
    HIDDEN,
    annealed_alphas,
    build_deep_kmeans,
)
from histokeras.training.vectors import Matrix, MemoryVectors, Vectors, mean_and_scale
from histokeras.types import CLUSTER_METHODS, DKM_A, DKM_P, KMEANS

CLUSTER_CENTRES = "cluster_centres"
"""Name of the centres among the arrays."""
_ROWS = 4096
_P_ALPHA, _P_ROUNDS, _A_ROUNDS = 1000.0, 20, 40


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """How clusters are fitted.

    Attributes:
        method: ``dkm-a`` (annealed, not pretrained), ``dkm-p`` (pretrained) or ``kmeans``.
        n_clusters: At least 2.
        seed: Of everything random.
        hidden: Units of the encoder's hidden layers.
        batch_size: Tiles a step.
        learning_rate: Of Adam.
        weight: lambda, what the k-means term counts beside the reconstruction.
        pretraining: Epochs of the autoencoder alone, for ``dkm-p``.
        epochs: Epochs at each inverse temperature: 40 of ``dkm-a``, 20 times 1000 for ``dkm-p``.
    """

    method: str = DKM_A
    n_clusters: int = 2
    seed: int = 0
    hidden: tuple[int, ...] = HIDDEN
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight: float = 1.0
    pretraining: int = 50
    epochs: int = 5

    def __post_init__(self) -> None:
        if self.method not in CLUSTER_METHODS:
            raise ConfigError(
                f"`method` must be one of {', '.join(CLUSTER_METHODS)}. "
                f"Received: method={self.method!r}"
            )
        if self.n_clusters < 2:
            raise ConfigError(
                f"`n_clusters` must be at least 2. Received: n_clusters={self.n_clusters}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the settings that decide the result, as plain values."""
        known = asdict(self)
        if self.method == KMEANS:
            return {name: known[name] for name in ("method", "n_clusters", "seed")}
        if self.method == DKM_A:
            del known["pretraining"]
        return known

    @property
    def alphas(self) -> list[float]:
        """The inverse temperature of each round of ``epochs`` epochs."""
        return annealed_alphas(_A_ROUNDS) if self.method == DKM_A else [_P_ALPHA] * _P_ROUNDS


@dataclass(frozen=True)
class FittedClusters:
    """Clusters, the one with most training tiles first.

    Attributes:
        embed: Features ``(n, n_features)`` -> where the centres lie, ``(n, width)``, float32.
        centres: float32 ``(n_clusters, width)``.
        arrays: All that :attr:`embed` is made of, and the centres, by name.
        history: One row an epoch; empty for k-means.
    """

    embed: Callable[[Matrix], Matrix]
    centres: Matrix
    arrays: dict[str, npt.NDArray[np.float32]]
    history: pd.DataFrame

    def assign(self, vectors: Vectors) -> tuple[npt.NDArray[np.int32], Matrix]:
        """Return the cluster of each vector, and its distance to that centre, both ``(n,)``."""
        clusters = np.empty(len(vectors), np.int32)
        distances = np.empty(len(vectors), np.float32)
        for positions, matrix in vectors.batches(_ROWS):
            squared = _squared_distances(self.embed(matrix), self.centres)
            clusters[positions] = squared.argmin(axis=1)
            distances[positions] = np.sqrt(squared.min(axis=1))
        return clusters, distances


def fit_clusters(train: Vectors, config: ClusterConfig | None = None) -> FittedClusters:
    """Fit clusters to training tiles, on features standardised by these very tiles.

    Args:
        train: The vectors; k-means needs them in memory.
        config: The defaults if None.

    Returns:
        The clusters; equal for equal vectors and settings.

    Raises:
        TableError: If there are fewer tiles than clusters.
        ConfigError: If k-means is asked of vectors that are streamed.
    """
    config = config or ClusterConfig()
    if len(train) < config.n_clusters:
        raise TableError(
            f"{len(train)} training tile(s) cannot be {config.n_clusters} clusters.",
            code="TOO_FEW_TILES",
            hint="Ask for fewer with --k, or check which patients are in train.",
        )
    mean, scale = mean_and_scale(train)
    if config.method != KMEANS:
        return _fit_deep(train, config, mean, scale)
    if not isinstance(train, MemoryVectors):
        raise ConfigError(
            "k-means needs all training features in memory.",
            hint="Allow more with --memory-gb, or use --method dkm-a, which streams them.",
        )

    def embed(matrix: Matrix) -> Matrix:
        return (matrix - mean) * scale

    found = _kmeans(embed(_collected(train, lambda matrix: matrix)), config)
    return _ordered(train, embed, found, {"mean": mean, "scale": scale}, pd.DataFrame())


def _fit_deep(train: Vectors, config: ClusterConfig, mean: Matrix, scale: Matrix) -> FittedClusters:
    keras.utils.set_random_seed(config.seed)
    model = build_deep_kmeans(
        train.n_features, config.n_clusters, hidden=config.hidden, mean=mean, scale=scale
    )
    encoder = keras.Model(model.inputs[0], model.get_layer(EMBEDDING).output)
    layer = model.get_layer(CENTRES)

    def embed(matrix: Matrix) -> Matrix:
        return np.asarray(ops.convert_to_numpy(encoder(matrix, training=False)), np.float32)

    rows: list[dict[str, float]] = []
    if config.method == DKM_P:
        _compile(model, config, weight=0.0)
        for _ in range(config.pretraining):
            rows.append({"alpha": np.nan, **_epoch(model, train, config, len(rows))})
        layer.centres.assign(_kmeans(_collected(train, embed), config))
    else:
        # Random tiles as centres: of the scale of the embedding, whatever that is.
        chosen = np.random.default_rng(config.seed).choice(len(train), config.n_clusters, False)
        layer.centres.assign(_collected(train, embed)[chosen])
    _compile(model, config, weight=config.weight)
    for alpha in config.alphas:
        layer.alpha.assign(alpha)
        for _ in range(config.epochs):
            rows.append({"alpha": alpha, **_epoch(model, train, config, len(rows))})
    arrays = {weight.path: ops.convert_to_numpy(weight) for weight in encoder.weights}
    centres = np.asarray(ops.convert_to_numpy(layer.centres), np.float32)
    history = pd.DataFrame(rows)
    history.insert(0, "epoch", np.arange(1, len(rows) + 1))
    return _ordered(train, embed, centres, arrays, history)


def _compile(model: keras.Model, config: ClusterConfig, *, weight: float) -> None:
    # The outputs are losses of each tile already.
    model.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate),
        loss=dict.fromkeys(("reconstruction", CENTRES), _mean),
        loss_weights={"reconstruction": 1.0, CENTRES: weight},
    )


def _mean(targets: Any, losses: Any) -> Any:
    return ops.mean(losses)


def _epoch(
    model: keras.Model, train: Vectors, config: ClusterConfig, epoch: int
) -> dict[str, float]:
    """Train for one epoch; return the means of the loss and its two parts."""
    names = ("loss", "reconstruction", CENTRES)
    # Order depends on (seed, epoch) alone.
    rng = np.random.default_rng((config.seed, epoch))
    model.reset_metrics()
    logs: dict[str, Any] = {}
    for _, matrix in train.batches(config.batch_size, rng):
        unused = np.zeros(len(matrix), np.float32)
        targets = {"reconstruction": unused, CENTRES: unused}
        logs = model.train_on_batch(matrix, targets, return_dict=True)
    row = {name: float(logs[name if name == "loss" else f"{name}_loss"]) for name in names}
    if not np.isfinite(row["loss"]):
        raise ConfigError(
            f"training came to no number in epoch {epoch + 1}.",
            hint="Use a smaller learning rate.",
        )
    return row


def _kmeans(matrix: Matrix, config: ClusterConfig) -> Matrix:
    found = KMeans(config.n_clusters, n_init=10, random_state=config.seed).fit(matrix)
    return np.asarray(found.cluster_centers_, np.float32)


def _collected(vectors: Vectors, function: Callable[[Matrix], Matrix]) -> Matrix:
    """Return the values of a function for all vectors, in their order."""
    pairs = [(positions, function(matrix)) for positions, matrix in vectors.batches(_ROWS)]
    values = np.empty((len(vectors), pairs[0][1].shape[1]), np.float32)
    for positions, part in pairs:
        values[positions] = part
    return values


def _ordered(
    train: Vectors,
    embed: Callable[[Matrix], Matrix],
    centres: Matrix,
    arrays: dict[str, npt.NDArray[np.float32]],
    history: pd.DataFrame,
) -> FittedClusters:
    clusters, _ = FittedClusters(embed, centres, {}, history).assign(train)
    sizes = np.bincount(clusters, minlength=len(centres))
    centres = centres[np.argsort(-sizes, kind="stable")]
    return FittedClusters(embed, centres, {**arrays, CLUSTER_CENTRES: centres}, history)


def _squared_distances(embedded: Matrix, centres: Matrix) -> Matrix:
    # One centre at a time: (n, k, width) would not fit.
    return np.stack([np.square(embedded - row).sum(axis=1) for row in centres], axis=1)
