"""Read hypoxia scores: Bhandari's supplement, cBioPortal's exports, our own; one row a patient."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from histokeras.cohort.categories import SITE, TUMOUR_TYPE, find_category
from histokeras.cohort.hypoxia import REASON, SCORE
from histokeras.cohort.ids import base_patient, canonical_key, sample_type
from histokeras.cohort.labels import find_target
from histokeras.cohort.pseudonyms import patient_pseudonyms
from histokeras.cohort.tcga import FIRST_NORMAL
from histokeras.errors import TableError
from histokeras.tables import (
    folded_name,
    nearest_name,
    read_table,
    require_columns,
    row_numbers,
    with_standard_columns,
)
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.types import PATIENT_ID

ID, ROW, BASE, KEPT = "_id", "row", "_patient", "_kept"
_SIGNATURE = ("{}_hypoxia_score_pan_cancer", "{}_hypoxia_pan_cancer_score", "{}_hypoxia_score")
_DEFAULTS = (*(name.format("buffa") for name in _SIGNATURE), SCORE)
_FURTHER = 1000


@dataclass(frozen=True)
class ScoreTable:
    """Hypoxia scores that have been checked.

    Attributes:
        table: One row a patient (or sample), index 0..n-1: ``patient_id``, ``score`` (float64),
            ``tumour_type`` ("" unknown), ``row`` (number in the file), ``_id`` (as in the file),
            ``_patient`` (the patient without a sample's suffix), and ``site`` where the file has
            such a column.
        dropped: Rows left out, with the same columns, ``reason``, and ``_kept``: the row number of
            the same patient that was kept, 0 if none.
        score_column: Where the scores stand in the file.
        type_column: Where the tumour types stand; "" if nowhere.
        n_rows: Rows of the file.
        notes: Sentences for the person at the screen.
    """

    table: pd.DataFrame
    dropped: pd.DataFrame
    score_column: str
    type_column: str
    n_rows: int
    notes: tuple[str, ...] = ()


def read_scores(
    path: Path,
    *,
    score: str | None = None,
    type_column: str | None = None,
    keep_samples: bool = False,
) -> ScoreTable:
    """Read a table of hypoxia scores and bring it to one row a patient.

    Of several rows of a TCGA patient the one without a suffix counts, else that of the lowest
    sample type. Rows without a score, of normal tissue, and repeated ones are dropped and listed.

    Args:
        path: A .csv, .tsv, .txt or .xlsx file; see :func:`histokeras.tables.read_table`.
        score: Column of the score, or a signature's name such as ``Winter``; the Buffa pan-cancer
            score, or a column ``score``, if None.
        type_column: Column of the tumour type; found by its usual names if None.
        keep_samples: Keep all rows of a patient under their ids as they stand.

    Returns:
        The scores.

    Raises:
        TableError: If a column is missing or ambiguous, no score is a number (SCORES_MISSING), or
            one id has two scores or tumour types (SCORES_CONFLICT).
    """
    raw = read_table(path, name="score table")
    named = with_standard_columns(raw, (PATIENT_ID,))
    require_columns(named, (PATIENT_ID,), name=f"score table {path}")
    score_column = _find_score(named, score)
    found = _find_type(named, type_column)
    texts = named[score_column].tolist()
    ids = [canonical_key(text) for text in named[PATIENT_ID]]
    table = pd.DataFrame(
        {
            PATIENT_ID: ids if keep_samples else [base_patient(name) for name in ids],
            ID: ids,
            SCORE: [_number(text) for text in texts],
            TUMOUR_TYPE: named[found].tolist() if found else [""] * len(ids),
            ROW: row_numbers(raw),
            BASE: [base_patient(name) for name in ids],
            REASON: [_why_not(name, text) for name, text in zip(ids, texts, strict=True)],
            KEPT: 0,
        }
    )
    if site := find_category(named.columns, SITE):
        table[SITE] = named[site].tolist()
    if not len(table) or table[SCORE].isna().all():
        raise TableError(
            f"score table {path}: column `{score_column}` holds no number in {len(table)} row(s).",
            code="SCORES_MISSING",
            hint="Choose another column with `--score`.",
        )
    notes = list(raw.attrs.get("notes", ()))
    table = _collapse(table)
    kept = table[table[REASON] == ""]
    notes += _suffix_note(kept[ID], keep_samples=keep_samples)
    return ScoreTable(
        kept.drop(columns=[REASON, KEPT]).reset_index(drop=True),
        table[table[REASON] != ""].reset_index(drop=True),
        score_column,
        found,
        len(table),
        tuple(notes),
    )


def scores_under_pseudonyms(scores: ScoreTable, pseudonyms: Pseudonyms | None) -> ScoreTable:
    """Return scores with pseudonyms for their patients.

    Args:
        scores: From :func:`read_scores`, which chose among the samples of a patient.
        pseudonyms: None for scores that stay as they are. A further sample that has no row of its
            own (``TCGA-BH-A1ES-1``) is listed as its patient, unless samples are kept.

    Raises:
        TableError: PSEUDONYM_MISSING with the first patients that have none, and their number.
    """
    if pseudonyms is None:
        return scores
    parts = (scores.table, scores.dropped)
    needed = pd.concat([part[name] for part in parts for name in (PATIENT_ID, BASE)])
    known = patient_pseudonyms([name for name in needed if name], pseudonyms) | {"": ""}
    table, dropped = (_under_pseudonyms(part, known) for part in parts)
    notes = tuple(pseudonyms.masked(note) for note in scores.notes)
    return dataclasses.replace(scores, table=table, dropped=dropped, notes=notes)


def _under_pseudonyms(table: pd.DataFrame, known: Mapping[str, str]) -> pd.DataFrame:
    rows = table.assign(
        **{
            PATIENT_ID: [known[name] for name in table[PATIENT_ID]],
            BASE: [known[name] for name in table[BASE]],
            ID: [
                known.get(name, known[base])
                for name, base in zip(table[ID], table[BASE], strict=True)
            ],
        }
    )
    if REASON in table:
        rows[REASON] = [
            why.replace(f" of {name} is", f" of {known[name]} is")
            for why, name in zip(table[REASON], table[PATIENT_ID], strict=True)
        ]
    return rows


def _find_score(table: pd.DataFrame, wanted: str | None) -> str:
    names = [str(name) for name in table.columns]
    if wanted is not None:
        signature = [form.format(folded_name(wanted)) for form in _SIGNATURE]
        found = [] if wanted in names else [n for n in names if folded_name(n) in signature]
        return _one_score(table, found) if found else find_target(table, wanted)
    found = [name for name in names if folded_name(name) in _DEFAULTS]
    if found:
        return _one_score(table, found)
    others = [name for name in names if "hypoxia" in name.casefold()]
    near = others[0] if others else nearest_name(_DEFAULTS[0], names)
    raise TableError(
        f"the score table has no Buffa pan-cancer score and no `score`; it has {names}.",
        code="COLUMN_MISSING",
        hint=f"Name the column with `--score`, such as `--score {near}`."
        if near
        else "Name the column with `--score`.",
    )


def _one_score(table: pd.DataFrame, found: Sequence[str]) -> str:
    if all(bool((table[found[0]] == table[other]).all()) for other in found[1:]):
        return found[0]
    raise TableError(
        f"columns {list(found)} could each be the score.",
        code="COLUMN_AMBIGUOUS",
        hint="Choose one with `--score`.",
    )


def _find_type(table: pd.DataFrame, wanted: str | None) -> str:
    if wanted is not None:
        return find_target(table, wanted)
    return find_category(table.columns, TUMOUR_TYPE) or ""


def _number(text: str) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _why_not(name: str, text: str) -> str:
    if not name:
        return "no patient id"
    sample = sample_type(name)
    if sample is not None and int(sample) >= FIRST_NORMAL:
        return f"normal tissue: sample type {sample}"
    if not text:
        return "no score"
    return f"no number: {text!r}" if math.isnan(_number(text)) else ""


def _rank(name: str) -> int:
    """Return how late the row of an id comes among those of its patient."""
    sample = sample_type(name)
    if sample is not None:
        return 1 + int(sample)
    return 0 if name == base_patient(name) else _FURTHER + int(name[-1])


def _collapse(table: pd.DataFrame) -> pd.DataFrame:
    """Give every further row of a patient its reason; refuse one id that says two things."""
    ranked = table.assign(_rank=[_rank(name) for name in table[ID]])
    usable = ranked[ranked[REASON] == ""].sort_values(["_rank", ROW])
    _require_one_score(usable)
    reasons, kept_rows = table[REASON].tolist(), table[KEPT].tolist()
    first: dict[str, tuple[str, int]] = {}
    for position, patient, name, row in zip(
        usable.index, usable[PATIENT_ID], usable[ID], usable[ROW], strict=True
    ):
        kept_name, kept_row = first.setdefault(patient, (name, row))
        if kept_row != row:
            what = "duplicate" if kept_name == name else "further sample"
            reasons[position] = f"{what}: row {kept_row} of {patient} is kept"
            kept_rows[position] = kept_row
    return table.assign(**{REASON: reasons, KEPT: kept_rows})


def _require_one_score(usable: pd.DataFrame) -> None:
    pairs = usable.drop_duplicates([ID, SCORE, TUMOUR_TYPE])
    twice = pairs[pairs.duplicated(ID, keep=False)]
    if twice.empty:
        return
    shown = [
        f"{name!r} has "
        + " and ".join(
            f"{row[SCORE]:g}{f' in {row[TUMOUR_TYPE]}' if row[TUMOUR_TYPE] else ''} "
            f"(row {row[ROW]})"
            for _, row in part.iterrows()
        )
        for name, part in list(twice.groupby(ID, sort=False))[:5]
    ]
    raise TableError(
        f"{twice['_id'].nunique()} id(s) have two scores or tumour types: {'; '.join(shown)}.",
        code="SCORES_CONFLICT",
        hint="Correct or remove one of the rows.",
    )


def _suffix_note(ids: Iterable[str], *, keep_samples: bool) -> list[str]:
    """Name further samples that stand for their patient, or beside it."""
    suffixed = [name for name in ids if _rank(name) >= _FURTHER]
    if not suffixed:
        return []
    if keep_samples:
        return [f"{len(suffixed)} further sample(s), first {suffixed[0]!r}, fit no slide"]
    return [
        f"{len(suffixed)} patient(s) have a score only under the id of a further sample, first "
        f"{suffixed[0]!r}"
    ]
