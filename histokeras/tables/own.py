"""Read back the CSV files that histokeras itself wrote."""

from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.cells import plain_cell


def read_own(path: Path, **how: Any) -> pd.DataFrame:
    """Read a table that ``files.write_csv`` wrote: every text as it was before.

    Args:
        path: The file.
        how: Of :func:`pandas.read_csv`, such as ``dtype``.

    Returns:
        The table.

    Raises:
        ValueError: If it cannot be read.
    """
    table: pd.DataFrame = pd.read_csv(path, **how)
    for name in table.columns:
        if table[name].dtype.kind in "biuf":
            continue
        cells = table[name].to_list()
        if any(isinstance(cell, str) and cell.startswith("'") for cell in cells):
            table[name] = [plain_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    return table.rename(columns=plain_cell)
