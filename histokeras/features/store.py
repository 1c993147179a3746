"""The feature file: one HDF5 a slide, in TRIDENT's and CLAM's layout, that proves itself."""

from __future__ import annotations

import hashlib
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.errors import FeatureError
from histokeras.features.extras import TileExtras
from histokeras.features.extras_file import (
    floor_names,
    read_extras_open,
    update_digest,
    write_extras,
)
from histokeras.features.h5 import matrix, open_h5, places, texts
from histokeras.features.seal import BLOCK_BYTES, damaged, require_unbroken, seal
from histokeras.files import canonical_json, original_name, write_bytes
from histokeras.foreign.text import MAX_JSON_BYTES, parse_json
from histokeras.types import SLIDE_ID, TILE

SCHEMA = 1
FEATURES: Final = "features"
_CHUNK_ROWS = 256


@dataclass(frozen=True, repr=False)
class FeatureSet:
    """Bottleneck features of the tiles of one slide or folder.

    Attributes:
        vectors: Array of shape ``(n_tiles, n_features)``, float32 (float16 by option).
        tiles: One row a tile, row ``i`` describes ``vectors[i]``: ``slide_id``, ``x``, ``y`` in
            level-0 pixels (-1 for ready-made tiles, which have ``tile``, their name, instead).
        backbone: Name of the network that made them.
        provenance: How they were made, as it stands in the feature file; empty for foreign files.
        coords_attributes: Attributes of ``coords`` for TRIDENT and CLAM.
        extras: Colour and texture, hashes and pictures of the same tiles; None in files that lack
            them: foreign ones, older ones, and those read without vectors.
    """

    vectors: npt.NDArray[Any]
    tiles: pd.DataFrame
    backbone: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    coords_attributes: Mapping[str, Any] = field(default_factory=dict)
    extras: TileExtras | None = None

    def __post_init__(self) -> None:
        if len(self.vectors) != len(self.tiles):
            raise ValueError(
                f"{len(self.vectors)} vectors but {len(self.tiles)} tiles. "
                "Row i of both must describe the same tile."
            )
        if self.extras is not None and len(self.extras) != len(self.tiles):
            raise ValueError(
                f"`extras` must describe the same {len(self.tiles)} tiles. "
                f"Received: {len(self.extras)}"
            )

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def slide_id(self) -> str:
        """The slide (or folder of tiles) that they belong to."""
        return str(self.provenance.get(SLIDE_ID) or self.tiles[SLIDE_ID].iloc[0])

    @property
    def settings(self) -> dict[str, Any]:
        """Backbone, weights, tile spec and the like; of foreign files only the backbone's name."""
        return dict(self.provenance.get("settings") or {"backbone": self.backbone})

    def __repr__(self) -> str:
        n, width = self.vectors.shape
        return f"FeatureSet({self.slide_id!r}: {n} tiles x {width} features, {self.backbone})"

    def _repr_html_(self) -> str:
        n, width = self.vectors.shape
        name = html.escape(self.backbone)
        return f"<b>{n} tiles x {width} features</b> ({name}){self.tiles.head().to_html()}"


def arrays_sha256(features: FeatureSet) -> str:
    """Return the SHA-256 over vectors, coordinates, names and extras: the digest of the file."""
    digest = hashlib.sha256()
    for array in (features.vectors, _coords(features)):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    for name in features.tiles.get(TILE, pd.Series(dtype=str)):
        digest.update(str(name).encode() + b"\n")
    if features.extras is not None:
        update_digest(digest, features.extras)
    return digest.hexdigest()


def _coords(features: FeatureSet) -> npt.NDArray[np.int64]:
    return features.tiles[["x", "y"]].to_numpy(np.int64)


