"""The layer that makes one channel of three: how bright a pixel is."""

from typing import Any

import keras
from keras import ops

Shape = tuple[int | None, ...]
WEIGHTS = 0.299, 0.587, 0.114
"""What red, green and blue give (ITU-R BT.601), as where Pillow or OpenCV make a picture grey."""


@keras.saving.register_keras_serializable("histokeras")
class Luminance(keras.layers.Layer):
    """Return how bright the pixels of RGB images are, so that a network sees no hue."""

    def call(self, images: Any) -> Any:
        """Return images ``(b, h, w, 3)`` as ``(b, h, w, 1)``, in the same range."""
        return ops.sum(images * ops.convert_to_tensor(WEIGHTS, images.dtype), -1, keepdims=True)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of grey images."""
        return (*input_shape[:-1], 1)
