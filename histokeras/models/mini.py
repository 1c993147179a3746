"""The small backbone that comes with the package: a residual network for tiles of H&E.

It was trained by ``examples/train_mini.py`` on procedural tissue alone, so its features serve the
demo, tests and whatever needs a Keras graph without a download; it is no foundation model.
Residual blocks: He et al. 2016, https://doi.org/10.1109/CVPR.2016.90.
"""

from pathlib import Path

import keras
import numpy as np
import safetensors.numpy

from histokeras import files
from histokeras.errors import FeatureError
from histokeras.foreign.text import read_limited
from histokeras.models.catalog import MINI_WEIGHTS

MINI_STRIDE = 16
"""Pixels of the tile per pixel of the last convolution."""
MINI_LAST_CONV = "stage3_out"
"""Name of the layer that holds the last convolutional map, for Grad-CAM."""
MINI_MIN_PX = 32
"""Smallest side of a tile in pixels."""
_STEM = 16
_STAGES = (32, 96, 128)
_MOMENTUM = 0.97
_MAX_BYTES = 64 << 20
# Early stages tell of texture, the last of tissue; both serve a classifier.
_POOLED = (2, 3)
MINI_FEATURES = _STAGES[1] + _STAGES[2]
"""Length of one feature vector."""


def build_mini(size_px: int | None = None) -> keras.Model:
    """Build the network, its weights random.

    Args:
        size_px: Side of the square tiles in pixels, at least 32; None for any.

    Returns:
        A model from RGB of 0..255, float (batch, size_px, size_px, 3), to features, float
        (batch, ``MINI_FEATURES``): the means over the tile of the last two stages' maps.

    Raises:
        ValueError: If ``size_px`` is too small.
    """
    if size_px is not None and size_px < MINI_MIN_PX:
        raise ValueError(f"`size_px` must be >= {MINI_MIN_PX}. Received: size_px={size_px}")
    image = keras.Input((size_px, size_px, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1, name="rescaling")(image)
    x = _conv(x, _STEM, "stem", stride=2)
    pooled = []
    for number, width in enumerate(_STAGES, start=1):
        x = _stage(x, width, f"stage{number}")
        if number in _POOLED:
            pooled.append(keras.layers.GlobalAveragePooling2D(name=f"pool{number}")(x))
    features = keras.layers.Concatenate(name="features")(pooled)
    return keras.Model(image, features, name="mini")


def _conv(
    x: keras.KerasTensor, width: int, name: str, *, stride: int = 1, relu: bool = True
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(
        width,
        3,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = keras.layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _stage(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    """Halve the map, then add one residual block of two convolutions."""
    short = _conv(x, width, f"{name}_down", stride=2)
    x = _conv(short, width, f"{name}_a")
    x = _conv(x, width, f"{name}_b", relu=False)
    x = keras.layers.Add(name=f"{name}_add")([short, x])
    return keras.layers.ReLU(name=f"{name}_out")(x)


def save_mini(model: keras.Model, path: Path) -> None:
    """Write the weights as float16, whole or not at all.

    Args:
        model: From :func:`build_mini`.
        path: Name of the safetensors file; its folder must exist.

    Raises:
        OutputError: If it cannot be written.
        ValueError: If a weight is too large for float16, or not finite.
    """
    arrays = {}
    for weight in model.weights:
        value = np.asarray(weight, np.float32)
        if not (np.abs(value) <= np.finfo(np.float16).max).all():
            raise ValueError(f"{weight.path} has values that float16 cannot hold")
        arrays[weight.path] = value.astype(np.float16)
    files.write_bytes(path, safetensors.numpy.save(arrays))


def load_mini(model: keras.Model, path: Path = MINI_WEIGHTS) -> None:
    """Fill the network with the weights of a file.

    Args:
        model: From :func:`build_mini`; unchanged if the file does not fit.
        path: File of :func:`save_mini`.

    Raises:
        FeatureError: If the file is not there or does not hold weights of this network.
    """
    try:
        arrays = safetensors.numpy.load(read_limited(path, _MAX_BYTES))
    except OSError as error:
        raise _unfit(path, error.strerror or type(error).__name__) from error
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise _unfit(path, reason) from error
    wanted = {weight.path: tuple(weight.shape) for weight in model.weights}
    odd = sorted(wanted.keys() ^ arrays.keys())
    if odd:
        raise _unfit(path, f"{len(odd)} arrays are missing or unknown, first {odd[0]}")
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise _unfit(path, f"{name} has shape {arrays[name].shape}, expected {shape}")
        if not np.isfinite(arrays[name]).all():
            raise _unfit(path, f"{name} has values that are not finite")
    model.set_weights([arrays[weight.path].astype(np.float32) for weight in model.weights])


def _unfit(path: Path, reason: str) -> FeatureError:
    return FeatureError(
        f"{path.name} does not hold weights of mini: {reason}.",
        code="WEIGHTS_UNFIT",
        hint="Give a file of examples/train_mini.py, or install the package anew.",
    )
