"""What feature files there are: their slides or tiles, how they were made. No vectors are read."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.errors import FeatureError, TableError
from histokeras.features.known import manifest_path
from histokeras.features.settings import require_same_settings
from histokeras.features.store import (
    count_tiles,
    feature_files,
    read_features,
    read_floor_names,
)
from histokeras.features.tile_mpp import MPP, one_mpp, seen_mpp
from histokeras.files import sha256_file, sha256_text
from histokeras.models.catalog import STAIN_TEXTURE
from histokeras.runs.record import read_outcomes
from histokeras.tables import read_own
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, TILE


@dataclass(frozen=True)
class FeatureIndex:
    """Feature files that were made in one way.

    Attributes:
        paths: The files.
        names: The slide (or folder of tiles) of each.
        n_tiles: Number of tiles of each.
        n_features: Length of a vector.
        settings: How they were made; empty for foreign files.
        tiles: For ready-made tiles one row a tile, in the order of the files and their rows
            (``tile``, ``slide_id``, ``patient_id``, ``label``, "" where unknown, and ``mpp`` as
            the network saw it, NaN where unknown); None for slides.
        digest: SHA-256 over the names and digests of all files.
        failed: Slides that the last ``extract-features`` could not do. An old file of such a
            slide is left out.
        floor_names: What the numbers of the floor vectors are; empty if a file has none, or the
            files have different ones.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    n_tiles: tuple[int, ...]
    n_features: int
    settings: dict[str, Any]
    tiles: pd.DataFrame | None
    digest: str
    failed: tuple[str, ...]
    floor_names: tuple[str, ...] = ()

    @property
    def has_floor(self) -> bool:
        """Whether all tiles have a colour-and-texture vector and a hash of their pixels."""
        return bool(self.floor_names)

    @property
    def is_floor(self) -> bool:
        """Whether the features are colour and texture themselves, without a network."""
        return self.settings.get("backbone") == STAIN_TEXTURE.name

    @property
    def tiles_mpp(self) -> float | None:
        """At which resolution the network saw all ready-made tiles; None if that is not known."""
        return None if self.tiles is None else one_mpp(self.tiles[MPP])

    def units(self) -> pd.DataFrame:
        """Return what labels are joined to: one row a slide, or a tile for ready-made tiles."""
        if self.tiles is not None:
            return self.tiles[[TILE, SLIDE_ID, PATIENT_ID]]
        return pd.DataFrame({SLIDE_ID: list(self.names)})

    def own_labels(self) -> pd.DataFrame:
        """Return the labels that the ready-made tiles came with.

        Raises:
            TableError: If there are none.
        """
        return own_labels(self.tiles)


def own_labels(tiles: pd.DataFrame | None) -> pd.DataFrame:
    """Return the labels that ready-made tiles came with.

    Args:
        tiles: One row a tile: ``tile``, ``slide_id``, ``patient_id``, ``label``, "" where unknown;
            None for slides.

    Raises:
        TableError: If there are none.
    """
    if tiles is None or not (tiles[LABEL] != "").any():
        raise TableError(
            "these tiles carry no labels." if tiles is not None else "slides carry no labels.",
            code="LABELS_MISSING",
            hint="Give --labels with a patient_id, slide_id or tile column.",
        )
    used = [TILE, LABEL]
    used += [name for name in (PATIENT_ID, SLIDE_ID) if (tiles[name] != "").any()]
    return tiles[used]


def index_features(folder: Path, *, only: Collection[str] | None = None) -> FeatureIndex:
    """List the feature files of a folder and check that they belong together.

    Args:
        folder: What ``extract-features -o`` was given, a folder of ``.h5`` files, or one file.
        only: The slides to take; all if None.

    Returns:
        The index; files without tiles are left out.

    Raises:
        FeatureError: If there are none, or they were made in different ways (CONFIG_MISMATCH) or
            have different lengths (DIM_MISMATCH).
        TableError: If two files hold the same slide or the same tile.
    """
    paths, names, counts, tables, digests = [], [], [], [], []
    settings: dict[str, Any] | None = None
    outcomes = read_outcomes(folder) if folder.is_dir() else {}
    failed = tuple(sorted(name for name, outcome in outcomes.items() if outcome == "failed"))
    widths: dict[int, str] = {}
    floors: set[tuple[str, ...]] = set()
    for path in feature_files(folder):
        n, width = count_tiles(path)
        if not n:
            continue
        features = read_features(path, vectors=False)
        name = features.slide_id
        if name in failed or (only is not None and name not in only):
            continue
        if settings is None:
            settings = features.settings
        require_same_settings(
            features.settings,
            settings,
            where=f"{path.name} was",
            hint="Extract all slides into one folder with the same options.",
        )
        widths[width] = path.name
        floors.add(read_floor_names(path))
        paths.append(path)
        names.append(name)
        counts.append(n)
        digests.append(features.provenance.get("arrays_sha256") or sha256_file(path))
        if TILE in features.tiles:
            tables.append(_tile_table(folder, name, features.tiles[TILE]))
    if settings is None:
        raise FeatureError(f"no feature file in {folder} holds a tile.", code="FEATURES_MISSING")
    _require_once(names, "slide", "DUPLICATE_SLIDE_ID")
    return FeatureIndex(
        tuple(paths), tuple(names), tuple(counts), _one_width(widths), settings,
        _all_or_none(tables, len(paths)),
        sha256_text("\n".join(f"{name} {sha}" for name, sha in zip(names, digests, strict=True))),
        failed, floors.pop() if len(floors) == 1 else (),
    )  # fmt: skip


def _one_width(widths: dict[int, str]) -> int:
    if len(widths) > 1:
        found = ", ".join(f"{width} in {name}" for width, name in widths.items())
        raise FeatureError(f"feature vectors differ in length: {found}.", code="DIM_MISMATCH")
    return next(iter(widths))


def _all_or_none(tables: Sequence[pd.DataFrame], n_files: int) -> pd.DataFrame | None:
    if not tables:
        return None
    if len(tables) != n_files:
        raise FeatureError(
            "features of slides and of ready-made tiles lie in one folder.",
            code="CONFIG_MISMATCH",
            hint="Extract them into two folders.",
        )
    table = pd.concat(tables, ignore_index=True)
    _require_once(table[TILE].tolist(), "tile", "DUPLICATE_TILE")
    return table


def _require_once(names: Sequence[str], kind: str, code: str) -> None:
    twice = sorted(name for name, n in Counter(names).items() if n > 1)
    if twice:
        raise TableError(
            f"{len(twice)} {kind}(s) stand in two feature files, first {twice[0]!r}.",
            code=code,
            hint="Extract them anew into an empty folder.",
        )


def _tile_table(folder: Path, slide_id: str, tiles: pd.Series) -> pd.DataFrame:
    """Return the rows of the manifest of ready-made tiles, in the order of their vectors."""
    table, unknown = pd.DataFrame({TILE: tiles}), float("nan")
    path = manifest_path(folder, slide_id)
    if path.is_file():
        manifest = read_own(path, dtype=str, keep_default_na=False)
        said = manifest[[TILE, SLIDE_ID, PATIENT_ID, LABEL]].assign(**{MPP: seen_mpp(manifest)})
        table = table.merge(said, on=TILE, how="left", validate="1:1")
    for name in (SLIDE_ID, PATIENT_ID, LABEL):
        table[name] = table[name].fillna("") if name in table else ""
    return table if MPP in table else table.assign(**{MPP: unknown})
