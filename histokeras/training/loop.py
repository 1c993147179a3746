"""The one training loop: epochs in a seeded order, validation by ``analysis``, early stopping."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

from histokeras.errors import ConfigError

Batch = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float32]]
CROSS_ENTROPY, SQUARED_ERROR = "sparse_categorical_crossentropy", "mean_squared_error"
_TARGETS = {CROSS_ENTROPY: (tf.int32, ["accuracy"]), SQUARED_ERROR: (tf.float32, [])}
"""Loss -> type of its targets, and what else is logged of the training data."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to train.

    Attributes:
        epochs: Largest number of passes over the training data.
        batch_size: Items a step.
        learning_rate: Of Adam.
        patience: Epochs without a lower validation loss after which training stops; the weights
            of the best epoch are kept.
        seed: Of initial weights, order and dropout.
    """

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    patience: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"`{name}` must be at least 1. Received: {name}={getattr(self, name)}"
                )
        if not self.learning_rate > 0:
            raise ConfigError(
                f"`learning_rate` must be above 0. Received: learning_rate={self.learning_rate}"
            )


def _without_tuner() -> tf.data.Options:
    # Nothing is left to be tuned, and its sleeping thread can hold up the end of each epoch.
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


class _Clock(keras.callbacks.Callback):
    """Tells the data which epoch it is: order depends on (seed, epoch) and on nothing before."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch


class _Validation(keras.callbacks.Callback):
    """Adds our own validation figures to the logs, before early stopping reads them."""

    def __init__(self, validate: Callable[[keras.Model], dict[str, float]]) -> None:
        super().__init__()
        self._validate = validate

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs is not None:
            logs.update(self._validate(self.model))


def fit(
    model: keras.Model,
    batches: Callable[[int], Iterator[Batch]],
    shape: tuple[int, int],
    validate: Callable[[keras.Model], dict[str, float]],
    config: FitConfig,
    loss: str = CROSS_ENTROPY,
) -> pd.DataFrame:
    """Train a head in place and leave it with the weights of its best epoch.

    Args:
        model: ``(batch, n_features) -> (batch, n_classes)`` probabilities, or ``(batch, 1)``
            numbers; compiled here.
        batches: Given the epoch, yields inputs, targets (class numbers, or numbers) and sample
            weights.
        shape: Number of batches an epoch, and the width of the inputs.
        validate: Given the model, returns figures of the validation data; must hold ``val_loss``.
        config: How to train.
        loss: ``sparse_categorical_crossentropy`` or ``mean_squared_error``.

    Returns:
        One row an epoch: ``epoch`` (from 1), ``loss``, of classes ``accuracy``, what ``validate``
        returned, and ``best`` (whether its weights were kept).
    """
    clock, (steps, n_features) = _Clock(), shape
    spec = (
        tf.TensorSpec((None, n_features), tf.float32),
        tf.TensorSpec((None,), _TARGETS[loss][0]),
        tf.TensorSpec((None,), tf.float32),
    )
    dataset = (
        tf.data.Dataset.from_generator(lambda: batches(clock.epoch), output_signature=spec)
        # Without a known length Keras takes the end of the first epoch for a failure.
        .apply(tf.data.experimental.assert_cardinality(steps))
        .prefetch(2)
        .with_options(_without_tuner())
    )
    model.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate),
        loss=loss,
        weighted_metrics=list(_TARGETS[loss][1]),
    )
    stopping = keras.callbacks.EarlyStopping(
        monitor="val_loss", mode="min", patience=config.patience, restore_best_weights=True
    )
    history = model.fit(
        dataset,
        epochs=config.epochs,
        callbacks=[clock, _Validation(validate), stopping],
        shuffle=False,
        verbose=0,
    )
    table = pd.DataFrame(history.history)
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    table["best"] = table["epoch"] == stopping.best_epoch + 1
    return table
