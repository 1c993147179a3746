"""Clusters as files: ``model.json`` and ``weights.safetensors``. No code inside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import safetensors.numpy
from keras import ops

from histokeras.errors import FeatureError
from histokeras.files import prepare_folder, remove, sha256_bytes, write_bytes, write_json
from histokeras.models.deep_kmeans import EMBEDDING, build_deep_kmeans
from histokeras.runs.record import read_object
from histokeras.training.cluster import CLUSTER_CENTRES, FittedClusters
from histokeras.training.vectors import Matrix
from histokeras.types import CLUSTER_METHODS, KMEANS

_FORMAT, _VERSION = "histokeras-clusters", 1
_CARD, _WEIGHTS = "model.json", "weights.safetensors"
_MAX_BYTES, _MAX_UNITS, _MAX_LAYERS, _MAX_CLUSTERS = 1 << 30, 16_384, 20, 100


def write_clusters(folder: Path, fitted: FittedClusters, card: Mapping[str, Any]) -> None:
    """Write clusters and their card.

    Args:
        folder: Where both files go; made if need be.
        fitted: The clusters.
        card: The settings of :class:`ClusterConfig`, ``n_features`` and ``features``, how these
            were made.

    Raises:
        OutputError: If it cannot be written.
    """
    prepare_folder(folder)
    arrays = {name: np.ascontiguousarray(array) for name, array in fitted.arrays.items()}
    data = safetensors.numpy.save(arrays)
    # The card goes first and comes last: without it there is no model, and it names its weights.
    remove(folder, [_CARD])
    write_bytes(folder / _WEIGHTS, data)
    known = {"format": _FORMAT, "version": _VERSION, "weights_sha256": sha256_bytes(data)}
    write_json(folder / _CARD, {**known, **card})


def read_clusters(folder: Path) -> tuple[FittedClusters, dict[str, Any]]:
    """Load clusters: the network is built by our own builder, then given its weights.

    Args:
        folder: The ``model`` folder that ``cluster`` wrote.

    Returns:
        The clusters, without history, and their card.

    Raises:
        FeatureError: If there are none (MODEL_MISSING), they are of another kind or version, or
            their files do not belong together (MODEL_DAMAGED).
    """
    card = _read_card(folder)
    arrays = _read_arrays(folder / _WEIGHTS, card)
    encoder = None
    width = n_features = int(card["n_features"])
    n_clusters = int(card["n_clusters"])
    wanted: dict[str, tuple[int, ...]] = dict.fromkeys(("mean", "scale"), (n_features,))
    if card["method"] != KMEANS:
        model = build_deep_kmeans(n_features, n_clusters, hidden=card["hidden"])
        encoder = keras.Model(model.inputs[0], model.get_layer(EMBEDDING).output)
        width = n_clusters
        wanted = {weight.path: tuple(weight.shape) for weight in encoder.weights}
    wanted[CLUSTER_CENTRES] = (n_clusters, width)
    if wanted != {name: array.shape for name, array in arrays.items()}:
        raise FeatureError(
            f"the weights in {folder} do not fit the clusters named in {_CARD}.",
            code="MODEL_DAMAGED",
        )
    for weight in encoder.weights if encoder is not None else ():
        weight.assign(arrays[weight.path])

    def embed(matrix: Matrix) -> Matrix:
        if encoder is None:
            return (matrix - arrays["mean"]) * arrays["scale"]
        return np.asarray(ops.convert_to_numpy(encoder(matrix, training=False)), np.float32)

    return FittedClusters(embed, arrays[CLUSTER_CENTRES], arrays, pd.DataFrame()), card


def _read_arrays(path: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise FeatureError(f"no {path.name} of ours in {path.parent}.", code="MODEL_DAMAGED")
    data = path.read_bytes()
    if sha256_bytes(data) != card.get("weights_sha256"):
        raise FeatureError(f"{path} is not the file that {_CARD} names.", code="MODEL_DAMAGED")
    try:
        arrays: dict[str, Any] = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise FeatureError(f"{path} is damaged: {error}", code="MODEL_DAMAGED") from error
    return arrays


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / _CARD
    card = read_object(path)
    if not card:
        raise FeatureError(
            f"no {_CARD} in {folder}.",
            code="MODEL_MISSING",
            hint="Name the folder that `histokeras cluster --split` wrote, finished.",
        )
    if card.get("format") != _FORMAT or card.get("version") != _VERSION:
        raise FeatureError(
            f"{path} holds no clusters that this program reads (format {card.get('format')!r}, "
            f"version {card.get('version')!r}).",
            code="MODEL_VERSION",
        )
    hidden = card.get("hidden", [])
    sound = (
        card.get("method") in CLUSTER_METHODS,
        _is_count(card.get("n_features"), _MAX_UNITS),
        _is_count(card.get("n_clusters"), _MAX_CLUSTERS),
        isinstance(hidden, list) and len(hidden) <= _MAX_LAYERS,
        isinstance(hidden, list) and all(_is_count(units, _MAX_UNITS) for units in hidden),
        "hidden" in card or card.get("method") == KMEANS,
        isinstance(card.get("features"), dict),
    )
    if not all(sound):
        raise FeatureError(
            f"{path} holds sizes or names that no clusters of ours have.", code="MODEL_DAMAGED"
        )
    return card


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
