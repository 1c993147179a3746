"""The split as a record: who is on which side, and its use on slides and tiles."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from histokeras.cohort.ids import canonical_patient, slide_stem, tile_key
from histokeras.errors import ConfigError, LeakageError, TableError
from histokeras.files import canonical_json, sha256_text
from histokeras.tables import require_columns, require_disjoint_patients
from histokeras.types import FOLD, PATIENT_ID, SLIDE_ID, SPLIT, TILE

CLEAN = {PATIENT_ID: canonical_patient, SLIDE_ID: slide_stem, TILE: tile_key}
"""The form in which the ids of each unit are compared."""
VERSION = 1
_SHOWN = 10


@dataclass(frozen=True)
class Split:
    """Which patients are for training, validation and test.

    Attributes:
        table: Two columns, sorted by the first: the unit, and ``split`` (train, val, test) or
            ``fold`` (int, 0..folds-1).
        unit: patient_id; slide_id or tile where patients are unknown.
        seed: The seed it was made with; None if it came from elsewhere.
        shares: Percent of train, val and test; None with folds or if it came from elsewhere.
        folds: Number of folds; None for a plain split.
        target: The label column whose classes were balanced; "" if none.
        stratify: Further columns that were balanced.
        sites: How sites were kept whole: ``from`` (a column, or "barcode"), ``n_sites``,
            ``deviation`` and ``bound`` in patients; None where they were not.
        note: "" or e.g. "tile-level, not patient-safe"; every output repeats it.
        signed: Whether histokeras made it and nobody changed it since.
    """

    table: pd.DataFrame
    unit: str = PATIENT_ID
    seed: int | None = None
    shares: tuple[float, float, float] | None = None
    folds: int | None = None
    target: str = ""
    stratify: tuple[str, ...] = ()
    sites: Mapping[str, Any] | None = None
    note: str = ""
    signed: bool = False

    @property
    def patient_safe(self) -> bool:
        """Whether the split was made by patient."""
        return not self.note

    @property
    def column(self) -> str:
        """Name of the second column: ``split`` or ``fold``."""
        return FOLD if self.folds is not None else SPLIT

    @property
    def meta(self) -> dict[str, Any]:
        """What the first line of the file says, without the digest."""
        return {
            "version": VERSION,
            "unit": self.unit,
            "seed": self.seed,
            **({"shares": self.shares} if self.folds is None else {"folds": self.folds}),
            "target": self.target,
            "stratify": self.stratify,
            # Not written otherwise, so that older files keep their digest.
            **({} if self.sites is None else {"sites": dict(self.sites)}),
            "note": self.note,
        }

    @property
    def digest(self) -> str:
        """SHA-256 over the first line and the rows, in hexadecimal; other rows, other digest."""
        return sha256_text(canonical_json(self.meta) + "\n" + rows_text(self.table))

    def sides(self, fold: int | None = None) -> dict[str, str]:
        """Return the side (train, val, test) of each unit.

        Args:
            fold: With folds, the one to test on, 0..folds-1; the next one is val, the rest train.
                None for a plain split.

        Raises:
            ConfigError: If a fold is missing, out of range, or given for a plain split.
        """
        ids, values = self.table[self.unit], self.table[self.column]
        if self.folds is None:
            if fold is not None:
                raise ConfigError(
                    f"`fold` is for cross-validation; this split has none. Received: fold={fold}"
                )
            return dict(zip(ids, values, strict=True))
        if fold is None or not 0 <= fold < self.folds:
            raise ConfigError(f"`fold` must be in 0..{self.folds - 1}. Received: fold={fold}")
        names = {fold: "test", (fold + 1) % self.folds: "val"}
        return {
            name: names.get(int(value), "train") for name, value in zip(ids, values, strict=True)
        }


def rows_text(table: pd.DataFrame) -> str:
    """Return the rows as CSV text, in the order of the table, the same on every system."""
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text


def build_table(pairs: list[tuple[str, Any]], unit: str, column: str) -> pd.DataFrame:
    """Return the table of a split from (id, side) pairs, sorted, each id once.

    Args:
        pairs: Ids in any form, and ``split`` or ``fold``.
        unit: Column name of the ids.
        column: ``split`` or ``fold``.

    Raises:
        LeakageError: If an id has two sides; the message lists them.
        TableError: If there is no row.
    """
    sides: dict[str, set[Any]] = {}
    for name, side in pairs:
        sides.setdefault(CLEAN[unit](name), set()).add(side)
    sides.pop("", None)
    _refuse_two_sides(sides, unit)
    if not sides:
        raise TableError("the split has no rows.", code="TABLE_EMPTY")
    rows = sorted((name, next(iter(found))) for name, found in sides.items())
    return pd.DataFrame(rows, columns=[unit, column])


def _refuse_two_sides(sides: Mapping[str, set[Any]], unit: str) -> None:
    leaking = sorted(name for name, found in sides.items() if len(found) > 1)
    if leaking:
        shown = ", ".join(
            f"{name!r} ({' and '.join(map(str, sorted(sides[name])))})" for name in leaking[:_SHOWN]
        )
        raise LeakageError(
            f"{len(leaking)} {unit.removesuffix('_id')}(s) lie on two sides of the split: {shown}"
            f"{', ...' if len(leaking) > _SHOWN else ''}.",
            hint="Split by patient with `histokeras split`.",
        )


def require_no_leak(units: pd.DataFrame, split: Split) -> None:
    """Check that no patient among the units lies on two sides of the split (or in two folds).

    Args:
        units: Slides or tiles with ``patient_id`` and the split's unit column.
        split: The split; units that it does not name are passed over.

    Raises:
        LeakageError: If one does; the message lists the patients.
        TableError: If a column is missing.
    """
    require_columns(units, (PATIENT_ID, split.unit), name="units")
    given = dict(zip(split.table[split.unit], split.table[split.column], strict=True))
    sides: dict[str, set[Any]] = {}
    for name, patient in zip(units[split.unit], units[PATIENT_ID], strict=True):
        side = given.get(CLEAN[split.unit](str(name)))
        if side is not None and patient:
            sides.setdefault(canonical_patient(str(patient)), set()).add(side)
    _refuse_two_sides(sides, PATIENT_ID)


def apply_split(
    units: pd.DataFrame, split: Split, fold: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give each slide or tile its side.

    Args:
        units: Slides or tiles with ``patient_id`` and the split's unit column; not changed.
        split: The split.
        fold: With folds, the one to test on.

    Returns:
        The units that the split names, with the column ``split`` and the index 0..n-1; and what
        was dropped: ``kind``, ``id``, ``reason``.

    Raises:
        LeakageError: If a patient lies on two sides.
        TableError: If a column is missing, or the split names none of the units (NO_OVERLAP).
        ConfigError: If ``fold`` does not fit the split.
    """
    require_no_leak(units, split)
    sides = split.sides(fold)
    names = [CLEAN[split.unit](str(name)) for name in units[split.unit]]
    found = [sides.get(name, "") for name in names]
    if not any(found):
        example = repr(names[0]) if names else "nothing"
        raise TableError(
            f"the split names none of the {len(units)} rows: its `{split.unit}` looks like "
            f"{split.table[split.unit].iloc[0]!r}, theirs like {example}.",
            code="NO_OVERLAP",
            hint="Make the split from the same label table with `histokeras split`.",
        )
    placed = units.assign(**{SPLIT: found})
    kept = placed[placed[SPLIT] != ""].reset_index(drop=True)
    require_disjoint_patients(kept)
    kind = TILE if TILE in units.columns else SLIDE_ID
    shown = units[kind] if kind in units.columns else units[split.unit]
    dropped = pd.DataFrame(
        [
            (kind.removesuffix("_id"), str(name), f"{split.unit} {group} is not in the split")
            for name, group, side in zip(shown, names, found, strict=True)
            if not side
        ],
        columns=["kind", "id", "reason"],
        dtype=object,
    )
    return kept, dropped
