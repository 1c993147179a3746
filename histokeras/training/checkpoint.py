"""One file from which an interrupted training goes on as if nothing had happened."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from histokeras.errors import FeatureError
from histokeras.files import write_bytes

Arrays = list[npt.NDArray[Any]]
_FORMAT = "histokeras-checkpoint"
_MODEL, _BEST, _OPTIMIZER = "model", "best", "optimizer"


@dataclass
class State:
    """Where a training stands after an epoch.

    Attributes:
        epoch: Epochs done.
        waited: Epochs since the lowest validation loss.
        best_epoch: The epoch of it; 0 for the state before the first.
        best_loss: That loss.
        history: One row an epoch.
        best: The weights of the best epoch.
    """

    epoch: int
    waited: int
    best_epoch: int
    best_loss: float
    history: list[dict[str, float]]
    best: Arrays


def write_checkpoint(path: Path, model: keras.Model, state: State, *, key: str) -> None:
    """Write weights, optimizer, random states and history, whole or not at all.

    Args:
        path: The ``.safetensors`` file; its folder must exist.
        model: A compiled model.
        state: Where it stands.
        key: What decides the training; a checkpoint of another key is not taken up.

    Raises:
        OutputError: If it cannot be written.
    """
    parts = {
        _MODEL: [np.asarray(keras.ops.convert_to_numpy(item)) for item in model.variables],
        _BEST: state.best,
        _OPTIMIZER: [
            np.asarray(keras.ops.convert_to_numpy(item)) for item in model.optimizer.variables
        ],
    }
    arrays = {
        f"{part} {number:05d}": np.asarray(array, order="C")
        for part, several in parts.items()
        for number, array in enumerate(several)
    }
    facts = {name: value for name, value in vars(state).items() if name != "best"}
    # One key, so that the same state gives the same bytes in every process.
    card = {_FORMAT: json.dumps({"key": key, "state": facts})}
    write_bytes(path, safetensors.numpy.save(arrays, metadata=card))


def read_checkpoint(path: Path, model: keras.Model, *, key: str) -> State | None:
    """Bring a model to where a checkpoint stands.

    Args:
        path: The file.
        model: The compiled model, its optimizer built; changed in place.
        key: As when it was written.

    Returns:
        Where it stands; None if there is no file, or one of another training.

    Raises:
        FeatureError: If the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            card = json.loads((file.metadata() or {}).get(_FORMAT, "{}"))
            if card.get("key") != key:
                return None
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = State(best=_part(arrays, _BEST), **card["state"])
        _assign(model.variables, _part(arrays, _MODEL))
        _assign(model.optimizer.variables, _part(arrays, _OPTIMIZER))
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise FeatureError(
            f"the checkpoint {path} is damaged: {error}",
            code="CHECKPOINT_DAMAGED",
            hint="Delete it: training then begins anew.",
        ) from error
    return state


def _part(arrays: Mapping[str, npt.NDArray[Any]], part: str) -> Arrays:
    return [arrays[name] for name in sorted(arrays) if name.startswith(f"{part} ")]


def _assign(variables: list[Any], values: Arrays) -> None:
    if [tuple(item.shape) for item in variables] != [value.shape for value in values]:
        raise ValueError("it is of another network")
    for item, value in zip(variables, values, strict=True):
        item.assign(value)
