"""Nuclei: many soft, uneven ellipses with chromatin, membrane and nucleoli, painted one by one."""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from histokeras.slides.synthetic.fields import Field, Lattice, Window, bank
from histokeras.slides.synthetic.stains import DYES, EOSIN, HAEMATOXYLIN

_CHUNK = 512
MAX_REACH = 24
"""No nucleus reaches further from its centre than this, in pixels."""


Bits = npt.NDArray[np.bool_]
_Stamp = tuple[Field, Field, Bits]


@dataclass(frozen=True)
class Look:
    """How the nuclei of one kind look; ranges are (least, most).

    Attributes:
        radius: Mean radius in pixels.
        aspect: Length over width.
        dark: Amount of haematoxylin.
        soft: Width of the edge in pixels: in focus or not.
        bump: How uneven the outline is.
        texture: Contrast of the chromatin.
        vesicular: How empty the inside is against the membrane, 0..1.
        nucleoli: Strength of nucleoli; 0 for none.
        eosin: Eosin inside.
    """

    radius: tuple[float, float]
    aspect: tuple[float, float] = (1.0, 1.4)
    dark: tuple[float, float] = (0.6, 0.95)
    soft: tuple[float, float] = (1.6, 3.2)
    bump: float = 0.08
    texture: float = 0.16
    vesicular: tuple[float, float] = (0.0, 0.3)
    nucleoli: float = 0.0
    eosin: float = 0.10


@dataclass
class Matter:
    """What a window is made of, while it is painted.

    Attributes:
        window: Where it is.
        dyes: Amounts of the five ``DYES``, float32 (5, h, w).
        nuclei: Where nuclei are, bool (h, w).
    """

    window: Window
    dyes: Field
    nuclei: npt.NDArray[np.bool_]


def empty(window: Window) -> Matter:
    """Return a window of glass."""
    return Matter(
        window,
        np.zeros((len(DYES), *window.shape), np.float32),
        np.zeros(window.shape, np.bool_),
    )


@functools.cache
def _chromatin() -> Field:
    """Return a bank that goes on by MAX_REACH on all sides."""
    return np.pad(bank(1.0), MAX_REACH, mode="wrap")


def _span(range_: tuple[float, float], share: Field) -> Field:
    return np.asarray(range_[0] + (range_[1] - range_[0]) * share, np.float32)


