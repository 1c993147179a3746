"""Epithelium: normal crypts (NOR) and tumour (TUM), whose growth pattern has a knob."""

from dataclasses import replace

import numpy as np

from histokeras.slides.synthetic.fibrous import collagen, fibre_nuclei, inflamed
from histokeras.slides.synthetic.fields import (
    Field,
    Lattice,
    between,
    fractal,
    key_of,
    lattice,
    noise,
)
from histokeras.slides.synthetic.nuclei import Look, Matter, paint
from histokeras.slides.synthetic.shapes import Depths, Shape, shapes, slopes, walls
from histokeras.slides.synthetic.stains import EOSIN, HAEMATOXYLIN, MUCIN
from histokeras.slides.synthetic.vessels import vessels

_CLEFT = 3.4
_BALANCE = (0.988, 0.968)
_BASAL = Look(
    radius=(4.5, 5.9),
    aspect=(1.2, 2.2),
    dark=(0.34, 0.74),
    soft=(1.8, 3.6),
    texture=0.16,
    vesicular=(0.0, 0.35),
    eosin=0.16,
)
_SPINDLE = Look(
    radius=(3.8, 5.6), aspect=(1.6, 4.5), dark=(0.5, 1.0), soft=(1.8, 4.0), bump=0.1, eosin=0.14
)
_TUMOUR = Look(
    radius=(4.9, 8.1),
    aspect=(1.1, 2.1),
    dark=(0.34, 0.8),
    soft=(1.8, 4.2),
    bump=0.08,
    texture=0.2,
    vesicular=(0.05, 0.6),
    nucleoli=0.55,
    eosin=0.18,
)
_MITOSIS = Look(
    radius=(4.6, 6.2), aspect=(1.2, 2.6), dark=(1.1, 1.35), soft=(1.4, 2.4), bump=0.12, eosin=0.05
)
_DEAD = Look(
    radius=(1.8, 4.2), aspect=(1.0, 1.6), dark=(0.7, 1.2), soft=(1.4, 2.6), bump=0.12, eosin=0.2
)


def _mix(matter: Matter, dye: int, value: Field | float, share: Field) -> None:
    """Lay an amount over what is there; ``share`` is its opacity."""
    area = matter.dyes[dye]
    area *= 1 - share
    area += value * share


def _seat(
    matter: Matter, depth: Field, places: Lattice, band: tuple[float, float], pull: float
) -> tuple[Lattice, Field]:
    """Draw points in a band of depth towards a row and return them with the direction inwards."""
    value, slope_x, slope_y = slopes(depth, places, matter.window)
    length = np.hypot(slope_x, slope_y)
    keep = (value > band[0]) & (value < band[1]) & (length > 0.2)
    places, value, slope_x, slope_y = (
        places.only(keep), value[keep], slope_x[keep], slope_y[keep]
    )  # fmt: skip
    shift = pull * (0.5 * (band[0] + band[1]) - value) / np.maximum(length[keep], 0.3)
    moved = places.at(places.x + shift * slope_x, places.y + shift * slope_y)
    return moved, np.arctan2(slope_y, slope_x).astype(np.float32)


def _lamina(matter: Matter, seed: int, key: int, cells: float) -> None:
    """Paint the loose tissue between glands."""
    window = matter.window
    pink, blue, v, angle = collagen(window, seed, key)
    open_ = fractal(key_of(key, "open"), 24, window.xs, window.ys, octaves=3)
    clear = 1 - 0.85 * np.clip((open_ - between(seed, "loose lamina", 0.1, 1.6)) * 2, 0, 1)
    matter.dyes[EOSIN], matter.dyes[HAEMATOXYLIN] = 0.75 * pink * clear, blue * clear
    fibre_nuclei(matter, key_of(key, "n"), v, angle, 17, 0.5, _SPINDLE)
    inflamed(matter, key_of(key, "lym"), cells)
    vessels(matter, key_of(key, "vessels"), 240, 0.4)


