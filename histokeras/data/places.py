"""Where crops of an image are taken: drawn for training, or fixed ones that cover it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_CELL_PX, _MAX_CELLS = 16, 256
_BY_CLASS = 0.5
"""Share of the crops around a class that was drawn, however rare it is."""
_LEAST_SHARE = 1 / 16
"""Of a sample of windows: what each class has at least, where it has so many."""


def cell_px_of(size_px: tuple[int, int]) -> int:
    """Return the side of the cells in which the labelled pixels of an image are counted."""
    return max(_CELL_PX, -(-max(size_px) // _MAX_CELLS))


@dataclass(frozen=True)
class Places:
    """Where in an image which classes lie.

    Attributes:
        size_px: Width and height at the working resolution.
        cell_px: Side of a cell.
        counts: Labelled pixels of each class in each cell, int64 ``(rows, columns, n_classes)``.
    """

    size_px: tuple[int, int]
    cell_px: int
    counts: Ints

    @property
    def class_counts(self) -> Ints:
        """Labelled pixels of each class, int64 ``(n_classes,)``."""
        return np.asarray(self.counts.sum((0, 1)), np.int64)

    @cached_property
    def _sums(self) -> Ints:
        """Running sums over the cells: one row a class, and one of all classes together."""
        flat = self.counts.reshape(-1, self.counts.shape[2]).T
        return np.cumsum(np.vstack([flat, flat.sum(0)]), axis=1)

    def draw(self, crop_px: int, rng: np.random.Generator) -> tuple[int, int]:
        """Draw where a crop lies: around a class of the image, or anywhere that is labelled.

        Args:
            crop_px: Its side.
            rng: What is random comes from it.

        Returns:
            x, y of its upper left corner. It lies inside where the image is large enough.
        """
        present = np.flatnonzero(self.class_counts)
        by_class = rng.random() < _BY_CLASS
        sums = self._sums[int(rng.choice(present)) if by_class else -1]
        cell = int(np.searchsorted(sums, rng.integers(sums[-1]), side="right"))
        row, column = divmod(cell, self.counts.shape[1])
        middle = (place * self.cell_px + int(rng.integers(self.cell_px)) for place in (column, row))
        x, y = (_start(at, crop_px, size) for at, size in zip(middle, self.size_px, strict=True))
        return x, y

    def windows(self, crop_px: int) -> Ints:
        """Return windows that cover what is labelled, each pixel counted once.

        Args:
            crop_px: Their side.

        Returns:
            int64 ``(n, 4)``: x, y, and how many columns at the left and rows at the top another
            window has counted.
        """
        across, down = (_covering(size, crop_px) for size in self.size_px)
        rows = [
            (x, y, skip_x, skip_y)
            for y, skip_y in down
            for x, skip_x in across
            if self._is_labelled(x + skip_x, y + skip_y, x + crop_px, y + crop_px)
        ]
        return np.array(rows, np.int64).reshape(-1, 4)

    def held(self, windows: Ints, crop_px: int) -> npt.NDArray[np.bool_]:
        """Return which classes windows hold, as far as cells tell.

        Args:
            windows: Of :meth:`windows`, ``(n, 4)``.
            crop_px: Their side.

        Returns:
            Shape ``(n, n_classes)``.
        """
        found = np.zeros((len(windows), self.counts.shape[2]), np.bool_)
        for at, (x, y, skip_x, skip_y) in enumerate(windows.tolist()):
            found[at] = self._part(x + skip_x, y + skip_y, x + crop_px, y + crop_px).any((0, 1))
        return found

    def _is_labelled(self, left: int, top: int, right: int, bottom: int) -> bool:
        return bool(self._part(left, top, right, bottom).any())

    def _part(self, left: int, top: int, right: int, bottom: int) -> Ints:
        cell = self.cell_px
        return self.counts[
            max(0, top) // cell : -(-bottom // cell), max(0, left) // cell : -(-right // cell)
        ]


def _start(middle: int, crop_px: int, size_px: int) -> int:
    if size_px < crop_px:
        return -((crop_px - size_px) // 2)
    return min(max(0, middle - crop_px // 2), size_px - crop_px)


def _covering(size_px: int, crop_px: int) -> list[tuple[int, int]]:
    """Return start and overlap of the windows along a side; the last one ends with the image."""
    if size_px <= crop_px:
        return [(_start(0, crop_px, size_px), 0)]
    starts = range(0, size_px, crop_px)
    return [(min(at, size_px - crop_px), max(0, at - (size_px - crop_px))) for at in starts]


def draw_crops(
    places: Sequence[Places],
    patients: Ints,
    crop_px: int,
    n: int,
    rng: np.random.Generator,
    *,
    n_open: int,
) -> Ints:
    """Draw the crops of an epoch: evenly over patients, then over the images of each.

    Args:
        places: One an image; each has labelled pixels.
        patients: Number of the patient of each image.
        crop_px: Side of a crop.
        n: How many crops.
        rng: What is random comes from it.
        n_open: How many images can be open: crops come from half as many at a time.

    Returns:
        Number of the image, x and y of each, int64 ``(n, 3)``.
    """
    images_of = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    rounds = [rng.permutation(len(images_of)) for _ in range(-(-n // len(images_of)))]
    drawn = [int(rng.choice(images_of[at])) for at in np.concatenate(rounds)[:n]]
    crops = np.array([(image, *places[image].draw(crop_px, rng)) for image in drawn], np.int64)
    group = np.argsort(rng.permutation(len(places))) // max(1, n_open // 2)
    if len(places) <= n_open:
        group[:] = 0
    return crops[np.lexsort((rng.random(n), group[crops[:, 0]]))]


def fixed_windows(places: Sequence[Places], crop_px: int, at_most: int, seed: int) -> Ints:
    """Return the windows that are looked at after each epoch: all, or a fixed sample of them.

    Args:
        places: One an image.
        crop_px: Side of a window.
        at_most: How many; where there are more, images give as evenly as they can, and a class that
            is rare gives a sixteenth of them, or as many as it has: without any, nobody could tell
            a better network from a worse one.
        seed: Of the sample.

    Returns:
        Number of the image and :meth:`Places.windows`, int64 ``(n, 5)``, by image.
    """
    found = [item.windows(crop_px) for item in places]
    rows = np.concatenate(
        [np.column_stack([np.full(len(part), at), part]) for at, part in enumerate(found)]
    ).astype(np.int64)
    if len(rows) <= at_most:
        return rows
    rng = np.random.default_rng((seed, 0, 2))
    turn = np.concatenate([rng.permutation(len(part)) for part in found])
    order = np.lexsort((rng.random(len(rows)), turn))
    held = np.concatenate(
        [item.held(part, crop_px) for item, part in zip(places, found, strict=True)]
    )[order]
    least = max(1, int(at_most * min(_LEAST_SHARE, 0.5 / held.shape[1])))
    first = (held & (held.cumsum(axis=0) <= least)).any(axis=1)
    chosen = np.concatenate([order[first], order[~first]])[:at_most]
    return np.asarray(rows[np.sort(chosen)], np.int64)
