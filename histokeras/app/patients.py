"""The run's patients, and their tissue, as tables to look at."""

from pathlib import Path

import pandas as pd

from histokeras.app.facts import RunFacts, read_text_table
from histokeras.errors import TableError
from histokeras.types import LABEL, PATIENT_ID, PRED, PROB, SLIDE_ID, SPLIT

_FIRST = (PATIENT_ID, SPLIT, "fold", LABEL, "target", "predicted")
_LEFT_OUT = ("mixed_labels",)
_ENDS = ("_low", "_high")
_COMPOSITION = ("patients.csv", "slides.csv")


def patients_table(facts: RunFacts) -> pd.DataFrame:
    """Return one row a patient: ids and labels as text, probabilities and counts as numbers.

    Returns:
        Empty if the run knows no patients.

    Raises:
        TableError: If the table is damaged.
    """
    table = _numbers(read_text_table(facts.folder / "patients.csv"))
    scores = [name for name in map(str, table) if name.startswith((PROB, PRED))]
    first = [name for name in _FIRST if name in table]
    if facts.of_tiles:
        # A patient has many tissues: no label, and no class that would be predicted.
        first = [name for name in first if name not in (LABEL, "predicted")]
        table = table.drop(columns=[LABEL, "predicted"], errors="ignore")
    rest = [name for name in map(str, table) if name not in (*first, *scores, *_LEFT_OUT)]
    shares = [name for name in rest if name.startswith("share_")]
    return table[[*first, *scores, *(name for name in rest if name not in shares), *shares]]


def composition_table(folder: Path) -> tuple[pd.DataFrame, str]:
    """Return the table that ``histokeras composition`` wrote, and whether it is of patients.

    Returns:
        The table; "patient", or "slide" where no patients are known.

    Raises:
        TableError: If the folder holds none.
    """
    for name in _COMPOSITION:
        table = _numbers(read_text_table(folder / name))
        if len(table) and (PATIENT_ID in table or SLIDE_ID in table):
            shown = [column for column in map(str, table) if not (table[column] == "").all()]
            # Shares and ratios first, their intervals behind.
            ends = [column for column in shown if column.endswith(_ENDS)]
            table = table[[*(column for column in shown if column not in ends), *ends]]
            return table, "patient" if name == _COMPOSITION[0] else "slide"
    raise TableError(
        f"{folder.name} holds no composition.",
        code="TABLE_MISSING",
        hint="Give --composition the folder that `histokeras composition -o` was given.",
    )


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Make columns numbers where every filled cell is one; ids and labels stay text."""
    out = table.copy()
    texts = (PATIENT_ID, SLIDE_ID, *_FIRST)
    for name in table.columns:
        if name in texts and name != "target":
            continue
        filled = table[name].astype(str).where(table[name] != "")
        numbers = pd.to_numeric(filled, errors="coerce")
        if filled.notna().any() and numbers.notna().equals(filled.notna()):
            out[name] = numbers
    return out
