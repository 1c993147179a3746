"""Small networks trained on top of frozen bottleneck features."""

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt

from histokeras.errors import ConfigError
from histokeras.models.catalog import BAG_HEADS, RISK_HEADS, TILE_HEADS

Vector = npt.NDArray[np.float32]
FEATURES, MASK, CLINICAL = "features", "mask", "clinical"
"""Inputs of a head of bags, the last where it takes clinical terms; one of tiles has the first."""
_EMBEDDING, _SCORE, _ATTENTION, _PROBABILITIES = "dropout", "score", "attention", "probabilities"
_LOG_HAZARD, _RISK = "log_hazard", "risk"
_CLINICAL_SCALE, _CLINICAL_RISK = "standardise_clinical", "clinical_risk"
_EMBEDDED, _GATED = 256, 128


def build_head(
    head: str,
    n_features: int,
    n_classes: int,
    *,
    mean: Vector | None = None,
    scale: Vector | None = None,
) -> keras.Model:
    """Build a top-up head.

    Args:
        head: ``linear`` (softmax regression), ``mlp`` (one hidden layer of 256, dropout) or
            ``write-up`` (Dense 2048, BatchNorm, tanh, Dropout 0.5, as the hypoxia study wrote it
            down, but with a softmax and on standardised features), or of bags ``mil``, see
            :func:`_bag`.
        n_features: Length of one feature vector (2048 for InceptionV3 and ResNet50).
        n_classes: Number of classes, at least 2. Binary tasks use 2, never 1.
        mean: Mean of each feature over the training tiles, shape ``(n_features,)``; zeros if None.
        scale: 1 / standard deviation of each feature, same shape; ones if None.

    Returns:
        An uncompiled model, ``(batch, n_features) float32 -> (batch, n_classes)`` float32
        probabilities that sum to 1. That of ``mil`` takes a dict of bags: ``features`` float32
        ``(batch, n_tiles, n_features)`` and ``mask`` bool ``(batch, n_tiles)``, true for tiles,
        false for padding; rows of its output are bags.

    Raises:
        ConfigError: If there is no such head or ``n_classes`` is below 2.
    """
    if n_classes < 2:
        raise ConfigError(f"`n_classes` must be at least 2. Received: n_classes={n_classes}")
    if head in BAG_HEADS:
        inputs, logits = _bag(n_features, (n_classes, "logits"), mean, scale)
        outputs = keras.layers.Softmax(dtype="float32", name=_PROBABILITIES)(logits)
        return keras.Model(inputs, outputs, name="mil_head")
    inputs, logits = _ended(head, n_features, (n_classes, "logits"), mean, scale)
    outputs = keras.layers.Softmax(dtype="float32", name=_PROBABILITIES)(logits)
    return keras.Model(inputs, outputs, name=f"{head.replace('-', '_')}_head")


def build_number_head(
    head: str, n_features: int, *, mean: Vector | None = None, scale: Vector | None = None
) -> keras.Model:
    """Build a top-up head that gives one number.

    Args:
        head: As for :func:`build_head`, of tiles, without the softmax.
        n_features: Length of one feature vector.
        mean: As for :func:`build_head`.
        scale: As for :func:`build_head`.

    Returns:
        An uncompiled model, ``(batch, n_features) float32 -> (batch, 1)`` float32, unbounded: the
        target in units of its standard deviation, from its mean.

    Raises:
        ConfigError: If there is no such head.
    """
    inputs, number = _ended(head, n_features, (1, "number"), mean, scale)
    return keras.Model(inputs, number, name=f"{head.replace('-', '_')}_number_head")


def build_risk_head(
    head: str,
    n_features: int,
    *,
    mean: Vector | None = None,
    scale: Vector | None = None,
    n_clinical: int = 0,
) -> keras.Model:
    """Build a top-up head that gives the logarithm of a patient's hazard, up to a constant.

    Args:
        head: ``linear`` or ``mlp``, whose tiles each get one and a patient their mean; or ``mil``,
            attention over the tiles, see :func:`_bag`.
        n_features: Length of one feature vector.
        mean: As for :func:`build_head`.
        scale: As for :func:`build_head`.
        n_clinical: Number of clinical terms that the last linear layer sees beside the patient's
            features; 0 for a head of images alone. See :func:`start_clinical`.

    Returns:
        An uncompiled model of bags: a dict of ``features`` float32 ``(batch, n_tiles, n_features)``
        and ``mask`` bool ``(batch, n_tiles)``, with terms also ``clinical`` float32
        ``(batch, n_clinical)`` -> ``(batch, 1)`` float32, unbounded.

    Raises:
        ConfigError: If there is no such head.
    """
    if head not in RISK_HEADS:
        allowed = ", ".join(RISK_HEADS)
        raise ConfigError(f"`head` must be one of {allowed}. Received: head={head!r}")
    if head in BAG_HEADS:
        inputs, risk = _bag(n_features, (1, _RISK), mean, scale)
        return _risk_model(inputs, risk, n_clinical, "mil_risk_head")
    features = keras.Input((None, n_features), name=FEATURES)
    mask = keras.Input((None,), dtype="bool", name=MASK)
    x = HEADS[head](features, *_moments(n_features, mean, scale))
    start = "zeros" if head == "linear" else "glorot_uniform"
    # A bias would be the same for everyone: only differences of risks are learned.
    of_tile = keras.layers.Dense(
        1, use_bias=False, kernel_initializer=start, dtype="float32", name=_LOG_HAZARD
    )(x)
    risk = keras.layers.GlobalAveragePooling1D(dtype="float32", name=_RISK)(of_tile, mask=mask)
    return _risk_model({FEATURES: features, MASK: mask}, risk, n_clinical, f"{head}_risk_head")


