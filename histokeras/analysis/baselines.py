"""The simplest things that could have reached a score: majority, colour, tumour type, site.

They see the same split as the network. A figure without them says little: where six colour numbers
separate the classes, a network has shown nothing of tissue.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from histokeras.analysis.compare import COLOUR, FLOOR, FROZEN, POOLED, POOLED_SHARE
from histokeras.analysis.metrics import AnyFloats, AnyInts, Bools, Floats, log_loss

RAW = "raw"
"""Prefix of the network's probabilities before temperature scaling."""
MAJORITY = "majority"
CATEGORIES = ("tumour_type", "site")
"""Columns of the label table whose values alone may tell the label."""
BASELINES = (FROZEN, POOLED, POOLED_SHARE, MAJORITY, COLOUR, FLOOR, *CATEGORIES)
_STRENGTHS = (0.01, 0.1, 1.0, 10.0)
_MOST_ROWS = 20_000
_PSEUDO_COUNT = 2.0


@dataclass(frozen=True, eq=False)
class LinearBaseline:
    """Softmax regression on standardised numbers of a tile.

    Attributes:
        mean: Of the training tiles, float64 ``(d,)``.
        scale: Their standard deviations; 1 where a number never changes.
        weights: float64 ``(d, K)``.
        bias: float64 ``(K,)``.
        strength: Inverse of the L2 penalty, chosen by the validation loss.
    """

    mean: Floats
    scale: Floats
    weights: Floats
    bias: Floats
    strength: float

    def outputs(self, vectors: AnyFloats) -> Floats:
        """Return what :meth:`predict_proba` returns."""
        return self.predict_proba(vectors)

    def predict_proba(self, vectors: AnyFloats) -> Floats:
        """Return probabilities, float64 ``(n, K)``, of vectors ``(n, d)``."""
        logits = ((vectors - self.mean) / self.scale) @ self.weights + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        arrays = {name: getattr(self, name).tolist() for name in ("mean", "scale")}
        arrays |= {"weights": self.weights.tolist(), "bias": self.bias.tolist()}
        return {**arrays, "strength": self.strength}


@dataclass(frozen=True, eq=False)
class Baselines:
    """The baselines of one training set.

    Attributes:
        classes: Classes in the order of the columns.
        majority: The class with most training tiles.
        linear: ``colour`` and ``floor``; empty where features carry no such vector.
        categories: Name of a column -> value -> probability of each class; the value ``""``
            stands for any that training did not hold.
        floor_names: What the numbers are that ``linear`` expects.
    """

    classes: tuple[str, ...]
    majority: str
    linear: Mapping[str, LinearBaseline] = field(default_factory=dict)
    categories: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    floor_names: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what :func:`baselines_from_json` reads."""
        return {
            "classes": list(self.classes),
            "majority": self.majority,
            "linear": {name: model.as_json() for name, model in self.linear.items()},
            "categories": {name: dict(table) for name, table in self.categories.items()},
            "floor_names": list(self.floor_names),
        }

    @property
    def n_outputs(self) -> int:
        """Number of columns that each baseline gives."""
        return len(self.classes)

    def constants(self, n: int) -> dict[str, Floats]:
        """Return ``n`` rows that say the same of every tile, by name, float64 ``(n, K)``."""
        return {MAJORITY: self.of_majority(n)}

    def of_majority(self, n: int) -> Floats:
        """Return ``n`` rows that all say the majority class, float64 ``(n, K)``."""
        row = [float(name == self.majority) for name in self.classes]
        return np.tile(np.array(row), (n, 1))

    def of_categories(self, column: str, values: Sequence[str]) -> Floats:
        """Return the class probabilities of each value, float64 ``(n, K)``."""
        table = self.categories[column]
        return np.array([table.get(value, table[""]) for value in values], dtype=np.float64)


def baselines_from_json(content: Mapping[str, Any]) -> Baselines:
    """Return the baselines that :meth:`Baselines.as_json` wrote."""
    linear = {
        name: LinearBaseline(
            np.array(model["mean"], dtype=np.float64),
            np.array(model["scale"], dtype=np.float64),
            np.array(model["weights"], dtype=np.float64),
            np.array(model["bias"], dtype=np.float64),
            float(model["strength"]),
        )
        for name, model in content["linear"].items()
    }
    return Baselines(
        tuple(content["classes"]),
        content["majority"],
        linear,
        content["categories"],
        tuple(content["floor_names"]),
    )


def fit_linear(
    vectors: AnyFloats,
    targets: AnyInts,
    val_vectors: AnyFloats,
    val_targets: AnyInts,
    n_classes: int,
) -> LinearBaseline:
    """Fit softmax regression, its penalty chosen by the loss on val.

    Args:
        vectors: Training tiles, ``(n, d)``; a part of them (:func:`sample_rows`) is enough.
        targets: Their class numbers; each class occurs.
        val_vectors: Validation tiles, ``(m, d)``, at least one.
        val_targets: Their class numbers.
        n_classes: Number of classes, ``K``.

    Returns:
        The model. Each class weighs the same, as in the network's head.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    scale = vectors.std(axis=0, dtype=np.float64)
    scale[scale < 1e-9] = 1.0
    standard = (vectors - mean) / scale
    models = [_fitted(standard, targets, n_classes, c) for c in _STRENGTHS]
    fitted = [
        LinearBaseline(mean, scale, weights, bias, c)
        for (weights, bias), c in zip(models, _STRENGTHS, strict=True)
    ]
    losses = [log_loss(val_targets, model.predict_proba(val_vectors)) for model in fitted]
    return fitted[int(np.argmin(losses))]


