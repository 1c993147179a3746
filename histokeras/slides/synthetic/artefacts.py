"""What goes wrong with slides: folds, spots out of focus, pen strokes."""

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from histokeras.slides.source import Image
from histokeras.slides.synthetic.fields import Field, Whole, Window, draws, key_of, noise
from histokeras.slides.synthetic.spec import SlideSpec

FOLD, BLUR, PEN = 1, 2, 4
"""Bits of an artefact mask."""
BLUR_MARGIN = 20
"""Pixels around a window that a spot out of focus looks at."""
_BLUR_SIGMA = 4.5
_INKS = ((0.75, 0.55, 0.12), (0.8, 0.25, 0.6), (0.7, 0.7, 0.65))


def _line(spec: SlideSpec, name: str, index: int, xs: Whole, ys: Whole) -> tuple[Field, Field]:
    """Return distances across and along a wavy line, in painted pixels (h, w)."""
    width, height = spec.painted_px
    at_x, at_y, turn = draws(spec.seed, name, index, n=3)
    angle = math.pi * turn
    x = (xs - width * (0.25 + 0.5 * at_x)).astype(np.float32)[None, :]
    y = (ys - height * (0.25 + 0.5 * at_y)).astype(np.float32)[:, None]
    sway = noise(key_of(spec.seed, name, index, "sway"), 160, xs, ys)
    across = x * np.float32(math.sin(angle)) - y * np.float32(math.cos(angle)) + 26 * sway
    along = x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))
    return np.abs(across), np.abs(along)


def fold_share(spec: SlideSpec, xs: Whole, ys: Whole) -> Field:
    """Return how much more tissue lies at each pixel, 0..1, float32 (h, w)."""
    share = np.zeros((len(ys), len(xs)), np.float32)
    for index in range(spec.folds):
        across, along = _line(spec, "fold", index, xs, ys)
        length = 0.16 * min(spec.painted_px)
        # A fold tapers towards its ends.
        wide = 26 * np.clip(1.3 - along / length, 0, 1)
        share = np.maximum(share, np.clip((wide - across) / 3, 0, 1))
    return share


def blur_share(spec: SlideSpec, xs: Whole, ys: Whole) -> Field:
    """Return how far out of focus each pixel is, 0..1, float32 (h, w)."""
    share = np.zeros((len(ys), len(xs)), np.float32)
    width, height = spec.painted_px
    for index in range(spec.blurs):
        at_x, at_y, size = draws(spec.seed, "blur", index, n=3)
        radius = min(width, height) * (0.1 + 0.1 * size)
        x = (xs - width * (0.15 + 0.7 * at_x)).astype(np.float32)[None, :]
        y = (ys - height * (0.15 + 0.7 * at_y)).astype(np.float32)[:, None]
        share = np.maximum(share, np.clip((1.2 - np.hypot(x, y) / radius) * 4, 0, 1))
    return share


def pen_share(spec: SlideSpec, index: int, xs: Whole, ys: Whole) -> Field:
    """Return how much ink of one stroke lies on each pixel, 0..1, float32 (h, w)."""
    across, along = _line(spec, "pen", index, xs, ys)
    half = min(70.0, 0.04 * min(spec.painted_px))
    ink = np.clip((half - across) / 6, 0, 1) * np.clip(
        (0.35 * max(spec.painted_px) - along) / 9, 0, 1
    )
    streak = 0.88 + 0.12 * noise(key_of(spec.seed, "ink", index), 12, xs, ys)
    return np.asarray(ink * streak, np.float32)


def artefacts_at(spec: SlideSpec, xs: Whole, ys: Whole) -> npt.NDArray[np.uint8]:
    """Return which artefacts lie on pixels, sums of FOLD, BLUR and PEN, uint8 (h, w)."""
    bits = np.zeros((len(ys), len(xs)), np.uint8)
    if spec.folds:
        bits |= (fold_share(spec, xs, ys) > 0.5) * np.uint8(FOLD)
    if spec.blurs:
        bits |= (blur_share(spec, xs, ys) > 0.5) * np.uint8(BLUR)
    for index in range(spec.pens):
        bits |= (pen_share(spec, index, xs, ys) > 0.4) * np.uint8(PEN)
    return bits


def spoil(spec: SlideSpec, picture: Image, window: Window) -> Image:
    """Put blur and ink over a picture.

    Args:
        spec: The slide.
        picture: uint8 RGB (h, w, 3).
        window: Where it is; right but for ``BLUR_MARGIN`` pixels at its edges.

    Returns:
        uint8 RGB (h, w, 3).
    """
    if not (spec.blurs or spec.pens):
        return picture
    light = picture.astype(np.float32)
    if spec.blurs:
        share = blur_share(spec, window.xs, window.ys)[..., None]
        if share.any():
            soft = ndimage.gaussian_filter(light, (_BLUR_SIGMA, _BLUR_SIGMA, 0), truncate=4)
            light += share * (soft - light)
    for index in range(spec.pens):
        ink = pen_share(spec, index, window.xs, window.ys)
        dye = _INKS[int(draws(spec.seed, "ink", index)[0] * len(_INKS))]
        for channel in range(3):
            light[..., channel] *= np.power(np.float32(10), -ink * np.float32(dye[channel]))
    return np.asarray(np.clip(np.rint(light), 0, 255), np.uint8)
