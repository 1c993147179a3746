"""images.csv as arrays: pixel counts of every model, image by image, and whose images they are."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.metrics import Bools, Floats, Ints, divide
from histokeras.analysis.segmentation import NETWORK, figures_of
from histokeras.errors import TableError
from histokeras.tables import require_columns
from histokeras.types import FOLD, PATIENT_ID, SLIDE_ID

IMAGE_ID = "image_id"
MODEL_TITLES = {
    NETWORK: "network",
    "colour": "colour alone, smoothed",
    "otsu": "Otsu on haematoxylin, smoothed",
}
"""Names of models as pages say them; another one bears its own."""
_KEYS = {"patient": PATIENT_ID, "slide": SLIDE_ID, "image": IMAGE_ID}
_MODEL = re.compile(r"(.+)_px_0_0")


@dataclass(frozen=True, eq=False)
class ImageCounts:
    """What was counted on the images of one evaluation, sorted by patient and image.

    Attributes:
        table: images.csv, in that order.
        units: Number of the patient of each image, ``(n,)``, in ``0..P-1``; of its slide, or of the
            image itself, where patients are unknown.
        ids: Their ids, ``(P,)``.
        unit: ``patient``; where patients are unknown ``slide`` if images share slides, else
            ``image``.
        models: Name of a model -> its counts ``(n, K, K)``, int64; the network comes first.
        errors: Name of a model -> sum of squared errors of its probabilities ``(n,)``, NaN where
            it has none.
    """

    table: pd.DataFrame
    units: Ints
    ids: tuple[str, ...]
    unit: str
    models: dict[str, Ints]
    errors: dict[str, Floats]


def read_counts(images: pd.DataFrame, n_classes: int) -> ImageCounts:
    """Check images.csv and take the counts of every model from it.

    Args:
        images: One row an image: ``image_id``, ``patient_id`` if known, ``slide_id``, ``fold``, and
            the block of :func:`~histokeras.analysis.segmentation.image_row` of every model.
        n_classes: Number of classes.

    Raises:
        TableError: If there is no image, an image stands there twice, a column is missing or empty,
            a patient is known for a part of the images only, or models were counted on different
            pixels.
    """
    require_columns(images, (IMAGE_ID,), name="images.csv")
    if not len(images):
        raise TableError("images.csv holds no image.", hint="Give test images with masks.")
    twice = images[IMAGE_ID][images[IMAGE_ID].duplicated()]
    if len(twice):
        raise TableError(f"images.csv holds image {twice.iloc[0]!r} more than once.")
    unit = _unit(images)
    key = _KEYS[unit]
    table = images.sort_values([key, IMAGE_ID], key=lambda ids: ids.astype(str), kind="stable")
    table = table.reset_index(drop=True)
    ids, units = np.unique(table[key].astype(str).to_numpy(), return_inverse=True)
    names = _models(table)
    models = {name: _counts(table, name, n_classes) for name in names}
    _require_same_truth(models)
    return ImageCounts(
        table,
        units.astype(np.int64),
        tuple(ids.tolist()),
        unit,
        models,
        {name: _numbers(table, f"{name}_squared_error") for name in names},
    )


def _unit(images: pd.DataFrame) -> str:
    known = _known(images, PATIENT_ID)
    if known.all():
        return "patient"
    if not known.any():
        # Images of one slide are as alike as those of one patient.
        by_slide = _known(images, SLIDE_ID).all() and images[SLIDE_ID].duplicated().any()
        return "slide" if by_slide else "image"
    raise TableError(
        f"images.csv tells the patient of {int(known.sum())} of {len(known)} images only.",
        hint="Name the patient of all images, or of none.",
    )


def _known(images: pd.DataFrame, name: str) -> Bools:
    if name not in images:
        return np.zeros(len(images), np.bool_)
    known = images[name].notna() & (images[name].astype(str) != "")
    return known.to_numpy(np.bool_)


def _models(table: pd.DataFrame) -> list[str]:
    found = [match[1] for name in table if (match := _MODEL.fullmatch(str(name)))]
    if not found:
        raise TableError("images.csv holds no counts of pixels (columns like network_px_0_0).")
    return sorted(found, key=lambda name: name != NETWORK)


def _counts(table: pd.DataFrame, model: str, n_classes: int) -> Ints:
    names = [f"{model}_px_{i}_{j}" for i in range(n_classes) for j in range(n_classes)]
    require_columns(table, names, name="images.csv")
    cells = table[names].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    if not np.isfinite(cells).all() or (cells < 0).any():
        raise TableError(f"images.csv: a count of {model} is missing or below 0.")
    counts: Ints = cells.astype(np.int64).reshape(-1, n_classes, n_classes)
    return counts


def _numbers(table: pd.DataFrame, name: str) -> Floats:
    if name not in table:
        return np.full(len(table), np.nan)
    return pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)


def _require_same_truth(models: dict[str, Ints]) -> None:
    (first, own), *others = ((name, counts.sum(axis=2)) for name, counts in models.items())
    for name, counts in others:
        if not (counts == own).all():
            raise TableError(
                f"images.csv: {name} and {first} were counted on different pixels.",
                hint="Evaluate all models on the same masks.",
            )


def sum_of_groups(values: npt.NDArray[Any], groups: Ints, n_groups: int) -> npt.NDArray[Any]:
    """Add rows of the same group.

    Args:
        values: ``(n, ...)``.
        groups: Number of the group of each row, ``(n,)``.
        n_groups: Number of groups, ``G``.

    Returns:
        ``(G, ...)``, of the same dtype.
    """
    total = np.zeros((n_groups, *values.shape[1:]), values.dtype)
    np.add.at(total, groups, values)
    return total


def patient_table(
    images: pd.DataFrame, classes: Sequence[str], positive: str | None
) -> pd.DataFrame:
    """Return patients.csv: one row a patient (a slide or an image, where patients are unknown).

    Args:
        images: images.csv.
        classes: Names of the classes, in order.
        positive: The class of interest; None if there is none.

    Returns:
        ``patient_id`` (or ``slide_id``, ``image_id``), ``fold`` if images have one, ``n_images``,
        ``n_slides`` if known, ``n_px`` (labelled), ``share_true`` (of the positive class, 0..1),
        and for every model ``<model>_share`` and its figures on the patient's pixels
        counted as one pool.

    Raises:
        TableError: As for :func:`read_counts`.
    """
    counts = read_counts(images, len(classes))
    number = None if positive is None else list(classes).index(positive)
    by_unit = counts.table.groupby(counts.units)
    table = pd.DataFrame({_KEYS[counts.unit]: counts.ids})
    if FOLD in counts.table:
        # One patient is tested in one fold.
        table[FOLD] = by_unit[FOLD].first().to_numpy()
    table["n_images"] = by_unit.size().to_numpy()
    if SLIDE_ID in counts.table:
        table["n_slides"] = by_unit[SLIDE_ID].nunique().to_numpy()
    for model, pixels in counts.models.items():
        matrices = sum_of_groups(pixels, counts.units, len(counts.ids))
        if model == next(iter(counts.models)):
            table["n_px"] = matrices.sum(axis=(1, 2))
            if number is not None:
                table["share_true"] = shares(matrices, number)[0]
        if number is not None:
            table[f"{model}_share"] = shares(matrices, number)[1]
        errors = sum_of_groups(counts.errors[model], counts.units, len(counts.ids))
        figures = figures_of(matrices, number, errors)
        for name, values in figures.items():
            table[f"{model}_{name}"] = values
    return table


def shares(matrices: Ints, positive: int) -> tuple[Floats, Floats]:
    """Return the share of labelled pixels that are, and that are said to be, of the class.

    Args:
        matrices: Counts, ``(G, n, n)``.
        positive: Number of the class.

    Returns:
        True and predicted shares, each ``(G,)``, 0..1; NaN without labelled pixels.
    """
    n = matrices.sum(axis=(-2, -1))
    true, said = matrices[..., positive, :].sum(axis=-1), matrices[..., positive].sum(axis=-1)
    return divide(true, n), divide(said, n)
