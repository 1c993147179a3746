"""Fit a top-up head on bottleneck features, and predict with it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.baselines import RAW
from histokeras.analysis.calibration import fit_temperature, temperature_scaled
from histokeras.analysis.metrics import (
    balanced_accuracy,
    confusion_matrix,
    log_loss,
    macro_auc,
    predicted_classes,
)
from histokeras.errors import ConfigError, TableError
from histokeras.models.catalog import DEFAULT_HEAD, HEAD_NAMES
from histokeras.models.heads import build_head
from histokeras.training.loop import Batch, FitConfig, OnEpoch, Resume, fit, vector_data
from histokeras.training.vectors import Vectors, mean_and_scale
from histokeras.types import PROB

CLASS_WEIGHTS = ("balanced", "none")
_PREDICT_ROWS = 4096


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Which head, and how it is trained.

    Attributes:
        head: ``linear``, ``mlp`` or ``write-up``, of tiles; ``mil``, of bags.
        class_weight: ``balanced`` (each class weighs the same in the loss) or ``none``.
        fit: Epochs, rate, seed.
    """

    head: str = DEFAULT_HEAD
    class_weight: str = "balanced"
    fit: FitConfig = field(default_factory=FitConfig)

    def __post_init__(self) -> None:
        for name, allowed in (("head", HEAD_NAMES), ("class_weight", CLASS_WEIGHTS)):
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"`{name}` must be one of {', '.join(allowed)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )

    def as_dict(self) -> dict[str, object]:
        """Return the settings as plain values."""
        return {"head": self.head, "class_weight": self.class_weight, **asdict(self.fit)}


