"""Fibrous and fatty tissue: muscle (MUS), stroma (STR) and fat (ADI)."""

import math

import numpy as np

from histokeras.slides.synthetic.fields import (
    Field,
    Window,
    between,
    fibre_frame,
    fractal,
    key_of,
    lattice,
    noise,
    streaks,
)
from histokeras.slides.synthetic.nuclei import Look, Matter, paint
from histokeras.slides.synthetic.shapes import slopes, walls
from histokeras.slides.synthetic.stains import EOSIN, HAEMATOXYLIN
from histokeras.slides.synthetic.vessels import vessels

_CIGAR = Look(
    radius=(4.4, 6.2), aspect=(2.6, 5.5), dark=(0.3, 0.75), soft=(1.8, 5.0), texture=0.16, eosin=0.2
)
_SPINDLE = Look(
    radius=(3.6, 5.6), aspect=(1.6, 4.6), dark=(0.35, 0.9), soft=(1.8, 4.5), bump=0.1, eosin=0.18
)
_ROUND = Look(radius=(4.6, 5.8), dark=(0.75, 1.1), soft=(1.6, 2.8), bump=0.05, eosin=0.1)
_RIM = Look(radius=(4.0, 5.2), aspect=(2.0, 4.0), dark=(0.6, 1.0), soft=(1.8, 3.0), eosin=0.12)


def fibre_nuclei(
    matter: Matter, key: int, v: Field, angle: float, spacing: float, share: float, look: Look
) -> None:
    """Paint nuclei that lie along fibres, in loose groups.

    Args:
        matter: Changed in place.
        key: From ``key_of``.
        v: Coordinate across the fibres, float32 (h, w).
        angle: Main direction of the fibres in radians.
        spacing: Distance of the places of nuclei in pixels.
        share: Share of the places that are taken.
        look: Their look.
    """
    window = matter.window
    places = lattice(key, window, spacing, stretch=1.8, angle=angle, jitter=0.95)
    clumps = fractal(key_of(key, "clumps"), 60, window.xs, window.ys, octaves=2)
    rows, columns = window.index(places.x, places.y)
    places = places.only(places.draws[0] < share * (1 + 0.5 * clumps[rows, columns]))
    _, slope_x, slope_y = slopes(v, places, window)
    angles = np.arctan2(-slope_x, slope_y) + (places.draws[1] - 0.5) * np.float32(0.35)
    paint(matter, places, look, angles.astype(np.float32))


def muscle(matter: Matter, seed: int) -> None:
    """Paint smooth muscle: long parallel fibres, fine grain, cigar-shaped nuclei along them."""
    window, key = matter.window, key_of(seed, "MUS")
    angle = between(seed, "angle", 0, math.pi)
    waves = between(seed, "waves", 3, 13)
    u, v = fibre_frame(key, window.xs, window.ys, angle=angle, waves=waves, ripple=1.2, crinkle=0.7)
    broad = streaks(key_of(key, 1), u, v, 130, 10)
    middle = streaks(key_of(key, 2), u, v, 46, 3.0)
    fine = streaks(key_of(key, 3), u, v, 16, 1.2)
    strength = between(seed, "eosin", 0.27, 0.39)
    tone = 1 + 0.06 * broad + 0.10 * middle + between(seed, "grain", 0.12, 0.24) * fine
    pink = strength * np.clip(tone, 0.25, 1.8)
    # Clefts: thin white splits between bundles, more in some places than in others.
    open_ = between(seed, "clefts", 1.5, 3.0) - 0.5 * noise(
        key_of(key, "open"), 120, window.xs, window.ys
    )
    cleft = np.clip((broad * 0.8 + 0.75 * middle - open_) * 2.2, 0, 1)
    pale = 1 - 0.92 * cleft
    matter.dyes[EOSIN] = pink * pale
    blue = between(seed, "blue", 0.03, 0.10)
    matter.dyes[HAEMATOXYLIN] = np.clip(blue * (1 + 0.6 * middle + 0.5 * fine), 0.0, 1) * pale
    fibre_nuclei(matter, key_of(key, "n"), v, angle, between(seed, "gap", 15, 21), 0.5, _CIGAR)
    vessels(matter, key_of(key, "vessels"), 420, 0.25)


