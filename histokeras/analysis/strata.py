"""Figures within each tumour type and each site: the same figures on a part of the patients."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.analysis.bootstrap import Estimate
from histokeras.analysis.figures import headline_figures
from histokeras.analysis.metrics import Bools
from histokeras.analysis.number_units import estimated_numbers
from histokeras.analysis.units import EvaluationConfig, Units, estimated, labelled_units

CLASS_FIGURES = ("auc", "balanced_accuracy")
NUMBER_FIGURES = ("spearman", "mae")
MOST_VALUES = 50
"""A column of more values than this is not looked at value by value."""


def strata_figures(
    units: Units,
    classes: Sequence[str],
    *,
    positive: str | None = None,
    config: EvaluationConfig | None = None,
) -> dict[str, Any]:
    """Compute the figures of the main aggregation within each value of each category.

    Each value is evaluated as if its patients were the cohort: same classes, positive class, seed
    and number of resamples.

    Args:
        units: One level, with ``categories``.
        classes: Names of the ``K`` classes; for regression the target.
        positive: Of two classes the positive one, or None.
        config: Resamples and seed; the defaults if None.

    Returns:
        ``by`` -> category -> value, sorted -> ``n`` (units), ``n_patients``, ``note`` and
        estimates: for classes ``n_per_class``, ``auc`` and ``balanced_accuracy``, neither of which
        is defined where there is one class alone; for numbers ``spearman`` and ``mae``.
        ``by_left_out`` -> category -> why there is nothing by it. Both are missing where no
        category or no patient is known.

    Raises:
        TableError: If patients are known for a part of the units of a value only.
        ValueError: If shapes or numbers do not fit, or a score is not finite.
    """
    if units.patients is None or not units.categories:
        return {}
    config = config or EvaluationConfig()
    by: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for name, texts in units.categories.items():
        values = np.where(units.known, np.array(texts, dtype=object), "")
        reason = _left_out(values, np.asarray(units.patients))
        if reason:
            left_out[name] = reason
            continue
        by[name] = {
            value: _stratum(_part(units, values == value), classes, positive, config)
            for value in sorted(set(values) - {""})
        }
    return {"by": by, "by_left_out": left_out}


def _left_out(values: npt.NDArray[Any], patients: npt.NDArray[Any]) -> str:
    """Return why values do not group the patients; "" if they do."""
    sizes = [len(np.unique(patients[values == value])) for value in sorted(set(values) - {""})]
    if not sizes:
        return "not known of any patient"
    if len(sizes) == 1:
        return "all have the same"
    if len(sizes) > MOST_VALUES:
        return f"{len(sizes):,} values, more than {MOST_VALUES}"
    single = sizes.count(1)
    few = 2 * single > len(sizes)
    return f"{single} of {len(sizes)} values have one patient only" if few else ""


def _part(units: Units, rows: Bools) -> Units:
    """Return some of the units with their main aggregation alone."""
    main, scores = next(iter(units.scores.items()))
    patients = np.asarray(units.patients)[rows]
    return Units(
        level=units.level, targets=units.targets[rows], scores={main: scores[rows]},
        patients=patients,
    )  # fmt: skip


def _stratum(
    units: Units, classes: Sequence[str], positive: str | None, config: EvaluationConfig
) -> dict[str, Any]:
    labelled = labelled_units(units)
    # Only labelled units have a value here.
    assert not isinstance(labelled, str)
    scores = next(iter(units.scores.values()))
    counts = {"n": len(labelled.targets), "n_patients": labelled.n_patients}
    if np.issubdtype(units.targets.dtype, np.floating):
        found = estimated_numbers(scores, labelled, config)
        return {**counts, **_as_json(found, NUMBER_FIGURES)}
    of_class = np.bincount(labelled.targets, minlength=len(classes)).tolist()
    per_class = {"n_per_class": dict(zip(classes, of_class, strict=True))}
    present = [name for name, count in per_class["n_per_class"].items() if count]
    if len(present) == 1:
        # The share of one class that is recognised would pass for a balanced accuracy.
        note = f"class {present[0]} alone: not defined"
        none = Estimate(None, None, None, labelled.n_patients, 0, 0, note)
        found = dict.fromkeys(CLASS_FIGURES, none)
        return {**counts, **per_class, **_as_json(found, CLASS_FIGURES)}
    figures = headline_figures(
        labelled.targets, scores, labelled.patients, classes, positive=positive
    )
    absent = [f"class {name} does not occur" for name in classes if name not in present]
    found = estimated(figures, labelled, config)
    return {**counts, **per_class, **_as_json(found, CLASS_FIGURES, absent)}


def _as_json(
    found: Mapping[str, Estimate], names: Sequence[str], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return estimates as plain values, and their notes, each once, as one."""
    every = dict.fromkeys([*notes, *(found[name].note for name in names)])
    return {
        **{name: found[name].as_json() for name in names},
        "note": "; ".join(note for note in every if note),
    }