def _risk_model(
    inputs: dict[str, keras.KerasTensor], risk: keras.KerasTensor, n_clinical: int, name: str
) -> keras.Model:
    if not n_clinical:
        return keras.Model(inputs, risk, name=name)
    clinical = keras.Input((n_clinical,), name=CLINICAL)
    zeros, ones = _moments(n_clinical, None, None)
    x = standardised(clinical, zeros, ones, name=_CLINICAL_SCALE)
    # One linear layer over features and terms is the sum of one over each: so the risk falls into
    # the image's part and the columns' part.
    of_columns = keras.layers.Dense(
        1, use_bias=False, kernel_initializer="zeros", dtype="float32", name=_CLINICAL_RISK
    )(x)
    whole = keras.layers.Add(dtype="float32", name="whole_risk")([risk, of_columns])
    return keras.Model({**inputs, CLINICAL: clinical}, whole, name=name)


def takes_clinical(model: keras.Model) -> bool:
    """Tell whether a head of survival has clinical terms among its inputs."""
    return any(layer.name == CLINICAL for layer in model.layers)


def start_clinical(model: keras.Model, mean: Vector, scale: Vector, start: Vector) -> None:
    """Set from where a head learns of clinical terms.

    Args:
        model: Of :func:`build_risk_head` with clinical terms; changed in place.
        mean: Mean of each term over the training patients, ``(n_clinical,)``.
        scale: 1 / standard deviation of each, same shape.
        start: First weight of each standardised term, same shape.
    """
    fixed = np.full_like(mean, 1 - 1e-6)
    model.get_layer(_CLINICAL_SCALE).set_weights([scale, mean, fixed])
    model.get_layer(_CLINICAL_RISK).set_weights([start[:, np.newaxis]])


def clinical_part(model: keras.Model) -> keras.Model:
    """Return the part of a head of survival that clinical terms alone decide.

    Args:
        model: Of :func:`build_risk_head` with clinical terms.

    Returns:
        Terms ``(batch, n_clinical)`` -> what they add to the risk, ``(batch, 1)``. It shares the
        weights.
    """
    terms = model.get_layer(CLINICAL).output
    return keras.Model(terms, model.get_layer(_CLINICAL_RISK).output)


def tile_part(model: keras.Model) -> keras.Model:
    """Return the part of a head of survival that gives tiles their own risk.

    Args:
        model: ``linear`` or ``mlp`` of :func:`build_risk_head`.

    Returns:
        Tiles ``(batch, n_tiles, n_features)`` -> ``(batch, n_tiles, 1)``. It shares the weights.
    """
    features = model.get_layer(FEATURES).output
    return keras.Model(features, model.get_layer(_LOG_HAZARD).output)


