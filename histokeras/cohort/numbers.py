"""Labels that are numbers: read strictly, and cut into quantiles for the split."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from histokeras.errors import TableError
from histokeras.types import LABEL

_MOST_BINS = 5


def canonical_numbers(labels: Sequence[str], rows: Sequence[int], column: str) -> list[str]:
    """Bring numbers into one form: ``1``, ``1.0`` and ``1e0`` are one value.

    Args:
        labels: Cells of the target column; "" where missing.
        rows: Row number of each in its file, for the message.
        column: Name of the column.

    Returns:
        The shortest text that reads back to the same float64; "" stays "".

    Raises:
        TableError: If a cell is no finite number (TARGET_NOT_NUMBER).
    """
    found = [_number(label.strip()) for label in labels]
    wrong = [
        (row, label)
        for row, label, value in zip(rows, labels, found, strict=True)
        if value is None and label.strip()
    ]
    if wrong:
        row, label = wrong[0]
        more = f", and in {len(wrong) - 1} more row(s)" if len(wrong) > 1 else ""
        comma = " Write a decimal point, not a comma." if "," in label else ""
        raise TableError(
            f"column `{column}` holds {label!r} in row {row}{more}: regression needs a finite "
            "number.",
            code="TARGET_NOT_NUMBER",
            hint=f"Correct it, or leave the cell empty where nothing is known.{comma}",
        )
    return ["" if value is None else number_text(value) for value in found]


def _number(text: str) -> float | None:
    try:
        # Python alone would read 1_000.
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def number_text(value: float) -> str:
    """Return the shortest text of a number that reads back to it: ``3``, ``0.1``."""
    # No "-0", which would be another text for the same number.
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def label_numbers(labels: Sequence[str]) -> list[float]:
    """Return the number of each label, NaN where it is empty.

    Raises:
        TableError: If a label is no finite number.
    """
    texts = canonical_numbers(labels, range(1, len(labels) + 1), LABEL)
    return [float(text) if text else math.nan for text in texts]


def require_two_numbers(numbers: Sequence[str], column: str, n_rows: int) -> None:
    """Check that there is something to learn.

    Raises:
        TableError: If there are not two different numbers (SPLIT_IMPOSSIBLE).
    """
    different = set(numbers)
    if len(different) < 2:
        found = f"only the number {min(different)}" if different else "no number at all"
        raise TableError(
            f"column `{column}` holds {found} in {n_rows} row(s); at least two are needed.",
            code="SPLIT_IMPOSSIBLE",
            hint="Choose another column with `--target`.",
        )


def numbers_note(numbers: Sequence[str], column: str) -> str:
    """Return what the target looks like, in a sentence for the person at the screen."""
    values = np.array([float(text) for text in numbers])
    return (
        f"`{column}` from {values.min():g} to {values.max():g}, mean {values.mean():.4g}, "
        f"{len(set(numbers)):,} different numbers in {len(values):,} rows"
    )


def by_quantiles(table: pd.DataFrame, group: str, n_sides: int) -> pd.DataFrame:
    """Put the quantile of a patient's mean in place of each number, so that a split balances them.

    Args:
        table: Columns ``label`` (numbers as text) and ``group``.
        group: Name of the column that must stay on one side.
        n_sides: Number of sides or folds: each quantile gets at least two patients a side.

    Returns:
        A copy whose ``label`` is "quantile 1" and so on, at most five of equal size. Among
        patients with the same mean their ids decide.
    """
    means = table[LABEL].astype(float).groupby(table[group]).mean()
    ordered = sorted(means.index, key=lambda name: (means[name], str(name)))
    n_bins = max(1, min(_MOST_BINS, len(ordered) // (2 * n_sides)))
    names = {
        name: f"quantile {1 + position * n_bins // len(ordered)}"
        for position, name in enumerate(ordered)
    }
    return table.assign(**{LABEL: table[group].map(names)})
