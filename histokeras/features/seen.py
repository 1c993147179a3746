"""Tiles outside an extraction as its network would see them: explained ones, those of a map."""

from collections.abc import Callable

import numpy as np

from histokeras.errors import ConfigError
from histokeras.features.sources import SlideTiles
from histokeras.features.stained import StainChange, estimate_stain
from histokeras.slides.slide import Slide
from histokeras.slides.source import Image
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.plan import plan_tiles

Change = Callable[[Image], Image]


def slide_change(slide: Slide, spec: TileSpec, stain_norm: str) -> Change:
    """Return what extraction does to the stain of a slide's tiles.

    Args:
        slide: The open slide.
        spec: How the tiles were cut.
        stain_norm: ``none``, ``macenko`` or ``reinhard``.

    Returns:
        A function from a tile, uint8 (size, size, 3), to the same tile in the reference's stain.

    Raises:
        ConfigError: If tiles were cut in drawn regions: the stain was estimated inside them.
        SlideError: STAIN_UNKNOWN.
    """
    if stain_norm == "none":
        return np.asarray
    if spec.tissue == "geojson":
        raise ConfigError(
            f"the run's stain was normalised ({stain_norm}) from drawn regions, which are not at "
            "hand here."
        )
    change = estimate_stain(
        SlideTiles(slide, plan_tiles(slide, spec), {}, keep_open=True), stain_norm
    )
    return np.asarray if change is None else _first_row(change)


def image_change(stain_norm: str) -> Change:
    """Return what extraction does to the stain of a ready-made tile: each has its own.

    Args:
        stain_norm: ``none``, ``macenko`` or ``reinhard``.
    """
    return np.asarray if stain_norm == "none" else _first_row(StainChange(stain_norm, None, {}))


def _first_row(change: StainChange) -> Change:
    # The number serves to note which tiles were left as they are; nobody reads these notes here.
    return lambda image: change.change(0, image)
