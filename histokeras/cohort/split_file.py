"""The split file: signed first line, sorted rows; CLAM's and STAMP's files are read too."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.cells import csv_text
from histokeras.cohort.split_table import VERSION, Split, build_table
from histokeras.errors import ConfigError, LeakageError, TableError
from histokeras.files import canonical_json, write_text
from histokeras.foreign.text import parse_json, read_json
from histokeras.tables import read_table, with_standard_columns
from histokeras.types import FOLD, PATIENT_ID, SLIDE_ID, SPLIT, SPLITS, TILE

_MARK = "# histokeras-split "
_SAME_SIDE = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
_UNNAMED = "Unnamed: 0"
_TRUTH = frozenset({"true", "false"})


def split_text(split: Split) -> str:
    """Return the whole file: the signed line, then the rows as CSV."""
    line = _MARK + canonical_json({**split.meta, "sha256": split.digest})
    return line + "\n" + csv_text(split.table)


def write_split(path: Path, split: Split, *, overwrite: bool = False) -> bool:
    """Write a split, unless the same split stands there already.

    Args:
        path: Final name; its folder must exist.
        split: The split.
        overwrite: Replace another file of that name.

    Returns:
        True if the file was written, False if it was there, byte for byte.

    Raises:
        ConfigError: If another file stands there and ``overwrite`` is False.
        OutputError: If it cannot be written.
    """
    text = split_text(split)
    if path.exists() and not path.is_dir():
        if path.read_bytes() == text.encode("utf-8"):
            return False
        if not overwrite:
            raise ConfigError(
                f"{path} exists and holds something else.",
                hint="Give `--overwrite` to replace it, or another name.",
            )
    write_text(path, text)
    return True


def read_split(path: Path) -> Split:
    """Read a split file and verify its signature.

    A table without the signed line is read and called unsigned: ``patient_id`` (or ``slide_id``, or
    ``tile``) with ``split`` or ``fold``, CLAM's ``splits_0.csv`` and ``splits_0_bool.csv`` (slide
    ids; True and False under train, val and test, whatever the file is called), STAMP's
    ``splits.json`` (patients; its test sets become folds).

    Args:
        path: The file.

    Returns:
        The split.

    Raises:
        TableError: If the file was changed after signing (SPLIT_ALTERED) or is no split.
        LeakageError: If a patient or slide lies on two sides.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return _read_stamp(path)
    _refuse_quoted_mark(path)
    table = read_table(path, name="split file")
    header = [line for line in table.attrs["header"] if line.startswith(_MARK.strip())]
    try:
        return _signed(path, table, header[0]) if header else _unsigned(path, table)
    except LeakageError as error:
        raise LeakageError(f"{path}: {error.message}", hint=error.hint) from error


def _altered(path: Path, what: str) -> TableError:
    return TableError(
        f"split file {path}: {what}.",
        code="SPLIT_ALTERED",
        hint="Make it again with `histokeras split`, or remove its first line to use it unsigned.",
    )


