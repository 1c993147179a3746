"""Fit a head that predicts a number, and predict with it: the counterpart of ``head``."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.regression import figures_of
from histokeras.errors import TableError
from histokeras.models.heads import build_number_head
from histokeras.training.head import HeadConfig, Labelled, predict_probabilities
from histokeras.training.loop import SQUARED_ERROR, Batch, OnEpoch, Resume, fit, vector_data
from histokeras.training.vectors import Vectors, mean_and_scale
from histokeras.types import PRED


@dataclass(frozen=True)
class FittedNumberHead:
    """A trained head that gives a number.

    Attributes:
        model: ``(n, n_features) -> (n, 1)``, in standard deviations of the target from its mean.
        target: Name of the target.
        history: One row an epoch.
        mean: Of the target over the training units, in its own unit.
        scale: Its standard deviation there, above 0.
    """

    model: keras.Model
    target: str
    history: pd.DataFrame
    mean: float
    scale: float

    @classmethod
    def of_card(cls, model: keras.Model, card: Mapping[str, Any]) -> "FittedNumberHead":
        """Return the head that a card describes, without its training curve."""
        mean, scale = float(card["target_mean"]), float(card["target_scale"])
        return cls(model, str(card["target"]), pd.DataFrame(), mean, scale)

    def facts(self) -> dict[str, Any]:
        """Return what the card says of it beside its target."""
        return {"target_mean": self.mean, "target_scale": self.scale}

    def scores(self, vectors: Vectors) -> dict[str, npt.NDArray[np.float32]]:
        """Return what :meth:`predict` returns under the prefix of its column."""
        return {PRED: self.predict(vectors)}

    def predict(self, vectors: Vectors) -> npt.NDArray[np.float32]:
        """Return the target of vectors in its own unit, float32 ``(n, 1)``."""
        standard = predict_probabilities(self.model, vectors).astype(np.float64)
        return (standard * self.scale + self.mean).astype(np.float32)


def fit_number(
    train: Labelled,
    val: Labelled,
    target: str,
    config: HeadConfig | None = None,
    *,
    resume: Resume | None = None,
    on_epoch: OnEpoch = lambda row: None,
) -> FittedNumberHead:
    """Train a head on the squared error of ``train``, stopping early on that of ``val``.

    Tiles are weighted with ``weights``, so that each labelled slide or patient counts once.

    Args:
        train: What is learned; ``targets`` are numbers.
        val: What decides when to stop; never learned.
        target: Name of the target.
        config: The defaults if None; ``class_weight`` does not apply.
        resume: Where to go on after an interruption; None to keep no checkpoint.
        on_epoch: Called with the row of each epoch.

    Returns:
        The head with the weights of its best epoch.

    Raises:
        TableError: If train has not two different numbers, or val no tile (SPLIT_IMPOSSIBLE).
    """
    config = config or HeadConfig()
    mean, scale = _standard(train, val)
    weights, val_weights = _relative(train), _relative(val)
    standard = ((train.targets - mean) / scale).astype(np.float32)
    keras.utils.set_random_seed(config.fit.seed)
    centre, spread = mean_and_scale(train.vectors)
    model = build_number_head(config.head, train.vectors.n_features, mean=centre, scale=spread)

    def batches(epoch: int) -> Iterator[Batch]:
        # Order depends on (seed, epoch) alone, so that epoch 7 is the same after any history.
        rng = np.random.default_rng((config.fit.seed, epoch))
        for positions, matrix in train.vectors.batches(config.fit.batch_size, rng):
            yield matrix, standard[positions], weights[positions]

    def validate(model: keras.Model) -> dict[str, float]:
        predicted = predict_probabilities(model, val.vectors)[:, 0].astype(np.float64)
        errors = predicted - (val.targets - mean) / scale
        figures = figures_of(val.targets, predicted * scale + mean)
        spearman = figures["spearman"]
        return {
            "val_loss": float(np.average(errors**2, weights=val_weights)),
            "val_spearman": math.nan if spearman is None else spearman,
            "val_mae": float(np.average(np.abs(errors), weights=val_weights) * scale),
        }

    steps = math.ceil(len(train.targets) / config.fit.batch_size)
    n_features = train.vectors.n_features
    data = vector_data(batches, steps=steps, n_features=n_features, loss=SQUARED_ERROR)
    history = fit(
        model, data, validate, config.fit, loss=SQUARED_ERROR, resume=resume, on_epoch=on_epoch
    )
    return FittedNumberHead(model, target, history, mean, scale)


def _standard(train: Labelled, val: Labelled) -> tuple[float, float]:
    """Return mean and standard deviation of the target, each labelled unit counting once."""
    enough = len(train.targets) and np.ptp(train.targets) > 0
    if not enough or not len(val.targets):
        what = "tiles in val" if enough else "two different numbers in train"
        raise TableError(
            f"there are no {what}.",
            code="SPLIT_IMPOSSIBLE",
            hint="Split anew with `histokeras split`, or check which slides have features.",
        )
    weights = _relative(train)
    mean = float(np.average(train.targets, weights=weights))
    variance = float(np.average((train.targets - mean) ** 2, weights=weights))
    return mean, math.sqrt(variance)


def _relative(side: Labelled) -> npt.NDArray[np.float32]:
    """Return the weights of tiles with the mean 1."""
    if side.weights is None:
        return np.ones(len(side.targets), np.float32)
    return (side.weights / side.weights.mean()).astype(np.float32)
