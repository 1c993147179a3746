"""What tells the probability of one class, such as tumour, for tiles, whatever computes it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from histokeras.tiles.grid import TileSpec

Score = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""uint8 RGB (b, size_px, size_px, 3) to probabilities float32 (b,)."""


@dataclass(frozen=True, kw_only=True)
class TileScorer:
    """A tile classifier, or the mean of those of several folds, asked for one class.

    Attributes:
        predict: Turns up to ``batch_size`` tiles into calibrated probabilities of the class. What
            it says of a tile does not depend on the others.
        spec: Size and resolution of its tiles.
        tile_class: The class.
        digests: SHA-256 of the heads and of the backbone's weights.
        stain_norm: What is done to the stain of a slide's tiles before: ``none``, ...
        batch_size: Tiles computed at once.
    """

    predict: Score
    spec: TileSpec
    tile_class: str
    digests: tuple[str, ...]
    stain_norm: str = "none"
    batch_size: int = 16

    @property
    def size_px(self) -> int:
        """Side of a tile in pixels."""
        return self.spec.size_px

    @property
    def mpp(self) -> float:
        """Micrometres per pixel of its tiles."""
        return float(self.spec.mpp)

    @property
    def size_um(self) -> float:
        """Side of a tile in micrometres."""
        return self.size_px * self.mpp
