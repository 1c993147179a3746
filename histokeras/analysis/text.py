"""Pieces of the short tables for the terminal: columns, figures with intervals, counts."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH = 100
OPTIMISTIC = {
    "train": "the head was fitted to these: not a measure of what it can do",
    "val": "training stopped where these were best: optimistic",
}
"""What must be said of figures of these sides."""


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [f"  {'  '.join(map(str.ljust, row, widths))}".rstrip() for row in rows]


def value(estimate: Mapping[str, Any]) -> str:
    """Return a figure without its interval."""
    return "-" if estimate["value"] is None else f"{estimate['value']:.3f}"


def short(value: float | None) -> str:
    """Return a figure with two decimals."""
    return "-" if value is None else f"{value:.2f}"


def plural(number: int, word: str) -> str:
    """Return "1 patient", "1,200 patients"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def cell(estimate: Mapping[str, Any] | None) -> str:
    """Return "0.933 [0.876, 0.978]" of an Estimate, "-" where it is not defined."""
    if estimate is None or estimate["value"] is None:
        return "-"
    if estimate["low"] is None:
        return f"{estimate['value']:.3f} [no interval]"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def measured(estimate: Mapping[str, Any], *, sign: bool = False) -> str:
    """Return a figure in the target's unit, four digits that count: "0.0123 [0.0101, 0.0151]".

    Args:
        estimate: An Estimate.
        sign: Whether a plus sign is written, as for a difference.
    """
    form = "+.4g" if sign else ".4g"
    if estimate["value"] is None:
        return "-"
    text = format(estimate["value"], form)
    if estimate["low"] is None:
        return f"{text} [no interval]"
    return f"{text} [{estimate['low']:{form}}, {estimate['high']:{form}}]"


def wrapped(text: str) -> list[str]:
    """Return a paragraph as indented lines."""
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
