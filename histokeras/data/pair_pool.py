"""Images and their class masks, opened when they are first read, a few at a time."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
MAX_OPEN = 64
"""Images that are open at most."""
_BUDGET_BYTES = 1 << 30
_PIXEL_BYTES = 4
"""Red, green, blue and the class."""


class Readable(Protocol):
    """An image and its class mask, as :class:`histokeras.data.pairs.OpenPair`."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height at the working resolution."""

    def read(self, x: int, y: int, width: int, height: int) -> tuple[Image, Image]:
        """Return image (height, width, 3) and class mask (height, width); outside white and 255."""

    def counts(self, cell_px: int) -> npt.NDArray[np.int64]:
        """Return the labelled pixels of each class in each cell, (rows, columns, n_classes)."""

    def close(self) -> None:
        """Give back what is open."""


def n_open_of(sizes_px: Sequence[tuple[int, int]]) -> int:
    """Return how many images may be open at a time, by their sizes.

    A plain picture lies in memory as a whole while it is open; a slide never does, but how much of
    it a reader keeps is not known.

    Args:
        sizes_px: Width and height of each.
    """
    largest = max(width * height * _PIXEL_BYTES for width, height in sizes_px)
    return int(min(MAX_OPEN, max(4, _BUDGET_BYTES // max(1, largest))))


class PairPool:
    """Reads from many images, of which a limited number is open.

    Several threads may read.

    Args:
        openers: Opens each image, by its number.
        max_open: How many stay open.
    """

    def __init__(self, openers: Sequence[Callable[[], Readable]], max_open: int = MAX_OPEN) -> None:
        self.max_open = max_open
        self._openers = openers
        self._open: OrderedDict[int, Readable] = OrderedDict()
        self._readers: dict[int, int] = {}
        self._lock = threading.Condition()

    def __len__(self) -> int:
        return len(self._openers)

    def opened(self, number: int) -> Readable:
        """Return an image of its own, which the caller closes."""
        return self._openers[number]()

    def read(
        self, number: int, location: tuple[int, int], size_px: tuple[int, int]
    ) -> tuple[Image, Image]:
        """Read a part of an image and of its mask.

        Args:
            number: Of the image.
            location: x, y of the upper left corner at the working resolution; may lie outside.
            size_px: Width and height.

        Returns:
            uint8 ``(height, width, 3)`` RGB and uint8 ``(height, width)`` class numbers.
        """
        pair = self._borrow(number)
        try:
            return pair.read(*location, *size_px)
        finally:
            self._give_back(number)

    def close(self) -> None:
        """Close all images, once nobody reads."""
        with self._lock:
            self._lock.wait_for(lambda: not self._readers, timeout=30)
            for pair in self._open.values():
                pair.close()
            self._open.clear()

    def _borrow(self, number: int) -> Readable:
        with self._lock:
            self._readers[number] = self._readers.get(number, 0) + 1
            if number in self._open:
                self._open.move_to_end(number)
                return self._open[number]
        try:
            opened = self._openers[number]()
        except BaseException:
            self._give_back(number)
            raise
        with self._lock:
            if number in self._open:
                # Another thread was faster.
                opened.close()
            else:
                self._open[number] = opened
                self._close_idle()
            return self._open[number]

    def _give_back(self, number: int) -> None:
        with self._lock:
            self._readers[number] -= 1
            if not self._readers[number]:
                del self._readers[number]
            self._lock.notify_all()

    def _close_idle(self) -> None:
        # Never one that is being read: closing under a reader can crash.
        idle = [number for number in self._open if number not in self._readers]
        for number in idle[: max(0, len(self._open) - self.max_open)]:
            self._open.pop(number).close()
