"""Deep k-means (Fard, Thonet, Gaussier 2020): an autoencoder and cluster centres, learned together.

With embedding ``h_i`` of tile ``x_i``, centres ``r_k`` and inverse temperature ``alpha``::

    loss = mean_i ||x_i - decoded(h_i)||^2 + lambda mean_i sum_k G_ik ||h_i - r_k||^2
    G_i  = softmax_k(-alpha ||h_i - r_k||^2)

As ``alpha`` grows, ``G`` becomes the hard assignment of k-means.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from histokeras.models.heads import standardised

HIDDEN = (500, 500, 2000)
"""Units of the encoder's layers before the embedding; the decoder has them in reverse."""
EMBEDDING, CENTRES = "embedding", "centres"


def squared_distances(embedded: keras.KerasTensor, centres: keras.KerasTensor) -> keras.KerasTensor:
    """Return squared Euclidean distances, ``(n, width), (k, width) -> (n, k)``, float."""
    return ops.sum(ops.square(ops.expand_dims(embedded, 1) - ops.expand_dims(centres, 0)), axis=-1)


def soft_assignments(distances: keras.KerasTensor, alpha: float) -> keras.KerasTensor:
    """Return how much each tile belongs to each centre, ``(n, k)``, rows that sum to 1.

    Args:
        distances: Squared distances, ``(n, k)``.
        alpha: Inverse temperature, above 0; infinity would be k-means.
    """
    # Less the smallest of each row: exp never overflows, and one term is always exp(0).
    least = ops.min(distances, axis=-1, keepdims=True)
    weights = ops.exp(-alpha * (distances - least))
    return weights / ops.sum(weights, axis=-1, keepdims=True)


def kmeans_terms(
    embedded: keras.KerasTensor, centres: keras.KerasTensor, alpha: float
) -> keras.KerasTensor:
    """Return each tile's ``sum_k G_k ||h - r_k||^2``, ``(n, width), (k, width) -> (n,)``."""
    distances = squared_distances(embedded, centres)
    return ops.sum(soft_assignments(distances, alpha) * distances, axis=-1)


def annealed_alphas(n: int) -> list[float]:
    """Return the first ``n`` inverse temperatures of DKM-a.

    ``alpha_0 = 0.1`` and ``alpha_{i+1} = 2^(1 / ln(i + 2)^2) alpha_i``: 0.1, 0.4232, 0.7516, ...
    """
    alphas = [0.1]
    for i in range(n - 1):
        alphas.append(alphas[-1] * 2 ** (1 / math.log(i + 2) ** 2))
    return alphas[:n]


class Centres(keras.layers.Layer):
    """Cluster centres; gives each tile's k-means term, ``(batch, width) -> (batch,)``.

    Args:
        n_clusters: Number of centres.
    """

    def __init__(self, n_clusters: int, **how: object) -> None:
        super().__init__(**how)
        self.n_clusters = n_clusters

    def build(self, input_shape: Sequence[int]) -> None:
        """Make the centres, ``(n_clusters, width)``, and the inverse temperature, a number."""
        shape = (self.n_clusters, input_shape[-1])
        self.centres = self.add_weight(shape=shape, initializer="zeros", name="centres")
        # A variable, so that a new value needs no new graph.
        self.alpha = self.add_weight(shape=(), initializer="ones", trainable=False, name="alpha")

    def call(self, embedded: keras.KerasTensor) -> keras.KerasTensor:
        """Return the k-means terms."""
        return kmeans_terms(embedded, self.centres, self.alpha)

    def get_config(self) -> dict[str, object]:
        """Return the arguments."""
        return {**super().get_config(), "n_clusters": self.n_clusters}


def build_deep_kmeans(
    n_features: int,
    n_clusters: int,
    *,
    hidden: Sequence[int] = HIDDEN,
    mean: npt.NDArray[np.float32] | None = None,
    scale: npt.NDArray[np.float32] | None = None,
) -> keras.Model:
    """Build the autoencoder with its centres; the embedding is as wide as there are clusters.

    Args:
        n_features: Length of one feature vector.
        n_clusters: Number of clusters, at least 2.
        hidden: Units of the encoder's hidden layers.
        mean: Mean of each feature over the training tiles, ``(n_features,)``; zeros if None.
        scale: 1 / standard deviation of each feature, same shape; ones if None.

    Returns:
        An uncompiled model, ``(batch, n_features) float32`` -> ``reconstruction``, the squared
        error of each tile in standardised features, and ``centres``, its k-means term, both
        ``(batch,)`` float32. Both are losses already. The layer ``embedding`` gives the embedding.

    Raises:
        ValueError: If ``n_clusters`` is below 2.
    """
    if n_clusters < 2:
        raise ValueError(f"`n_clusters` must be at least 2. Received: n_clusters={n_clusters}")
    inputs = keras.Input((n_features,), name="features")
    mean = np.zeros(n_features, np.float32) if mean is None else mean
    scale = np.ones(n_features, np.float32) if scale is None else scale
    x = tiles = standardised(inputs, mean, scale)
    for i, units in enumerate(hidden):
        x = keras.layers.Dense(units, activation="relu", name=f"encoder_{i}")(x)
    embedded = x = keras.layers.Dense(n_clusters, dtype="float32", name=EMBEDDING)(x)
    for i, units in enumerate(reversed(hidden)):
        x = keras.layers.Dense(units, activation="relu", name=f"decoder_{i}")(x)
    decoded = keras.layers.Dense(n_features, dtype="float32", name="decoded")(x)
    outputs = {
        "reconstruction": ops.sum(ops.square(tiles - decoded), axis=-1),
        CENTRES: Centres(n_clusters, dtype="float32", name=CENTRES)(embedded),
    }
    return keras.Model(inputs, outputs, name="deep_kmeans")
