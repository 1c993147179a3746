"""Colour and texture of an H&E tile in a few dozen numbers that need no trained weights.

They are the floor of every run: what a network must beat. Stains by colour deconvolution with the
fixed vectors of Ruifrok and Johnston 2001 (Anal. Quant. Cytol. Histol. 23:291), texture by
gradients, Laplacians and the structure tensor (Bigun and Granlund 1987) at several scales. All of
it is blind to flips and quarter turns of the tile.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from histokeras.slides.source import Image

Plane = npt.NDArray[np.float32]

N_COLOUR = 6
"""How many numbers, the first ones, tell of colour alone: the colour baseline."""
_STAINS = ("hematoxylin", "eosin", "residual")
_QUANTILES = (0.1, 0.5, 0.9)
_SATURATION = (0.1, 0.25, 0.4)
_LUMINANCE = (0.35, 0.55, 0.75)
_SHARE = (0.3, 0.5, 0.7)
_WHITE = np.float32(220 / 255)
_STAINED = np.float32(0.15)
"""Optical density, mean of red, green and blue, from which on a pixel counts as stained."""
_SCALES_PX = (2, 4, 8)
_COHERENCE_HALVINGS = 2
_PARTS = ("gradient_mean", "gradient_std", "laplacian_rms", "coherence")


def _bin_names(name: str, edges: tuple[float, ...]) -> list[str]:
    bounds = (0.0, *edges, 1.0)
    return [f"{name}_{low:g}_to_{high:g}" for low, high in pairwise(bounds)]


FLOOR_NAMES: tuple[str, ...] = (
    "mean_red", "mean_green", "mean_blue", "std_red", "std_green", "std_blue",
    *(f"{stain}_{part}" for stain in _STAINS for part in ("mean", "std", "q10", "q50", "q90")),
    "hematoxylin_eosin_correlation",
    *_bin_names("saturation", _SATURATION),
    *_bin_names("luminance", _LUMINANCE),
    *_bin_names("hematoxylin_share", _SHARE),
    "white",
    *(f"{plane}_{part}_{scale}px" for scale in _SCALES_PX for plane in ("hematoxylin", "luminance")
      for part in _PARTS),
)  # fmt: skip
"""What each number is. Colours and luminance lie in 0..1, stains in optical density; names with
``_to_`` and ``white`` are shares of the tile's pixels (``hematoxylin_share``: of the stained ones
by the share of hematoxylin in both stains); scales are the side of one averaged pixel."""


def _unmixing() -> npt.NDArray[np.float64]:
    """Return the matrix from optical density (red, green, blue) to the three stains."""
    stains = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])
    vectors = np.vstack([stains, np.cross(stains[0], stains[1])])
    inverse: npt.NDArray[np.float64] = np.linalg.inv(
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    )
    return inverse


_UNMIXING = _unmixing().astype(np.float32)
# Optical density of each possible sum of 2 x 2 pixels; 1 is added so that black stays finite.
_DENSITY = -np.log10((np.arange(4 * 255 + 1) / 4 + 1) / 256).astype(np.float32)


def stain_texture(image: Image) -> npt.NDArray[np.float32]:
    """Describe the colour and texture of one tile.

    Args:
        image: Shape (height, width, 3), uint8 RGB, any size.

    Returns:
        float32 of shape ``(len(FLOOR_NAMES),)``, always finite. Equal pixels give equal bits on one
        machine; flips and quarter turns change nothing beyond rounding.
    """
    sums = _sums(image)
    red, green, blue = (_DENSITY[plane] for plane in sums)
    stains = [red * weights[0] + green * weights[1] + blue * weights[2] for weights in _UNMIXING.T]
    grey = (
        sums[0] * np.float32(0.299) + sums[1] * np.float32(0.587) + sums[2] * np.float32(0.114)
    ) / np.float32(1020)
    numbers = _colour(image)
    for stain in stains:
        numbers += _distribution(stain)
    numbers.append(_correlation(stains[0], stains[1]))
    numbers += _bins(_saturation(sums), _SATURATION)
    numbers += _bins(grey, _LUMINANCE)
    numbers += _bins(_share(stains, red + green + blue), _SHARE)
    numbers.append(np.count_nonzero(grey >= _WHITE) / grey.size)
    planes = [stains[0], grey]
    for scale in _SCALES_PX:
        if scale > _SCALES_PX[0]:
            planes = [_halve(plane) for plane in planes]
        for plane in planes:
            numbers += _structure(plane)
    return np.array(numbers, np.float32)


def _colour(image: Image) -> list[float]:
    """Return mean and standard deviation of red, green and blue, exactly, from histograms."""
    counts = np.array(PillowImage.fromarray(image).histogram(), np.float64).reshape(3, 256)
    values = np.arange(256) / 255
    mean = counts @ values / counts[0].sum()
    spread = (counts * np.square(values - mean[:, None])).sum(axis=1) / counts[0].sum()
    return [*mean, *np.sqrt(spread)]


def _even(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Double the middle row and column where their number is odd, which keeps the symmetry."""
    for axis in (0, 1):
        n = plane.shape[axis]
        if n % 2:
            plane = np.insert(plane, n // 2, np.take(plane, n // 2, axis), axis)
    return plane


def _sums(image: Image) -> npt.NDArray[np.uint16]:
    """Return the sums of 2 x 2 pixels, shape (3, height / 2, width / 2)."""
    even = _even(image)
    rows = even[0::2].astype(np.uint16) + even[1::2]
    return np.ascontiguousarray((rows[:, 0::2] + rows[:, 1::2]).transpose(2, 0, 1))


def _halve(plane: Plane) -> Plane:
    even = _even(plane)
    rows = even[0::2] + even[1::2]
    halved: Plane = (rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25)
    return halved


def _distribution(plane: Plane) -> list[float]:
    ranks = [round(share * (plane.size - 1)) for share in _QUANTILES]
    return [plane.mean(), plane.std(), *np.partition(plane.ravel(), ranks)[ranks]]


def _correlation(first: Plane, second: Plane) -> float:
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt(np.square(first).mean() * np.square(second).mean()))
    return float((first * second).mean()) / (scale + 1e-4)


