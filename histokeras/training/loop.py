"""The one training loop: epochs in a seeded order, validation by ``analysis``, early stopping."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

from histokeras.errors import ConfigError, FeatureError
from histokeras.models.cox_loss import cox_loss
from histokeras.models.heads import CLINICAL, FEATURES, MASK
from histokeras.training.checkpoint import State, read_checkpoint, write_checkpoint

Batch = tuple[Any, npt.NDArray[Any], npt.NDArray[np.float32]]
EpochData = Callable[[Callable[[], int]], tf.data.Dataset]
"""Given a function that tells the epoch (from 0), returns the data of an epoch: inputs, integer
targets, sample weights. Order depends on (seed, epoch) and on nothing before."""
Validate = Callable[[keras.Model], dict[str, float]]
OnEpoch = Callable[[dict[str, float]], None]
"""Called with the row of each epoch; what it raises ends the training."""
CROSS_ENTROPY, SQUARED_ERROR = "sparse_categorical_crossentropy", "mean_squared_error"
COX = "cox"
_TARGETS = {
    CROSS_ENTROPY: (tf.int32, ["accuracy"]),
    SQUARED_ERROR: (tf.float32, []),
    COX: (tf.float32, []),
}
"""Loss -> type of its targets, and what else is logged of the training data."""
_OWN: dict[str, Any] = {COX: cox_loss}
_CHECKPOINT_SHARE = 0.05
"""Largest share of the time that goes into checkpoints: a head's epoch may take milliseconds, and
a disk tens of them to write one."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to train.

    Attributes:
        epochs: Largest number of passes over the training data.
        batch_size: Items a step, over all devices.
        learning_rate: Of Adam.
        patience: Epochs without a lower validation loss, or a better figure of what is watched,
            after which training stops; the weights of the best epoch are kept.
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


@dataclass(frozen=True)
class Resume:
    """Where an interrupted training is taken up.

    Attributes:
        path: File of the checkpoint, written at the end of epochs; its folder must exist.
        key: What decides the training; a checkpoint of another key is not taken up.
        say: Called with a line when a checkpoint is taken up, or cannot be.
    """

    path: Path
    key: str
    say: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class Watched:
    """The figure of the validation data that decides which epoch is the best.

    Attributes:
        name: What ``validate`` calls it.
        highest: Whether the highest is the best, as of an IoU; else the lowest, as of a loss.
    """

    name: str = "val_loss"
    highest: bool = False

    def cost(self, row: dict[str, float]) -> float:
        """Return what is to be as low as possible; a figure that is not defined is the worst."""
        value = row[self.name]
        if math.isnan(value):
            return math.inf
        return -value if self.highest else value


LOWEST_LOSS = Watched()


class _Keeper(keras.callbacks.Callback):
    """Validates after each epoch, keeps the best weights, stops, and writes the checkpoint."""

    def __init__(
        self,
        validate: Validate,
        watched: Watched,
        state: State,
        config: FitConfig,
        resume: Resume | None,
        on_epoch: OnEpoch,
    ) -> None:
        super().__init__()
        self.state = state
        self._validate, self._config, self._resume = validate, config, resume
        self._watched, self._on_epoch = watched, on_epoch
        self._pause, self._kept = 0.0, time.monotonic()

    @property
    def ended(self) -> bool:
        state, config = self.state, self._config
        return state.waited >= config.patience or state.epoch >= config.epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row = {"epoch": epoch + 1, **(logs or {}), **self._validate(self.model)}
        row = {name: float(value) for name, value in row.items()}
        _require_number(row)
        state = self.state
        state.history.append(row)
        state.epoch, state.waited = epoch + 1, state.waited + 1
        cost = self._watched.cost(row)
        if cost < state.best_loss:
            state.best, state.best_loss = self.model.get_weights(), cost
            state.best_epoch, state.waited = epoch + 1, 0
        self._keep()
        self._on_epoch(row)
        self.model.stop_training = self.ended

    def _keep(self) -> None:
        """Write the checkpoint, not after each epoch if one takes no longer than the writing."""
        began = time.monotonic()
        if self._resume is None or not (self.ended or began - self._kept >= self._pause):
            return
        write_checkpoint(self._resume.path, self.model, self.state, key=self._resume.key)
        self._kept = time.monotonic()
        self._pause = (self._kept - began) * (1 / _CHECKPOINT_SHARE - 1)


