"""All figures of one level, from arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from histokeras.analysis.bootstrap import ALPHA, N_RESAMPLES, Estimate, patient_bootstrap
from histokeras.analysis.figures import level_figures
from histokeras.analysis.metrics import AnyFloats, AnyInts, Bools, Ints
from histokeras.errors import TableError

NOT_PATIENT_SAFE = "tile-level, not patient-safe"


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How to evaluate.

    Attributes:
        n_resamples: Resamples behind every interval, at least 1.
        alpha: Share outside the intervals, in (0, 1): 0.05 gives 95 % intervals.
        seed: Seed of the resamples.
        splits: Parts to evaluate, of train, val and test; without a split in the predictions all
            of them are evaluated together, as ``all``.
        patient_safe: False where the split did not keep patients together, whatever the tables
            say: every figure then is called so.
    """

    n_resamples: int = N_RESAMPLES
    alpha: float = ALPHA
    seed: int = 0
    splits: tuple[str, ...] = ("test",)
    patient_safe: bool = True


@dataclass(frozen=True, eq=False, kw_only=True)
class Units:
    """The tiles, slides or patients of one level and split, before unlabelled ones are left out.

    Attributes:
        level: ``tile``, ``slide`` or ``patient``.
        targets: Class numbers, shape ``(n,)``; -1 where there is no label.
        scores: Name of an aggregation -> shape ``(n, K)``.
        patients: Patient numbers in the order of their ids, shape ``(n,)``, -1 where unknown; None
            where all are.
        n_mixed: How many carry more than one label.
    """

    level: str
    targets: AnyInts
    scores: Mapping[str, AnyFloats]
    patients: AnyInts | None
    n_mixed: int = 0


def evaluate_units(
    units: Units,
    classes: Sequence[str],
    *,
    positive: str | None = None,
    config: EvaluationConfig | None = None,
) -> dict[str, Any]:
    """Compute the figures of one level from arrays.

    Args:
        units: What to evaluate; 400,000 tiles take seconds.
        classes: Names of the ``K`` classes, in the order of the columns.
        positive: Of two classes the positive one, or None.
        config: Resamples and seed; the defaults if None.

    Returns:
        One level's part of what :func:`~histokeras.analysis.evaluate.evaluate_levels` returns.

    Raises:
        TableError: If patients are known for a part of the units only.
        ValueError: If shapes or numbers do not fit, or a score is not finite.
    """
    config = config or EvaluationConfig()
    word = units.level
    if units.n_mixed:
        return not_evaluated(
            f"{units.n_mixed} of {len(units.targets)} {word}s carry more than one label"
        )
    labelled = units.targets >= 0
    if not labelled.any():
        return not_evaluated(f"none of {len(units.targets)} {word}s has a label")
    targets = units.targets[labelled]
    patients, resampled = _resampling_units(units, labelled)
    aggregations = {}
    for name, scores in units.scores.items():
        figures = level_figures(targets, scores[labelled], patients, classes, positive=positive)
        estimates = patient_bootstrap(
            figures,
            n_resamples=config.n_resamples,
            alpha=config.alpha,
            seed=config.seed,
            unit=resampled,
        )
        aggregations[name] = _named(estimates, positive)
    counts = np.bincount(targets, minlength=len(classes)).tolist()
    safe = config.patient_safe and units.patients is not None
    return {
        "evaluated": True,
        "n": len(targets),
        "n_unlabelled": int((~labelled).sum()),
        "n_patients": int(patients.max()) + 1 if resampled == "patient" else None,
        "n_per_class": dict(zip(classes, counts, strict=True)),
        "n_patients_per_class": _patients_per_class(targets, patients, classes, resampled),
        "prevalence": {c: n / len(targets) for c, n in zip(classes, counts, strict=True)},
        "base_rate": max(counts) / len(targets),
        "resampled_by": resampled,
        "note": _note(safe, classes, counts),
        "aggregations": aggregations,
    }


def not_evaluated(reason: str) -> dict[str, Any]:
    """Return what stands in place of figures that cannot be had."""
    return {"evaluated": False, "reason": reason}


def _resampling_units(units: Units, labelled: Bools) -> tuple[Ints, str]:
    """Return what is resampled, numbered without gaps, and its name."""
    if units.patients is None:
        return np.arange(int(labelled.sum()), dtype=np.int64), units.level
    patients = units.patients[labelled]
    unknown = int((patients < 0).sum())
    if unknown:
        raise TableError(
            f"{unknown} of {len(patients)} {units.level}s have no patient_id, the others have one.",
            code="PATIENT_UNKNOWN",
            hint="Complete the patient ids, or leave these rows out.",
        )
    return np.unique(patients, return_inverse=True)[1].astype(np.int64), "patient"


def _patients_per_class(
    targets: AnyInts, patients: Ints, classes: Sequence[str], resampled: str
) -> dict[str, int] | None:
    if resampled != "patient":
        return None
    return {name: len(np.unique(patients[targets == k])) for k, name in enumerate(classes)}


def _note(safe: bool, classes: Sequence[str], counts: Sequence[int]) -> str:
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    notes = [] if safe else [NOT_PATIENT_SAFE]
    return "; ".join([*notes, *(f"class {name} does not occur" for name in absent)])


def _named(estimates: Mapping[str, Estimate], positive: str | None) -> dict[str, Any]:
    """Nest ``auc/<class>`` and ``f1/<class>`` under one key each."""
    plain = {name: estimate.as_json() for name, estimate in estimates.items()}

    def per_class(metric: str) -> dict[str, Any]:
        prefix = f"{metric}/"
        return {
            name.removeprefix(prefix): value
            for name, value in plain.items()
            if name.startswith(prefix)
        }

    return {
        "auc": plain["auc"],
        "auc_of": "macro" if positive is None else positive,
        "auc_per_class": per_class("auc"),
        "balanced_accuracy": plain["balanced_accuracy"],
        "accuracy": plain["accuracy"],
        "f1_macro": plain["f1_macro"],
        "f1_per_class": per_class("f1"),
    }
