"""Procedural tiles: amounts of dye, classes and nuclei first; colours late, by any profile."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from histokeras.slides.source import Image
from histokeras.slides.synthetic.epithelium import normal, tumour
from histokeras.slides.synthetic.fibrous import fat, muscle, stroma
from histokeras.slides.synthetic.fields import Field, Window, draws, fractal, key_of, noise
from histokeras.slides.synthetic.loose import debris, lymphocytes, mucin
from histokeras.slides.synthetic.nuclei import MAX_REACH, Matter, empty
from histokeras.slides.synthetic.stains import EOSIN, HAEMATOXYLIN, MUCIN, StainProfile, stain
from histokeras.tissue import TISSUES

CLASSES = TISSUES
GLASS = 255
"""The class of pixels without tissue."""
MARGIN = MAX_REACH + 6
"""Pixels painted around a window, so that objects cross its edges."""
_UM_PER_PX = 0.5

_PAINTERS: dict[str, Callable[[Matter, int], None]] = {
    "ADI": fat,
    "LYM": lymphocytes,
    "MUC": mucin,
    "MUS": muscle,
    "NOR": normal,
    "STR": stroma,
}


@dataclass(frozen=True)
class TissueTile:
    """A tile before it is stained.

    Attributes:
        concentrations: Amounts of haematoxylin, eosin, red cells, mucin and brown, >= 0,
            float32 (h, w, 5).
        classes: Index into ``CLASSES``, uint8 (h, w).
        nuclei: Where nuclei are, bool (h, w).
    """

    concentrations: Field
    classes: npt.NDArray[np.uint8]
    nuclei: npt.NDArray[np.bool_]


def paint_class(
    window: Window, kind: str, seed: int, architecture: float, *, violet: bool = True
) -> Matter:
    """Return a window filled with one class of tissue.

    Args:
        window: Where, in pixels of 0.5 um.
        kind: One of ``CLASSES``.
        seed: Seed of the slide or tile.
        architecture: Growth pattern of tumour, 0..1.
        violet: Whether debris may be saturated violet.

    Returns:
        What it is made of.
    """
    wide = empty(window.grown(MARGIN))
    if kind == "TUM":
        tumour(wide, seed, architecture)
    elif kind == "DEB":
        debris(wide, seed, violet=violet)
    else:
        _PAINTERS[kind](wide, seed)
    _grain(wide, seed)
    inner = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    return Matter(window, np.maximum(wide.dyes[:, *inner], 0), wide.nuclei[inner])


def _grain(matter: Matter, seed: int) -> None:
    """Multiply the amounts by the fine grain that all fixed tissue has."""
    window = matter.window
    fine = noise(key_of(seed, "grain", 0), 0.7, window.xs, window.ys)
    middle = noise(key_of(seed, "grain", 1), 1.6, window.xs, window.ys)
    matter.dyes[HAEMATOXYLIN] *= 1 + 0.08 * fine + 0.08 * middle
    matter.dyes[[EOSIN, MUCIN]] *= 1 + 0.13 * fine + 0.15 * middle


def _sample(length: int, mpp: float) -> tuple[Field, int]:
    """Return where the pixels lie among those of 0.5 um, and how many of those are needed."""
    step = mpp / _UM_PER_PX
    places = (np.arange(length) + 0.5) * step - 0.5
    return places, int(np.ceil(places[-1])) + 2


def _resampled(planes: Field, size_px: int, mpp: float) -> Field:
    """Return float32 planes (n, h, w) of 0.5 um as (n, size_px, size_px) of another size."""
    places, _ = _sample(size_px, mpp)
    places = np.clip(places, 0, planes.shape[1] - 1.001)
    low = places.astype(np.int64)
    part = (places - low).astype(np.float32)
    rows = planes[:, low] * (1 - part)[:, None] + planes[:, low + 1] * part[:, None]
    return np.asarray(rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part, np.float32)


def _require(kind: str, size_px: int, mpp: float, architecture: float) -> None:
    if kind not in CLASSES:
        raise ValueError(f"`kind` must be one of {', '.join(CLASSES)}. Received: kind={kind!r}")
    if size_px < 1:
        raise ValueError(f"`size_px` must be >= 1. Received: size_px={size_px}")
    if not 0.1 <= mpp <= 4:
        raise ValueError(f"`mpp` is in micrometres per pixel, 0.1 to 4. Received: mpp={mpp}")
    if not 0 <= architecture <= 1:
        raise ValueError(f"`architecture` must be in [0, 1]. Received: architecture={architecture}")


def tissue_tile(
    kind: str,
    *,
    seed: int,
    size_px: int = 224,
    mpp: float = 0.5,
    architecture: float = 0.0,
    mixed: bool = False,
) -> TissueTile:
    """Make a tile of one class of tissue, not stained yet.

    Args:
        kind: One of ``CLASSES``.
        seed: The same seed gives the same tile.
        size_px: Side in pixels.
        mpp: Micrometres per pixel, 0.1 to 4; drawn at 0.5 and resampled to others.
        architecture: Growth pattern of TUM: 0 for cohesive glands, 1 for small nests.
        mixed: Whether another class takes up to half of the tile behind a fractal border.

    Returns:
        The tile.

    Raises:
        ValueError: If an argument is out of range.
    """
    _require(kind, size_px, mpp, architecture)
    side = size_px if mpp == _UM_PER_PX else _sample(size_px, mpp)[1]
    window = Window(0, 0, side, side)
    matter = paint_class(window, kind, seed, architecture)
    dyes, nuclei = matter.dyes, matter.nuclei
    classes = np.full(window.shape, CLASSES.index(kind), np.uint8)
    if mixed:
        pick, share = draws(seed, "mixed", n=2)
        other = [name for name in CLASSES if name != kind][int(pick * (len(CLASSES) - 1))]
        second = paint_class(window, other, seed, architecture)
        field = fractal(key_of(seed, "border"), 70, window.xs, window.ys)
        there = np.clip((field - np.quantile(field, 0.5 + 0.45 * share)) * 12 + 0.5, 0, 1)
        dyes = dyes * (1 - there) + second.dyes * there
        nuclei = np.where(there > 0.5, second.nuclei, nuclei)
        classes[there > 0.5] = CLASSES.index(other)
    if mpp != _UM_PER_PX:
        nearest = np.clip(np.rint(_sample(size_px, mpp)[0]), 0, side - 1).astype(np.int64)
        dyes = _resampled(dyes.astype(np.float32), size_px, mpp)
        classes, nuclei = classes[np.ix_(nearest, nearest)], nuclei[np.ix_(nearest, nearest)]
    return TissueTile(np.ascontiguousarray(dyes.transpose(1, 2, 0), np.float32), classes, nuclei)


def render_tile(tile: TissueTile, profile: StainProfile) -> Image:
    """Stain a tile.

    Args:
        tile: From ``tissue_tile``.
        profile: Stain and scanner.

    Returns:
        uint8 RGB (h, w, 3).
    """
    return stain(tile.concentrations, profile)
