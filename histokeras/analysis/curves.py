"""Curves of one level with bands: ROC, precision-recall and reliability."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from histokeras.analysis.bootstrap import FEW_PATIENTS, Estimate, Figures, patient_bootstrap
from histokeras.analysis.calibration import bin_patients
from histokeras.analysis.figures import class_groups, ranked_classes, sides_of
from histokeras.analysis.metrics import AnyFloats, Bools, Floats, Ints, divide, roc_auc
from histokeras.analysis.ranking import (
    Ranked,
    average_precision,
    precision_on,
    rank,
    sensitivity_on,
)
from histokeras.analysis.units import (
    PROBABILITIES,
    EvaluationConfig,
    Labelled,
    Units,
    labelled_units,
)

N_RESAMPLES = 500
"""Fewer than behind a figure: a band is looked at, not quoted."""
N_POINTS = 101


def level_curves(
    units: Units,
    classes: Sequence[str],
    *,
    positive: str | None = None,
    config: EvaluationConfig | None = None,
) -> dict[str, Any]:
    """Compute the curves of the main aggregation, the first of ``units.scores``.

    Args:
        units: What was evaluated; 400,000 tiles take seconds.
        classes: Names of the ``K`` classes, in the order of the columns.
        positive: Of two classes the positive one, whose curves alone are given; else all classes.
        config: Seed and share outside the bands; ``n_resamples`` counts where it is below 500.

    Returns:
        Plain values, None where one is not defined: ``n``; ``roc`` -> class -> ``fpr tpr low high``
        (101 points) and ``auc``; ``pr`` -> class -> ``recall precision low high ap base_rate``;
        ``calibration`` -> ``after``, and ``before`` where scores before temperature scaling are
        known -> ``confidence accuracy n low high`` (15 bins; no band around fewer than 5
        patients), empty where scores are no probabilities. Bands are pointwise percentiles over
        resamples of patients. Classes that have no curve, for want of positives or of negatives,
        are left out. Nothing at all, ``{}``, where the level cannot be evaluated.

    Raises:
        TableError: If patients are known for a part of the units only.
    """
    config = config or EvaluationConfig()
    labelled = labelled_units(units)
    if isinstance(labelled, str):
        return {}
    name, scores = next(iter(units.scores.items()))
    scores = scores[labelled.rows]
    groups = class_groups(labelled.targets, labelled.patients, classes, labelled.n_patients)
    curves: dict[str, Any] = {"n": len(labelled.targets), "roc": {}, "pr": {}, "calibration": {}}
    for k in ranked_classes(classes, positive):
        members = labelled.targets == k
        if members.any() and not members.all():
            needs = sides_of(classes, k)
            ranked = rank(members, scores[:, k], labelled.patients, labelled.n_patients)
            values = _ranking(ranked, needs, groups, labelled, config)
            curves["roc"][classes[k]] = values["roc"] | {"auc": roc_auc(members, scores[:, k])}
            curves["pr"][classes[k]] = values["pr"] | {"base_rate": float(members.mean())}
    if name in PROBABILITIES:
        curves["calibration"]["after"] = _reliability(scores, labelled, config)
        if name in units.raw:
            before = units.raw[name][labelled.rows]
            curves["calibration"]["before"] = _reliability(before, labelled, config)
    return curves


def _ranking(
    ranked: Ranked,
    needs: tuple[str, str],
    groups: dict[str, Bools],
    labelled: Labelled,
    config: EvaluationConfig,
) -> dict[str, dict[str, Any]]:
    grid = np.linspace(0, 1, N_POINTS)

    def measure(tp: Floats, fp: Floats) -> Floats:
        return np.hstack([sensitivity_on(tp, fp, grid), precision_on(tp, fp, grid)])

    points = _banded(
        lambda counts: ranked.each(counts, measure),
        2 * N_POINTS,
        labelled,
        config,
        needs=needs,
        groups=groups,
    )
    everyone = np.ones((1, labelled.n_patients))
    plain = [round(float(point), 2) for point in grid]
    roc, pr = points[:N_POINTS], points[N_POINTS:]
    return {
        "roc": {"fpr": plain, "tpr": [point.value for point in roc], **_band(roc)},
        "pr": {
            "recall": plain,
            "precision": [point.value for point in pr],
            **_band(pr),
            "ap": float(ranked.each(everyone, average_precision)[0]),
        },
    }


def _reliability(probs: AnyFloats, labelled: Labelled, config: EvaluationConfig) -> dict[str, Any]:
    binned = bin_patients(labelled.targets, probs, labelled.patients, labelled.n_patients)
    n: Ints = binned.n.sum(axis=0).astype(np.int64)
    confidence = divide(binned.confidence.sum(axis=0), n)
    points = _banded(binned.accuracy_of_counts, len(n), labelled, config)
    enough = (binned.n > 0).sum(axis=0) >= FEW_PATIENTS
    band = _band(points)
    return {
        "confidence": [None if np.isnan(value) else float(value) for value in confidence],
        "accuracy": [point.value for point in points],
        "n": n.tolist(),
        **{
            end: [value if many else None for value, many in zip(values, enough, strict=True)]
            for end, values in band.items()
        },
    }


def _banded(
    of_counts: Callable[[Floats], Floats],
    n_points: int,
    labelled: Labelled,
    config: EvaluationConfig,
    *,
    needs: tuple[str, ...] = (),
    groups: dict[str, Bools] | None = None,
) -> list[Estimate]:
    """Resample every point of a curve as a figure of its own."""
    names = tuple(str(point) for point in range(n_points))
    figures = Figures(names, of_counts, labelled.n_patients, (needs,) * n_points, groups or {})
    estimates = patient_bootstrap(
        figures,
        n_resamples=min(N_RESAMPLES, config.n_resamples),
        alpha=config.alpha,
        seed=config.seed,
        unit=labelled.resampled,
    )
    return [estimates[name] for name in names]


def _band(points: Sequence[Estimate]) -> dict[str, list[float | None]]:
    return {"low": [point.low for point in points], "high": [point.high for point in points]}
