"""Cells of a heat map over a slide, and the overlapping tiles that they are the means of.

A cell is a square of one stride; cell ``k`` of a row lies from ``k`` to ``k + 1`` strides from the
slide's corner. A tile counts for the n x n cells that it covers, n being how many strides go into
it (at least one, also where tiles are smaller than their stride): it is centred on them, so that
the mean of the tiles of a cell is centred on that cell.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from histokeras.slides.tissue import Mask

Map = npt.NDArray[np.float32]
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class CellGrid:
    """Cells over a slide, and the tiles that cover them.

    Attributes:
        slide_px: (width, height) of level 0.
        slide_mpp: Micrometres per level-0 pixel.
        tile_px: Side of a tile in level-0 pixels, as it is read.
        tile_um: Side of a tile in micrometres, as the network wants it.
        stride_um: Side of a cell, and from one tile to the next.
    """

    slide_px: tuple[int, int]
    slide_mpp: float
    tile_px: int
    tile_um: float
    stride_um: float

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells; the last ones may reach beyond the slide."""
        width, height = (
            max(1, int(np.ceil(side * self.slide_mpp / self.stride_um - _ROUNDING)))
            for side in self.slide_px
        )
        return height, width

    @cached_property
    def span(self) -> int:
        """How many cells along a side a tile counts for."""
        return max(1, int(self.tile_um / self.stride_um + _ROUNDING))

    @cached_property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        rows, columns = (max(1, side - self.span + 1) for side in self.shape)
        return rows, columns

    @property
    def n_tiles(self) -> int:
        """How many tiles there are on the whole slide."""
        return self.tile_shape[0] * self.tile_shape[1]

    def origin(self, row: int, column: int) -> tuple[int, int]:
        """Return the corner of a tile, x and y in level-0 pixels.

        Each is rounded by itself, so that no error adds up. Tiles that would
        reach beyond the slide are moved inwards, by little more than a stride at most: what a
        network sees at the slide's edge is the slide, not white. One that is smaller than a tile
        is continued in white.
        """
        return self._start(column, self.slide_px[0]), self._start(row, self.slide_px[1])

    def _start(self, number: int, side_px: int) -> int:
        centre_px = (number + self.span / 2) * self.stride_um / self.slide_mpp
        return min(max(0, round(centre_px - self.tile_px / 2)), max(0, side_px - self.tile_px))

    def cells_of(self, mask: Mask, box: tuple[slice, slice], px_um: float) -> Mask:
        """Return which cells have a part of a pixel of a mask in them.

        Args:
            mask: Shape of ``box``.
            box: Rows and columns of the overview that it is of.
            px_um: Micrometres per pixel of the overview.

        Returns:
            Shape :attr:`shape`.
        """
        found = np.zeros(self.shape, np.bool_)
        (rows, down), (columns, across) = (
            self._reach(at + side.start, n, px_um)
            for at, side, n in zip(np.nonzero(mask), box, self.shape, strict=True)
        )
        for row in down:
            for column in across:
                found[
                    np.minimum(rows[0] + row, rows[1]), np.minimum(columns[0] + column, columns[1])
                ] = True
        return found

    def _reach(
        self, pixels: npt.NDArray[np.int64], n_cells: int, px_um: float
    ) -> tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], range]:
        """Return the first and the last cell of each pixel, and steps from one to the other."""
        per_px = px_um / self.stride_um
        first = np.floor(pixels * per_px + _ROUNDING).clip(0, n_cells - 1).astype(np.int64)
        last = np.ceil((pixels + 1) * per_px - _ROUNDING).astype(np.int64) - 1
        last = last.clip(first, n_cells - 1)
        return (first, last), range(int((last - first).max(initial=0)) + 1)

    def tiles_of(self, cells: Mask) -> Mask:
        """Return which tiles count for any of some cells, shape :attr:`tile_shape`."""
        found = np.zeros(self.tile_shape, np.bool_)
        wide = self._padded(cells)
        for row in range(self.span):
            for column in range(self.span):
                found |= wide[row:, column:][: found.shape[0], : found.shape[1]]
        return found

    def tiles_to_cells(self, tiles: Mask) -> Mask:
        """Return which cells any of some tiles counts for, shape :attr:`shape`."""
        return np.asarray(self._spread(tiles.astype(np.float64)) > 0)

    def means(self, probabilities: Map) -> Map:
        """Return the mean of the tiles of each cell.

        Args:
            probabilities: float32 of :attr:`tile_shape`, NaN where a tile was not read.

        Returns:
            float32 of :attr:`shape`, NaN where no tile of a cell was read.
        """
        read = np.isfinite(probabilities)
        sums = self._spread(np.where(read, probabilities, 0))
        count = self._spread(read.astype(np.float64))
        means = np.full(self.shape, np.nan, np.float32)
        np.divide(sums, count, out=means, where=count > 0, casting="same_kind")
        return means

    def _spread(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Add each tile to the cells it counts for."""
        rows, columns = values.shape
        total = np.zeros((rows + self.span - 1, columns + self.span - 1))
        for row in range(self.span):
            for column in range(self.span):
                total[row : row + rows, column : column + columns] += values
        # A slide of fewer cells than a tile covers.
        return total[: self.shape[0], : self.shape[1]]

    def _padded(self, cells: Mask) -> Mask:
        beyond = [
            (0, max(0, tiles + self.span - 1 - side))
            for tiles, side in zip(self.tile_shape, self.shape, strict=True)
        ]
        return np.pad(cells, beyond)


def interpolate(cells: Map, box: tuple[slice, slice], *, px_um: float, stride_um: float) -> Map:
    """Return a heat map at the pixels of an overview, bilinear between the middles of cells.

    Cells without a value do not count: beside them the others count for more.

    Args:
        cells: float32 (rows, columns), NaN without a value.
        box: Rows and columns of the overview that are wanted.
        px_um: Micrometres per pixel of the overview.
        stride_um: Side of a cell.

    Returns:
        float32 of the shape of ``box``, NaN where no cell beside a pixel has a value.
    """
    sums = np.zeros([side.stop - side.start for side in box], np.float32)
    weights = np.zeros_like(sums)
    (top, down), (left, across) = (
        _neighbours(side, n, px_um / stride_um) for side, n in zip(box, cells.shape, strict=True)
    )
    for rows, row_weight in ((top, 1 - down), (np.minimum(top + 1, cells.shape[0] - 1), down)):
        for columns, weight in (
            (left, 1 - across),
            (np.minimum(left + 1, cells.shape[1] - 1), across),
        ):
            values = cells[rows[:, None], columns[None]]
            known = np.isfinite(values)
            share = row_weight[:, None] * weight[None] * known
            sums += share * np.where(known, values, 0)
            weights += share
    heat = np.full_like(sums, np.nan)
    np.divide(sums, weights, out=heat, where=weights > _ROUNDING)
    return heat


def _neighbours(
    side: slice, n_cells: int, cells_per_px: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the cell before the middle of each pixel, and how far it is to the next, 0..1."""
    middles = (np.arange(side.start, side.stop) + 0.5) * cells_per_px - 0.5
    before = np.floor(middles).clip(0, n_cells - 1)
    return before.astype(np.int64), (middles - before).clip(0, 1).astype(np.float32)
