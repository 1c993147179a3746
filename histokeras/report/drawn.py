"""What ``explain`` and ``heatmap`` drew of a run, for its page."""

import base64
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from histokeras.errors import TableError
from histokeras.report.pictures import Gallery, Picture, shrunk_jpeg
from histokeras.report.text import clean
from histokeras.runs.gallery import FILE, head_digests
from histokeras.runs.record import read_record
from histokeras.tables import read_table

FOLDERS = {"heatmap": ("heatmaps", "heatmaps.csv"), "explain": ("explain", "explain.csv")}
"""Command to its folder in a run, and the table there."""
_MOST = 12
_SIDE_PX = {"heatmap": 800, "explain": 860}
Row = Mapping[str, str]


def read_drawn(run: Path, most_bytes: int) -> tuple[dict[str, Gallery], int]:
    """Read the pictures that were drawn into a run's folder, so many that they fit.

    Args:
        run: The run folder.
        most_bytes: Bytes that they may take on the page; each command has half.

    Returns:
        Galleries by command, where there is a picture; how many pictures found no place.
    """
    galleries, left_out = {}, 0
    for command, (name, table) in FOLDERS.items():
        folder = run / name
        rows = _rows(folder, command, table, head_digests(run))
        pictures, left = [], most_bytes // len(FOLDERS)
        for row in rows[:_MOST]:
            picture = _picture(folder, row, _SIDE_PX[command])
            if picture is not None and picture.n_bytes <= left:
                left -= picture.n_bytes
                pictures.append(picture)
        left_out += len(rows) - len(pictures)
        if pictures:
            galleries[command] = Gallery(command, "", tuple(pictures))
    return galleries, left_out


def _rows(folder: Path, command: str, table: str, heads: list[str]) -> list[Row]:
    path, record = folder / table, read_record(folder)
    # Maps of a head that has been trained anew since show nothing of this run.
    if not path.is_file() or record.get("command") != command or record.get("heads") != heads:
        return []
    try:
        rows: pd.DataFrame = read_table(path, name=command)
    except TableError:
        # A table without a row: nothing was drawn.
        return []
    return rows.map(clean).to_dict("records") if FILE in rows else []  # type: ignore[return-value]


def _picture(folder: Path, row: Row, side_px: int) -> Picture | None:
    # Only the name counts: a table must not make the page show files from elsewhere.
    encoded = shrunk_jpeg(folder / Path(row[FILE]).name, side_px)
    if encoded is None:
        return None
    data, (width, height) = encoded
    source = f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
    where = row.get("tile") or row.get("slide_id") or ""
    if row.get("x"):
        where += f", x={row['x']} y={row['y']}"
    what = row.get("of") or row.get("method") or ""
    # Attention is of no class.
    lines = [f"{where}: {', '.join(part for part in (row.get('class', ''), what) if part)}"]
    if row.get("mean_prob"):
        lines.append(f"{row.get('n_tiles', '')} tiles, mean probability {row['mean_prob'][:4]}")
    label = row.get("label")
    if label:
        split = f", {row['split']}" if row.get("split") else ""
        lines.append(f"label {label}{split}")
    if row.get("evidence"):
        lines.append(row["evidence"])
    return Picture(source, f"Map of {lines[0]}", tuple(lines), width, height)
