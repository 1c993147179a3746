"""The tiles' extras inside a feature file: datasets beside those that TRIDENT and CLAM read."""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np

from histokeras.errors import FeatureError
from histokeras.features.extras import MAX_PICTURES, TileExtras
from histokeras.features.h5 import column, matrix
from histokeras.foreign.text import parse_json

FLOOR = "floor"
MAX_NUMBERS = 64
"""Most columns that ``floor`` may have."""
_HASH, _ROWS, _LENGTHS = "pixel_hash", "picture_rows", "picture_bytes"
_PICTURES, _OVERVIEW = "pictures", "overview"
_MAX_JPEG = 200_000
_MAX_NAMES = 100_000


def update_digest(digest: "hashlib._Hash", extras: TileExtras) -> None:
    """Let a file's digest cover its extras too.

    Args:
        digest: A running SHA-256.
        extras: What to add.
    """
    digest.update(json.dumps(extras.names).encode())
    for array in (extras.floor, extras.pixel_hash):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    for row, picture in sorted(extras.pictures.items()):
        digest.update(f"{row} {len(picture)}\n".encode() + picture)
    digest.update(b"" if extras.overview is None else b"overview\n" + extras.overview)


def write_extras(file: h5py.File, extras: TileExtras) -> None:
    """Write the extras into an open feature file.

    Pictures lie one after the other in one dataset: its size can be checked before it is read,
    which HDF5's variable-length values do not allow.

    Args:
        file: The file, open for writing.
        extras: What to write.
    """
    floor = file.create_dataset(FLOOR, data=extras.floor)
    floor.attrs["names"] = json.dumps(extras.names)
    file.create_dataset(_HASH, data=extras.pixel_hash)
    rows = sorted(extras.pictures)
    pictures = [extras.pictures[row] for row in rows]
    file.create_dataset(_ROWS, data=np.array(rows, np.int64))
    file.create_dataset(_LENGTHS, data=np.array([len(data) for data in pictures], np.int64))
    file.create_dataset(_PICTURES, data=np.frombuffer(b"".join(pictures), np.uint8))
    if extras.overview is not None:
        file.create_dataset(_OVERVIEW, data=np.frombuffer(extras.overview, np.uint8))


def read_extras_open(file: h5py.File, path: Path, n_tiles: int) -> TileExtras | None:
    """Read the extras of an open feature file of ours.

    Args:
        file: The file.
        path: For messages.
        n_tiles: How many tiles it holds.

    Returns:
        The extras, None if it has none.

    Raises:
        FeatureError: If they are of another kind (VERIFY_FAILED), reach outside the file or declare
            more than they may (H5_UNSAFE).
    """
    if FLOOR not in file:
        return None
    floor, names = matrix(file, FLOOR, path), floor_names(file, path)
    if floor.shape != (n_tiles, len(names)) or len(names) > MAX_NUMBERS:
        raise _damaged(path, FLOOR)
    hashes = column(file, _HASH, path, np.uint64, n_tiles)
    overview = None
    if _OVERVIEW in file:
        overview = column(file, _OVERVIEW, path, np.uint8, _MAX_JPEG).tobytes()
    if len(hashes) != n_tiles:
        raise _damaged(path, _HASH)
    pictures = _read_pictures(file, path, n_tiles)
    return TileExtras(floor[()].astype(np.float32, copy=False), hashes, pictures, overview, names)


def floor_names(file: h5py.File, path: Path) -> tuple[str, ...]:
    """Return what the columns of ``floor`` are; empty if a file has none, or does not tell.

    Args:
        file: The open feature file.
        path: For messages.
    """
    if FLOOR not in file:
        return ()
    try:
        names = parse_json(str(matrix(file, FLOOR, path).attrs.get("names"))[:_MAX_NAMES])
    except ValueError:
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _read_pictures(file: h5py.File, path: Path, n_tiles: int) -> dict[int, bytes]:
    rows = column(file, _ROWS, path, np.int64, MAX_PICTURES)
    lengths = column(file, _LENGTHS, path, np.int64, MAX_PICTURES)
    data = column(file, _PICTURES, path, np.uint8, MAX_PICTURES * _MAX_JPEG).tobytes()
    ascending = bool((np.diff(rows, prepend=-1) > 0).all()) and bool((rows < n_tiles).all())
    allowed = bool(((lengths > 0) & (lengths <= _MAX_JPEG)).all())
    if len(rows) != len(lengths) or not (ascending and allowed) or lengths.sum() != len(data):
        raise _damaged(path, _PICTURES)
    stops = np.cumsum(lengths).tolist()
    starts = [0, *stops]
    parts = zip(rows.tolist(), starts, stops, strict=False)
    return {row: data[start:stop] for row, start, stop in parts}


def _damaged(path: Path, name: str) -> FeatureError:
    return FeatureError(f"`{name}` in {path.name} does not fit its tiles.", code="VERIFY_FAILED")
