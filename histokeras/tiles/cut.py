"""Cut a slide into tiles: the whole way from an open slide to its kept tiles."""

import base64
import html
import io
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image as PillowImage

from histokeras.runs.environment import usable_cores
from histokeras.slides.slide import Slide
from histokeras.slides.source import Image
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.manifest import empty_reason, finish_manifest
from histokeras.tiles.plan import (
    MANIFEST_COLUMNS,
    TilePlan,
    background_fraction,
    plan_tiles,
)

__all__ = [
    "MANIFEST_COLUMNS",
    "TilePlan",
    "TileSet",
    "background_fraction",
    "cut_tiles",
    "empty_reason",
    "finish_manifest",
    "plan_tiles",
    "read_candidates",
]

_MAX_WORKERS = 8
_AHEAD = 4
_NOTEBOOK_TILES = 12
_NOTEBOOK_PX = 96


@dataclass(frozen=True, eq=False, repr=False)
class TileSet:
    """The tiles of one slide; images are read when asked for.

    Attributes:
        slide: The open slide.
        spec: How it was cut.
        plan: The grid.
        manifest: One row a grid tile, kept or not.
    """

    slide: Slide
    spec: TileSpec
    plan: TilePlan
    manifest: pd.DataFrame

    def __repr__(self) -> str:
        size, mpp, n = self.spec.size_px, self.spec.mpp, len(self.manifest)
        return (
            f"TileSet({self.slide.slide_id!r}: {len(self)} of {n} tiles kept, {size} px at {mpp:g} "
            "um per pixel)"
        )

    def __len__(self) -> int:
        """Return the number of kept tiles."""
        return int(self.manifest["kept"].sum())

    def image(self, i: int) -> Image:
        """Read the ``i``-th kept tile.

        Args:
            i: 0 to ``len(self)`` - 1.

        Returns:
            Shape (size_px, size_px, 3), uint8 RGB.

        Raises:
            IndexError: If there is no such tile.
            SlideError: If it cannot be read.
        """
        rows = np.flatnonzero(self.manifest["kept"].to_numpy())
        if not 0 <= i < len(rows):
            raise IndexError(f"`i` is 0 to {len(rows) - 1}. Received: i={i}")
        return self.plan.read(int(rows[i]))

    def _repr_html_(self) -> str:
        step = max(1, len(self) // _NOTEBOOK_TILES)
        shown = range(0, len(self), step)[:_NOTEBOOK_TILES]
        pictures = "".join(_html_image(self.image(i)) for i in shown)
        return (
            f"<b>{html.escape(self.slide.slide_id)}</b>: {len(self)} of {len(self.manifest)} tiles "
            f"kept, {self.spec.size_px} px at {self.plan.choice.mpp:g} µm per pixel<br>{pictures}"
        )


def _html_image(image: Image) -> str:
    buffer = io.BytesIO()
    small = PillowImage.fromarray(image)
    small.thumbnail((_NOTEBOOK_PX, _NOTEBOOK_PX))
    small.save(buffer, format="PNG")
    code = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="tile" src="data:image/png;base64,{code}"> '


def read_candidates(
    plan: TilePlan,
    *,
    workers: int | None = None,
    on_kept: Callable[[int, Image], None] | None = None,
    beat: Callable[[int], None] = lambda n: None,
) -> dict[int, float]:
    """Read and judge every candidate with several threads.

    Args:
        plan: The grid of a slide.
        workers: Reading threads; None for the number of cores, at most 8.
        on_kept: Called with row and image of each kept tile, from the reading threads.
        beat: Called with the number of tiles that were just read.

    Returns:
        Background of each candidate, by row, for ``finish_manifest``.

    Raises:
        SlideError: If a tile cannot be read; the others are not waited for.
    """

    def read(row: int) -> float:
        image = plan.read(row)
        background, kept, _ = plan.judge(image)
        if kept and on_kept is not None:
            on_kept(row, image)
        return background

    workers = workers or min(_MAX_WORKERS, usable_cores())
    backgrounds: dict[int, float] = {}
    running: dict[Future[float], int] = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="tiles") as pool:
        try:
            for row in map(int, plan.candidates):
                running[pool.submit(read, row)] = row
                # Few tiles wait at a time, so an error stops the slide soon.
                if len(running) >= workers * _AHEAD:
                    beat(_collect(running, backgrounds))
            while running:
                beat(_collect(running, backgrounds))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return backgrounds


def _collect(running: dict[Future[float], int], backgrounds: dict[int, float]) -> int:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        backgrounds[running.pop(future)] = future.result()
    return len(done)


def cut_tiles(
    slide: Slide,
    spec: TileSpec | None = None,
    *,
    annotations: Path | None = None,
    workers: int | None = None,
) -> TileSet:
    """Cut a slide into tiles.

    Args:
        slide: An open slide; it stays open, the tiles are read from it again when asked for.
        spec: How to cut; the defaults (299 px at 0.5 um per pixel) if None.
        annotations: For ``tissue="geojson"``: a file, or a folder of ``<slide_id>.geojson``.
        workers: Reading threads; None for the number of cores, at most 8.

    Returns:
        The tiles, with a manifest of all grid tiles, kept or not.

    Raises:
        SlideError: If the slide cannot be read or lacks its mpp.
        ConfigError: If ``annotations`` and ``spec.tissue`` do not fit together.
    """
    spec = spec or TileSpec()
    plan = plan_tiles(slide, spec, annotations=annotations)
    manifest = finish_manifest(plan, read_candidates(plan, workers=workers))
    return TileSet(slide, spec, plan, manifest)
