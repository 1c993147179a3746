"""Figures within each tumour type and site as tables, from what stands in metrics.json."""

from collections.abc import Mapping
from typing import Any

from histokeras.cohort.categories import CATEGORIES
from histokeras.report.run_files import RunFiles
from histokeras.report.tables import Cell, Table
from histokeras.report.text import at, interval, is_number, measured, percent, plural
from histokeras.types import REGRESSION

_MOST_ROWS = 40
_MOST_CLASSES = 4
_WORDS = {"tumour_type": "tumour type", "site": "site"}


def strata_table(run: RunFiles, name: str) -> Table | None:
    """Return the figures within each value of a category, a row a value, sorted by name.

    Args:
        run: The run; its main level and side count.
        name: ``tumour_type`` or ``site``.

    Returns:
        At most 40 rows, the values of most units, and below them the row of the whole; None where
        the run has no figures by that category.
    """
    values = at(run.main, "by", name)
    if not isinstance(values, Mapping) or not values:
        return None
    word = _WORDS.get(name, name)
    classes = run.classes if len(run.classes) <= _MOST_CLASSES else []
    shown = _largest(values)
    rows = [[value, *_cells(run, values[value], classes)] for value in shown]
    whole = {**run.main, **run.figures, "note": ""}
    rows.append([f"All {run.level}s", *_cells(run, whole, classes)])
    units = [f"{run.level.capitalize()}s"]
    if run.level != "patient":
        units.insert(0, "Patients")
    figures = [f"AUC ({run.positive or 'mean of classes'})", "Balanced accuracy"]
    if run.task == REGRESSION:
        figures = ["Spearman", "Mean absolute error"]
    head = [word.capitalize(), *units, *classes, *figures, "Mind"]
    if not any(row[-1] for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    whole_side = "whole cohort" if run.split == "all" else f"{run.split} side"
    return Table(
        f"Within each {word}, {run.level} level, {whole_side}",
        head,
        rows,
        _notes(run, values, len(shown), word),
        "strata",
    )


def strata_tables(run: RunFiles) -> list[Table]:
    """Return the tables of all categories that the run has figures by."""
    found = [strata_table(run, name) for name in CATEGORIES]
    return [table for table in found if table is not None]


def strata_left_out(run: RunFiles) -> list[str]:
    """Return why there are no figures by a category, a sentence each."""
    reasons = at(run.main, "by_left_out") or {}
    return [
        f"No figures within each {_WORDS.get(name, name)}: {reason}."
        for name, reason in reasons.items()
    ]


def _largest(values: Mapping[str, Any]) -> list[str]:
    """Return the names of the values of most units, sorted by name."""

    def size(value: str) -> float:
        count = at(values, value, "n")
        return -count if is_number(count) else 0

    return sorted(sorted(values, key=lambda value: (size(value), value))[:_MOST_ROWS])


def _cells(run: RunFiles, part: Mapping[str, Any], classes: list[str]) -> list[str | Cell]:
    numbers = [at(part, "n")]
    if run.level != "patient":
        numbers.insert(0, at(part, "n_patients"))
    numbers += [at(part, "n_per_class", name) for name in classes]
    counts = [f"{count:,}" if is_number(count) else "" for count in numbers]
    if run.task == REGRESSION:
        figures = [interval(at(part, "spearman")), measured(at(part, "mae"))]
    else:
        figures = [interval(at(part, key)) for key in ("auc", "balanced_accuracy")]
    return [*counts, *figures, str(at(part, "note") or "")]


def _notes(run: RunFiles, values: Mapping[str, Any], n_shown: int, word: str) -> list[str]:
    figure = "Spearman" if run.task == REGRESSION else "AUC"
    notes = [
        f"The same predictions, looked at within one {word} at a time. Where {figure} is lower in "
        f"most rows than for all {run.level}s, a part of the whole may come from telling one "
        f"{word} from another.",
        f"Intervals of a single {word} are wide, because few {run.level}s are behind it. "
        f"{len(values)} were looked at, and no interval is corrected for that: each has a chance "
        f"of about {percent(run.metrics.get('alpha'))}, in small groups of more, to miss its true "
        "value, and the highest and the lowest row are partly chance.",
    ]
    if n_shown < len(values):
        notes.append(f"The {n_shown} largest of {len(values)}; all of them are in metrics.json.")
    counts = [at(part, "n") for part in values.values()]
    missing = (run.main.get("n") or 0) - sum(count for count in counts if is_number(count))
    if missing > 0:
        notes.append(
            f"Only in the last row: {plural(missing, run.level)} without one known {word}."
        )
    return notes
