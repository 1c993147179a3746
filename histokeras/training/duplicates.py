"""Look for tiles and slides that occur under two patients or on two sides of the split."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.duplicates import (
    COMPONENTS,
    LEAST_TILES,
    MOST_TILES,
    Pairs,
    alike_by_features,
    alike_by_floor,
    merged,
    same_pixels,
    sampled_note,
    without_tissue,
)
from histokeras.features.index import FeatureIndex
from histokeras.features.store import read_extras, read_features
from histokeras.training.references import read_floor
from histokeras.training.rows import TileRows
from histokeras.types import FOLD, PATIENT_ID, SLIDE_ID, SPLIT, TILE

COLUMNS = ("kind", "how", "similarity", "across", "slide_a", "tile_a", "x_a", "y_a", "patient_a",
           "split_a", "slide_b", "tile_b", "x_b", "y_b", "patient_b", "split_b")  # fmt: skip
_SAME, _ALIKE = "same pixels", "alike"
_SLIDE_SHARE = 0.5


@dataclass(frozen=True)
class Duplicates:
    """What occurs twice.

    Attributes:
        table: One row a pair, :data:`COLUMNS`; slides first, then tiles, the most similar first.
        note: What could not be compared, in words; "" if nothing.
    """

    table: pd.DataFrame
    note: str

    def facts(self) -> dict[str, Any]:
        """Return the numbers for run.json."""
        across = self.table["across"].astype(str)
        return {
            "n": len(self.table),
            "n_slides": int((self.table["kind"] == "slide").sum()),
            "across_patients": int(across.str.contains("patients").sum()),
            "across_sides": int(across.str.contains("sides").sum()),
            "note": self.note,
        }


def find_duplicates(
    index: FeatureIndex, rows: TileRows, *, patient_safe: bool = True, seed: int = 0
) -> Duplicates:
    """Compare all tiles by their pixels, and by their features, across patients and sides.

    Args:
        index: The feature files.
        rows: The tiles that are used, with patient and side; with folds, ``units`` has ``fold``.
        patient_safe: Whether the patients are known; if not, only sides count.
        seed: Of the tiles that are compared by feature where there are very many.

    Returns:
        The pairs. A slide is listed where at least half of its tiles stand in one other slide.
    """
    units = rows.units
    side = units[FOLD].astype(str) if FOLD in units else units[SPLIT].astype(str)
    patient = units[PATIENT_ID].astype(str) if patient_safe else pd.Series("", index=units.index)
    groups = pd.factorize(patient + "\n" + side)[0][rows.unit]
    compare = _by_floor if index.has_floor else _by_features
    parts, note = compare(index, rows, groups, seed)
    return Duplicates(_table(index, rows, patient, side, parts), note)


Found = tuple[list[tuple[str, Pairs]], str]


def _by_floor(index: FeatureIndex, rows: TileRows, groups: Any, seed: int) -> Found:
    hashes, flat = _pixels(index, rows)
    used = np.flatnonzero(~flat)
    same = same_pixels(hashes[used], groups[used])
    alike, compared = alike_by_floor(read_floor(index, rows.where(~flat)), groups[used], seed=seed)
    note = sampled_note(compared, len(used))
    return [(_SAME, _at(same, used)), (_ALIKE, _at(alike, used))], note


def _by_features(index: FeatureIndex, rows: TileRows, groups: Any, seed: int) -> Found:
    note = "not compared by pixels, of which these features carry no hash"
    if len(rows) < LEAST_TILES or index.n_features < COMPONENTS:
        return [], f"{note}; not by feature either: fewer than {LEAST_TILES} tiles, or short ones"
    used = np.random.default_rng(seed).permutation(len(rows))[:MOST_TILES]
    used.sort()
    vectors = _vectors(index, rows.where(np.isin(np.arange(len(rows)), used)))
    parts = [(_ALIKE, _at(alike_by_features(vectors, groups[used]), used))]
    sampled = sampled_note(len(used), len(rows))
    return parts, "; ".join(filter(None, [note, sampled]))


def _pixels(index: FeatureIndex, rows: TileRows) -> tuple[Any, Any]:
    """Return the hash of each tile's pixels, and which tiles are of one colour only."""
    hashes = np.empty(len(rows), np.uint64)
    flat = np.empty(len(rows), np.bool_)
    for file, part in rows.of_files():
        extras = read_extras(index.paths[file])
        assert extras is not None
        mine = rows.row[part]
        hashes[part] = extras.pixel_hash[mine]
        flat[part] = without_tissue(extras.floor[mine])
    return hashes, flat


