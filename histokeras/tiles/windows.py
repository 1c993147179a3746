"""Overlapping windows of one size over an image of any size, blended into one map."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from histokeras.errors import ConfigError
from histokeras.slides.source import Image

Probabilities = npt.NDArray[np.float32]
Predict = Callable[[npt.NDArray[np.uint8]], Probabilities]
"""uint8 (b, h, w, 3) to probabilities float32 (b, h, w, n_classes), h and w multiples of 32."""
Read = Callable[[int, int, int, int], Image]
"""x, y, width, height in pixels of the output, inside the image, to uint8 (height, width, 3)."""
Wanted = Callable[[int, int, int, int], bool]
"""x, y, width, height of what a window adds to the output: whether that is of any interest."""

GRID_PX = 32
"""Windows start at its multiples: no network here pools to more than this many pixels."""
_RIM_PX = 72
_LEAST_WEIGHT = np.float32(1e-30)
_MOST_BYTES = 32 << 20
"""Of sums that are not finished; wider outputs are made in sections."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How an image is cut for a network.

    Attributes:
        size_px: Side of a window; a multiple of 32.
        overlap_px: By how much neighbours overlap; a multiple of 32 below ``size_px``.
        rim_px: How much of it is left out at either side, as the network sees padding beyond the
            window instead of tissue; between the rims one window fades into the next. Three
            eighths of the overlap if None, at most 72: with 72 a trained U-Net of four poolings
            gives the numbers of the whole image to 2e-4, with 48 to 0.02, with 24 to 0.3.
        batch_size: Windows that are computed at once.
    """

    size_px: int = 640
    overlap_px: int = 192
    rim_px: int | None = None
    batch_size: int = 4

    def __post_init__(self) -> None:
        for name, value in (("size_px", self.size_px), ("overlap_px", self.overlap_px)):
            if value < GRID_PX or value % GRID_PX:
                raise ConfigError(
                    f"`{name}` of windows is a multiple of {GRID_PX}, at least {GRID_PX}. "
                    f"Received: {name}={value}"
                )
        if self.overlap_px >= self.size_px:
            raise ConfigError(
                "`overlap_px` must be below `size_px`. "
                f"Received: overlap_px={self.overlap_px}, size_px={self.size_px}"
            )
        if not 0 <= self.margin_px <= (self.overlap_px - 1) // 2:
            raise ConfigError(
                "`rim_px` must leave something of the overlap between two rims. "
                f"Received: rim_px={self.rim_px}, overlap_px={self.overlap_px}"
            )
        if self.batch_size < 1:
            raise ConfigError(f"`batch_size` must be >= 1. Received: batch_size={self.batch_size}")

    @property
    def margin_px(self) -> int:
        """Rim of a window that is left out, except at the image's own border."""
        if self.rim_px is not None:
            return self.rim_px
        return min(_RIM_PX, self.overlap_px * 3 // 8)

    @property
    def ramp_px(self) -> int:
        """Over how many pixels a window fades into the next."""
        return self.overlap_px - 2 * self.margin_px


def windows_of(crop_px: int, *, pools_all: bool, batch_size: int = 4) -> Windows:
    """Return how images are cut for a network that learned from crops of a size.

    Args:
        crop_px: Side of the crops in pixels.
        pools_all: Whether it sees its whole window, as DeepLab does. It gets windows as large as
            the crops, for in larger ones its pyramid sees tissue where it has only ever seen
            padding; and it says other numbers in each window, so that these fade slowly: with a
            rim of three eighths of the overlap the steps between windows of 256 px were 1.12 of
            those inside, with a sixth 1.03. A U-Net says the same in windows of any size, and gets
            large ones.
        batch_size: Windows that are computed at once.

    Raises:
        ConfigError: If a number is below 1.
    """
    if crop_px < 1:
        raise ConfigError(f"`crop_px` must be >= 1. Received: crop_px={crop_px}")
    size = max(2, -(-crop_px // GRID_PX)) * GRID_PX
    if not pools_all:
        return Windows(size_px=max(size, Windows.size_px), batch_size=batch_size)
    overlap = -(-size * 3 // 8 // GRID_PX) * GRID_PX
    return Windows(size_px=size, overlap_px=overlap, rim_px=overlap // 6, batch_size=batch_size)


@dataclass(frozen=True, eq=False)
class Band:
    """A finished part of the output.

    Attributes:
        top: Its first row.
        left: Its first column: 0 unless the output is so wide that it is made in sections.
        probabilities: float32 (rows, columns, n_classes); 0 where nothing was computed.
        covered: bool (rows, columns), where something was.
    """

    top: int
    left: int
    probabilities: Probabilities
    covered: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Axis:
    """Windows along one axis of an image of ``length`` pixels."""

    length: int
    windows: Windows

    @cached_property
    def size(self) -> int:
        """Pixels of a window: of an image that is smaller than one, what just holds it."""
        return min(self.windows.size_px, -(-self.length // GRID_PX) * GRID_PX)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        last = -(-self.length // GRID_PX) * GRID_PX - self.size
        step = self.windows.size_px - self.windows.overlap_px
        return (*range(0, last, step), last)

    def weights(self, number: int) -> Probabilities:
        """Return what each pixel of a window weighs, float32 (size,)."""
        margin, ramp = self.windows.margin_px, self.windows.ramp_px
        rise = np.sin(np.pi / 2 * (np.arange(ramp) + 0.5) / ramp) ** 2
        weights = np.ones(self.size)
        if len(self.starts) == 1:
            return weights.astype(np.float32)
        fade = np.concatenate([np.zeros(margin), rise, np.ones(self.size - margin - ramp)])
        if number > 0:
            weights *= fade
        if number < len(self.starts) - 1:
            weights *= fade[::-1]
        return weights.astype(np.float32)

    def span(self, number: int) -> tuple[int, int]:
        """Return the first pixel of the output that a window adds to, and the end."""
        start, margin = self.starts[number], self.windows.margin_px
        first = start + (margin if number > 0 else 0)
        if number == len(self.starts) - 1:
            return first, self.length
        return first, start + self.size - margin


def segment_image(
    predict: Predict, image: Image, n_classes: int, windows: Windows
) -> Probabilities:
    """Segment an image in memory: the same numbers as :func:`segment_bands` gives.

    Args:
        predict: Turns up to ``windows.batch_size`` windows into probabilities.
        image: uint8 (h, w, 3).
        n_classes: How many classes there are.
        windows: How it is cut.

    Returns:
        Probabilities, float32 (h, w, n_classes).
    """
    height, width = image.shape[:2]
    whole = np.empty((height, width, n_classes), np.float32)

    def read(x: int, y: int, across: int, down: int) -> Image:
        return image[y : y + down, x : x + across]

    for band in segment_bands(predict, read, (width, height), n_classes, windows):
        rows, columns = band.covered.shape
        place = np.s_[band.top : band.top + rows, band.left : band.left + columns]
        whole[place] = band.probabilities
    return whole


def segment_bands(
    predict: Predict,
    read: Read,
    size_px: tuple[int, int],
    n_classes: int,
    windows: Windows,
    *,
    wanted: Wanted | None = None,
) -> Iterator[Band]:
    """Segment an image band by band, in memory that does not grow with its size.

    An image whose sides are no multiples of 32 is continued by its mirror image: white beside
    tissue would look like the edge of the tissue, which is not there.

    Args:
        predict: Turns up to ``windows.batch_size`` windows into probabilities.
        read: Reads a part of the image; two threads may call it.
        size_px: (width, height) of the image.
        n_classes: How many classes there are.
        windows: How it is cut.
        wanted: Windows that it turns down are not computed; all are if None. Pixels of interest
            get the same numbers either way.

    Yields:
        Bands that tile the output: section by section from the left, each from above.

    Raises:
        ValueError: If the image has no pixel.
    """
    if min(size_px) < 1:
        raise ValueError(f"`size_px` must be at least 1 x 1. Received: size_px={size_px}")
    across, down = _Axis(size_px[0], windows), _Axis(size_px[1], windows)
    for left, right in _sections(across, down.size * (n_classes + 1) * 4):
        places = _places(across, down, (left, right), wanted)
        found = _predicted(predict, read, across, down, places, windows.batch_size)
        yield from _blended(found, across, down, (left, right), n_classes)


def _sections(across: _Axis, column_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut the output into columns of bounded memory, in the middle of windows.

    There a single window counts, so that one alone is computed for both sides.
    """
    most = _MOST_BYTES // column_bytes
    left = 0
    middles = [start + across.size // 2 for start in across.starts[1:-1]]
    for middle, after in zip(middles, [*middles[1:], across.length], strict=False):
        if after - left > most:
            yield left, middle
            left = middle
    yield left, across.length


def _places(
    across: _Axis, down: _Axis, section: tuple[int, int], wanted: Wanted | None
) -> Iterator[tuple[int, int]]:
    """Yield row and column of the windows of a section that are to be computed."""
    for row in range(len(down.starts)):
        top, bottom = down.span(row)
        for column in range(len(across.starts)):
            left, right = across.span(column)
            if right <= section[0] or left >= section[1]:
                continue
            if wanted is None or wanted(left, top, right - left, bottom - top):
                yield row, column


def _predicted(
    predict: Predict,
    read: Read,
    across: _Axis,
    down: _Axis,
    places: Iterator[tuple[int, int]],
    batch_size: int,
) -> Iterator[tuple[int, int, Probabilities]]:
    """Compute windows in batches while the next ones are read; yield them in order."""

    def image(row: int, column: int) -> Image:
        x, y = across.starts[column], down.starts[row]
        width, height = min(across.size, across.length - x), min(down.size, down.length - y)
        pixels = read(x, y, width, height)
        beyond = ((0, down.size - height), (0, across.size - width), (0, 0))
        return np.pad(pixels, beyond, mode="symmetric")

    def computed(
        some: Sequence[tuple[int, int, Future[Image]]],
    ) -> Iterator[tuple[int, int, Probabilities]]:
        found = predict(np.stack([pixels.result() for _, _, pixels in some]))
        for (row, column, _), probabilities in zip(some, found, strict=True):
            yield row, column, probabilities

    with ThreadPoolExecutor(2) as readers:
        waiting: deque[tuple[int, int, Future[Image]]] = deque()
        for row, column in places:
            waiting.append((row, column, readers.submit(image, row, column)))
            if len(waiting) == 2 * batch_size:
                yield from computed([waiting.popleft() for _ in range(batch_size)])
        while waiting:
            n = min(batch_size, len(waiting))
            yield from computed([waiting.popleft() for _ in range(n)])


def _blended(
    found: Iterator[tuple[int, int, Probabilities]],
    across: _Axis,
    down: _Axis,
    section: tuple[int, int],
    n_classes: int,
) -> Iterator[Band]:
    """Add up windows; yield the rows that no further window reaches."""
    left, right = section
    sums = np.zeros((down.size, right - left, n_classes), np.float32)
    weight = np.zeros(sums.shape[:2], np.float32)
    at = 0
    for row, column, probabilities in found:
        while at < row:
            n_rows = down.starts[at + 1] - down.starts[at]
            yield _finished(sums[:n_rows], weight[:n_rows], down.starts[at], left)
            _shift(sums, n_rows)
            _shift(weight, n_rows)
            at += 1
        x = across.starts[column]
        first, last = max(x, left), min(x + across.size, right)
        share = np.outer(down.weights(row), across.weights(column)[first - x : last - x])
        sums[:, first - left : last - left] += (
            probabilities[:, first - x : last - x] * share[..., None]
        )
        weight[:, first - left : last - left] += share
    while True:
        after = down.starts[at + 1] if at + 1 < len(down.starts) else down.length
        n_rows = after - down.starts[at]
        yield _finished(sums[:n_rows], weight[:n_rows], down.starts[at], left)
        at += 1
        if at == len(down.starts):
            return
        _shift(sums, n_rows)
        _shift(weight, n_rows)


def _finished(sums: Probabilities, weight: Probabilities, top: int, left: int) -> Band:
    covered = weight > 0
    probabilities = np.asarray(sums / np.maximum(weight, _LEAST_WEIGHT)[..., None], np.float32)
    return Band(top, left, probabilities, covered)


def _shift(values: Probabilities, n_rows: int) -> None:
    """Drop the first rows of an array, in place; what comes after its end is 0."""
    kept = len(values) - n_rows
    # Row by row from above: a move of all at once would need a copy.
    for row in range(kept):
        values[row] = values[row + n_rows]
    values[kept:] = 0
