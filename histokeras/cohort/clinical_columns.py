"""Find out what a column of a clinical table holds: numbers, an order, groups, or nothing."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from histokeras.cohort.clinical_words import (
    EVENT,
    SCALES,
    TIME,
    event_of,
    is_missing,
    level_rank,
    plain_text,
)

NUMBER, ORDINAL, CATEGORY, BINARY, EMPTY = "number", "ordinal", "category", "binary", "empty"
KINDS = (NUMBER, ORDINAL, CATEGORY, BINARY, EMPTY)
MOST_LEVELS = 50
"""A column of text with more different values names something, and groups nobody."""
_ENOUGH = 0.9
_MOST_BAD = 0.2
_HALF = 0.5
_FEW_ROWS = 10
_MOST_AGE = 120
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?\d+,\d+")
_FIRST = ("no", "false", "negative", "absent", "0", "none", "neg", "n", "-", "wild type", "wt")
_IDENTIFIER = frozenset({"id", "uuid", "barcode", "mrn", "name", "surname", "identifier"})


@dataclass(frozen=True, eq=False)
class Column:
    """One column, read.

    Attributes:
        kind: One of ``KINDS``.
        values: float64 for numbers (NaN where missing), "boolean" for the event, else a
            categorical whose levels have their order (None where missing).
        unreadable: Position, cell and reason of what is not missing and still tells nothing.
        notes: Sentences on what was taken for what.
        reason: Why it is of no use; "" if it is.
        concept: The known column that it was read as; None where its cells said otherwise.
    """

    kind: str
    values: "pd.Series[Any]"
    unreadable: Sequence[tuple[int, str, str]] = ()
    notes: Sequence[str] = ()
    reason: str = ""
    concept: str | None = None


def read_column(
    cells: Sequence[str], *, name: str, concept: str | None, codes: Mapping[str, str]
) -> Column:
    """Read the cells of one column.

    Args:
        cells: Text as it stands in the file, "" where missing.
        name: Its header in snake case.
        concept: Which known column it is, of ``clinical_words.ALIASES``; None for any other.
        codes: Code -> meaning from its header; {} if there is none.

    Returns:
        The column. What cannot be read is missing in ``values`` and listed in ``unreadable``.
    """
    texts = [plain_text(cell) for cell in cells]
    # Beside a plus a minus is a finding; alone it says that there is none.
    signs = "-" if any(text.startswith(("+", "(+")) for text in texts) else None
    known = {i: t for i, t in enumerate(texts) if t == signs or not is_missing(t)}
    words = sorted({text for i, text in enumerate(texts) if text and i not in known})
    notes = [f"`{name}`: read as missing: {', '.join(map(repr, words))}"] if words else []
    if not known:
        return Column(EMPTY, _categorical({}, len(texts), []), notes=notes, reason="empty")
    decoded, wrong = _decode(known, codes)
    column = _known_concept(decoded, len(texts), name, concept, codes)
    if column is None:
        if concept in (TIME, EVENT, *SCALES) and decoded:
            some = next(iter(decoded.values()))
            notes.append(f"`{name}` is not read as {concept}: it holds such as {some!r}")
        column = _any_column(decoded, len(texts), name, codes)
    return replace(column, unreadable=(*wrong, *column.unreadable), notes=(*notes, *column.notes))


def _decode(
    known: Mapping[int, str], codes: Mapping[str, str]
) -> tuple[dict[int, str], list[tuple[int, str, str]]]:
    """Put the meaning of each code in its place; list the numbers that the code book lacks."""
    if not codes:
        return dict(known), []
    meanings = {meaning.casefold(): meaning for meaning in codes.values()}
    decoded, wrong = {}, []
    for i, text in known.items():
        code = re.sub(r"\.0+$", "", text)
        meaning = codes.get(code) or meanings.get(text.casefold())
        if meaning is None:
            listed = ", ".join(f"{key} {value}" for key, value in codes.items())
            wrong.append((i, text, f"not in the code book of the header ({listed})"))
        else:
            decoded[i] = meaning
    return decoded, wrong


def _known_concept(
    known: Mapping[int, str], n: int, name: str, concept: str | None, codes: Mapping[str, str]
) -> Column | None:
    """Read a column that has a meaning of its own; None if its cells say otherwise."""
    if concept is None or not known:
        return None
    if concept == TIME:
        column = _numbers(known, n, lowest=0.0, what="a time is a number above 0")
    elif concept == "age":
        column = _ages(known, n)
    elif concept == EVENT:
        column = _events(known, n)
    elif concept in SCALES:
        column = _levels(known, n, concept, codes)
    else:
        return None
    # Who writes our own name means it: then its bad cells are told, however many there are.
    mine = name == concept and concept in (TIME, EVENT, "age")
    if len(column.unreadable) > _MOST_BAD * len(known) and not mine:
        return None
    return replace(column, concept=concept)


def _ages(known: Mapping[int, str], n: int) -> Column:
    column = _numbers(known, n, lowest=-1.0, what="an age is a number of years")
    high = column.values.max() > _MOST_AGE
    return replace(column, notes=["`age` goes beyond 120: in days?"]) if high else column


def _levels(known: Mapping[int, str], n: int, concept: str, codes: Mapping[str, str]) -> Column:
    """Read the levels of a known scale; those that the code book names stand even if unused."""
    levels = {i: SCALES[concept](text) for i, text in known.items()}
    present = {level for level in levels.values() if level} | set(_levels_of_codes(concept, codes))
    order = sorted(present, key=lambda level: level_rank(concept, level))
    good = {i: level for i, level in levels.items() if level}
    what = f"no {concept.replace('_', ' ')}"
    wrong = [(i, known[i], what) for i, level in levels.items() if level is None]
    ordered = concept != "sex"
    values = _categorical(good, n, order, ordered=ordered)
    return Column(ORDINAL if ordered else BINARY, values, wrong)


def _levels_of_codes(concept: str, codes: Mapping[str, str]) -> list[str]:
    found = (SCALES[concept](meaning) for meaning in codes.values())
    return [level for level in found if level]


def _events(known: Mapping[int, str], n: int) -> Column:
    found = {i: event_of(text) for i, text in known.items()}
    values = pd.Series([found.get(i) for i in range(n)], dtype="boolean")
    wrong = [(i, known[i], "an event is 0 or 1") for i, event in found.items() if event is None]
    return Column(BINARY, values, wrong)


def _numbers(known: Mapping[int, str], n: int, *, lowest: float, what: str) -> Column:
    """Read numbers, all with a decimal point or all with a comma."""
    values, wrong = [math.nan] * n, []
    comma = not any("." in text for text in known.values())
    for i, text in known.items():
        if _NUMBER.fullmatch(text):
            value = float(text)
        else:
            value = float(text.replace(",", ".")) if comma and _COMMA.fullmatch(text) else math.nan
        if math.isfinite(value) and value > lowest:
            values[i] = value
        else:
            wrong.append((i, text, what))
    return Column(NUMBER, pd.Series(values, dtype="float64"), wrong)


def _any_column(known: Mapping[int, str], n: int, name: str, codes: Mapping[str, str]) -> Column:
    if not codes:
        numbers = _numbers(known, n, lowest=-math.inf, what="no number, in a column of numbers")
        n_good = len(known) - len(numbers.unreadable)
        if n_good >= _ENOUGH * len(known):
            values = numbers.values.dropna().tolist()
            if not _two_codes(values) or numbers.unreadable:
                return replace(numbers, reason=_identifier(name, values, n))
            known = {i: str(int(numbers.values[i])) for i in known}
    return _groups(known, n, name, codes)


def _two_codes(values: Sequence[float]) -> bool:
    """Return whether numbers are two codes, such as 1 and 2, rather than an amount."""
    found = set(values)
    if found <= {0.0, 1.0}:
        return True
    return len(found) == 2 and len(values) >= _FEW_ROWS and all(v.is_integer() for v in found)


def _groups(known: Mapping[int, str], n: int, name: str, codes: Mapping[str, str]) -> Column:
    """Read groups; spellings that differ only in case are one group, named by the commonest."""
    spellings: dict[str, dict[str, int]] = {}
    for text in known.values():
        counts = spellings.setdefault(text.casefold(), {})
        counts[text] = counts.get(text, 0) + 1
    names = {
        folded: max(sorted(counts), key=counts.__getitem__) for folded, counts in spellings.items()
    }
    joined = [names[folded] for folded, counts in spellings.items() if len(counts) > 1]
    notes = [f"`{name}`: spellings that differ only in case are one: {level!r}" for level in joined]
    # In the order of the code book: it may mean one.
    order = list(codes.values()) if codes else sorted(names.values(), key=_level_key)
    groups = {i: names[text.casefold()] for i, text in known.items()}
    present = set(groups.values())
    order = [level for level in order if level in present]
    reason = _identifier(name, list(groups.values()), n)
    if len(order) > MOST_LEVELS:
        reason = f"{len(order)} different texts: an identifier or free text"
    # Two groups of three that the code book knows are not all there is.
    kind = BINARY if (len(codes) or len(order)) == 2 else CATEGORY
    return Column(kind, _categorical(groups, n, order), notes=notes, reason=reason)


def _level_key(level: str) -> tuple[bool, str]:
    return level.casefold() not in _FIRST, level


def _identifier(name: str, values: Sequence[object], n: int) -> str:
    """Return why a column names patients rather than describing them; "" if it does not."""
    unique = len(set(values)) == len(values) and len(values) >= max(_FEW_ROWS, _HALF * n)
    if not unique:
        return ""
    if isinstance(values[0], str):
        return f"{len(values)} different texts, none twice: an identifier or free text"
    counted = (list(range(n)), list(range(1, n + 1)))
    if name.startswith("unnamed") and list(values) in counted:
        return "row numbers"
    if _IDENTIFIER.intersection(name.split("_")):
        return "every value once: an identifier"
    return ""


def _categorical(
    known: Mapping[int, str], n: int, order: Sequence[str], *, ordered: bool = False
) -> "pd.Series[str]":
    kind = pd.CategoricalDtype(list(order), ordered=ordered)
    return pd.Series(pd.Categorical([known.get(i) for i in range(n)], dtype=kind))
