"""Pixels counted: class masks beside predicted ones, as one row of images.csv.

Everywhere: class masks are uint8 ``(h, w)``, class numbers ``0..n-1`` in the order of ``classes``,
255 for a pixel without label, which counts nowhere. A figure that is not defined is NaN, never 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.analysis.boundary import BoundaryDistance, boundary_distance
from histokeras.analysis.metrics import AnyFloats, Floats, Ints, divide, mean_of_defined
from histokeras.types import IGNORE, Mpp

NETWORK = "network"
CLASS_FIGURES = ("dice", "iou", "precision", "recall")
"""Figures of one class against all others."""
PIXEL_FIGURES = ("mean_dice", "mean_iou", "pixel_accuracy")
"""Figures of all classes together."""
POSITIVE_FIGURES = (*CLASS_FIGURES, "r2")
"""Figures of the class of interest, if one is named."""
BRIER_SKILL = "brier_skill"
BOUNDARY_FIGURES = ("hd95_px", "assd_px", "hd95_um", "assd_um")
NOT_MEASURED = "not measured"
_PIXELS_A_BLOCK = 1 << 20
Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class PixelCounts:
    """Labelled pixels of an image, or of a band of it.

    Attributes:
        confusion: Pixels, ``(n_classes, n_classes)`` int64; rows truth, columns prediction.
        squared_error: Sum over labelled pixels of (probability of the positive class - truth)^2;
            None where there are no probabilities.
    """

    confusion: Ints
    squared_error: float | None = None


def confusion(truth: Mask, predicted: Mask, n_classes: int) -> Ints:
    """Count pixels by true and predicted class.

    Args:
        truth: Class mask ``(h, w)``.
        predicted: Class mask of the same shape; 255 only where ``truth`` is 255.
        n_classes: Number of classes, at least 2.

    Returns:
        ``(n_classes, n_classes)`` int64; rows truth, columns prediction.

    Raises:
        ValueError: If shapes differ or a number is no class.
    """
    if truth.shape != predicted.shape:
        raise ValueError(
            "`truth` and `predicted` must be equally large. "
            f"Received: shapes {truth.shape} and {predicted.shape}"
        )
    found = np.zeros(n_classes * n_classes, np.int64)
    for rows in _blocks(truth.shape):
        labelled = truth[rows] != IGNORE
        true, said = truth[rows][labelled], predicted[rows][labelled]
        _require_classes(true, said, n_classes)
        codes = true.astype(np.uint16) * np.uint16(n_classes) + said
        found += np.bincount(codes, minlength=n_classes * n_classes)
    return found.reshape(n_classes, n_classes)


def _blocks(shape: tuple[int, ...]) -> list[slice]:
    """Return runs of rows, so that no copy of a large image is made at once."""
    rows = max(1, _PIXELS_A_BLOCK // max(shape[1], 1))
    return [slice(start, start + rows) for start in range(0, shape[0], rows)]


def _require_classes(true: Mask, said: Mask, n_classes: int) -> None:
    for name, numbers in (("truth", true), ("predicted", said)):
        if len(numbers) and int(numbers.max()) >= n_classes:
            raise ValueError(
                f"`{name}` must hold class numbers in 0..{n_classes - 1} wherever `truth` is not "
                f"{IGNORE}. Received: {int(numbers.max())}"
            )


def count_pixels(
    truth: Mask,
    predicted: Mask,
    probability: AnyFloats | None,
    *,
    n_classes: int,
    positive: int | None = None,
) -> PixelCounts:
    """Count the pixels of an image, or of a band of it: bands are added by :func:`add_counts`.

    Args:
        truth: Class mask ``(h, w)``.
        predicted: Class mask of the same shape.
        probability: Of the positive class, ``(h, w)``, 0..1; None if only classes were predicted.
        n_classes: Number of classes.
        positive: Number of the positive class; ``probability`` needs it.

    Raises:
        ValueError: If shapes or numbers do not fit.
    """
    counts = confusion(truth, predicted, n_classes)
    if probability is None:
        return PixelCounts(counts)
    if positive is None or probability.shape != truth.shape:
        raise ValueError(
            "`probability` must be as large as `truth`, and of a named positive class. Received: "
            f"shapes {probability.shape} and {truth.shape}, positive={positive}"
        )
    error = 0.0
    for rows in _blocks(truth.shape):
        labelled = truth[rows] != IGNORE
        is_positive = truth[rows][labelled] == positive
        error += float(((probability[rows][labelled].astype(np.float64) - is_positive) ** 2).sum())
    return PixelCounts(counts, error)


def add_counts(parts: Iterable[PixelCounts]) -> PixelCounts:
    """Return the counts of all parts of an image together.

    Args:
        parts: At least one; all with probabilities, or none.

    Raises:
        ValueError: If there is none, or some have probabilities and others not.
    """
    found = list(parts)
    errors = [part.squared_error for part in found]
    if not found or (None in errors and any(error is not None for error in errors)):
        raise ValueError(
            "counts of one image are added: at least one part, all with probabilities or none. "
            f"Received: {len(found)} parts"
        )
    known = [error for error in errors if error is not None]
    total = np.sum([part.confusion for part in found], axis=0)
    return PixelCounts(total, float(np.sum(known)) if known else None)


def class_figures(matrices: npt.NDArray[Any]) -> dict[str, Floats]:
    """Return the figures of every class against all others.

    Args:
        matrices: Confusion counts, ``(..., n, n)``; rows truth, columns prediction.

    Returns:
        ``dice``, ``iou``, ``precision`` and ``recall``, each ``(..., n)``, 0..1. Dice and IoU are
        0 where only one of truth and prediction has the class, NaN where neither has it;
        precision is NaN where it was never predicted, recall where it never is.
    """
    hits = np.diagonal(matrices, axis1=-2, axis2=-1).astype(np.float64)
    true, said = matrices.sum(axis=-1), matrices.sum(axis=-2)
    return {
        "dice": divide(2 * hits, true + said),
        "iou": divide(hits, true + said - hits),
        "precision": divide(hits, said),
        "recall": divide(hits, true),
    }


def pixel_r2(matrices: npt.NDArray[Any], positive: int) -> Floats:
    """Return R2 of a hard mask: 1 - e / (p (1 - p)), e the share wrong, p that of the class.

    It is scikit-learn's ``r2_score`` of flattened masks. A constant prediction gives at most 0, and
    a good mask of a rare class a low figure: it is no share of variance that anyone asked about.

    Args:
        matrices: Confusion counts, ``(..., n, n)``.
        positive: Number of the class; all others count as one.

    Returns:
        ``(...)``, at most 1; NaN where all pixels or none are of the class.
    """
    true = matrices[..., positive, :].sum(axis=-1)
    wrong = true + matrices[..., positive].sum(axis=-1) - 2 * matrices[..., positive, positive]
    return 1 - _unexplained(wrong, true, matrices.sum(axis=(-2, -1)))


def brier_skill(matrices: npt.NDArray[Any], squared_error: AnyFloats, positive: int) -> Floats:
    """Return the Brier skill score, 1 - Brier / (p (1 - p)), p the share of the class in truth.

    Args:
        matrices: Confusion counts, ``(..., n, n)``.
        squared_error: Sum of squared errors of the probabilities, ``(...)``.
        positive: Number of the class.

    Returns:
        ``(...)``, at most 1; NaN where all pixels or none are of the class.
    """
    true = matrices[..., positive, :].sum(axis=-1)
    return 1 - _unexplained(squared_error, true, matrices.sum(axis=(-2, -1)))


def _unexplained(error: npt.NDArray[Any], true: npt.NDArray[Any], n: npt.NDArray[Any]) -> Floats:
    # e/n over (t/n)(1 - t/n), without a quotient that rounds before it is used.
    return divide(np.asarray(error, np.float64) * n, np.asarray(true, np.float64) * (n - true))


def figures_of(
    matrices: npt.NDArray[Any], positive: int | None, squared_error: AnyFloats | None = None
) -> dict[str, Floats]:
    """Return all figures of pixels that are counted as one pool.

    Args:
        matrices: Confusion counts, ``(..., n, n)``.
        positive: Number of the class of interest; None if there is none.
        squared_error: Of its probabilities, ``(...)``; NaN where unknown.

    Returns:
        Name -> ``(...)``: ``mean_dice`` and ``mean_iou`` (over the classes that truth or prediction
        has), ``pixel_accuracy`` (right pixels of all pixels: global); of the positive class
        ``dice iou precision recall r2``, and ``brier_skill`` where probabilities are given.
    """
    each = class_figures(matrices)
    hits = np.diagonal(matrices, axis1=-2, axis2=-1).sum(axis=-1)
    found = {
        "mean_dice": mean_of_defined(each["dice"]),
        "mean_iou": mean_of_defined(each["iou"]),
        "pixel_accuracy": divide(hits, matrices.sum(axis=(-2, -1))),
    }
    if positive is None:
        return found
    found = {**{name: each[name][..., positive] for name in CLASS_FIGURES}, **found}
    found["r2"] = pixel_r2(matrices, positive)
    if squared_error is not None:
        found[BRIER_SKILL] = brier_skill(matrices, squared_error, positive)
    return found


def image_row(
    truth: Mask,
    predicted: Mask,
    probability: AnyFloats | None,
    classes: Sequence[str],
    positive: str | None,
    mpp: Mpp | None,
    *,
    model: str = NETWORK,
) -> dict[str, Any]:
    """Return one model's block of a row of images.csv.

    Args:
        truth: Class mask ``(h, w)``.
        predicted: Class mask of the same shape.
        probability: Of the positive class, ``(h, w)``, 0..1; None if only classes were predicted.
        classes: Names of the classes, in order.
        positive: The class of interest; None if there is none: no boundary is measured then.
        mpp: Resolution of the masks in um per pixel; None leaves distances in um NaN.
        model: ``network``, or the name of a floor.

    Returns:
        What :func:`counts_row` returns.

    Raises:
        ValueError: If shapes or numbers do not fit.
    """
    number = None if positive is None else list(classes).index(positive)
    counts = count_pixels(truth, predicted, probability, n_classes=len(classes), positive=number)
    boundary = None if number is None else boundary_distance(truth, predicted, number)
    return counts_row(counts, classes, positive, mpp, boundary=boundary, model=model)


def counts_row(
    counts: PixelCounts,
    classes: Sequence[str],
    positive: str | None,
    mpp: Mpp | None = None,
    *,
    boundary: BoundaryDistance | None = None,
    model: str = NETWORK,
) -> dict[str, Any]:
    """Return one model's block of a row of images.csv from counts, as of a slide read in bands.

    Args:
        counts: Of the whole image.
        classes: Names of the classes, in order.
        positive: The class of interest; None if there is none.
        mpp: Resolution in um per pixel.
        boundary: Distances of the boundaries; None if they were not measured.
        model: ``network``, or the name of a floor.

    Returns:
        Columns, each beginning with ``<model>_``: ``px_<true>_<predicted>`` (pixels, by numbers of
        classes), ``squared_error``, the figures of :func:`figures_of`, ``hd95_px assd_px hd95_um
        assd_um`` and ``boundary`` (``measured``, or why there is no distance). NaN where not known.
    """
    number = None if positive is None else list(classes).index(positive)
    row: dict[str, Any] = {
        f"px_{i}_{j}": int(counts.confusion[i, j])
        for i in range(len(classes))
        for j in range(len(classes))
    }
    error = float("nan") if counts.squared_error is None else counts.squared_error
    row["squared_error"] = error
    figures = figures_of(counts.confusion, number, np.asarray(error))
    row |= {name: float(value) for name, value in figures.items()}
    if number is not None:
        row |= _boundary_columns(boundary, mpp)
    return {f"{model}_{name}": value for name, value in row.items()}


def _boundary_columns(boundary: BoundaryDistance | None, mpp: Mpp | None) -> dict[str, Any]:
    if boundary is None:
        return {**dict.fromkeys(BOUNDARY_FIGURES, float("nan")), "boundary": NOT_MEASURED}
    scale = float("nan") if mpp is None else mpp
    distances = (boundary.hd95_px, boundary.assd_px)
    values = (*distances, *(distance * scale for distance in distances))
    return {**dict(zip(BOUNDARY_FIGURES, values, strict=True)), "boundary": boundary.state}
