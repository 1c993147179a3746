"""A run that learned from ready-made tiles, applied to whole slides."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from histokeras.errors import ConfigError, FeatureError, HistokerasError
from histokeras.slides.checks import SCANNER_SUFFIXES
from histokeras.slides.inventory import find_slides
from histokeras.slides.reader import open_slide
from histokeras.tiles.grid import TileSpec
from histokeras.training.trained_run import TrainedRun
from histokeras.types import Mpp

_SLIDE_SHARE = 4
"""A picture this many times as wide as a tile is no tile."""
_OF_TILES = ("tile_size_px", "tile_mpp")


def holds_slides(inputs: Sequence[Path], size_px: int, *, recursive: bool = False) -> bool:
    """Tell whether inputs are whole slides, and not folders of tile images.

    Args:
        inputs: Files and folders.
        size_px: Side of the run's tiles.
        recursive: Whether folders inside folders are searched for slides too.

    Returns:
        True if a file is named, or a folder directly holds a file of a scanner's format, or a TIFF
        at least four times as wide or high as a tile.
    """
    if any(not path.is_dir() for path in inputs):
        return True
    try:
        slides = find_slides(inputs, recursive=recursive)
    except HistokerasError:
        # None there, or two of one name, as tiles in folders of classes may have.
        return False
    if any(path.suffix.lower() in SCANNER_SUFFIXES for path in slides):
        return True
    try:
        with open_slide(slides[0]) as slide:
            return max(slide.dimensions) >= _SLIDE_SHARE * size_px
    except HistokerasError:
        return False


def for_slides(
    run: TrainedRun, told: float | None = None, cut: Mapping[str, Any] | None = None
) -> TrainedRun:
    """Return a run on ready-made tiles as if its tiles had been cut out of slides.

    Args:
        run: The run.
        told: What ``--mpp`` says of the resolution of its tiles, as the network saw them, in
            micrometres per pixel; None for nothing.
        cut: Settings of features of slides that are there already; how their tiles were chosen is
            up to those who cut them. None for the defaults.

    Raises:
        FeatureError: MPP_MISSING if neither the run nor ``told`` says the resolution.
        ConfigError: If they contradict each other, or the run's tiles were cut from slides.
    """
    if not run.ready_made:
        raise ConfigError(
            f"`--mpp` is for runs on ready-made tiles; this one cut its slides at "
            f"{run.settings.get('tile_mpp')} um per pixel.",
            hint="Leave it out.",
        )
    known = run.tiles_mpp
    if known is not None and told is not None and not math.isclose(known, told, rel_tol=1e-3):
        raise ConfigError(
            f"`--mpp` says {told:g} um per pixel, the run's tiles are known to be of {known:g}.",
            hint="Leave --mpp out.",
        )
    mpp = told if known is None else known
    size = int(run.settings["tile_size_px"])
    if mpp is None:
        raise FeatureError(
            f"this run learned from ready-made tiles of {size} px, and nobody said at how many um "
            "per pixel: slides cannot be cut into the like.",
            code="MPP_MISSING",
            hint="Give it with --mpp; HMU-GC-HE-30K and NCT-CRC-HE-100K are at 0.5.",
        )
    settings = {k: v for k, v in run.settings.items() if not k.startswith("tile_")}
    tile = dataclasses.asdict(TileSpec(size_px=size, mpp=Mpp(mpp)))
    settings |= {"ready_made": False, "resize": False}
    settings |= {f"tile_{name}": value for name, value in tile.items()}
    chosen = {k: v for k, v in (cut or {}).items() if k.startswith("tile_") and k not in _OF_TILES}
    settings |= {name: value for name, value in chosen.items() if name in settings}
    return dataclasses.replace(run, card={**run.card, "features": settings})
