"""Say what a stranger's file is by its first bytes; models that could run code are refused."""

from pathlib import Path

from histokeras.errors import FeatureError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
ZIP_MAGIC = b"PK\x03\x04"
_NUMPY = b"\x93NUMPY"
_SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
_PICKLED = frozenset({".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".bin"})
_NUMPY_SUFFIXES = frozenset({".npy", ".npz"})
_WEIGHTS_WAY = "Save its weights alone: `model.save_weights('x.weights.h5')`."


def foreign_model(path: Path) -> str:
    """Return what kind of model a path is that would run code when it is loaded; "" for others.

    Args:
        path: A file, of which 16 bytes are read, or a folder, of which names are looked at.
    """
    if path.is_dir():
        return "a SavedModel folder" if any((path / name).exists() for name in _SAVED_MODEL) else ""
    if not path.is_file():
        return ""
    start, suffix = _start(path), path.suffix.lower()
    if start.startswith(_NUMPY) or suffix in _NUMPY_SUFFIXES:
        return "a NumPy file, which may hold pickled objects"
    if suffix == ".keras":
        return "a whole Keras model"
    if _is_pickle(start) or suffix in _PICKLED:
        return "a pickled object (pickle, joblib, PyTorch)"
    if suffix == ".pb":
        return "a TensorFlow graph"
    return ""


def refuse_foreign_model(path: Path, wanted: str) -> None:
    """Raise if something is a model of a kind that could run code.

    Args:
        path: A file or folder.
        wanted: What belongs there, for the hint: a sentence.

    Raises:
        FeatureError: MODEL_UNTRUSTED, NPZ_PICKLE for NumPy files; nothing has been read but the
            first bytes.
    """
    kind = foreign_model(path)
    if kind:
        raise FeatureError(
            f"{path.name} is {kind}; histokeras does not load it.",
            code="NPZ_PICKLE" if "NumPy" in kind else "MODEL_UNTRUSTED",
            hint=wanted,
        )


def refuse_foreign_weights(path: Path) -> None:
    """Raise if a path given for weights is a model that could run code; see the function above."""
    refuse_foreign_model(path, f"Weights are data alone. {_WEIGHTS_WAY}")


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError:
        # Whoever reads it next says what is wrong with it.
        return b""


def _is_pickle(start: bytes) -> bool:
    # Protocol 2 and later begin with its number; joblib's compressed files with zlib, gzip, xz.
    protocol = start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return protocol or start[:2] in (b"\x78\x9c", b"\x78\xda", b"\x78\x01", b"\x1f\x8b")
