"""How our models lie on disk: a card, ``model.json``, beside ``weights.safetensors``. No code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors.numpy

from histokeras.errors import FeatureError
from histokeras.files import prepare_folder, remove, sha256_bytes, write_bytes, write_json
from histokeras.foreign.kinds import refuse_foreign_model
from histokeras.foreign.text import read_json
from histokeras.models.weights import FINETUNED, is_named

CARD = "model.json"
_WEIGHTS = "weights.safetensors"
_MAX_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class ModelKind:
    """One kind of our models.

    Attributes:
        name: What messages call it, such as ``head``; ``histokeras-<name>`` is its format.
        version: Of its card.
        wanted: What its folder is, a sentence for hints.
        missing: What to do where there is none, a sentence.
    """

    name: str
    version: int
    wanted: str
    missing: str

    @property
    def format(self) -> str:
        """What ``format`` says in its card."""
        return f"histokeras-{self.name}"

    @property
    def digest(self) -> str:
        """Key of the SHA-256 of the weights in its card."""
        return f"{self.name}_sha256"


def write_model(folder: Path, model: keras.Model, card: Mapping[str, Any], kind: ModelKind) -> None:
    """Write a model and its card.

    Args:
        folder: Where ``model.json`` and ``weights.safetensors`` go; made if need be.
        model: Every weight has a path of its own.
        card: What the model is for.
        kind: Which kind it is.

    Raises:
        OutputError: If it cannot be written.
    """
    prepare_folder(folder)
    arrays = {
        variable.path: np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        for variable in model.weights
    }
    data = safetensors.numpy.save(arrays)
    # The card goes first and comes last: without it there is no model, and it names its weights.
    remove(folder, [CARD])
    write_bytes(folder / _WEIGHTS, data)
    known = {"format": kind.format, "version": kind.version, kind.digest: sha256_bytes(data)}
    write_json(folder / CARD, {**known, **card})


def read_known_card(folder: Path, kind: ModelKind) -> dict[str, Any]:
    """Read a card, and check that it is one of ours and of a kind; what it says is not checked.

    Args:
        folder: Where the model lies.
        kind: Which kind it must be.

    Raises:
        FeatureError: If there is no card, or it is not one of ours; MODEL_UNTRUSTED if a model of
            another kind lies there.
    """
    path = folder / CARD
    if not path.is_file():
        for place in (folder, folder.parent):
            refuse_foreign_model(place, kind.wanted)
        raise FeatureError(f"no {CARD} in {folder}.", code="MODEL_MISSING", hint=kind.missing)
    card = _object(path)
    if not isinstance(card, dict) or card.get("format") != kind.format:
        raise FeatureError(
            f"{path} is not a model card of histokeras, of a {kind.name}.",
            code="MODEL_UNTRUSTED",
            hint=f"Foreign models are not loaded. {kind.wanted}",
        )
    if card.get("version") != kind.version:
        raise FeatureError(
            f"{path} has version {card.get('version')}, this program reads {kind.version}.",
            code="MODEL_VERSION",
        )
    return card


def _object(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise FeatureError(f"{path} is not JSON: {error}", code="MODEL_DAMAGED") from error


def require_unnamed_file(weights: str, path: Path) -> None:
    """Refuse a card that names the weights of its backbone by a path.

    Args:
        weights: What the card says of them.
        path: The card.

    Raises:
        FeatureError: PATH_UNSAFE if it could be a file of this machine.
    """
    if weights not in ("file", FINETUNED) and not is_named(weights):
        raise FeatureError(
            f"{path} names weights by a path, {weights[:120]!r}, which is not read.",
            code="PATH_UNSAFE",
            hint="A run names its weights by kind and SHA-256; give the file with --weights PATH.",
        )


def read_arrays(
    folder: Path, card: Mapping[str, Any], kind: ModelKind
) -> dict[str, np.typing.NDArray[Any]]:
    """Read the weights that a card names.

    Args:
        folder: Where the model lies.
        card: From :func:`read_known_card`.
        kind: Which kind it is.

    Raises:
        FeatureError: MODEL_DAMAGED if they are not there, or not those that the card names.
    """
    path = folder / _WEIGHTS
    if not path.is_file():
        raise FeatureError(f"no {_WEIGHTS} in {folder}.", code="MODEL_DAMAGED")
    if path.stat().st_size > _MAX_BYTES:
        raise FeatureError(f"{path} is larger than any {kind.name} of ours.", code="MODEL_DAMAGED")
    try:
        data = path.read_bytes()
        if sha256_bytes(data) != card.get(kind.digest):
            raise FeatureError(f"{path} is not the file that {CARD} names.", code="MODEL_DAMAGED")
        return safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise FeatureError(f"{path} is damaged: {error}", code="MODEL_DAMAGED") from error


def fill(
    model: keras.Model, arrays: Mapping[str, np.typing.NDArray[Any]], folder: Path, kind: ModelKind
) -> None:
    """Give a model, as its card tells to build it, its weights.

    Args:
        model: Changed in place.
        arrays: From :func:`read_arrays`.
        folder: Where they lie, for messages.
        kind: Which kind it is.

    Raises:
        FeatureError: MODEL_DAMAGED if they are not those of this model.
    """
    wanted = {variable.path: tuple(variable.shape) for variable in model.weights}
    if wanted != {name: array.shape for name, array in arrays.items()}:
        raise FeatureError(
            f"the weights in {folder / _WEIGHTS} do not fit the {kind.name} named in {CARD}.",
            code="MODEL_DAMAGED",
        )
    for variable in model.weights:
        variable.assign(arrays[variable.path])