def write_features(path: Path, features: FeatureSet) -> str:
    """Write a feature file, whole or not at all.

    Args:
        path: ``features/<slide_id>.h5``.
        features: Vectors, tiles and provenance.

    Returns:
        The digest of its arrays.

    Raises:
        FeatureError: If a vector is not finite (code FEATURES_NOT_FINITE).
        OutputError: If it cannot be written.
    """
    require_finite(features)
    digest = arrays_sha256(features)
    # Built in memory: HDF5 written straight to a disk that fills up crashes the process, or leaves
    # a file that opens and holds wrong rows.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=BLOCK_BYTES) as file:
        _write_open(file, features)
        file.attrs["sha256"] = digest
    seal(buffer.getbuffer())
    write_bytes(path, buffer.getbuffer())
    return digest


def require_finite(features: FeatureSet, name: str = "") -> None:
    """Raise FEATURES_NOT_FINITE if a vector or a number of the floor is not finite.

    Args:
        features: The features.
        name: Of the file that they come from; "" if they were just made.
    """
    if features.extras is not None and not np.isfinite(features.extras.floor).all():
        raise FeatureError(
            "colour and texture of a tile are not finite.", code="FEATURES_NOT_FINITE"
        )
    if not np.isfinite(features.vectors).all():
        raise FeatureError(
            f"{name} holds values that are not finite."
            if name
            else "the network returned values that are not finite.",
            code="FEATURES_NOT_FINITE",
            hint="Check the weights; with --mixed-precision try without it.",
        )


def _write_open(file: h5py.File, features: FeatureSet) -> None:
    rows = min(_CHUNK_ROWS, max(1, len(features)))
    vectors = features.vectors
    dataset = file.create_dataset(
        "features",
        data=vectors,
        chunks=(rows, vectors.shape[1]),
        maxshape=(None, vectors.shape[1]),
    )
    dataset.attrs["name"] = features.slide_id
    dataset.attrs["encoder"] = features.backbone
    dataset.attrs["savetodir"] = ""
    coords = file.create_dataset("coords", data=_coords(features))
    for name, value in features.coords_attributes.items():
        coords.attrs[name] = value
    if TILE in features.tiles:
        text = h5py.string_dtype("utf-8")
        file.create_dataset(TILE, data=features.tiles[TILE].to_numpy(object), dtype=text)
    file.attrs["histokeras"] = canonical_json({"schema": SCHEMA, **features.provenance})
    if features.extras is not None:
        write_extras(file, features.extras)


def feature_files(folder: Path) -> list[Path]:
    """List the feature files of a folder, sorted by name.

    Args:
        folder: What ``extract-features -o`` was given, or any folder of ``.h5`` files, or one file.

    Raises:
        FeatureError: If there are none.
    """
    if folder.is_file():
        return [folder]
    inner = folder / "features"
    files = sorted((inner if inner.is_dir() else folder).glob("*.h5"))
    files = [path for path in files if not path.name.startswith(".")]
    if not files:
        raise FeatureError(
            f"no feature files (.h5) in {folder}.",
            code="FEATURES_MISSING",
            hint="Name the folder that `histokeras extract-features -o` wrote.",
        )
    return files


def read_provenance(path: Path) -> dict[str, Any]:
    """Return the provenance of a feature file without its arrays; empty for foreign files."""
    with open_h5(path) as file:
        return _provenance(file, path)


def _provenance(file: h5py.File, path: Path) -> dict[str, Any]:
    text = file.attrs.get("histokeras")
    if text is None:
        return {}
    try:
        if not isinstance(text, str) or len(text) > MAX_JSON_BYTES:
            raise ValueError("it is no text, or too long")
        provenance = parse_json(text)
        _require_sound(provenance)
    except ValueError as error:
        raise FeatureError(
            f"{path.name} has a damaged record: {error}.", code="VERIFY_FAILED"
        ) from error
    if provenance.get("schema") != SCHEMA:
        raise FeatureError(
            f"{path.name} was written by another version of histokeras.", code="SCHEMA"
        )
    return provenance


def _require_sound(provenance: Any) -> None:
    """Raise ValueError if a record is none, or names a slide by what is no name."""
    if not isinstance(provenance, dict):
        raise ValueError("it is no record")
    slide_id, settings = provenance.get(SLIDE_ID, ""), provenance.get("settings", {})
    if not isinstance(slide_id, str) or not isinstance(settings, dict):
        raise ValueError("it names no slide")
    # Half a surrogate cannot be written in a file name, nor in a table.
    slide_id.encode("utf-8", "surrogateescape")


