"""One tf.data pipeline over all slides: read tiles in parallel, ahead of the network, in order.

One pipeline for a whole cohort, not one a slide: each new ``tf.data`` graph costs time and keeps
memory for ever.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

_ROWS_A_CHUNK = 64
_MAX_OPEN = 4
_STOP_S = 30
_FAILED, _END = -1, -2


class TileSource(Protocol):
    """Tiles that can be read by number: those of one slide, or of one folder."""

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Numbers of the tiles to read, in order."""

    def read(self, row: int) -> tuple[npt.NDArray[np.uint8], float, bool]:
        """Return the image (size, size, 3), its background in 0..1, and whether to keep it."""

    def close(self) -> None:
        """Give back the file handle."""


@dataclass(frozen=True)
class Tiles:
    """Consecutive tiles of one source, as they leave the pipeline.

    Attributes:
        source: Position of the source in the input.
        rows: Their numbers, shape ``(n,)``.
        images: uint8, shape ``(n, size_px, size_px, 3)``, read-only.
        background: Share of bright pixels of each, in 0..1.
        kept: Which are to be used, bool ``(n,)``.
    """

    source: int
    rows: npt.NDArray[np.int64]
    images: npt.NDArray[np.uint8]
    background: npt.NDArray[np.float64]
    kept: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SourceEnd:
    """All tiles of a source have passed, or it failed.

    Attributes:
        source: Position of the source in the input.
        opened: What the opener returned; None if it failed.
        error: Why it failed; None if it did not.
    """

    source: int
    opened: Any
    error: Exception | None


class _Feed:
    """Opens sources one after the other and hands out their tiles' numbers.

    A source is closed as soon as its last tile has been read, and few are open at a time.
    """

    def __init__(self, openers: Iterable[Callable[[], TileSource]], size_px: int) -> None:
        self._openers = openers
        self._blank = np.zeros((size_px, size_px, 3), np.uint8)
        self._slots = threading.Semaphore(_MAX_OPEN)
        self._lock = threading.Condition()
        self._reading = 0
        self._waiting: dict[int, int] = {}
        self.sources: dict[int, TileSource] = {}
        self.errors: dict[int, Exception] = {}
        self.stopped = threading.Event()

    def numbers(self) -> Iterator[npt.NDArray[np.int64]]:
        for index, opener in enumerate(self._openers):
            while not self._slots.acquire(timeout=0.2):
                if self.stopped.is_set():
                    return
            if self.stopped.is_set():
                return
            yield from self._of_one(index, opener)

    def _of_one(
        self, index: int, opener: Callable[[], TileSource]
    ) -> Iterator[npt.NDArray[np.int64]]:
        try:
            source = opener()
            rows = source.rows
        except Exception as error:
            self.errors[index] = error
            self._slots.release()
            yield np.array([[index, _FAILED]], np.int64)
            return
        self.sources[index] = source
        # The end mark counts as one more, so that a source without tiles is closed too.
        self._waiting[index] = len(rows) + 1
        numbered = np.column_stack([np.full(len(rows) + 1, index), np.append(rows, _END)])
        for start in range(0, len(numbered), _ROWS_A_CHUNK):
            yield numbered[start : start + _ROWS_A_CHUNK].astype(np.int64)

    def read(
        self, number: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], np.float64, np.bool_]:
        index, row = int(number[0]), int(number[1])
        with self._lock:
            self._reading += 1
        try:
            image, background, kept = self._read_one(index, row)
        finally:
            with self._lock:
                self._reading -= 1
                self._lock.notify_all()
        return number, image, np.float64(background), np.bool_(kept)

    def _read_one(self, index: int, row: int) -> tuple[npt.NDArray[np.uint8], float, bool]:
        result = self._blank, np.nan, False
        if row == _FAILED or self.stopped.is_set():
            return result
        if row >= 0 and index not in self.errors:
            try:
                result = self.sources[index].read(row)
            except Exception as error:
                # Raised here it would end the whole pipeline; it only concerns this source.
                self.errors.setdefault(index, error)
        self._count_down(index)
        return result

    def _count_down(self, index: int) -> None:
        with self._lock:
            self._waiting[index] -= 1
            done = self._waiting[index] == 0
            if done:
                del self._waiting[index]
        if done:
            self.sources[index].close()
            self._slots.release()

    def end_of(self, index: int) -> SourceEnd:
        error = self.errors.pop(index, None)
        if error is not None:
            # Its frames would keep the slide and its pixels for as long as the error is kept.
            error = error.with_traceback(None)
        return SourceEnd(index, self.sources.pop(index, None), error)

    def stop(self) -> None:
        """Close what is still open, once nobody reads: closing under a reader can crash."""
        self.stopped.set()
        with self._lock:
            self._lock.wait_for(lambda: self._reading == 0, timeout=_STOP_S)
            left = [self.sources[index] for index in self._waiting]
            self._waiting.clear()
        for source in left:
            source.close()


