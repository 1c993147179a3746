"""What could have reached a predicted number without a network: mean, colour, tumour type, site.

The counterpart of :mod:`histokeras.analysis.baselines`. They see the same split as the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import Ridge

from histokeras.analysis.baselines import CATEGORIES
from histokeras.analysis.compare import COLOUR, FLOOR, MEAN
from histokeras.analysis.metrics import AnyFloats, Floats

NUMBER_BASELINES = (MEAN, COLOUR, FLOOR, *CATEGORIES)
_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_PSEUDO_COUNT = 2.0


@dataclass(frozen=True, eq=False)
class RidgeBaseline:
    """Ridge regression on standardised numbers of a tile.

    Attributes:
        mean: Of the training tiles, float64 ``(d,)``.
        scale: Their standard deviations; 1 where a number never changes.
        weights: float64 ``(d, 1)``.
        bias: float64 ``(1,)``.
        strength: L2 penalty a training tile, chosen by the squared error on val.
    """

    mean: Floats
    scale: Floats
    weights: Floats
    bias: Floats
    strength: float

    def outputs(self, vectors: AnyFloats) -> Floats:
        """Return the numbers, float64 ``(n, 1)``, of vectors ``(n, d)``."""
        return np.asarray(((vectors - self.mean) / self.scale) @ self.weights + self.bias)

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        names = ("mean", "scale", "weights", "bias")
        return {**{n: getattr(self, n).tolist() for n in names}, "strength": self.strength}


@dataclass(frozen=True, eq=False)
class NumberBaselines:
    """The baselines of one training set.

    Attributes:
        target: Name of what is predicted.
        mean: Mean of the training patients (slides or tiles, where labels stand there).
        linear: ``colour`` and ``floor``; empty where features carry no such vector.
        categories: Name of a column -> value -> mean; the value ``""`` stands for any that
            training did not hold.
        floor_names: What the numbers are that ``linear`` expects.
    """

    target: str
    mean: float
    linear: Mapping[str, RidgeBaseline] = field(default_factory=dict)
    categories: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    floor_names: tuple[str, ...] = ()

    @property
    def n_outputs(self) -> int:
        """Number of columns that each baseline gives."""
        return 1

    def constants(self, n: int) -> dict[str, Floats]:
        """Return ``n`` rows that say the same of every tile, by name, float64 ``(n, 1)``."""
        return {MEAN: np.full((n, 1), self.mean)}

    def of_categories(self, column: str, values: Sequence[str]) -> Floats:
        """Return the mean of each value, float64 ``(n, 1)``."""
        table = self.categories[column]
        return np.array([[table.get(value, table[""])] for value in values], dtype=np.float64)

    def as_json(self) -> dict[str, Any]:
        """Return what :func:`number_baselines_from_json` reads."""
        return {
            "target": self.target,
            "mean": self.mean,
            "linear": {name: model.as_json() for name, model in self.linear.items()},
            "categories": {name: dict(table) for name, table in self.categories.items()},
            "floor_names": list(self.floor_names),
        }


def number_baselines_from_json(content: Mapping[str, Any]) -> NumberBaselines:
    """Return the baselines that :meth:`NumberBaselines.as_json` wrote."""
    linear = {
        name: RidgeBaseline(
            np.array(model["mean"], dtype=np.float64),
            np.array(model["scale"], dtype=np.float64),
            np.array(model["weights"], dtype=np.float64),
            np.array(model["bias"], dtype=np.float64),
            float(model["strength"]),
        )
        for name, model in content["linear"].items()
    }
    return NumberBaselines(
        content["target"],
        float(content["mean"]),
        linear,
        content["categories"],
        tuple(content["floor_names"]),
    )


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles that a ridge regression is fitted to, or judged on.

    Attributes:
        vectors: ``(n, d)``, at least one.
        targets: Numbers, ``(n,)``.
        weights: How much each counts, ``(n,)``, above 0.
    """

    vectors: AnyFloats
    targets: AnyFloats
    weights: AnyFloats

    def narrowed(self, width: int) -> "Tiles":
        """Return the same with the first ``width`` numbers of each vector."""
        return Tiles(self.vectors[:, :width], self.targets, self.weights)


def fit_ridge(train: Tiles, val: Tiles) -> RidgeBaseline:
    """Fit ridge regression, its penalty chosen by the weighted squared error on val.

    Args:
        train: Training tiles; a part of them is enough.
        val: Validation tiles.
    """
    mean = train.vectors.mean(axis=0, dtype=np.float64)
    scale = train.vectors.std(axis=0, dtype=np.float64)
    scale[scale < 1e-9] = 1.0
    standard = (train.vectors - mean) / scale
    weights = train.weights / train.weights.mean()
    fitted = []
    for strength in _STRENGTHS:
        model = Ridge(alpha=strength * len(standard)).fit(standard, train.targets, weights)
        coefficients: npt.NDArray[Any] = np.asarray(model.coef_, np.float64)[:, np.newaxis]
        bias = np.array([model.intercept_], np.float64)
        fitted.append(RidgeBaseline(mean, scale, coefficients, bias, strength))
    losses = [
        np.average((m.outputs(val.vectors)[:, 0] - val.targets) ** 2, weights=val.weights)
        for m in fitted
    ]
    return fitted[int(np.argmin(losses))]


def category_means(values: Sequence[str], targets: AnyFloats) -> dict[str, float]:
    """Return the mean target of the training units of each value.

    Args:
        values: Value of each training unit (patient, slide or tile); ``""`` where unknown.
        targets: Its number.

    Returns:
        Value -> mean, drawn towards the mean of all units as if two more units with that mean had
        been seen; ``""`` -> the mean of all.
    """
    overall = float(np.mean(targets))
    table = {"": overall}
    column: npt.NDArray[Any] = np.asarray(values, dtype=object)
    for value in sorted({str(value) for value in values} - {""}):
        mine = targets[column == value]
        total = float(mine.sum()) + _PSEUDO_COUNT * overall
        table[value] = total / (len(mine) + _PSEUDO_COUNT)
    return table
