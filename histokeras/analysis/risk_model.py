"""A risk from covariates and features: ridge Cox, its penalty chosen by inner folds.

Features come as principal components. Each choice (scale, components, penalty) is made on the
patients that are learned from; others are only predicted.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from histokeras.analysis.efron import EfronData, efron_data, log_likelihood, ridge_coefficients
from histokeras.analysis.metrics import Bools, Floats, Ints

SHRINKAGE = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Penalties that are tried, each times the number of events: 1 halves a lone coefficient."""
COMPONENTS = (2, 4, 8, 16, 32)
_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a risk may be learned from.

    Attributes:
        plain: Terms of columns, ``(P, K)``; K may be 0.
        wide: Features, ``(P, D)``, of which principal components are taken; D may be 0.
    """

    plain: Floats
    wide: Floats

    def of(self, rows: Ints) -> "Inputs":
        """Return those of some patients."""
        return Inputs(self.plain[rows], self.wide[rows])


@dataclass(frozen=True, eq=False)
class _Scale:
    """From inputs to covariates of one scale."""

    plain: tuple[Floats, Floats]
    wide: tuple[Floats, Floats]
    axes: Floats

    def apply(self, inputs: Inputs) -> Floats:
        parts = [
            (values - mean) / spread
            for values, (mean, spread) in (
                (inputs.plain, self.plain), (inputs.wide, self.wide)
            )
        ]  # fmt: skip
        return np.hstack([parts[0], parts[1] @ self.axes])


@dataclass(frozen=True, eq=False)
class RiskModel:
    """A fitted risk.

    Attributes:
        shrinkage: The penalty, in events.
        n_components: Principal components of features; 0 without features.
        coef: Of the terms on their common scale, then of the components.
        converged: Whether the fit came to its maximum.
    """

    scale: _Scale
    shrinkage: float
    n_components: int
    coef: Floats
    converged: bool

    def risk(self, inputs: Inputs) -> Floats:
        """Return the logarithm of the hazard, up to a constant, ``(P,)``: higher is worse."""
        return np.asarray(self.scale.apply(inputs) @ self.coef)


def fit_risk(inputs: Inputs, time: Floats, event: Bools, *, seed: int = 0) -> RiskModel:
    """Fit a ridge Cox model, its penalty and number of components chosen by inner folds.

    The choice maximises the cross-validated partial likelihood (Verweij and van Houwelingen 1993);
    of equals the stronger penalty.

    Args:
        inputs: What is learned from.
        time: Follow-up, ``(P,)``.
        event: Whether it ended in the event, ``(P,)``, at least 5.
        seed: Of the inner folds.
    """
    fold = deal_folds(event, _FOLDS, seed)
    most = min(COMPONENTS[-1], inputs.wide.shape[1], len(time) - 2)
    sizes = sorted({min(size, most) for size in COMPONENTS}) if inputs.wide.shape[1] else [0]
    choices = list(itertools.product(sizes, SHRINKAGE))
    value = np.zeros(len(choices))
    for number in range(_FOLDS):
        rows = np.flatnonzero(fold != number)
        if not event[rows].any() or event[rows].sum() == event.sum():
            continue
        scale = _learn_scale(inputs.of(rows), sizes[-1])
        x = scale.apply(inputs)
        value += _held_out(x, inputs.plain.shape[1], rows, time, event, choices)
    # Read from behind: of equal choices the strongest penalty.
    best = len(choices) - 1 - int(np.argmax(value[::-1]))
    size, shrinkage = choices[best]
    scale = _learn_scale(inputs, size)
    data = efron_data(scale.apply(inputs), time, event)
    coef, converged = ridge_coefficients(data, shrinkage * float(event.sum()))
    return RiskModel(scale, shrinkage, size, coef, converged)


def _held_out(
    x: Floats,
    n_plain: int,
    rows: Ints,
    time: Floats,
    event: Bools,
    choices: list[tuple[int, float]],
) -> Floats:
    """Return what the patients left out add to the log-likelihood, for each choice."""
    found = np.empty(len(choices))
    data: dict[int, tuple[EfronData, EfronData]] = {}
    coef = None
    # The strongest penalty first: from there each fit begins near its end.
    for i in reversed(range(len(choices))):
        size, shrinkage = choices[i]
        if size not in data:
            mine, coef = x[:, : n_plain + size], None
            data = {size: (
                efron_data(mine, time, event), efron_data(mine[rows], time[rows], event[rows])
            )}  # fmt: skip
        whole, part = data[size]
        coef, _ = ridge_coefficients(part, shrinkage * float(event[rows].sum()), coef)
        found[i] = log_likelihood(whole, coef) - log_likelihood(part, coef)
    return found


def _learn_scale(inputs: Inputs, n_components: int) -> _Scale:
    plain, wide = _moments(inputs.plain), _moments(inputs.wide)
    axes = np.zeros((inputs.wide.shape[1], 0))
    if n_components:
        axes = _components((inputs.wide - wide[0]) / wide[1], n_components)
    return _Scale(plain, wide, axes)


def _components(scaled: Floats, n_components: int) -> Floats:
    """Return the axes of principal components, ``(D, n_components)``, the first of variance 1.

    Later components vary less than the first, and the penalty holds them back the more.
    """
    # Fewer patients than features: their products are the smaller matrix by far.
    values, vectors = np.linalg.eigh(scaled @ scaled.T)
    values, vectors = values[::-1][:n_components], vectors[:, ::-1][:, :n_components]
    axes = scaled.T @ vectors / np.sqrt(np.maximum(values, 1e-12))
    # The sign of an axis is arbitrary: the same on every machine.
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])] < 0, -1.0, 1.0)
    found: Floats = axes / np.sqrt(max(float(values[0]), 1e-12) / len(scaled))
    return found


def _moments(values: Floats) -> tuple[Floats, Floats]:
    spread = values.std(axis=0)
    return values.mean(axis=0), np.where(spread > 0, spread, 1.0)


def deal_folds(event: Bools, n_folds: int, seed: int) -> Ints:
    """Deal patients into folds, so that each has as many events as can be.

    Args:
        event: Whether each had the event, ``(P,)``; patients in the order of their ids.
        n_folds: Number of folds.
        seed: Of the dealing.

    Returns:
        Fold of each patient, 0..n_folds - 1, ``(P,)``.
    """
    rng, fold = np.random.default_rng(seed), np.empty(len(event), np.int64)
    dealt = np.concatenate([rng.permutation(np.flatnonzero(event == had)) for had in (True, False)])
    fold[dealt] = np.arange(len(event)) % n_folds
    return fold