def fit(
    model: keras.Model,
    data: EpochData,
    validate: Validate,
    config: FitConfig,
    *,
    loss: str | keras.losses.Loss = CROSS_ENTROPY,
    optimizer: keras.optimizers.Optimizer | None = None,
    watched: Watched = LOWEST_LOSS,
    resume: Resume | None = None,
    from_start: bool = False,
    warmup_steps: int = 0,
    on_epoch: OnEpoch = lambda row: None,
) -> pd.DataFrame:
    """Train a network in place and leave it with the weights of its best epoch.

    Args:
        model: Inputs -> (batch, n_classes) probabilities, or (batch, 1) numbers; compiled here.
        data: What an epoch learns from.
        validate: Given the model, returns figures of the val data; must hold what is watched.
        config: How to train.
        loss: ``sparse_categorical_crossentropy``, ``mean_squared_error`` or ``cox``, whose targets
            are those of :func:`~histokeras.models.cox_loss.cox_loss`; or a loss of Keras' kind.
        optimizer: What changes the weights; Adam at the rate of ``config`` if None. Its own rate
            holds: ``warmup_steps`` are Adam's alone.
        watched: Which figure decides what the best epoch is.
        resume: Where to go on after an interruption; None to keep no checkpoint.
        from_start: Whether the weights before the first epoch compete too, as epoch 0.
        warmup_steps: Steps over which the rate rises to its value: Adam's first steps are as long
            as any, in directions that a few batches chose, and could undo what was learned before.
        on_epoch: Called with the row of each epoch, those of a checkpoint too.

    Returns:
        One row an epoch: ``epoch`` (from 1), ``loss``, of classes ``accuracy``, what ``validate``
        returned, and ``best`` (whether its weights were kept).

    Raises:
        ConfigError: If a loss is not a number.
        OutputError: If the checkpoint cannot be written.
    """
    model.compile(
        optimizer=optimizer or keras.optimizers.Adam(_rate(config.learning_rate, warmup_steps)),
        loss=_OWN.get(loss, loss) if isinstance(loss, str) else loss,
        weighted_metrics=list(_TARGETS[loss][1]) if isinstance(loss, str) else [],
    )
    model.optimizer.build(model.trainable_variables)
    known = None if resume is None else _taken_up(resume, model)
    state = known or _first(model, validate if from_start else None, watched)
    for row in state.history:
        on_epoch(row)
    keeper = _Keeper(validate, watched, state, config, resume, on_epoch)
    if not keeper.ended:
        clock = _Clock(state.epoch)
        model.fit(
            data(lambda: clock.epoch),
            initial_epoch=state.epoch,
            epochs=config.epochs,
            callbacks=[clock, keeper],
            shuffle=False,
            verbose=0,
        )
    model.set_weights(state.best)
    table = pd.DataFrame(state.history)
    table["epoch"] = table["epoch"].astype(int)
    table["best"] = table["epoch"] == state.best_epoch
    return table


def _taken_up(resume: Resume, model: keras.Model) -> State | None:
    try:
        state = read_checkpoint(resume.path, model, key=resume.key)
    except FeatureError as error:
        resume.say(f"{error.message} Training begins anew.")
        return None
    if state is not None:
        resume.say(f"Training goes on after epoch {state.epoch}, from {resume.path}.")
    return state


