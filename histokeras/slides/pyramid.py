"""Pyramid arithmetic: which level is read for a wanted resolution. Pure numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from histokeras.errors import SlideError
from histokeras.types import Mpp

_ROUNDING = 1e-9


@dataclass(frozen=True)
class LevelChoice:
    """How tiles of a wanted resolution are read from a slide.

    Attributes:
        level: The level to read.
        level_mpp: Its resolution in micrometres per pixel.
        mpp: Resolution of the finished tile: ``level_mpp`` where the level is read 1:1, else the
            wanted one.
        scale: Level-0 pixels per pixel of the finished tile.
        downsample: Level-0 pixels per pixel of the level.
        resampled: Whether tiles are shrunk after reading.
    """

    level: int
    level_mpp: Mpp
    mpp: Mpp
    scale: float
    downsample: float
    resampled: bool

    def size_level0_px(self, size_px: int) -> int:
        """Return the side of a tile in level-0 pixels, rounded to whole pixels."""
        return max(1, round(size_px * self.scale))

    def read_px(self, size_px: int) -> int:
        """Return the side in pixels of the level that is read for a tile of ``size_px``."""
        if not self.resampled:
            return size_px
        return max(size_px, round(self.size_level0_px(size_px) / self.downsample))


def choose_level(
    slide_mpp: float,
    downsamples: Sequence[float],
    wanted_mpp: float,
    *,
    tolerance: float,
    name: str = "slide",
) -> LevelChoice:
    """Choose the level for ``wanted_mpp``.

    A level within the tolerance counts as the wanted resolution: it is read 1:1 and its true mpp is
    written down. Otherwise the nearest finer level is read and shrunk. Nothing is ever enlarged.

    Args:
        slide_mpp: Resolution of level 0.
        downsamples: Level-0 pixels per pixel of each level, finest first.
        wanted_mpp: Resolution wanted, in micrometres per pixel.
        tolerance: Relative difference that counts as equal, such as 0.05.
        name: The slide's name, for messages.

    Returns:
        The choice.

    Raises:
        SlideError: MAG_UNAVAILABLE if even the finest level is coarser than the tolerance allows.
    """
    mpps = [slide_mpp * downsample for downsample in downsamples]
    apart = [abs(mpp / wanted_mpp - 1) for mpp in mpps]
    nearest = min(range(len(mpps)), key=apart.__getitem__)
    if apart[nearest] <= tolerance + _ROUNDING:
        mpp, downsample = Mpp(mpps[nearest]), downsamples[nearest]
        return LevelChoice(nearest, mpp, mpp, downsample, downsample, resampled=False)
    finer = [level for level, mpp in enumerate(mpps) if mpp < wanted_mpp]
    if not finer:
        raise SlideError(
            f"slide `{name}`: its finest level has {slide_mpp:g} um per pixel, "
            f"coarser than the wanted {wanted_mpp:g} by more than {tolerance:.0%}.",
            code="MAG_UNAVAILABLE",
            hint="Ask for a coarser --mpp; tiles are never enlarged.",
        )
    level = max(finer, key=mpps.__getitem__)
    return LevelChoice(
        level,
        Mpp(mpps[level]),
        Mpp(wanted_mpp),
        wanted_mpp / slide_mpp,
        downsamples[level],
        resampled=True,
    )
