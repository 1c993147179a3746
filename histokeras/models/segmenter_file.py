"""The segmenter's own file format: ``model.json`` and ``weights.safetensors``. No code inside."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import keras

from histokeras.errors import ConfigError, FeatureError
from histokeras.models.card_file import (
    CARD,
    ModelKind,
    fill,
    read_arrays,
    read_known_card,
    require_unnamed_file,
    write_model,
)
from histokeras.models.segmenters import SegmenterSpec, build_segmenter

_SEGMENTER = ModelKind(
    name="segmenter",
    version=1,
    wanted="A segmenter lies in the run folder that `histokeras fit-segmenter` wrote.",
    missing="Name the run folder that `histokeras fit-segmenter` wrote, finished.",
)
_SPEC = tuple(field.name for field in fields(SegmenterSpec))
_WANTED = {*_SPEC, "classes", "positive", "mpp", "crop_px", "weights", "weights_sha256"}
_MAX_CROP_PX = 1 << 16


def segmenter_card(
    spec: SegmenterSpec,
    classes: tuple[str, ...],
    *,
    positive: str | None,
    mpp: float | None,
    crop_px: int,
    weights: str,
    weights_sha256: str,
) -> dict[str, Any]:
    """Return the card of a segmenter; more may be added to it.

    Args:
        spec: Which network.
        classes: Their names, in the order of the logits.
        positive: The class of interest; None where none is.
        mpp: Resolution in um per pixel that it was trained at; None for images' own pixels.
        crop_px: Side of the crops that it was trained on, in pixels.
        weights: What its backbone started from, ``WeightsSource.label``; "none" without backbone.
        weights_sha256: Their digest; "" without backbone.
    """
    return {
        **asdict(spec),
        "classes": list(classes),
        "positive": positive,
        "mpp": mpp,
        "crop_px": crop_px,
        "weights": weights,
        "weights_sha256": weights_sha256,
    }


def write_segmenter(folder: Path, model: keras.Model, card: Mapping[str, Any]) -> None:
    """Write a segmenter and its card.

    Args:
        folder: Where ``model.json`` and ``weights.safetensors`` go; made if need be.
        model: A model of :func:`histokeras.models.segmenters.build_segmenter`.
        card: From :func:`segmenter_card`, with what else is to be kept.

    Raises:
        FeatureError: If the card is not one that could be read again.
        OutputError: If it cannot be written.
    """
    _require_sound(card, folder / CARD)
    write_model(folder, model, card, _SEGMENTER)


def read_segmenter_card(folder: Path) -> tuple[SegmenterSpec, dict[str, Any]]:
    """Read and check the card of a segmenter; its weights are not looked at.

    Args:
        folder: The ``segmenter`` folder of a run.

    Returns:
        Which network it is, and the card.

    Raises:
        FeatureError: If there is no card, or it is not one of ours; MODEL_UNTRUSTED if a model of
            another kind lies there, PATH_UNSAFE if the card names a file of this machine.
    """
    card = read_known_card(folder, _SEGMENTER)
    return _require_sound(card, folder / CARD), card


def read_segmenter(folder: Path) -> tuple[keras.Model, dict[str, Any]]:
    """Load a segmenter: its network from our own list of builders, then its weights.

    Args:
        folder: The ``segmenter`` folder of a run.

    Returns:
        The model, of which nothing but BatchNormalization of the backbone is frozen, and its card.

    Raises:
        FeatureError: If the folder holds no segmenter, or its files do not belong together.
    """
    spec, card = read_segmenter_card(folder)
    arrays = read_arrays(folder, card, _SEGMENTER)
    model = build_segmenter(spec)
    fill(model, arrays, folder, _SEGMENTER)
    return model, card


def _require_sound(card: Mapping[str, Any], path: Path) -> SegmenterSpec:
    """Refuse a card that would build a network without measure, or that nothing can be told by."""
    missing = _WANTED - set(card)
    if missing:
        raise FeatureError(f"{path} lacks {sorted(missing)}.", code="MODEL_DAMAGED")
    classes, mpp, crop = card["classes"], card["mpp"], card["crop_px"]
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    sound = (
        named and len(set(classes)) == len(classes) == card["n_classes"],
        named and card["positive"] in (None, *classes),
        mpp is None or (_is_number(mpp) and 0 < mpp < math.inf),
        _is_whole(crop) and 0 < crop <= _MAX_CROP_PX,
        isinstance(card["weights"], str) and isinstance(card["weights_sha256"], str),
        all(_is_whole(card[name]) for name in ("n_classes", "channels", "n_inputs")),
        _is_whole(card["output_stride"]) and _is_number(card["dropout"]),
        isinstance(card["network"], str) and isinstance(card["backbone"], str),
    )
    if not all(sound):
        raise FeatureError(
            f"{path} holds sizes or names that no segmenter of ours has.", code="MODEL_DAMAGED"
        )
    require_unnamed_file(card["weights"], path)
    try:
        return SegmenterSpec(**{name: card[name] for name in _SPEC})
    except ConfigError as error:
        raise FeatureError(
            f"{path} names no segmenter of ours: {error.message}", code="MODEL_DAMAGED"
        ) from error


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
