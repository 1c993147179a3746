"""Predicted numbers: from tiles to slides, read strictly. A patient is the pool of all tiles."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from histokeras.analysis.aggregate import pool_slides, tile_parts
from histokeras.analysis.metrics import Floats
from histokeras.errors import TableError
from histokeras.tables import require_columns
from histokeras.types import PRED


def predicted_target(table: pd.DataFrame) -> str:
    """Return the target that ``table`` has a ``pred_<target>`` column for; "" if there is none."""
    names = [str(name) for name in table.columns]
    return next((name.removeprefix(PRED) for name in names if name.startswith(PRED)), "")


def number_matrix(
    table: pd.DataFrame, names: Sequence[str], *, name: str = "predictions"
) -> Floats:
    """Return the column ``pred_<target>`` as a matrix of one column.

    Args:
        table: Predictions of tiles, slides or patients; text is read as numbers.
        names: The target alone.
        name: What to call the table in messages.

    Returns:
        Shape ``(n, 1)``, float64, finite.

    Raises:
        TableError: If it is missing, or a value is no finite number.
    """
    column = f"{PRED}{names[0]}"
    require_columns(table, [column], name=name)
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = int(wrong.argmax())
        raise TableError(
            f"{name} hold `{column}` values that are no finite numbers: {int(wrong.sum())} row(s), "
            f"first row {row + 1}. Received: {table[column].iloc[row]!r}.",
            code="PREDICTION_INVALID",
            hint="Predict these slides again.",
        )
    matrix: Floats = values[:, np.newaxis]
    return matrix


def slide_means(tiles: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Aggregate predicted numbers of tiles to one row a slide.

    Args:
        tiles: Column ``pred_<target>``, and any of ``slide_id patient_id label split fold``.
        names: The target alone.

    Returns:
        As :func:`~histokeras.analysis.aggregate.slide_sums`, with the mean ``pred_<target>``.

    Raises:
        TableError: If the column is missing, holds no numbers, or a slide has two patients.
    """
    parts = tile_parts(tiles)
    # float32 is what networks give: tables from memory and from a file then agree to the last bit.
    column = f"{PRED}{names[0]}"
    parts[column] = number_matrix(tiles, names)[:, 0].astype(np.float32).astype(np.float64)
    return pool_slides(parts, [column])