@keras.saving.register_keras_serializable("histokeras")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises in a straight line, then stays.

    Args:
        rate: Where it ends.
        steps: After how many steps.
    """

    def __init__(self, rate: float, steps: int) -> None:
        self.rate, self.steps = rate, steps

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step, counted from 0."""
        done = keras.ops.cast(step, "float32") + 1
        return self.rate * keras.ops.minimum(1.0, done / self.steps)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same schedule again."""
        return {"rate": self.rate, "steps": self.steps}


def _rate(rate: float, warmup_steps: int) -> Any:
    return WarmUp(rate, warmup_steps) if warmup_steps else rate


class _Clock(keras.callbacks.Callback):
    """Tells the data which epoch it is."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch


def _first(model: keras.Model, validate: Validate | None, watched: Watched) -> State:
    """Return the state before the first epoch."""
    if validate is None:
        return State(0, 0, 0, math.inf, [], model.get_weights())
    row = {"epoch": 0.0, **{name: float(value) for name, value in validate(model).items()}}
    _require_number(row)
    return State(0, 0, 0, watched.cost(row), [row], model.get_weights())


def _require_number(row: dict[str, float]) -> None:
    losses = {name: value for name, value in row.items() if name.endswith("loss")}
    odd = [name for name, value in losses.items() if not math.isfinite(value)]
    if odd:
        raise ConfigError(
            f"`{odd[0]}` is {row[odd[0]]} after epoch {row['epoch']:.0f}: training has come apart.",
            code="DIVERGED",
            hint="Lower --learning-rate.",
        )


def vector_data(
    batches: Callable[[int], Iterator[Batch]],
    *,
    steps: int,
    n_features: int,
    loss: str = CROSS_ENTROPY,
) -> EpochData:
    """Return the data of a head.

    Args:
        batches: Given the epoch, yields vectors, targets (class numbers, or numbers) and sample
            weights.
        steps: Number of batches an epoch.
        n_features: Length of a vector.
        loss: As in :func:`fit`.
    """
    inputs = tf.TensorSpec((None, n_features), tf.float32)
    return _generated(batches, steps, inputs, _TARGETS[loss][0])


def bag_data(
    batches: Callable[[int], Iterator[Batch]],
    *,
    steps: int,
    n_features: int,
    n_clinical: int = 0,
    loss: str = CROSS_ENTROPY,
) -> EpochData:
    """Return the data of a head of bags.

    Args:
        batches: Given the epoch, yields bags, padded to one size (a dict: ``features`` float32
            ``(b, n_tiles, n_features)``, ``mask`` bool ``(b, n_tiles)``), targets and sample
            weights.
        steps: Number of batches an epoch.
        n_features: Length of a vector.
        n_clinical: Number of clinical terms, ``clinical`` float32 ``(b, n_clinical)`` in the dict;
            0 for none.
        loss: As in :func:`fit`.
    """
    inputs = {
        FEATURES: tf.TensorSpec((None, None, n_features), tf.float32),
        MASK: tf.TensorSpec((None, None), tf.bool),
    }
    if n_clinical:
        inputs[CLINICAL] = tf.TensorSpec((None, n_clinical), tf.float32)
    return _generated(batches, steps, inputs, _TARGETS[loss][0])


def _generated(
    batches: Callable[[int], Iterator[Batch]], steps: int, inputs: Any, targets: tf.DType
) -> EpochData:
    spec = (inputs, tf.TensorSpec((None,), targets), tf.TensorSpec((None,), tf.float32))

    def data(epoch: Callable[[], int]) -> tf.data.Dataset:
        return (
            tf.data.Dataset.from_generator(lambda: batches(epoch()), output_signature=spec)
            # Without a known length Keras takes the end of the first epoch for a failure.
            .apply(tf.data.experimental.assert_cardinality(steps))
            .prefetch(2)
            .with_options(_without_tuner())
        )

    return data


def _without_tuner() -> tf.data.Options:
    # Nothing is left to be tuned, and its sleeping thread can hold up the end of each epoch.
    options = tf.data.Options()
    options.autotune.enabled = False
    return options
