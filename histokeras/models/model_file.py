"""The head's own file format: ``model.json`` and ``weights.safetensors``. No code inside."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors.numpy

from histokeras.errors import FeatureError
from histokeras.files import prepare_folder, remove, sha256_bytes, write_bytes, write_json
from histokeras.foreign.kinds import refuse_foreign_model
from histokeras.foreign.text import read_json
from histokeras.models.heads import build_head, build_number_head, build_risk_head
from histokeras.models.weights import FINETUNED, is_named
from histokeras.types import REGRESSION, SURVIVAL, TASKS

_FORMAT = "histokeras-head"
_VERSION = 1
_CARD = "model.json"
_WEIGHTS = "weights.safetensors"
_MAX_BYTES = 1 << 30
_MAX_FEATURES, _MAX_CLASSES = 16_384, 10_000
_WANTED_OF: dict[str, set[str]] = {
    REGRESSION: {"target", "target_mean", "target_scale"},
    SURVIVAL: {"target", "risk_mean", "risk_sd", "risk_cut"},
}
"""What a card says of a head that has no classes."""
_WANTED = "A run is a folder that `histokeras fit-head` or `finetune` wrote."


def write_head(folder: Path, model: keras.Model, card: Mapping[str, Any]) -> None:
    """Write a head and its card.

    Args:
        folder: Where ``model.json`` and ``weights.safetensors`` go; made if need be.
        model: A model of :func:`build_head`.
        card: What the head is for; must hold ``head``, ``n_features`` and ``classes``, and for a
            number ``task``, ``target``, ``target_mean`` and ``target_scale``; for survival
            ``task``, ``target``, ``risk_mean``, ``risk_sd`` and ``risk_cut``, and
            ``clinical_terms`` where it takes them.

    Raises:
        OutputError: If it cannot be written.
    """
    prepare_folder(folder)
    arrays = {
        variable.path: np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        for variable in model.weights
    }
    data = safetensors.numpy.save(arrays)
    # The card goes first and comes last: without it there is no head, and it names its weights.
    remove(folder, [_CARD])
    write_bytes(folder / _WEIGHTS, data)
    known = {"format": _FORMAT, "version": _VERSION, "head_sha256": sha256_bytes(data)}
    write_json(folder / _CARD, {**known, **card})


def read_card(folder: Path) -> dict[str, Any]:
    """Read and check the card of a head.

    Args:
        folder: The ``head`` folder of a run.

    Returns:
        The card: at least ``head``, ``n_features`` and ``classes``.

    Raises:
        FeatureError: If there is no card, or it is not one of ours; MODEL_UNTRUSTED if a model of
            another kind lies there, PATH_UNSAFE if the card names a file of this machine.
    """
    path = folder / _CARD
    if not path.is_file():
        for place in (folder, folder.parent):
            refuse_foreign_model(place, _WANTED)
        raise FeatureError(
            f"no {_CARD} in {folder}.",
            code="MODEL_MISSING",
            hint="Name the run folder that `histokeras fit-head` or `finetune` wrote, finished.",
        )
    card = _object(path)
    if not isinstance(card, dict) or card.get("format") != _FORMAT:
        raise FeatureError(
            f"{path} is not a model card of histokeras.",
            code="MODEL_UNTRUSTED",
            hint="Foreign models are not loaded.",
        )
    if card.get("version") != _VERSION:
        raise FeatureError(
            f"{path} has version {card.get('version')}, this program reads {_VERSION}.",
            code="MODEL_VERSION",
        )
    wanted = {"head", "n_features", "classes"}
    missing = (wanted | _WANTED_OF.get(str(card.get("task")), set())) - set(card)
    if missing:
        raise FeatureError(f"{path} lacks {sorted(missing)}.", code="MODEL_DAMAGED")
    if card.get("task", TASKS[0]) not in TASKS:
        raise FeatureError(
            f"{path} is of a head for {card['task']!r}, which this program does not know.",
            code="MODEL_VERSION",
        )
    _require_sound(card, path)
    return card


def _object(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise FeatureError(f"{path} is not JSON: {error}", code="MODEL_DAMAGED") from error


def _require_sound(card: Mapping[str, Any], path: Path) -> None:
    """Refuse a card that would build a network without measure, or read a file that it names."""
    n, classes, features = card["n_features"], card["classes"], card.get("features") or {}
    terms = card.get("clinical_terms", [])
    heat = card.get("temperature", 1.0)
    sound = (
        isinstance(heat, (int, float)) and 0 < heat < math.inf,
        isinstance(n, int) and 1 <= n <= _MAX_FEATURES,
        isinstance(classes, list) and len(classes) <= _MAX_CLASSES,
        isinstance(classes, list) and all(isinstance(name, str) for name in classes),
        isinstance(terms, list) and len(terms) <= _MAX_CLASSES,
        isinstance(card["head"], str) and isinstance(features, dict),
    )
    if not all(sound):
        raise FeatureError(
            f"{path} holds sizes or names that no head of ours has.", code="MODEL_DAMAGED"
        )
    weights = str(features.get("weights", "file"))
    if weights not in ("file", FINETUNED) and not is_named(weights):
        raise FeatureError(
            f"{path} names weights by a path, {weights[:120]!r}, which is not read.",
            code="PATH_UNSAFE",
            hint="A run names its weights by kind and SHA-256; give the file with --weights PATH.",
        )


def _built(card: Mapping[str, Any]) -> keras.Model:
    if card.get("task") == REGRESSION:
        return build_number_head(card["head"], int(card["n_features"]))
    if card.get("task") == SURVIVAL:
        n_clinical = len(card.get("clinical_terms", ()))
        return build_risk_head(card["head"], int(card["n_features"]), n_clinical=n_clinical)
    return build_head(card["head"], int(card["n_features"]), len(card["classes"]))


def read_head(folder: Path) -> tuple[keras.Model, dict[str, Any]]:
    """Load a head: the architecture from our own list of builders, then its weights.

    Args:
        folder: The ``head`` folder of a run.

    Returns:
        The model and its card.

    Raises:
        FeatureError: If the folder holds no head, or its files do not belong together.
    """
    card = read_card(folder)
    path = folder / _WEIGHTS
    if not path.is_file():
        raise FeatureError(f"no {_WEIGHTS} in {folder}.", code="MODEL_DAMAGED")
    if path.stat().st_size > _MAX_BYTES:
        raise FeatureError(f"{path} is larger than any head of ours.", code="MODEL_DAMAGED")
    try:
        data = path.read_bytes()
        if sha256_bytes(data) != card.get("head_sha256"):
            raise FeatureError(f"{path} is not the file that {_CARD} names.", code="MODEL_DAMAGED")
        arrays = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise FeatureError(f"{path} is damaged: {error}", code="MODEL_DAMAGED") from error
    model = _built(card)
    wanted = {variable.path: tuple(variable.shape) for variable in model.weights}
    if wanted != {name: array.shape for name, array in arrays.items()}:
        raise FeatureError(
            f"the weights in {path} do not fit the head named in {_CARD}.", code="MODEL_DAMAGED"
        )
    for variable in model.weights:
        variable.assign(arrays[variable.path])
    return model, card
