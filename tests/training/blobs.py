"""Painted blobs with their class masks: what segmenters learn in tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from histokeras.data.pair_pool import PairPool
from histokeras.data.places import Places, cell_px_of
from histokeras.training.segmentation import Side
from histokeras.types import IGNORE

GREY, PURPLE = (222, 190, 210), (110, 70, 150)


def paint_blobs(seed: int, size_px: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of purple discs on pink, and its mask: 1 inside of them."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size_px, :size_px]
    mask = np.zeros((size_px, size_px), np.uint8)
    for _ in range(4):
        y, x = rng.integers(0, size_px, 2)
        radius = rng.integers(size_px // 12, size_px // 5)
        mask[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = 1
    colours = np.where(mask[..., None] == 1, PURPLE, GREY)
    noise = rng.normal(0, 8, colours.shape)
    return np.clip(colours + noise, 0, 255).astype(np.uint8), mask


@dataclass
class ArrayPair:
    """An image and mask in memory, read as a pair of files is."""

    image: np.ndarray
    mask: np.ndarray
    mpp: float | None = None

    @property
    def size_px(self) -> tuple[int, int]:
        return self.mask.shape[1], self.mask.shape[0]

    def read(self, x: int, y: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        image = np.full((height, width, 3), 255, np.uint8)
        mask = np.full((height, width), IGNORE, np.uint8)
        own = np.s_[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
        part = self.mask[own]
        rows = slice(max(0, -y), max(0, -y) + part.shape[0])
        columns = slice(max(0, -x), max(0, -x) + part.shape[1])
        image[rows, columns], mask[rows, columns] = self.image[own], part
        return image, mask

    def counts(self, cell_px: int) -> np.ndarray:
        height, width = self.mask.shape
        found = np.zeros((-(-height // cell_px), -(-width // cell_px), 2), np.int64)
        for number in range(2):
            rows, columns = np.nonzero(self.mask == number)
            np.add.at(found, (rows // cell_px, columns // cell_px, number), 1)
        return found

    def close(self) -> None:
        pass


def side_of(pairs: Sequence[ArrayPair], pool: PairPool | None = None) -> Side:
    """Return all images as one side, each of its own patient."""
    cells = [cell_px_of(pair.size_px) for pair in pairs]
    places = [
        Places(pair.size_px, cell, pair.counts(cell))
        for pair, cell in zip(pairs, cells, strict=True)
    ]
    numbers = np.arange(len(pairs))
    return Side(
        pool or PairPool([lambda pair=pair: pair for pair in pairs]), numbers, places, numbers
    )
