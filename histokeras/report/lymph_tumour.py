"""Tumour inside the lymph nodes of a slide: tiles to cells to the overview; or as it was drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from histokeras.analysis.lymph_nodes import counted_tumour
from histokeras.analysis.lymph_size import MACRO_MM, measure_deposits
from histokeras.analysis.lymph_split import Labels
from histokeras.report.lymph_find import drawn_tumour
from histokeras.report.lymph_job import LymphJob, NodeSlide
from histokeras.report.lymph_tiles import TileReader, open_tiles
from histokeras.slides.tissue import Mask
from histokeras.slides.tissue_region import TissueRegion
from histokeras.slides.view import View
from histokeras.tiles.cells import CellGrid, Map, interpolate

TILE_FACTS = ("tiles_on_grid", "tiles_read", "share_not_read", "tiles_read_again")
Box = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Tumour:
    """Tumour on the overview of a slide.

    Attributes:
        mask: bool (h, w), inside nodes, as it is counted.
        heat: float32 (h, w), its probability inside nodes, NaN where nothing was read; None where
            it was drawn.
        cell_um: float64 (n,), side of the cells of each node.
        n_tiles: int64 (n,), tiles that were read of each node; 0 where it was drawn.
        tiles: All tiles read; None where it was drawn.
        facts: ``tiles_on_grid`` of the whole slide, ``tiles_read`` of them, ``share_not_read``, and
            ``tiles_read_again`` at the finer stride; None where it was drawn.
    """

    mask: Mask
    heat: Map | None
    cell_um: npt.NDArray[np.float64]
    n_tiles: npt.NDArray[np.int64]
    tiles: pd.DataFrame | None
    facts: dict[str, Any]


def slide_tumour(
    job: LymphJob,
    view: View,
    entry: NodeSlide,
    labels: Labels,
    tissue: TissueRegion,
    count: Callable[[int], None],
) -> Tumour:
    """Find the tumour inside the nodes of a slide.

    Args:
        job: How.
        view: The overview.
        entry: What is known of the slide.
        labels: int32 (h, w) of the overview: 0 outside, nodes 1..n.
        tissue: Where the slide is not glass: tiles of glass alone are not read.
        count: Called with the number of tiles computed.

    Raises:
        SlideError: If a tile cannot be read, or there is no drawing.
    """
    n_nodes = int(labels.max(initial=0))
    if job.scorer is None:
        mask = counted_tumour(labels, drawn_tumour(job, view, entry), job.rules)
        px_um = float(view.slide.mpp) * view.scale
        facts = dict.fromkeys(TILE_FACTS)
        none = np.zeros(n_nodes, np.int64)
        return Tumour(mask, None, np.full(n_nodes, px_um), none, None, facts)
    reader = open_tiles(view.slide, job.scorer, readers=job.readers, count=count)
    sought = _Sought(job, view, labels, tissue, reader)
    return sought.tumour()


@dataclass(frozen=True, eq=False)
class _Sought:
    """What is at hand while tumour is sought."""

    job: LymphJob
    view: View
    labels: Labels
    tissue: TissueRegion
    reader: TileReader

    def tumour(self) -> Tumour:
        boxes: list[Box] = ndimage.find_objects(self.labels)
        heat = np.full(self.labels.shape, np.nan, np.float32)
        cell_um = np.full(len(boxes), self.job.stride_um)
        # The corners of the tiles of each node.
        seen: list[set[tuple[int, int]]] = [set() for _ in boxes]
        grid = self.reader.grid(self.job.stride_um)
        whole = {at: self.labels[box] == at + 1 for at, box in enumerate(boxes)}
        probabilities = self._fill(heat, seen, grid, whole, boxes)
        n_read = len(self.reader.known)
        again = self._small(heat, seen, boxes) if self.job.reads_again else []
        if again:
            near = self._near(grid, probabilities >= self.job.threshold)
            parts = {at: whole[at] & near[boxes[at]] for at in again}
            fine = self.reader.grid(self.job.itc_stride_um)
            self._fill(heat, seen, fine, parts, boxes)
            cell_um[again] = self.job.itc_stride_um
        counted = (
            grid.n_tiles, n_read, 1 - n_read / grid.n_tiles, len(self.reader.known) - n_read
        )  # fmt: skip
        facts = dict(zip(TILE_FACTS, counted, strict=True))
        mask = counted_tumour(self.labels, self._above(heat), self.job.rules)
        n_tiles = np.array([len(corners) for corners in seen], np.int64)
        return Tumour(mask, heat, cell_um, n_tiles, self.reader.table(), facts)

    def _above(self, heat: Map) -> Mask:
        # Of what was not read it is False.
        return np.asarray(heat > self.job.threshold)

    def _fill(
        self,
        heat: Map,
        seen: Sequence[set[tuple[int, int]]],
        grid: CellGrid,
        parts: Mapping[int, Mask],
        boxes: Sequence[Box],
    ) -> Map:
        """Read the tiles of parts of nodes and fill in their heat; return what tiles gave."""
        px_um = float(self.view.slide.mpp) * self.view.scale
        cells = {at: grid.cells_of(part, boxes[at], px_um) for at, part in parts.items()}
        wanted = np.zeros(grid.tile_shape, np.bool_)
        for some in cells.values():
            wanted |= grid.tiles_of(some)
        self._leave_glass(grid, wanted)
        probabilities = self.reader.probabilities(grid, wanted)
        means = grid.means(probabilities)
        for at, own in cells.items():
            # Cells beside a node have seen some of its tiles by chance: they are no part of it.
            values = np.where(own, means, np.float32(np.nan))
            found = interpolate(values, boxes[at], px_um=px_um, stride_um=grid.stride_um)
            heat[boxes[at]][parts[at]] = found[parts[at]]
            places = np.argwhere(grid.tiles_of(own) & np.isfinite(probabilities))
            seen[at].update(grid.origin(row, column) for row, column in places.tolist())
        return probabilities

    def _near(self, grid: CellGrid, suspect: Mask) -> Mask:
        """Return the pixels of the overview within a tile's side of tiles that look like tumour."""
        cells = grid.tiles_to_cells(suspect)
        steps = int(np.ceil(grid.tile_um / grid.stride_um))
        wide = ndimage.binary_dilation(cells, np.ones((3, 3)), iterations=steps)
        per_px = float(self.view.slide.mpp) * self.view.scale / grid.stride_um
        rows, columns = (
            ((np.arange(n) + 0.5) * per_px).astype(np.int64).clip(0, side - 1)
            for n, side in zip(self.labels.shape, wide.shape, strict=True)
        )
        return np.asarray(wide[np.ix_(rows, columns)])

    def _leave_glass(self, grid: CellGrid, wanted: Mask) -> None:
        """Take tiles of glass alone, such as in a filled hole, out of those that are wanted."""
        side = grid.tile_px / self.view.scale
        width, height = self.view.size_px
        for row, column in np.argwhere(wanted).tolist():
            x, y = (at / self.view.scale for at in grid.origin(row, column))
            left, top = min(int(x), width - 1), min(int(y), height - 1)
            across = max(1, min(int(np.ceil(x + side)), width) - left)
            down = max(1, min(int(np.ceil(y + side)), height) - top)
            wanted[row, column] = self.tissue.touches(left, top, across, down)

    def _small(
        self, heat: Map, seen: Sequence[set[tuple[int, int]]], boxes: Sequence[Box]
    ) -> list[int]:
        """Return nodes with tumour, or a tile that looks like it, but no macrometastasis."""
        px_mm = float(self.view.slide.mpp) * self.view.scale / 1000
        found = []
        for at, box in enumerate(boxes):
            best = max((self.reader.known[corner][0] for corner in seen[at]), default=0.0)
            if best < self.job.threshold:
                continue
            own = (self.labels[box] == at + 1).astype(np.int32)
            tumour = counted_tumour(own, self._above(heat[box]), self.job.rules)
            if measure_deposits(tumour)[1] * px_mm < MACRO_MM:
                found.append(at)
        return found
