"""Read a label table: its level, its classes, and every row that cannot be used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from histokeras.cohort.code_book import canonical_labels, decoded, header_meant
from histokeras.cohort.grouping import LEFT_OUT, Grouping
from histokeras.cohort.ids import canonical_key, patient_from_slide, slide_stem, tile_key
from histokeras.cohort.notes import first_rows, table_notes
from histokeras.cohort.numbers import canonical_numbers, numbers_note, require_two_numbers
from histokeras.cohort.outcome_labels import outcome_labels, outcome_note
from histokeras.errors import TableError
from histokeras.tables import (
    find_column,
    nearest_name,
    read_table,
    row_numbers,
    text_table,
    with_standard_columns,
)
from histokeras.types import (
    CLASSIFICATION,
    LABEL,
    LEVELS,
    PATIENT_ID,
    REGRESSION,
    SLIDE_ID,
    SURVIVAL,
    TASKS,
    TILE,
)

KEYS = {"tile": TILE, "slide": SLIDE_ID, "patient": PATIENT_ID}
"""The key column of each level."""
CLEAN = {TILE: tile_key, SLIDE_ID: slide_stem, PATIENT_ID: canonical_key}
"""How the ids of each column are brought into one form."""
_ROW = "_row"
_DUPLICATE = "duplicate"
_SHOWN = 5


@dataclass(frozen=True)
class Cohort:
    """A label table that has been checked.

    Attributes:
        table: One row per key, all text: the key columns found (tile, slide_id, patient_id, in
            canonical form), ``label``, and the other columns as they were. Index 0..n-1.
        level: Where the labels stand: tile, slide or patient.
        target: Name of the label column in the file; "" if no labels were asked for.
        classes: The labels, sorted as text; none for regression, whose labels are numbers.
        dropped: Rows left out: ``row`` (number in the file), ``id``, ``reason``.
        listed: Every row that has a key, with or without a label: ``id``, ``patient_id`` ("" if
            the table does not tell).
        notes: Sentences for the person at the screen.
        label_rows: The first row of each class in the file.
        task: Whether the labels are classes (``classification``), numbers (``regression``) or
            outcomes (``survival``).
    """

    table: pd.DataFrame
    level: str
    target: str
    classes: tuple[str, ...]
    dropped: pd.DataFrame
    listed: pd.DataFrame
    notes: tuple[str, ...]
    label_rows: Mapping[str, int] = field(default_factory=dict)
    task: str = CLASSIFICATION

    @property
    def outputs(self) -> tuple[str, ...]:
        """What a head gives: a probability of each class, or the target's number."""
        return (self.target,) if self.task == REGRESSION else self.classes

    @property
    def key(self) -> str:
        """Name of the key column."""
        return KEYS[self.level]

    @property
    def share_lost(self) -> float:
        """Share of the rows without key or label, 0..1.

        Equal rows that were collapsed, and classes left out as asked, are none.
        """
        n_rows = len(self.table) + len(self.dropped)
        return len(_incomplete(self.dropped)) / n_rows if n_rows else 0.0


def read_cohort(
    source: Path | str | pd.DataFrame,
    *,
    target: str | None = LABEL,
    level: str | None = None,
    task: str = CLASSIFICATION,
    strict: bool = False,
    group: Grouping | None = None,
    complete: bool = True,
) -> Cohort:
    """Read and check a label table.

    Rows without a key or a label, and those of a class in no group, are dropped and listed. Equal
    rows are collapsed; one key with two labels is an error. Whole numbers lose their ``.0``:
    ``1.0`` and ``1`` are one class. Where the header is a code book, such as
    ``Invasion(Negative=0,Positive=1)``, classes bear its names.

    Args:
        source: A file (see ``read_table``) or a table; it is not changed.
        target: Name of the label column; None for a table without labels.
        level: tile, slide or patient; by default the finest key column that the table has.
        task: ``regression`` reads labels as numbers, ``survival`` as outcomes.
        strict: Whether a row without key or label is an error.
        group: Which classes count as one; None for each on its own.
        complete: Whether all classes that ``group`` names must be there, as where something is
            learned; a table to be held against predictions may lack some.

    Returns:
        The cohort.

    Raises:
        TableError: If the table has no rows, a column is missing or ambiguous, labels conflict, a
            slide has two patients, there are not two classes, a number is none, or ``group`` names
            a class that is not there.
        ValueError: If ``level`` is no level, or ``task`` no task.
    """
    if task not in TASKS:
        raise ValueError(f"`task` must be one of {TASKS}. Received: task={task!r}")
    if level is not None and level not in LEVELS:
        raise ValueError(f"`level` must be one of {LEVELS}. Received: level={level!r}")
    raw = _rows_of(source)
    rows = row_numbers(raw)
    notes = list(raw.attrs.get("notes", ()))
    label_column = None if target is None else find_target(raw, target)
    table = canonical_ids(raw)
    found = level or _finest_level(table)
    key = KEYS[found]
    if key not in table.columns:
        raise TableError(
            f"the label table has no `{key}` column; it has {list(raw.columns)}.",
            code="COLUMN_MISSING",
        )
    if label_column is not None:
        table[LABEL], said = _read_labels(raw, rows, label_column, task)
        notes += said
    table[_ROW] = rows
    kept, dropped = _drop_rows(table, key)
    if strict:
        _refuse_incomplete(dropped, len(table))
    if group is not None and label_column is not None:
        named = label_column if complete else None
        kept, dropped = _grouped(kept, dropped, key, group, named)
    labels = kept[LABEL].tolist() if label_column is not None else [""] * len(kept)
    classes: tuple[str, ...] = ()
    if label_column is not None:
        classes, said = _KINDS[task](labels, label_column, len(table))
        notes += said
    notes += _notes(dropped, len(table)) + table_notes(kept, kept[_ROW].tolist())
    return Cohort(
        table=kept.drop(columns=_ROW).reset_index(drop=True),
        level=found,
        target=label_column or "",
        classes=classes,
        dropped=dropped,
        listed=_listed(table, key),
        notes=tuple(notes),
        label_rows=first_rows(labels, kept[_ROW].tolist()),
        task=task,
    )


