"""Read the first sheet of an Excel file as text, cell by cell."""

import datetime as dt
import io
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

import openpyxl
from defusedxml.common import DefusedXmlException

from histokeras.errors import FeatureError, MissingError, TableError
from histokeras.foreign.archives import require_safe_archive

_MOST_BYTES = 512 << 20
"""Most bytes that the XML in a workbook may have together, unpacked."""
_MOST_CELLS = 5_000_000


_DAMAGED = (KeyError, ValueError, IndexError, OSError, AttributeError, TypeError, EOFError,
            SyntaxError, NotImplementedError, RecursionError, zipfile.BadZipFile,
            zlib.error)  # fmt: skip


def read_excel_rows(data: bytes) -> tuple[list[tuple[int, list[str]]], tuple[str, ...]]:
    """Read the first sheet of an .xlsx file.

    Whole numbers become ``1``, never ``1.0``; dates become ISO text; formulas give their last
    value; ``#N/A`` gives "".

    Args:
        data: The file's bytes.

    Returns:
        Rows as (1-based row number, cells), all as long as the sheet is wide, without empty rows;
        and notes, such as the names of sheets that were not read.

    Raises:
        TableError: If it is no Excel file, or a formula has no value or ends in an error;
            ARCHIVE_UNSAFE, XML_UNSAFE or TABLE_TOO_LARGE if reading it could do harm.
    """
    _require_safe(data)
    values = _read_sheet(data, data_only=True)
    # With data_only a formula that no program has computed reads as empty, like a missing label.
    formulas = _read_sheet(data, data_only=False)
    cells: list[tuple[int, list[str]]] = []
    for number, (shown, written) in enumerate(zip(values[0], formulas[0], strict=True), start=1):
        texts = [_text(cell) for cell in shown]
        for column, (text, source) in enumerate(zip(texts, written, strict=True)):
            _require_computed(text, source, f"row {number}, column {column + 1}")
        cells.append((number, texts))
    width = max((len(texts) for _, texts in cells), default=0)
    if width * len(cells) > _MOST_CELLS:
        raise _too_large()
    rows = [(number, texts + [""] * (width - len(texts))) for number, texts in cells if any(texts)]
    first, *others = values[1]
    notes = (f"read sheet {first!r}; left out: {', '.join(others)}",) if others else ()
    if others and not rows:
        raise TableError(
            f"the first sheet, {first!r}, is empty; there are also {others}.",
            code="TABLE_EMPTY",
            hint="Move the table to the first sheet.",
        )
    return rows, notes


def _read_sheet(data: bytes, *, data_only: bool) -> tuple[list[list[Any]], list[str]]:
    """Return the first sheet's cells and the names of all sheets."""
    try:
        with warnings.catch_warnings():
            # openpyxl warns of drop-down lists and styles that it leaves out; no cell is lost.
            warnings.simplefilter("ignore", UserWarning)
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=data_only)
            # What the sheet says of its own size would be believed, cell for cell.
            book.worksheets[0].reset_dimensions()
            cells = _limited(book.worksheets[0].iter_rows())
            names = [str(sheet.title) for sheet in book.worksheets]
            book.close()
    except TableError:
        raise
    except _DAMAGED as error:
        # openpyxl gives some errors of the parser a cloak of its own.
        if isinstance(error, DefusedXmlException) or isinstance(
            error.__cause__, DefusedXmlException
        ):
            raise TableError(
                "is not read: its XML declares entities, which could be made to read other files "
                "or to fill the memory.",
                code="XML_UNSAFE",
                hint="Save it as CSV UTF-8, from a source that you trust.",
            ) from error
        raise TableError(
            "is no readable Excel workbook.", hint="Save it as .xlsx or as CSV UTF-8."
        ) from error
    return cells, names


def _require_safe(data: bytes) -> None:
    """Refuse an archive that reaches outside itself, or a reader that would follow entities."""
    if not openpyxl.DEFUSEDXML:
        raise MissingError(
            "Excel files are read with defusedxml alone, which the environment switches off.",
            code="XML_UNSAFE",
            hint="Unset OPENPYXL_DEFUSEDXML, or save the table as CSV.",
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            require_safe_archive(archive, "the workbook", most_bytes=_MOST_BYTES)
    except FeatureError as error:
        raise TableError(error.message, code=error.code, hint=error.hint) from error
    except _DAMAGED as error:
        raise TableError(
            "is no readable Excel workbook.", hint="Save it as .xlsx or as CSV UTF-8."
        ) from error


def _limited(rows: Iterable[Iterable[Any]]) -> list[list[Any]]:
    """Return the cells of a sheet up to a limit: one cell far out fills all rows above it."""
    cells: list[list[Any]] = []
    n_cells = 0
    for row in rows:
        cells.append(list(row))
        n_cells += len(cells[-1]) + 1
        if n_cells > _MOST_CELLS:
            raise _too_large()
    return cells


def _too_large() -> TableError:
    return TableError(
        f"its first sheet has more than {_MOST_CELLS:,} cells.",
        code="TABLE_TOO_LARGE",
        hint="Remove cells far out, or save it as CSV UTF-8.",
    )


def _require_computed(text: str, source: Any, place: str) -> None:
    if text.startswith("#") and text.endswith(("!", "?")) and text.isupper():
        raise TableError(f"{place}: the cell holds the error {text}.", hint="Correct it in Excel.")
    if not text and getattr(source, "data_type", "") == "f":
        raise TableError(
            f"{place}: the formula {source.value!r} has no stored value.",
            hint="Open the file in Excel, save it, or replace formulas by values.",
        )


def _text(cell: Any) -> str:
    value = cell.value
    if value is None or value == "#N/A":
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        # The number format 000 is how Excel shows 001; the id is what the user saw.
        shape = str(cell.number_format)
        return str(value).zfill(len(shape) if set(shape) == {"0"} else 0)
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value).strip()
