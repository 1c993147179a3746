"""What pages of finished folders read and list: run.json, figures, tables, files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.errors import FeatureError, TableError
from histokeras.foreign.folders import require_no_links_out
from histokeras.report.run_files import RunFiles
from histokeras.report.tables import Table
from histokeras.report.text import clean
from histokeras.runs.record import read_object, read_record
from histokeras.tables import read_own


@dataclass(frozen=True, kw_only=True)
class PageKind:
    """How folders of one command are read.

    Attributes:
        what: What such a folder holds, as errors say it: ``survival``.
        figures: File of its figures.
        is_whole: Whether these figures are what the page needs.
        again: What to do where a file is damaged.
        files: Files that may lie there, and what each holds.
    """

    what: str
    figures: str = "metrics.json"
    is_whole: Callable[[Mapping[str, Any]], bool]
    again: str
    files: Mapping[str, str]


def read_finished(folder: Path, kind: PageKind) -> RunFiles:
    """Read what a finished command left: run.json, its figures, dropped.csv if there is one.

    Args:
        folder: What the command was given with ``-o``.
        kind: How its folders are read.

    Returns:
        The run; texts without control characters.

    Raises:
        FeatureError: If the command did not end there (RUN_UNFINISHED), or its figures are damaged
            (RECORD_DAMAGED).
        TableError: If dropped.csv cannot be read.
    """
    require_no_links_out(folder)
    record = clean(read_record(folder))
    metrics = clean(read_object(folder / kind.figures))
    if record.get("status") != "done" or not metrics:
        raise FeatureError(
            f"{folder} holds no finished {kind.what} (status {record.get('status', 'unknown')!r}).",
            code="RUN_UNFINISHED",
            hint="Run the same command again to finish it.",
        )
    if not kind.is_whole(metrics):
        raise FeatureError(
            f"{folder / kind.figures} is damaged: it holds no figures of {kind.what}.",
            code="RECORD_DAMAGED",
            hint=kind.again,
        )
    dropped = read_texts(folder / "dropped.csv", kind, optional=True)
    return RunFiles(folder, record, metrics, {}, {"dropped": dropped}, ())


def read_texts(
    path: Path, kind: PageKind, columns: Sequence[str] = (), *, optional: bool = False
) -> pd.DataFrame:
    """Read a table of a folder, all text.

    Args:
        path: The table.
        kind: Of which folder it is part.
        columns: What it must hold.
        optional: Whether it may be missing: an empty table then.

    Raises:
        TableError: If it cannot be read, is missing, or lacks a column.
    """
    if optional and not path.is_file():
        return pd.DataFrame()
    try:
        table = read_own(path, dtype=str, keep_default_na=False).map(clean)
    except pd.errors.EmptyDataError:
        # Written without a row and without a column.
        table = pd.DataFrame()
    except (ValueError, OSError) as error:
        raise TableError(f"{path} cannot be read: {error}.", hint=kind.again) from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise TableError(f"{path} lacks {', '.join(missing)}.", hint=kind.again)
    return table


def files_table(folder: Path, kind: PageKind) -> Table:
    """Return which files lie in a folder, and what each holds."""
    rows = [
        [f"{name}/" if (folder / name).is_dir() else name, text]
        for name, text in kind.files.items()
        if (folder / name).exists()
    ]
    return Table("Files of the folder", ("File", "Holds"), rows, css="settings")


def started(record: Mapping[str, Any]) -> str:
    """Return when a command began, to the minute: ``2026-03-01 14:05 UTC``; "" if unknown."""
    date = str(record.get("started") or "")[:16].replace("T", " ")
    return f"{date} UTC" if date else ""
