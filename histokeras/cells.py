"""Cells of CSV files that no spreadsheet program takes for formulas."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# What spreadsheet programs evaluate, also after blanks and in the wide forms of East Asian fonts.
_FORMULA = re.compile(r"'*(?:[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?|-+")


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as the text of a CSV file in which no cell is a formula.

    A text that a spreadsheet program would evaluate gets an apostrophe before it, and so does one
    that begins with apostrophes before such a text: ``plain_cell`` gives back what was there.
    Numbers stay as they are, negative ones too.

    Args:
        table: The table; its index is left out.
    """
    safe = table.copy(deep=False)
    for position in range(table.shape[1]):
        column = table.iloc[:, position]
        if column.dtype.kind in "biuf":
            continue
        cells = column.to_list()
        changed = {cell: safe_cell(cell) for cell in set(map(str, cells))}
        if any(changed[cell] != cell for cell in changed):
            safe.isetitem(
                position, [changed[cell] if isinstance(cell, str) else cell for cell in cells]
            )
    safe.columns = [safe_cell(str(name)) for name in table.columns]
    text: str = safe.to_csv(index=False, lineterminator="\n")
    if "\r" in text:
        # Python before 3.13 leaves a lone carriage return bare, which would end the row.
        text = safe.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return text


def safe_cell(text: str) -> str:
    """Return a text of a CSV file with an apostrophe before it if it reads as a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def plain_cell(text: str) -> str:
    """Return the text that ``safe_cell`` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
