"""Open HDF5 files of unknown origin, and read only what lies in the file itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from histokeras.errors import FeatureError, HistokerasError

_MAX_TILES = 5_000_000
_MAX_FEATURES = 16_384


@contextmanager
def open_h5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; what HDF5 stumbles over inside the block is damage too.

    Raises:
        FeatureError: FEATURES_MISSING if it is not there, VERIFY_FAILED if it cannot be read.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except HistokerasError:
        raise
    except FileNotFoundError as error:
        raise FeatureError(f"no feature file {path}.", code="FEATURES_MISSING") from error
    # h5py has no error of its own: a damaged table inside comes as a KeyError, and so on.
    except (OSError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise FeatureError(f"{path.name} cannot be read: {error}", code="VERIFY_FAILED") from error


def plain_dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """Return a dataset that lies in this very file; links and virtual data could read others.

    Args:
        file: The open file.
        name: Name of the dataset.
        path: For messages.

    Raises:
        FeatureError: VERIFY_FAILED if there is none, H5_UNSAFE if it lies elsewhere.
    """
    link = file.get(name, getlink=True)
    if link is None:
        raise FeatureError(f"{path.name} has no `{name}`.", code="VERIFY_FAILED")
    if not isinstance(link, h5py.HardLink):
        raise FeatureError(f"`{name}` in {path.name} is a link to elsewhere.", code="H5_UNSAFE")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise FeatureError(f"`{name}` in {path.name} is stored elsewhere.", code="H5_UNSAFE")
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
    dataset = plain_dataset(file, name, path)
    if dataset.ndim != 2 or dataset.dtype not in (np.float32, np.float16):
        raise FeatureError(
            f"`{name}` in {path.name} must be 2-dimensional float32 or float16. "
            f"Received: shape={dataset.shape}, dtype={dataset.dtype}",
            code="VERIFY_FAILED",
        )
    n, width = dataset.shape
    if n > _MAX_TILES or width > _MAX_FEATURES or n * width * 2 > 200 * path.stat().st_size:
        raise FeatureError(
            f"`{name}` in {path.name} declares {n} x {width} values, more than the file holds.",
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