@dataclass(frozen=True)
class Labelled:
    """Vectors, the number of the class of each, int32 ``(n,)``, and what each counts.

    ``weights``, float32 ``(n,)``, are used for the temperature alone: 1 for each if None. For
    regression ``targets`` are float64 numbers, and the loss is weighted.
    """

    vectors: Vectors
    targets: npt.NDArray[Any]
    weights: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class FittedHead:
    """A trained head.

    Attributes:
        model: ``(n, n_features) -> (n, n_classes)`` probabilities.
        classes: The class of each output, sorted.
        history: One row an epoch.
        temperature: Divides the logarithms of the probabilities; fitted on val. 1 changes nothing.
        temperature_note: Why it was left at 1; "" if it was fitted.
    """

    model: keras.Model
    classes: tuple[str, ...]
    history: pd.DataFrame
    temperature: float = 1.0
    temperature_note: str = ""

    @classmethod
    def of_card(cls, model: keras.Model, card: Mapping[str, Any]) -> "FittedHead":
        """Return the head that a card describes, without its training curve."""
        temperature = float(card.get("temperature", 1.0))
        note = str(card.get("temperature_note", ""))
        return cls(model, tuple(card["classes"]), pd.DataFrame(), temperature, note)

    def facts(self) -> dict[str, Any]:
        """Return what the card says of it beside its classes."""
        return {"temperature": self.temperature, "temperature_note": self.temperature_note}

    def scores(self, vectors: Vectors) -> dict[str, npt.NDArray[np.float32]]:
        """Return calibrated and raw probabilities under the prefixes of their columns."""
        raw = self.predict_raw(vectors)
        return {PROB: self.calibrated(raw), RAW: raw}

    def predict_proba(self, vectors: Vectors) -> npt.NDArray[np.float32]:
        """Return the calibrated probabilities of vectors, float32 ``(n, n_classes)``."""
        return self.calibrated(self.predict_raw(vectors))

    def predict_raw(self, vectors: Vectors) -> npt.NDArray[np.float32]:
        """Return the network's own probabilities, before temperature scaling."""
        return predict_probabilities(self.model, vectors)

    def calibrated(self, raw: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return what temperature scaling makes of the network's own probabilities."""
        return temperature_scaled(raw, self.temperature)


def fit_classifier(
    train: Labelled,
    val: Labelled,
    classes: Sequence[str],
    config: HeadConfig | None = None,
    *,
    resume: Resume | None = None,
    on_epoch: OnEpoch = lambda row: None,
) -> FittedHead:
    """Train a head on ``train``, stopping early on ``val``.

    Args:
        train: What is learned.
        val: What decides when to stop; never learned.
        classes: Names of the classes, in the order of their numbers.
        config: The defaults if None.
        resume: Where to go on after an interruption; None to keep no checkpoint.
        on_epoch: Called with the row of each epoch.

    Returns:
        The head with the weights of its best epoch, its temperature fitted on ``val``.

    Raises:
        TableError: If a class has no training tile, or there is no validation tile.
    """
    config = config or HeadConfig()
    counts = require_classes(train.targets, val.targets, classes, "tiles")
    keras.utils.set_random_seed(config.fit.seed)
    mean, scale = mean_and_scale(train.vectors)
    model = build_head(config.head, train.vectors.n_features, len(classes), mean=mean, scale=scale)
    weight = np.ones(len(classes), np.float32)
    if config.class_weight == "balanced":
        weight = class_weights(counts)

    def batches(epoch: int) -> Iterator[Batch]:
        # Order depends on (seed, epoch) alone, so that epoch 7 is the same after any history.
        rng = np.random.default_rng((config.fit.seed, epoch))
        for positions, matrix in train.vectors.batches(config.fit.batch_size, rng):
            targets = train.targets[positions]
            yield matrix, targets, weight[targets]

    def validate(model: keras.Model) -> dict[str, float]:
        probabilities = predict_probabilities(model, val.vectors)
        return validation_figures(val.targets, probabilities, weight)

    steps = math.ceil(len(train.targets) / config.fit.batch_size)
    data = vector_data(batches, steps=steps, n_features=train.vectors.n_features)
    history = fit(model, data, validate, config.fit, resume=resume, on_epoch=on_epoch)
    raw = predict_probabilities(model, val.vectors)
    found = fit_temperature(val.targets, raw, weights=val.weights)
    return FittedHead(model, tuple(classes), history, found.value, found.note)


def require_classes(
    train: npt.NDArray[Any], val: npt.NDArray[Any], classes: Sequence[str], what: str
) -> npt.NDArray[np.int64]:
    """Return how often each class occurs in train, int64 ``(n_classes,)``.

    Args:
        train: Class numbers of what is learned.
        val: Those of what decides when to stop.
        classes: Their names.
        what: What is counted, for the error.

    Raises:
        TableError: If a class does not occur in train, or there is nothing in val.
    """
    counts = np.bincount(train, minlength=len(classes))
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    if absent or not len(val):
        lacking = f"class(es) {', '.join(absent)} in train" if absent else f"{what} in val"
        raise TableError(
            f"there are no {lacking}.",
            code="SPLIT_IMPOSSIBLE",
            hint="Split anew with `histokeras split`, or check which slides have features.",
        )
    return counts


def class_weights(counts: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return weights with which each class counts the same in the loss.

    Args:
        counts: How often each class is seen, above 0, shape ``(n_classes,)``.

    Returns:
        Shape ``(n_classes,)``; their mean over what is seen is 1.
    """
    return np.asarray(counts.sum() / (len(counts) * counts), np.float32)


def validation_figures(
    targets: npt.NDArray[np.int32],
    probabilities: npt.NDArray[np.float32],
    weight: npt.NDArray[np.float32],
) -> dict[str, float]:
    """Return ``val_loss``, ``val_balanced_accuracy`` and ``val_auc``.

    Args:
        targets: Class numbers, shape ``(n,)``.
        probabilities: Shape ``(n, n_classes)``.
        weight: Of each class in the loss.
    """
    confusion = confusion_matrix(targets, predicted_classes(probabilities), probabilities.shape[1])
    return {
        "val_loss": float(log_loss(targets, probabilities, weights=weight[targets])),
        "val_balanced_accuracy": float(balanced_accuracy(confusion)),
        "val_auc": float(macro_auc(targets, probabilities)),
    }


def predict_probabilities(model: keras.Model, vectors: Vectors) -> npt.NDArray[np.float32]:
    """Return class probabilities.

    Args:
        model: A head.
        vectors: ``n`` vectors.

    Returns:
        float32 ``(n, n_classes)``, in the order of the vectors.
    """
    n_classes = int(model.output_shape[-1])
    probabilities = np.empty((len(vectors), n_classes), np.float32)
    for positions, matrix in vectors.batches(_PREDICT_ROWS):
        probabilities[positions] = keras.ops.convert_to_numpy(model(matrix, training=False))
    return probabilities
