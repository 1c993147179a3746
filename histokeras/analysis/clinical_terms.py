"""Clinical columns as terms of a risk: what is learned of a column, and how it is applied.

What is learned (levels, what stands for a missing value) comes from training patients alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.metrics import Bools, Floats

NUMBER, STEPS, LEVELS = "number", "steps", "levels"
"""Kinds of columns: numbers; levels with an order, counted from 0; levels without."""


@dataclass(frozen=True)
class ClinicalColumn:
    """A column as it was learned.

    Attributes:
        name: Name of the column.
        kind: ``number``, ``steps`` or ``levels``.
        levels: Of ``steps`` all in their order, the first is 0; of ``levels`` those that training
            patients have: the first is the reference, of which a patient of no known level is too.
        middle: What stands for a missing number or step: the median of the training patients.
        missing: Whether a term tells that the value is missing.
    """

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    middle: float = 0.0
    missing: bool = False

    @property
    def terms(self) -> list[str]:
        """Name of each term."""
        own = [self.name]
        if self.kind == LEVELS:
            own = [f"{self.name}: {level}" for level in self.levels[1:]]
        return own + ([f"{self.name}: missing"] if self.missing else [])

    def apply(self, values: "pd.Series[Any]") -> Floats:
        """Return the terms of patients, finite ``(n, k)``.

        Args:
            values: float64 (NaN where missing), or categorical, as the column that was learned.
        """
        if self.kind == LEVELS:
            text = values.astype(object).map(str, na_action="ignore")
            gone = values.isna().to_numpy(np.bool_)
            parts = [(text == level).to_numpy(np.float64) for level in self.levels[1:]]
        else:
            numbers = _numbers(values, self.levels)
            gone = np.isnan(numbers)
            parts = [np.where(gone, self.middle, numbers)]
        if self.missing:
            parts.append(gone.astype(np.float64))
        return np.column_stack(parts) if parts else np.empty((len(values), 0))

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "levels": list(self.levels)}


def learn_columns(
    columns: Mapping[str, "pd.Series[Any]"], train: Bools
) -> tuple[ClinicalColumn, ...]:
    """Learn how columns become terms; those without a value in train, or a term, are left out.

    Args:
        columns: Name -> values of all patients: float64 (NaN where missing), or categorical.
        train: Who is a training patient, ``(n,)``.
    """
    found = [_learned(name, values, train) for name, values in columns.items()]
    return tuple(column for column in found if column is not None and column.terms)


def terms_of(
    learned: Sequence[ClinicalColumn], columns: Mapping[str, "pd.Series[Any]"], n: int
) -> tuple[list[str], Floats]:
    """Return the names of all terms, and their values, finite ``(n, k)``.

    Args:
        learned: From :func:`learn_columns`.
        columns: Name -> values of ``n`` patients.
        n: Number of patients.
    """
    parts = [column.apply(columns[column.name]) for column in learned]
    names = [term for column in learned for term in column.terms]
    return names, np.hstack([np.empty((n, 0)), *parts])


def columns_from_json(known: Sequence[Mapping[str, Any]]) -> tuple[ClinicalColumn, ...]:
    """Return what :meth:`ClinicalColumn.as_json` wrote."""
    return tuple(
        ClinicalColumn(
            str(item["name"]),
            str(item["kind"]),
            tuple(str(level) for level in item["levels"]),
            float(item["middle"]),
            bool(item["missing"]),
        )
        for item in known
    )


def _learned(name: str, values: "pd.Series[Any]", train: Bools) -> ClinicalColumn | None:
    gone = values.isna().to_numpy(np.bool_)
    missing, known = bool(gone[train].any()), train & ~gone
    if isinstance(values.dtype, pd.CategoricalDtype) and not values.cat.ordered:
        seen = sorted(set(values.cat.codes.to_numpy()[known].tolist()))
        levels = tuple(str(values.cat.categories[code]) for code in seen)
        return ClinicalColumn(name, LEVELS, levels, missing=missing)
    if not known.any():
        return None
    kind, steps = NUMBER, tuple[str, ...]()
    if isinstance(values.dtype, pd.CategoricalDtype):
        kind, steps = STEPS, tuple(str(level) for level in values.cat.categories)
    middle = float(np.median(_numbers(values, steps)[known]))
    return ClinicalColumn(name, kind, steps, middle, missing)


def _numbers(values: "pd.Series[Any]", steps: tuple[str, ...]) -> npt.NDArray[np.float64]:
    if not steps:
        return values.to_numpy(np.float64)
    place = {level: float(number) for number, level in enumerate(steps)}
    return np.array([place.get(str(value), np.nan) for value in values], np.float64)