def _saturation(sums: npt.NDArray[np.uint16]) -> Plane:
    high, low = sums.max(axis=0), sums.min(axis=0)
    saturation: Plane = (high - low) / np.maximum(high, 1).astype(np.float32)
    return saturation


def _share(stains: list[Plane], density: Plane) -> Plane:
    hematoxylin, eosin = (np.maximum(stain, 0) for stain in stains[:2])
    both = hematoxylin + eosin
    stained = (density >= 3 * _STAINED) & (both > 0)
    share: Plane = hematoxylin[stained] / both[stained]
    return share


def _bins(values: Plane, edges: tuple[float, ...]) -> list[float]:
    """Return the shares of values between the edges; all 0 if there are none."""
    above = [values.size, *(int(np.count_nonzero(values >= edge)) for edge in edges), 0]
    n = max(1, values.size)
    return [(low - high) / n for low, high in pairwise(above)]


def _structure(plane: Plane) -> list[float]:
    """Return mean and spread of the gradient, strength of the Laplacian, and coherence."""
    if min(plane.shape) < 3:
        return [0.0] * len(_PARTS)
    middle = plane[1:-1, 1:-1]
    across = plane[1:-1, 2:] - plane[1:-1, :-2]
    down = plane[2:, 1:-1] - plane[:-2, 1:-1]
    # Grouped by axis, so that a quarter turn only swaps the two sums.
    around = (plane[1:-1, 2:] + plane[1:-1, :-2]) + (plane[2:, 1:-1] + plane[:-2, 1:-1])
    laplacian = around - 4 * middle
    xx, yy, xy = across * across, down * down, across * down
    gradient = np.sqrt(xx + yy)
    for _ in range(_COHERENCE_HALVINGS):
        xx, yy, xy = _halve(xx), _halve(yy), _halve(xy)
    oriented = np.sqrt(np.square(xx - yy) + 4 * np.square(xy))
    coherence = oriented.sum() / ((xx + yy).sum() + np.float32(1e-6))
    rms = np.sqrt(np.square(laplacian).mean())
    return [gradient.mean(), gradient.std(), rms, coherence]
