"""Where on a slide with drawn tumour tiles of a label may lie, by what was drawn alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from histokeras.errors import ConfigError
from histokeras.slides.annotations import Drawing
from histokeras.slides.slide import Slide
from histokeras.slides.tissue import Mask, mask_share
from histokeras.tiles.grid import TileSpec
from histokeras.types import Mpp

NORMAL, TUMOUR = "normal", "tumour"
"""Labels of the tiles, and names of their folders."""
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_MASK_PX = 1 << 24
_FINE = 32
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """Which tiles are drawn.

    Attributes:
        size_px: Side of a tile in pixels.
        mpp: Its resolution in micrometres per pixel.
        stride_um: From one place that a tile may lie at to the next, in micrometres.
        min_share: Least share of a tile of tumour that tumour covers, above ``max_normal`` to 1.
        max_normal: Largest share of a normal tile that tumour covers, 0..1; None for all that is
            less than ``min_share``. Where tiles at the border of tumour are left out, a network
            takes them for tumour: T/MLN of painted slides came out 1.9 points too high with 0, 0.9
            with None.
        border: Which part of the tiles of a label is drawn at the border of tumour, where that is
            in a tile, 0..1: areas are settled there, and by chance few tiles lie there.
        max_background: Largest share of bright pixels, 0..1.
        per_slide: How many tiles of each label a slide gives at most.
        hard: How many more that a network took for tumour.
        seed: Of what is drawn.
    """

    size_px: int = 256
    mpp: float = 0.5
    stride_um: float = 64.0
    min_share: float = 0.5
    max_normal: float | None = None
    border: float = 0.25
    max_background: float = 0.75
    per_slide: int = 100
    hard: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        TileSpec(size_px=self.size_px, mpp=Mpp(self.mpp), max_background=self.max_background)
        checks = (
            ("stride_um", self.stride_um > 0, "is above 0 micrometres"),
            ("min_share", 0 < self.min_share <= 1, "is a fraction, above 0 and at most 1"),
            (
                "max_normal",
                self.max_normal is None or 0 <= self.max_normal < self.min_share,
                "is 0 or more, below min_share",
            ),
            ("border", 0 <= self.border <= 1, "is a fraction, 0 to 1"),
            ("per_slide", self.per_slide >= 1, "is at least 1"),
            ("hard", self.hard >= 0, "is 0 or more"),
        )
        for name, holds, wanted in checks:
            if not holds:
                raise ConfigError(f"`{name}` {wanted}. Received: {name}={getattr(self, name)!r}")


@dataclass(frozen=True, eq=False)
class Places:
    """What was drawn on a slide, as masks.

    Attributes:
        tumour: bool (h, w) of the whole slide, of 1/32 of a tile's side a pixel, within a limit of
            memory.
        within: Likewise, where the middle of a tile must lie; None for anywhere.
        per_px: Level-0 pixels per pixel of the masks, in x and y.
        size0_px: Side of a tile in level-0 pixels.
        spec: Which tiles are drawn.
    """

    tumour: Mask
    within: Mask | None
    per_px: tuple[float, float]
    size0_px: int
    spec: SampleSpec

    def judge(self, origins: Ints) -> tuple[npt.NDArray[np.str_], Floats]:
        """Say what tiles at some places would be.

        Args:
            origins: Shape (n, 2): x and y of their top-left corners in level-0 pixels.

        Returns:
            The label of each, "" for none; and the share of it that tumour covers, 0..1.
        """
        per_px = np.array([*self.per_px, *self.per_px])
        share = mask_share(self.tumour, np.hstack([origins, origins + self.size0_px]) / per_px)
        labels = np.full(len(origins), "", "<U6")
        most = self.spec.min_share if self.spec.max_normal is None else self.spec.max_normal
        labels[share <= most + _ROUNDING] = NORMAL
        labels[share >= self.spec.min_share - _ROUNDING] = TUMOUR
        if self.within is not None:
            middle = (origins + self.size0_px / 2) / np.array(self.per_px)
            last = np.array(self.within.shape[::-1]) - 1
            column, row = np.minimum(middle.astype(np.int64), last).T
            labels[~self.within[row, column]] = ""
        return labels, share


def find_places(
    slide: Slide, tumour: Drawing, within: Drawing | None, size0_px: int, spec: SampleSpec
) -> Places:
    """Draw what was drawn on a slide, coarsely enough for any slide.

    Args:
        slide: An open slide.
        tumour: Tumour, in numbers above 0; what erases in 0.
        within: Regions that the middle of a tile must lie in, likewise; None for anywhere.
        size0_px: Side of a tile in level-0 pixels.
        spec: Which tiles are drawn.
    """
    width, height = slide.dimensions
    coarse = max(1.0, size0_px / _FINE, (width * height / _MASK_PX) ** 0.5)
    shape = (max(1, round(height / coarse)), max(1, round(width / coarse)))
    per_px = (width / shape[1], height / shape[0])

    def drawn(drawing: Drawing) -> Mask:
        picture = np.zeros(shape, np.uint8)
        drawing.draw(picture, per_px)
        return picture > 0

    inside = None if within is None else drawn(within)
    return Places(drawn(tumour), inside, per_px, size0_px, spec)