def _rows_of(source: Path | str | pd.DataFrame) -> pd.DataFrame:
    raw = read_table(Path(source), name="label table") if isinstance(source, str | Path) else source
    if not len(raw):
        place = f"label table {source}: " if raw is not source else "the label table: "
        raise TableError(
            f"{place}no rows below the header.",
            code="TABLE_EMPTY",
            hint="Add one row per patient, slide or tile.",
        )
    return raw


def find_target(table: pd.DataFrame, target: str) -> str:
    """Return the name of the label column: exactly ``target``, without case, or what it means.

    Raises:
        TableError: If there is none; the message lists the columns and the nearest name.
    """
    names = [str(name) for name in table.columns]
    if target in names:
        return target
    same = [name for name in names if name.casefold() == target.casefold()]
    if len(same) == 1:
        return same[0]
    alias = find_column(table, LABEL) if target == LABEL else header_meant(names, target)
    if alias is not None:
        return alias
    near = nearest_name(target, names)
    raise TableError(
        f"the table has no column `{target}`; it has {names}.",
        code="COLUMN_MISSING",
        hint=f"Did you mean `{near}`?" if near else "Name one of these.",
    )


def canonical_ids(table: pd.DataFrame) -> pd.DataFrame:
    """Return a text copy with our names for the key columns, ids in one form, index 0..n-1."""
    copy = with_standard_columns(text_table(table), CLEAN)
    for column, clean in CLEAN.items():
        if column in copy.columns:
            copy[column] = [clean(text) for text in copy[column]]
    return copy


def require_one_patient(table: pd.DataFrame, key: str, rows: Sequence[int] = ()) -> None:
    """Check that no slide or tile belongs to two patients.

    Args:
        table: A table with ``patient_id`` and ``key``; blanks are passed over.
        key: ``slide_id`` or ``tile``.
        rows: Row numbers for the message, as many as the table has rows; none if they mean nothing.

    Raises:
        TableError: If one does; the message names both patients.
    """
    known = table.assign(_row=list(rows) or 0)
    known = known[(known[key] != "") & (known[PATIENT_ID] != "")]
    pairs = known.drop_duplicates([key, PATIENT_ID])
    twice = pairs[pairs.duplicated(key, keep=False)]
    if twice.empty:
        return
    first = str(twice[key].iloc[0])
    patients = [
        f"{row[PATIENT_ID]!r}" + (f" (row {row[_ROW]})" if rows else "")
        for _, row in twice[twice[key] == first].iterrows()
    ]
    raise TableError(
        f"{twice[key].nunique()} {key.removesuffix('_id')}(s) belong to two patients, first "
        f"{first!r}: {' and '.join(patients)}.",
        code="SLIDE_TWO_PATIENTS",
        hint="Correct the patient in one of the rows.",
    )


def _finest_level(table: pd.DataFrame) -> str:
    for level in LEVELS:
        if KEYS[level] in table.columns and (table[KEYS[level]] != "").any():
            return level
    near = nearest_name(PATIENT_ID, [str(name) for name in table.columns])
    raise TableError(
        f"the label table has no `patient_id`, `slide_id` or `tile` column; it has "
        f"{list(table.columns)}.",
        code="COLUMN_MISSING",
        hint=f"Did you mean `{near}` to be `patient_id`?" if near else "Rename the key column.",
    )


def _read_labels(
    raw: pd.DataFrame, rows: Sequence[int], column: str, task: str
) -> tuple[list[str], list[str]]:
    """Return the labels in one form, and what is said of the code book in their header."""
    cells, said = text_table(raw[[column]])[column].tolist(), ""
    if task == CLASSIFICATION:
        cells, said = decoded(cells, column)
    return _LABELS[task](cells, rows, column), [said] if said else []


