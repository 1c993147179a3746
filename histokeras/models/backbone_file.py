"""The file of a fine-tuned backbone: its weights, and what they are of. No code inside."""

import math
import re
from pathlib import Path

import keras
import numpy as np
import safetensors
import safetensors.numpy

from histokeras.errors import FeatureError
from histokeras.files import canonical_json, sha256_bytes, write_bytes
from histokeras.models.catalog import Backbone
from histokeras.models.weights import TUNED_FORMAT, read_tuned_card

_VERSION = 1
_HEADER_BYTES = 1 << 20
_COUNTER = re.compile(r"_\d+(?=/)")


def write_backbone(path: Path, model: keras.Model, backbone: Backbone) -> str:
    """Write the weights of a backbone, float32, whole or not at all.

    Args:
        path: Name of the ``.safetensors`` file; its folder must exist.
        model: From :func:`histokeras.models.backbones.build_backbone`.
        backbone: Which network it is.

    Returns:
        SHA-256 of the file.

    Raises:
        OutputError: If it cannot be written.
    """
    arrays = {
        name: np.asarray(keras.ops.convert_to_numpy(weight), np.float32, order="C")
        for name, weight in zip(_names(model), model.weights, strict=True)
    }
    # One key: several would be written in another order by every process, and the same weights
    # would have another digest.
    card = {TUNED_FORMAT: canonical_json({"version": _VERSION, "backbone": backbone.name})}
    data = safetensors.numpy.save(arrays, metadata=card)
    write_bytes(path, data)
    return sha256_bytes(data)


def load_backbone(model: keras.Model, backbone: Backbone, path: Path) -> None:
    """Fill a backbone with the weights of a file of :func:`write_backbone`.

    Args:
        model: From :func:`histokeras.models.backbones.build_backbone`; unchanged if the file
            does not fit.
        backbone: Which network it is.
        path: The file.

    Raises:
        FeatureError: If it does not hold weights of this network.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            card = read_tuned_card(file.metadata())
            if path.stat().st_size > _most_bytes(model):
                raise _unfit(backbone, path, "it is larger than this network")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, TypeError, KeyError) as error:
        raise _unfit(backbone, path, str(error).splitlines()[0][:200]) from error
    if card is None:
        raise _unfit(backbone, path, "it is no backbone that histokeras fine-tuned")
    if card.get("backbone") != backbone.name:
        raise _unfit(backbone, path, f"it holds {card.get('backbone')}")
    names = _names(model)
    shapes = [tuple(weight.shape) for weight in model.weights]
    if {name: array.shape for name, array in arrays.items()} != dict(
        zip(names, shapes, strict=True)
    ):
        raise _unfit(backbone, path, "its arrays are not those of this version of the network")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise _unfit(backbone, path, "it has values that are not finite")
    model.set_weights([arrays[name] for name in names])


def _names(model: keras.Model) -> list[str]:
    # Keras numbers layers without a name from process to process differently: their order tells.
    return [
        f"{number:04d} {_COUNTER.sub('', weight.path)}"
        for number, weight in enumerate(model.weights)
    ]


def _most_bytes(model: keras.Model) -> int:
    """Return what a file of the model's weights can take, its header included."""
    return _HEADER_BYTES + 4 * sum(math.prod(weight.shape) for weight in model.weights)


def _unfit(backbone: Backbone, path: Path, reason: str) -> FeatureError:
    return FeatureError(
        f"{path.name} does not hold fine-tuned weights of {backbone.name}: {reason}.",
        code="WEIGHTS_UNFIT",
        hint="Check --backbone and --weights.",
    )
