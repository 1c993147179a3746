"""Open a finished run in Python, as the command line left it."""

from pathlib import Path

import pandas as pd

from histokeras.analysis.baselines import CATEGORIES
from histokeras.errors import FeatureError
from histokeras.models.model_file import read_head
from histokeras.runs.record import read_object, read_record
from histokeras.training.fit import FittedRun
from histokeras.training.head import FittedHead
from histokeras.training.predict_job import open_run as open_trained
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, SPLIT


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
        heads.append(
            FittedHead(
                model,
                trained.classes,
                pd.read_csv(history) if history.is_file() else pd.DataFrame(),
                float(card.get("temperature", 1.0)),
                str(card.get("temperature_note", "")),
            )
        )
    return FittedRun(
        heads,
        trained.classes,
        read_object(place / "metrics.json"),
        _table(place / "patients.csv"),
        _table(place / "slides.csv"),
        read_record(place).get("funnel", {}),
        _table(place / "dropped.csv"),
        trained.settings,
        place,
    )


def _table(path: Path) -> pd.DataFrame:
    # Ids and labels stay as they were written: 007 is no number.
    # And NA is the code of a real site.
    texts = dict.fromkeys((PATIENT_ID, SLIDE_ID, LABEL, SPLIT, *CATEGORIES), str)
    try:
        return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise FeatureError(
            f"{path} cannot be read.",
            code="RUN_UNFINISHED",
            hint="Give the command that made the run again.",
        ) from error