def _refuse_quoted_mark(path: Path) -> None:
    """Spreadsheet programs put the signed line in quotes, which would read as a column name."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_MARK) + 8)
    except OSError:
        return
    if b'"' + _MARK.strip().encode() in start:
        raise _altered(path, "was saved by a spreadsheet program, which changed the signed line")


def _signed(path: Path, table: pd.DataFrame, line: str) -> Split:
    try:
        meta: dict[str, Any] = parse_json(line.removeprefix(_MARK))
        version, digest, unit = int(meta["version"]), str(meta["sha256"]), str(meta["unit"])
        shares, sites = meta.get("shares"), meta.get("sites")
        split = Split(
            table=pd.DataFrame(),
            unit=unit,
            seed=meta["seed"],
            shares=None if shares is None else tuple(shares),
            folds=meta.get("folds"),
            target=str(meta["target"]),
            stratify=tuple(meta["stratify"]),
            sites=None if sites is None else dict(sites),
            note=str(meta["note"]),
            signed=True,
        )
        if version != VERSION:
            raise TableError(
                f"split file {path}: is of version {version}; this histokeras reads {VERSION}.",
                code="SPLIT_VERSION",
                hint="Update histokeras, or remove the first line to use it unsigned.",
            )
        pairs = list(zip(table[unit], table[split.column], strict=True))
        typed = [(name, int(value)) for name, value in pairs] if split.folds else pairs
        rows = build_table(typed, unit, split.column)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise _altered(path, f"the signed line or the columns were changed ({error})") from error
    except ValueError as error:
        if isinstance(error, TableError | LeakageError):
            raise
        raise _altered(path, f"a row was changed ({error})") from error
    # Two rows for one patient would vanish in the table: the count is part of what was signed.
    found = dataclasses.replace(split, table=rows)
    if len(rows) != len(table) or found.digest != digest:
        raise _altered(path, "its rows or its first line were changed after it was signed")
    return found


def _unsigned(path: Path, raw: pd.DataFrame) -> Split:
    names = {str(name).casefold(): str(name) for name in raw.columns}
    if {"train", "val"} <= set(names) and SPLIT not in names:
        return _read_clam(path, raw.rename(columns={names[n]: n for n in SPLITS if n in names}))
    table = with_standard_columns(raw, (PATIENT_ID, SLIDE_ID, TILE))
    unit = next((name for name in (PATIENT_ID, SLIDE_ID, TILE) if name in table.columns), None)
    columns = [names[name] for name in (SPLIT, FOLD) if name in names]
    if unit is None or len(columns) != 1:
        raise TableError(
            f"split file {path}: needs a `patient_id` column and one of `split` and `fold`; it has "
            f"{list(raw.columns)}.",
            code="COLUMN_MISSING",
        )
    values = table[columns[0]].tolist()
    if columns[0].casefold() == FOLD:
        folds = _fold_numbers(path, values)
        pairs = list(zip(table[unit], folds, strict=True))
        return Split(build_table(pairs, unit, FOLD), unit, folds=max(folds) + 1)
    sides = [_side(path, value) for value in values]
    return Split(build_table(list(zip(table[unit], sides, strict=True)), unit, SPLIT), unit)


def _side(path: Path, value: str) -> str:
    side = _SAME_SIDE.get(value.casefold(), value.casefold())
    if side not in SPLITS:
        raise TableError(f"split file {path}: `split` must be one of {SPLITS}. Received: {value!r}")
    return side


def _fold_numbers(path: Path, values: list[str]) -> list[int]:
    folds = [int(value) if value.isdigit() else -1 for value in values]
    if len(set(folds)) < 3 or set(folds) != set(range(len(set(folds)))):
        raise TableError(
            f"split file {path}: `fold` must count 0, 1, 2, ... with at least three folds. "
            f"Received: {sorted(set(values))[:10]}"
        )
    return folds


def _read_clam(path: Path, table: pd.DataFrame) -> Split:
    sides = [side for side in SPLITS if side in table.columns]
    marks = {cell.casefold() for side in sides for cell in table[side] if cell}
    if not marks & _TRUTH:
        pairs = [(slide, side) for side in sides for slide in table[side] if slide]
        return Split(build_table(pairs, SLIDE_ID, SPLIT), SLIDE_ID)
    known = with_standard_columns(table, (PATIENT_ID, SLIDE_ID, TILE))
    names = (PATIENT_ID, SLIDE_ID, TILE, _UNNAMED)
    column = next((name for name in names if name in known.columns), None)
    if column is None or not marks <= _TRUTH:
        odd = "no column of slide ids" if column is None else f"also {min(marks - _TRUTH)!r}"
        raise TableError(
            f"split file {path}: `train`, `val` and `test` hold True and False, but "
            f"there is {odd}.",
            hint="Give the columns slide_id,train,val,test, with True in one of the last three.",
        )
    pairs = [
        (name, side)
        for side in sides
        for name, mark in zip(known[column], known[side], strict=True)
        if mark.casefold() == "true"
    ]
    unit = SLIDE_ID if column == _UNNAMED else column
    return Split(build_table(pairs, unit, SPLIT), unit)


def _read_stamp(path: Path) -> Split:
    try:
        content = read_json(path)
        tests = [list(part["test_patients"]) for part in content["splits"]]
        known = {str(p) for part in content["splits"] for p in part["train_patients"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TableError(
            f"split file {path}: is no splits.json of STAMP ({error}).",
            hint="Give a CSV with the columns patient_id,split.",
        ) from error
    pairs = [(str(patient), fold) for fold, patients in enumerate(tests) for patient in patients]
    untested = sorted(known - {patient for patient, _ in pairs})
    if len(tests) < 3 or untested:
        raise TableError(
            f"split file {path}: needs at least three folds that test each patient once. "
            f"Received: {len(tests)} fold(s), {len(untested)} patient(s) never tested."
        )
    return Split(build_table(pairs, PATIENT_ID, FOLD), PATIENT_ID, folds=len(tests))
