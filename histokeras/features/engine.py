"""The forward pass, behind one small seam: uint8 tiles in, feature vectors out."""

from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from histokeras.errors import ConfigError
from histokeras.features.texture_engine import TextureEngine
from histokeras.models.backbones import build_backbone, preprocess
from histokeras.models.catalog import STAIN_TEXTURE, Backbone
from histokeras.models.weights import WeightsSource
from histokeras.runs.environment import usable_cores

Images = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]


class Engine(Protocol):
    """What extraction needs of whatever computes."""

    @property
    def block(self) -> int:
        """Largest number of tiles a call takes: compute batch times replicas."""

    @property
    def n_features(self) -> int:
        """Length of one feature vector."""

    def start(self, images: Images) -> Any:
        """Begin to compute up to ``block`` tiles, uint8 (n, size, size, 3); return a ticket."""

    def finish(self, ticket: Any) -> Features:
        """Wait for a ticket and return its features, float32 (n, n_features)."""


def open_engine(
    backbone: Backbone,
    weights: WeightsSource,
    size_px: int,
    *,
    strategy: tf.distribute.Strategy | None = None,
    compute_batch: int = 16,
    precision: str = "float32",
) -> Engine:
    """Return what computes the features of a backbone: a network, or plain NumPy.

    Args:
        backbone: Which one.
        weights: Its weights.
        size_px: Side of a tile in pixels.
        strategy: Where a network computes.
        compute_batch: Tiles a replica computes at once.
        precision: ``float32`` or ``mixed_float16``.

    Raises:
        ConfigError: If the backbone cannot do it.
    """
    if backbone.name != STAIN_TEXTURE.name:
        return KerasEngine(
            backbone,
            weights,
            size_px,
            strategy=strategy,
            compute_batch=compute_batch,
            precision=precision,
        )
    if precision != "float32":
        raise ConfigError(f"{backbone.name} is computed in float32 alone: no --mixed-precision.")
    if size_px < backbone.min_px:
        raise ConfigError(
            f"{backbone.name} needs tiles of at least {backbone.min_px} px. "
            f"Received: size_px={size_px}"
        )
    return TextureEngine(min(8, usable_cores()))


class KerasEngine:
    """A Keras backbone in one ``tf.function`` of constant shape, on one device or several.

    The last bits of a network's output depend on the batch's shape. So every call computes the
    same shape on each replica, the missing tiles filled with zeros: features then do not depend on
    order, resume point, reading batch or number of GPUs.

    Args:
        backbone: Which network.
        weights: Its weights.
        size_px: Side of a tile in pixels.
        strategy: Where to compute; several replicas each get ``compute_batch`` tiles a call.
        compute_batch: Tiles a replica computes at once; part of the fingerprint.
        precision: ``float32`` or ``mixed_float16``.
    """

    def __init__(
        self,
        backbone: Backbone,
        weights: WeightsSource,
        size_px: int,
        *,
        strategy: tf.distribute.Strategy | None = None,
        compute_batch: int = 16,
        precision: str = "float32",
    ) -> None:
        self._strategy = strategy or tf.distribute.get_strategy()
        self._batch, self._size = compute_batch, size_px
        self.n_features = backbone.n_features
        self.block = compute_batch * int(self._strategy.num_replicas_in_sync)
        # TensorFloat-32 would cost three decimal digits on newer GPUs; --mixed-precision is the
        # way to ask for speed.
        tf.config.experimental.enable_tensor_float_32_execution(precision != "float32")
        before = keras.mixed_precision.dtype_policy()
        keras.mixed_precision.set_dtype_policy(precision)
        try:
            with self._strategy.scope():
                self.model = build_backbone(backbone, weights, size_px)
        finally:
            keras.mixed_precision.set_dtype_policy(before)
        self._backbone = backbone
        # Called with one shape only, so it is traced once.
        self._forward = tf.function(lambda parts: self._strategy.run(self._compute, (parts,)))

    def _compute(self, images: tf.Tensor) -> tf.Tensor:
        pixels = preprocess(self._backbone, tf.cast(images, tf.float32))
        return tf.cast(self.model(pixels, training=False), tf.float32)

    def start(self, images: Images) -> Any:
        """Begin to compute up to ``block`` tiles, uint8 (n, size, size, 3); return a ticket."""
        n = len(images)
        if n < self.block:
            padded = np.zeros((self.block, self._size, self._size, 3), np.uint8)
            padded[:n] = images
            images = padded
        parts = self._strategy.experimental_distribute_values_from_function(
            lambda replica: tf.constant(
                images[replica.replica_id_in_sync_group * self._batch :][: self._batch]
            )
        )
        results = self._forward(parts)
        return n, self._strategy.experimental_local_results(results)

    def finish(self, ticket: Any) -> Features:
        """Wait for a ticket and return its features, float32 (n, n_features)."""
        n, parts = ticket
        return np.concatenate([part.numpy() for part in parts])[:n]
