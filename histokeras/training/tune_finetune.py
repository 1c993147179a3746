"""What ``tune finetune`` searches, and how a trial is fine-tuned: on train and val alone."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from histokeras.analysis.calibration import fit_temperature, temperature_scaled
from histokeras.features.pixels import TilePixels
from histokeras.models.catalog import (
    AUGMENTATION_NAMES,
    HEAD_RATES,
    TILE_HEADS,
    UNFREEZE,
    require_backbone,
)
from histokeras.runs.environment import usable_cores
from histokeras.training.finetune import FinetuneConfig, Tuned, predict_tiles
from histokeras.training.finetune_run import (
    FROZEN,
    Begun,
    FinetuneJob,
    begin_finetune,
    run_finetune,
    told,
    tune_backbone,
)
from histokeras.training.fit_study import fit_fold_head
from histokeras.training.head import FittedHead
from histokeras.training.references import label_weights
from histokeras.training.rows import TileRows
from histokeras.training.search_space import Dimension, Params, Space
from histokeras.training.tune_figure import figure_name, search_rows, val_figure
from histokeras.training.tune_head import HEAD, step_figure
from histokeras.training.tune_run import BEST_RUN, Search
from histokeras.training.tuner import Report

RATE, UNFREEZES, AUGMENT, BATCH = "learning-rate", "unfreeze", "augment", "batch-size"
_RATES = 1e-6, 1e-2
_TILES = 8, 16, 32, 64


def finetune_space() -> Space:
    """Return what is searched for fine-tuning; defaults are those of ``finetune``."""
    own = FinetuneConfig()
    low, high = _RATES
    return (
        Dimension(name=HEAD, default=TILE_HEADS[0], about="see finetune", values=TILE_HEADS),
        Dimension(name=RATE, default=own.fit.learning_rate, about="of Adam", low=low, high=high),
        Dimension(name=UNFREEZES, default=own.unfreeze, about="what learns", values=UNFREEZE),
        Dimension(name=AUGMENT, default=own.augmentation, about="how tiles are varied",
                  values=AUGMENTATION_NAMES),
        Dimension(name=BATCH, default=own.fit.batch_size, about="tiles a step", values=_TILES),
    )  # fmt: skip


def chosen_finetune(job: FinetuneJob, params: Params) -> FinetuneJob:
    """Return a job with what was chosen; the head's own first phase has its default rate."""
    old = job.fit.head
    rate = HEAD_RATES[params[HEAD]]
    head = dataclasses.replace(
        old, head=params[HEAD], fit=dataclasses.replace(old.fit, learning_rate=rate)
    )
    fit = dataclasses.replace(
        job.config.fit, learning_rate=params[RATE], batch_size=int(params[BATCH])
    )
    config = dataclasses.replace(
        job.config, unfreeze=params[UNFREEZES], augmentation=params[AUGMENT], fit=fit
    )
    return dataclasses.replace(job, fit=dataclasses.replace(job.fit, head=head), config=config)


@dataclass(frozen=True)
class FinetuneObjective:
    """Fits a head and fine-tunes for each trial: the objective of ``tune finetune``.

    Attributes:
        job: What to do; what is searched is replaced.
        begun: The frozen features, and the labels.
        rows: Tiles of train and val alone.
    """

    job: FinetuneJob
    begun: Begun
    rows: TileRows

    def __call__(self, params: Params, report: Report) -> tuple[float, int]:
        """Return the figure of val, and the epochs; each epoch is a step, with its tile AUC."""
        # Else the networks of earlier trials stay.
        keras.backend.clear_session()
        job, study = chosen_finetune(self.job, params), self.begun.study
        fit_job = dataclasses.replace(job.fit, features=job.folder / FROZEN)
        frozen_head = fit_fold_head(study, fit_job, self.rows)
        assert isinstance(frozen_head, FittedHead)

        def on_epoch(row: dict[str, float]) -> None:
            job.say(told(row))
            report(step_figure(row), int(row["epoch"]))

        tuned = tune_backbone(job, self.begun, self.rows, frozen_head, None, on_epoch)
        val = self.rows.on_side("val")
        raw = self._predicted(job, tuned, val)
        found = fit_temperature(val.target, raw, weights=label_weights(val, study.cohort.key))
        scores = temperature_scaled(raw, found.value)
        # The first row is the frozen network.
        return val_figure(study, val, scores), len(tuned.history) - 1

    def _predicted(self, job: FinetuneJob, tuned: Tuned, val: TileRows) -> Any:
        pixels = TilePixels(self.begun.study.index, self.begun.prepared.sources)
        try:
            return predict_tiles(
                require_backbone(job.extract.backbone),
                tuned,
                val,
                pixels,
                int(self.begun.plan.settings["tile_size_px"]),
                batch_size=job.extract.compute_batch,
                workers=job.workers or min(8, usable_cores()),
            )
        finally:
            pixels.close()


def begin_search(job: FinetuneJob, folder: Path, **named: Any) -> tuple[FinetuneJob, Begun]:
    """Extract the features of the frozen backbone where the best run will want them.

    Args:
        job: What to do.
        folder: The folder of the search.
        named: For :func:`histokeras.training.finetune_run.begin_finetune`.
    """
    job = dataclasses.replace(
        job, extract=dataclasses.replace(job.extract, output=folder / BEST_RUN)
    )
    return job, begin_finetune(job, **named)


def finetune_search(
    job: FinetuneJob,
    begun: Begun,
    space: Space,
    *,
    prune: bool = True,
    config: Mapping[str, Any],
    command_line: str = "",
) -> Search:
    """Return the search for fine-tuning: what is tried, and how the best is fitted.

    Args:
        job: Of :func:`begin_search`; epochs, patience and seed hold for each trial.
        begun: Of the same.
        space: Of :func:`finetune_space`, perhaps narrowed.
        prune: Whether bad trials are given up.
        config: The resolved options, for the record of the best run.
        command_line: What was typed, for that record.
    """
    study, fit = begun.study, job.config.fit
    seed = fit.seed
    same = {"epochs": fit.epochs, "patience": fit.patience, "seed": seed}
    searched = ("learning_rate", "unfreeze", "augmentation", "batch_size")
    others = {name: value for name, value in job.config.as_dict().items() if name not in searched}

    def options_of(params: Params) -> dict[str, Any]:
        return {**params, **same}

    def fit_best(params: Params, folder: Path, facts: Mapping[str, Any], anew: bool) -> Any:
        best = chosen_finetune(job, params)
        chosen = {name.replace("-", "_"): value for name, value in options_of(params).items()}
        chosen["augmentation"] = chosen.pop(AUGMENT)
        now = {**config, **chosen}
        return run_finetune(
            best,
            begin_finetune(best, config=now),
            config=now,
            command_line=command_line,
            overwrite=anew,
            facts={"tuning": facts},
        )

    return Search(
        command="tune finetune",
        space=space,
        objective=FinetuneObjective(job, begun, search_rows(study, None, seed=seed)[0]),
        figure=f"{figure_name(study)} of val",
        # What the space holds stands there: the job's own is never fitted.
        inputs={
            **study.inputs,
            "head options": {"class_weight": job.fit.head.class_weight},
            "finetune": others,
        },
        options_of=options_of,
        fitter="finetune",
        fit_best=fit_best,
        seed=seed,
        # Epoch 0, the frozen network, is a step too.
        spared=fit.patience + 1 if prune else None,
    )
