"""Layers that pad, crop and resize maps whose size is known only when they run."""

from typing import Any

import keras
from keras import ops

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("histokeras")
class MirrorPad(keras.layers.Layer):
    """Continue images beyond their edges by their mirror image, to whole cells of a stride.

    Args:
        stride: Pixels a cell; the padded sides are multiples of it.
        before: Rows above and columns to the left that are added.
        beyond: Rows and columns that are at least added after.
    """

    def __init__(self, stride: int, before: int = 0, beyond: int = 0, **how: Any) -> None:
        super().__init__(**how)
        self.stride, self.before, self.beyond = stride, before, beyond

    def call(self, images: Any) -> Any:
        """Return images ``(b, h, w, c)`` padded, ``(b, H, W, c)``."""
        for axis in (1, 2):
            n = ops.shape(images)[axis]
            at = ops.arange(self._padded(n)) - self.before
            # Period 2n: forth over the n rows, and back; it serves images smaller than the pad too.
            at = ops.mod(at, 2 * n)
            images = ops.take(images, ops.minimum(at, 2 * n - 1 - at), axis=axis)
        return images

    def _padded(self, n: Any) -> Any:
        least = n + self.before + self.beyond
        return (least + self.stride - 1) // self.stride * self.stride

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of padded images."""
        b, h, w, c = input_shape
        return (b, *(None if n is None else self._padded(n) for n in (h, w)), c)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same layer again."""
        own = {"stride": self.stride, "before": self.before, "beyond": self.beyond}
        return {**super().get_config(), **own}


class _AsLargeAs(keras.layers.Layer):
    """Base of layers that give one map the height and width of another."""

    def compute_output_shape(self, x_shape: Shape, reference_shape: Shape) -> Shape:
        """Return the shape of ``x`` with the sides of the reference."""
        return (x_shape[0], reference_shape[1], reference_shape[2], x_shape[3])


@keras.saving.register_keras_serializable("histokeras")
class Crop(_AsLargeAs):
    """Cut what was padded after the last row and column."""

    def call(self, x: Any, reference: Any) -> Any:
        """Return the upper left corner of ``x`` ``(b, h, w, c)``, as large as the reference."""
        _, h, w, _ = ops.shape(reference)
        return x[:, :h, :w]


@keras.saving.register_keras_serializable("histokeras")
class Spread(_AsLargeAs):
    """Repeat one vector an image over a whole map."""

    def call(self, x: Any, reference: Any) -> Any:
        """Return ``x`` ``(b, 1, 1, c)`` as a map as large as the reference."""
        b, h, w, _ = ops.shape(reference)
        return ops.broadcast_to(x, (b, h, w, x.shape[-1]))


@keras.saving.register_keras_serializable("histokeras")
class Upsample(_AsLargeAs):
    """Interpolate a coarse map on the grid of a finer one, from where its cells really lie.

    Resizing by size alone takes a cell for the centre of its square of pixels. A network of stride
    16 looks from one of the square's corners: the map would lie 7.5 px beside the image.

    Args:
        stride: Reference cells a cell.
        first: On which reference cell, counted from 0, the first cell lies; may be negative.
    """

    def __init__(self, stride: int, first: int, **how: Any) -> None:
        super().__init__(**how)
        self.stride, self.first = stride, first

    def call(self, x: Any, reference: Any) -> Any:
        """Return ``x`` ``(b, i, j, c)``, bilinear, ``(b, h, w, c)``; constant beyond its ends."""
        _, h, w, _ = ops.shape(reference)
        _, i, j, _ = ops.shape(x)
        x = ops.einsum("hi,bijc->bhjc", self._weights(h, i, x.dtype), x)
        return ops.einsum("wj,bhjc->bhwc", self._weights(w, j, x.dtype), x)

    def _weights(self, n: Any, n_cells: Any, dtype: Any) -> Any:
        """Return what each cell gives to each point, ``(n, n_cells)``; rows sum to 1."""
        # In float32 whatever the precision of the network: half a cell of 1000 is none in float16.
        cells = ops.cast(ops.arange(n_cells), "float32")
        at = (ops.cast(ops.arange(n), "float32") - self.first) / self.stride
        at = ops.clip(at, 0.0, ops.cast(n_cells - 1, "float32"))
        weights = ops.maximum(0.0, 1.0 - ops.abs(at[:, None] - cells[None, :]))
        return ops.cast(weights, dtype)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same layer again."""
        return {**super().get_config(), "stride": self.stride, "first": self.first}
