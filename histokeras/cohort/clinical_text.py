"""What a clinical table holds, as text and as JSON."""

from typing import Any

import pandas as pd

from histokeras.cohort.clinical import Clinical
from histokeras.cohort.clinical_columns import NUMBER
from histokeras.cohort.clinical_words import TIME
from histokeras.types import PATIENT_ID

_MOST_LEVELS = 8
_MOST_LINES = 20


def column_facts(clinical: Clinical) -> list[dict[str, Any]]:
    """Return name, header, kind, missing, code book and values of every column of use.

    Numbers give ``min``, ``median``, ``mean`` and ``max``; all others ``levels``: level -> count.
    """
    rows = []
    for name, kind in clinical.kinds.items():
        row: dict[str, Any] = {
            "column": name,
            "header": clinical.headers[name],
            "kind": kind,
            "missing": clinical.missing[name],
            "codes": dict(clinical.codes.get(name, {})),
        }
        values = clinical.table[name]
        if kind == NUMBER and values.notna().any():
            row |= {how: float(values.agg(how)) for how in ("min", "median", "mean", "max")}
        elif kind != NUMBER:
            counts = values.value_counts(sort=False)
            row["levels"] = {_level_text(level): int(n) for level, n in counts.items()}
        rows.append(row)
    return rows


def clinical_json(clinical: Clinical) -> dict[str, Any]:
    """Return everything that was found out about the table, without the patients' own rows."""
    return {
        "n_patients": len(clinical.table),
        "patient_column": clinical.headers[PATIENT_ID],
        "time_unit": clinical.time_unit,
        "columns": column_facts(clinical),
        "dropped_columns": _records(clinical.dropped_columns),
        "dropped": _records(clinical.dropped),
        "unreadable": _records(clinical.unreadable),
        "notes": list(clinical.notes),
    }


def format_clinical(clinical: Clinical) -> str:
    """Return the inventory as plain text: one line a column, then all that is lost."""
    facts = column_facts(clinical)
    width = max([len(row["column"]) for row in facts] + [6])
    patients = "patient" if len(clinical.table) == 1 else "patients"
    lines = [f"{len(clinical.table)} {patients}, {len(facts)} columns of use"]
    lines.append(f"{'column':<{width}}  {'kind':<8}  missing  values")
    for row in facts:
        values = value_text(row)
        if row["column"] == TIME:
            values += f" {clinical.time_unit}" if clinical.time_unit else " (unit unknown)"
        missing = str(row["missing"] or "-")
        lines.append(f"{row['column']:<{width}}  {row['kind']:<8}  {missing:>7}  {values}")
    headers = [row for row in facts if row["header"] != row["column"]]
    if headers:
        lines.append("headers in the file")
        lines += [f"  {row['column']:<{width}}  {row['header']}" for row in headers]
    lines += _listed("columns dropped", clinical.dropped_columns, "{column}: {reason}")
    lines += _listed("rows left out", clinical.dropped, "row {row}: {id!r}: {reason}")
    lines += _listed(
        "cells that cannot be read, counted as missing",
        clinical.unreadable,
        "row {row}: `{column}` of {patient_id}: {cell!r}: {reason}",
    )
    return "\n".join([*lines, *(f"note: {note}" for note in clinical.notes)])


def value_text(row: dict[str, Any]) -> str:
    """Return the values of a column in a few words: a range, or levels with their counts."""
    if "min" in row:
        return f"{row['min']:g} to {row['max']:g}, median {row['median']:g}, mean {row['mean']:.4g}"
    levels = list(row.get("levels", {}).items())
    if row["kind"] == "category":
        levels.sort(key=lambda item: -item[1])
    more = f", ... {len(levels) - _MOST_LEVELS} more" if len(levels) > _MOST_LEVELS else ""
    return ", ".join(f"{level} {n}" for level, n in levels[:_MOST_LEVELS]) + more


def _level_text(level: object) -> str:
    return {True: "yes", False: "no"}.get(level, str(level)) if isinstance(level, bool) else str(
        level
    )  # fmt: skip


def _listed(title: str, table: pd.DataFrame, form: str) -> list[str]:
    rows = [f"  {form.format(**row)}" for row in _records(table)]
    more = [f"  ... and {len(rows) - _MOST_LINES} more"] if len(rows) > _MOST_LINES else []
    return [f"{title}: {len(rows)}", *rows[:_MOST_LINES], *more] if rows else []


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(k): int(v) if k == "row" else str(v) for k, v in row.items()}
        for row in table.to_dict("records")
    ]
