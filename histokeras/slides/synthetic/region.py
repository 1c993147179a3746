"""Render any window of a procedural slide; windows agree to the pixel where they overlap."""

import itertools
import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from histokeras.slides.source import Image
from histokeras.slides.synthetic.artefacts import BLUR_MARGIN, fold_share, spoil
from histokeras.slides.synthetic.fields import Field, Window, key_of, noise
from histokeras.slides.synthetic.layout import CELL_PX, classes_at
from histokeras.slides.synthetic.spec import SlideSpec
from histokeras.slides.synthetic.stains import DYES, stain
from histokeras.slides.synthetic.tiles import CLASSES, GLASS, MARGIN, paint_class

Classes = npt.NDArray[np.uint8]
Bits = npt.NDArray[np.bool_]
Box = tuple[slice, slice]
"""Rows and columns."""

_BLOCK_PX = 512
_OPTICS_MARGIN = 8
_SOFT_SIGMA = 3.4
_SOFT_MARGIN = 12
_BANDS = (1, 2, 4)


def render_region(
    spec: SlideSpec, x: int, y: int, width: int, height: int
) -> tuple[Image, Classes]:
    """Render a window of level 0.

    Args:
        spec: The slide.
        x: First column in level-0 pixels; windows may reach beyond the slide.
        y: First row.
        width: Columns.
        height: Rows.

    Returns:
        uint8 RGB (height, width, 3), and classes (index into ``CLASSES`` or ``GLASS``),
        uint8 (height, width).

    Raises:
        ValueError: If the window is empty.
    """
    if width < 1 or height < 1:
        raise ValueError(
            f"`width` and `height` must be >= 1. Received: width={width}, height={height}"
        )
    picture = np.empty((height, width, 3), np.uint8)
    classes = np.empty((height, width), np.uint8)
    for top in range(0, height, _BLOCK_PX):
        for left in range(0, width, _BLOCK_PX):
            block = Window(
                x + left, y + top, min(_BLOCK_PX, width - left), min(_BLOCK_PX, height - top)
            )
            here = (slice(top, top + block.height), slice(left, left + block.width))
            picture[here], classes[here] = _block(spec, block)
    return picture, classes


def _block(spec: SlideSpec, block: Window) -> tuple[Image, Classes]:
    if spec.scale == 1:
        return _painted(spec, block)
    columns, x_places = _sources(block.x, block.width, spec.scale)
    rows, y_places = _sources(block.y, block.height, spec.scale)
    picture, classes = _painted(spec, Window(columns[0], rows[0], columns[1], rows[1]))
    light = _between(picture.astype(np.float32), y_places, 0)
    light = _between(light, x_places, 1)
    nearest = np.ix_(np.rint(y_places).astype(np.int64), np.rint(x_places).astype(np.int64))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8), classes[nearest]


def _sources(start: int, length: int, scale: float) -> tuple[tuple[int, int], Field]:
    """Return (first, number) of the painted pixels under level-0 pixels, and places in them."""
    places = (np.arange(start, start + length) + 0.5) * scale - 0.5
    first = math.floor(places[0])
    return (first, math.floor(places[-1]) - first + 2), places - first


def _between(picture: Field, places: Field, axis: int) -> Field:
    """Read rows or columns between pixels."""
    low = np.floor(places).astype(np.int64)
    part = np.expand_dims((places - low).astype(np.float32), (1, 2) if axis == 0 else (0, 2))
    return np.asarray(
        np.take(picture, low, axis) * (1 - part) + np.take(picture, low + 1, axis) * part,
        np.float32,
    )


def _painted(spec: SlideSpec, block: Window) -> tuple[Image, Classes]:
    """Render a window in painted pixels of 0.5 um."""
    margin = _OPTICS_MARGIN + (BLUR_MARGIN if spec.blurs else 0)
    window = block.grown(margin)
    wide = _classes(spec, window.grown(_SOFT_MARGIN))
    classes = wide[_SOFT_MARGIN:-_SOFT_MARGIN, _SOFT_MARGIN:-_SOFT_MARGIN]
    dyes = _dyes(spec, window, wide)
    if spec.folds:
        dyes *= 1 + 0.9 * fold_share(spec, window.xs, window.ys)
    picture = stain(dyes.transpose(1, 2, 0), spec.stains(), window)
    picture = spoil(spec, picture, window)
    inner = (slice(margin, -margin), slice(margin, -margin))
    return picture[inner], classes[inner]


