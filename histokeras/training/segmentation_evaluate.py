"""Segment test images whole, by a network and its floors, and count what is right."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from histokeras.analysis.boundary import boundary_distance
from histokeras.analysis.segmentation import (
    NETWORK,
    PixelCounts,
    add_counts,
    count_pixels,
    counts_row,
)
from histokeras.analysis.segmentation_floors import (
    COLOUR,
    OTSU,
    REACH_PX,
    ColourFloor,
    colour_values,
    count_haematoxylin,
    fit_colour,
    otsu_threshold,
    smooth_haematoxylin,
)
from histokeras.data.pair_pool import Readable
from histokeras.data.places import fixed_windows
from histokeras.tiles.windows import Predict, Windows, segment_bands
from histokeras.training.segmentation import Side
from histokeras.types import IGNORE, Mpp

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]
PICTURE_PX = 1200
"""Longest side of a picture."""
LARGEST_WHOLE_PX = 1 << 26
"""Pixels of an image whose masks are held as a whole: boundaries are measured on these alone."""
_BLOCK_PX = 1024
_FLOOR_WINDOWS, _FLOOR_PIXELS = 128, 2000


@dataclass(frozen=True)
class Task:
    """What is segmented.

    Attributes:
        classes: Names, in the order of their numbers.
        positive: The class of interest; None if there is none.
    """

    classes: tuple[str, ...]
    positive: str | None

    @property
    def number(self) -> int | None:
        """Number of the class of interest."""
        return None if self.positive is None else self.classes.index(self.positive)

    @property
    def has_otsu(self) -> bool:
        """Whether Otsu's threshold parts the classes: of two, one of interest."""
        return len(self.classes) == 2 and self.positive is not None


@dataclass(frozen=True)
class EvaluatedImage:
    """What was found on one image.

    Attributes:
        columns: Blocks of all models, for images.csv.
        predicted: The network's classes, uint8 ``(h, w)``; None of an image that is too large.
        picture: The image in small, uint8 ``(h, w, 3)``, at most ``PICTURE_PX``.
        truth: Its class mask, of the same size.
        small: The network's classes, of the same size.
    """

    columns: Mapping[str, Any]
    predicted: Mask | None
    picture: Image
    truth: Mask
    small: Mask


