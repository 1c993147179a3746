"""The resolution of ready-made tiles: what a person said of them, and what the network saw."""

import math

import numpy as np
import pandas as pd

from histokeras.errors import ConfigError, TableError
from histokeras.slides.mpp import MAX_MPP, MIN_MPP
from histokeras.types import TILE

MPP, SOURCE_PX, SIZE_PX = "mpp", "source_px", "size_px"
TOLERANCE = 0.05
"""Tiles whose resolutions differ by no more than this fraction are of one."""


def with_mpp(table: pd.DataFrame, told: float | None) -> pd.DataFrame:
    """Fill in the resolution of tiles whose table says none.

    Args:
        table: Of :func:`histokeras.tiles.folders.read_tile_set`: ``mpp`` as text, "" if unknown.
        told: What ``--mpp`` says, in micrometres per pixel; None for nothing.

    Returns:
        The same table where nothing is told; else one without "" in ``mpp``.

    Raises:
        TableError: If ``mpp`` of a tile is no number in 0.05..20.
        ConfigError: If it is another one than ``told``.
    """
    values = [_number(tile, cell) for tile, cell in zip(table[TILE], table[MPP], strict=True)]
    if told is None:
        return table
    others = sorted({value for value in values if value and not math.isclose(value, told)})
    if others:
        raise ConfigError(
            f"`--mpp` says {told:g} um per pixel, the tile table {others[0]:g}.",
            hint="Correct the table, or leave --mpp out.",
        )
    filled = table.assign(**{MPP: f"{told:g}"})
    filled.attrs = dict(table.attrs)
    return filled


def _number(tile: object, cell: object) -> float:
    text = str(cell).strip()
    try:
        value = float(text) if text else 0.0
    except ValueError:
        value = math.nan
    if text and not MIN_MPP <= value <= MAX_MPP:
        raise TableError(
            f"tile table, tile `{tile}`: `mpp` is {MIN_MPP:g} to {MAX_MPP:g} micrometres per "
            f"pixel. Received: {text!r}",
            code="MPP_ABSURD",
        )
    return value


def seen_mpp(manifest: pd.DataFrame) -> pd.Series:
    """Return at which resolution the network saw each tile, NaN where nobody told.

    Args:
        manifest: Of ready-made tiles, as text: ``mpp`` of the image, ``size_px`` as the network
            saw it, and ``source_px``, the side of the image, where it is known.
    """
    told, size, source = (
        pd.to_numeric(manifest[name], errors="coerce") if name in manifest else None
        for name in (MPP, SIZE_PX, SOURCE_PX)
    )
    if told is None or size is None:
        return pd.Series(np.nan, manifest.index)
    # Manifests from before there was this column: only tiles of the right size are sure.
    return told if source is None else told * source / size


def one_mpp(values: pd.Series) -> float | None:
    """Return the resolution that all tiles share; None if one is unknown or differs."""
    if values.empty or values.isna().any() or values.min() <= 0:
        return None
    if values.max() > values.min() * (1 + TOLERANCE):
        return None
    return round(float(values.median()), 6)
