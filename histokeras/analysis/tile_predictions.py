"""The predictions of a slide's tiles, as runs and ``histokeras predict`` leave them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from histokeras.errors import TableError
from histokeras.files import safe_name
from histokeras.tables import read_table, require_columns
from histokeras.types import ATTENTION, PROB

BOX = ("minx", "miny", "width", "height")
"""WSInfer's names: level-0 pixels."""


def predictions_path(folder: Path, slide_id: str) -> Path:
    """Return where a run folder holds the predictions of a slide."""
    return folder / "predictions" / f"{safe_name(slide_id)}.csv"


def read_slide_predictions(slide_id: str, folders: Sequence[Path]) -> pd.DataFrame:
    """Read the predictions of a slide's tiles from the first folder that has some.

    Args:
        slide_id: The slide.
        folders: Run folders or folders of ``histokeras predict``.

    Returns:
        ``minx, miny, width, height`` int64 in level-0 pixels, ``prob_<class>`` float64, and
        ``attention`` float64 where a head of bags predicted.

    Raises:
        TableError: PREDICTIONS_MISSING if there are none, or the table is damaged.
    """
    paths = [predictions_path(folder, slide_id) for folder in folders]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise TableError(
            f"slide `{slide_id}` has no predictions in {', '.join(str(item) for item in folders)}.",
            code="PREDICTIONS_MISSING",
            hint="Run `histokeras predict RUN SLIDE -o DIR` and give --predictions DIR.",
        )
    table = read_table(path, name="predictions")
    if "tile" in table:
        raise TableError(
            f"predictions {path} are of ready-made tiles: their places on a slide are unknown.",
            code="PREDICTIONS_MISSING",
            hint="A map needs a run on slides.",
        )
    require_columns(table, BOX, name=f"predictions {path}")
    probs = [name for name in table if str(name).startswith(PROB) or name == ATTENTION]
    try:
        boxes = table[list(BOX)].astype("int64")
        return pd.concat([boxes, table[probs].astype("float64")], axis=1)
    except ValueError as error:
        raise TableError(f"predictions {path}: a cell is no number ({error}).") from error
