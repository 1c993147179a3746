"""Where each tissue lies on a slide: a class for every 4 um, as a function of its coordinates."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from histokeras.slides.synthetic.fields import Field, Whole, between, draws, fractal, key_of, noise
from histokeras.slides.synthetic.node_places import (
    Disc,
    PlacedNode,
    place_nodes,
    place_outside,
)
from histokeras.slides.synthetic.nodes import lay_nodes
from histokeras.slides.synthetic.spec import SlideSpec
from histokeras.slides.synthetic.tiles import CLASSES, GLASS

Classes = npt.NDArray[np.uint8]
CELL_PX = 8
"""Side of a cell of one class in painted pixels."""
MASK_UM = 4.0
"""Micrometres per pixel of class masks: a mask pixel is a cell."""

_MOST_NODES = 512
_FIT_STEPS = 80
# Where across the bowel wall, from mucosa (-1) to fat (1), each class is at home; None: anywhere.
_HOMES: dict[str, float | None] = {
    "ADI": 0.95,
    "DEB": None,
    "LYM": None,
    "MUC": None,
    "MUS": 0.45,
    "NOR": -0.9,
    "STR": -0.1,
    "TUM": None,
}


@dataclass(frozen=True)
class Plan:
    """The coarse layout of a slide.

    Attributes:
        step_px: Distance of the grid's nodes in painted pixels.
        outline: Above 0 inside the tissue, float32 (rows, columns).
        pull: How strongly each class claims a place, float32 (8, rows, columns).
        nodes: Lymph nodes where they lie.
        outside: Tumour deposits outside them.
    """

    step_px: int
    outline: Field
    pull: Field
    nodes: tuple[PlacedNode, ...]
    outside: tuple[Disc, ...]


@functools.lru_cache(maxsize=8)
def plan_slide(spec: SlideSpec) -> Plan:
    """Return the coarse layout of a slide.

    Args:
        spec: The slide.

    Returns:
        The plan: some hundred nodes a side, whatever the slide's size.

    Raises:
        ValueError: If the lymph nodes do not fit.
    """
    width, height = spec.painted_px
    step = max(16, math.ceil(max(width, height) / _MOST_NODES))
    xs = np.arange(math.ceil(width / step) + 2, dtype=np.int64) * step
    ys = np.arange(math.ceil(height / step) + 2, dtype=np.int64) * step
    outline = _outline(spec, xs, ys)
    pull = _pull(spec, xs, ys)
    pull += _biases(pull, outline > 0, np.asarray(spec.composition))[:, None, None]
    return Plan(step, outline, pull, place_nodes(spec), place_outside(spec))


def _outline(spec: SlideSpec, xs: Whole, ys: Whole) -> Field:
    width, height = spec.painted_px
    x = (2 * xs / width - 1).astype(np.float32)[None, :]
    y = (2 * ys / height - 1).astype(np.float32)[:, None]
    field = -(np.maximum(np.abs(x), np.abs(y)) ** 3) - 0.35 * (x**2 + y**2)
    key = key_of(spec.seed, "outline")
    field = field + 0.16 * fractal(key, max(width, height) / 9, xs, ys, octaves=5)
    if spec.tissue_share >= 1:
        return np.ones_like(field)
    inside = field[:-2, :-2] if min(field.shape) > 4 else field
    return np.asarray(field - np.quantile(inside, 1 - spec.tissue_share), np.float32)


def _pull(spec: SlideSpec, xs: Whole, ys: Whole) -> Field:
    """Return how strongly classes claim the nodes of the grid, before they are weighed."""
    width, height = spec.painted_px
    side = max(width, height)
    turn = 2 * math.pi * draws(spec.seed, "turn")[0]
    x, y = (2 * xs / side - width / side)[None, :], (2 * ys / side - height / side)[:, None]
    sigma = min(max(side / 11, 45.0), 900.0)
    bend = noise(key_of(spec.seed, "bend"), 2.5 * sigma, xs, ys)
    # From the mucosa to the fat, and out from the middle of the tumour.
    across = x * math.cos(turn) + y * math.sin(turn) + 0.22 * bend
    middle = between(spec.seed, "middle x", -0.4, 0.4), between(spec.seed, "middle y", -0.4, 0.4)
    away = np.hypot(x - middle[0], y - middle[1]) + 0.2 * bend
    pulls = []
    for name in CLASSES:
        own = fractal(key_of(spec.seed, "place", name), sigma, xs, ys, octaves=4)
        home = _HOMES[name]
        if home is not None:
            own = own - 4.5 * (across - home) ** 2
        elif name == "LYM":
            own = own - 3.0 * np.abs(away - 0.6)
        else:
            own = own - 2.4 * away
        pulls.append(own)
    return np.asarray(np.stack(pulls), np.float32)


def _biases(pull: Field, tissue: npt.NDArray[np.bool_], shares: npt.NDArray[np.float64]) -> Field:
    """Return the weights with which the strongest pulls take up the wanted shares."""
    shares = shares / shares.sum()
    biases = np.where(shares > 0, 0.0, -1e6)
    claims = pull[:, tissue]
    if claims.shape[1] == 0:
        return np.asarray(biases, np.float32)
    claims = claims[:, :: max(1, claims.shape[1] // 6000)]
    for step in range(_FIT_STEPS):
        won = np.bincount(np.argmax(claims + biases[:, None], axis=0), minlength=len(shares))
        wanted = np.maximum(shares, 1e-9)
        lack = np.log(wanted + 0.002) - np.log(won / claims.shape[1] + 0.002)
        biases += np.where(shares > 0, 0.5 * 0.97**step * lack, 0)
    return np.asarray(biases, np.float32)


def _read(grid: Field, xs: Whole, ys: Whole, step: int) -> Field:
    """Read a grid (n, rows, columns) between its nodes at (n, h, w) places."""
    x, y = (
        np.clip(xs / step, 0, grid.shape[2] - 1.001),
        np.clip(ys / step, 0, grid.shape[1] - 1.001),
    )
    left, top = x.astype(np.int64), y.astype(np.int64)
    fx, fy = (x - left).astype(np.float32), (y - top).astype(np.float32)[:, None]
    rows = grid[:, top] * (1 - fy) + grid[:, top + 1] * fy
    return np.asarray(rows[:, :, left] * (1 - fx) + rows[:, :, left + 1] * fx, np.float32)


def classes_at(spec: SlideSpec, columns: Whole, rows: Whole) -> Classes:
    """Return the class of cells of 4 um.

    Args:
        spec: The slide.
        columns: Cell columns, int64 (w,), cell 0 at the slide's left edge; strides are allowed.
        rows: Cell rows, int64 (h,).

    Returns:
        Index into ``CLASSES`` or ``GLASS``, uint8 (h, w).

    Raises:
        ValueError: If the lymph nodes do not fit.
    """
    plan = plan_slide(spec)
    xs, ys = columns * CELL_PX + CELL_PX // 2, rows * CELL_PX + CELL_PX // 2
    if plan.nodes:
        return lay_nodes(spec, plan.nodes, plan.outside, xs, ys)
    outline = _read(plan.outline[None], xs, ys, plan.step_px)[0]
    ragged = fractal(key_of(spec.seed, "ragged"), 40, xs, ys, octaves=3)
    glass = outline + 0.012 * min(1.0, 6000 / max(spec.painted_px)) * ragged < 0
    classes = _claimed(spec, plan, xs, ys, ~glass)
    if spec.tissue_share < 1:
        classes[glass] = GLASS
    return classes


def _claimed(
    spec: SlideSpec, plan: Plan, xs: Whole, ys: Whole, tissue: npt.NDArray[np.bool_]
) -> Classes:
    """Return the class with the strongest pull; fractal noise makes the borders."""
    best = np.full(tissue.shape, -np.inf, np.float32)
    classes = np.zeros(tissue.shape, np.uint8)
    if not tissue.any():
        return classes
    pulls = _read(plan.pull, xs, ys, plan.step_px)
    # Classes that are far behind everywhere here need no noise.
    ahead = pulls.max(axis=0)
    for index, pull in enumerate(pulls):
        if (pull > ahead - 1.6).any():
            border = fractal(key_of(spec.seed, "border", index), 30, xs, ys, octaves=3)
            claim = pull + 0.13 * np.clip(border, -3, 3)
            stronger = claim > best
            classes[stronger] = index
            np.maximum(best, claim, out=best)
    return classes


def class_map(spec: SlideSpec) -> Classes:
    """Return the class mask of a whole slide at 4 um per pixel.

    Args:
        spec: The slide.

    Returns:
        Index into ``CLASSES`` or ``GLASS``, uint8 (rows, columns); the last row and column may
        reach beyond the slide by part of a pixel.

    Raises:
        ValueError: If the lymph nodes do not fit.
    """
    columns, rows = (max(1, math.ceil(side * spec.mpp / MASK_UM)) for side in spec.size_px)
    cells_x, cells_y = np.arange(columns), np.arange(rows)
    strips = [classes_at(spec, cells_x, cells_y[i : i + 256]) for i in range(0, rows, 256)]
    return np.concatenate(strips)
