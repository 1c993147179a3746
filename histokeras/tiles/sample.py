"""Labelled tiles of a slide with drawn tumour: a seeded sample, and what a network mistook."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from histokeras.errors import TableError
from histokeras.files import sha256_text
from histokeras.runs.environment import usable_cores
from histokeras.slides.annotations import Drawing
from histokeras.slides.pyramid import LevelChoice, choose_level
from histokeras.slides.slide import Slide
from histokeras.slides.source import Image
from histokeras.slides.tissue import is_cheap, is_surely_bright, read_coarse
from histokeras.tiles.grid import TileSpec, grid_origins
from histokeras.tiles.plan import background_fraction, read_tile
from histokeras.tiles.sample_places import (
    NORMAL,
    TUMOUR,
    Floats,
    Ints,
    Places,
    SampleSpec,
    find_places,
)
from histokeras.types import LABEL

COLUMNS = ("x", "y", "size_level0_px", "mpp", LABEL, "share", "hard", "prob")
"""Of a sample: x and y of the top-left corner in level-0 pixels; share of the tile that tumour
covers, 0..1; hard: 1 for a normal tile that a network took for tumour; prob: how sure it was."""
_TOLERANCE = TileSpec().mpp_tolerance
_MOST_THREADS = 8
_AHEAD = 16
OnTile = Callable[[int, int, str, Image], None]
"""Called with x, y, label and pixels of each tile that is drawn, in turn."""


@dataclass(frozen=True)
class Sample:
    """The tiles of a slide.

    Attributes:
        table: One row a tile, by place, with ``COLUMNS``.
        places: Label -> how many places of the grid could give it, going by what was drawn.
    """

    table: pd.DataFrame
    places: dict[str, int]


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads tiles of a slide and tells glass from tissue."""

    slide: Slide
    choice: LevelChoice
    spec: SampleSpec

    def read(self, x: int, y: int) -> Image | None:
        """Return a tile; None if it is glass."""
        image = read_tile(self.slide, self.choice, self.spec.size_px, (x, y))
        return image if background_fraction(image) <= self.spec.max_background else None

    def first(self, origins: Ints, n: int, pool: ThreadPoolExecutor) -> Iterator[tuple[int, Image]]:
        """Yield number and pixels of the first n tiles, in their order, that are no glass."""
        for start in range(0, len(origins), _AHEAD):
            images = pool.map(self.read, *origins[start : start + _AHEAD].T.tolist())
            for number, image in enumerate(list(images), start=start):
                if image is not None:
                    n -= 1
                    yield number, image
                if n <= 0:
                    return


def sample_tiles(
    slide: Slide,
    spec: SampleSpec,
    tumour: Drawing,
    within: Drawing | None = None,
    *,
    suspects: pd.DataFrame | None = None,
    on_tile: OnTile = lambda x, y, label, image: None,
    workers: int | None = None,
) -> Sample:
    """Draw labelled tiles of a slide; the same seed and slide_id give the same ones.

    A tile is tumour where drawn tumour covers enough of it, normal where it covers little enough,
    and else none is drawn. Glass is left out.

    Args:
        slide: An open slide.
        spec: Which tiles.
        tumour: What was drawn as tumour, in numbers above 0; what erases in 0.
        within: Regions that the middle of a tile must lie in, likewise; None for anywhere.
        suspects: Tiles that a network predicted, ``minx miny width height`` in level-0 pixels and
            ``prob`` of tumour: of those that hold no drawn tumour the ``spec.hard`` surest ones are
            added. No two of them overlap, and none is in the sample already.
        on_tile: Called for each tile.
        workers: Reading threads; the number of cores, at most 8, if None.

    Returns:
        The sample; it may be empty.

    Raises:
        SlideError: If the slide cannot be read or lacks its mpp.
        TableError: TILE_SIZE if the suspects are tiles of another size.
    """
    choice = choose_level(
        slide.mpp, slide.level_downsamples, spec.mpp, tolerance=_TOLERANCE, name=slide.name
    )
    size0 = choice.size_level0_px(spec.size_px)
    if suspects is not None:
        suspects = suspects.sort_values("prob", ascending=False, kind="stable", ignore_index=True)
    corners = None if suspects is None else _corners(slide, suspects, size0)
    places = find_places(slide, tumour, within, size0, spec)
    origins = grid_origins(slide.dimensions, size0, max(1, round(spec.stride_um / slide.mpp)))
    labels, share = places.judge(origins)
    counts = {label: int((labels == label).sum()) for label in (TUMOUR, NORMAL)}
    labels[_surely_glass(slide, choice, origins, size0, spec)] = ""
    reader = _Reader(slide, choice, spec)
    rows: list[tuple[object, ...]] = []
    with ThreadPoolExecutor(workers or min(_MOST_THREADS, usable_cores())) as pool:
        for number, label in enumerate((TUMOUR, NORMAL)):
            rng = np.random.default_rng((spec.seed, _number(slide.slide_id), number))
            some = _order(rng.permutation(np.flatnonzero(labels == label)), share, spec)
            for place, image in reader.first(origins[some], spec.per_slide, pool):
                at = some[place]
                x, y = origins[at].tolist()
                on_tile(x, y, label, image)
                rows.append((x, y, size0, float(choice.mpp), label, share[at], 0, np.nan))
    if suspects is not None and corners is not None:
        known = {(x, y) for x, y, *_ in rows}
        for at, part, image in _mistaken(reader, places, corners, known):
            x, y = corners[at].tolist()
            on_tile(x, y, NORMAL, image)
            prob = float(suspects["prob"].iloc[at])
            rows.append((x, y, size0, float(choice.mpp), NORMAL, part, 1, prob))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return Sample(table.sort_values(["y", "x"], ignore_index=True), counts)


