"""Small networks trained on top of frozen bottleneck features."""

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt

from histokeras.errors import ConfigError

Vector = npt.NDArray[np.float32]


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
            down, but with a softmax and on standardised features).
        n_features: Length of one feature vector (2048 for InceptionV3 and ResNet50).
        n_classes: Number of classes, at least 2. Binary tasks use 2, never 1.
        mean: Mean of each feature over the training tiles, shape ``(n_features,)``; zeros if None.
        scale: 1 / standard deviation of each feature, same shape; ones if None.

    Returns:
        An uncompiled model, ``(batch, n_features) float32 -> (batch, n_classes)`` float32
        probabilities that sum to 1.

    Raises:
        ConfigError: If there is no such head or ``n_classes`` is below 2.
    """
    if n_classes < 2:
        raise ConfigError(f"`n_classes` must be at least 2. Received: n_classes={n_classes}")
    inputs, logits = _ended(head, n_features, (n_classes, "logits"), mean, scale)
    outputs = keras.layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(inputs, outputs, name=f"{head.replace('-', '_')}_head")


def build_number_head(
    head: str, n_features: int, *, mean: Vector | None = None, scale: Vector | None = None
) -> keras.Model:
    """Build a top-up head that gives one number.

    Args:
        head: As for :func:`build_head`, without the softmax.
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


def _ended(
    head: str, n_features: int, last: tuple[int, str], mean: Vector | None, scale: Vector | None
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the input of a head, and its last linear layer of a size and a name."""
    if head not in HEADS:
        raise ConfigError(f"`head` must be one of {', '.join(HEADS)}. Received: head={head!r}")
    inputs = keras.Input((n_features,), name="features")
    mean = np.zeros(n_features, "float32") if mean is None else mean
    scale = np.ones(n_features, "float32") if scale is None else scale
    x = HEADS[head](inputs, mean, scale)
    # float32 keeps the softmax exact when mixed precision is on.
    # A linear head is convex: from zeros it needs no luck, and few steps on few tiles.
    start = "zeros" if head == "linear" else "glorot_uniform"
    size, name = last
    outputs = keras.layers.Dense(size, kernel_initializer=start, dtype="float32", name=name)(x)
    return inputs, outputs


def standardised(x: keras.KerasTensor, mean: Vector, scale: Vector) -> keras.KerasTensor:
    """Return ``(x - mean) * scale`` of features ``(batch, n_features)``, by a fixed layer."""
    # Weights that are never trained, so that they travel with the head. The scale stands as gamma:
    # as a variance, those of tiny features would drown in the layer's epsilon.
    layer = keras.layers.BatchNormalization(
        center=False, epsilon=1e-6, trainable=False, name="standardise"
    )
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
