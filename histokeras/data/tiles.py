"""tf.data pipelines of tiles for training: read in parallel, in a given order, in whole batches."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Positions = npt.NDArray[np.int64]
Read = Callable[[int], npt.NDArray[np.uint8]]


class Reading:
    """Reads tiles by position inside a pipeline, and keeps what went wrong.

    TensorFlow turns an exception into text; ``error`` holds the exception itself.

    Args:
        read: Given a position, returns the tile, uint8 (size_px, size_px, 3).
        size_px: Side of the tiles in pixels.
    """

    def __init__(self, read: Read, size_px: int) -> None:
        self._read = read
        self._shape = (size_px, size_px, 3)
        self.error: Exception | None = None

    def __call__(self, position: tf.Tensor) -> tf.Tensor:
        """Return the tile at a position, int64 ()."""
        image = tf.numpy_function(self._one, [position], tf.uint8)
        image.set_shape(self._shape)
        return image

    def _one(self, position: np.int64) -> npt.NDArray[np.uint8]:
        try:
            image = self._read(int(position))
            if image.shape != self._shape:
                raise ValueError(f"a tile of shape {image.shape}, expected {self._shape}")
        except Exception as error:
            self.error = self.error or error
            raise
        return image


def training_tiles(
    reading: Reading,
    order: Callable[[], Positions],
    targets: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
    *,
    batch_size: int,
    steps: int,
    workers: int,
) -> tf.data.Dataset:
    """Return the batches of one epoch; iterating again asks ``order`` again.

    Args:
        reading: Reads a tile by its position.
        order: Returns the positions of the epoch, at least ``steps * batch_size``.
        targets: Class number of each position.
        weights: Weight of each position in the loss.
        batch_size: Tiles a step, over all devices; every batch is whole.
        steps: Batches an epoch.
        workers: Reading threads.

    Returns:
        ``(images uint8 (batch, size_px, size_px, 3), targets int32, weights float32)``.
    """
    of_target, of_weight = tf.constant(targets), tf.constant(weights)
    return (
        tf.data.Dataset.from_generator(
            lambda: iter(order()[: steps * batch_size]),
            output_signature=tf.TensorSpec((), tf.int64),
        )
        .map(
            lambda at: (reading(at), of_target[at], of_weight[at]),
            num_parallel_calls=workers,
            deterministic=True,
        )
        .batch(batch_size, drop_remainder=True)
        # Without a known length Keras takes the end of the first epoch for a failure.
        .apply(tf.data.experimental.assert_cardinality(steps))
        .prefetch(2)
        .with_options(one_machine(workers))
    )


def ordered_tiles(
    reading: Reading, positions: Positions, *, batch_size: int, workers: int
) -> tf.data.Dataset:
    """Return the tiles at the positions, in their order; the last batch may be smaller.

    Args:
        reading: Reads a tile by its position.
        positions: Which tiles.
        batch_size: Tiles a step.
        workers: Reading threads.

    Returns:
        ``images uint8 (batch, size_px, size_px, 3)``.
    """
    return (
        tf.data.Dataset.from_tensor_slices(positions.astype(np.int64))
        .map(reading, num_parallel_calls=workers, deterministic=True)
        .batch(batch_size)
        .prefetch(2)
        .with_options(one_machine(workers))
    )


def one_machine(workers: int) -> tf.data.Options:
    """Return the options of a pipeline on one machine that reads with so many threads."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = workers
    options.autotune.enabled = False
    # One machine: each device gets its part of every batch, there are no files to be dealt out.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
