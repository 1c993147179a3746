"""Columns of labels: found by what their headers mean, codes as names, numbers in one form."""

import re
from collections.abc import Sequence

from histokeras.cohort.clinical_words import concept_of, parse_header, plain_text, snake_name

_WHOLE_NUMBER = re.compile(r"^([+-]?\d+)(?:[.,]0+)?$")


def header_meant(names: Sequence[str], target: str) -> str | None:
    """Return the header that ``target`` means though it is written otherwise.

    ``lauren`` means ``Lauren classification(Intestinal=0, Mixed=1)``, and so does its name without
    the code book.

    Args:
        names: Headers of the table.
        target: What was asked for.

    Returns:
        The header; None if there is none, or more than one.
    """
    parsed = {name: parse_header(name)[0] for name in names}
    wanted = snake_name(target)
    if not wanted:
        return None
    same = [name for name, snake in parsed.items() if snake == wanted]
    concept = concept_of(wanted)
    if not same and concept is not None:
        same = [name for name, snake in parsed.items() if concept_of(snake) == concept]
    return same[0] if len(same) == 1 else None


def decoded(cells: Sequence[str], header: str) -> tuple[list[str], str]:
    """Put the meaning of each code in its place, if the header has a code book that fits.

    Args:
        cells: Labels, "" where missing.
        header: Header of their column.

    Returns:
        The labels, and a sentence on the code book; the same labels and "" where a cell is neither
        a code nor a meaning of it, or where there is no code book.
    """
    codes = parse_header(header)[1]
    meanings = {meaning.casefold(): meaning for meaning in codes.values()}
    plain = [re.sub(r"^(\d+)[.,]0+$", r"\1", plain_text(cell)) for cell in cells]
    found = [codes.get(cell) or meanings.get(cell.casefold()) if cell else "" for cell in plain]
    if not codes or any(cell is None for cell in found):
        return list(cells), ""
    listed = ", ".join(f"{code} is {meaning}" for code, meaning in codes.items())
    return [cell or "" for cell in found], f"labels by the code book of the header: {listed}"


def canonical_labels(labels: list[str], rows: Sequence[int], column: str) -> list[str]:
    """Return labels in one form: where all are whole numbers, ``1.0`` is ``1``.

    Args:
        labels: Cells of the label column, "" where missing.
        rows: Row number of each; not needed here.
        column: Name of the column; not needed here.
    """
    stripped = [label.strip() for label in labels]
    numbers = [_WHOLE_NUMBER.match(label) for label in stripped if label]
    if all(numbers) and any(not label.isdigit() for label in stripped if label):
        return [
            str(int(match.group(1))) if (match := _WHOLE_NUMBER.match(label)) else ""
            for label in stripped
        ]
    return stripped
