"""All figures of one level, from arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.analysis.bootstrap import (
    ALPHA,
    N_RESAMPLES,
    Estimate,
    Figures,
    patient_bootstrap,
)
from histokeras.analysis.calibration import calibration_figures
from histokeras.analysis.compare import COMPARED, baseline_block, difference_figures
from histokeras.analysis.figures import SPECIFICITY, headline_figures, level_figures
from histokeras.analysis.metrics import (
    AnyFloats,
    AnyInts,
    Bools,
    Ints,
    confusion_matrix,
    predicted_classes,
)
from histokeras.analysis.verdict import floor_verdict
from histokeras.errors import TableError

NOT_PATIENT_SAFE = "tile-level, not patient-safe"
PROBABILITIES = frozenset({"probability", "mean_probability"})
"""Aggregations whose scores are meant as probabilities; a share of tiles is none."""


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
        specificity: At which the sensitivity is given, in (0, 1).
        is_floor: Whether the features are colour and texture themselves, without a network.

    Raises:
        ValueError: If ``specificity`` lies outside its range.
    """

    n_resamples: int = N_RESAMPLES
    alpha: float = ALPHA
    seed: int = 0
    splits: tuple[str, ...] = ("test",)
    patient_safe: bool = True
    specificity: float = SPECIFICITY
    is_floor: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.specificity < 1:
            raise ValueError(
                f"`specificity` is a share in (0, 1). Received: specificity={self.specificity}"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Units:
    """The tiles, slides or patients of one level and split, before unlabelled ones are left out.

    Attributes:
        level: ``tile``, ``slide`` or ``patient``.
        targets: Class numbers, shape ``(n,)``; -1 where there is no label. For regression numbers,
            float64; NaN where there is none, and ``K`` is 1.
        scores: Name of an aggregation -> shape ``(n, K)``; the first one is the main one.
        patients: Patient numbers in the order of their ids, shape ``(n,)``, -1 where unknown; None
            where all are.
        n_mixed: How many carry more than one label.
        raw: Name of an aggregation -> its scores before temperature scaling, shape ``(n, K)``;
            empty where nothing was scaled.
        baselines: Name -> scores of what the main aggregation is compared with, shape ``(n, K)``,
            finite.
        categories: ``tumour_type`` and ``site``, as far as they are known -> the value of each
            unit's patient, ``n`` texts, "" where unknown.
    """

    level: str
    targets: npt.NDArray[Any]
    scores: Mapping[str, AnyFloats]
    patients: AnyInts | None
    n_mixed: int = 0
    raw: Mapping[str, AnyFloats] = field(default_factory=dict)
    baselines: Mapping[str, AnyFloats] = field(default_factory=dict)
    categories: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def known(self) -> Bools:
        """Which units have a label, shape ``(n,)``."""
        numbers = np.issubdtype(self.targets.dtype, np.floating)
        known: Bools = np.isfinite(self.targets) if numbers else self.targets >= 0
        return known


@dataclass(frozen=True, eq=False)
class Labelled:
    """The units that have a label, and what is resampled.

    Attributes:
        rows: Which units have one, shape of all units, bool.
        targets: Their class numbers (or numbers), shape ``(n,)``.
        patients: Number of what is resampled, shape ``(n,)``, in ``0..P-1`` without gaps.
        resampled: ``patient``, or the level where patients are unknown.
    """

    rows: Bools
    targets: npt.NDArray[Any]
    patients: Ints
    resampled: str

    @property
    def n_patients(self) -> int:
        """Return ``P``."""
        return int(self.patients.max()) + 1


def labelled_units(units: Units) -> Labelled | str:
    """Leave unlabelled units out; return the reason in words where none can be evaluated.

    Raises:
        TableError: If patients are known for a part of the units only.
    """
    if units.n_mixed:
        return f"{units.n_mixed} of {len(units.targets)} {units.level}s carry more than one label"
    rows = units.known
    if not rows.any():
        return f"none of {len(units.targets)} {units.level}s has a label"
    patients, resampled = _resampling_units(units, rows)
    return Labelled(rows, units.targets[rows], patients, resampled)


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
        One level's part of what :func:`~histokeras.analysis.evaluate.evaluate_levels` returns:
        counts and notes; ``aggregations`` -> name -> figures and ``confusion`` (rows the truth);
        ``calibration`` -> ``before`` and ``after`` -> ``brier ece``, None where nothing was scaled;
        ``baselines`` -> name -> ``title``, figures and ``difference`` (network minus baseline,
        paired); ``verdict`` -> ``beaten text``. Plain values, None where one is not defined.

    Raises:
        TableError: If patients are known for a part of the units only.
        ValueError: If shapes or numbers do not fit, or a score is not finite.
    """
    config = config or EvaluationConfig()
    labelled = labelled_units(units)
    if isinstance(labelled, str):
        return not_evaluated(labelled)
    targets = labelled.targets
    counts = np.bincount(targets, minlength=len(classes)).tolist()
    safe = config.patient_safe and units.patients is not None
    level: dict[str, Any] = {
        "evaluated": True,
        "n": len(targets),
        "n_unlabelled": int((~labelled.rows).sum()),
        "n_patients": labelled.n_patients if labelled.resampled == "patient" else None,
        "n_per_class": dict(zip(classes, counts, strict=True)),
        "n_patients_per_class": _patients_per_class(labelled, classes),
        "prevalence": {c: n / len(targets) for c, n in zip(classes, counts, strict=True)},
        "base_rate": max(counts) / len(targets),
        "resampled_by": labelled.resampled,
        "note": _note(safe, classes, counts),
        "aggregations": {
            name: _aggregation(name, scores[labelled.rows], labelled, classes, positive, config)
            for name, scores in units.scores.items()
        },
    }
    level["calibration"] = _calibration(units, labelled, level["aggregations"], config)
    level["baselines"] = _baselines(units, labelled, classes, positive, config)
    level["verdict"] = floor_verdict(level, alpha=config.alpha, is_floor=config.is_floor)
    return level


def estimated(
    figures: Figures, labelled: Labelled, config: EvaluationConfig
) -> dict[str, Estimate]:
    """Estimate figures with the intervals that ``config`` asks for."""
    return patient_bootstrap(
        figures,
        n_resamples=config.n_resamples,
        alpha=config.alpha,
        seed=config.seed,
        unit=labelled.resampled,
    )


def _aggregation(
    name: str,
    scores: AnyFloats,
    labelled: Labelled,
    classes: Sequence[str],
    positive: str | None,
    config: EvaluationConfig,
) -> dict[str, Any]:
    figures = level_figures(
        labelled.targets,
        scores,
        labelled.patients,
        classes,
        positive=positive,
        specificity=config.specificity,
        calibrated=name in PROBABILITIES,
    )
    confusion = confusion_matrix(labelled.targets, predicted_classes(scores), len(classes))
    return {
        **_named(estimated(figures, labelled, config), positive),
        "specificity": config.specificity,
        "confusion": {
            "counts": confusion.astype(np.int64).tolist(),
            "row_shares": [
                [cell / sum(row) if sum(row) else None for cell in row]
                for row in confusion.tolist()
            ],
        },
    }


def _calibration(
    units: Units, labelled: Labelled, aggregations: Mapping[str, Any], config: EvaluationConfig
) -> dict[str, Any] | None:
    """Return Brier score and ECE of the main aggregation before and after temperature scaling."""
    main = next(iter(aggregations))
    if main not in units.raw or main not in PROBABILITIES:
        return None
    figures = calibration_figures(
        labelled.targets, units.raw[main][labelled.rows], labelled.patients, labelled.n_patients
    )
    before = estimated(figures, labelled, config)
    return {
        "before": {name: estimate.as_json() for name, estimate in before.items()},
        "after": {name: aggregations[main][name] for name in before},
    }


def _baselines(
    units: Units,
    labelled: Labelled,
    classes: Sequence[str],
    positive: str | None,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """Return every baseline's figures, and how far the main aggregation lies above them."""

    def headline(scores: AnyFloats) -> Figures:
        return headline_figures(
            labelled.targets, scores[labelled.rows], labelled.patients, classes, positive=positive
        )

    if not units.baselines:
        return {}
    network = headline(next(iter(units.scores.values())))
    blocks = {}
    for name, scores in units.baselines.items():
        own = headline(scores)
        differences = difference_figures(network, own, COMPARED)
        blocks[name] = baseline_block(
            name, estimated(own, labelled, config), estimated(differences, labelled, config)
        )
    return blocks


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


def _patients_per_class(labelled: Labelled, classes: Sequence[str]) -> dict[str, int] | None:
    if labelled.resampled != "patient":
        return None
    return {
        name: len(np.unique(labelled.patients[labelled.targets == k]))
        for k, name in enumerate(classes)
    }


def _note(safe: bool, classes: Sequence[str], counts: Sequence[int]) -> str:
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    notes = [] if safe else [NOT_PATIENT_SAFE]
    return "; ".join([*notes, *(f"class {name} does not occur" for name in absent)])


def _named(estimates: Mapping[str, Estimate], positive: str | None) -> dict[str, Any]:
    """Nest ``auc/<class>`` and its like under one key each."""
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
        "pr_auc": plain["pr_auc"],
        "pr_auc_per_class": per_class("pr_auc"),
        "sensitivity_at_specificity": per_class("sensitivity"),
        **{name: plain[name] for name in ("brier", "ece") if name in plain},
    }
