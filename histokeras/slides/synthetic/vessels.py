"""Small vessels and red cells."""

import math

import numpy as np

from histokeras.slides.synthetic.fields import Field, Lattice, cell_draws, key_of, lattice, noise
from histokeras.slides.synthetic.nuclei import Look, Matter, paint
from histokeras.slides.synthetic.stains import BROWN, EOSIN, HAEMATOXYLIN, MUCIN, RED_CELLS

_REACH = 46
_FLAT = Look(radius=(4.0, 5.2), aspect=(2.0, 4.0), dark=(0.6, 1.0), soft=(1.8, 3.0), eosin=0.12)


def vessels(matter: Matter, key: int, spacing: float, share: float) -> None:
    """Paint small vessels: a white or red lumen, a thin pink wall and flat nuclei around it.

    Args:
        matter: Changed in place.
        key: From ``key_of``.
        spacing: Distance of the places of vessels in pixels.
        share: Share of the places that bear one.
    """
    window = matter.window
    centres = lattice(key, window.grown(_REACH), spacing, jitter=0.9, n_draws=10)
    centres = centres.only(centres.draws[0] < share)
    for i in range(len(centres)):
        _vessel(matter, key, float(centres.x[i]), float(centres.y[i]), centres.draws[:, i])


def _vessel(matter: Matter, key: int, x: float, y: float, numbers: Field) -> None:
    window = matter.window
    radius = 7 + 17 * float(numbers[1]) ** 2
    turn, stretch = math.pi * float(numbers[2]), math.sqrt(1 + 1.6 * float(numbers[3]))
    row, column = int(y) - window.y, int(x) - window.x
    left, right = max(0, column - _REACH), min(window.width, column + _REACH + 1)
    top, bottom = max(0, row - _REACH), min(window.height, row + _REACH + 1)
    if left >= right or top >= bottom:
        return
    here = (slice(top, bottom), slice(left, right))
    dx = window.xs[left:right].astype(np.float32)[None, :] - np.float32(x)
    dy = window.ys[top:bottom].astype(np.float32)[:, None] - np.float32(y)
    cosine, sine = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    p, q = (dx * cosine + dy * sine) / stretch, (dy * cosine - dx * sine) * stretch
    length = np.hypot(p, q)
    swell = 1 + 0.12 * noise(key, 9, window.xs[left:right], window.ys[top:bottom])
    edge = np.float32(radius) * swell - length
    lumen = np.clip(edge / 1.5 + 0.5, 0, 1)
    wall = np.clip((edge + 5) / 1.5, 0, 1) * (1 - lumen)
    for dye in (HAEMATOXYLIN, EOSIN, MUCIN, BROWN):
        matter.dyes[dye][here] *= 1 - lumen
    matter.dyes[EOSIN][here] *= 1 + 0.25 * wall
    matter.nuclei[here] &= lumen < 0.5
    if numbers[4] < 0.7:
        # Red cells fill the lumen more or less.
        clots = noise(key_of(key, "red"), 2.2, window.xs[left:right], window.ys[top:bottom])
        red = np.clip(clots * 1.2 + 0.2 + 1.1 * float(numbers[5]), 0, 1)
        matter.dyes[RED_CELLS][here] = np.maximum(
            matter.dyes[RED_CELLS][here], lumen * np.clip(edge / 2, 0, 1) * red * 0.5
        )
    _endothelium(matter, x, y, radius, turn, stretch, float(numbers[6]))


def _endothelium(
    matter: Matter, x: float, y: float, radius: float, turn: float, stretch: float, mark: float
) -> None:
    """Paint flat nuclei around a lumen."""
    count = max(3, round(radius * 0.55))
    cells = np.arange(count, dtype=np.int64)
    marks = np.full(count, int(mark * 2**24), np.int64)
    own = cell_draws(7, cells, marks, 12)
    around = (cells + own[0] * 0.8) * (2 * np.pi / count)
    p, q = (radius + 2.5) * stretch * np.cos(around), (radius + 2.5) / stretch * np.sin(around)
    cosine, sine = math.cos(turn), math.sin(turn)
    places = Lattice(
        (x + p * cosine - q * sine).astype(np.float32),
        (y + p * sine + q * cosine).astype(np.float32),
        own,
    )
    tangent_p, tangent_q = -np.sin(around) * stretch, np.cos(around) / stretch
    angles = np.arctan2(
        tangent_p * sine + tangent_q * cosine, tangent_p * cosine - tangent_q * sine
    )
    paint(matter, places, _FLAT, angles.astype(np.float32), 0.85)


def red_cells(matter: Matter, places: Lattice) -> None:
    """Paint single red cells at points."""
    window = matter.window
    sizes = (3.6 + 1.2 * places.draws[1]).tolist()
    for x, y, size in zip(places.x.tolist(), places.y.tolist(), sizes, strict=True):
        left, top = int(x) - 6 - window.x, int(y) - 6 - window.y
        columns = slice(max(0, left), min(window.width, left + 13))
        rows = slice(max(0, top), min(window.height, top + 13))
        far = np.hypot(
            window.xs[columns].astype(np.float32)[None, :] - np.float32(x),
            window.ys[rows].astype(np.float32)[:, None] - np.float32(y),
        )
        disc = 0.34 * np.clip((size - far) / 1.6, 0, 1).astype(np.float32)
        area = matter.dyes[RED_CELLS][rows, columns]
        np.maximum(area, disc, out=area)
