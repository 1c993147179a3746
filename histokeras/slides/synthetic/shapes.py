"""Cells and glands: closed shapes on a jittered lattice, and how deep each pixel lies in them."""

import math
from dataclasses import dataclass

import numpy as np

from histokeras.slides.synthetic.fields import Field, Lattice, Window, fractal, key_of, lattice

_FAR = np.float32(1e4)


@dataclass(frozen=True)
class Depths:
    """How pixels lie in the shapes around them.

    Attributes:
        first: Depth below the edge of the shape that the pixel lies deepest in, in pixels,
            negative outside, float32 (h, w).
        second: The same for the next shape.
        share: Depth as a share of the shape's radius there: 1 in the centre, 0 at the edge.
        draw: A random number in [0, 1) of the shape.
    """

    first: Field
    second: Field
    share: Field
    draw: Field


@dataclass(frozen=True)
class Shape:
    """What shapes look like; ranges are (least, most).

    Attributes:
        radius: Mean radius in pixels.
        aspect: Length over width.
        lobes: How far the outline swings, as a share of the radius.
        kept: Share of the lattice's points that bear one.
    """

    radius: tuple[float, float]
    aspect: tuple[float, float] = (1.0, 1.5)
    lobes: float = 0.1
    kept: float = 1.0


def _patch(window: Window, x: float, y: float, reach: float) -> tuple[slice, slice] | None:
    left, top = max(0, math.floor(x - reach) - window.x), max(0, math.floor(y - reach) - window.y)
    right = min(window.width, math.ceil(x + reach) - window.x)
    bottom = min(window.height, math.ceil(y + reach) - window.y)
    return None if left >= right or top >= bottom else (slice(top, bottom), slice(left, right))


def _coordinates(key: int, window: Window, warp: float, sigma: float) -> tuple[Field, Field]:
    x = np.broadcast_to(window.xs.astype(np.float32)[None, :], window.shape)
    y = np.broadcast_to(window.ys.astype(np.float32)[:, None], window.shape)
    if warp == 0:
        return x, y
    warp_x = fractal(key_of(key, "x"), sigma, window.xs, window.ys, octaves=3)
    warp_y = fractal(key_of(key, "y"), sigma, window.xs, window.ys, octaves=3)
    return x + np.float32(warp) * warp_x, y + np.float32(warp) * warp_y


def shapes(
    key: int,
    window: Window,
    spacing: float,
    shape: Shape,
    *,
    jitter: float = 0.6,
    warp: float = 4.0,
    warp_sigma: float = 24.0,
) -> Depths:
    """Return how deep pixels lie in lobed ellipses on a jittered lattice.

    Args:
        key: From ``key_of``.
        window: Where.
        spacing: Distance of neighbours in pixels.
        shape: What they look like.
        jitter: How far they stray, as a share of the spacing.
        warp: How far noise displaces the outline, in pixels.
        warp_sigma: Smoothness of that noise in pixels.

    Returns:
        Depths; where two shapes overlap, the deeper one counts first.
    """
    widest = shape.radius[1] * math.sqrt(shape.aspect[1]) * (1 + 2 * shape.lobes)
    reach = widest + 3 * warp
    # Beyond the edge a shape still counts as the next neighbour.
    beyond = reach + 14
    points = lattice(key, window.grown(math.ceil(beyond)), spacing, jitter=jitter, n_draws=10)
    points = points.only(points.draws[0] < shape.kept)
    x, y = _coordinates(key, window, warp, warp_sigma)
    first, second = np.full(window.shape, -_FAR), np.full(window.shape, -_FAR)
    share, draw = np.zeros(window.shape, np.float32), np.zeros(window.shape, np.float32)
    for i in range(len(points)):
        place = _patch(window, float(points.x[i]), float(points.y[i]), beyond)
        if place is None:
            continue
        part = _lobed(x[place] - points.x[i], y[place] - points.y[i], points.draws[1:, i], shape)
        depth, radius = part
        best = first[place]
        deeper = depth > best
        second[place] = np.where(deeper, best, np.maximum(second[place], depth))
        share[place] = np.where(deeper, depth / radius, share[place])
        draw[place] = np.where(deeper, points.draws[1, i], draw[place])
        first[place] = np.maximum(best, depth)
    return Depths(first, second, share, draw)