def paint(
    matter: Matter, places: Lattice, look: Look, angles: Field | None = None, size: float = 1.0
) -> None:
    """Paint nuclei over what is there.

    Args:
        matter: Changed in place.
        places: Where; at least 12 random numbers each, of which 4..11 shape the nucleus.
        look: Their look.
        angles: Direction of each in radians, float32 (k,); random without.
        size: Factor on the radius.
    """
    if angles is None:
        angles = places.draws[4] * np.float32(np.pi)
    for start in range(0, len(places), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        part = Lattice(places.x[chunk], places.y[chunk], places.draws[:, chunk])
        _paint_chunk(matter, part, look, angles[chunk], size)


def _paint_chunk(matter: Matter, places: Lattice, look: Look, angles: Field, size: float) -> None:
    numbers = places.draws
    radius = _span(look.radius, numbers[5]) * np.float32(size)
    aspect = _span(look.aspect, numbers[6])
    long = np.minimum(radius * np.sqrt(aspect), MAX_REACH / 1.4)
    soft = _span(look.soft, numbers[7] ** 2)
    needed = np.ceil(long * (1 + 2 * look.bump) + 0.75 * soft).astype(np.int64)
    # Nuclei of about one size are computed together, each in no larger a square than it needs.
    reaches = np.minimum(needed + needed % 2, MAX_REACH)
    stamps: dict[int, _Stamp] = {}
    for reach in np.unique(reaches).tolist():
        chosen = reaches == reach
        drawn = _stamps(places.only(chosen), look, angles[chosen], size, reach)
        for i, stamp in zip(np.flatnonzero(chosen).tolist(), zip(*drawn, strict=True), strict=True):
            stamps[i] = stamp
    column, row = np.floor(places.x).astype(int), np.floor(places.y).astype(int)
    lefts = (column - matter.window.x - reaches).tolist()
    tops = (row - matter.window.y - reaches).tolist()
    _lay(matter, [stamps[i] for i in range(len(places))], lefts, tops)


def _stamps(
    places: Lattice, look: Look, angles: Field, size: float, reach: int
) -> tuple[Field, Field, Bits]:
    """Return what nuclei do to the dyes.

    Args:
        places: k nuclei.
        look: Their look.
        angles: Direction of each.
        size: Factor on the radius.
        reach: How far the squares reach from their middle pixel.

    Returns:
        Share of haematoxylin and eosin that stays and what is added of them, (k, 2, n, n), and
        where nuclei are, bool (k, n, n).
    """
    numbers = places.draws
    radius = _span(look.radius, numbers[5]) * np.float32(size)
    aspect = _span(look.aspect, numbers[6])
    long = np.minimum(radius * np.sqrt(aspect), MAX_REACH / 1.4)
    short = radius / np.sqrt(aspect)
    soft = _span(look.soft, numbers[7] ** 2)
    column, row = np.floor(places.x).astype(int), np.floor(places.y).astype(int)
    offsets = np.arange(-reach, reach + 1, dtype=np.float32)
    dx = offsets[None, None, :] + (0.5 - (places.x - column)).astype(np.float32)[:, None, None]
    dy = offsets[None, :, None] + (0.5 - (places.y - row)).astype(np.float32)[:, None, None]
    cosine, sine = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    p = (dx * cosine + dy * sine) / long[:, None, None]
    q = (dy * cosine - dx * sine) / short[:, None, None]
    alpha, depth = _outline(p, q, long, short, soft, numbers, look.bump)
    value = _inside(p, q, depth, short, numbers, look, reach)
    # Some eosin stays under the nuclei, else they look blue-green.
    kept = np.stack([1 - alpha, 1 - np.float32(0.55) * alpha], axis=1)
    added = np.stack([alpha * value, alpha * np.float32(look.eosin)], axis=1)
    return kept, added, alpha > 0.5


def _outline(
    p: Field, q: Field, long: Field, short: Field, soft: Field, numbers: Field, bump: float
) -> tuple[Field, Field]:
    """Return opacity and the depth below the edge in pixels, (k, n, n) each."""
    p2, q2 = p * p, q * q
    square = p2 + q2 + np.float32(1e-6)
    root = np.sqrt(square)
    cos2, sin2 = (p2 - q2) / square, 2 * p * q / square
    cos1, sin1 = p / root, q / root
    phase2 = (numbers[8] * np.float32(2 * np.pi))[:, None, None]
    phase3 = (numbers[9] * np.float32(2 * np.pi))[:, None, None]
    edge = cos2 * np.cos(phase2) + sin2 * np.sin(phase2)
    edge += (cos2 * cos1 - sin2 * sin1) * np.cos(phase3)
    edge += (sin2 * cos1 + cos2 * sin1) * np.sin(phase3)
    # A pixel more at the tip of a long nucleus is a smaller share of its length.
    scale = short[:, None, None] + (0.7 * (long - short))[:, None, None] * (cos1 * cos1)
    depth = (1 + np.float32(bump) * edge - root) * scale
    return np.clip(0.5 + depth / soft[:, None, None], 0, 1), depth


def _inside(
    p: Field,
    q: Field,
    depth: Field,
    short: Field,
    numbers: Field,
    look: Look,
    reach: int,
) -> Field:
    """Return the amount of haematoxylin inside the nuclei, (k, n, n)."""
    # The chromatin of each nucleus comes from a place of its own in the bank.
    rows, columns = ((numbers[i] * 1000).astype(int) + MAX_REACH - reach for i in (10, 11))
    side = 2 * reach + 1
    chromatin = sliding_window_view(_chromatin(), (side, side))[rows, columns]
    hollow = _span(look.vesicular, numbers[9])[:, None, None]
    rim = np.clip(1.25 - np.abs(depth - 1.2) * np.float32(0.7), 0, 1)
    value = 1 - hollow * (1 - rim) + np.float32(look.texture) * chromatin
    if look.nucleoli:
        turn = numbers[8] * np.float32(2 * np.pi)
        for number, far in ((0, 0.3), (1, -0.45)):
            shown = (numbers[10 + number] < (0.75, 0.3)[number]).astype(np.float32) * look.nucleoli
            spot_p, spot_q = (
                (far * np.cos(turn))[:, None, None],
                (far * np.sin(turn))[:, None, None],
            )
            far2 = (p - spot_p) ** 2 + (q - spot_q) ** 2
            width = np.maximum(1.3 / short, 0.16)[:, None, None]
            value += shown[:, None, None] * np.exp(-far2 / (2 * width * width))
    dark = _span(look.dark, numbers[4] if look.aspect[1] < 2 else numbers[9])
    return np.asarray(np.clip(value, 0.1, 1.6) * dark[:, None, None], np.float32)


def _lay(matter: Matter, stamps: list[_Stamp], lefts: list[int], tops: list[int]) -> None:
    """Lay nuclei over the window in their order, cut at its edges."""
    # Haematoxylin and eosin are the first two dyes: one step does both.
    dyes, mask = matter.dyes[HAEMATOXYLIN : EOSIN + 1], matter.nuclei
    height, width = matter.window.shape
    for (kept, added, solid), left, top in zip(stamps, lefts, tops, strict=True):
        side = len(solid)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
        if x0 >= x1 or y0 >= y1:
            continue
        area, shade = dyes[:, y0:y1, x0:x1], mask[y0:y1, x0:x1]
        if shade.shape != solid.shape:
            part = (..., slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
            kept, added, solid = kept[part], added[part], solid[part]
        area *= kept
        area += added
        shade |= solid
