"""Label patients by a hypoxia score; list every row that is left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from histokeras.cohort.categories import SITE, TUMOUR_TYPE
from histokeras.cohort.hypoxia import (
    BY_TYPE,
    HYPOXIC,
    NON_HYPOXIC,
    REASON,
    SCALED,
    SCORE,
    THRESHOLD,
    UNKNOWN,
    FittedRule,
    HypoxiaRule,
    apply_rule,
    count_labels,
    fit_rule,
)
from histokeras.cohort.hypoxia_table import BASE, ID, KEPT, ROW, ScoreTable
from histokeras.cohort.split_table import Split
from histokeras.config import nearest
from histokeras.errors import ConfigError, TableError
from histokeras.types import LABEL, PATIENT_ID, SPLITS

RULE, LEARNED_FROM = "rule", "learned_from"
NOT_ASKED = "tumour type not asked for"
COLUMNS = (PATIENT_ID, LABEL, SCORE, THRESHOLD, SCALED, TUMOUR_TYPE, RULE)


@dataclass(frozen=True)
class HypoxiaLabels:
    """Labels of patients, and how they came about.

    Attributes:
        table: One row a patient, in the order of the file, columns ``COLUMNS``: label is hypoxic
            or non-hypoxic; ``rule`` is the same in every row. ``site`` follows where the scores'
            table has it, so that folds can preserve it.
        dropped: Every row without a label: ``kind`` (row), ``id``, ``reason``, ``row``.
        counts: From :func:`histokeras.cohort.hypoxia.count_labels`; with a split also
            ``learned_from``, the training patients of each type.
        fitted: The thresholds.
        facts: What the record says of the input: columns, number of rows, the split's digest.
        notes: Sentences for the person at the screen.
    """

    table: pd.DataFrame
    dropped: pd.DataFrame
    counts: pd.DataFrame
    fitted: FittedRule
    facts: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def rule(self) -> str:
        """The rule as the table names it."""
        return str(self.table[RULE].iloc[0])

    def left_out(self) -> str:
        """Return why rows were left out, with counts: "further sample 51, no score 2"."""
        reasons = self.dropped["reason"].str.partition(":")[0].value_counts(sort=False)
        return ", ".join(f"{reason} {n}" for reason, n in reasons.items())


def label_hypoxia(
    scores: ScoreTable,
    rule: HypoxiaRule,
    *,
    tumour_types: Sequence[str] = (),
    split: Split | None = None,
) -> HypoxiaLabels:
    """Label patients hypoxic or non-hypoxic.

    Args:
        scores: From :func:`histokeras.cohort.hypoxia_table.read_scores`.
        rule: Above which score a tumour is hypoxic.
        tumour_types: Label these types only, in any case; all if empty. The pooled median is still
            that of all types.
        split: Learn medians from its training patients only; all others are labelled by them.

    Returns:
        The labels. Patients of a tumour type that the split has no training patient of (or fewer
        than ``rule.min_group``) stay unlabelled and are listed.

    Raises:
        TableError: If tumour types are needed and unknown, the split has no training patient of
            the table (NO_OVERLAP), or a class is left without patients (SPLIT_IMPOSSIBLE).
        ConfigError: If a tumour type does not occur, or the split is none of patients.
    """
    if not scores.type_column and (rule.group == BY_TYPE or tumour_types):
        raise TableError(
            "the score table has no column of tumour types.",
            code="COLUMN_MISSING",
            hint="Name it with `--tumour-type-column`. If all patients have one type, "
            "`--rule pooled` takes their median.",
        )
    table = scores.table
    wanted = _wanted_types(
        tumour_types, sorted({*table[TUMOUR_TYPE], *scores.dropped[TUMOUR_TYPE]})
    )
    train, notes = _training_rows(table, split)
    values, types = table[SCORE].to_numpy(np.float64), table[TUMOUR_TYPE].tolist()
    fitted = fit_rule(rule, values[train], table[TUMOUR_TYPE][train].tolist())
    labelled = apply_rule(fitted, values, types)
    dropped = [_further_samples(scores.dropped, table, labelled, fitted)]
    asked = np.array([not wanted or name in wanted for name in types], dtype=np.bool_)
    why = labelled[REASON].where(asked, [f"{NOT_ASKED}: {name or UNKNOWN}" for name in types])
    dropped.append(_listed(table[why != ""], why[why != ""]))
    counts = count_labels(values[asked], table[TUMOUR_TYPE][asked].tolist(), labelled[asked])
    if split is not None:
        counts[LEARNED_FROM] = _learned_from(table[TUMOUR_TYPE][train & asked], counts.index)
    text = rule.text + (" fitted on train" if split is not None else "")
    result = pd.concat([table, labelled], axis=1).assign(**{RULE: text})[why == ""]
    _require_both(result[LABEL], rule)
    columns = [*COLUMNS, *([SITE] if SITE in table else [])]
    return HypoxiaLabels(
        result[columns].reset_index(drop=True).pipe(_whole_numbers),
        pd.concat([part for part in dropped if len(part)] or dropped, ignore_index=True),
        counts,
        fitted,
        {
            "rows": scores.n_rows,
            "score_column": scores.score_column,
            "type_column": scores.type_column,
            "fit_on": split.digest if split is not None else None,
        },
        (*scores.notes, *notes, *fitted.notes(), *_one_sided(counts)),
    )


def _wanted_types(tumour_types: Sequence[str], known: Sequence[str]) -> set[str]:
    by_folded = {name.casefold(): name for name in known if name}
    for name in tumour_types:
        if name.casefold() not in by_folded:
            raise ConfigError(
                f"`--tumour-types`: the table has no {name!r}.",
                hint=nearest(name.upper(), list(by_folded.values())),
            )
    return {by_folded[name.casefold()] for name in tumour_types}


def _training_rows(
    table: pd.DataFrame, split: Split | None
) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], list[str]]:
    """Return which rows medians are learned from, bool (n,), and what to say of it."""
    if split is None:
        return np.ones(len(table), np.bool_), []
    if split.unit != PATIENT_ID or split.folds is not None:
        what = f"of {split.unit}" if split.unit != PATIENT_ID else f"of {split.folds} folds"
        raise ConfigError(
            f"`--fit-on` needs one training side of patients; this split is {what}.",
            hint="Make one with `histokeras split --shares 70/15/15`.",
        )
    given = split.sides()
    sides = [given.get(patient, "") for patient in table[BASE]]
    train = np.array([side == SPLITS[0] for side in sides], dtype=np.bool_)
    if not train.any():
        raise TableError(
            f"none of the {len(table)} patients of the score table is a training patient of the "
            f"split: ids look like {table[PATIENT_ID].iloc[0]!r} and "
            f"{split.table[PATIENT_ID].iloc[0]!r}.",
            code="NO_OVERLAP",
            hint="Make the split from the same table with `histokeras split`.",
        )
    outside = sides.count("")
    notes = [f"medians are those of {int(train.sum())} training patients"]
    if outside:
        notes.append(
            f"{outside} patient(s) are not in the split: labelled, nothing learned of them"
        )
    return train, notes


def _further_samples(
    dropped: pd.DataFrame, table: pd.DataFrame, labelled: pd.DataFrame, fitted: FittedRule
) -> pd.DataFrame:
    """List the rows that reading dropped; say which further samples have the opposite label."""
    labels = dict(zip(table[ROW], labelled[LABEL], strict=True))
    scored = dropped[SCORE].fillna(0).to_numpy(np.float64)
    own = apply_rule(fitted, scored, dropped[TUMOUR_TYPE].tolist())[LABEL]
    reasons = []
    for reason, row, label in zip(dropped[REASON], dropped[KEPT], own, strict=True):
        kept = labels.get(row, "")
        opposite = bool(kept) and bool(label) and kept != label
        what, colon, rest = reason.partition(":")
        reasons.append(f"{what} with the opposite label{colon}{rest}" if opposite else reason)
    return _listed(dropped, pd.Series(reasons, index=dropped.index, dtype=object))


def _listed(rows: pd.DataFrame, reasons: pd.Series) -> pd.DataFrame:
    return pd.DataFrame(
        {"kind": "row", "id": rows[ID], "reason": reasons, "row": rows[ROW]}
    ).astype({"kind": object})


def _learned_from(types: pd.Series, names: pd.Index) -> list[int]:
    counts = types.replace("", UNKNOWN).value_counts()
    return [int(counts.get(name, 0)) for name in names[:-1]] + [len(types)]


def _require_both(labels: pd.Series, rule: HypoxiaRule) -> None:
    for one, other in ((HYPOXIC, NON_HYPOXIC), (NON_HYPOXIC, HYPOXIC)):
        n = int((labels == other).sum())
        if not (labels == one).any():
            raise TableError(
                f"`--rule {rule.text}` leaves no {one} patient, and {n} {other}.",
                code="SPLIT_IMPOSSIBLE",
                hint="Nothing can be learned from one class: take another rule or more patients."
                if n
                else "See why with fewer conditions: `--min-group 1`, all tumour types.",
            )


def _one_sided(counts: pd.DataFrame) -> list[str]:
    """Name tumour types that hold one class only: there the type alone tells the label."""
    rows = counts.iloc[:-1]
    return [
        f"{name}: no {one} patient among {int(row['n'])}"
        for name, row in rows.iterrows()
        for one in (HYPOXIC, NON_HYPOXIC)
        if row[one] == 0 and name != UNKNOWN
    ]


def _whole_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Write -13, not -13.0, where all scores or thresholds are whole."""
    whole = [name for name in (SCORE, THRESHOLD) if (table[name] % 1 == 0).all()]
    return table.astype(dict.fromkeys(whole, np.int64))
