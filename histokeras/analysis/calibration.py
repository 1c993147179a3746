"""Whether probabilities mean what they say, and temperature scaling so that they do."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from histokeras.analysis.bootstrap import Figures
from histokeras.analysis.metrics import (
    AnyFloats,
    AnyInts,
    Floats,
    Ints,
    divide,
    predicted_classes,
    require_targets,
)

N_BINS = 15
"""As in Guo et al. 2017."""
TEMPERATURES = (0.05, 20.0)
"""Where a temperature is looked for; one at the border is none."""
_BORDER = 1e-2


@dataclass(frozen=True)
class Temperature:
    """What logits are divided by.

    Attributes:
        value: 1 leaves probabilities as they are; more makes them less certain.
        note: Why there was nothing to scale by; empty where there was.
    """

    value: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Units binned by the probability of the class that is predicted.

    Attributes:
        confidence: Mean of that probability in each bin, shape ``(N_BINS,)``; NaN in empty bins.
        accuracy: Share of right predictions in each bin; NaN in empty bins.
        n: Units in each bin, int64.
    """

    confidence: Floats
    accuracy: Floats
    n: Ints


@dataclass(frozen=True, eq=False)
class Binned:
    """Sums behind the reliability of any resample of patients.

    Attributes:
        n: Units of every patient in every bin, shape ``(P, N_BINS)``, float64.
        right: How many of them are predicted right.
        confidence: Sum of the probabilities of what is predicted.
    """

    n: Floats
    right: Floats
    confidence: Floats

    def accuracy_of_counts(self, counts: Floats) -> Floats:
        """Return every bin's accuracy for patient counts ``(b, P)``, shape ``(b, N_BINS)``."""
        return divide(counts @ self.right, counts @ self.n)

    def error_of_counts(self, counts: Floats) -> Floats:
        """Return the expected calibration error for patient counts ``(b, P)``, shape ``(b,)``."""
        gaps = np.abs(counts @ self._gaps).sum(axis=1)
        return divide(gaps, counts @ self._units)

    @cached_property
    def _gaps(self) -> Floats:
        return np.asarray(self.right - self.confidence)

    @cached_property
    def _units(self) -> Floats:
        return np.asarray(self.n.sum(axis=1))


def brier(targets: AnyInts, probs: AnyFloats) -> float:
    """Return the Brier score: the mean squared error of the probabilities.

    Args:
        targets: Class numbers, shape ``(n,)``.
        probs: Probabilities, shape ``(n, K)``, each row summing to 1.

    Returns:
        For two classes the error of one of them, 0..1; for more the sum over the classes, 0..2
        (Brier 1950, and scikit-learn's convention). NaN without rows.

    Raises:
        ValueError: If ``targets`` do not fit ``probs``.
    """
    errors = _squared_errors(targets, probs)
    return math.fsum(errors.tolist()) / len(errors) if len(errors) else float("nan")


def _squared_errors(targets: AnyInts, probs: AnyFloats) -> Floats:
    require_targets(targets, *probs.shape)
    errors = probs.astype(np.float64)
    errors[np.arange(len(targets)), targets] -= 1
    summed = (errors**2).sum(axis=1)
    # Both classes' errors are the same number: scikit-learn counts it once.
    return np.asarray(summed / 2 if probs.shape[1] == 2 else summed, dtype=np.float64)


def expected_calibration_error(targets: AnyInts, probs: AnyFloats) -> float:
    """Return how far confidence and accuracy lie apart: the mean over bins, weighted by units.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599: ``N_BINS`` bins
    of equal width on the probability of the predicted class, each without its lower end.

    Args:
        targets: Class numbers, shape ``(n,)``.
        probs: Probabilities, shape ``(n, K)``, each row summing to 1.

    Returns:
        The error in 0..1; NaN without rows.

    Raises:
        ValueError: If ``targets`` do not fit ``probs``.
    """
    binned = bin_patients(targets, probs, np.zeros(len(targets), dtype=np.int64), 1)
    return float(binned.error_of_counts(np.ones((1, 1)))[0])


def reliability(targets: AnyInts, probs: AnyFloats) -> Reliability:
    """Return confidence, accuracy and number of units in each of ``N_BINS`` bins.

    Args:
        targets: Class numbers, shape ``(n,)``.
        probs: Probabilities, shape ``(n, K)``, each row summing to 1.

    Raises:
        ValueError: If ``targets`` do not fit ``probs``.
    """
    binned = bin_patients(targets, probs, np.zeros(len(targets), dtype=np.int64), 1)
    return Reliability(
        divide(binned.confidence[0], binned.n[0]),
        divide(binned.right[0], binned.n[0]),
        binned.n[0].astype(np.int64),
    )


def bin_patients(targets: AnyInts, probs: AnyFloats, patients: AnyInts, n_patients: int) -> Binned:
    """Sum up what the reliability of any resample needs.

    Args:
        targets: Class numbers, shape ``(n,)``.
        probs: Probabilities, shape ``(n, K)``, each row summing to 1.
        patients: Patient numbers, shape ``(n,)``, in ``0..P-1``.
        n_patients: Number of patients, ``P``.

    Raises:
        ValueError: If ``targets`` do not fit ``probs``.
    """
    require_targets(targets, *probs.shape)
    predicted = predicted_classes(probs)
    confidence = probs[np.arange(len(targets)), predicted].astype(np.float64)
    bins = np.clip(np.ceil(confidence * N_BINS).astype(np.int64) - 1, 0, N_BINS - 1)
    cells = patients.astype(np.int64) * N_BINS + bins
    shape = (n_patients, N_BINS)
    return Binned(
        np.bincount(cells, minlength=n_patients * N_BINS).astype(np.float64).reshape(shape),
        np.bincount(cells[predicted == targets], minlength=n_patients * N_BINS)
        .astype(np.float64)
        .reshape(shape),
        _exact_sums(confidence, cells, n_patients * N_BINS).reshape(shape),
    )