def _drop_rows(table: pd.DataFrame, key: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the rows into those that can be used and the list of those that cannot."""
    reason = pd.Series("", index=table.index, dtype=object)
    if LABEL in table.columns:
        reason[table[LABEL] == ""] = "no label"
    reason[table[key] == ""] = f"no {key}"
    usable = table[reason == ""]
    if LABEL in table.columns:
        _require_one_label(usable, key)
    for column in (SLIDE_ID, TILE):
        if PATIENT_ID in usable.columns and column in usable.columns:
            require_one_patient(usable, column, usable[_ROW].tolist())
    first_rows = usable.drop_duplicates(key).set_index(key)[_ROW]
    for position in usable.index[usable.duplicated(key)]:
        reason[position] = f"{_DUPLICATE} of row {first_rows[usable[key][position]]}"
    lost = table[reason != ""]
    dropped = pd.DataFrame(
        {
            "row": lost[_ROW].to_numpy(),
            "id": lost[key].to_numpy(),
            "reason": reason[lost.index].to_numpy(),
        }
    )
    return table[reason == ""], dropped


def _grouped(
    kept: pd.DataFrame, dropped: pd.DataFrame, key: str, group: Grouping, column: str | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put groups in place of classes; what is in no group joins the rows that are left out.

    With the name of the label column every class that is named must be there.
    """
    if column is not None:
        group.require_known(sorted(set(kept[LABEL])), column)
    groups = pd.Series([group.group_of(label) for label in kept[LABEL]], kept.index, dtype=object)
    lost = kept[groups.isna()]
    kept = kept.assign(**{LABEL: groups})[groups.notna()]
    if lost.empty:
        return kept, dropped
    reasons = [f"class {label} {LEFT_OUT}" for label in lost[LABEL]]
    rows = pd.DataFrame({"row": lost[_ROW], "id": lost[key], "reason": reasons})
    parts = [part for part in (dropped, rows) if len(part)]
    return kept, pd.concat(parts).sort_values("row", kind="stable", ignore_index=True)


def _require_one_label(usable: pd.DataFrame, key: str) -> None:
    pairs = usable.drop_duplicates([key, LABEL])
    twice = pairs[pairs.duplicated(key, keep=False)]
    if twice.empty:
        return
    shown = [
        f"{name!r} is " + " and ".join(f"{r[LABEL]!r} (row {r[_ROW]})" for _, r in group.iterrows())
        for name, group in list(twice.groupby(key, sort=False))[:5]
    ]
    raise TableError(
        f"{twice[key].nunique()} {key}(s) bear two labels: {'; '.join(shown)}.",
        code="LABELS_CONFLICT",
        hint="Correct or remove one of the rows.",
    )


def _classes_of(labels: list[str], column: str, n_rows: int) -> tuple[tuple[str, ...], list[str]]:
    """Return the classes, and nothing to say of them."""
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        found = f"only the class {classes[0]!r}" if classes else "no label at all"
        raise TableError(
            f"column `{column}` holds {found} in {n_rows} row(s); at least two classes are needed.",
            code="SPLIT_IMPOSSIBLE",
            hint="Choose another column with `--target`.",
        )
    return classes, []


def _no_classes(labels: list[str], column: str, n_rows: int) -> tuple[tuple[str, ...], list[str]]:
    """Return no classes, and what the numbers look like."""
    require_two_numbers(labels, column, n_rows)
    return (), [numbers_note(labels, column)]


_LABELS = {
    CLASSIFICATION: canonical_labels,
    REGRESSION: canonical_numbers,
    SURVIVAL: outcome_labels,
}
_KINDS = {CLASSIFICATION: _classes_of, REGRESSION: _no_classes, SURVIVAL: outcome_note}


def _listed(table: pd.DataFrame, key: str) -> pd.DataFrame:
    ids = table[key].tolist()
    patients = table[PATIENT_ID].tolist() if PATIENT_ID in table.columns else [""] * len(ids)
    pairs = [
        (name, patient_from_slide(patient) or patient)
        for name, patient in zip(ids, patients, strict=True)
        if name
    ]
    return pd.DataFrame(pairs, columns=["id", PATIENT_ID]).drop_duplicates(ignore_index=True)


def _incomplete(dropped: pd.DataFrame) -> pd.DataFrame:
    reasons = dropped["reason"].astype(str)
    return dropped[~(reasons.str.startswith(_DUPLICATE) | reasons.str.endswith(LEFT_OUT))]


def _refuse_incomplete(dropped: pd.DataFrame, n_rows: int) -> None:
    lost = _incomplete(dropped)
    if len(lost):
        shown = [f"row {row}: {name!r}: {why}" for row, name, why in lost.to_numpy()]
        raise TableError(
            f"{len(lost)} of {n_rows} rows cannot be used: {'; '.join(shown[:_SHOWN])}"
            f"{'; ...' if len(shown) > _SHOWN else ''}.",
            code="LABELS_MISSING",
            hint="Complete or remove them, or leave out `--strict`.",
        )


def _notes(dropped: pd.DataFrame, n_rows: int) -> list[str]:
    reasons = dropped["reason"].str.replace(rf"^{_DUPLICATE} of row \d+$", _DUPLICATE, regex=True)
    return [
        f"{count} of {n_rows} rows left out: {reason}"
        for reason, count in reasons.value_counts(sort=False).items()
    ]
