"""Look at a weights file of unknown origin before Keras reads it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from histokeras.errors import FeatureError

_WHOLE_MODEL = "model_config"
_MOST_OBJECTS = 100_000
_INFLATION = 200
"""Bytes that a byte of the file may declare: compressed zeros shrink much, weights little."""


def require_plain_weights(path: Path) -> None:
    """Refuse an HDF5 file that could read other files, fill the memory, or holds more than weights.

    Only links and headers are read.

    Args:
        path: The ``.h5`` file.

    Raises:
        FeatureError: MODEL_UNTRUSTED if it is a whole model; H5_UNSAFE if something in it lies
            elsewhere, or declares more than the file can hold; WEIGHTS_UNFIT if it does not open.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FeatureError(
            f"{path.name} does not open as HDF5: {error}",
            code="WEIGHTS_UNFIT",
            hint="Give a .h5 file of weights alone.",
        ) from error
    with file:
        if _WHOLE_MODEL in file.attrs:
            raise FeatureError(
                f"{path.name} holds a whole model, whose description could run code.",
                code="MODEL_UNTRUSTED",
                hint="Save its weights alone: `model.save_weights('x.weights.h5')`.",
            )
        _require_plain(file, path)


def _require_plain(file: h5py.File, path: Path) -> None:
    declared, waiting = 0, [file["/"]]
    seen: set[int] = set()
    while waiting:
        for item in _members(waiting.pop(), path, seen):
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                declared += item.size * item.dtype.itemsize
    if declared > _INFLATION * path.stat().st_size:
        raise _unsafe(path, f"it declares {declared:,} bytes, more than it can hold")


def _members(group: h5py.Group, path: Path, seen: set[int]) -> Iterator[Any]:
    """Yield what lies in a group and has not been seen; hard links may go round in circles."""
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise _unsafe(path, f"`{name}` is a link to elsewhere")
        item = group[name]
        address = int(h5py.h5o.get_info(item.id).addr)
        if address in seen:
            continue
        seen.add(address)
        if len(seen) > _MOST_OBJECTS:
            raise _unsafe(path, f"it holds more than {_MOST_OBJECTS:,} objects")
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            raise _unsafe(path, f"`{name}` is stored elsewhere")
        yield item


def _unsafe(path: Path, why: str) -> FeatureError:
    return FeatureError(
        f"the weights file {path.name} is not read: {why}.",
        code="H5_UNSAFE",
        hint="Give a file of a source that you trust.",
    )