def normal(matter: Matter, seed: int) -> None:
    """Paint crypts: a row of basal nuclei, goblet vacuoles, a narrow lumen, lamina propria."""
    window, key = matter.window, key_of(seed, "NOR")
    _lamina(matter, seed, key, between(seed, "inflamed", 0.9, 2.0))
    spacing = between(seed, "gland", 140, 200)
    form = Shape(radius=(0.40 * spacing, 0.52 * spacing), aspect=(1.0, 1.7), lobes=0.05, kept=0.97)
    glands = shapes(key_of(key, "glands"), window, spacing, form, jitter=0.45, warp=3)
    depth = np.minimum(glands.first, (glands.first - glands.second) / 2 - 4)
    inside = np.clip(depth / 1.6 + 0.5, 0, 1)
    matter.nuclei &= inside < 0.5
    grain = 1 + 0.13 * noise(key_of(key, "grain"), 1.3, window.xs, window.ys)
    tone = 1 + 0.12 * noise(key_of(key, "tone"), 26, window.xs, window.ys)
    _mix(matter, EOSIN, between(seed, "eosin", 0.24, 0.31) * grain * tone, inside)
    _mix(matter, HAEMATOXYLIN, between(seed, "blue", 0.10, 0.17) * grain * tone, inside)
    _goblets(matter, seed, key, depth, glands)
    lumen = _lumen(matter, key, glands, between(seed, "lumen", 0.7, 0.88), 0.5)
    _thin_rim(matter, depth)
    places = lattice(key_of(key, "basal"), window, 8.6, jitter=0.4)
    rows, columns = window.index(places.x, places.y)
    places = places.only(lumen[rows, columns] < 0.2)
    seated, angles = _seat(matter, depth, places, (3.0, 11.5), 0.6)
    paint(matter, seated, _BASAL, angles, between(seed, "nucleus", 0.9, 1.08))


def _thin_rim(matter: Matter, depth: Field) -> None:
    """Paint the basement membrane and the slit around a gland."""
    rim = np.clip(1 - np.abs(depth + 1.0) / 1.6, 0, 1)
    matter.dyes[EOSIN] += 0.07 * rim


def _goblets(matter: Matter, seed: int, key: int, depth: Field, glands: Depths) -> None:
    """Paint pale vacuoles between the basal nuclei and the lumen."""
    window = matter.window
    vacuoles = walls(key_of(key, "goblets"), window, between(seed, "goblet", 22, 31), warp=2.0)
    bubble = np.clip((vacuoles.first - 1.1) / 2.4, 0, 1)
    zone = np.clip((depth - 12) / 4, 0, 1) * np.clip((0.93 - glands.share) * 10, 0, 1)
    # Above the vacuoles lies pink cytoplasm again.
    zone = zone * np.clip((between(seed, "row", 34, 56) - depth) / 6, 0, 1)
    full = vacuoles.draw < between(seed, "goblets", 0.35, 1.0) + 0.4 * (glands.draw - 0.5)
    share = bubble * zone * full
    cloud = 1 + 0.25 * noise(key_of(key, "cloud"), 5, window.xs, window.ys)
    _mix(matter, EOSIN, 0.045 * cloud, 0.93 * share)
    _mix(matter, HAEMATOXYLIN, 0.05 * cloud, 0.93 * share)
    _mix(matter, MUCIN, 0.035 * cloud, share)


def _lumen(matter: Matter, key: int, glands: Depths, start: float, spread: float) -> Field:
    """Empty the middle of the glands and return how empty each pixel is, 0..1."""
    window = matter.window
    ragged = 0.05 * fractal(key_of(key, "ragged"), 12, window.xs, window.ys, octaves=3)
    begin = start + spread * (glands.draw - 0.5) * 0.4
    lumen = np.clip((glands.share + ragged - begin) * 14, 0, 1)
    # The apical border is a little denser than the rest.
    brim = np.clip(1 - np.abs(glands.share + ragged - begin) * 24, 0, 1)
    matter.dyes[EOSIN] += 0.05 * brim
    matter.dyes[:] *= 1 - 0.97 * lumen
    matter.nuclei &= lumen < 0.5
    return np.asarray(lumen, np.float32)


