"""Which code, or which colour, of a mask means which class: from a table or typed."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from histokeras.errors import ConfigError, HistokerasError, TableError
from histokeras.tables import folded_name, read_table, row_numbers

BACKGROUND = "background"
OUTSIDE_ROI = "outside_roi"
"""Label of a code that means: not looked at."""
_LABELS = ("group", "label", "class", "class_name", "name")
_CODES = ("gt_code", "code", "value", "index")
_COLOURS = ("color", "colour", "rgb")
_IS_ROI = "is_roi"
_YES = frozenset({"1", "1.0", "true", "yes"})
_RGB = re.compile(r"(?:rgb\s*\()?\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*\)?", re.IGNORECASE)
_HEX = re.compile(r"#([0-9a-f]{6})", re.IGNORECASE)
_SHAPE = 'Write "necrosis=4", "tumour=1;others=6,-1", "necrosis=#ffff00", or name a table.'
_EVERY_OTHER = "*"


@dataclass(frozen=True)
class CodeTable:
    """What the values of masks mean.

    Attributes:
        codes: (value, label), in the order of the table; a label may have several values.
        colours: (0xRRGGBB, label), likewise.
        outside: Labels that mean "not looked at": their pixels are ignored.
        rest: Label of every value that is not listed; None if such a value is an error.
        zero_outside: Whether 0, where it is not listed, means "not looked at": tables that mark
            regions of interest leave it for what is outside of them.
        source: What the table is called in messages.
    """

    codes: tuple[tuple[int, str], ...] = ()
    colours: tuple[tuple[int, str], ...] = ()
    outside: frozenset[str] = frozenset()
    rest: str | None = None
    zero_outside: bool = False
    source: str = "the code table"

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label that is a class, in the order of the table; that of the rest first."""
        listed = [label for _, label in (*self.codes, *self.colours)]
        rest = () if self.rest is None else (self.rest,)
        found = dict.fromkeys([*rest, *listed])
        return tuple(label for label in found if label not in self.outside)


def read_codes(text: str) -> CodeTable:
    """Read what the values of masks mean.

    Args:
        text: A table's path, or codes as they are typed: ``necrosis=4`` (every other code is then
            the background), ``tumour=1;others=6,-1``, with ``name=*`` for every other code, and
            ``#rrggbb`` in place of a code where masks are coloured.

    Raises:
        ConfigError: If what is typed is none of these.
        TableError: If the table has no class, no code and no colour, or two classes for one code.
    """
    if "=" in text and not Path(text).exists():
        return _typed(text)
    return read_code_table(Path(text))


def _typed(text: str) -> CodeTable:
    codes: list[tuple[int, str]] = []
    colours: list[tuple[int, str]] = []
    rest: list[str] = []
    parts = [part.strip() for part in text.split(";") if part.strip()]
    for label, value in (pair for part in parts for pair in _typed_class(part, text)):
        if value == _EVERY_OTHER:
            rest.append(label)
        elif _HEX.fullmatch(value):
            colours.append((int(value[1:], 16), label))
        elif re.fullmatch(r"-?\d{1,9}", value):
            codes.append((int(value), label))
        else:
            raise _refused(text, f"{value!r} is no code")
    if len(rest) > 1 or (codes and colours):
        raise _refused(text, "two classes are the rest" if rest[1:] else "codes beside colours")
    _require_once(codes + colours, lambda why: _refused(text, why))
    if len(parts) == 1 and not rest:
        # One class alone is told from all that it is not.
        rest = [BACKGROUND]
    return CodeTable(tuple(codes), tuple(colours), rest=next(iter(rest), None), source=text)


def _typed_class(part: str, text: str) -> list[tuple[str, str]]:
    label, _, listed = (word.strip() for word in part.partition("="))
    values = [value.strip() for value in listed.split(",") if value.strip()]
    if not label or not values:
        raise _refused(text, f"{part!r} is no class with its codes")
    return [(label, value) for value in values]


