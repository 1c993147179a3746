"""Where tiles lie on a slide. Pure geometry: no pixels are read here."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from histokeras.errors import ConfigError
from histokeras.slides.mpp import MAX_MPP, MIN_MPP
from histokeras.types import Mpp

TISSUE = ("luminance", "otsu", "none", "geojson")
"""Ways to find tissue; see ``TileSpec.tissue``."""


@dataclass(frozen=True, kw_only=True)
class TileSpec:
    """How to cut a slide into tiles.

    Attributes:
        size_px: Side of a tile in pixels, as the network sees it.
        mpp: Resolution at which tiles are read, in micrometres per pixel.
        overlap_px: By how many pixels neighbours overlap, 0 to ``size_px`` - 1.
        max_background: Largest background fraction, 0 to 1, that a kept tile may have.
        mpp_tolerance: A level whose mpp differs by no more than this fraction counts as ``mpp``
            and is read 1:1.
        tissue: Which tiles are looked at. "luminance": all but those
            whose overview alone shows that they have too much background.
            "otsu": those whose tissue (Otsu's threshold on saturation, coarse picture) covers at
            least 1 - ``max_background``. "geojson": those whose area lies inside drawn regions by
            at least 1 - ``max_background``. In these three, each tile read is then judged by its
            own pixels. "none": all tiles are kept; their background is measured, and that is all.
    """

    size_px: int = 299
    mpp: Mpp = Mpp(0.5)
    overlap_px: int = 0
    max_background: float = 0.25
    mpp_tolerance: float = 0.05
    tissue: str = "luminance"

    def __post_init__(self) -> None:
        checks = (
            ("size_px", 8 <= self.size_px <= 8192, "is 8 to 8192 pixels"),
            ("mpp", MIN_MPP <= self.mpp <= MAX_MPP, f"is {MIN_MPP:g} to {MAX_MPP:g} um per pixel"),
            ("overlap_px", 0 <= self.overlap_px < self.size_px, "is 0 to size_px - 1 pixels"),
            ("max_background", 0 <= self.max_background <= 1, "is a fraction, 0 to 1"),
            ("mpp_tolerance", 0 <= self.mpp_tolerance <= 0.25, "is a fraction, 0 to 0.25"),
            ("tissue", self.tissue in TISSUE, f"is one of {', '.join(TISSUE)}"),
        )
        for name, holds, wanted in checks:
            if not holds:
                raise ConfigError(f"`{name}` {wanted}. Received: {name}={getattr(self, name)!r}")


def grid_origins(
    slide_size: tuple[int, int], size_level0_px: int, step_level0_px: int
) -> npt.NDArray[np.int64]:
    """Return the top-left corners of all whole tiles.

    Args:
        slide_size: (width, height) of level 0 in pixels.
        size_level0_px: Side of a tile in level-0 pixels.
        step_level0_px: From one tile to the next, in level-0 pixels.

    Returns:
        Shape (n, 2): x and y in level-0 pixels, row by row. Strips at the right and the lower rim
        that hold no whole tile stay uncovered.
    """
    width, height = slide_size
    xs = np.arange(0, width - size_level0_px + 1, step_level0_px, dtype=np.int64)
    ys = np.arange(0, height - size_level0_px + 1, step_level0_px, dtype=np.int64)
    x, y = np.meshgrid(xs, ys)
    return np.column_stack([x.ravel(), y.ravel()])
