"""Reinhard's colour transfer: mean and spread of each Lab channel become those of a reference.

Reinhard et al. 2001, Color transfer between images, IEEE CG&A 21(5):34,
https://doi.org/10.1109/38.946629; in CIELAB (sRGB, D65) in place of l-alpha-beta and on tissue
alone, as is usual with slides.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.errors import SlideError
from histokeras.slides.source import Image
from histokeras.slides.tissue import BRIGHT, luminance

Plane = npt.NDArray[np.float32]
Colour = tuple[float, float, float]

MIN_PIXELS = 1000
"""Fewest tissue pixels from which mean and spread are estimated."""
MIN_STD = 1.0
"""Smallest spread of a channel: with less there is one colour, and noise would become tissue."""
EDGE = 10
"""Between this far below and above the luminance of background, a pixel is left as it is step by
step: moved by the same rule, glass would take on a tint."""


@dataclass(frozen=True)
class LabStain:
    """Colours of the tissue of a slide or tile.

    Attributes:
        mean: Mean of L (0..100), a and b.
        std: Their standard deviations.
    """

    mean: Colour
    std: Colour

    def facts(self) -> dict[str, Any]:
        """Return what is recorded of it, rounded."""
        return {
            "lab_mean": [round(value, 2) for value in self.mean],
            "lab_std": [round(value, 2) for value in self.std],
        }


REFERENCE = LabStain((60.0, 28.7, -15.1), (14.4, 8.1, 5.2))
"""What every image is moved to: the tissue of procedural tiles of fat, lymphocytes, muscle, mucosa,
stroma and tumour, moved to Macenko's reference; no real slide stands behind it, and both ways end
in nearly the same colours."""

_WHITE = np.array([0.95047, 1.0, 1.08883])
_RGB_TO_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
_TO_XYZ = (_RGB_TO_XYZ / _WHITE[:, None]).astype(np.float32)
_FROM_XYZ = np.linalg.inv(_RGB_TO_XYZ / _WHITE[:, None]).astype(np.float32)
_KNEE, _SLOPE, _OFFSET = 0.008856, 7.787, 16 / 116
_STEPS = 65535
_DECIMALS = 4


def _linear_light() -> Plane:
    """Return the linear light, 0..1, of each sRGB grey level."""
    value = np.arange(256) / 255
    light = np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    return light.astype(np.float32)


def _grey_levels() -> npt.NDArray[np.uint8]:
    """Return the sRGB grey level of each of ``_STEPS`` + 1 steps of linear light."""
    light = np.arange(_STEPS + 1) / _STEPS
    value = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    return np.asarray(np.rint(255 * value), np.uint8)


_LIGHT, _GREY = _linear_light(), _grey_levels()


def _weighted(planes: list[Plane], weights: npt.NDArray[np.float32]) -> Plane:
    # Plain sums: a library's matrix product may change its last bits with the number of threads.
    summed: Plane = planes[0] * weights[0] + planes[1] * weights[1] + planes[2] * weights[2]
    return summed


def _lab(pixels: npt.NDArray[np.uint8]) -> list[Plane]:
    """Return L, a and b of RGB, any shape (..., 3)."""
    light = [_LIGHT[pixels[..., channel]] for channel in range(3)]
    bent = []
    for weights in _TO_XYZ:
        xyz = _weighted(light, weights)
        low = _SLOPE * xyz + np.float32(_OFFSET)
        bent.append(np.where(xyz > _KNEE, np.cbrt(xyz), low))
    x, y, z = bent
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


def _rgb(lab: list[Plane]) -> Image:
    y = (lab[0] + 16) / 116
    xyz = []
    for bent in (lab[1] / 500 + y, y, y - lab[2] / 200):
        low = (bent - np.float32(_OFFSET)) / np.float32(_SLOPE)
        xyz.append(np.where(bent > np.cbrt(_KNEE), bent * bent * bent, low))
    image = np.empty((*y.shape, 3), np.uint8)
    for channel, weights in enumerate(_FROM_XYZ):
        light = np.clip(_weighted(xyz, weights), 0, 1)
        image[..., channel] = _GREY[np.rint(light * _STEPS).astype(np.uint16)]
    return image


def fit_reinhard(pixels: npt.NDArray[np.uint8]) -> LabStain:
    """Measure the colours of tissue.

    Args:
        pixels: Tissue alone, shape (n, 3), uint8 RGB.

    Returns:
        Mean and standard deviation of each channel.

    Raises:
        SlideError: STAIN_UNKNOWN if there are too few pixels, or of one colour alone.
    """
    if len(pixels) < MIN_PIXELS:
        raise _unknown(f"only {len(pixels)} of the pixels looked at are tissue")
    lab = np.array(_lab(pixels), np.float64)
    mean, std = lab.mean(axis=1), lab.std(axis=1)
    if std.min() < MIN_STD:
        raise _unknown("its tissue is of one colour")
    return LabStain(tuple(mean.round(_DECIMALS).tolist()), tuple(std.round(_DECIMALS).tolist()))


def _unknown(reason: str) -> SlideError:
    return SlideError(f"its stain cannot be estimated: {reason}.", code="STAIN_UNKNOWN")


def to_reinhard_reference(image: Image, stain: LabStain, reference: LabStain = REFERENCE) -> Image:
    """Give an image's tissue the mean and spread of the reference; glass stays as it is.

    Args:
        image: Shape (height, width, 3), uint8 RGB.
        stain: Colours of its tissue.
        reference: The colours that it gets.

    Returns:
        Same shape, uint8 RGB.
    """
    moved = []
    for plane, mean, std, wanted_mean, wanted_std in zip(
        _lab(image), stain.mean, stain.std, reference.mean, reference.std, strict=True
    ):
        factor = wanted_std / std
        moved.append(plane * np.float32(factor) + np.float32(wanted_mean - mean * factor))
    changed = _rgb(moved)
    tissue = (BRIGHT + EDGE - luminance(image).astype(np.float32)) / (2 * EDGE)
    if tissue.min() >= 1:
        return changed
    share = np.clip(tissue, 0, 1)[..., None]
    return np.rint(image + share * (changed.astype(np.float32) - image)).astype(np.uint8)