def _lobed(dx: Field, dy: Field, numbers: Field, shape: Shape) -> tuple[Field, Field]:
    """Return the depth in one lobed ellipse and its radius in that direction, in pixels."""
    radius = shape.radius[0] + (shape.radius[1] - shape.radius[0]) * float(numbers[1])
    aspect = shape.aspect[0] + (shape.aspect[1] - shape.aspect[0]) * float(numbers[2])
    turn = math.pi * float(numbers[3])
    cosine, sine, stretch = math.cos(turn), math.sin(turn), math.sqrt(aspect)
    p = (dx * np.float32(cosine) + dy * np.float32(sine)) / np.float32(stretch)
    q = (dy * np.float32(cosine) - dx * np.float32(sine)) * np.float32(stretch)
    length = np.sqrt(p * p + q * q) + np.float32(1e-3)
    cos1, sin1 = p / length, q / length
    cos2, sin2 = cos1 * cos1 - sin1 * sin1, 2 * cos1 * sin1
    cos3, sin3 = cos2 * cos1 - sin2 * sin1, sin2 * cos1 + cos2 * sin1
    phases = [2 * math.pi * float(number) for number in numbers[4:7]]
    swing = cos2 * math.cos(phases[0]) + sin2 * math.sin(phases[0])
    swing += cos3 * math.cos(phases[1]) + sin3 * math.sin(phases[1])
    swing += (cos3 * cos2 - sin3 * sin2) * np.float32(0.6 * math.cos(phases[2]))
    edge = np.float32(radius) * (1 + np.float32(shape.lobes) * swing.astype(np.float32))
    depth = edge - length
    return depth, np.maximum(edge, 4)


def walls(
    key: int, window: Window, spacing: float, *, warp: float = 8.0, warp_sigma: float = 32.0
) -> Depths:
    """Return how far pixels lie from the walls between cells that fill the plane.

    Args:
        key: From ``key_of``.
        window: Where.
        spacing: Size of a cell in pixels.
        warp: How far noise displaces the walls, in pixels.
        warp_sigma: Smoothness of that noise in pixels.

    Returns:
        Depths whose ``first`` is half the difference of the distances to the two nearest centres:
        0 on the wall.
    """
    reach = 1.05 * spacing + 1.5 * warp
    points = lattice(key, window.grown(math.ceil(reach)), spacing, jitter=0.75, n_draws=2)
    x, y = _coordinates(key, window, warp, warp_sigma)
    first, second = np.full(window.shape, _FAR**2), np.full(window.shape, _FAR**2)
    draw = np.zeros(window.shape, np.float32)
    for i in range(len(points)):
        place = _patch(window, float(points.x[i]), float(points.y[i]), reach)
        if place is None:
            continue
        far = (x[place] - points.x[i]) ** 2 + (y[place] - points.y[i]) ** 2
        nearest = first[place]
        nearer = far < nearest
        second[place] = np.where(nearer, nearest, np.minimum(second[place], far))
        draw[place] = np.where(nearer, points.draws[0, i], draw[place])
        first[place] = np.minimum(nearest, far)
    # Squares until here: a root for each pixel, not for each pixel and centre.
    first, second = np.sqrt(first), np.sqrt(second)
    depth = (second - first) / 2
    return Depths(depth, second, depth / np.float32(spacing / 2), draw)


def slopes(field: Field, points: Lattice, window: Window) -> tuple[Field, Field, Field]:
    """Return a field's value and its slopes along x and y at points.

    Args:
        field: float32 (h, w).
        points: k points.
        window: Where the field is.

    Returns:
        Value, slope along x, slope along y: float32 (k,) each.
    """
    rows, columns = window.index(points.x, points.y)
    rows = np.clip(rows, 2, window.height - 3)
    columns = np.clip(columns, 2, window.width - 3)
    along_x = (field[rows, columns + 2] - field[rows, columns - 2]) / 4
    along_y = (field[rows + 2, columns] - field[rows - 2, columns]) / 4
    return field[rows, columns], along_x, along_y
