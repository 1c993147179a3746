"""A segmenter as what is laid over windows."""

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from histokeras.tiles.windows import (
    Band,
    Predict,
    Probabilities,
    Windows,
    segment_bands,
    segment_image,
    windows_of,
)

__all__ = [
    "Band",
    "Windows",
    "average",
    "predictor",
    "segment_bands",
    "segment_image",
    "windows_of",
]


def predictor(model: keras.Model, batch_size: int, *, device: str | None = None) -> Predict:
    """Return what turns windows into probabilities, always in batches of one size.

    Args:
        model: Images 0..255 (b, h, w, 3) to logits (b, h, w, n_classes).
        batch_size: Windows computed at once; fewer are filled up.
        device: Where, such as ``/gpu:0``; None for TensorFlow's own choice.
    """

    @tf.function(input_signature=[tf.TensorSpec((batch_size, None, None, 3), tf.uint8)])
    def compute(images: tf.Tensor) -> tf.Tensor:
        logits = model(tf.cast(images, tf.float32), training=False)
        return tf.nn.softmax(tf.cast(logits, tf.float32))

    def predict(images: npt.NDArray[np.uint8]) -> Probabilities:
        missing = batch_size - len(images)
        # The same network in one shape: a lone window would else be computed in other bits.
        padded = np.concatenate([images, images[-1:].repeat(missing, axis=0)])
        with tf.device(device):
            return np.asarray(compute(padded))[: len(images)]

    return predict


def average(parts: Sequence[Predict]) -> Predict:
    """Return what gives the mean of the probabilities of several segmenters, such as of folds."""
    if len(parts) == 1:
        return parts[0]

    def predict(images: npt.NDArray[np.uint8]) -> Probabilities:
        total = parts[0](images)
        for part in parts[1:]:
            total = total + part(images)
        return np.asarray(total / np.float32(len(parts)), np.float32)

    return predict
