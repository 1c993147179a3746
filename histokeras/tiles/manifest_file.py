"""The manifest on disk: a table under one line that says what it was made with.

The first line holds the fingerprint of slide and settings and the SHA-256 of the table below it, so
that a finished manifest can be told from a damaged or a different one.
"""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras import cells, files
from histokeras.errors import TableError
from histokeras.foreign.text import parse_json
from histokeras.tables import read_table, require_columns
from histokeras.tiles.plan import MANIFEST_COLUMNS
from histokeras.types import SLIDE_ID

_PREFIX = "# histokeras tiles "
_INTEGERS = ("x", "y", "size_px", "size_level0_px", "level")


def write_manifest(path: Path, manifest: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    """Write a manifest, whole or not at all.

    Args:
        path: The .csv; its folder must exist.
        manifest: A finished manifest.
        facts: JSON values for the first line: what the manifest was made with.

    Raises:
        OutputError: If it cannot be written.
    """
    body = cells.csv_text(manifest[list(MANIFEST_COLUMNS)])
    signed = {**facts, "sha256": files.sha256_text(body)}
    files.write_text(path, f"{_PREFIX}{files.canonical_json(signed)}\n{body}")


def read_facts(path: Path) -> dict[str, Any]:
    """Return the first line of a manifest as JSON values.

    Args:
        path: The .csv.

    Returns:
        What ``write_manifest`` was given, and ``sha256``; empty if the file is missing, has no
        such line, or its table is not the one that was signed.
    """
    try:
        first, _, body = path.read_bytes().partition(b"\n")
        facts = parse_json(first.decode("utf-8").removeprefix(_PREFIX))
    except (OSError, ValueError):
        return {}
    if not isinstance(facts, dict) or facts.get("sha256") != hashlib.sha256(body).hexdigest():
        return {}
    return facts


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest with its types.

    Args:
        path: A .csv with the columns of a manifest, ours or made elsewhere.

    Returns:
        One row a tile; ``background`` is NaN where a tile was not read.

    Raises:
        TableError: If a column is missing or a cell is no number.
    """
    table = read_table(path, name="tile manifest")
    require_columns(table, MANIFEST_COLUMNS, name=f"tile manifest {path}")
    table = table[list(MANIFEST_COLUMNS)].copy()
    try:
        for name in _INTEGERS:
            table[name] = table[name].astype("int64")
        for name in ("mpp", "background"):
            table[name] = [float(cell) if cell else math.nan for cell in table[name]]
    except ValueError as error:
        raise TableError(f"tile manifest {path}: a cell is no number ({error}).") from error
    table["kept"] = table["kept"] == "True"
    table[SLIDE_ID] = table[SLIDE_ID].astype(str)
    return table
