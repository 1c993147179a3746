"""Stain normalisation while tiles are read: one stain a slide; ready-made tiles each their own.

A slide's stain is estimated when it is opened, from a sample of its kept tiles that only the tiles'
numbers decide, so features depend neither on the order of reading nor on where a run resumed.
Ready-made tiles are normalised one by one: their folder may be a class, and its stain the answer.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.errors import SlideError
from histokeras.tiles.stain import Stain, fit_stain, tissue_pixels, to_reference

if TYPE_CHECKING:
    from histokeras.features.sources import OpenTiles
    from histokeras.slides.source import Image

SAMPLE_TILES, SAMPLE_PIXELS = 48, 4096
"""Tiles of a slide that its stain is estimated from, and tissue pixels of each, at most."""
STAIN_COLUMN, DONE = "stain", "normalised"
"""Column of the manifest of ready-made tiles, and what it says of most."""


class StainChange:
    """Brings tiles to the reference's stain and notes those it had to leave as they are.

    Args:
        stain_norm: ``macenko`` or ``reinhard``.
        stain: The slide's stain; None if each tile has its own.
        facts: What is recorded of the estimate.
    """

    def __init__(self, stain_norm: str, stain: Stain | None, facts: dict[str, Any]) -> None:
        self._stain_norm, self._stain, self._facts = stain_norm, stain, facts
        self._left: dict[int, str] = {}

    def change(self, row: int, image: Image) -> Image:
        """Return a kept tile as the network shall see it; several threads may do so.

        Args:
            row: Its number.
            image: Shape (size, size, 3), uint8 RGB.
        """
        if self._stain is not None:
            return to_reference(image, self._stain)
        try:
            return to_reference(image, fit_stain(tissue_pixels(image), self._stain_norm))
        except SlideError as error:
            self._left[row] = f"left as it is: {error.message}"
            return image

    def facts(self) -> dict[str, Any]:
        """Return what the feature file says of it, once all tiles have been read."""
        if self._stain is not None:
            return {**self._facts, **self._stain.facts()}
        return {**self._facts, "left_as_they_are": len(self._left)}

    def described(self, manifest: pd.DataFrame) -> pd.DataFrame:
        """Return the manifest; where each tile has its own stain, with what became of it.

        Args:
            manifest: The finished manifest; it is not changed.
        """
        if self._stain is not None:
            return manifest
        kept = manifest["kept"].to_numpy(bool)
        said = [self._left.get(row, DONE) if kept[row] else "" for row in range(len(manifest))]
        return manifest.assign(**{STAIN_COLUMN: said})


def estimate_stain(tiles: OpenTiles, stain_norm: str) -> StainChange | None:
    """Estimate the stain of an open slide; of ready-made tiles only settle that each has its own.

    Args:
        tiles: The open slide or folder.
        stain_norm: ``none``, ``macenko`` or ``reinhard``.

    Returns:
        How its tiles are changed; None if they are not, or none of them is kept.

    Raises:
        SlideError: STAIN_UNKNOWN if the slide's stain cannot be estimated. It fails then: taken as
            it is, it would stand out among the others by its stain alone.
    """
    if stain_norm == "none":
        return None
    if not tiles.one_stain:
        return StainChange(stain_norm, None, {"method": stain_norm, "estimated_from": "each tile"})
    sample = _sample(tiles)
    if not sample:
        return None
    pixels = np.concatenate(sample)
    try:
        stain = fit_stain(pixels, stain_norm)
    except SlideError as error:
        raise SlideError(
            f"{error.message.rstrip('.')} (--stain-norm {stain_norm}).",
            code=error.code,
            hint="Look at it with `histokeras tile`; leave the slide out, or extract all without "
            "--stain-norm.",
        ) from error
    facts = {"method": stain_norm, "estimated_from": "the slide", "tiles": len(sample)}
    return StainChange(stain_norm, stain, {**facts, "pixels": len(pixels)})


def _sample(tiles: OpenTiles) -> list[npt.NDArray[np.uint8]]:
    """Return tissue pixels of those kept tiles whose number has the smallest hash."""
    found: list[npt.NDArray[np.uint8]] = []
    for row in sorted(map(int, tiles.rows), key=_key):
        image, _, kept = tiles.read(row)
        if not kept:
            continue
        pixels = tissue_pixels(image)
        if len(pixels) > SAMPLE_PIXELS:
            chosen = np.random.default_rng(row).choice(len(pixels), SAMPLE_PIXELS, replace=False)
            pixels = pixels[chosen]
        found.append(pixels)
        if len(found) == SAMPLE_TILES:
            break
    return found


def _key(row: int) -> bytes:
    return hashlib.blake2b(f"stain {row}".encode(), digest_size=8).digest()
