"""Random fields of global slide coordinates: any window gives the same values as the whole.

Noise is read from seeded wrap-around banks; single objects take their random numbers from a hash
of the seed and of their cell on a lattice (SplitMix64, Steele et al. 2014,
https://doi.org/10.1145/2660193.2660195). Lengths are in pixels of 0.5 um.
"""

import functools
import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.floating[Any]]
Whole = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_SIDE = 1024
_BANK_SEED = 20240229
_STEP = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Window:
    """A rectangle of the plane.

    Attributes:
        x: First column.
        y: First row.
        width: Number of columns.
        height: Number of rows.
    """

    x: int
    y: int
    width: int
    height: int

    @property
    def xs(self) -> Whole:
        """Columns, int64 (width,)."""
        return np.arange(self.x, self.x + self.width, dtype=np.int64)

    @property
    def ys(self) -> Whole:
        """Rows, int64 (height,)."""
        return np.arange(self.y, self.y + self.height, dtype=np.int64)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def grown(self, margin: int) -> "Window":
        """Return the window with ``margin`` more pixels on each side (fewer if negative)."""
        return Window(
            self.x - margin, self.y - margin, self.width + 2 * margin, self.height + 2 * margin
        )

    def index(self, x: Field, y: Field) -> tuple[Whole, Whole]:
        """Return (rows, columns) of points, held inside the window."""
        rows = np.clip(np.floor(y).astype(np.int64) - self.y, 0, self.height - 1)
        columns = np.clip(np.floor(x).astype(np.int64) - self.x, 0, self.width - 1)
        return rows, columns


@functools.lru_cache(maxsize=4096)
def key_of(seed: int, *words: str | int) -> int:
    """Return a 64-bit key for one use of a seed."""
    text = "/".join(map(str, (seed, *words)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def draws(seed: int, *words: str | int, n: int = 1) -> list[float]:
    """Return ``n`` numbers in [0, 1) that belong to a seed and a name."""
    return [key_of(seed, *words, "draw", i) / 2.0**64 for i in range(n)]


def between(seed: int, name: str, low: float, high: float) -> float:
    """Return a number in [low, high) that belongs to a seed and a name."""
    return low + (high - low) * draws(seed, name)[0]


def _mix(z: Words) -> Words:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)


def cell_draws(key: int, columns: Whole, rows: Whole, n: int) -> Field:
    """Return numbers in [0, 1) that belong to cells of a lattice.

    Args:
        key: From ``key_of``.
        columns: Cell columns, int64 (k,), also negative.
        rows: Cell rows, int64 (k,).
        n: Numbers per cell.

    Returns:
        float32 (n, k).
    """
    state = _mix(columns.astype(np.uint64) * np.uint64(_STEP) + np.uint64(key))
    state = _mix(state + rows.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03))
    steps = np.arange(1, n + 1, dtype=np.uint64)[:, None] * np.uint64(_STEP)
    return ((_mix(state[None] + steps) >> np.uint64(40)).astype(np.float32)) * np.float32(2**-24)


@functools.cache
def bank(sigma: float, along: float | None = None) -> Field:
    """Return a wrap-around square of noise: zero mean, unit variance, Gaussian-smoothed.

    Args:
        sigma: Smoothness down the columns in pixels.
        along: Smoothness along the rows; the same without.

    Returns:
        float32 (1024, 1024).
    """
    rng = np.random.default_rng([_BANK_SEED, round(sigma * 1000), round(1000 * (along or 0))])
    white = rng.standard_normal((_SIDE, _SIDE), np.float32)
    down = np.exp(-2 * (math.pi * sigma * np.fft.fftfreq(_SIDE)) ** 2)
    right = np.exp(-2 * (math.pi * (along or sigma) * np.fft.rfftfreq(_SIDE)) ** 2)
    smooth = np.fft.irfft2(np.fft.rfft2(white) * (down[:, None] * right), s=white.shape)
    table = np.ascontiguousarray((smooth - smooth.mean()) / smooth.std(), np.float32)
    # Windows of it are handed out as views.
    table.flags.writeable = False
    return table


