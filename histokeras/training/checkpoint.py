"""One file from which an interrupted training goes on as if nothing had happened."""

import hashlib
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
        waited: Epochs since the best one.
        best_epoch: The epoch with the lowest validation loss, or the best of another figure that
            is watched; 0 for the state before the first.
        best_loss: That loss, or minus a figure that is to be high.
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
    card = {"key": key, "state": facts, "sha256": _digest(facts, arrays)}
    data = safetensors.numpy.save(arrays, metadata={_FORMAT: json.dumps(card)})
    write_bytes(path, data)


def read_checkpoint(path: Path, model: keras.Model, *, key: str) -> State | None:
    """Bring a model to where a checkpoint stands.

    Args:
        path: The file.
        model: The compiled model, its optimizer built; changed in place, or not at all.
        key: As when it was written.

    Returns:
        Where it stands; None if there is no file.

    Raises:
        FeatureError: If the file is of another training (CONFIG_MISMATCH) or damaged
            (CHECKPOINT_DAMAGED).
    """
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            card = json.loads((file.metadata() or {})[_FORMAT])
            if card["key"] != key:
                raise FeatureError(
                    f"the checkpoint {path} is of other settings, data or versions.",
                    code="CONFIG_MISMATCH",
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if card["sha256"] != _digest(card["state"], arrays):
            raise ValueError("its checksum does not match")
        state = State(best=_part(arrays, _BEST), **card["state"])
        found = _part(arrays, _MODEL) + _part(arrays, _OPTIMIZER)
        variables = [*model.variables, *model.optimizer.variables]
        if [tuple(item.shape) for item in variables] != [value.shape for value in found]:
            raise ValueError("it is of another network")
    except FeatureError:
        raise
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise FeatureError(
            f"the checkpoint {path} is damaged: {error}.", code="CHECKPOINT_DAMAGED"
        ) from error
    for item, value in zip(variables, found, strict=True):
        item.assign(value)
    return state


def _digest(facts: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode("utf-8"))
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _part(arrays: Mapping[str, npt.NDArray[Any]], part: str) -> Arrays:
    return [arrays[name] for name in sorted(arrays) if name.startswith(f"{part} ")]
