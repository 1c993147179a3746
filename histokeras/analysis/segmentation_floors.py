"""What a segmenter must beat: classes told from the colour of each pixel alone.

``colour`` is a logistic regression, fitted on the training images, on optical densities smoothed at
two scales. ``otsu`` is fitted on nothing: Otsu's threshold on smoothed haematoxylin, image by
image; what is darker is the class of interest. It suits nuclei. Where the class of interest has
lost its nuclei, as necrosis has, it points the wrong way: it is then no floor, only a landmark.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histokeras.analysis.metrics import divide

COLOUR, OTSU = "colour", "otsu"
REACH_PX = 32
"""How far smoothing reaches: a part of an image with so much around it gives the same numbers."""
Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

_SIGMAS_PX = (2.0, 8.0)
_TRUNCATE = 4.0
# Optical densities of haematoxylin, eosin and DAB: Ruifrok and Johnston 2001.
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
_HAEMATOXYLIN = np.linalg.inv(_STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True))[:, 0]
_BINS, _RANGE = 2048, (-0.5, 3.5)
_THRESHOLDS = np.linspace(0.05, 0.95, 91)


def optical_density(image: Image) -> Floats:
    """Return optical densities, decimal logarithm.

    Args:
        image: uint8 RGB ``(h, w, 3)``.

    Returns:
        float32 of the same shape, 0 (glass) to 2.4.
    """
    # 1 is added so that black stays finite.
    table = -np.log10((np.arange(256) + 1) / 256).astype(np.float32)
    return np.asarray(table[image], np.float32)


def smooth_haematoxylin(image: Image) -> Floats:
    """Return haematoxylin, smoothed by a Gaussian of 2 px.

    Args:
        image: uint8 RGB ``(h, w, 3)``.

    Returns:
        float32 ``(h, w)``, optical density; below 0 where the image has less than none.
    """
    amount = np.maximum(optical_density(image) @ _HAEMATOXYLIN.astype(np.float32), 0)
    return _smooth(amount, _SIGMAS_PX[0])


def _smooth(plane: Floats, sigma_px: float) -> Floats:
    return np.asarray(ndimage.gaussian_filter(plane, sigma_px, truncate=_TRUNCATE), np.float32)


def count_haematoxylin(amounts: Floats) -> Ints:
    """Return the histogram from which :func:`otsu_threshold` is found; parts of an image add up."""
    return np.asarray(np.histogram(np.clip(amounts, *_RANGE), _BINS, _RANGE)[0], np.int64)


def otsu_threshold(counts: Ints) -> float:
    """Return the threshold that parts the values best (Otsu 1979): above is the darker group.

    Args:
        counts: Of :func:`count_haematoxylin`.

    Returns:
        Optical density; infinite where all values are alike.
    """
    edges = np.linspace(*_RANGE, _BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts).astype(np.float64)
    sums = np.cumsum(counts * middles)
    above = below[-1] - below
    gap = divide(sums[-1] - sums, above) - divide(sums, below)
    between = np.nan_to_num(below * above * gap**2)
    if not between.max() > 0:
        return float("inf")
    # Between two groups with nothing in between every threshold is as good: the middle one.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float(edges[1:][best].mean())


def colour_values(image: Image) -> Floats:
    """Return what ``colour`` knows of each pixel.

    Args:
        image: uint8 RGB ``(h, w, 3)``.

    Returns:
        float32 ``(h, w, 6)``: optical density of red, green and blue, smoothed by Gaussians of 2
        and 8 px.
    """
    density = optical_density(image)
    planes = [_smooth(density[..., at], sigma) for sigma in _SIGMAS_PX for at in range(3)]
    return np.stack(planes, axis=-1)


@dataclass(frozen=True, eq=False)
class ColourFloor:
    """A fitted ``colour``.

    Attributes:
        weights: float32 ``(6, n_classes)``.
        bias: float32 ``(n_classes,)``; minus infinity for a class that train lacks.
        positive: Number of the class of interest; None if there is none.
        threshold: From which probability on a pixel is of it; None where the likeliest class is
            taken.
    """

    weights: Floats
    bias: Floats
    positive: int | None
    threshold: float | None

    def probabilities(self, image: Image) -> Floats:
        """Return float32 ``(h, w, n_classes)`` of an image uint8 ``(h, w, 3)``."""
        return _softmax(colour_values(image) @ self.weights + self.bias)

    def classes(self, probabilities: Floats) -> Mask:
        """Return the class of each pixel, uint8 ``(h, w)``."""
        if self.threshold is None or self.positive is None:
            return np.asarray(probabilities.argmax(axis=-1), np.uint8)
        chosen = probabilities[..., self.positive] >= self.threshold
        return np.where(chosen, self.positive, 1 - self.positive).astype(np.uint8)

    def facts(self) -> dict[str, float | None]:
        """Return what run.json keeps of it."""
        return {"threshold": self.threshold}


def fit_colour(
    values: Floats, targets: npt.NDArray[np.uint8], n_classes: int, positive: int | None
) -> ColourFloor:
    """Fit the regression.

    Args:
        values: float32 ``(n, 6)``, pixels of :func:`colour_values`.
        targets: Their classes, uint8 ``(n,)``.
        n_classes: How many classes there are.
        positive: Of two classes the one of interest: where its probability parts the classes is
            then chosen by the best Dice on these pixels, as a network trained with Dice may.

    Returns:
        The floor; of pixels of one class one that says this class everywhere.
    """
    if (targets == targets[0]).all():
        only = np.where(np.arange(n_classes) == targets[0], 0, -np.inf).astype(np.float32)
        return ColourFloor(np.zeros((values.shape[1], n_classes), np.float32), only, positive, None)
    scale = StandardScaler().fit(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = make_pipeline(scale, LogisticRegression(max_iter=300))
        fitted.fit(values, targets)
    known = fitted[-1].classes_.astype(int)
    slopes, offsets = fitted[-1].coef_, fitted[-1].intercept_
    if len(known) == 2:
        # Of two classes scikit-learn keeps what speaks for the second.
        slopes, offsets = np.vstack([0 * slopes, slopes]), np.append(0.0, offsets)
    weights, bias = np.zeros((values.shape[1], n_classes)), np.full(n_classes, -np.inf)
    weights[:, known] = (slopes / fitted[0].scale_).T
    bias[known] = offsets - slopes @ (fitted[0].mean_ / fitted[0].scale_)
    made = ColourFloor(weights.astype(np.float32), bias.astype(np.float32), positive, None)
    if positive is None or n_classes != 2:
        return made
    own = _softmax(values @ made.weights + made.bias)[:, positive]
    return ColourFloor(made.weights, made.bias, positive, _best_dice(own, targets == positive))


def _best_dice(probability: Floats, truth: npt.NDArray[np.bool_]) -> float:
    dice = [
        2 * np.count_nonzero(truth & (probability >= at))
        / (np.count_nonzero(truth) + np.count_nonzero(probability >= at))
        for at in _THRESHOLDS
    ]  # fmt: skip
    return float(_THRESHOLDS[int(np.argmax(dice))])


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)


def names_of(classes: Sequence[str], positive: str | None) -> tuple[str, ...]:
    """Return which floors a task has: ``otsu`` only of two classes with one of interest."""
    return (COLOUR, OTSU) if len(classes) == 2 and positive is not None else (COLOUR,)