def noise(key: int, sigma: float, xs: Whole, ys: Whole) -> Field:
    """Return smooth noise of zero mean and unit variance.

    Args:
        key: From ``key_of``.
        sigma: Smoothness in pixels; it repeats after 256 times that, or 1024 px if more.
        xs: Columns, int64 (w,), ascending; strides are allowed.
        ys: Rows, int64 (h,), ascending.

    Returns:
        float32 (h, w).
    """
    dx, dy = key & 1023, (key >> 10) & 1023
    table = bank(min(sigma, 4.0))
    if key >> 20 & 1:
        table = table.T
    if sigma > 4:
        return _enlarged(table, xs * (4 / sigma) + dx, ys * (4 / sigma) + dy)
    rows, columns = (ys + dy) & 1023, (xs + dx) & 1023
    if rows[-1] - rows[0] + 1 == len(ys) and columns[-1] - columns[0] + 1 == len(xs):
        # Contiguous windows that do not wrap are a view, many times as fast as a gather.
        return table[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if ys[-1] - ys[0] + 1 == len(ys) and xs[-1] - xs[0] + 1 == len(xs):
        # Those that wrap are put together from views.
        return np.concatenate(
            [
                np.concatenate([table[down, right] for right in _runs(columns[0], len(xs))], axis=1)
                for down in _runs(rows[0], len(ys))
            ]
        )
    return np.asarray(table[rows[:, None], columns[None, :]], np.float32)


def _runs(start: int, length: int) -> list[slice]:
    """Return the stretches of a wrap-around axis that follow each other."""
    stops = [*range(_SIDE, start + length, _SIDE), start + length]
    starts = [start, *stops[:-1]]
    return [
        slice(first % _SIDE, first % _SIDE + stop - first)
        for first, stop in zip(starts, stops, strict=True)
    ]


def _enlarged(table: Field, xs: Field, ys: Field) -> Field:
    """Read a wrap-around table between its pixels; coordinates along the axes."""
    left, top = np.floor(xs).astype(np.int64), np.floor(ys).astype(np.int64)
    fx, fy = (xs - left).astype(np.float32), (ys - top).astype(np.float32)[:, None]
    # The small part of the table that is needed first, then rows, then columns.
    columns = np.arange(left.min(), left.max() + 2)
    rows = np.arange(top.min(), top.max() + 2)
    part = table[(rows & 1023)[:, None], (columns & 1023)[None, :]]
    top, left = top - rows[0], left - columns[0]
    tall = part[top] * (1 - fy) + part[top + 1] * fy
    # Coordinates ascend: repeating columns is twice as fast as looking them up.
    times = np.bincount(left, minlength=len(columns) - 1)
    field = np.repeat(tall[:, :-1], times, axis=1)
    field *= 1 - fx
    after = np.repeat(tall[:, 1:], times, axis=1)
    after *= fx
    field += after
    return np.asarray(field, np.float32)


def fractal(key: int, sigma: float, xs: Whole, ys: Whole, *, octaves: int = 4) -> Field:
    """Return noise with detail down to ``sigma / 2 ** (octaves - 1)``; about unit variance."""
    total = np.zeros((len(ys), len(xs)), np.float32)
    power = 0.0
    for octave in range(octaves):
        weight = 0.55**octave
        total += np.float32(weight) * noise(key_of(key, octave), sigma / 2**octave, xs, ys)
        power += weight**2
    return total / np.float32(math.sqrt(power))


def streaks(key: int, u: Field, v: Field, length: float, width: float) -> Field:
    """Return noise stretched along ``u``: fibres.

    Args:
        key: From ``key_of``.
        u: Coordinate along the fibres in pixels, float32 of any shape.
        v: Coordinate across them.
        length: Length of a fibre in pixels.
        width: Its width in pixels.

    Returns:
        float32 of the same shape, zero mean and unit variance.
    """
    table = bank(4.0, 12.0).ravel()
    # The shear keeps repeats across the fibres from standing in one line.
    along = u * np.float32(12 / length) + v * np.float32(1.9 / width) + np.float32(key >> 20 & 1023)
    across = v * np.float32(4 / width) + np.float32(key & 1023)
    place = (np.floor(across).astype(np.int32) & 1023) << 10
    place += np.floor(along).astype(np.int32) & 1023
    return np.asarray(np.take(table, place), np.float32)


def fibre_frame(
    key: int, xs: Whole, ys: Whole, *, angle: float, waves: float, ripple: float, crinkle: float
) -> tuple[Field, Field]:
    """Return coordinates along and across wavy fibres.

    Args:
        key: From ``key_of``.
        xs: Columns, int64 (w,).
        ys: Rows, int64 (h,).
        angle: Main direction in radians.
        waves: How far the fibres swing in pixels, over some 100 px.
        ripple: The same over some 30 px.
        crinkle: The same over some 8 px.

    Returns:
        u and v, float32 (h, w) each.
    """
    x, y = xs.astype(np.float32)[None, :], ys.astype(np.float32)[:, None]
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    u = x * cosine + y * sine
    v = y * cosine - x * sine
    v = v + np.float32(waves) * noise(key_of(key, "waves"), 56, xs, ys)
    v = v + np.float32(ripple) * noise(key_of(key, "ripple"), 16, xs, ys)
    v = v + np.float32(crinkle) * noise(key_of(key, "crinkle"), 4, xs, ys)
    return u, v


@dataclass(frozen=True)
class Lattice:
    """Points of a jittered hexagonal lattice inside a window, in an order all windows share.

    Attributes:
        x: Columns, float32 (k,).
        y: Rows, float32 (k,).
        draws: Random numbers of each point in [0, 1), float32 (n, k).
    """

    x: Field
    y: Field
    draws: Field

    def __len__(self) -> int:
        return len(self.x)

    def only(self, keep: npt.NDArray[np.bool_]) -> "Lattice":
        """Return the points where ``keep`` (k,) is true."""
        return Lattice(self.x[keep], self.y[keep], self.draws[:, keep])

    def at(self, x: Field, y: Field) -> "Lattice":
        """Return the points moved to other places."""
        return Lattice(x.astype(np.float32), y.astype(np.float32), self.draws)


def lattice(
    key: int,
    window: Window,
    spacing: float,
    *,
    stretch: float = 1.0,
    angle: float = 0.0,
    jitter: float = 0.6,
    n_draws: int = 16,
) -> Lattice:
    """Return the points of a jittered hexagonal lattice inside a window.

    Args:
        key: From ``key_of``.
        window: Where.
        spacing: Distance of neighbours in pixels.
        stretch: Longer spacing along ``angle`` and shorter across it, at the same density.
        angle: Direction of the stretch in radians.
        jitter: How far points stray, as a share of the spacing.
        n_draws: Random numbers per point.

    Returns:
        The points.
    """
    step_u, step_v = spacing * math.sqrt(stretch), spacing * 0.866 / math.sqrt(stretch)
    cosine, sine = math.cos(angle), math.sin(angle)
    corners_x = np.array([window.x, window.x + window.width] * 2, np.float64)
    corners_y = np.repeat(np.array([window.y, window.y + window.height], np.float64), 2)
    u: Field = corners_x * cosine + corners_y * sine
    v: Field = corners_y * cosine - corners_x * sine
    columns = np.arange(math.floor(u.min() / step_u) - 2, math.ceil(u.max() / step_u) + 2)
    rows = np.arange(math.floor(v.min() / step_v) - 2, math.ceil(v.max() / step_v) + 2)
    cell_x, cell_y = (grid.ravel().astype(np.int64) for grid in np.meshgrid(columns, rows))
    u = (cell_x + 0.5 * (cell_y & 1)) * step_u
    v = cell_y * step_v
    if angle:
        # Cells of the turned grid that cannot reach the window need no random numbers.
        x, y = u * cosine - v * sine, u * sine + v * cosine
        reach = step_u + step_v
        near = (np.abs(x - corners_x.mean()) < window.width / 2 + reach) & (
            np.abs(y - corners_y.mean()) < window.height / 2 + reach
        )
        cell_x, cell_y, u, v = cell_x[near], cell_y[near], u[near], v[near]
    numbers = cell_draws(key, cell_x, cell_y, n_draws + 2)
    u = u + (numbers[-1] - 0.5) * jitter * step_u
    v = v + (numbers[-2] - 0.5) * jitter * step_v
    x, y = u * cosine - v * sine, u * sine + v * cosine
    inside = (x >= window.x) & (x < window.x + window.width)
    inside &= (y >= window.y) & (y < window.y + window.height)
    return Lattice(x[inside].astype(np.float32), y[inside].astype(np.float32), numbers[:-2, inside])
