"""Open HDF5 files of unknown origin, and read only what lies in the file itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from histokeras.errors import FeatureError, HistokerasError
from histokeras.foreign.hdf5 import require_plain_hdf5, text_batch, unsafe
from histokeras.foreign.kinds import refuse_foreign_model

_MAX_TILES = 5_000_000
_MAX_FEATURES = 16_384
_OURS, _STAMPS = "features", "feats"
"""What TRIDENT, CLAM and we call the vectors, and what STAMP does."""
_COORDS = "coords"
_MICROMETRES = "um"
_FARTHEST = 2**40
"""Beyond any slide, in pixels; NaN and infinity are beyond it too."""


@contextmanager
def open_h5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading, if all of it lies in the file itself.

    What HDF5 stumbles over inside the block is damage, too.

    Raises:
        FeatureError: FEATURES_MISSING if it is not there, VERIFY_FAILED if it cannot be read,
            H5_UNSAFE if it could read other files or fill the memory, MODEL_UNTRUSTED or NPZ_PICKLE
            if it is no HDF5 but of a kind that could run code.
    """
    refuse_foreign_model(path, "Features are .h5 files, of histokeras, TRIDENT, CLAM or STAMP.")
    try:
        with h5py.File(path, "r") as file:
            require_plain_hdf5(file, path)
            yield file
    except HistokerasError:
        raise
    except FileNotFoundError as error:
        raise FeatureError(f"no feature file {path}.", code="FEATURES_MISSING") from error
    # h5py has no error of its own: a damaged table inside comes as a KeyError, and so on.
    except (OSError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise FeatureError(f"{path.name} cannot be read: {error}", code="VERIFY_FAILED") from error


def plain_dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """Return a dataset of a file of :func:`open_h5`, which lies in this very file.

    Args:
        file: The open file.
        name: Name of the dataset.
        path: For messages.

    Raises:
        FeatureError: VERIFY_FAILED if there is none.
    """
    if name not in file:
        raise FeatureError(f"{path.name} has no `{name}`.", code="VERIFY_FAILED")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise FeatureError(f"`{name}` in {path.name} is no dataset.", code="VERIFY_FAILED")
    return dataset


def matrix(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """Return a dataset of vectors, float32 or float16 of shape ``(n_tiles, n_features)``, unread.

    Args:
        file: The open file.
        name: ``features`` or ``floor``.
        path: For messages and the file's size.

    Raises:
        FeatureError: VERIFY_FAILED if it is of another kind, H5_UNSAFE if it declares more than the
            file can hold.
    """
    if name == _OURS and name not in file and _STAMPS in file:
        name = _STAMPS
    dataset = plain_dataset(file, name, path)
    if dataset.ndim != 2 or dataset.dtype not in (np.float32, np.float16):
        raise FeatureError(
            f"`{name}` in {path.name} must be 2-dimensional float32 or float16. "
            f"Received: shape={dataset.shape}, dtype={dataset.dtype}",
            code="VERIFY_FAILED",
        )
    n, width = dataset.shape
    if n > _MAX_TILES or width > _MAX_FEATURES:
        raise FeatureError(
            f"`{name}` in {path.name} declares {n} x {width} values, more than any slide has.",
            code="H5_UNSAFE",
        )
    return dataset


def column(
    file: h5py.File, name: str, path: Path, dtype: type[np.generic], limit: int
) -> npt.NDArray[Any]:
    """Read a one-dimensional dataset.

    Args:
        file: The open file.
        name: Its name.
        path: For messages.
        dtype: What its values must be.
        limit: Its largest allowed length.

    Raises:
        FeatureError: VERIFY_FAILED if it is of another kind, H5_UNSAFE if it is longer.
    """
    dataset = plain_dataset(file, name, path)
    if dataset.ndim != 1 or dataset.dtype != dtype:
        raise FeatureError(
            f"`{name}` in {path.name} must be 1-dimensional {np.dtype(dtype)}. "
            f"Received: shape={dataset.shape}, dtype={dataset.dtype}",
            code="VERIFY_FAILED",
        )
    if len(dataset) > limit:
        raise FeatureError(
            f"`{name}` in {path.name} declares {len(dataset)} values, at most {limit} are allowed.",
            code="H5_UNSAFE",
        )
    values: npt.NDArray[Any] = dataset[()]
    return values


def texts(file: h5py.File, name: str, path: Path, n: int) -> list[str]:
    """Read a one-dimensional dataset of texts.

    Args:
        file: The open file.
        name: Its name.
        path: For messages.
        n: How many there must be.

    Raises:
        FeatureError: VERIFY_FAILED if it is of another kind, or no UTF-8; H5_UNSAFE if the texts
            are longer than the file.
    """
    dataset = plain_dataset(file, name, path)
    if dataset.shape != (n,) or h5py.check_string_dtype(dataset.dtype) is None:
        raise FeatureError(
            f"`{name}` in {path.name} must be {n} texts. "
            f"Received: shape={dataset.shape}, dtype={dataset.dtype}",
            code="VERIFY_FAILED",
        )
    found: list[str] = []
    left, step = int(file.id.get_filesize()), text_batch(file)
    for start in range(0, n, step):
        part = [bytes(text) for text in dataset[start : start + step]]
        left -= sum(map(len, part))
        if left < 0:
            raise unsafe(path, f"the texts of `{name}` share their bytes: together they are longer")
        try:
            found += [text.decode("utf-8") for text in part]
        except UnicodeDecodeError as error:
            raise FeatureError(
                f"`{name}` in {path.name} is not UTF-8.", code="VERIFY_FAILED"
            ) from error
    return found


def places(file: h5py.File, path: Path, n: int) -> tuple[npt.NDArray[np.int64], dict[str, Any]]:
    """Read where the tiles lie, if the file tells it in pixels of level 0.

    Args:
        file: The open file.
        path: For messages.
        n: How many tiles there are.

    Returns:
        int64 (n, 2), -1 where unknown: without ``coords``, and in files of STAMP, whose ``coords``
        are micrometres; and the attributes of ``coords``.

    Raises:
        FeatureError: VERIFY_FAILED if they are of another kind.
    """
    unknown = np.full((n, 2), -1, np.int64)
    if _COORDS not in file:
        return unknown, {}
    stored = plain_dataset(file, _COORDS, path)
    if stored.shape != (n, 2):
        raise FeatureError(
            f"{path.name} has {n} vectors but `coords` of shape {stored.shape}.",
            code="VERIFY_FAILED",
        )
    attributes = dict(stored.attrs)
    if str(file.attrs.get("unit", "")) == _MICROMETRES:
        return unknown, attributes
    values = stored[()] if stored.dtype.kind in "iuf" else None
    if values is None or not (np.abs(values, dtype=np.float64) < _FARTHEST).all():
        raise FeatureError(
            f"`coords` in {path.name} are no pixels. Received: dtype={stored.dtype}",
            code="VERIFY_FAILED",
        )
    return values.astype(np.int64), attributes
