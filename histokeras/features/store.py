"""The feature file: one HDF5 a slide, in TRIDENT's and CLAM's layout, that proves itself."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.errors import FeatureError
from histokeras.files import canonical_json, original_name, write_bytes
from histokeras.types import SLIDE_ID, TILE

SCHEMA = 1
_CHUNK_ROWS = 256
_MAX_TILES = 5_000_000
_MAX_FEATURES = 16_384


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
    """

    vectors: npt.NDArray[Any]
    tiles: pd.DataFrame
    backbone: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    coords_attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.vectors) != len(self.tiles):
            raise ValueError(
                f"{len(self.vectors)} vectors but {len(self.tiles)} tiles. "
                "Row i of both must describe the same tile."
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
        return f"<b>{n} tiles x {width} features</b> ({self.backbone}){self.tiles.head().to_html()}"


def arrays_sha256(features: FeatureSet) -> str:
    """Return the SHA-256 over vectors, coordinates and tile names: the digest of the file."""
    digest = hashlib.sha256()
    for array in (features.vectors, _coords(features)):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    for name in features.tiles.get(TILE, pd.Series(dtype=str)):
        digest.update(str(name).encode() + b"\n")
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
    if not np.isfinite(features.vectors).all():
        raise FeatureError(
            "the network returned values that are not finite.",
            code="FEATURES_NOT_FINITE",
            hint="Check the weights; with --mixed-precision try without it.",
        )
    digest = arrays_sha256(features)
    # Built in memory: HDF5 written straight to a disk that fills up crashes the process, or leaves
    # a file that opens and holds wrong rows.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
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
        file.attrs["sha256"] = digest
    write_bytes(path, buffer.getbuffer())
    return digest


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


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise FeatureError(f"no feature file {path}.", code="FEATURES_MISSING") from error
        raise FeatureError(f"{path.name} does not open: {error}", code="VERIFY_FAILED") from error


def _plain_dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """Return a dataset that lies in this very file; links and virtual data could read others."""
    link = file.get(name, getlink=True)
    if link is None:
        raise FeatureError(f"{path.name} has no `{name}`.", code="VERIFY_FAILED")
    if not isinstance(link, h5py.HardLink):
        raise FeatureError(f"`{name}` in {path.name} is a link to elsewhere.", code="H5_UNSAFE")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise FeatureError(f"`{name}` in {path.name} is stored elsewhere.", code="H5_UNSAFE")
    return dataset


def _vectors(file: h5py.File, path: Path) -> h5py.Dataset:
    dataset = _plain_dataset(file, "features", path)
    if dataset.ndim != 2 or dataset.dtype not in (np.float32, np.float16):
        raise FeatureError(
            f"`features` in {path.name} must be 2-dimensional float32 or float16. "
            f"Received: shape={dataset.shape}, dtype={dataset.dtype}",
            code="VERIFY_FAILED",
        )
    n, width = dataset.shape
    if n > _MAX_TILES or width > _MAX_FEATURES or n * width * 2 > 200 * path.stat().st_size:
        raise FeatureError(
            f"`features` in {path.name} declares {n} x {width} values, more than the file holds.",
            code="H5_UNSAFE",
        )
    return dataset


def read_provenance(path: Path) -> dict[str, Any]:
    """Return the provenance of a feature file without its arrays; empty for foreign files."""
    with _open(path) as file:
        return _provenance(file, path)


def _provenance(file: h5py.File, path: Path) -> dict[str, Any]:
    text = file.attrs.get("histokeras")
    if text is None:
        return {}
    try:
        provenance = json.loads(text)
    except (ValueError, TypeError) as error:
        raise FeatureError(f"{path.name} has a damaged record.", code="VERIFY_FAILED") from error
    if not isinstance(provenance, dict) or provenance.get("schema") != SCHEMA:
        raise FeatureError(
            f"{path.name} was written by another version of histokeras.", code="SCHEMA"
        )
    return provenance


def count_tiles(path: Path) -> tuple[int, int]:
    """Return the number of tiles and of features of a file without reading its arrays."""
    with _open(path) as file:
        n, width = _vectors(file, path).shape
        return int(n), int(width)


def read_rows(path: Path, start: int, stop: int) -> npt.NDArray[Any]:
    """Return the vectors of rows ``start`` to ``stop`` as they are stored."""
    with _open(path) as file:
        rows: npt.NDArray[Any] = _vectors(file, path)[start:stop]
        return rows


def read_features(path: Path, *, verify: bool = True, vectors: bool = True) -> FeatureSet:
    """Read a feature file of histokeras, TRIDENT or CLAM.

    Args:
        path: The ``.h5`` file.
        verify: Whether to recompute the digest of our own files (foreign files carry none).
        vectors: Whether to read the vectors; without them ``vectors`` has no columns, and nothing
            can be verified.

    Returns:
        The features. Of foreign files the provenance is empty and the backbone ``unknown`` unless
        TRIDENT's ``encoder`` names it.

    Raises:
        FeatureError: If the file is damaged (VERIFY_FAILED) or reaches outside itself (H5_UNSAFE).
    """
    with _open(path) as file:
        try:
            features = _read_open(file, path, vectors=vectors)
        except OSError as error:
            raise FeatureError(
                f"{path.name} cannot be read: {error}", code="VERIFY_FAILED"
            ) from error
        stored = file.attrs.get("sha256")
    if verify and vectors and features.provenance and stored != arrays_sha256(features):
        raise FeatureError(
            f"{path.name} is damaged: its arrays do not match its SHA-256.",
            code="VERIFY_FAILED",
            hint="Run extract-features again: it computes damaged files anew.",
        )
    return features


def _read_open(file: h5py.File, path: Path, *, vectors: bool) -> FeatureSet:
    dataset = _vectors(file, path)
    n = dataset.shape[0]
    values = dataset[()] if vectors else np.empty((n, 0), np.float32)
    provenance = _provenance(file, path)
    slide_id = provenance.get(SLIDE_ID) or original_name(path.stem)
    coords, attributes = np.full((n, 2), -1, np.int64), {}
    if "coords" in file:
        stored = _plain_dataset(file, "coords", path)
        if stored.shape != (n, 2):
            raise FeatureError(
                f"{path.name} has {n} vectors but `coords` of shape {stored.shape}.",
                code="VERIFY_FAILED",
            )
        coords = stored[()].astype(np.int64)
        attributes = dict(stored.attrs)
    tiles = pd.DataFrame({SLIDE_ID: slide_id, "x": coords[:, 0], "y": coords[:, 1]})
    if TILE in file:
        tiles[TILE] = [name.decode() for name in _plain_dataset(file, TILE, path)[()]]
    backbone = provenance.get("settings", {}).get("backbone") or str(
        dataset.attrs.get("encoder", "unknown")
    )
    return FeatureSet(values, tiles, backbone, provenance, attributes)