def _exact_sums(values: Floats, cells: AnyInts, n_cells: int) -> Floats:
    """Sum the values of each cell, rounded once: the order of rows then changes no bit."""
    sums = np.zeros(n_cells)
    order = np.argsort(cells, kind="stable")
    used, begins = np.unique(cells[order], return_index=True)
    parts = np.split(values[order], begins[1:]) if len(used) else []
    sums[used] = [math.fsum(part.tolist()) for part in parts]
    return sums


def calibration_figures(
    targets: AnyInts, probs: AnyFloats, patients: AnyInts, n_patients: int
) -> Figures:
    """Build ``brier`` and ``ece`` as functions of how often every patient was drawn.

    Args:
        targets: Class numbers, shape ``(n,)``.
        probs: Probabilities, shape ``(n, K)``, each row summing to 1.
        patients: Patient numbers, shape ``(n,)``, in ``0..P-1``.
        n_patients: Number of patients, ``P``.

    Raises:
        ValueError: If ``targets`` do not fit ``probs``.
    """
    errors = _exact_sums(_squared_errors(targets, probs), patients, n_patients)
    n_units = np.bincount(patients, minlength=n_patients).astype(np.float64)
    binned = bin_patients(targets, probs, patients, n_patients)

    def of_counts(counts: Floats) -> Floats:
        scores = divide(counts @ errors, counts @ n_units)
        return np.column_stack([scores, binned.error_of_counts(counts)])

    return Figures(("brier", "ece"), of_counts, n_patients, ((), ()), {})


def _logits(probs: AnyFloats) -> Floats:
    """Return log probabilities, finite: 0 counts as the smallest number the dtype knows."""
    smallest = float(np.finfo(probs.dtype).smallest_subnormal)
    return np.asarray(np.log(np.maximum(probs.astype(np.float64), smallest)))


def temperature_scaled(probs: AnyFloats, temperature: float) -> AnyFloats:
    """Divide the logits by a temperature: ``softmax(log(p) / T)``.

    The class that comes first stays first, and with two classes the order of the units stays, as
    far as the dtype can tell them apart: what changes is how sure the probabilities sound.

    Args:
        probs: Probabilities, shape ``(n, K)``, each row summing to 1; 0 and 1 are allowed.
        temperature: Above 0. Above 1 makes probabilities less certain, 1 changes nothing.

    Returns:
        Shape and dtype of ``probs``, each row summing to 1.

    Raises:
        ValueError: If ``temperature`` is not above 0.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"`temperature` must be above 0. Received: temperature={temperature}")
    if temperature == 1:
        return probs
    logits = _logits(probs) / temperature
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: AnyFloats = (odds / odds.sum(axis=1, keepdims=True)).astype(probs.dtype)
    return scaled


def fit_temperature(
    targets: AnyInts, probs: AnyFloats, *, weights: AnyFloats | None = None
) -> Temperature:
    """Find the temperature with the smallest mean negative log-likelihood.

    Guo et al. 2017, arXiv:1706.04599. Never fit it to rows that the head was trained or is tested
    on: validation rows are what it is for.

    Args:
        targets: Class numbers of the validation rows, shape ``(n,)``.
        probs: Their probabilities, shape ``(n, K)``, each row summing to 1.
        weights: Weight of every row, shape ``(n,)``, not negative; equal weights if None.

    Returns:
        A temperature inside ``TEMPERATURES``, or 1 and a note that says why there is none.

    Raises:
        ValueError: If ``targets`` do not fit ``probs``.
    """
    require_targets(targets, *probs.shape)
    weights = np.ones(len(targets)) if weights is None else weights.astype(np.float64)
    held = weights > 0
    targets, weights, logits = targets[held], weights[held], _logits(probs[held])
    if not len(targets):
        return Temperature(1.0, "not scaled: no validation row has a label")
    if len(np.unique(targets)) < 2:
        return Temperature(1.0, "not scaled: all validation rows are of one class")
    if (logits.argmax(axis=1) == targets).all():
        # The likelihood then grows with every sharpening: there is nothing to find.
        return Temperature(1.0, "not scaled: on the validation rows the head makes no error")
    of_truth = logits[np.arange(len(targets)), targets]

    def loss(log_temperature: float) -> float:
        inverse = math.exp(-log_temperature)
        losses = logsumexp(logits * inverse, axis=1) - of_truth * inverse
        return float(np.average(losses, weights=weights))

    low, high = (math.log(end) for end in TEMPERATURES)
    found = float(minimize_scalar(loss, bounds=(low, high), method="bounded").x)
    if found - low < _BORDER:
        note = "not scaled: on the validation rows all classes are about as probable"
        return Temperature(1.0, note)
    if high - found < _BORDER:
        note = "not scaled: on the validation rows the head is no better than chance"
        return Temperature(1.0, note)
    return Temperature(math.exp(found))
