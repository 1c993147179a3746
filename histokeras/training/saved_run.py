"""Open a finished run in Python, as the command line left it."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.analysis.baselines import CATEGORIES
from histokeras.errors import FeatureError
from histokeras.models.model_file import read_head
from histokeras.runs.record import read_object, read_record
from histokeras.tables import read_own
from histokeras.training.fit import FittedRun
from histokeras.training.tasks import TASKS
from histokeras.training.trained_run import open_run as open_trained
from histokeras.types import LABEL, PATIENT_ID, REGRESSION, SLIDE_ID, SPLIT


def open_run(folder: str | Path) -> FittedRun:
    """Open a run that ``fit-head`` or ``finetune`` finished.

    Args:
        folder: What ``-o`` was given.

    Returns:
        Heads, figures with intervals, patients: what ``hk.fit_head`` returns.

    Raises:
        FeatureError: If the folder holds no finished run, or files of it are damaged.
    """
    place = Path(folder)
    trained = open_trained(place)
    heads = []
    for head in trained.folders:
        model, card = read_head(head)
        history = head.parent / "history.csv"
        fitted: Any = TASKS[trained.task].read(model, card)
        if history.is_file():
            fitted = dataclasses.replace(fitted, history=read_own(history))
        heads.append(fitted)
    text = () if trained.task == REGRESSION else (LABEL,)
    return FittedRun(
        heads,
        trained.classes,
        read_object(place / "metrics.json"),
        _table(place / "patients.csv", text),
        _table(place / "slides.csv", text),
        read_record(place).get("funnel", {}),
        _table(place / "dropped.csv", text),
        trained.settings,
        place,
        trained.task,
        str(trained.card.get("target", LABEL)),
    )


def _table(path: Path, text: tuple[str, ...]) -> pd.DataFrame:
    # Ids and labels stay as they were written: 007 is no number.
    # And NA is the code of a real site.
    texts = dict.fromkeys((PATIENT_ID, SLIDE_ID, SPLIT, *CATEGORIES, *text), str)
    try:
        return read_own(path, dtype=texts, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise FeatureError(
            f"{path} cannot be read.",
            code="RUN_UNFINISHED",
            hint="Give the command that made the run again.",
        ) from error
