"""Figures within each tumour type and site as a short table for the terminal."""

from collections.abc import Mapping
from typing import Any

from histokeras.analysis.strata import CLASS_FIGURES, NUMBER_FIGURES
from histokeras.analysis.text import aligned, cell, measured, wrapped

_MOST_LINES = 25
_MOST_CLASSES = 3
_WORDS = {"tumour_type": "tumour type", "site": "site"}


def strata_lines(figures: Mapping[str, Any]) -> list[str]:
    """Return a block a category, a line a value; nothing for one value, or for more than 25.

    Args:
        figures: One evaluated level, with ``by`` where types or sites are known.
    """
    shown = {
        name: values
        for name, values in (figures.get("by") or {}).items()
        if 2 <= len(values) <= _MOST_LINES
    }
    lines = [line for name, values in shown.items() for line in _block(name, values, figures)]
    if not lines:
        return []
    n_rows = sum(map(len, shown.values()))
    return lines + wrapped(
        f"Intervals within one type or site are wide. {n_rows} were looked at, none is corrected "
        "for that: the highest and the lowest are partly chance. *: one class alone, or too few "
        "for an interval to rely on; metrics.json says why."
    )


def _block(name: str, values: Mapping[str, Any], figures: Mapping[str, Any]) -> list[str]:
    first = next(iter(values.values()))
    classes = list(first.get("n_per_class", ()))
    classes = classes if len(classes) <= _MOST_CLASSES else []
    is_class = CLASS_FIGURES[0] in first
    units = "n" if figures["resampled_by"] != "patient" else "patients"
    of = next(iter(figures["aggregations"].values())).get("auc_of")
    heads = (f"AUC {of}", "balanced accuracy") if is_class else ("Spearman", "mean absolute error")
    counts = ["each class"] if classes else []
    rows = [(f"within each {_WORDS.get(name, name)}", units, *counts, *heads, "")]
    for value, part in values.items():
        numbers = [f"{part['n_patients']:,}"]
        if classes:
            # In the order of the line that heads the level.
            numbers.append(" / ".join(f"{part['n_per_class'][name]:,}" for name in classes))
        if is_class:
            cells = [cell(part[key]) for key in CLASS_FIGURES]
        else:
            cells = [cell(part[NUMBER_FIGURES[0]]), measured(part[NUMBER_FIGURES[1]])]
        rows.append((value, *numbers, *cells, "*" if part["note"] else ""))
    return aligned(rows)
