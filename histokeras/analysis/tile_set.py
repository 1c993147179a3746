"""Look at a set of ready-made tiles before anything is learned from it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.duplicates import (
    Pairs,
    alike_by_floor,
    merged,
    same_pixels,
    sampled_note,
    without_tissue,
)
from histokeras.analysis.metrics import Bools
from histokeras.errors import HistokerasError
from histokeras.features.extras import pixel_hash, tile_jpeg
from histokeras.tiles.folders import read_image
from histokeras.tiles.plan import background_fraction
from histokeras.tiles.texture import FLOOR_NAMES, stain_texture
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, TILE

COLOURS = ("mean_red", "mean_green", "mean_blue")
MEASURES = ("width", "height", *COLOURS, "background", "problem")
DUPLICATE_COLUMNS = ("how", "similarity", "tile_a", "label_a", "patient_a", "tile_b", "label_b",
                     "patient_b", "note")  # fmt: skip
_SAMPLES = 12


@dataclass(frozen=True, eq=False)
class TileSetFacts:
    """What a set of tiles holds.

    Attributes:
        tiles: One row a tile: ``tile label patient_id slide_id mpp``, ``width`` and ``height`` in
            pixels, mean red, green and blue in 0..1, ``background`` in 0..1, ``problem`` (why it
            cannot be used, "" if it can).
        classes: One row a label: ``label n share n_patients n_unreadable n_sizes``, mean colours.
        duplicates: Pairs of tiles that look the same, :data:`DUPLICATE_COLUMNS`.
        samples: Label -> a few tiles as (name, JPEG).
        note: What could not be compared, "" if nothing.
    """

    tiles: pd.DataFrame
    classes: pd.DataFrame
    duplicates: pd.DataFrame
    samples: dict[str, list[tuple[str, bytes]]]
    note: str


@dataclass(frozen=True)
class _Seen:
    facts: dict[str, Any]
    floor: Any
    hash: int


def look_at_tiles(
    table: pd.DataFrame,
    *,
    seed: int = 0,
    workers: int = 2,
    on_tile: Callable[[], object] = lambda: None,
) -> TileSetFacts:
    """Read every tile once and gather counts, sizes, colours, duplicates and samples.

    Args:
        table: Of :func:`histokeras.tiles.folders.read_tile_set`.
        seed: Of the samples.
        workers: Reading threads.
        on_tile: Called after each tile.

    Returns:
        The facts. A tile that cannot be read is listed with its problem, and counts as no tile.
    """
    seen = list(_read_all([Path(path) for path in table["path"]], workers, on_tile))
    known = table[[TILE, LABEL, PATIENT_ID, SLIDE_ID, "mpp"]].reset_index(drop=True)
    tiles = pd.concat([known, pd.DataFrame([item.facts for item in seen])], axis=1)
    good = (tiles["problem"] == "").to_numpy(np.bool_)
    duplicates, note = _duplicates(tiles, seen, good, seed)
    return TileSetFacts(tiles, _classes(tiles), duplicates, _samples(table, tiles, seed), note)


def _read_all(paths: list[Path], workers: int, on_tile: Callable[[], object]) -> Iterator[_Seen]:
    with ThreadPoolExecutor(workers) as pool:
        for seen in pool.map(_read_one, paths):
            on_tile()
            yield seen


def _read_one(path: Path) -> _Seen:
    try:
        image = read_image(path)
    except HistokerasError as error:
        blank = dict.fromkeys(MEASURES, float("nan")) | {"problem": f"{error.code}: {error}"}
        return _Seen(blank, np.zeros(len(FLOOR_NAMES), np.float32), 0)
    height, width = image.shape[:2]
    floor = stain_texture(image)
    facts: dict[str, Any] = {"width": width, "height": height}
    facts |= {name: round(float(floor[FLOOR_NAMES.index(name)]), 5) for name in COLOURS}
    facts |= {"background": round(background_fraction(image), 5), "problem": ""}
    return _Seen(facts, floor, pixel_hash(image))


def _classes(tiles: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for label, group in tiles.groupby(LABEL, sort=True):
        good = group[group["problem"] == ""]
        patients = set(group[PATIENT_ID]) - {""}
        rows.append(
            {
                LABEL: label,
                "n": len(good),
                "share": len(good) / max(int((tiles["problem"] == "").sum()), 1),
                "n_patients": len(patients),
                "n_unreadable": len(group) - len(good),
                "n_sizes": len(good[["width", "height"]].drop_duplicates()),
                **{name: float(good[name].astype(float).mean()) for name in COLOURS if len(good)},
            }
        )
    return pd.DataFrame(rows)


def _duplicates(
    tiles: pd.DataFrame, seen: list[_Seen], good: Bools, seed: int
) -> tuple[pd.DataFrame, str]:
    """Return pairs that look the same, wherever they stand."""
    floor = np.stack([item.floor for item in seen])
    hashes = np.array([item.hash for item in seen], np.uint64)
    used = np.flatnonzero(good & ~without_tissue(floor))
    same = same_pixels(hashes[used], np.arange(len(used)))
    parts = [("same pixels", Pairs(used[same.a], used[same.b], same.similarity))]
    alike, compared = alike_by_floor(floor[used], np.arange(len(used)), seed=seed)
    parts.append(("alike", Pairs(used[alike.a], used[alike.b], alike.similarity)))
    how, pairs = merged(parts)
    table = pd.DataFrame({"how": how, "similarity": pairs.similarity.round(4)})
    for end, positions in (("a", pairs.a), ("b", pairs.b)):
        for name, column in ((TILE, "tile"), (LABEL, "label"), (PATIENT_ID, "patient")):
            table[f"{column}_{end}"] = tiles[name].to_numpy(object)[positions]
    notes = [_pair_note(row) for row in table.to_dict("records")]
    table["note"] = pd.Series(notes, index=table.index, dtype=object)
    return table[list(DUPLICATE_COLUMNS)], sampled_note(compared, len(used))


def _pair_note(row: Any) -> str:
    notes = []
    if row["label_a"] != row["label_b"]:
        notes.append("two labels")
    if row["patient_a"] and row["patient_b"]:
        same = row["patient_a"] == row["patient_b"]
        notes.append("one patient" if same else "two patients")
    return ", ".join(notes)


def _samples(
    table: pd.DataFrame, tiles: pd.DataFrame, seed: int
) -> dict[str, list[tuple[str, bytes]]]:
    good = table.reset_index(drop=True)[(tiles["problem"] == "").to_numpy()]
    samples: dict[str, list[tuple[str, bytes]]] = {}
    for label, group in good.sample(frac=1, random_state=seed).groupby(LABEL, sort=True):
        few = group.head(_SAMPLES)
        samples[str(label)] = [
            (str(name), tile_jpeg(read_image(Path(path))))
            for name, path in zip(few[TILE], few["path"], strict=True)
        ]
    return samples
