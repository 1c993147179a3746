"""Macenko's stain normalisation: both dyes estimated from the pixels, then exchanged for reference.

Macenko et al. 2009, A method for normalizing histology slides for quantitative analysis, ISBI 1107,
https://doi.org/10.1109/ISBI.2009.5193250. Optical density here is the natural logarithm, as there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.errors import SlideError
from histokeras.slides.source import Image

Floats = npt.NDArray[np.float64]
Pair = tuple[float, float]
Colour = tuple[float, float, float]

LIGHT = 240
"""Grey level that counts as no dye at all (Io of the authors' code)."""
STAINED = 0.15
"""Optical density from which on a colour counts as stained (beta)."""
DARK = 3
"""Up to this grey level in any colour the camera saw no more light: such pixels are left out of the
estimate, as the original does not. Where nuclei are black in green, they double eosin's strength
(measured: 3.1 in place of 1.4) and bleach the slide."""
TAIL_PERCENT = 1.0
"""How many of the directions on either side are taken for noise (alpha)."""
STRENGTH_PERCENT = 99.0
"""Percentile of the amounts of a dye that says how strongly the slide was stained."""
MIN_PIXELS, MIN_SHARE = 1000, 0.05
"""Fewest stained pixels, and smallest share of the tissue's, from which dyes are estimated. On real
tiles of less (over-saturated, nuclei alone stained) what came out had its cytoplasm bleached."""
MIN_ANGLE_DEG, MAX_OFF_DEG = 5.0, 40.0
"""Two dyes of one colour cannot be told apart; a dye this far from the reference is none of H&E."""
MIN_STRENGTH = 0.2
"""A fainter dye would have to be enlarged so much that noise becomes tissue."""


@dataclass(frozen=True)
class MacenkoStain:
    """The two dyes of a slide or tile.

    Attributes:
        haematoxylin: Its optical densities in red, green and blue, a vector of length 1.
        eosin: The same of eosin.
        strengths: 99th percentiles of the amounts of both, in optical density.
    """

    haematoxylin: Colour
    eosin: Colour
    strengths: Pair

    def vectors(self) -> Floats:
        """Return both dyes, shape (2, 3)."""
        return np.array([self.haematoxylin, self.eosin])

    def facts(self) -> dict[str, Any]:
        """Return what is recorded of it, rounded."""
        return {
            "haematoxylin": [round(value, 4) for value in self.haematoxylin],
            "eosin": [round(value, 4) for value in self.eosin],
            "strengths": [round(value, 4) for value in self.strengths],
        }


REFERENCE = MacenkoStain((0.5330, 0.7442, 0.4023), (0.1757, 0.8889, 0.4238), (1.9705, 1.0308))
"""What every image is moved to: the dyes of the procedural slides' default stain, in the strengths
of the authors' code. That code's eosin, (0.2159, 0.8012, 0.5581), takes more blue away, so that
stroma turns salmon and everything somewhat brown."""

_DECIMALS = 5
_DENSITY = -np.log((np.arange(256) + 1) / LIGHT)


def fit_macenko(pixels: npt.NDArray[np.uint8]) -> MacenkoStain:
    """Estimate both dyes.

    The plane of the two largest principal components of the stained pixels is laid through the
    origin; the dyes are its extreme directions, without the outer ``TAIL_PERCENT`` on either side.

    Args:
        pixels: Tissue alone, shape (n, 3), uint8 RGB.

    Returns:
        The dyes; haematoxylin is the one that takes more red away.

    Raises:
        SlideError: STAIN_UNKNOWN if there are too few stained pixels, or what is found cannot be
            haematoxylin and eosin.
    """
    density = _DENSITY[pixels[(pixels > DARK).all(axis=1)]]
    stained = density[(density >= STAINED).all(axis=1)]
    if len(stained) < max(MIN_PIXELS, MIN_SHARE * len(pixels)):
        raise _unknown(f"only {len(stained)} of {len(pixels)} tissue pixels can be used")
    plane = np.linalg.eigh(np.cov(stained.T))[1][:, 1:]
    # Optical densities are positive: so turned, no angle lies near the jump of arctan2.
    plane *= np.where(plane.sum(axis=0) < 0, -1, 1)
    angles = np.arctan2(stained @ plane[:, 0], stained @ plane[:, 1])
    ends = np.percentile(angles, [TAIL_PERCENT, 100 - TAIL_PERCENT])
    dyes = np.column_stack([np.sin(ends), np.cos(ends)]) @ plane.T
    dyes = dyes[np.argsort(-dyes[:, 0], kind="stable")]
    _require_dyes(dyes)
    amounts = density @ np.linalg.pinv(dyes)
    strong = np.percentile(amounts, STRENGTH_PERCENT, axis=0)
    if strong.min() < MIN_STRENGTH:
        raise _unknown(f"its stain is too faint ({strong[0]:.2f} and {strong[1]:.2f})")
    # Rounded, so that what another linear algebra library does to the last bits changes nothing.
    first, second = dyes.round(_DECIMALS).tolist()
    strengths = strong.round(_DECIMALS).tolist()
    return MacenkoStain(tuple(first), tuple(second), tuple(strengths))


def _angle_deg(first: Floats, second: Floats) -> float:
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _require_dyes(dyes: Floats) -> None:
    apart = _angle_deg(dyes[0], dyes[1])
    if apart < MIN_ANGLE_DEG:
        raise _unknown(f"it shows one dye alone (two lie {apart:.1f} degrees apart)")
    for name, dye, wanted in zip(("haematoxylin", "eosin"), dyes, REFERENCE.vectors(), strict=True):
        off = _angle_deg(dye, wanted)
        if off > MAX_OFF_DEG:
            raise _unknown(f"what would be {name} is {off:.0f} degrees off its colour")


def _unknown(reason: str) -> SlideError:
    return SlideError(f"its stain cannot be estimated: {reason}.", code="STAIN_UNKNOWN")


def to_macenko_reference(
    image: Image, stain: MacenkoStain, reference: MacenkoStain = REFERENCE
) -> Image:
    """Exchange the dyes of an image for those of the reference, in the same amounts.

    Each dye's amount is scaled so that its 99th percentile becomes the reference's. What is neither
    dye (the part of the optical density outside their plane) is lost, as in the original.

    Args:
        image: Shape (height, width, 3), uint8 RGB.
        stain: Its dyes.
        reference: The dyes that it gets.

    Returns:
        Same shape, uint8 RGB.
    """
    scale = np.array(reference.strengths) / stain.strengths
    mixing = (np.linalg.pinv(stain.vectors()) * scale) @ reference.vectors()
    table = -_DENSITY.astype(np.float32)
    planes = [table[image[..., channel]] for channel in range(3)]
    changed = np.empty(image.shape, np.uint8)
    # Plain sums: a library's matrix product may change its last bits with the number of threads.
    for channel, (red, green, blue) in enumerate(mixing.T.astype(np.float32)):
        light = np.exp(planes[0] * red + planes[1] * green + planes[2] * blue)
        changed[..., channel] = np.clip(np.rint(light * np.float32(LIGHT)), 0, 255)
    return changed
