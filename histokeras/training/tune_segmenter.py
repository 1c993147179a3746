"""What ``tune segmenter`` searches, and how a trial is trained: on train and val alone."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from histokeras.errors import ConfigError
from histokeras.models.catalog import FREEZE, OUTPUT_STRIDES
from histokeras.models.devices import choose_strategy
from histokeras.training.search_space import Dimension, Params, Space
from histokeras.training.segmentation import require_shared
from histokeras.training.segmentation_job import (
    SegmentationStudy,
    SegmenterJob,
    prepare_segmentation,
)
from histokeras.training.segmentation_run import run_segmenter, told, train_segmenter, weights_of
from histokeras.training.tune_run import Search
from histokeras.training.tuner import Report

RATE, DECAY, BATCH, DICE = "learning-rate", "weight-decay", "batch-size", "dice-weight"
STRIDE, FROZEN = "output-stride", "freeze"
_RATES, _DECAYS, _WEIGHTS = (1e-5, 1e-2), (1e-6, 1e-2), (0.1, 10.0)
_BATCHES = 4, 8, 16
_OWN = ("network", "training", "n_resamples")
"""Inputs of a study that a search has its own way of saying, or that no trial depends on."""
_IN_CONFIG = {RATE: "learning_rate", BATCH: "batch_size"}
"""What stands in :class:`~histokeras.training.loop.FitConfig`."""


def segmenter_space(job: SegmenterJob) -> Space:
    """Return what is searched for a network; defaults are those that the job has.

    Args:
        job: What to learn. Output stride and depth are of DeepLab alone, the weight of the Dice
            loss of losses that have one beside another.
    """
    config, spec = job.config, job.spec
    rate, decay, weight = config.fit.learning_rate, config.weight_decay, config.dice_weight
    space = [
        _log(RATE, rate, "of AdamW, at its highest", _RATES),
        _log(DECAY, decay, "of AdamW", _DECAYS),
        Dimension(name=BATCH, default=config.fit.batch_size, about="crops a step", values=_BATCHES),
    ]
    if config.loss.endswith("+dice"):
        space.append(_log(DICE, weight, "of the Dice loss beside 1 of the other", _WEIGHTS))
    if spec.backbone:
        stride, depth = spec.output_stride, config.freeze
        space += [
            Dimension(name=STRIDE, default=stride, about="pixels a cell", values=OUTPUT_STRIDES),
            Dimension(name=FROZEN, default=depth, about="what does not learn", values=FREEZE),
        ]
    return tuple(space)


def _log(name: str, default: float, about: str, ends: tuple[float, float]) -> Dimension:
    low, high = ends
    # A job's own value is a trial, wherever it lies.
    low, high = (min(low, default) if default > 0 else low), max(high, default)
    return Dimension(name=name, default=max(default, low), about=about, low=low, high=high)


def chosen_segmenter(job: SegmenterJob, params: Params) -> SegmenterJob:
    """Return a job with what was chosen."""
    fit = {_IN_CONFIG[name]: params[name] for name in _IN_CONFIG if name in params}
    own = {name.replace("-", "_"): params[name] for name in (DECAY, DICE, FROZEN) if name in params}
    config = dataclasses.replace(job.config, fit=dataclasses.replace(job.config.fit, **fit), **own)
    stride = params.get(STRIDE, job.spec.output_stride)
    return dataclasses.replace(
        job, config=config, spec=dataclasses.replace(job.spec, output_stride=stride)
    )


def _require_possible(job: SegmenterJob, space: Space) -> None:
    """Refuse what a trial could not be fitted with: it would end the search in its midst."""
    replicas = int(choose_strategy(job.gpus).num_replicas_in_sync)
    for item in space:
        for value in item.values:
            chosen = chosen_segmenter(job, {item.name: value})
            if item.name == BATCH:
                require_shared(chosen.config.fit.batch_size, replicas)


@dataclass(frozen=True)
class SegmenterObjective:
    """Trains a network for each trial: the objective of ``tune segmenter``.

    Attributes:
        job: What to do; what is searched is replaced.
        study: Images, masks and split. Images of test patients take no part.
    """

    job: SegmenterJob
    study: SegmentationStudy

    def __call__(self, params: Params, report: Report) -> tuple[float, int]:
        """Return the highest IoU of val, and the epochs; each epoch is a step."""
        # Else the networks of earlier trials stay.
        keras.backend.clear_session()
        job = chosen_segmenter(self.job, params)

        def on_epoch(row: dict[str, float]) -> None:
            job.say(told(row))
            report(float(row["val_iou"]), int(row["epoch"]))

        trained = train_segmenter(job, self.study, None, weights_of(job), on_epoch=on_epoch)
        return float(trained.history["val_iou"].max()), len(trained.history)


def begin_search(job: SegmenterJob) -> SegmentationStudy:
    """Open the images once, for all trials.

    Raises:
        ConfigError: If the split has folds.
        HistokerasError: Whatever the inputs raise.
    """
    study = prepare_segmentation(job)
    if study.split.folds:
        raise ConfigError(
            "`tune segmenter` takes one split into train, val and test, not folds.",
            hint="Make one with `histokeras split` without --cv, or leave --split out.",
        )
    return study


def segmenter_search(
    job: SegmenterJob,
    study: SegmentationStudy,
    space: Space,
    *,
    prune: bool = True,
    config: Mapping[str, Any],
    command_line: str = "",
) -> Search:
    """Return the search for a segmenter: what is tried, and how the best is fitted.

    Args:
        job: Epochs, patience, seed and all that is not searched hold for each trial.
        study: Of :func:`begin_search`.
        space: Of :func:`segmenter_space`, perhaps narrowed.
        prune: Whether bad trials are given up.
        config: The resolved options, for the record of the best run.
        command_line: What was typed, for that record.

    Raises:
        ConfigError: If the space holds what no segmenter has, or batches that the devices cannot
            share.
        MissingError: If weights are not here.
    """
    _require_possible(job, space)
    fit = job.config.fit
    searched = {item.name.replace("-", "_") for item in space}
    same = {name: value for name, value in study.inputs.items() if name not in _OWN}
    positive, weights = study.task.positive, weights_of(job)

    def options_of(params: Params) -> dict[str, Any]:
        kept = {"network": job.spec.network, "channels": job.spec.channels}
        kept |= {"backbone": job.spec.backbone} if job.spec.backbone else {}
        kept |= {"grey": True} if job.spec.n_inputs == 1 else {}
        known: dict[str, Any] = {**kept, "loss": job.config.loss, "crop-px": job.config.crop_px}
        every = {"epochs": fit.epochs, "patience": fit.patience, "seed": fit.seed}
        return {**known, **params, **every}

    def fit_best(params: Params, folder: Path, facts: Mapping[str, Any], anew: bool) -> Any:
        best = chosen_segmenter(job, params)
        chosen = {name.replace("-", "_"): value for name, value in params.items()}
        return run_segmenter(
            best,
            prepare_segmentation(best),
            folder,
            config={**config, **chosen},
            command_line=command_line,
            overwrite=anew,
            facts={"tuning": facts},
        )

    return Search(
        command="tune segmenter",
        space=space,
        objective=SegmenterObjective(job, study),
        figure="mean IoU of val" if positive is None else f"IoU of {positive} on val",
        # What the space holds stands there: the job's own is never fitted.
        inputs={
            **same,
            "network": {k: v for k, v in vars(job.spec).items() if k not in searched},
            "training": {k: v for k, v in job.config.as_dict().items() if k not in searched},
            "weights": "" if weights is None else weights.sha256,
        },
        options_of=options_of,
        fitter="fit-segmenter",
        fit_best=fit_best,
        seed=fit.seed,
        spared=fit.patience if prune else None,
    )