def count_tiles(path: Path) -> tuple[int, int]:
    """Return the number of tiles and of features of a file without reading its arrays."""
    with open_h5(path) as file:
        n, width = matrix(file, FEATURES, path).shape
        return int(n), int(width)


def read_rows(
    path: Path, start: int, stop: int, *, name: Literal["features", "floor"] = FEATURES
) -> npt.NDArray[Any]:
    """Return the vectors of rows ``start`` to ``stop`` as they are stored.

    Args:
        path: The ``.h5`` file.
        start: First row.
        stop: Row after the last one.
        name: Whether features or the numbers of the floor are wanted.

    Raises:
        FeatureError: If the file lacks them or cannot be read.
    """
    with open_h5(path) as file:
        rows: npt.NDArray[Any] = matrix(file, name, path)[start:stop]
        return rows


def read_extras(path: Path) -> TileExtras | None:
    """Return colour and texture, hashes and pictures of a file's tiles without its vectors.

    They are not compared with the file's checksum, which :func:`read_features` does.

    Args:
        path: The ``.h5`` file.

    Returns:
        The extras, None if the file has none: a foreign or an older one.

    Raises:
        FeatureError: If the file is damaged (VERIFY_FAILED) or reaches outside itself (H5_UNSAFE).
    """
    with open_h5(path) as file:
        n_tiles = len(matrix(file, FEATURES, path))
        return read_extras_open(file, path, n_tiles) if _provenance(file, path) else None


def read_floor_names(path: Path) -> tuple[str, ...]:
    """Return what the columns of a file's ``floor`` are; empty if it has none."""
    with open_h5(path) as file:
        return floor_names(file, path) if _provenance(file, path) else ()


def read_features(path: str | Path, *, verify: bool = True, vectors: bool = True) -> FeatureSet:
    """Read a feature file of histokeras, TRIDENT, CLAM or STAMP.

    Args:
        path: The ``.h5`` file.
        verify: Whether to recompute the digests of our own files (foreign files carry none).
        vectors: Whether to read vectors and extras; without them ``vectors`` has no columns,
            ``extras`` is None, and nothing can be verified.

    Returns:
        The features. Of foreign files the provenance is empty and the backbone ``unknown`` unless
        TRIDENT's ``encoder`` or STAMP's ``extractor`` names it. STAMP's coordinates are
        micrometres: its tiles have no place in pixels, -1.

    Raises:
        FeatureError: If the file is damaged (VERIFY_FAILED) or reaches outside itself (H5_UNSAFE).
    """
    path = Path(path)
    whole = verify and vectors and require_unbroken(path)
    with open_h5(path) as file:
        features = _read_open(file, path, vectors=vectors)
        stored, has_block = file.attrs.get("sha256"), file.userblock_size > 0
    if not (verify and vectors and features.provenance):
        return features
    # A block without our mark is a seal whose mark itself was hit.
    if (has_block and not whole) or stored != arrays_sha256(features):
        raise damaged(path)
    return features


def _read_open(file: h5py.File, path: Path, *, vectors: bool) -> FeatureSet:
    dataset = matrix(file, FEATURES, path)
    n = dataset.shape[0]
    values = dataset[()] if vectors else np.empty((n, 0), np.float32)
    provenance = _provenance(file, path)
    slide_id = provenance.get(SLIDE_ID) or original_name(path.stem)
    coords, attributes = places(file, path, n)
    tiles = pd.DataFrame({SLIDE_ID: slide_id, "x": coords[:, 0], "y": coords[:, 1]})
    if TILE in file:
        tiles[TILE] = texts(file, TILE, path, n)
    backbone = provenance.get("settings", {}).get("backbone") or str(
        dataset.attrs.get("encoder", file.attrs.get("extractor", "unknown"))
    )
    extras = read_extras_open(file, path, n) if vectors and provenance else None
    return FeatureSet(values, tiles, backbone, provenance, attributes, extras)