@dataclass
class _Model:
    """What one model says of one image, part by part."""

    task: Task
    size_px: tuple[int, int]
    step: int
    parts: list[PixelCounts] = field(default_factory=list)

    def __post_init__(self) -> None:
        width, height = self.size_px
        whole = width * height <= LARGEST_WHOLE_PX
        self.mask = np.full((height, width), IGNORE, np.uint8) if whole else None
        self.small = np.zeros((height // self.step, width // self.step), np.uint8)

    def add(
        self,
        corner: tuple[int, int],
        truth: Mask,
        predicted: Mask,
        probability: npt.NDArray[np.float32] | None,
    ) -> None:
        left, top = corner
        number, n = self.task.number, len(self.task.classes)
        if probability is not None and number is None:
            probability = None
        self.parts.append(count_pixels(truth, predicted, probability, n_classes=n, positive=number))
        rows, columns = truth.shape
        if self.mask is not None:
            self.mask[top : top + rows, left : left + columns] = predicted
        put_small(self.small, predicted, corner, self.step)

    def columns(self, truth: Mask | None, mpp: Mpp | None, name: str) -> dict[str, Any]:
        number = self.task.number
        boundary = None
        if truth is not None and self.mask is not None and number is not None:
            boundary = boundary_distance(truth, self.mask, number)
        return counts_row(
            add_counts(self.parts),
            self.task.classes,
            self.task.positive,
            mpp,
            boundary=boundary,
            model=name,
        )


def put_small(small: Mask, part: Mask, corner: tuple[int, int], step: int) -> None:
    """Put every ``step``-th pixel of a part of a mask where it belongs in the small one.

    Args:
        small: The whole mask in small; changed in place.
        part: A part of the mask in full.
        corner: x, y of its upper left pixel in the whole.
        step: How much smaller.
    """
    spans = []
    for start, length, most in zip(corner[::-1], part.shape, small.shape, strict=True):
        first = max(0, -(-(start - step // 2) // step))
        last = min(most, -(-(start + length - step // 2) // step))
        spans.append((slice(first, last), slice(first * step + step // 2 - start, None, step)))
    (rows, from_rows), (columns, from_columns) = spans
    found = part[from_rows, from_columns]
    small[rows, columns] = found[: rows.stop - rows.start, : columns.stop - columns.start]


def evaluate_image(
    predict: Predict,
    colour: ColourFloor,
    pair: Readable,
    task: Task,
    windows: Windows,
    mpp: Mpp | None,
) -> EvaluatedImage:
    """Segment an image and count.

    Args:
        predict: The network, as :func:`histokeras.training.windows.predictor` makes it.
        colour: Fitted on train.
        pair: The image and its class mask, open.
        task: What is segmented.
        windows: How the image is cut for the network.
        mpp: Working resolution; None where it is not known.
    """
    width, height = pair.size_px
    step = -(-max(width, height) // PICTURE_PX)
    models = {name: _Model(task, (width, height), step) for name in _names(task)}
    truth, picture, small_truth = _read_whole(pair, step)

    def read(x: int, y: int, across: int, down: int) -> Image:
        return pair.read(x, y, across, down)[0]

    for band in segment_bands(predict, read, (width, height), len(task.classes), windows):
        rows, columns = band.covered.shape
        true = pair.read(band.left, band.top, columns, rows)[1]
        said = band.probabilities.argmax(axis=-1).astype(np.uint8)
        models[NETWORK].add((band.left, band.top), true, said, _of(band.probabilities, task))
    _add_colour(models[COLOUR], colour, pair, task)
    if OTSU in models:
        _add_otsu(models[OTSU], pair, task)
    columns_: dict[str, Any] = {}
    for name, model in models.items():
        columns_ |= model.columns(truth, mpp, name)
    network = models[NETWORK]
    return EvaluatedImage(columns_, network.mask, picture, small_truth, network.small)


def _names(task: Task) -> tuple[str, ...]:
    return (NETWORK, COLOUR, OTSU) if task.has_otsu else (NETWORK, COLOUR)


def _of(probabilities: npt.NDArray[np.float32], task: Task) -> npt.NDArray[np.float32] | None:
    return None if task.number is None else probabilities[..., task.number]


def _read_whole(pair: Readable, step: int) -> tuple[Mask | None, Image, Mask]:
    """Return the class mask (None of a large image), and image and mask in small."""
    width, height = pair.size_px
    truth = np.empty((height, width), np.uint8) if width * height <= LARGEST_WHOLE_PX else None
    small = np.full((height // step, width // step), IGNORE, np.uint8)
    picture = np.full((*small.shape, 3), 255, np.uint8)
    for (x, y), image, mask in _blocks(pair, 0, _BLOCK_PX // step * step):
        if truth is not None:
            truth[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
        put_small(small, mask, (x, y), step)
        reduced = np.asarray(PillowImage.fromarray(image).reduce(step))
        part = picture[y // step : y // step + len(reduced), x // step :][:, : reduced.shape[1]]
        part[:] = reduced[: part.shape[0], : part.shape[1]]
    return truth, picture, small


def _blocks(
    pair: Readable, reach: int, block_px: int = _BLOCK_PX
) -> Iterator[tuple[tuple[int, int], Image, Mask]]:
    """Yield parts of an image with what lies around them: corner of the part, image, mask.

    The mask is that of the part alone.
    """
    width, height = pair.size_px
    for y in range(0, height, block_px):
        for x in range(0, width, block_px):
            left, top = max(0, x - reach), max(0, y - reach)
            right, bottom = min(width, x + block_px + reach), min(height, y + block_px + reach)
            image, mask = pair.read(left, top, right - left, bottom - top)
            own = np.s_[y - top : y - top + block_px, x - left : x - left + block_px]
            rows, columns = min(block_px, height - y), min(block_px, width - x)
            yield (x, y), image, mask[own][:rows, :columns]


def _inner(values: npt.NDArray[Any], corner: tuple[int, int], mask: Mask) -> npt.NDArray[Any]:
    """Cut what was computed of a block and its surroundings down to the block."""
    x, y = (min(at, REACH_PX) for at in corner)
    return values[y : y + mask.shape[0], x : x + mask.shape[1]]


def _add_colour(model: _Model, colour: ColourFloor, pair: Readable, task: Task) -> None:
    for corner, image, mask in _blocks(pair, REACH_PX):
        probabilities = _inner(colour.probabilities(image), corner, mask)
        model.add(corner, mask, colour.classes(probabilities), _of(probabilities, task))


def _add_otsu(model: _Model, pair: Readable, task: Task) -> None:
    assert task.number is not None
    counts = np.zeros(1, np.int64)
    for corner, image, mask in _blocks(pair, REACH_PX):
        amounts = _inner(smooth_haematoxylin(image), corner, mask)
        counts = counts + count_haematoxylin(amounts)
    threshold = otsu_threshold(counts)
    for corner, image, mask in _blocks(pair, REACH_PX):
        is_dark = _inner(smooth_haematoxylin(image), corner, mask) > threshold
        said = np.where(is_dark, task.number, 1 - task.number).astype(np.uint8)
        model.add(corner, mask, said, None)


def fit_colour_floor(train: Side, task: Task, crop_px: int, seed: int) -> ColourFloor:
    """Fit ``colour`` on pixels of the training images.

    Args:
        train: The images.
        task: What is segmented.
        crop_px: Side of the windows from which pixels are sampled.
        seed: Of the sample.
    """
    rng = np.random.default_rng((seed, 0, 3))
    rows = train.in_pool(fixed_windows(train.places, crop_px, _FLOOR_WINDOWS, seed))
    values, targets = [], []
    spare: dict[int, npt.NDArray[Any]] = {}
    for number, x, y, skip_x, skip_y in rows.tolist():
        image, mask = train.pool.read(number, (x, y), (crop_px, crop_px))
        known = mask[skip_y:, skip_x:] != IGNORE
        at = np.flatnonzero(known)
        if not len(at):
            continue
        at = rng.choice(at, min(_FLOOR_PIXELS, len(at)), replace=False)
        colours = colour_values(image)[skip_y:, skip_x:].reshape(-1, 6)
        labels = mask[skip_y:, skip_x:].ravel()
        values.append(colours[at])
        targets.append(labels[at])
        for found, first in zip(*np.unique(labels, return_index=True), strict=True):
            spare.setdefault(int(found), colours[first])
    # A class may be so rare that no pixel of it was drawn: it would never be said.
    missing = sorted(set(spare) - {IGNORE, *np.unique(np.concatenate(targets)).tolist()})
    if missing:
        values.append(np.stack([spare[at] for at in missing]))
        targets.append(np.array(missing, np.uint8))
    return fit_colour(
        np.concatenate(values), np.concatenate(targets), len(task.classes), task.number
    )
