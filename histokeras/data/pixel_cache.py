"""Pixels that were read, kept as long as there is room."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

CACHE_BYTES = 2 << 30
Pixels = npt.NDArray[np.uint8]


class PixelCache:
    """Arrays that can be had again, the last used ones, up to a limit of bytes.

    Args:
        max_bytes: The limit; the newest array is kept even if it alone is larger.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._arrays: OrderedDict[Any, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def n_bytes(self) -> int:
        """Bytes that are held."""
        return sum(array.nbytes for array in self._arrays.values())

    def find(self, key: Any, load: Callable[[], Pixels]) -> Pixels:
        """Return an array, loading it if it is not held.

        Args:
            key: What it is known by.
            load: Returns it.
        """
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
        array = load()
        array.setflags(write=False)
        with self._lock:
            self._arrays[key] = array
            while len(self._arrays) > 1 and self.n_bytes > self._max_bytes:
                self._arrays.popitem(last=False)
        return array

    def drop(self, key: Any) -> None:
        """Forget an array, if it is held."""
        with self._lock:
            self._arrays.pop(key, None)
