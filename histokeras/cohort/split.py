"""Split by patient: the same patients on the same sides, in whatever order the table comes."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import pandas as pd

from histokeras.cohort.allocate import Group, allocate
from histokeras.cohort.ids import base_patient, patient_from_slide
from histokeras.cohort.join import Joined
from histokeras.cohort.labels import Cohort, find_target, read_cohort
from histokeras.cohort.numbers import by_quantiles
from histokeras.cohort.outcome_labels import by_outcome
from histokeras.cohort.site_folds import fold_sites
from histokeras.cohort.sites import Sites, read_sites
from histokeras.cohort.split_file import read_split, split_text, write_split
from histokeras.cohort.split_table import Split, apply_split, build_table, require_no_leak
from histokeras.errors import ConfigError, TableError
from histokeras.types import (
    CLASSIFICATION,
    FOLD,
    LABEL,
    PATIENT_ID,
    REGRESSION,
    SLIDE_ID,
    SPLIT,
    SPLITS,
    SURVIVAL,
    TILE,
)

__all__ = [
    "Split",
    "apply_split",
    "count_patients",
    "count_strata",
    "parse_shares",
    "read_split",
    "require_no_leak",
    "split_patients",
    "split_text",
    "split_units",
    "write_split",
]

SHARES = (70.0, 15.0, 15.0)
"""Default percent of train, val and test."""
_BALANCED = {REGRESSION: by_quantiles, SURVIVAL: by_outcome}
"""What a split balances where labels are no classes."""
_GROUP = "_group"
_SIDE = "_side"


def parse_shares(text: str) -> tuple[float, float, float]:
    """Read shares such as ``70/15/15`` or ``0.7/0.15/0.15``; see ``split_patients``.

    Raises:
        ConfigError: If they are not three numbers, or not allowed.
    """
    try:
        values = [float(part) for part in text.split("/")]
    except ValueError:
        values = []
    if len(values) != 3:
        raise ConfigError(f"`shares` are train/val/test such as 70/15/15. Received: {text!r}")
    return _percent(values)


def split_patients(
    source: pd.DataFrame | Cohort,
    *,
    target: str | None = None,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    stratify: Sequence[str] = (),
    folds: int | None = None,
    preserve_site: bool = False,
    patients_unknown: bool = False,
) -> Split:
    """Put each patient on one side.

    Each class gets its shares rounded down or up, and stands on every side; within a class the
    values of ``stratify`` are spread evenly. A patient whose rows bear several labels counts as a
    class of its own, "a+b". Of a target that is a number (regression) the quantiles of the means of
    the patients are balanced, at most five; of survival the events, quantiles of their times, and
    who was censored. The row order does not matter.

    Args:
        source: Any table with a patient column (or slide names that are TCGA barcodes), or a
            cohort, whose own target then counts.
        target: The label column to balance; None for none.
        shares: Train, val and test, in percent or as fractions. Train and val must be above 0
            (early stopping needs val); test may be 0.
        seed: Any whole number.
        stratify: Further columns to balance.
        folds: Make this many folds (at least 3) instead of ``shares``.
        preserve_site: Put no site into two folds; needs ``folds``, excludes ``stratify``, and the
            seed does not matter. Sites are those of the table, else of the TCGA barcode.
        patients_unknown: Accept rows without a patient: each slide, or tile, is then split on its
            own, and ``note`` says so.

    Returns:
        The signed split.

    Raises:
        ConfigError: If shares or folds are impossible, or options exclude each other.
        TableError: If a column is missing, patients are unknown (PATIENT_UNKNOWN), or a class has
            too few patients (SPLIT_IMPOSSIBLE).
    """
    cohort = source if isinstance(source, Cohort) else read_cohort(source, target=target)
    groups, unit, note = _patients(cohort.table, patients_unknown)
    how = _How(shares, seed, tuple(stratify), folds, cohort.label_rows, cohort.task)
    sites = how.sites(cohort, groups) if preserve_site else None
    table = cohort.table.assign(**{_GROUP: groups})
    return dataclasses.replace(how.split(table, cohort.target, unit, sites), note=note)


def split_units(
    joined: Joined,
    *,
    target: str = LABEL,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    stratify: Sequence[str] = (),
    folds: int | None = None,
    sites: Sites | None = None,
) -> Split:
    """Split the patients of slides or tiles that have been joined to their labels.

    Args:
        joined: Units with ``patient_id`` and ``label``.
        target: The name of the label column, for the split's first line.
        shares: As for ``split_patients``.
        seed: As for ``split_patients``.
        stratify: As for ``split_patients``; columns of ``joined.units``.
        folds: As for ``split_patients``.
        sites: Put none of them into two folds; needs ``folds``, excludes ``stratify``.

    Returns:
        The signed split; its ``note`` is that of ``joined``.

    Raises:
        ConfigError: As for ``split_patients``.
        TableError: As for ``split_patients``.
    """
    how = _How(shares, seed, tuple(stratify), folds, joined.label_rows, joined.task)
    if sites is not None:
        how.require_site_folds()
    table = joined.units.assign(**{_GROUP: joined.units[PATIENT_ID]})
    return dataclasses.replace(how.split(table, target, joined.unit, sites), note=joined.note)


def count_patients(split: Split, cohort: Cohort) -> pd.DataFrame:
    """Count patients and classes on each side.

    Args:
        split: The split of the cohort.
        cohort: The cohort; a patient with two labels counts in both classes.

    Returns:
        One row per side or fold; columns ``patients`` and one per class; for a target that is a
        number its ``mean`` over the patients instead.
    """
    table = _placed(split, cohort)
    counts = pd.DataFrame({"patients": table.groupby(_SIDE)[_GROUP].nunique()})
    for name in cohort.classes:
        counts[name] = table[table[LABEL] == name].groupby(_SIDE)[_GROUP].nunique()
    counts = _in_order(counts, split)
    if cohort.task == REGRESSION and cohort.target:
        own = table[LABEL].astype(float).groupby([table[_SIDE], table[_GROUP]]).mean()
        counts["mean"] = own.groupby(level=0).mean().round(4)
    return counts


def count_strata(split: Split, cohort: Cohort) -> dict[str, pd.DataFrame]:
    """Count patients with each value of the columns that the split balanced, on each side.

    Args:
        split: The split of the cohort.
        cohort: The cohort; a patient with two values counts in both.

    Returns:
        For each column of ``split.stratify`` one row per side or fold and one column per value.

    Raises:
        TableError: If the cohort lacks a column.
    """
    table = _placed(split, cohort)
    strata = {}
    for wanted in split.stratify:
        column = find_target(cohort.table, wanted)
        seen = table[[_SIDE, _GROUP, column]].drop_duplicates()
        counts = seen.groupby([_SIDE, column]).size().unstack(fill_value=0)
        strata[column] = _in_order(counts, split)
    return strata


def _placed(split: Split, cohort: Cohort) -> pd.DataFrame:
    """Return the table of the cohort with the group and the side of each row."""
    table = cohort.table.copy()
    table[_GROUP], _, _ = _patients(table, accepted=True)
    sides = dict(zip(split.table[split.unit], split.table[split.column], strict=True))
    table[_SIDE] = [sides.get(group) for group in table[_GROUP]]
    return table


def _in_order(counts: pd.DataFrame, split: Split) -> pd.DataFrame:
    order = SPLITS if split.folds is None else range(split.folds)
    return counts.reindex(list(order)).fillna(0).astype(int).rename_axis(split.column)


def _percent(shares: Sequence[float]) -> tuple[float, float, float]:
    """Return shares in percent.

    Raises:
        ConfigError: If they are not three, negative, or do not sum to 100 (or 1).
    """
    values = [float(share) for share in shares]
    total = sum(values)
    factor = 100 if abs(total - 1) < 1e-6 else 1
    if len(values) != 3 or min(values) < 0 or abs(total * factor - 100) > 1e-4:
        raise ConfigError(
            f"`shares` are three numbers that sum to 100 (or 1). Received: shares={tuple(shares)}"
        )
    if values[0] <= 0 or values[1] <= 0:
        raise ConfigError(
            "`shares` of train and val must be above 0 (training stops early on val); test may be "
            f"0. Received: shares={tuple(shares)}"
        )
    train, val, test = (round(value * factor, 6) for value in values)
    return train, val, test


def _patients(table: pd.DataFrame, accepted: bool) -> tuple[list[str], str, str]:
    """Return the patient of each row (or what stands for it), the unit, and the note."""
    blank = [""] * len(table)
    given, slides, tiles = (
        table[name].tolist() if name in table.columns else blank
        for name in (PATIENT_ID, SLIDE_ID, TILE)
    )
    # A further sample (TCGA-BH-A1ES-1) lies where its patient does.
    patients = [
        base_patient(patient) or patient_from_slide(slide) or ""
        for patient, slide in zip(given, slides, strict=True)
    ]
    n_unknown = patients.count("")
    if not n_unknown:
        return patients, PATIENT_ID, ""
    if not accepted:
        raise TableError(
            f"the patient of {n_unknown} of {len(table)} row(s) is unknown; the columns are "
            f"{[name for name in table.columns if name != LABEL]}.",
            code="PATIENT_UNKNOWN",
            hint="Add a `patient_id` column, or accept a split that is not patient-safe with "
            "`--patients-unknown`.",
        )
    groups = [
        patient or slide or tile
        for patient, slide, tile in zip(patients, slides, tiles, strict=True)
    ]
    by_tile = [not slide for patient, slide in zip(patients, slides, strict=True) if not patient]
    column = TILE if any(by_tile) else SLIDE_ID
    alone = n_unknown == len(table) and all(by_tile) == any(by_tile)
    note = f"{column.removesuffix('_id')}-level, not patient-safe"
    return groups, column if alone else PATIENT_ID, note


@dataclass(frozen=True)
class _How:
    """How to split: what ``split_patients`` and ``split_units`` share."""

    shares: Sequence[float]
    seed: int
    stratify: tuple[str, ...]
    folds: int | None
    label_rows: Mapping[str, int] = field(default_factory=dict)
    task: str = CLASSIFICATION

    def sites(self, cohort: Cohort, groups: list[str]) -> Sites:
        """Return the site of each group."""
        self.require_site_folds()
        return read_sites(cohort, groups)

    def require_site_folds(self) -> None:
        """Refuse options that do not go with sites that are kept whole."""
        if self.folds is None or self.stratify:
            raise ConfigError(
                "`--preserve-site` makes folds and balances the target alone: give `--cv K` and no "
                "`--shares` or `--stratify`."
            )

    def split(
        self, table: pd.DataFrame, target: str, unit: str, sites: Sites | None = None
    ) -> Split:
        """Split the groups of a table that has the column ``_GROUP``."""
        # A message about a missing column lists the user's columns, not ours.
        shown = table.drop(columns=_GROUP)
        columns = [find_target(shown, name) for name in self.stratify]
        if target and self.task in _BALANCED:
            table = _BALANCED[self.task](table, _GROUP, self.folds or len(SPLITS))
        groups = _collect(table, columns, labelled=bool(target))
        made = (
            self._folds(groups, unit, sites)
            if self.folds is not None
            else self._shares(groups, unit)
        )
        return dataclasses.replace(
            made, seed=self.seed, target=target, stratify=self.stratify, signed=True
        )

    def _folds(self, groups: list[Group], unit: str, sites: Sites | None) -> Split:
        folds = self.folds or 0
        if folds < 3:
            raise ConfigError(
                "cross-validation needs at least 3 folds (test, val, train). "
                f"Received: folds={folds}"
            )
        if sites is not None:
            made = fold_sites(groups, sites.of_group, folds)
            pairs = [(group.id, made.folds[sites.of_group[group.id]]) for group in groups]
            facts = {"from": sites.source, **made.facts}
            return Split(build_table(pairs, unit, FOLD), unit, folds=folds, sites=facts)
        shares = [Fraction(1, folds)] * folds
        sides = allocate(groups, shares, seed=self.seed, label_rows=self.label_rows)
        return Split(build_table(list(sides.items()), unit, FOLD), unit, folds=folds)

    def _shares(self, groups: list[Group], unit: str) -> Split:
        percent = _percent(self.shares)
        named = [(side, share) for side, share in zip(SPLITS, percent, strict=True) if share > 0]
        # Fractions: 0.29 * 100 patients is 28.999999999999996 in floating point.
        exact = [Fraction(str(share)) for _, share in named]
        parts = [share / sum(exact) for share in exact]
        sides = allocate(groups, parts, seed=self.seed, label_rows=self.label_rows)
        rows = build_table([(name, named[side][0]) for name, side in sides.items()], unit, SPLIT)
        return Split(rows, unit, shares=percent)


def _collect(table: pd.DataFrame, columns: Sequence[str], *, labelled: bool) -> list[Group]:
    """Return one group per patient with all its labels and strata."""
    wanted = ([LABEL] if labelled else []) + list(columns)
    values: dict[str, list[set[str]]] = {}
    for group, *cells in table[[_GROUP, *wanted]].itertuples(index=False):
        sets = values.setdefault(group, [set() for _ in wanted])
        for found, cell in zip(sets, cells, strict=True):
            found.add(str(cell))
    n_labels = 1 if labelled else 0
    return [
        Group(
            id=name,
            labels=tuple(sorted(sets[0])) if labelled else (),
            stratum=tuple("+".join(sorted(found)) for found in sets[n_labels:]),
        )
        for name, sets in values.items()
    ]
