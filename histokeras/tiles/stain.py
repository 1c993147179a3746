"""Stain normalisation: what an image's dyes look like, and the same image in the reference's.

NumPy alone. The estimate and the change are two steps, so that one estimate can serve a whole
slide: normalised tile by tile, a tile of blood and a tile of lymphocytes would come out alike.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.errors import ConfigError
from histokeras.slides.source import Image
from histokeras.slides.tissue import BRIGHT, luminance
from histokeras.tiles.macenko import MacenkoStain, fit_macenko, to_macenko_reference
from histokeras.tiles.reinhard import LabStain, fit_reinhard, to_reinhard_reference
from histokeras.types import STAIN_NORMS

Stain = MacenkoStain | LabStain
"""What was estimated of an image or slide."""


def require_stain_norm(stain_norm: str) -> str:
    """Return the way to normalise.

    Raises:
        ConfigError: If there is no such way.
    """
    if stain_norm not in STAIN_NORMS:
        raise ConfigError(
            f"`stain_norm` must be one of {', '.join(STAIN_NORMS)}. "
            f"Received: stain_norm={stain_norm!r}"
        )
    return stain_norm


def tissue_pixels(image: Image) -> npt.NDArray[np.uint8]:
    """Return the pixels that are no background: luminance below 220, as tiles are judged.

    Args:
        image: Shape (height, width, 3), uint8 RGB.

    Returns:
        Shape (n, 3), row by row.
    """
    return image[luminance(image) < BRIGHT]


def fit_stain(pixels: npt.NDArray[np.uint8], stain_norm: str) -> Stain:
    """Estimate a stain.

    Args:
        pixels: Tissue, shape (n, 3), uint8 RGB, from :func:`tissue_pixels`.
        stain_norm: ``macenko`` or ``reinhard``.

    Raises:
        SlideError: STAIN_UNKNOWN if it cannot be estimated.
        ConfigError: If there is no such way.
    """
    if require_stain_norm(stain_norm) == "none":
        raise ConfigError("`stain_norm` 'none' estimates nothing.")
    return fit_macenko(pixels) if stain_norm == "macenko" else fit_reinhard(pixels)


def to_reference(image: Image, stain: Stain) -> Image:
    """Return the image as the reference's stain would show it.

    Args:
        image: Shape (height, width, 3), uint8 RGB.
        stain: Its own stain, or its slide's.

    Returns:
        Same shape, uint8 RGB. Each pixel depends on itself alone.
    """
    if isinstance(stain, MacenkoStain):
        return to_macenko_reference(image, stain)
    return to_reinhard_reference(image, stain)


def normalise_stain(image: Any, stain_norm: str = "macenko") -> Image:
    """Normalise one image by its own stain.

    Tiles of one slide are better normalised together, by the slide's stain, as
    ``extract-features --stain-norm`` does.

    Args:
        image: Shape (height, width, 3), uint8 RGB.
        stain_norm: ``macenko``, ``reinhard``, or ``none`` for a copy.

    Returns:
        Same shape, uint8 RGB.

    Raises:
        SlideError: STAIN_UNKNOWN if its stain cannot be estimated, such as of empty glass.
        ConfigError: If there is no such way, or the image is not uint8 RGB.
    """
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ConfigError(
            "`image` must be uint8 RGB of shape (height, width, 3). "
            f"Received: {pixels.dtype} of shape {pixels.shape}"
        )
    if require_stain_norm(stain_norm) == "none":
        return pixels.copy()
    return to_reference(pixels, fit_stain(tissue_pixels(pixels), stain_norm))
