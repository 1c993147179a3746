"""Extract bottleneck features: tiles stream through the network, one file a slide comes out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.data.stream import SourceEnd, Tiles, stream_tiles
from histokeras.errors import OutputError
from histokeras.features.engine import Engine
from histokeras.features.extras import NotedTiles, open_noted
from histokeras.features.known import (
    empty_path,
    feature_path,
    manifest_path,
    remove_outputs,
    stain_left,
)
from histokeras.features.plan import Plan
from histokeras.features.settings import fingerprint, stain_norm_of
from histokeras.features.sources import Source, bad_tiles
from histokeras.features.store import FeatureSet, arrays_sha256, write_features
from histokeras.features.tally import Tally
from histokeras.files import write_csv, write_json
from histokeras.runs.record import failure
from histokeras.types import SLIDE_ID, TILE

# Calls that may be under way while the next tiles are gathered: keeps a GPU busy.
_IN_FLIGHT = 2


@dataclass(frozen=True)
class Extracted:
    """What became of one source.

    Attributes:
        source: The slide or folder.
        features: Its features; None if it failed or holds no tile.
        manifest: Every tile of its grid, rejected ones too; None if it failed.
        empty: Code and message if no tile was kept.
        error: Why it failed; None if it did not.
        fingerprint: Of settings and content; empty if it failed.
    """

    source: Source
    features: FeatureSet | None
    manifest: pd.DataFrame | None
    empty: tuple[str, str] | None
    error: Exception | None
    fingerprint: str


class _Collector:
    """Gathers the kept tiles of one source into blocks for the engine."""

    def __init__(self, engine: Engine, size_px: int) -> None:
        self._engine = engine
        self._block = np.empty((engine.block, size_px, size_px, 3), np.uint8)
        self._filled = 0
        self._tickets: deque[Any] = deque()
        self._vectors: list[Any] = []
        self.background: dict[int, float] = {}

    def add(self, tiles: Tiles) -> None:
        self.background.update(zip(tiles.rows.tolist(), tiles.background.tolist(), strict=True))
        for position in np.flatnonzero(tiles.kept):
            self._block[self._filled] = tiles.images[position]
            self._filled += 1
            if self._filled == self._engine.block:
                self._flush()

    def _flush(self) -> None:
        self._tickets.append(self._engine.start(self._block[: self._filled]))
        # The engine may still be reading that block while the next one is gathered.
        self._block, self._filled = np.empty_like(self._block), 0
        while len(self._tickets) > _IN_FLIGHT:
            self._vectors.append(self._engine.finish(self._tickets.popleft()))

    def finish(self) -> Any:
        if self._filled:
            self._flush()
        while self._tickets:
            self._vectors.append(self._engine.finish(self._tickets.popleft()))
        if not self._vectors:
            return np.empty((0, self._engine.n_features), np.float32)
        return np.concatenate(self._vectors)


def extract(
    sources: Iterable[Source],
    settings: dict[str, Any],
    engine: Engine,
    *,
    batch_size: int = 64,
    workers: int = 2,
    on_tiles: Callable[[int], None] = lambda n: None,
) -> Iterator[Extracted]:
    """Extract the features of many slides, one after the other, in order.

    Args:
        sources: Slides or folders of tiles; the next is asked for when its turn comes.
        settings: :meth:`FeatureSettings.as_dict`.
        engine: The network.
        batch_size: Tiles that are read ahead together; does not change the features.
        workers: Reading threads.
        on_tiles: Called with the number of tiles that were just read.

    Yields:
        One result a source; a source that fails does not stop the others.
    """
    size_px = int(settings["tile_size_px"])
    collector = _Collector(engine, size_px)
    stain_norm = stain_norm_of(settings)
    begun: dict[int, Source] = {}

    def openers() -> Iterator[Callable[[], NotedTiles]]:
        for position, source in enumerate(sources):
            begun[position] = source
            yield partial(open_noted, source, stain_norm)

    for part in stream_tiles(openers(), size_px=size_px, batch_size=batch_size, workers=workers):
        if isinstance(part, SourceEnd):
            yield _result(begun.pop(part.source), part, collector, settings)
            collector = _Collector(engine, size_px)
        else:
            collector.add(part)
            on_tiles(len(part.rows))


def _result(
    source: Source, end: SourceEnd, collector: _Collector, settings: dict[str, Any]
) -> Extracted:
    if end.error is not None:
        return Extracted(source, None, None, None, end.error, "")
    noted: NotedTiles = end.opened
    opened = noted.tiles
    try:
        manifest = opened.manifest(collector.background)
        if noted.stain is not None:
            manifest = noted.stain.described(manifest)
        vectors = collector.finish().astype(settings["dtype"], copy=False)
        print_ = fingerprint(settings, opened.identity)
        empty = opened.empty(manifest)
        features = None if empty else _features(source, noted, manifest, vectors, settings, print_)
    except Exception as error:
        return Extracted(source, None, None, None, error, "")
    return Extracted(source, features, manifest, empty, None, print_)


def _features(
    source: Source,
    noted: NotedTiles,
    manifest: pd.DataFrame,
    vectors: Any,
    settings: dict[str, Any],
    print_: str,
) -> FeatureSet:
    kept = manifest[manifest["kept"]].reset_index(drop=True)
    rejected = manifest.loc[~manifest["kept"], "reason"].value_counts().sort_index()
    tiles = pd.DataFrame({SLIDE_ID: [source.slide_id] * len(kept)})
    for name in ("x", "y"):
        tiles[name] = kept.get(name, -1)
    if TILE in kept:
        tiles[TILE] = kept[TILE]
    provenance = {
        SLIDE_ID: source.slide_id,
        "settings": settings,
        "slide": dict(noted.tiles.facts),
        "fingerprint": print_,
        "n_tiles": len(kept),
        "rejected": {str(reason): int(n) for reason, n in rejected.items()},
    }
    if noted.stain is not None:
        provenance["stain"] = noted.stain.facts()
    attributes, extras = noted.tiles.coords_attributes(), noted.extras(manifest)
    features = FeatureSet(vectors, tiles, settings["backbone"], provenance, attributes, extras)
    provenance["arrays_sha256"] = arrays_sha256(features)
    return features


def extract_to_folder(
    plan: Plan,
    engine: Callable[[], Engine],
    *,
    batch_size: int = 64,
    workers: int = 2,
    tally: Tally | None = None,
) -> None:
    """Extract what a plan has to do in this process; write each slide's files when it is finished.

    Args:
        plan: From :func:`plan_extraction`; its outcomes and failures are completed.
        engine: Makes the network; called only if there is something to do.
        batch_size: Tiles that are read ahead together.
        workers: Reading threads.
        tally: Where to tell how it goes.

    Raises:
        OutputError: If the output folder can no longer be written to; everything stops then.
    """
    tally = tally or Tally(plan)
    if not plan.todo:
        return
    for result in extract(
        plan.todo,
        plan.settings,
        engine(),
        batch_size=batch_size,
        workers=workers,
        on_tiles=tally.tiles,
    ):
        tally.outcome(write_result(plan.folder, result))
    plan.sort()


def write_result(folder: Path, result: Extracted) -> dict[str, Any]:
    """Write the files of one source, whole or not at all.

    Args:
        folder: The output folder.
        result: What became of the source.

    Returns:
        Its outcome: ``slide``, ``outcome`` (done, empty, failed), ``tiles``, ..., and
        ``failures``, its rows of failures.csv.

    Raises:
        OutputError: If they cannot be written.
    """
    slide_id = result.source.slide_id
    if result.error is not None:
        if isinstance(result.error, OutputError):
            raise result.error
        remove_outputs(folder, slide_id)
        row = failure(slide_id, "extract", result.error)
        return {"slide": slide_id, "outcome": "failed", "tiles": 0, "failures": [row]}
    assert result.manifest is not None
    write_csv(manifest_path(folder, slide_id), result.manifest)
    if result.features is None:
        return _write_empty(folder, result)
    digest = write_features(feature_path(folder, slide_id), result.features)
    empty_path(folder, slide_id).unlink(missing_ok=True)
    outcome = {"slide": slide_id, "outcome": "done", "tiles": len(result.features)}
    outcome |= stain_left(result.features.provenance)
    return outcome | {"sha256": digest, "failures": bad_tiles(slide_id, result.manifest)}


def _write_empty(folder: Path, result: Extracted) -> dict[str, Any]:
    assert result.empty is not None
    slide_id, (code, message) = result.source.slide_id, result.empty
    reason = {
        "code": code,
        "message": message,
        "hint": "Look at `histokeras tile` and its picture; --allow-empty accepts such slides.",
    }
    feature_path(folder, slide_id).unlink(missing_ok=True)
    content = {"fingerprint": result.fingerprint, "reason": reason}
    write_json(empty_path(folder, slide_id), content)
    row = {"slide": slide_id, "stage": "tile", **reason}
    rows = [row, *bad_tiles(slide_id, result.manifest)] if result.manifest is not None else [row]
    return {"slide": slide_id, "outcome": "empty", "tiles": 0, "failures": rows}
