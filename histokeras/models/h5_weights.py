"""Look at a weights file of unknown origin before Keras reads it."""

import io
import re
import zipfile
from pathlib import Path

import h5py

from histokeras.errors import ConfigError, FeatureError
from histokeras.files import sha256_file
from histokeras.foreign.archives import require_safe_archive
from histokeras.foreign.hdf5 import require_plain_hdf5

_WHOLE_MODEL = "model_config"
_KERAS_MEMBERS = frozenset({"metadata.json", "config.json", "model.weights.h5"})
_WEIGHTS_MEMBER = "model.weights.h5"
_MOST_BYTES = 2 << 30
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ALONE = "Save its weights alone: `model.save_weights('x.weights.h5')`"


def require_plain_weights(path: Path, *, trust: str | None = None) -> None:
    """Refuse a file that could read other files, fill the memory, or holds more than weights.

    Only links and headers are read.

    Args:
        path: A ``.h5`` or ``.keras`` file.
        trust: SHA-256 of a whole model whose weights may be taken. What it says of its layers is
            not read then either, so that no code of it runs.

    Raises:
        FeatureError: MODEL_UNTRUSTED if it is a whole model that ``trust`` does not name;
            H5_UNSAFE or ARCHIVE_UNSAFE if something in it lies elsewhere, or declares more than
            the file can hold; WEIGHTS_UNFIT if it does not open.
        ConfigError: If ``trust`` is no SHA-256.
    """
    if path.suffix == ".keras":
        _require_trusted(path, trust)
        _require_plain_keras(path)
        return
    with _opened(path, path) as file:
        if _WHOLE_MODEL in file.attrs or trust is not None:
            _require_trusted(path, trust)
        require_plain_hdf5(file, path)


def _require_trusted(path: Path, trust: str | None) -> None:
    if trust is None:
        raise FeatureError(
            f"{path.name} holds a whole model, whose description could run code.",
            code="MODEL_UNTRUSTED",
            hint=f"{_ALONE}; or, if you know who made it, give --trust-model with the SHA-256 that "
            "its maker tells: then its weights are taken, and nothing else of it is read.",
        )
    wanted = trust.strip().lower().removeprefix("sha256:")
    if not _SHA256.fullmatch(wanted):
        raise ConfigError(
            f"`--trust-model` takes the SHA-256 of the file, 64 digits 0-9 a-f. Received: {trust!r}"
        )
    found = sha256_file(path)
    if found != wanted:
        raise FeatureError(
            f"{path.name} is not the file that --trust-model names: its SHA-256 is {found}.",
            code="MODEL_UNTRUSTED",
            hint="Trust it only if whoever made it tells you this very number.",
        )


def _require_plain_keras(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            require_safe_archive(archive, path.name, most_bytes=_MOST_BYTES)
            names = set(archive.namelist())
            if _WEIGHTS_MEMBER not in names or names - _KERAS_MEMBERS:
                odd = sorted(names - _KERAS_MEMBERS)
                what = f"also {odd[0][:120]!r}" if odd else f"no {_WEIGHTS_MEMBER}"
                raise FeatureError(
                    f"{path.name} is no model of plain layers: it holds {what}.",
                    code="WEIGHTS_UNFIT",
                    hint=f"{_ALONE}.",
                )
            content = io.BytesIO(archive.read(_WEIGHTS_MEMBER))
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError) as error:
        if isinstance(error, FeatureError):
            raise
        raise _unfit(path, "no .keras archive", error) from error
    with _opened(content, path) as file:
        require_plain_hdf5(file, path)


def _opened(content: Path | io.BytesIO, path: Path) -> h5py.File:
    try:
        return h5py.File(content, "r")
    except OSError as error:
        raise _unfit(path, "does not open as HDF5", error) from error


def _unfit(path: Path, what: str, error: Exception) -> FeatureError:
    return FeatureError(
        f"{path.name} is no weights file ({what}: {str(error)[:200]}).",
        code="WEIGHTS_UNFIT",
        hint="Give a .h5 file of weights alone.",
    )
