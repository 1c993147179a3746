"""Read the tiles behind feature vectors again: what fine-tuning learns from."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from histokeras.errors import FeatureError, SlideError
from histokeras.features.index import FeatureIndex
from histokeras.features.known import manifest_path
from histokeras.features.sources import OpenTiles, Source
from histokeras.features.stained import StainChange, estimate_stain
from histokeras.slides.source import Image
from histokeras.tables import read_own

_Opened = tuple[OpenTiles, StainChange | None]
MAX_OPEN = 32
"""Slides that are open at a time."""


class TilePixels:
    """Reads kept tiles by the number of their feature file and their row in it.

    Slides are opened when their first tile is asked for, and closed when ``MAX_OPEN`` others have
    been asked for since. Several threads may read.

    Args:
        index: The feature files.
        sources: What they were extracted from, in any order.

    Raises:
        FeatureError: If a feature file has no source, or the manifest does not fit it.
    """

    def __init__(self, index: FeatureIndex, sources: Sequence[Source]) -> None:
        known: Mapping[str, Source] = {source.slide_id: source for source in sources}
        missing = [name for name in index.names if name not in known]
        if missing:
            raise FeatureError(
                f"features of {missing[0]}, but no such slide is here.",
                code="SLIDE_MISSING",
                hint="Give the slides or tiles that the features were extracted from.",
            )
        self._stain_norm = str(index.settings.get("stain_norm", "none"))
        self._sources = [known[name] for name in index.names]
        self._kept = [_kept_rows(index, number, n) for number, n in enumerate(index.n_tiles)]
        self._open: OrderedDict[int, _Opened] = OrderedDict()
        self._readers: dict[int, int] = {}
        self._lock = threading.Condition()

    def read(self, file: int, row: int) -> Image:
        """Read one tile.

        Args:
            file: Number of its feature file in the index.
            row: Its row there.

        Returns:
            Shape (size_px, size_px, 3), uint8 RGB, the pixels that were extracted.

        Raises:
            SlideError: If it cannot be read, or has changed since features were extracted.
        """
        tiles, stain = self._borrow(file)
        number = int(self._kept[file][row])
        try:
            image, _, kept = tiles.read(number)
            if kept and stain is not None:
                image = stain.change(number, image)
        finally:
            self._give_back(file)
        if not kept:
            # It was kept when features were extracted; a black one must not be learned from.
            raise SlideError(
                f"tile {number} of {self._sources[file].slide_id} is no longer what it was when "
                "features were extracted.",
                code="SLIDE_CHANGED",
                hint="Give the command again with --overwrite.",
            )
        return image

    def close(self) -> None:
        """Close all slides, once nobody reads."""
        with self._lock:
            self._lock.wait_for(lambda: not self._readers, timeout=30)
            for tiles, _ in self._open.values():
                tiles.close()
            self._open.clear()

    def _borrow(self, file: int) -> _Opened:
        with self._lock:
            self._readers[file] = self._readers.get(file, 0) + 1
            if file in self._open:
                self._open.move_to_end(file)
                return self._open[file]
        opened = self._opened(file)
        with self._lock:
            if file in self._open:
                # Another thread was faster.
                opened[0].close()
            else:
                self._open[file] = opened
                self._close_idle()
            return self._open[file]

    def _opened(self, file: int) -> _Opened:
        tiles = None
        try:
            tiles = self._sources[file].open()
            return tiles, estimate_stain(tiles, self._stain_norm)
        except BaseException:
            if tiles is not None:
                tiles.close()
            self._give_back(file)
            raise

    def _give_back(self, file: int) -> None:
        with self._lock:
            self._readers[file] -= 1
            if not self._readers[file]:
                del self._readers[file]
            self._lock.notify_all()

    def _close_idle(self) -> None:
        # Never one that is being read: closing under a reader can crash.
        idle = [file for file in self._open if file not in self._readers]
        for file in idle[: max(0, len(self._open) - MAX_OPEN)]:
            self._open.pop(file)[0].close()


def _kept_rows(index: FeatureIndex, number: int, n_tiles: int) -> npt.NDArray[np.int64]:
    """Return the row in the manifest of each row of a feature file."""
    path = manifest_path(index.paths[number].parents[1], index.names[number])
    try:
        kept = read_own(path, usecols=["kept"])["kept"].astype(bool)
    except (OSError, ValueError) as error:
        raise FeatureError(
            f"the tile manifest {path.name} cannot be read.",
            code="MANIFEST_DAMAGED",
            hint="Extract the features again.",
        ) from error
    rows = np.flatnonzero(kept.to_numpy())
    if len(rows) != n_tiles:
        raise FeatureError(
            f"{path.name} keeps {len(rows)} tiles, the features hold {n_tiles}.",
            code="MANIFEST_DAMAGED",
            hint="Extract the features again.",
        )
    return rows
