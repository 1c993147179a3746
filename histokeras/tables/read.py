"""Read tables as people send them: any usual separator, BOM, CRLF, Excel; every cell as text."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from histokeras.cells import plain_cell
from histokeras.errors import TableError
from histokeras.foreign.text import read_limited
from histokeras.tables.columns import is_id_column, nearest_name
from histokeras.tables.excel import read_excel_rows

MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "None"})
"""Cells that mean "no value" and are read as the empty text; among ids only "" does."""
_EMPTY = frozenset({""})
_MAX_BYTES = 256 << 20
_SEPARATORS = {",": "','", ";": "';'", "\t": "tab"}
_FOREIGN = {"|": "'|'", " ": "blanks"}

Row = tuple[int, list[str]]
"""Row number as a spreadsheet shows it (1-based), and the cells."""


@dataclass(frozen=True)
class _Source:
    path: Path
    name: str

    def error(self, message: str, *, code: str = "TABLE", hint: str = "") -> TableError:
        return TableError(f"{self.name} {self.path}: {message}", code=code, hint=hint)


def read_table(path: Path, *, name: str = "table") -> pd.DataFrame:
    """Read a CSV, TSV or Excel table with every cell as text.

    Nothing is converted: ``001`` stays ``001``; the apostrophe that histokeras writes before what
    a spreadsheet program would evaluate (``'=1+1``) goes. Cells such as ``NA`` are missing values,
    but not among ids (patients, slides, tiles), where only an empty cell is. The separator is the
    one of comma, semicolon and tab under which every row has the same number of columns. Lines
    that begin with ``#`` above the header are skipped; empty rows and unnamed empty columns are
    dropped.

    Args:
        path: A .csv, .tsv, .txt or .xlsx file.
        name: What to call the table in error messages.

    Returns:
        A table of ``str``, "" where a value is missing. ``attrs`` holds ``header`` (the skipped
        lines), ``rows`` (each row's number in the file), ``notes`` and ``empty_columns`` (the
        numbers, from 1, of the unnamed empty columns that were dropped).

    Raises:
        TableError: If the file is missing, empty, not UTF-8, or not a table.
    """
    source = _Source(Path(path), name)
    data = _read_bytes(source)
    header: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if data.startswith(b"PK\x03\x04"):
        try:
            rows, notes = read_excel_rows(data)
        except TableError as error:
            raise source.error(error.message, code=error.code, hint=error.hint) from error
        while rows and rows[0][1] and rows[0][1][0].startswith("#"):
            header += (rows.pop(0)[1][0],)
    else:
        header, body = _split_comments(_decode(source, data))
        rows = _parse(source, body, n_skipped=len(header))
    table = _to_frame(source, rows)
    table.attrs["header"] = header
    table.attrs["notes"] = notes
    return table


def row_numbers(table: pd.DataFrame) -> list[int]:
    """Return each row's number in the file that ``table`` was read from (1-based, header counted).

    Args:
        table: A table from ``read_table``, not filtered since; else rows are counted from 2.

    Returns:
        As many numbers as the table has rows.
    """
    rows: Sequence[int] = table.attrs.get("rows", ())
    return list(rows) if len(rows) == len(table) else list(range(2, len(table) + 2))


def text_table(table: pd.DataFrame) -> pd.DataFrame:
    """Bring a table from elsewhere into the form of ``read_table``: text, "" where missing.

    Args:
        table: Any table, such as one from ``pandas.read_csv``; it is not changed.

    Returns:
        A copy with ``str`` in every cell (``1.0`` becomes "1") and the index 0..n-1.
    """
    cells = {
        str(name): [_as_text(value, _missing_in(name)) for value in table[name]]
        for name in table.columns
    }
    return pd.DataFrame(cells, index=range(len(table))).astype(str)


def _missing_in(column: object) -> frozenset[str]:
    return _EMPTY if is_id_column(column) else MISSING


def _as_text(value: object, missing: frozenset[str]) -> str:
    if isinstance(value, str):
        text = value.strip()
        return "" if text in missing else text
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _read_bytes(source: _Source) -> bytes:
    path = source.path
    if path.is_dir():
        raise source.error("is a folder, not a table.")
    try:
        data = read_limited(path, _MAX_BYTES)
    except FileNotFoundError as error:
        folder = path.parent
        near = nearest_name(
            path.name, (p.name for p in folder.iterdir()) if folder.is_dir() else ()
        )
        hint = f"Did you mean `{path.with_name(near)}`?" if near else "Check the path."
        raise source.error("no such file.", code="TABLE_NOT_FOUND", hint=hint) from error
    except OSError as error:
        raise source.error(f"cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise source.error(
            f"is not read: {error}.", code="TABLE_TOO_LARGE", hint="Leave out what is not needed."
        ) from error
    if not data.strip():
        raise source.error("is empty.", code="TABLE_EMPTY")
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise source.error("is an old Excel file.", hint="Save it as .xlsx or as CSV UTF-8.")
    return data


def _decode(source: _Source, data: bytes) -> str:
    save = "Save it as UTF-8 (in Excel: `CSV UTF-8`) or as .xlsx."
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4096]:
        raise source.error(
            "row 1, byte 0: the text is UTF-16, or not text.", code="LABELS_ENCODING", hint=save
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise source.error(
            f"row {row}, byte {error.start} (0x{data[error.start]:02x}): not UTF-8, "
            "perhaps latin-1.",
            code="LABELS_ENCODING",
            hint=save,
        ) from error


def _split_comments(text: str) -> tuple[tuple[str, ...], str]:
    """Cut the lines that begin with ``#`` off the top."""
    stream = io.StringIO(text, newline="")
    header: list[str] = []
    while True:
        start = stream.tell()
        line = stream.readline()
        if not line.startswith("#"):
            stream.seek(start)
            return tuple(header), stream.read()
        header.append(line.rstrip("\r\n"))


def _rows_with(body: str, separator: str, n_skipped: int) -> list[Row] | None:
    """Parse with one separator; None where the quotes do not fit it."""
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=separator, strict=True)
    try:
        rows = [
            (number, [cell.strip() for cell in cells])
            for number, cells in enumerate(reader, start=n_skipped + 1)
        ]
    except csv.Error:
        return None
    return [(number, cells) for number, cells in rows if any(cells)]