def _refused(text: str, why: str) -> ConfigError:
    return ConfigError(f"`--mask-codes`: {why}. Received: {text!r}", hint=_SHAPE)


def _require_once(
    pairs: Sequence[tuple[int, str]], error: Callable[[str], HistokerasError]
) -> None:
    seen: dict[int, str] = {}
    for value, label in pairs:
        if seen.setdefault(value, label) != label:
            shown = f"{seen[value]!r} and {label!r} share the code {value}"
            raise error(shown)


def read_code_table(path: Path) -> CodeTable:
    """Read a table of classes.

    Args:
        path: One row a class: its name (``label``, ``group``, ``class``), its ``code``
            (``GT_code``, ``value``) or its ``color`` (``rgb(255,0,0)``, ``#ff0000``) or both, and
            where given ``is_roi``: 1 for what only outlines the region that was looked at.

    Raises:
        TableError: If a column is missing, a cell is none of these, or two rows share a code.
    """
    table = read_table(path, name="code table")
    columns = {folded_name(name): str(name) for name in table.columns}
    label = _column(columns, _LABELS)
    code, colour = _column(columns, _CODES), _column(columns, _COLOURS)
    if label is None or (code is None and colour is None):
        raise TableError(
            f"code table {path} needs the columns `label` and `code` (or `color`); it has "
            f"{list(map(str, table.columns))}.",
            code="COLUMN_MISSING",
        )
    is_roi = columns.get(_IS_ROI)
    return CodeTable(
        _values(table, label, code, _as_code, path),
        _distinct_colours(_values(table, label, colour, _as_colour, path), code is not None, path),
        outside=_outside(table, label, is_roi),
        zero_outside=is_roi is not None and bool(_outside(table, label, is_roi)),
        source=path.name,
    )


def _column(columns: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((columns[name] for name in names if name in columns), None)


def _outside(table: pd.DataFrame, label: str, is_roi: str | None) -> frozenset[str]:
    marks = table[is_roi] if is_roi else [""] * len(table)
    return frozenset(
        name
        for name, mark in zip(table[label], marks, strict=True)
        if str(mark).casefold() in _YES or folded_name(name) == OUTSIDE_ROI
    )


def _as_code(cell: str) -> int | None:
    return int(float(cell)) if re.fullmatch(r"-?\d{1,9}(\.0+)?", cell) else None


def _as_colour(cell: str) -> int | None:
    if found := _HEX.fullmatch(cell):
        return int(found[1], 16)
    found = _RGB.fullmatch(cell)
    numbers = [int(part) for part in found.groups()] if found else [256]
    if max(numbers) > 255:
        return None
    red, green, blue = numbers
    return red << 16 | green << 8 | blue


def _values(
    table: pd.DataFrame,
    label: str,
    column: str | None,
    read: Callable[[str], int | None],
    path: Path,
) -> tuple[tuple[int, str], ...]:
    pairs: list[tuple[int, str]] = []
    if column is None:
        return ()
    for number, name, cell in zip(row_numbers(table), table[label], table[column], strict=True):
        if not cell:
            continue
        value = read(cell)
        if value is None or not name:
            raise TableError(
                f"code table {path}, row {number}: `{column}` is {cell!r}, the class {name!r}.",
                hint="A code is a whole number, a color rgb(255,0,0) or #ff0000.",
            )
        pairs.append((value, name))
    if read is _as_code:
        _require_once(pairs, lambda why: TableError(f"code table {path}: {why}."))
    return tuple(pairs)


def _distinct_colours(
    colours: tuple[tuple[int, str], ...], has_codes: bool, path: Path
) -> tuple[tuple[int, str], ...]:
    """Return the colours if each means one class; () where they only decorate the codes."""
    if len(dict(colours)) == len(set(colours)):
        return colours
    if has_codes:
        return ()
    _require_once(colours, lambda why: TableError(f"code table {path}: {why}."))
    return colours