def _vectors(index: FeatureIndex, rows: TileRows) -> Any:
    parts = [
        read_features(index.paths[file], verify=False).vectors[rows.row[part]]
        for file, part in rows.of_files()
    ]
    return np.concatenate(parts)


def _at(pairs: Pairs, positions: Any) -> Pairs:
    return Pairs(positions[pairs.a], positions[pairs.b], pairs.similarity)


def _table(
    index: FeatureIndex,
    rows: TileRows,
    patient: pd.Series,
    side: pd.Series,
    parts: list[tuple[str, Pairs]],
) -> pd.DataFrame:
    how, pairs = merged(parts)
    tiles = pd.DataFrame({"kind": "tile", "how": how, "similarity": pairs.similarity.round(4)})
    for end, positions in (("a", pairs.a), ("b", pairs.b)):
        described = _described(index, rows, patient, side, positions)
        for name, values in described.items():
            tiles[f"{name}_{end}"] = values
    other_patient = tiles["patient_a"] != tiles["patient_b"]
    other_side = tiles["split_a"] != tiles["split_b"]
    tiles["across"] = np.select(
        [other_patient & other_side, other_patient], ["patients and sides", "patients"], "sides"
    )
    slides = _slides(index, tiles) if index.tiles is None else tiles.iloc[:0]
    return pd.concat([slides, tiles], ignore_index=True)[list(COLUMNS)]


def _described(
    index: FeatureIndex, rows: TileRows, patient: pd.Series, side: pd.Series, positions: Any
) -> dict[str, Any]:
    unit = rows.unit[positions]
    units = rows.units
    x = y = tile = np.full(len(positions), "", dtype=object)
    if TILE in units:
        tile = units[TILE].to_numpy(object)[unit]
    else:
        x, y = x.copy(), y.copy()
        file, row = rows.file[positions], rows.row[positions]
        for number in np.unique(file).tolist():
            coords = read_features(index.paths[number], vectors=False).tiles
            mine = file == number
            x[mine] = coords["x"].to_numpy()[row[mine]]
            y[mine] = coords["y"].to_numpy()[row[mine]]
    return {
        "slide": units[SLIDE_ID].to_numpy(object)[unit],
        "tile": tile,
        "x": x,
        "y": y,
        "patient": patient.to_numpy(object)[unit],
        "split": side.to_numpy(object)[unit],
    }


def _slides(index: FeatureIndex, tiles: pd.DataFrame) -> pd.DataFrame:
    """Return pairs of slides that share at least half of the tiles of the smaller one."""
    sizes: dict[Any, int] = dict(zip(index.names, index.n_tiles, strict=True))
    found = []
    for (a, b), part in tiles.groupby(["slide_a", "slide_b"], sort=True):
        if a != b and len(part) >= _SLIDE_SHARE * min(sizes[a], sizes[b]):
            same = (part["how"] == _SAME).mean() >= _SLIDE_SHARE
            row = part.iloc[0].to_dict() | {"kind": "slide", "how": _SAME if same else _ALIKE}
            row |= dict.fromkeys(("tile_a", "x_a", "y_a", "tile_b", "x_b", "y_b"), "")
            found.append(row | {"similarity": round(float(part["similarity"].mean()), 4)})
    return pd.DataFrame(found, columns=tiles.columns)