def _width(rows: list[Row] | None) -> int:
    """Return the number of columns that every row has, 0 if they differ."""
    widths = {len(cells) for _, cells in rows or ()}
    return widths.pop() if len(widths) == 1 else 0


def _parse(source: _Source, body: str, *, n_skipped: int) -> list[Row]:
    parsed = {separator: _rows_with(body, separator, n_skipped) for separator in _SEPARATORS}
    if [] in parsed.values():
        raise source.error("is empty.", code="TABLE_EMPTY")
    fitting = [separator for separator, rows in parsed.items() if _width(rows) > 1]
    if "\t" in fitting and source.path.suffix.lower() in {".tsv", ".tab"}:
        fitting = ["\t"]
    if len(fitting) > 1:
        shown = " and ".join(_SEPARATORS[separator] for separator in fitting)
        raise source.error(f"can be read with {shown}.", hint="Save it as .xlsx, or tabs as .tsv.")
    if fitting:
        return parsed[fitting[0]] or []
    rows = parsed[","]
    if rows is not None and all(_width(other) == 1 for other in parsed.values()):
        _refuse_foreign_separator(source, body)
        return rows
    raise _ragged(source, parsed)


def _refuse_foreign_separator(source: _Source, body: str) -> None:
    for separator, shown in _FOREIGN.items():
        if _width(_rows_with(body, separator, 0)) > 1:
            raise source.error(
                f"has one column; it looks separated by {shown}.",
                code="LABELS_ONE_COLUMN",
                hint="Save it with commas, semicolons or tabs.",
            )


def _ragged(source: _Source, parsed: dict[str, list[Row] | None]) -> TableError:
    """Build the error for rows of unequal length, under the separator that the header uses."""
    readable = {separator: rows for separator, rows in parsed.items() if rows}
    if not readable:
        return source.error(
            "has a quotation mark that is never closed, or text after a closing one.",
            hint="Double the quotation marks inside a cell.",
        )
    separator = max(
        readable,
        key=lambda key: (len(readable[key][0][1]), max(len(cells) for _, cells in readable[key])),
    )
    rows = readable[separator]
    wanted = len(rows[0][1])
    number, cells = next((row for row in rows if len(row[1]) != wanted), rows[0])
    return source.error(
        f"row {number} has {len(cells)} column(s) where the header has {wanted} "
        f"(separator {_SEPARATORS[separator]}).",
        code="LABELS_ONE_COLUMN" if wanted == 1 else "TABLE",
        hint="Use one separator (comma, semicolon or tab) and quote text that contains it.",
    )


def _to_frame(source: _Source, rows: list[Row]) -> pd.DataFrame:
    if not rows:
        raise source.error("is empty.", code="TABLE_EMPTY")
    names, body = rows[0][1], rows[1:]
    columns: dict[str, list[str]] = {}
    empty: list[int] = []
    for position, name in enumerate(names):
        missing = _missing_in(name)
        cells = ["" if row[position] in missing else plain_cell(row[position]) for _, row in body]
        if not name and not any(cells):
            empty.append(position + 1)
            continue
        # An unnamed column with values is the index that pandas and R write.
        title = plain_cell(name) or f"Unnamed: {position}"
        if title in columns:
            raise source.error(
                f"has two columns named `{title}`.", hint="Rename or remove one of them."
            )
        columns[title] = cells
    table = pd.DataFrame(columns).astype(str)
    numbers = [number for number, _ in body]
    contiguous = not numbers or numbers[-1] - numbers[0] == len(numbers) - 1
    table.attrs["empty_columns"] = tuple(empty)
    # A range is free to copy; pandas copies attrs with every operation.
    table.attrs["rows"] = (
        range(numbers[0], numbers[-1] + 1) if numbers and contiguous else tuple(numbers)
    )
    return table
