"""The head's own file format: ``model.json`` and ``weights.safetensors``. No code inside."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from histokeras.errors import FeatureError
from histokeras.models.card_file import (
    CARD,
    ModelKind,
    fill,
    read_arrays,
    read_known_card,
    require_unnamed_file,
    write_model,
)
from histokeras.models.heads import build_head, build_number_head, build_risk_head
from histokeras.types import REGRESSION, SURVIVAL, TASKS

_HEAD = ModelKind(
    name="head",
    version=1,
    wanted="A run is a folder that `histokeras fit-head` or `finetune` wrote.",
    missing="Name the run folder that `histokeras fit-head` or `finetune` wrote, finished.",
)
_MAX_FEATURES, _MAX_CLASSES = 16_384, 10_000
_WANTED_OF: dict[str, set[str]] = {
    REGRESSION: {"target", "target_mean", "target_scale"},
    SURVIVAL: {"target", "risk_mean", "risk_sd", "risk_cut"},
}
"""What a card says of a head that has no classes."""


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
    write_model(folder, model, card, _HEAD)


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
    path, card = folder / CARD, read_known_card(folder, _HEAD)
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
    require_unnamed_file(str(features.get("weights", "file")), path)


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
    arrays = read_arrays(folder, card, _HEAD)
    model = _built(card)
    fill(model, arrays, folder, _HEAD)
    return model, card
