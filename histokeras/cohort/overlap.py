"""Why no label fits any slide or tile: the ids of both sides, and what to do about it."""

import re
from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from histokeras.cohort.ids import patient_from_slide
from histokeras.cohort.labels import Cohort
from histokeras.errors import TableError
from histokeras.types import PATIENT_ID, SLIDE_ID, TILE

_SHOWN = 3
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def no_overlap(
    work: pd.DataFrame, cohort: Cohort, kind: str, slide_patients: Mapping[str, str]
) -> TableError:
    """Build the error for labels of which none fits.

    Args:
        work: ``slide_id``, ``tile`` and ``patient_id`` of the units in canonical form, "" where
            unknown.
        cohort: The labels.
        kind: What the units are: "slide" or "tile".
        slide_patients: What the slide table says; empty if none was given.
    """
    column = _column(work, cohort, kind)
    listed = list(dict.fromkeys(cohort.table[cohort.key]))
    ours = [name for name in dict.fromkeys(work[column]) if name]
    message = (
        f"none of the {len(cohort.table)} labels fits any of the {len(work)} {kind}(s): "
        f"`{cohort.key}` in the table looks like {_examples(listed)}, "
        f"`{column}` of the {kind}s like {_examples(ours)}."
    )
    for change, what, hint in _LIKENESS:
        pair = _pair(listed, ours, change) if column == cohort.key else None
        if pair is not None:
            message += f" {pair[0]!r} and {pair[1]!r} differ only in {what}."
            return TableError(message, code="NO_OVERLAP", hint=hint)
    if slide_patients and cohort.key == PATIENT_ID and column != PATIENT_ID:
        message += f" `slide_id` in the slide table looks like {_examples(slide_patients)}."
    code, rule = "NO_OVERLAP", _rule_failed(cohort.key, column, listed, ours)
    if rule:
        message, code = f"{message} {rule}", "ID_RULE"
    return TableError(
        message, code=code, hint=_hint(cohort.key, column, given=bool(slide_patients))
    )


def _rule_failed(key: str, column: str, listed: list[str], ours: list[str]) -> str:
    """Return that slides do not tell their patients as TCGA barcodes do; "" if none are meant."""
    if key != PATIENT_ID or column != SLIDE_ID or not any(map(patient_from_slide, listed)):
        return ""
    if any(map(patient_from_slide, ours)):
        return ""
    return f"The patients are TCGA barcodes; of the slides 0 of {len(ours)} are named by one."


def _column(work: pd.DataFrame, cohort: Cohort, kind: str) -> str:
    """Return the column of the units whose ids tell most."""
    if cohort.key == PATIENT_ID and (work[PATIENT_ID] != "").any():
        return PATIENT_ID
    slides_known = kind == "slide" or bool((work[SLIDE_ID] != "").any())
    return SLIDE_ID if cohort.key != TILE and slides_known else TILE


def _examples(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in list(names)[:_SHOWN]) or "nothing"


def _without_zeros(name: str) -> str:
    return _ZEROS.sub("", name)


def _without_case(name: str) -> str:
    return "".join(name.casefold().split())


_LIKENESS: tuple[tuple[Callable[[str], str], str, str], ...] = (
    (
        _without_zeros,
        "leading zeros",
        "Leading zeros get lost in spreadsheet programs: write the ids alike, as text.",
    ),
    (_without_case, "case or blanks", "Write the ids alike."),
)


def _pair(
    listed: list[str], ours: list[str], change: Callable[[str], str]
) -> tuple[str, str] | None:
    """Return an id of the table and one of the units that ``change`` makes equal."""
    by_form = {change(name): name for name in reversed(ours)}
    return next(((name, by_form[change(name)]) for name in listed if change(name) in by_form), None)


def _hint(key: str, column: str, *, given: bool) -> str:
    if key == TILE:
        return "Write each tile's path relative to its folder."
    if column == TILE:
        return (
            f"Give `{key}` of each tile in the `--tile-table` of `histokeras extract-features`, "
            "or labels by `tile`."
        )
    if key == SLIDE_ID:
        return "Write `slide_id` as the slides' files are named."
    if column == PATIENT_ID:
        return "Use the same patient ids for the labels and the slides."
    if given:
        return "Write `slide_id` in the slide table as the slides' files are named."
    return "Give `--slide-table` with the columns slide_id,patient_id."
