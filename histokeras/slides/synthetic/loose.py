"""Tissue without a frame: lymphocytes (LYM), mucin (MUC) and necrotic debris (DEB)."""

import math
from dataclasses import replace

import numpy as np

from histokeras.slides.synthetic.fields import (
    between,
    draws,
    fibre_frame,
    fractal,
    key_of,
    lattice,
    noise,
    streaks,
)
from histokeras.slides.synthetic.nuclei import Look, Matter, paint
from histokeras.slides.synthetic.shapes import slopes, walls
from histokeras.slides.synthetic.stains import BROWN, EOSIN, HAEMATOXYLIN, MUCIN, RED_CELLS
from histokeras.slides.synthetic.vessels import red_cells, vessels

_LYMPHOCYTE = Look(
    radius=(4.3, 5.7),
    aspect=(1.0, 1.35),
    dark=(0.5, 0.9),
    soft=(1.6, 3.4),
    bump=0.06,
    texture=0.2,
    vesicular=(0.05, 0.45),
    eosin=0.14,
)
_FLOATING = Look(
    radius=(4.2, 6.4), aspect=(1.0, 2.6), dark=(0.6, 1.0), soft=(1.8, 4.0), bump=0.1, eosin=0.2
)
_DUST = Look(
    radius=(1.6, 4.4), aspect=(1.0, 1.8), dark=(0.4, 1.0), soft=(1.4, 3.2), bump=0.14, eosin=0.1
)
_GHOST = Look(
    radius=(6.0, 9.0), dark=(0.12, 0.3), soft=(3.0, 6.0), bump=0.1, texture=0.3, eosin=0.25
)


def lymphocytes(matter: Matter, seed: int) -> None:
    """Paint packed small round nuclei, with white cracks and thin threads between them."""
    window, key = matter.window, key_of(seed, "LYM")
    packed = between(seed, "packed", 0, 1)
    density = noise(key_of(key, "density"), 90, window.xs, window.ys)
    threads = np.clip(1 - np.abs(fractal(key, 14, window.xs, window.ys, octaves=3)) * 1.6, 0, 1)
    grain = np.clip(1 + 0.3 * noise(key_of(key, "grain"), 1.3, window.xs, window.ys), 0, 2)
    pink = (0.04 + 0.05 * packed) * grain + (0.16 - 0.06 * packed) * threads**2
    cracks = fractal(key_of(key, "cracks"), 20, window.xs, window.ys, octaves=3)
    clear = 1 - 0.9 * np.clip((cracks - 1.45 - 0.7 * packed) * 3, 0, 1)
    matter.dyes[EOSIN] = np.clip(pink + 0.02 * density, 0, 1) * clear
    matter.dyes[HAEMATOXYLIN] = (0.025 + 0.05 * packed) * grain * clear
    size = between(seed, "size", 0.9, 1.1)
    places = lattice(key_of(key, "n"), window, size * (13.3 - 1.7 * packed), jitter=0.5)
    rows, columns = window.index(places.x, places.y)
    keep = 0.72 + 0.26 * packed + 0.16 * density[rows, columns]
    keep = keep * np.clip(clear[rows, columns] * 1.5, 0, 1)
    places = places.only(places.draws[0] < keep)
    halo = Look(radius=(5.4, 7.0), dark=(0.08, 0.18), soft=(2.5, 4.5), texture=0.1, eosin=0.16)
    nuclei = matter.nuclei.copy()
    paint(matter, places.only(places.draws[1] < 0.55), halo, size=size)
    matter.nuclei[:] = nuclei
    paint(matter, places, _LYMPHOCYTE, size=size)
    vessels(matter, key_of(key, "vessels"), 300, 0.35)


