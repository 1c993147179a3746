"""What a search maximises: a figure of the validation side at the level of the labels."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.evaluate import level_units
from histokeras.analysis.metrics import macro_auc
from histokeras.analysis.regression import figures_of
from histokeras.analysis.units import labelled_units
from histokeras.cohort.split import split_units
from histokeras.cohort.split_table import apply_split
from histokeras.errors import ConfigError, TableError
from histokeras.training.fit_job import Study
from histokeras.training.fit_study import rows_of
from histokeras.training.results import Predicted
from histokeras.training.rows import TileRows, tile_rows
from histokeras.training.tasks import TASKS
from histokeras.types import REGRESSION, SPLIT, TILE

_VAL = "val"


def figure_name(study: Study) -> str:
    """Return what the figure is called, such as "patient AUC"."""
    if study.cohort.task == REGRESSION:
        figure = "R2"
    else:
        figure = "AUC" if len(study.cohort.classes) == 2 else "macro AUC"
    return f"{study.cohort.level} {figure}"


def search_rows(study: Study, folds: int | None, *, seed: int) -> list[TileRows]:
    """Return the tiles that a search may see: none of a test patient is among them.

    Args:
        study: From :func:`histokeras.training.fit_job.prepare_study`, with one split.
        folds: Patients of train and val together are split into so many folds, each val once;
            None for the split as it is.
        seed: Of the folds.

    Returns:
        Train and val tiles; a set a fold.

    Raises:
        ConfigError: If the split has folds itself.
        TableError: If there are too few patients for the folds (SPLIT_IMPOSSIBLE).
    """
    if study.split.folds:
        raise ConfigError(
            "`tune` takes one split into train, val and test, not folds.",
            hint="Make one with `histokeras split` without --cv; `tune head --cv` makes folds "
            "of its train and val patients.",
        )
    rows = rows_of(study, None)
    if folds is None:
        return [rows.where(np.isin(rows.units[SPLIT].to_numpy(str)[rows.unit], ("train", _VAL)))]
    seen = rows.units[rows.units[SPLIT] != "test"].drop(columns=SPLIT).reset_index(drop=True)
    joined = dataclasses.replace(study.joined, units=seen)
    split = split_units(joined, target=study.cohort.target, folds=folds, seed=seed)
    found = []
    for number in range(folds):
        placed, _ = apply_split(seen, split, number)
        placed = _two_sides(placed)
        found.append(tile_rows(study.index, placed, TASKS[study.cohort.task].classes(study.cohort)))
    return found


def _two_sides(placed: pd.DataFrame) -> pd.DataFrame:
    """What is left out of a fold is its val; all else is learned from."""
    sides = np.where(placed[SPLIT] == "test", _VAL, "train")
    return placed.assign(**{SPLIT: sides})


def val_figure(study: Study, rows: TileRows, scores: npt.NDArray[Any]) -> float:
    """Return the figure of val at the labels' own level, as metrics.json has it.

    Args:
        study: Labels and their level.
        rows: Tiles of the val side.
        scores: Their calibrated probabilities, float32 ``(n, K)``, or predicted numbers ``(n, 1)``.

    Returns:
        AUC, of more than two classes the mean one-vs-rest AUC; R2 of a regression.

    Raises:
        TableError: If it is not defined (SPLIT_IMPOSSIBLE).
    """
    cohort, patient_safe = study.cohort, not (study.joined.note or study.split.note)
    predicted = Predicted(rows, scores, cohort.outputs, {}, patient_safe, cohort.task)
    predictions = predicted.collect(keep_tiles=cohort.level == TILE)
    units = level_units(predictions, _VAL, cohort.level)
    labelled = units if isinstance(units, str) else labelled_units(units[0])
    why = labelled if isinstance(labelled, str) else ""
    value: float | None = None
    if not isinstance(units, str) and not isinstance(labelled, str):
        values = next(iter(units[0].scores.values()))[labelled.rows]
        if cohort.task == REGRESSION:
            value = figures_of(labelled.targets, values[:, 0])["r2"]
        else:
            value = macro_auc(labelled.targets, values)
    if value is None or not np.isfinite(value):
        raise TableError(
            f"{figure_name(study)} of val cannot be had: {why or 'its labels are all the same'}.",
            code="SPLIT_IMPOSSIBLE",
            hint="Split anew with `histokeras split`, with more val patients.",
        )
    return float(value)