def tumour(matter: Matter, seed: int, architecture: float = 0.0) -> None:
    """Paint tumour.

    Args:
        matter: Changed in place.
        seed: Seed of the slide or tile.
        architecture: 0 for cohesive glands with wide lumina, 1 for small nests, trabeculae and
            single cells in desmoplastic stroma; amounts of dye stay the same.
    """
    window, key = matter.window, key_of(seed, "TUM")
    _desmoplasia(matter, seed, key, architecture)
    spacing = _blend(architecture, between(seed, "gland", 120, 190), between(seed, "nest", 62, 88))
    reach = _blend(architecture, 0.60, 0.50)
    form = Shape(
        radius=(0.8 * reach * spacing, 1.15 * reach * spacing),
        aspect=(1.0, _blend(architecture, 1.7, 2.6)),
        lobes=_blend(architecture, 0.10, 0.16),
        kept=_blend(architecture, 0.96, 0.92),
    )
    glands = shapes(
        key_of(key, "glands"), window, spacing, form, jitter=0.7,
        warp=_blend(architecture, 6, 7), warp_sigma=20,
    )  # fmt: skip
    gap = _blend(architecture, 5.5, 6.5) + 3.0 * noise(key_of(key, "gap"), 30, window.xs, window.ys)
    depth = np.minimum(glands.first, (glands.first - glands.second) / 2 - gap)
    _nests(matter, seed, key, depth, architecture)
    # Where glands have lumina, nests have clefts around them: as much white in both.
    lumen = _tumour_white(matter, seed, key, glands, depth, architecture)
    _tumour_nuclei(matter, seed, key, depth, lumen, architecture)
    _single_cells(matter, seed, key, depth, architecture)
    # Measured, so that both ends of the knob have the same mean amounts and contrast.
    for dye, name, balance in (
        (HAEMATOXYLIN, "blue tone", _BALANCE[0]),
        (EOSIN, "pink tone", _BALANCE[1]),
    ):
        tone = between(seed, name, 0.87, 1.13) * _blend(architecture, 1.0, balance)
        matter.dyes[dye] *= np.float32(tone)


def _blend(architecture: float, first: float, last: float) -> float:
    return first + (last - first) * architecture


def _desmoplasia(matter: Matter, seed: int, key: int, architecture: float) -> None:
    pink, blue, v, angle = collagen(matter.window, seed, key_of(key, "stroma"))
    matter.dyes[EOSIN], matter.dyes[HAEMATOXYLIN] = pink, blue
    fibre_nuclei(matter, key_of(key, "n"), v, angle, 16, 0.6, _SPINDLE)
    inflamed(matter, key_of(key, "lym"), between(seed, "inflamed", 0.0, 0.9))


def _nests(matter: Matter, seed: int, key: int, depth: Field, architecture: float) -> None:
    """Paint the cytoplasm of the tumour cells."""
    window = matter.window
    inside = np.clip(depth / 1.8 + 0.5, 0, 1)
    matter.nuclei &= inside < 0.5
    grain = 1 + 0.15 * noise(key_of(key, "grain"), 1.3, window.xs, window.ys)
    tone = 1 + 0.16 * fractal(key_of(key, "tone"), 24, window.xs, window.ys, octaves=3)
    _mix(matter, EOSIN, between(seed, "eosin", 0.20, 0.28) * grain * tone, inside)
    _mix(
        matter,
        HAEMATOXYLIN,
        between(seed, "blue", 0.14, 0.24) * (1 + 0.14 * architecture) * grain * tone,
        inside,
    )


