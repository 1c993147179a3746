"""Stains as optical densities: amounts of dye become colours, late and by any profile.

Ruifrok and Johnston 2001: light = white * 10 ** (-sum of amount * optical density).
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from histokeras.slides.source import Image
from histokeras.slides.synthetic.fields import Window, between, draws, key_of, noise

DYES = ("haematoxylin", "eosin", "red cells", "mucin", "brown")
"""What the five concentration maps hold, in order."""
HAEMATOXYLIN, EOSIN, RED_CELLS, MUCIN, BROWN = range(5)

# Optical densities of R, G, B per unit. Mucin is metachromatic: violet that lets blue pass.
_VECTORS = (
    (0.53, 0.74, 0.40),
    (0.17, 0.86, 0.41),
    (0.06, 0.80, 0.60),
    (0.20, 0.97, 0.03),
    (0.30, 0.55, 0.78),
)


@dataclass(frozen=True)
class StainProfile:
    """How a laboratory stains and a scanner sees.

    Attributes:
        vectors: Optical densities of R, G and B per unit of each of the five ``DYES``.
        amounts: Factors on the five amounts.
        white: R, G and B of empty glass, 0..255.
        gamma: Exponent on light in 0..1; above 1 darkens the middle.
        blur_px: Standard deviation of the optics' blur in pixels.
        sharpen: How far the scanner's software overdoes edges; 0 for not at all.
        noise: Standard deviation of the camera's noise in grey levels.
    """

    vectors: tuple[tuple[float, float, float], ...] = _VECTORS
    amounts: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    white: tuple[float, float, float] = (241.0, 239.0, 242.0)
    gamma: float = 1.0
    blur_px: float = 0.6
    sharpen: float = 0.5
    noise: float = 1.6
    noise_key: int = field(default=0, repr=False)


def _strayed(profile: StainProfile, seed: int, name: str, size: float) -> StainProfile:
    """Return a profile some way off: ``size`` 1 is as far as one laboratory from another."""
    signs = [2 * number - 1 for number in draws(seed, name, n=32)]
    hues = [1 + 0.16 * size * sign for sign in signs[:15]]
    vectors = tuple(
        (red * hues[3 * dye], green * hues[3 * dye + 1], blue * hues[3 * dye + 2])
        for dye, (red, green, blue) in enumerate(profile.vectors)
    )
    # Haematoxylin and eosin vary most, and not together.
    spans = (0.26, 0.26, 0.15, 0.15, 0.15)
    amounts = tuple(
        amount * math.exp(size * span * sign)
        for amount, span, sign in zip(profile.amounts, spans, signs[15:20], strict=True)
    )
    red, green, blue = (
        min(252.0, value + size * (4 * signs[20] + 4 * signs[21 + channel]))
        for channel, value in enumerate(profile.white)
    )
    return replace(
        profile,
        vectors=vectors,
        amounts=amounts,
        white=(red, green, blue),
        gamma=profile.gamma * math.exp(0.12 * size * signs[24]),
        blur_px=max(0.3, profile.blur_px + 0.25 * size * signs[25]),
        sharpen=max(0.0, profile.sharpen + 0.4 * size * signs[27]),
        noise=max(0.0, profile.noise + 0.8 * size * signs[26]),
        noise_key=key_of(seed, name, "noise"),
    )


def site_profile(site_number: int, seed: int = 0) -> StainProfile:
    """Return the stain and scanner of one site.

    Args:
        site_number: 0, 1, 2 ...
        seed: Seed of the cohort: the same site of another cohort looks different.

    Returns:
        The profile.

    Raises:
        ValueError: If ``site_number`` is negative.
    """
    if site_number < 0:
        raise ValueError(f"`site_number` must be >= 0. Received: site_number={site_number}")
    return _strayed(StainProfile(), key_of(seed, "site", site_number), "site", 1.0)


def slide_profile(profile: StainProfile, seed: int, *, jitter: float = 0.3) -> StainProfile:
    """Return the profile of one slide of a site.

    Args:
        profile: The site's.
        seed: The slide's.
        jitter: How far slides of one site stray, as a share of how far sites do; 0 for not at all.

    Returns:
        The profile.

    Raises:
        ValueError: If ``jitter`` is negative.
    """
    if jitter < 0:
        raise ValueError(f"`jitter` must be >= 0. Received: jitter={jitter}")
    return _strayed(profile, key_of(seed, "slide"), "slide", jitter)


def random_profile(seed: int) -> StainProfile:
    """Return the stain of a site never seen before, twice as varied as ``site_profile``."""
    return _strayed(StainProfile(), key_of(seed, "random"), "random", between(seed, "size", 0.3, 2))


def stain(
    concentrations: npt.NDArray[np.floating], profile: StainProfile, window: Window | None = None
) -> Image:
    """Turn amounts of dye into colours.

    Args:
        concentrations: Amounts of the five ``DYES``, shape (h, w, 5).
        profile: Stain and scanner.
        window: Where on the slide this is (for the camera's noise); its pixels agree with those of
            a larger window, but for the blur at its edges.

    Returns:
        uint8 RGB (h, w, 3).
    """
    height, width = concentrations.shape[:2]
    window = window or Window(0, 0, width, height)
    picture = np.empty((height, width, 3), np.uint8)
    # One random picture, read from three places, serves the three channels.
    key = profile.noise_key
    # Most tissue lacks some of the dyes.
    planes = [
        (np.ascontiguousarray(concentrations[..., dye], np.float32) * np.float32(amount), vector)
        for dye, (amount, vector) in enumerate(zip(profile.amounts, profile.vectors, strict=True))
        if concentrations[..., dye].any()
    ]
    # One pixel of glass stands for all: only the noise differs.
    shape = (height, width) if planes else (1, 1)
    for channel in range(3):
        density = np.zeros(shape, np.float32)
        for plane, vector in planes:
            density += plane * np.float32(vector[channel])
        # Gamma and Beer-Lambert are both powers: one exponential does both.
        light = np.exp(density * np.float32(-math.log(10) * profile.gamma))
        light *= np.float32(profile.white[channel])
        if profile.blur_px > 0:
            light = ndimage.gaussian_filter(light, profile.blur_px, truncate=3.0)
        if profile.sharpen > 0:
            around = ndimage.gaussian_filter(light, 1.6, truncate=2.0)
            light += np.float32(profile.sharpen) * (light - around)
        if profile.noise > 0:
            grain = noise(key_of(key, channel), 0.5, window.xs, window.ys)
            light = light + np.float32(profile.noise) * grain
        picture[..., channel] = np.clip(np.rint(light), 0, 255)
    return picture