def _ended(
    head: str, n_features: int, last: tuple[int, str], mean: Vector | None, scale: Vector | None
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the input of a head, and its last linear layer of a size and a name."""
    if head not in HEADS:
        allowed = ", ".join(TILE_HEADS if last[1] == "number" else (*TILE_HEADS, *BAG_HEADS))
        raise ConfigError(f"`head` must be one of {allowed}. Received: head={head!r}")
    inputs = keras.Input((n_features,), name=FEATURES)
    x = HEADS[head](inputs, *_moments(n_features, mean, scale))
    # float32 keeps the softmax exact when mixed precision is on.
    # A linear head is convex: from zeros it needs no luck, and few steps on few tiles.
    start = "zeros" if head == "linear" else "glorot_uniform"
    size, name = last
    outputs = keras.layers.Dense(size, kernel_initializer=start, dtype="float32", name=name)(x)
    return inputs, outputs


def _moments(n: int, mean: Vector | None, scale: Vector | None) -> tuple[Vector, Vector]:
    mean = np.zeros(n, np.float32) if mean is None else mean
    return mean, np.ones(n, np.float32) if scale is None else scale


def _bag(
    n_features: int, last: tuple[int, str], mean: Vector | None, scale: Vector | None
) -> tuple[dict[str, keras.KerasTensor], keras.KerasTensor]:
    """Return the inputs and the last linear layer, of a size and a name, of gated attention.

    It is over the tiles of a bag (Ilse, Tomczak, Welling 2018, equation 9).

    Of the tiles' embeddings ``h_k = relu(E x_k + e)`` the bag's is their weighted mean
    ``z = sum_k a_k h_k`` with

    ``a_k = exp(w^T (tanh(V h_k) * sigm(U h_k))) / sum_j exp(w^T (tanh(V h_j) * sigm(U h_j)))``

    over the tiles j of the bag, so that ``a_k >= 0`` and ``sum_k a_k = 1``; the classes are a
    softmax of a linear function of z, a risk is linear itself. Tiles have no order and a bag no
    size: neither changes what is learned. E gives 256 numbers (dropout 0.25), V and U give 128.
    """
    features = keras.Input((None, n_features), name=FEATURES)
    mask = keras.Input((None,), dtype="bool", name=MASK)
    x = standardised(features, *_moments(n_features, mean, scale))
    x = keras.layers.Dense(_EMBEDDED, activation="relu", name="embedding")(x)
    h = keras.layers.Dropout(0.25, name=_EMBEDDING)(x)
    v = keras.layers.Dense(_GATED, activation="tanh", name="attention_v")(h)
    u = keras.layers.Dense(_GATED, activation="sigmoid", name="attention_u")(h)
    # A bias would add the same to every score of a bag: the softmax forgets it.
    w = keras.layers.Dense(1, use_bias=False, dtype="float32", name="attention_w")
    score = keras.layers.Reshape((-1,), name=_SCORE)(w(keras.layers.Multiply(name="gated")([v, u])))
    attention = keras.layers.Softmax(dtype="float32", name=_ATTENTION)(score, mask=mask)
    z = keras.layers.Dot(axes=1, dtype="float32", name="bag")([attention, h])
    size, name = last
    outputs = keras.layers.Dense(size, dtype="float32", name=name)(z)
    return {FEATURES: features, MASK: mask}, outputs


def bag_parts(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Split a head of bags, so that a large one need not stand in memory as features.

    Args:
        model: ``mil`` of :func:`build_head` or :func:`build_risk_head`.

    Returns:
        Tiles ``(batch, n_tiles, n_features)`` -> embeddings ``(batch, n_tiles, 256)`` and scores
        ``(batch, n_tiles)``; these two and the mask -> attention ``(batch, n_tiles)``, which sums
        to 1 over each bag, and what the head gives ``(batch, n_outputs)``, of clinical terms
        without what these add. They share its weights.
    """
    h, score = model.get_layer(_EMBEDDING).output, model.get_layer(_SCORE).output
    features, mask = (model.get_layer(name).output for name in (FEATURES, MASK))
    said = model.get_layer(_RISK).output if takes_clinical(model) else model.outputs[0]
    outputs = [model.get_layer(_ATTENTION).output, said]
    return keras.Model(features, [h, score]), keras.Model([h, score, mask], outputs)


def standardised(
    x: keras.KerasTensor, mean: Vector, scale: Vector, *, name: str = "standardise"
) -> keras.KerasTensor:
    """Return ``(x - mean) * scale`` of features ``(batch, n_features)``, by a fixed layer."""
    # Weights that are never trained, so that they travel with the head. The scale stands as gamma:
    # as a variance, those of tiny features would drown in the layer's epsilon.
    layer = keras.layers.BatchNormalization(center=False, epsilon=1e-6, trainable=False, name=name)
    y = layer(x)
    layer.set_weights([scale, mean, np.full_like(mean, 1 - 1e-6)])
    return y


def _linear(x: keras.KerasTensor, mean: Vector, scale: Vector) -> keras.KerasTensor:
    return standardised(x, mean, scale)


def _mlp(x: keras.KerasTensor, mean: Vector, scale: Vector) -> keras.KerasTensor:
    x = standardised(x, mean, scale)
    x = keras.layers.Dense(256, activation="relu", name="hidden")(x)
    return keras.layers.Dropout(0.5, name="dropout")(x)


def _write_up(x: keras.KerasTensor, mean: Vector, scale: Vector) -> keras.KerasTensor:
    # Raw features, as written up, would leave those of tiny scale to BatchNorm's epsilon.
    x = standardised(x, mean, scale)
    x = keras.layers.Dense(2048, kernel_initializer="random_uniform", name="hidden")(x)
    # Plain BatchNormalization keeps different statistics on each replica of a MirroredStrategy.
    # Momentum 0.9, for 0.99 takes hundreds of steps to know the mean: early stopping then keeps a
    # first epoch whose statistics are still those of no data.
    x = keras.layers.BatchNormalization(momentum=0.9, synchronized=True, name="batch_norm")(x)
    x = keras.layers.Activation("tanh", name="tanh")(x)
    return keras.layers.Dropout(0.5, name="dropout")(x)


HEADS: dict[str, Callable[[keras.KerasTensor, Vector, Vector], keras.KerasTensor]] = {
    "linear": _linear,
    "mlp": _mlp,
    "write-up": _write_up,
}
