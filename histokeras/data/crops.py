"""tf.data pipelines of crops of images and their class masks: read in parallel, in order."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from histokeras.data.pair_pool import Image, PairPool
from histokeras.data.tiles import one_machine
from histokeras.types import IGNORE

Ints = npt.NDArray[np.int64]


class CropReading:
    """Reads crops inside a pipeline, and keeps what went wrong.

    TensorFlow turns an exception into text; ``error`` holds the exception itself.

    Args:
        pool: Reads the images.
        crop_px: Side of the crops in pixels.
    """

    def __init__(self, pool: PairPool, crop_px: int) -> None:
        self._pool, self._crop_px = pool, crop_px
        self.error: Exception | None = None

    def __call__(self, row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return image and mask of a crop.

        Args:
            row: int64 ``(5,)``: number of the image, x, y, and how many columns at the left and
                rows at the top do not count. Of an image -1 nothing counts: it fills a batch.
        """
        image, mask = tf.numpy_function(self._one, [row], [tf.uint8, tf.uint8])
        image.set_shape((self._crop_px, self._crop_px, 3))
        mask.set_shape((self._crop_px, self._crop_px))
        return image, tf.cast(mask, tf.int32)

    def _one(self, row: Ints) -> tuple[Image, Image]:
        number, x, y, skip_x, skip_y = (int(value) for value in row)
        size = (self._crop_px, self._crop_px)
        if number < 0:
            return np.full((*size, 3), 255, np.uint8), np.full(size, IGNORE, np.uint8)
        try:
            image, mask = self._pool.read(number, (x, y), size)
        except Exception as error:
            self.error = self.error or error
            raise
        if skip_x or skip_y:
            mask = mask.copy()
            mask[:skip_y], mask[:, :skip_x] = IGNORE, IGNORE
        return image, mask


def training_crops(
    reading: CropReading,
    order: Callable[[], Ints],
    *,
    batch_size: int,
    steps: int,
    workers: int,
) -> tf.data.Dataset:
    """Return the batches of one epoch; iterating again asks ``order`` again.

    Args:
        reading: Reads a crop.
        order: Returns image, x and y of the crops of the epoch, int64 ``(steps * batch_size, 3)``.
        batch_size: Crops a step, over all devices; every batch is whole.
        steps: Batches an epoch.
        workers: Reading threads.

    Returns:
        ``(images uint8 (batch, crop_px, crop_px, 3), masks int32 (batch, crop_px, crop_px))``.
    """
    return (
        tf.data.Dataset.from_generator(
            lambda: (np.append(row, (0, 0)) for row in order()[: steps * batch_size]),
            output_signature=tf.TensorSpec((5,), tf.int64),
        )
        .map(reading, num_parallel_calls=workers, deterministic=True)
        .batch(batch_size, drop_remainder=True)
        # Without a known length Keras takes the end of the first epoch for a failure.
        .apply(tf.data.experimental.assert_cardinality(steps))
        .prefetch(2)
        .with_options(one_machine(workers))
    )


def ordered_crops(
    reading: CropReading, windows: Ints, *, batch_size: int, workers: int
) -> tf.data.Dataset:
    """Return fixed windows in their order, in whole batches.

    Args:
        reading: Reads a window.
        windows: From :func:`histokeras.data.places.fixed_windows`.
        batch_size: Windows a step, over all devices; the last batch is filled with windows of
            which nothing counts: a device that gets none at all cannot compute.
        workers: Reading threads.

    Returns:
        ``(images uint8 (batch, crop_px, crop_px, 3), masks int32 (batch, crop_px, crop_px))``.
    """
    filling = np.tile(np.array([-1, 0, 0, 0, 0], np.int64), (-len(windows) % batch_size, 1))
    return (
        tf.data.Dataset.from_tensor_slices(np.concatenate([windows, filling]))
        .map(reading, num_parallel_calls=workers, deterministic=True)
        .batch(batch_size, drop_remainder=True)
        .prefetch(2)
        .with_options(one_machine(workers))
    )
