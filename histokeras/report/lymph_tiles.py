"""Tiles of a slide as a classifier judges them: read in threads while the network computes."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from histokeras.analysis.tile_predictions import BOX
from histokeras.features.seen import Change, slide_change
from histokeras.slides.pyramid import LevelChoice, choose_level
from histokeras.slides.slide import Slide
from histokeras.slides.source import Image
from histokeras.slides.tissue import Mask
from histokeras.tiles.cells import CellGrid, Map
from histokeras.tiles.plan import read_tile
from histokeras.tiles.tile_scorer import TileScorer
from histokeras.types import PROB

STRIDE = "stride_um"
Place = tuple[int, int]
"""Row and column of a tile on its grid."""


@dataclass(eq=False)
class TileReader:
    """The tiles of one slide; each is computed once, whatever grid it lies on.

    Attributes:
        slide: The open slide.
        scorer: The classifier.
        choice: Which level is read and how.
        change: What is done to the stain.
        readers: Reading threads.
        count: Called with the number of tiles computed.
        known: Corner in level-0 pixels -> probability and the stride it was first read at.
    """

    slide: Slide
    scorer: TileScorer
    choice: LevelChoice
    change: Change
    readers: int
    count: Callable[[int], None]
    known: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)

    def grid(self, stride_um: float) -> CellGrid:
        """Return the grid of a stride over this slide."""
        return CellGrid(
            slide_px=self.slide.dimensions,
            slide_mpp=float(self.slide.mpp),
            tile_px=self.choice.size_level0_px(self.scorer.size_px),
            tile_um=self.scorer.size_um,
            stride_um=stride_um,
        )

    def probabilities(self, grid: CellGrid, wanted: Mask) -> Map:
        """Return the probability of each tile that is wanted, float32, NaN of the others.

        Args:
            grid: Where they lie.
            wanted: bool of ``grid.tile_shape``.

        Raises:
            SlideError: If a tile cannot be read.
        """
        places = [(int(row), int(column)) for row, column in np.argwhere(wanted)]
        corners = {place: grid.origin(*place) for place in places}
        # In the order of the grid; at the slide's edge two may be one.
        new = dict.fromkeys(corner for corner in corners.values() if corner not in self.known)
        for corner, probability in self._computed(iter(new)):
            self.known[corner] = (probability, grid.stride_um)
        found = np.full(grid.tile_shape, np.nan, np.float32)
        for place, corner in corners.items():
            found[place] = self.known[corner][0]
        return found

    def table(self) -> pd.DataFrame:
        """Return all tiles read, by WSInfer's names: corner, sides, probability; and the stride."""
        side = self.choice.size_level0_px(self.scorer.size_px)
        rows = [
            (x, y, side, side, probability, stride)
            for (x, y), (probability, stride) in sorted(
                self.known.items(), key=lambda item: item[0][::-1]
            )
        ]
        columns = [*BOX, f"{PROB}{self.scorer.tile_class}", STRIDE]
        return pd.DataFrame(rows, columns=columns)

    def _read(self, corner: tuple[int, int]) -> Image:
        return self.change(read_tile(self.slide, self.choice, self.scorer.size_px, corner))

    def _computed(
        self, corners: Iterator[tuple[int, int]]
    ) -> Iterator[tuple[tuple[int, int], float]]:
        """Compute tiles in batches while the next ones are read; no more than three wait."""
        n = self.scorer.batch_size
        with ThreadPoolExecutor(self.readers) as pool:
            waiting: deque[tuple[tuple[int, int], Future[Image]]] = deque()
            for corner in corners:
                waiting.append((corner, pool.submit(self._read, corner)))
                if len(waiting) == 3 * n:
                    yield from self._batch([waiting.popleft() for _ in range(n)])
            while waiting:
                yield from self._batch([waiting.popleft() for _ in range(min(n, len(waiting)))])

    def _batch(
        self, some: list[tuple[tuple[int, int], Future[Image]]]
    ) -> Iterator[tuple[tuple[int, int], float]]:
        found = self.scorer.predict(np.stack([image.result() for _, image in some]))
        self.count(len(some))
        for (corner, _), probability in zip(some, found, strict=True):
            yield corner, float(probability)


def open_tiles(
    slide: Slide, scorer: TileScorer, *, readers: int, count: Callable[[int], None]
) -> TileReader:
    """Settle how the tiles of a slide are read for a classifier.

    Args:
        slide: The open slide.
        scorer: The classifier.
        readers: Reading threads.
        count: Called with the number of tiles computed.

    Raises:
        SlideError: If it has no such resolution, or its stain cannot be estimated.
        ConfigError: If the run's stain was estimated in drawn regions.
    """
    spec = scorer.spec
    choice = choose_level(
        slide.mpp,
        slide.level_downsamples,
        spec.mpp,
        tolerance=spec.mpp_tolerance,
        name=slide.name,
    )
    change = slide_change(slide, spec, scorer.stain_norm)
    return TileReader(slide, scorer, choice, change, readers, count)
