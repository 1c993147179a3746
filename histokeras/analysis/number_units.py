"""All figures of one level where a number is predicted: the counterpart of ``units``."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from histokeras.analysis.bootstrap import Estimate, Figures
from histokeras.analysis.compare import baseline_block, difference_figures
from histokeras.analysis.metrics import AnyFloats, Ints
from histokeras.analysis.number_verdict import number_verdict
from histokeras.analysis.regression import REGRESSION_FIGURES, figures_of, value_figures
from histokeras.analysis.units import (
    NOT_PATIENT_SAFE,
    EvaluationConfig,
    Labelled,
    Units,
    estimated,
    labelled_units,
    not_evaluated,
)


def evaluate_numbers(
    units: Units, folds: Ints | None = None, *, config: EvaluationConfig | None = None
) -> dict[str, Any]:
    """Compute the figures of one level from arrays.

    Args:
        units: What to evaluate: targets are numbers, scores have one column.
        folds: Test fold of each unit, shape ``(n,)``, -1 without cross-validation.
        config: Resamples and seed; the defaults if None.

    Returns:
        One level's part of what :func:`~histokeras.analysis.evaluate.evaluate_levels` returns:
        counts and notes; ``target`` -> ``mean sd median min max`` of the true numbers;
        ``aggregations`` -> name -> the figures of
        :func:`~histokeras.analysis.regression.value_figures`; ``baselines`` -> name -> ``title``,
        figures and ``difference`` (network minus baseline, paired); ``verdict`` -> ``beaten text``;
        ``folds``. There is no ``calibration``: temperature scaling is for probabilities. Plain
        values, None where one is not defined, with a ``note`` that says why.

    Raises:
        TableError: If patients are known for a part of the units only.
        ValueError: If shapes do not fit, or a number is not finite.
    """
    config = config or EvaluationConfig()
    labelled = labelled_units(units)
    if isinstance(labelled, str):
        return not_evaluated(labelled)
    targets = labelled.targets
    safe = config.patient_safe and units.patients is not None
    level: dict[str, Any] = {
        "evaluated": True,
        "n": len(targets),
        "n_unlabelled": int((~labelled.rows).sum()),
        "n_patients": labelled.n_patients if labelled.resampled == "patient" else None,
        "target": {
            "mean": float(targets.mean()),
            "sd": float(targets.std(ddof=1)) if len(targets) > 1 else None,
            "median": float(np.median(targets)),
            "min": float(targets.min()),
            "max": float(targets.max()),
        },
        "resampled_by": labelled.resampled,
        "note": "" if safe else NOT_PATIENT_SAFE,
        "aggregations": {
            name: _as_json(estimated_numbers(scores, labelled, config))
            for name, scores in units.scores.items()
        },
    }
    level["baselines"] = _baselines(units, labelled, config)
    level["verdict"] = number_verdict(level, alpha=config.alpha, is_floor=config.is_floor)
    level["folds"] = None if folds is None else _of_folds(units, labelled, folds)
    return level


def _figures(scores: AnyFloats, labelled: Labelled) -> Figures:
    return value_figures(labelled.targets, scores[labelled.rows, 0], labelled.patients)


def estimated_numbers(
    scores: AnyFloats, labelled: Labelled, config: EvaluationConfig
) -> dict[str, Estimate]:
    """Estimate the figures of predicted numbers; a note says why one is not defined.

    Args:
        scores: Shape ``(n, 1)``, of all units.
        labelled: Those that have a label.
        config: Resamples and seed.
    """
    found = estimated(_figures(scores, labelled), labelled, config)
    why = _undefined(scores[labelled.rows, 0], labelled)
    return {
        name: estimate if estimate.value is not None else _noted(estimate, why)
        for name, estimate in found.items()
    }


def _undefined(predictions: AnyFloats, labelled: Labelled) -> str:
    """Return why correlations (and, for equal targets, R2) have no value."""
    if np.ptp(labelled.targets) == 0:
        return "all true numbers are equal: not defined"
    if np.ptp(predictions) == 0:
        return "all predictions are equal: no correlation"
    return "not defined"


def _noted(estimate: Estimate, why: str) -> Estimate:
    notes = [why, *([estimate.note] if estimate.note else [])]
    return dataclasses.replace(estimate, note="; ".join(notes))


def _as_json(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimates[name].as_json() for name in REGRESSION_FIGURES}


def _baselines(units: Units, labelled: Labelled, config: EvaluationConfig) -> dict[str, Any]:
    """Return every baseline's figures, and how far the main aggregation lies above them."""
    blocks: dict[str, Any] = {}
    main = next(iter(units.scores.values()))
    network = _figures(main, labelled)
    for name, scores in units.baselines.items():
        differences = difference_figures(network, _figures(scores, labelled), REGRESSION_FIGURES)
        found = {
            figure: estimate
            if estimate.value is not None
            else _noted(estimate, "one of the two is not defined")
            for figure, estimate in estimated(differences, labelled, config).items()
        }
        own = estimated_numbers(scores, labelled, config)
        blocks[name] = baseline_block(name, own, found, REGRESSION_FIGURES)
    return blocks


def _of_folds(units: Units, labelled: Labelled, folds: Ints) -> list[dict[str, Any]] | None:
    """Return the figures of each test fold alone, without intervals; None without folds."""
    mine = folds[labelled.rows]
    if not (mine >= 0).any():
        return None
    predictions = next(iter(units.scores.values()))[labelled.rows, 0]
    return [
        {
            "fold": int(fold),
            "n": int((mine == fold).sum()),
            **figures_of(labelled.targets[mine == fold], predictions[mine == fold]),
        }
        for fold in np.unique(mine).tolist()
    ]
