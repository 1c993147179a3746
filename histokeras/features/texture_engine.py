"""The engine of ``stain-texture``: plain NumPy, one core a tile."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.tiles.texture import FLOOR_NAMES, stain_texture

_BLOCK = 16


class TextureEngine:
    """Colour and texture of tiles, in the place of a network.

    Args:
        workers: Tiles computed at once.
    """

    def __init__(self, workers: int = 1) -> None:
        self.n_features = len(FLOOR_NAMES)
        self.block = _BLOCK
        self._pool = ThreadPoolExecutor(workers)

    def start(self, images: npt.NDArray[np.uint8]) -> Any:
        """Begin to compute up to ``block`` tiles, uint8 (n, size, size, 3); return a ticket."""
        return [self._pool.submit(stain_texture, image) for image in images]

    def finish(self, ticket: list[Future[npt.NDArray[np.float32]]]) -> npt.NDArray[np.float32]:
        """Wait for a ticket and return its features, float32 (n, n_features)."""
        return np.stack([future.result() for future in ticket])
