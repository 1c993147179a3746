"""What ``tune head`` searches, and how a trial is fitted: on train and val patients alone."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from histokeras.errors import ConfigError, TableError
from histokeras.models.catalog import (
    BAG_BATCH_SIZE,
    BAG_HEADS,
    BATCH_SIZE,
    DEFAULT_HEAD,
    HEAD_NAMES,
    HEAD_RATES,
    TILE_HEADS,
)
from histokeras.training.fit_job import FitJob, Study, prepare_study
from histokeras.training.fit_run import Way, run_fit
from histokeras.training.fit_study import fit_fold_head, fit_study, open_rows
from histokeras.training.head import CLASS_WEIGHTS, HeadConfig
from histokeras.training.rows import TileRows
from histokeras.training.search_space import Dimension, Params, Space, narrowed
from histokeras.training.tune_figure import figure_name, search_rows, val_figure
from histokeras.training.tune_run import Search
from histokeras.training.tuner import Report
from histokeras.types import REGRESSION, TILE

HEAD, RATE, BATCH, BAGS, WEIGHT = (
    "head", "learning-rate", "batch-size", "bag-batch-size", "class-weight",
)  # fmt: skip
_RATES = 1e-5, 1e-1
_TILES = 16, 32, 64, 128, 256, 512
_BAGS = 4, 8, 16
_SPARED_FOLDS = 2


def head_space(heads: Sequence[str], task: str) -> Space:
    """Return what is searched for a head.

    Args:
        heads: Which heads are tried.
        task: ``classification`` or ``regression``; a number has no class weights.

    Raises:
        ConfigError: If there is no such head.
    """
    unknown = [name for name in heads if name not in HEAD_NAMES]
    if unknown or not heads or len(set(heads)) < len(heads):
        raise ConfigError(
            f"`--heads` are some of {','.join(HEAD_NAMES)}, each once. "
            f"Received: {','.join(heads)!r}"
        )
    first = DEFAULT_HEAD if DEFAULT_HEAD in heads else heads[0]
    low, high = _RATES
    space = (
        Dimension(name=HEAD, default=first, about="see fit-head", values=tuple(heads)),
        Dimension(name=RATE, default=HEAD_RATES[first], about="of Adam", low=low, high=high),
        Dimension(name=BATCH, default=BATCH_SIZE, about="tiles a step", values=_TILES,
                  only=(HEAD, TILE_HEADS)),
        Dimension(name=BAGS, default=BAG_BATCH_SIZE, about="bags a step, of mil", values=_BAGS,
                  only=(HEAD, BAG_HEADS)),
        Dimension(name=WEIGHT, default=CLASS_WEIGHTS[0], about="of each class in the loss",
                  values=CLASS_WEIGHTS),
    )  # fmt: skip
    kept = tuple(item for item in space if task != REGRESSION or item.name != WEIGHT)
    # Sizes of batches of heads that are not tried fall away.
    return narrowed(kept, (), ())


def head_options(params: Params) -> dict[str, Any]:
    """Return the options of ``fit-head`` that parameters stand for."""
    options = {name: value for name, value in params.items() if name != BAGS}
    if BAGS in params:
        options[BATCH] = params[BAGS]
    return options


def chosen_job(job: FitJob, params: Params) -> FitJob:
    """Return a job with the head that was chosen."""
    options = head_options(params)
    fit = dataclasses.replace(
        job.head.fit, learning_rate=options[RATE], batch_size=int(options[BATCH])
    )
    weight = options.get(WEIGHT, job.head.class_weight)
    return dataclasses.replace(
        job, head=HeadConfig(head=options[HEAD], class_weight=weight, fit=fit)
    )


@dataclass(frozen=True)
class HeadObjective:
    """Fits a head for each trial: the objective of ``tune head``.

    Attributes:
        study: Features and labels.
        job: What to learn; its head is replaced.
        parts: Of :func:`histokeras.training.tune_figure.search_rows`.
    """

    study: Study
    job: FitJob
    parts: Sequence[TileRows]

    def __call__(self, params: Params, report: Report) -> tuple[float, int]:
        """Return the mean figure of the parts, and the epochs of all.

        Of one part each epoch is a step, with its figure of tiles (AUC; of a number the negative
        loss); of several each part is one, with the mean of the figures so far.
        """
        # Else the networks of earlier trials stay.
        keras.backend.clear_session()
        job, values, epochs = chosen_job(self.job, params), [], 0
        alone = len(self.parts) == 1
        for rows in self.parts:
            ended = epochs

            def on_epoch(row: dict[str, float], ended: int = ended) -> None:
                if alone:
                    report(step_figure(row), ended + int(row["epoch"]))

            fitted = fit_fold_head(self.study, job, rows, on_epoch=on_epoch)
            epochs += len(fitted.history)
            val = rows.on_side("val")
            scores = next(iter(fitted.scores(open_rows(self.study, job, val)).values()))
            values.append(val_figure(self.study, val, scores))
            # After the last there is nothing left to be given up.
            if rows is not self.parts[-1]:
                report(float(np.mean(values)), epochs)
        return float(np.mean(values)), epochs


def step_figure(row: dict[str, float]) -> float:
    """Return by which figure of an epoch trials are compared on their way; greater is better.

    Not the loss of classes: class weights change its scale from trial to trial.
    """
    return row["val_auc"] if "val_auc" in row else -row["val_loss"]


def require_heads(study: Study, space: Space) -> None:
    """Refuse heads of bags where labels stand at the tile.

    Raises:
        TableError: Code LEVEL_UNFIT.
    """
    heads = next(item.values for item in space if item.name == HEAD)
    if study.cohort.level == TILE and set(heads) & set(BAG_HEADS):
        raise TableError(
            f"labels stand at the tile: {', '.join(BAG_HEADS)} learns slides or patients as a "
            "whole.",
            code="LEVEL_UNFIT",
            hint="Leave it out of --heads.",
        )


def head_search(
    job: FitJob,
    study: Study,
    space: Space,
    *,
    folds: int | None = None,
    prune: bool = True,
    config: Mapping[str, Any],
    command_line: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Search:
    """Return the search for a head: what is tried, and how the best is fitted.

    Args:
        job: What to learn; epochs, patience and seed hold for each trial.
        study: From :func:`histokeras.training.fit_job.prepare_study`.
        space: From :func:`head_space`, perhaps narrowed.
        folds: Patients of train and val together are split into so many folds; None for the split.
        prune: Whether bad trials are given up.
        config: The resolved options, for the record of the best run.
        command_line: What was typed, for that record.
        say: Called with a line when an interrupted fit of the best goes on.

    Raises:
        TableError: If labels do not allow a head or the folds.
        ConfigError: If the split has folds itself.
    """
    require_heads(study, space)
    seed, fit = job.head.fit.seed, job.head.fit
    same = {"epochs": fit.epochs, "patience": fit.patience, "seed": seed}

    def options_of(params: Params) -> dict[str, Any]:
        return {**head_options(params), **same}

    def fit_best(params: Params, folder: Path, facts: Mapping[str, Any], anew: bool) -> Any:
        best = chosen_job(job, params)
        chosen = {name.replace("-", "_"): value for name, value in options_of(params).items()}
        return run_fit(
            best,
            prepare_study(best),
            folder,
            config={**config, **chosen},
            command_line=command_line,
            overwrite=anew,
            way=Way("fit-head", functools.partial(fit_study, say=say), facts={"tuning": facts}),
            say=say,
        )

    name = figure_name(study)
    return Search(
        command="tune head",
        space=space,
        objective=HeadObjective(study, job, search_rows(study, folds, seed=seed)),
        figure=f"{name} of val" if folds is None else f"mean {name} of {folds} folds",
        # What the space holds stands there: the job's own is never fitted.
        inputs={**study.inputs, "head options": same, "cv": folds},
        options_of=options_of,
        fitter="fit-head",
        fit_best=fit_best,
        seed=seed,
        spared=(fit.patience if folds is None else _SPARED_FOLDS) if prune else None,
    )