def stream_tiles(
    openers: Iterable[Callable[[], TileSource]],
    *,
    size_px: int,
    batch_size: int = 64,
    workers: int = 2,
) -> Iterator[Tiles | SourceEnd]:
    """Read the tiles of many sources in parallel, in order, ahead of the consumer.

    Args:
        openers: One function a source that opens it; called when its turn comes. What it raises,
            or a tile's reading raises, ends that source alone.
        size_px: Side of the tiles in pixels.
        batch_size: Tiles that are read ahead together.
        workers: Reading threads.

    Yields:
        The tiles of the first source in the order of its rows, its end, those of the second, ...
    """
    feed = _Feed(openers, size_px)
    dataset = (
        tf.data.Dataset.from_generator(
            feed.numbers, output_signature=tf.TensorSpec((None, 2), tf.int64)
        )
        .unbatch()
        .map(_reader(feed, size_px), num_parallel_calls=workers, deterministic=True)
        .batch(batch_size)
        .prefetch(2)
        .with_options(_options(workers))
    )
    try:
        # Views of the tensors; ``tensor.numpy()`` would copy every pixel once more.
        for batch in dataset.as_numpy_iterator():
            yield from _by_source(feed, *batch)
    finally:
        feed.stop()


def _options(workers: int) -> tf.data.Options:
    options = tf.data.Options()
    # In TensorFlow's own pool there are no more threads than cores, however many are asked for, and
    # the network's operations would queue behind slow reads.
    options.threading.private_threadpool_size = workers
    # Nothing is left to be tuned, and the tuner's thread, which sleeps up to a minute, can hold up
    # the end of the stream until it wakes (TensorFlow 2.21).
    options.autotune.enabled = False
    return options


def _reader(feed: _Feed, size_px: int) -> Callable[[Any], Any]:
    types = (tf.int64, tf.uint8, tf.float64, tf.bool)
    shapes = ((2,), (size_px, size_px, 3), (), ())

    def read(number: Any) -> Any:
        parts = tf.numpy_function(feed.read, [number], types)
        for part, shape in zip(parts, shapes, strict=True):
            part.set_shape(shape)
        return tuple(parts)

    return read


def _by_source(
    feed: _Feed,
    numbers: npt.NDArray[np.int64],
    images: npt.NDArray[np.uint8],
    background: npt.NDArray[np.float64],
    kept: npt.NDArray[np.bool_],
) -> Iterator[Tiles | SourceEnd]:
    start = 0
    for position, (index, row) in enumerate(numbers):
        last = position + 1 == len(numbers)
        if row >= 0 and not last:
            continue
        stop = position + 1 if row >= 0 else position
        if stop > start:
            part = slice(start, stop)
            yield Tiles(int(index), numbers[part, 1], images[part], background[part], kept[part])
        if row < 0:
            yield feed.end_of(int(index))
        start = position + 1