def mucin(matter: Matter, seed: int) -> None:
    """Paint pools of pale lilac mucin with thin wrinkles, pink strands and floating cells."""
    window, key = matter.window, key_of(seed, "MUC")
    angle = between(seed, "angle", 0, math.pi)
    u, v = fibre_frame(key, window.xs, window.ys, angle=angle, waves=26, ripple=7, crinkle=2.6)
    clouds = fractal(key_of(key, "clouds"), 80, window.xs, window.ys, octaves=4)
    wrinkled = np.clip(0.7 + 0.5 * noise(key_of(key, "w"), 100, window.xs, window.ys), 0.1, 1.2)
    fold = 1 - np.abs(streaks(key_of(key, 1), u, v, 30, 7)) * 1.3
    fine = 1 - np.abs(streaks(key_of(key, 2), u, v, 9, 2.6)) * 1.2
    ridges = np.clip(fold, 0, 1) ** 5 + 0.6 * np.clip(fine, 0, 1) ** 4
    base = np.clip(1 + 0.4 * clouds, 0.1, 2)
    strength = between(seed, "strength", 0.75, 1.35)
    matter.dyes[MUCIN] = strength * (0.042 * base + 0.05 * ridges * wrinkled)
    matter.dyes[HAEMATOXYLIN] = strength * (0.07 * base + 0.24 * ridges * wrinkled)
    matter.dyes[EOSIN] = 0.035 * base + 0.05 * ridges * wrinkled
    strand = streaks(key_of(key, 3), u, v, 150, 13) + 0.4 * streaks(key_of(key, 4), u, v, 40, 4)
    strands = np.clip((strand - between(seed, "strands", 1.1, 2.7)) * 2, 0, 1)
    matter.dyes[EOSIN] += strands * 0.3 * np.clip(1 + 0.2 * fine, 0, 2)
    matter.dyes[HAEMATOXYLIN] += strands * 0.06
    places = lattice(key_of(key, "n"), window, 19, jitter=0.9)
    rows, columns = window.index(places.x, places.y)
    field = fractal(key_of(key, "groups"), 40, window.xs, window.ys, octaves=2)
    groups = field[rows, columns]
    chance = 0.5 * strands[rows, columns] + 0.3 * np.clip(groups - 1.3, 0, 1) + 0.012
    places = places.only(places.draws[0] < chance)
    _, slope_x, slope_y = slopes(v, places, window)
    halo = Look(radius=(6.5, 9.5), aspect=(1.0, 1.8), dark=(0.12, 0.2), soft=(3, 5), eosin=0.3)
    paint(matter, places.only(places.draws[2] < 0.6), halo)
    paint(matter, places, _FLOATING, np.arctan2(-slope_x, slope_y).astype(np.float32))
    red = lattice(key_of(key, "red"), window, 11, jitter=0.9)
    rows, columns = window.index(red.x, red.y)
    near = np.clip(
        -0.6 * fractal(key_of(key, "groups"), 40, window.xs, window.ys, octaves=2) - 1.1, 0, 0.6
    )
    red_cells(matter, red.only(red.draws[0] < near[rows, columns]))


_FAMILIES = (
    # haematoxylin, eosin, mucin, brown, red cells
    (0.14, 0.36, 0.0, 0.0, 0.02),
    (0.34, 0.26, 0.0, 0.0, 0.0),
    (0.12, 0.02, 0.55, 0.0, 0.0),
    (0.16, 0.0, 1.2, 0.0, 0.0),
    (0.17, 0.13, 0.0, 0.15, 0.07),
)


def debris(matter: Matter, seed: int, *, violet: bool = True) -> None:
    """Paint necrosis: grain, ghosts of cells, nuclear dust and cracks, in one of five hues."""
    window, key = matter.window, key_of(seed, "DEB")
    pick = draws(seed, "family", n=2)
    # Violet comes from over-stained archives; within one slide it would look out of place.
    chosen = int(pick[0] * 5) if violet else (0, 0, 1, 1, 4)[int(pick[0] * 5)]
    family = _FAMILIES[chosen]
    other = _FAMILIES[2 + int(pick[1] * 2) if chosen in (2, 3) else int(pick[1] * 2)]
    blend = np.clip(0.5 * fractal(key_of(key, "blend"), 90, window.xs, window.ys, octaves=3), 0, 1)
    cells = walls(key, window, between(seed, "cell", 15, 21), warp=3, warp_sigma=10)
    border = np.exp(-((cells.first / 1.8) ** 2))
    coarse = noise(key_of(key, "coarse"), 3.2, window.xs, window.ys)
    grain = noise(key_of(key, "grain"), 1.2, window.xs, window.ys)
    patches = fractal(key_of(key, "patches"), 50, window.xs, window.ys, octaves=3)
    tone = 1 + 0.16 * coarse + 0.2 * grain + 0.12 * patches + 0.5 * (cells.draw - 0.5)
    tone = np.clip(tone - between(seed, "borders", 0.0, 0.45) * border, 0.2, 2)
    cracks = fractal(key_of(key, "cracks"), 36, window.xs, window.ys, octaves=4)
    clear = 1 - np.clip((cracks - between(seed, "open", 1.2, 2.6)) * 5, 0, 1)
    for dye, (one, two) in zip(
        (HAEMATOXYLIN, EOSIN, MUCIN, BROWN, RED_CELLS), zip(family, other, strict=True), strict=True
    ):
        amount = one + (two - one) * blend
        matter.dyes[dye] = amount * tone * clear
    places = lattice(key_of(key, "ghosts"), window, 17, jitter=0.7)
    rows, columns = window.index(places.x, places.y)
    whole = clear[rows, columns] > 0.6
    before = matter.nuclei.copy()
    ghost = replace(_GHOST, eosin=0.02) if chosen in (2, 3) else _GHOST
    paint(matter, places.only(whole & (places.draws[0] < 0.45)), ghost)
    matter.nuclei[:] = before
    dust = lattice(key_of(key, "dust"), window, 9.5, jitter=0.95)
    rows, columns = window.index(dust.x, dust.y)
    most = 0.14 if chosen in (2, 3) else 0.4
    share = between(seed, "dust", 0.04, most) * (1 + 0.7 * patches[rows, columns])
    paint(matter, dust.only((clear[rows, columns] > 0.6) & (dust.draws[0] < share)), _DUST)
