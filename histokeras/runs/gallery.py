"""An output folder that grows: pictures of several calls, and one table of them all."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from histokeras.errors import FeatureError
from histokeras.files import remove, write_csv
from histokeras.runs.record import read_object, read_record, require_own_folder
from histokeras.tables import read_own

FILE = "file"
"""Column of the picture's name in the folder."""


def head_digests(run: Path) -> list[str]:
    """Return the digests of the heads of a run, or of those that made some predictions, sorted.

    Args:
        run: What ``fit-head -o`` or ``predict -o`` was given.

    Returns:
        Nothing if it is neither.
    """
    cards = [run / "head" / "model.json", *run.glob("folds/[0-9]*/head/model.json")]
    found = [str(card["head_sha256"]) for card in map(read_object, cards) if "head_sha256" in card]
    return sorted(found or read_record(run).get("heads") or [])


def open_gallery(
    folder: Path, command: str, table: str, heads: Sequence[str], *, overwrite: bool
) -> pd.DataFrame:
    """Return the rows of earlier calls whose pictures are still there.

    Args:
        folder: The output folder; it need not exist.
        command: Whose folder it must be.
        table: Name of the table in it.
        heads: Digests of the heads that are shown: no folder shows two runs.
        overwrite: Remove what earlier calls wrote.

    Returns:
        The rows as text; without any if the folder is new.

    Raises:
        ConfigError: If the folder is another command's.
        FeatureError: If it is of another run (CONFIG_MISMATCH).
    """
    require_own_folder(folder, (command,), (table,))
    record = read_record(folder)
    path = folder / table
    rows = pd.DataFrame(columns=[FILE])
    if path.is_file() and path.stat().st_size > 1:
        rows = read_own(path, dtype=str, keep_default_na=False)
    # Only the name counts: a table must not make us touch files elsewhere.
    rows[FILE] = [Path(name).name for name in rows[FILE]]
    if overwrite:
        remove(folder, [*rows[FILE], table])
        return rows.head(0)
    if record and record.get("heads") != list(heads):
        raise FeatureError(
            f"{folder} holds pictures of another run.",
            code="CONFIG_MISMATCH",
            hint="Choose a new output folder, or give --overwrite.",
        )
    there = pd.Series([(folder / name).is_file() for name in rows[FILE]], rows.index, dtype=bool)
    return rows.loc[there]


def write_gallery(folder: Path, table: str, earlier: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Write the table: rows of this call first, then earlier ones of other pictures."""
    others = earlier[~earlier[FILE].isin(set(rows[FILE]))] if len(rows) else earlier
    parts = [part for part in (rows, others) if len(part)]
    write_csv(folder / table, pd.concat(parts, ignore_index=True) if parts else rows)