def collagen(
    window: Window, seed: int, key: int, *, varied: bool = False
) -> tuple[Field, Field, Field, float]:
    """Return streaked stroma.

    Args:
        window: Where.
        seed: Seed of the slide or tile.
        key: From ``key_of``.
        varied: Whether it may be paler, bluer and more tangled than between glands.

    Returns:
        Eosin, haematoxylin, the coordinate across the fibres (float32 (h, w) each), and the
        fibres' direction in radians.
    """
    pinks, blues, swings = (
        ((0.17, 0.32), (0.05, 0.19), (10, 42)) if varied else ((0.22, 0.32), (0.06, 0.13), (12, 30))
    )
    angle = between(seed, "angle", 0, math.pi)
    waves = between(seed, "waves", *swings)
    u, v = fibre_frame(key, window.xs, window.ys, angle=angle, waves=waves, ripple=3.5, crinkle=1.1)
    broad = streaks(key_of(key, 1), u, v, 80, 9)
    middle = streaks(key_of(key, 2), u, v, 30, 3.0)
    fine = streaks(key_of(key, 3), u, v, 12, 1.2)
    loose = between(seed, "loose", -0.35, 0.35)
    myxoid = 0.5 * fractal(key_of(key, "myxoid"), 110, window.xs, window.ys, octaves=2) + loose
    tone = 1 + 0.12 * broad + 0.18 * middle + 0.20 * fine
    pink = between(seed, "eosin", *pinks) * np.clip(tone, 0.15, 2.2)
    pink = pink * (1 - np.clip(0.45 * myxoid, -0.15, 0.45))
    blue = between(seed, "blue", *blues) * (1 + 0.4 * np.clip(myxoid, -0.5, 1.5))
    blue = blue * np.clip(1 + 0.45 * middle + 0.35 * fine - 0.2 * broad, 0.1, 2.5)
    gap = np.clip((np.clip(myxoid, -0.5, 1) * 0.7 - broad * 0.6 - 0.8 * middle - 1.9) * 2, 0, 1)
    clear = 1 - 0.8 * gap
    return pink * clear, blue * clear, v, angle


def stroma(matter: Matter, seed: int) -> None:
    """Paint wavy streaked collagen with spindle nuclei and a few lymphocytes."""
    window, key = matter.window, key_of(seed, "STR")
    matter.dyes[EOSIN], matter.dyes[HAEMATOXYLIN], v, angle = collagen(
        window, seed, key, varied=True
    )
    spacing = between(seed, "gap", 16, 24)
    fibre_nuclei(matter, key_of(key, "n"), v, angle, spacing, 0.62, _SPINDLE)
    inflamed(matter, key_of(key, "lym"), between(seed, "inflamed", -0.2, 0.5))
    vessels(matter, key_of(key, "vessels"), 330, 0.5)


def inflamed(matter: Matter, key: int, share: float) -> None:
    """Strew lymphocytes in groups; ``share`` is how many of their places are filled, about."""
    window = matter.window
    places = lattice(key, window, 15, jitter=0.8)
    groups = fractal(key_of(key, "groups"), 70, window.xs, window.ys, octaves=2)
    rows, columns = window.index(places.x, places.y)
    paint(
        matter, places.only(places.draws[0] < 0.3 * (groups[rows, columns] - 1.2 + share)), _ROUND
    )


def fat(matter: Matter, seed: int) -> None:
    """Paint fat: large empty cells, thin walls, folded membranes, few flat nuclei at the rims."""
    window, key = matter.window, key_of(seed, "ADI")
    spacing = between(seed, "cell", 95, 170)
    cells = walls(key, window, spacing, warp=spacing * 0.09, warp_sigma=spacing * 0.3)
    thick = fractal(key_of(key, "thick"), 40, window.xs, window.ys, octaves=3)
    width = np.clip(1.0 + 0.7 * thick + 1.6 * np.clip(thick - 1.0, 0, 3), 0.6, 6)
    # Two cells share a wall: two membranes with a slit here and there.
    apart = np.clip(0.6 + 1.6 * noise(key_of(key, "apart"), 16, window.xs, window.ys), 0, 4)
    wall = np.exp(-(((cells.first - apart) / width) ** 2))
    texture = noise(key_of(key, "texture"), 1.5, window.xs, window.ys)
    grain = np.clip(1 + 0.3 * texture, 0.2, 2)
    # Membranes cut flat lie beside the wall like pale veils with folds.
    veil = fractal(key_of(key, "veil"), 50, window.xs, window.ys, octaves=4) + 0.5 * cells.draw
    soft = np.clip((veil - 0.55 - 0.03 * cells.first) * 8, 0, 1) * np.clip(
        4 - cells.first / 6, 0, 1
    )
    folds = np.clip(1 - np.abs(noise(key_of(key, "folds"), 4, window.xs, window.ys)) * 2, 0, 1)
    matter.dyes[EOSIN] = 0.005 + wall * grain * between(seed, "eosin", 0.34, 0.5)
    matter.dyes[EOSIN] += soft * (0.04 + 0.07 * folds**2)
    matter.dyes[HAEMATOXYLIN] = (
        0.003 + wall * grain * between(seed, "blue", 0.12, 0.25) + 0.02 * soft
    )
    places = lattice(key_of(key, "n"), window, spacing * 0.36, jitter=0.9)
    value, slope_x, slope_y = slopes(cells.first, places, window)
    places = places.only((value < 9) & (places.draws[0] < 0.35))
    value, slope_x, slope_y = slopes(cells.first, places, window)
    flat = np.arctan2(-slope_x, slope_y)
    paint(matter, places, _RIM, flat.astype(np.float32), 0.9)
    vessels(matter, key_of(key, "vessels"), 520, 0.3)