def _classes(spec: SlideSpec, window: Window) -> Classes:
    columns = np.arange(window.x // CELL_PX, (window.x + window.width - 1) // CELL_PX + 1)
    rows = np.arange(window.y // CELL_PX, (window.y + window.height - 1) // CELL_PX + 1)
    cells = classes_at(spec, columns, rows)
    return cells[np.ix_(window.ys // CELL_PX - rows[0], window.xs // CELL_PX - columns[0])]


def _dyes(spec: SlideSpec, window: Window, classes: Classes) -> Field:
    """Return the amounts of the dyes; classes, with a margin, pass into each other."""
    wide = window.grown(_SOFT_MARGIN)
    dyes = np.zeros((len(DYES), *window.shape), np.float32)
    inner = (slice(_SOFT_MARGIN, -_SOFT_MARGIN), slice(_SOFT_MARGIN, -_SOFT_MARGIN))
    grain = noise(key_of(spec.seed, "soft"), 2.2, wide.xs, wide.ys)
    # One class gains where the other loses.
    ragged = np.exp(1.2 * grain), np.exp(-1.2 * grain)
    present = [int(index) for index in np.unique(classes)]
    if present == [GLASS]:
        return dyes
    if len(present) == 1:
        return _paint(spec, window, present[0])
    weights = {index: _soft(classes == index, ragged[index % 2])[inner] for index in present}
    total = np.sum(list(weights.values()), axis=0)
    for index, weight in weights.items():
        if index == GLASS:
            continue
        for here in _boxes(weight > 0):
            rows, columns = here
            part = Window(
                window.x + columns.start,
                window.y + rows.start,
                columns.stop - columns.start,
                rows.stop - rows.start,
            )
            # Far from borders the share is exactly 1, as in a window that holds one class only.
            dyes[:, *here] += _paint(spec, part, index) * (weight[here] / total[here])
    return dyes


def _boxes(mask: Bits) -> list[Box]:
    """Return boxes that hold an area: one, or bands where those cost less to paint."""
    choices = [_bands(mask, n, down) for n in _BANDS for down in (True, False)]
    return min(choices, key=_cost)


def _bands(mask: Bits, n: int, down: bool) -> list[Box]:
    """Cut an area into bands, each as long as what it holds."""
    found: list[Box] = []
    whole = _extent(mask)
    if whole is None:
        return found
    start, stop = whole[not down].start, whole[not down].stop
    cuts = [start + (stop - start) * i // n for i in range(n + 1)]
    for first, last in itertools.pairwise(cuts):
        band = mask[first:last] if down else mask[:, first:last]
        box = _extent(band)
        if box is not None:
            rows, columns = box
            found.append((_moved(rows, first), columns) if down else (rows, _moved(columns, first)))
    return found


def _moved(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)


def _extent(mask: Bits) -> Box | None:
    """Return the rows and columns that hold an area; None if it is empty."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if not len(rows):
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _cost(boxes: list[Box]) -> int:
    """Return how many pixels are painted, those around the boxes included."""
    return sum(
        (rows.stop - rows.start + 2 * MARGIN) * (columns.stop - columns.start + 2 * MARGIN)
        for rows, columns in boxes
    )


def _paint(spec: SlideSpec, window: Window, index: int) -> Field:
    return paint_class(window, CLASSES[index], spec.seed, spec.architecture, violet=False).dyes


def _soft(own: Bits, ragged: Field) -> Field:
    """Return the weight of a class at each pixel: cells without their corners, ragged edges."""
    weight = np.zeros(own.shape, np.float32)
    box = _extent(own)
    if box is None:
        return weight
    # Further away than the filter sees there is nothing.
    rows, columns = (
        slice(max(0, part.start - _SOFT_MARGIN), part.stop + _SOFT_MARGIN) for part in box
    )
    here = (rows, columns)
    share = ndimage.gaussian_filter(own[here].astype(np.float32), _SOFT_SIGMA, truncate=3)
    # The fourth power narrows the passage from one class to the next.
    weight[here] = np.where(share > 0.04, share**4 * ragged[here], 0)
    return weight