def _tumour_white(
    matter: Matter, seed: int, key: int, glands: Depths, depth: Field, architecture: float
) -> Field:
    """Open lumina and clefts and return how open each pixel is, 0..1."""
    window = matter.window
    ragged = fractal(key_of(key, "ragged"), 14, window.xs, window.ys, octaves=3)
    open_ = between(seed, "open", 0.25, 1.0)
    begin = 0.84 - 0.5 * open_ * glands.draw + 0.7 * architecture**2
    lumen = np.clip((glands.share + 0.07 * ragged - begin) * 12, 0, 1)
    lumen *= np.clip((depth - 14) / 4, 0, 1)
    where = fractal(key_of(key, "where"), 45, window.xs, window.ys, octaves=2)
    wide = min(1.0, 1.4 * architecture) * np.clip(_CLEFT * (where - 0.9 + 1.6 * open_), 0, 9)
    cleft = np.clip((wide - np.abs(depth + 0.6 * wide)) / 1.6, 0, 1)
    slits = fractal(key_of(key, "slits"), 26, window.xs, window.ys, octaves=4)
    slit = np.clip((0.035 - np.abs(slits)) * 40, 0, 1) * np.clip(where * 2 - 1.6, 0, 1)
    white = np.maximum(np.maximum(lumen, cleft), 0.9 * slit)
    matter.dyes[:] *= 1 - 0.97 * white
    matter.nuclei &= white < 0.5
    _luminal_debris(matter, seed, key, lumen)
    # The cells' upper halves, without nuclei, border on the lumen.
    upper = np.clip((glands.share - begin + 0.2) * 20, 0, 1)
    return np.asarray(np.maximum(white, upper), np.float32)


def _luminal_debris(matter: Matter, seed: int, key: int, lumen: Field) -> None:
    window = matter.window
    dirt = fractal(key_of(key, "dirt"), 16, window.xs, window.ys, octaves=4)
    dirty = lumen * np.clip((dirt - between(seed, "dirt", 0.2, 1.6)) * 3, 0, 1)
    grain = 1 + 0.3 * noise(key_of(key, "dirt grain"), 1.2, window.xs, window.ys)
    matter.dyes[EOSIN] += 0.24 * dirty * grain
    matter.dyes[HAEMATOXYLIN] += 0.08 * dirty * grain
    places = lattice(key_of(key, "dead"), window, 8, jitter=0.95)
    rows, columns = window.index(places.x, places.y)
    paint(matter, places.only((dirty[rows, columns] > 0.5) & (places.draws[0] < 0.4)), _DEAD)


def _tumour_nuclei(
    matter: Matter, seed: int, key: int, depth: Field, white: Field, architecture: float
) -> None:
    window = matter.window
    size = between(seed, "nucleus", 0.85, 1.1)
    places = lattice(key_of(key, "nuclei"), window, 16.0 * size, jitter=0.65)
    rows, columns = window.index(places.x, places.y)
    places = places.only(
        (white[rows, columns] < 0.25) & (places.draws[0] < _blend(architecture, 0.97, 0.75))
    )
    places, inward = _seat(matter, depth, places, (3.5, 400.0), 0.0)
    # Gland cells stand on their base; cells of nests lie as they like.
    order = np.clip(1.1 - architecture, 0, 1)
    angles = inward + (places.draws[3] - 0.5) * np.float32(np.pi * (1.1 - order))
    divide = places.draws[2] < between(seed, "mitoses", 0.004, 0.03)
    paint(matter, places.only(~divide), _own_look(seed), angles[~divide].astype(np.float32), size)
    paint(matter, places.only(divide), _MITOSIS)


def _own_look(seed: int) -> Look:
    """Return the nuclei of one tumour: tumours differ in how dark and how empty they are."""
    dark = between(seed, "hyperchromasia", 0.84, 1.18)
    empty_ = between(seed, "vesicular", 0.4, 0.75)
    return replace(
        _TUMOUR, dark=(_TUMOUR.dark[0] * dark, _TUMOUR.dark[1] * dark), vesicular=(0.05, empty_)
    )


def _single_cells(matter: Matter, seed: int, key: int, depth: Field, architecture: float) -> None:
    """Strew single tumour cells into the stroma of poorly cohesive tumours."""
    window = matter.window
    places = lattice(key_of(key, "single"), window, 24, jitter=0.9)
    rows, columns = window.index(places.x, places.y)
    places = places.only((depth[rows, columns] < -6) & (places.draws[0] < 0.5 * architecture))
    body = Look(radius=(8.5, 11.5), dark=(0.12, 0.22), soft=(2, 4), texture=0.15, eosin=0.25)
    before = matter.nuclei.copy()
    paint(matter, places, body)
    matter.nuclei[:] = before
    paint(matter, places, _own_look(seed), size=0.85)
