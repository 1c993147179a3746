"""Figures of segmentation as functions of patient counts, ready for the bootstrap.

Three ways to take them together, always named: ``pooled`` adds the pixels of all patients drawn
(large ones weigh more), the mean over patients (each patient's pixels are added first), and the
mean over slides or images. Patients are drawn, never images.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from histokeras.analysis.bootstrap import Figures
from histokeras.analysis.metrics import Bools, Floats, Ints, divide
from histokeras.analysis.segmentation import CLASS_FIGURES, class_figures, figures_of
from histokeras.analysis.segmentation_table import sum_of_groups

BIAS, LIMIT_LOW, LIMIT_HIGH = "bias", "limit_low", "limit_high"
_LIMIT_SD = 1.96


def pooled_figures(
    counts: Ints, errors: Floats, units: Ints, classes: Sequence[str], positive: int | None
) -> Figures:
    """Build the figures of all pixels of the patients drawn, counted as one pool.

    Args:
        counts: Of each image, ``(n, K, K)``.
        errors: Sums of squared errors of its probabilities, ``(n,)``; NaN where there are none.
        units: Patient of each image, ``(n,)``, in ``0..P-1``, every one of them in use.
        classes: Names of the classes.
        positive: Number of the class of interest; None if there is none.

    Returns:
        The figures of :func:`~histokeras.analysis.segmentation.figures_of`, then
        ``<figure>/<class>`` of every class. Those of a class need a patient who has it.
    """
    n_patients = int(units.max()) + 1
    matrices = sum_of_groups(counts.astype(np.float64), units, n_patients)
    squared = sum_of_groups(errors, units, n_patients)
    n_classes = len(classes)
    names = tuple(figures_of(matrices[0], positive, squared[0]))

    def of_counts(drawn: Floats) -> Floats:
        summed = (drawn @ matrices.reshape(n_patients, -1)).reshape(-1, n_classes, n_classes)
        found = figures_of(summed, positive, _weighed(drawn, squared))
        each = class_figures(summed)
        return np.column_stack([*found.values(), *(each[name] for name in CLASS_FIGURES)])

    of_interest = () if positive is None else (_with(classes[positive]),)
    alone = {"mean_dice", "mean_iou", "pixel_accuracy"}
    return Figures(
        names=(*names, *(f"{name}/{label}" for name in CLASS_FIGURES for label in classes)),
        of_counts=of_counts,
        n_patients=n_patients,
        needs=(
            *(() if name in alone else of_interest for name in names),
            *((_with(label),) for _ in CLASS_FIGURES for label in classes),
        ),
        groups={_with(label): matrices[:, k].sum(axis=1) > 0 for k, label in enumerate(classes)},
    )


def _with(label: str) -> str:
    return f"those with {label}"


def _weighed(drawn: Floats, squared: Floats) -> Floats:
    """Return the sums over the patients drawn, NaN where one of them is unknown."""
    unknown = np.isnan(squared)
    total = drawn @ np.where(unknown, 0.0, squared)
    return np.where(drawn @ unknown.astype(np.float64) > 0, np.nan, total)


def mean_figures(values: Mapping[str, Floats], patients: Ints, n_patients: int) -> Figures:
    """Build means over units (patients, slides or images), each as often as its patient is drawn.

    Args:
        values: Name -> figure of each unit, ``(n,)``; a unit whose figure is NaN is left out.
        patients: Patient of each unit, ``(n,)``, in ``0..P-1``.
        n_patients: Number of patients, ``P``.
    """
    table = np.column_stack(list(values.values()))
    defined = ~np.isnan(table)
    sums = sum_of_groups(np.where(defined, table, 0.0), patients, n_patients)
    numbers = sum_of_groups(defined.astype(np.float64), patients, n_patients)
    return Figures(
        names=tuple(values),
        of_counts=lambda drawn: divide(drawn @ sums, drawn @ numbers),
        n_patients=n_patients,
        needs=tuple((_defined(name),) for name in values),
        groups={_defined(name): numbers[:, i] > 0 for i, name in enumerate(values)},
    )


def _defined(name: str) -> str:
    return f"those whose {name} is defined"


def agreement_figures(true: Floats, said: Floats) -> Figures:
    """Build Bland and Altman's bias and limits of agreement.

    Args:
        true: True shares, ``(P,)``, one a patient.
        said: Predicted shares, ``(P,)``.

    Returns:
        ``bias`` (mean of predicted - true), ``limit_low`` and ``limit_high`` (bias -+ 1.96
        standard deviations of the differences, n - 1); the limits are NaN of one patient.
    """
    differences = said - true
    of_all: Bools = np.ones(len(true), dtype=np.bool_)

    def of_counts(drawn: Floats) -> Floats:
        n = drawn @ of_all.astype(np.float64)
        bias = divide(drawn @ differences, n)
        spread = (drawn * (differences - bias[:, np.newaxis]) ** 2).sum(axis=1)
        reach = _LIMIT_SD * np.sqrt(divide(spread, n - 1))
        return np.column_stack([bias, bias - reach, bias + reach])

    names = (BIAS, LIMIT_LOW, LIMIT_HIGH)
    return Figures(names, of_counts, len(true), ((),) * len(names), {})