def sample_rows(targets: AnyInts, rng: np.random.Generator) -> Bools:
    """Choose at most about 20,000 tiles; a rare class keeps all it has, up to an even share.

    Args:
        targets: Class numbers, shape ``(n,)``.
        rng: Where the choice comes from.

    Returns:
        Which tiles to take, bool ``(n,)``.
    """
    chosen = np.zeros(len(targets), np.bool_)
    classes, counts = np.unique(targets, return_counts=True)
    share = _MOST_ROWS // max(len(classes), 1)
    for k, n in zip(classes, counts, strict=True):
        of_class = rng.permutation(np.flatnonzero(targets == k))
        chosen[of_class[: max(share, _MOST_ROWS * n // len(targets))]] = True
    return chosen


def _fitted(standard: Floats, targets: AnyInts, n_classes: int, c: float) -> tuple[Floats, Floats]:
    model = LogisticRegression(C=c, class_weight="balanced", max_iter=1000)
    with warnings.catch_warnings():
        # A model that stopped a little early is still a fair baseline.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(standard, targets)
    if n_classes == 2:
        # scikit-learn keeps one column for two classes.
        weights = np.vstack([np.zeros(standard.shape[1]), model.coef_[0]]).T
        return weights, np.array([0.0, model.intercept_[0]])
    return model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)


def fit_category(values: Sequence[str], targets: AnyInts, n_classes: int) -> dict[str, list[float]]:
    """Return how often each class occurs among the training units of each value.

    Args:
        values: Value of each training unit (patient, slide or tile); ``""`` where unknown.
        targets: Its class number.
        n_classes: Number of classes, ``K``.

    Returns:
        Value -> ``K`` shares that sum to 1, drawn towards the share among all units as if two more
        units had been seen; ``""`` -> the share among all.
    """
    prior = np.bincount(targets, minlength=n_classes) / max(len(targets), 1)
    table = {"": prior.tolist()}
    column: npt.NDArray[Any] = np.asarray(values, dtype=object)
    for value in sorted({str(value) for value in values} - {""}):
        counts = np.bincount(targets[column == value], minlength=n_classes)
        shares = (counts + _PSEUDO_COUNT * prior) / (counts.sum() + _PSEUDO_COUNT)
        table[value] = shares.tolist()
    return table