def _order(places: Ints, share: Floats, spec: SampleSpec) -> Ints:
    """Put as many places at the border of tumour first as are wanted of them."""
    border = places[(share[places] > 0) & (share[places] < 1)]
    first = border[: round(spec.border * spec.per_slide)]
    return np.concatenate([first, places[~np.isin(places, first)]])


def _surely_glass(
    slide: Slide, choice: LevelChoice, origins: Ints, size0: int, spec: SampleSpec
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return which tiles need not be read, as the overview shows; none where it costs too much."""
    if not is_cheap(slide, choice.downsample):
        return np.zeros(len(origins), np.bool_)
    coarse = read_coarse(slide)
    return is_surely_bright(coarse, coarse.boxes(origins, size0), spec.max_background)


def _number(slide_id: str) -> int:
    """Return a number of a slide, the same on any machine and in any order of slides."""
    return int(sha256_text(slide_id)[:12], 16)


def _corners(slide: Slide, suspects: pd.DataFrame, size0: int) -> Ints:
    """Return where the tiles of predictions lie, moved into the slide by rounding at most."""
    sides = suspects[["width", "height"]].to_numpy(np.int64)
    if len(sides) and (abs(sides - size0) > 1).any():
        um = float(sides.max() * slide.mpp)
        raise TableError(
            f"slide `{slide.slide_id}` was predicted in tiles of {um:.0f} um, and tiles of "
            f"{size0 * slide.mpp:.0f} um are drawn.",
            code="TILE_SIZE",
            hint="Give the --tile-px and --mpp of the network that predicted them.",
        )
    last = np.maximum(np.array(slide.dimensions) - size0, 0)
    corners = suspects[["minx", "miny"]].to_numpy(np.int64)
    return np.asarray(np.clip(corners, 0, last), np.int64)


def _mistaken(
    reader: _Reader, places: Places, corners: Ints, known: set[tuple[object, object]]
) -> Iterator[tuple[int, float, Image]]:
    """Yield number, share of tumour and pixels of the normal tiles that come first."""
    labels, share = places.judge(corners)
    kept: list[tuple[int, int]] = []
    # At the border of tumour a network is rightly half sure.
    for at in np.flatnonzero((labels == NORMAL) & (share == 0)).tolist():
        if len(kept) >= reader.spec.hard:
            return
        x, y = corners[at].tolist()
        if (x, y) in known or _overlaps(x, y, kept, places.size0_px):
            continue
        image = reader.read(x, y)
        if image is not None:
            kept.append((x, y))
            yield at, float(share[at]), image


def _overlaps(x: int, y: int, others: Sequence[tuple[int, int]], size: int) -> bool:
    return any(abs(x - a) < size and abs(y - b) < size for a, b in others)
