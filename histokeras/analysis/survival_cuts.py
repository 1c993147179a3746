"""Cut-offs that are given, and patients who lack the number that is cut."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from histokeras.analysis.cutoff import HIGH, LOW
from histokeras.analysis.lymph_patients import FLAGS, INCOMPLETE, LEARNED
from histokeras.analysis.metrics import Bools
from histokeras.analysis.survival_columns import OF_NODES, asked_name, title_of
from histokeras.cohort.clinical import Clinical
from histokeras.cohort.clinical_columns import BINARY, NUMBER
from histokeras.cohort.ids import canonical_patient
from histokeras.errors import ConfigError, TableError
from histokeras.runs.union import unfinished
from histokeras.tables import read_table, with_standard_columns
from histokeras.types import PATIENT_ID

Cuts = Sequence[tuple[str, float]]
"""Columns, and where each is cut."""
_SHOWN = 3
_FLAGGED = {
    INCOMPLETE: f"lack slides that failed ({FLAGS}: {INCOMPLETE}): their lymph nodes are not all "
    "counted, and no metastasis may mean none was seen",
    LEARNED: "took part in training what found their lymph nodes or tumour: figures are better for "
    "them",
}


def all_groups(groups: Sequence[str], cuts: Cuts, missing_group: str) -> tuple[str, ...]:
    """Return the columns that patients are parted by: those that are cut, too.

    Args:
        groups: Columns that were asked for.
        cuts: Columns whose cut-off is given.
        missing_group: Name of the group of patients without a number; "" for none.

    Raises:
        ConfigError: If a column is cut twice, or the group has another group's name.
    """
    names = [name for name, _ in cuts]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"`--cut` names {twice[0]} twice.", hint="Give one cut-off a column.")
    if missing_group in (LOW, HIGH):
        raise ConfigError(
            f"`--missing-group` cannot be called {missing_group}, as another group is.",
            hint='Choose another name, such as "no metastasis".',
        )
    return tuple(dict.fromkeys((*groups, *names)))


def require_numbers(sources: Sequence[tuple[str, Clinical]], wanted: Sequence[str]) -> None:
    """Refuse columns to be cut that hold no numbers.

    Raises:
        TableError: If one is no number (COLUMN_NO_NUMBER).
    """
    for title, table in sources:
        for asked in wanted:
            name = asked_name(table, asked)
            if name is None or table.kinds[name] == NUMBER:
                continue
            found = sorted(set(table.table[name].dropna().astype(str)))
            why = f"holds no numbers (such as {', '.join(found[:_SHOWN])})"
            if table.kinds[name] == BINARY:
                why = f"has two values ({', '.join(found)})"
            raise TableError(
                f"column `{asked}` of the {title} {why}: it cannot be cut.",
                code="COLUMN_NO_NUMBER",
                hint=f"Draw a curve for each of its groups with --group {asked}.",
            )


def given_cuts(tables: Sequence[Clinical], cuts: Cuts, patients: pd.DataFrame) -> dict[str, float]:
    """Return where columns are cut, by the names that figures call them.

    Args:
        tables: The tables; each column is in one of them.
        cuts: Columns and cut-offs as they were given.
        patients: A row a patient, with the columns.

    Raises:
        TableError: If a cut-off leaves all patients on the same side (CUT_OUTSIDE).
    """
    found = {}
    for wanted, cut in cuts:
        names = ((table, asked_name(table, wanted)) for table in tables)
        column = next(title_of(table, name) for table, name in names if name)
        low, high = patients[column].min(), patients[column].max()
        if not low <= cut < high:
            known = f"are from {low:.4g} to {high:.4g}" if low <= high else "are all missing"
            raise TableError(
                f"cut {wanted}={cut:g} leaves all patients in one group: their numbers {known}.",
                code="CUT_OUTSIDE",
                hint="Give a cut-off in the unit of the table; T/MLN is a fraction, 0 to 1.",
            )
        found[column] = cut
    return found


def unmeasured(tissue: Clinical | None, patients: pd.DataFrame) -> Bools:
    """Return who had no lymph node at all: the lack of T/MLN is then no lack of metastases.

    Args:
        tissue: Table of the tissue; None without.
        patients: A row a patient.

    Returns:
        bool, one a row of ``patients``.
    """
    name = None if tissue is None else asked_name(tissue, "n_nodes")
    if tissue is None or name is None:
        return np.zeros(len(patients), bool)
    # By its text: a count with two values only was read as two classes.
    count = pd.to_numeric(tissue.table[name].astype(str), errors="coerce").to_numpy()
    counts = pd.Series(count, tissue.table[PATIENT_ID].astype(str))
    found: Bools = counts.reindex(patients[PATIENT_ID]).eq(0).to_numpy(bool)
    return found


def folder_notes(path: Path | None, patients: pd.DataFrame) -> tuple[str, ...]:
    """Return what the folder of a table of ``lymph-nodes`` tells: slides that are missing.

    Args:
        path: The table of the tissue; None without.
        patients: A row a patient.
    """
    if path is None:
        return ()
    left = unfinished(path.parent)
    notes = [f"the table of the tissue may be out of date: {left}"] if left else []
    table = with_standard_columns(read_table(path, name="table of the tissue"), (PATIENT_ID,))
    if {PATIENT_ID, FLAGS} <= set(table):
        for flag, said in _FLAGGED.items():
            flagged = table[FLAGS].astype(str).str.contains(flag, regex=False)
            ids = set(map(canonical_patient, table.loc[flagged, PATIENT_ID].astype(str)))
            n = int(patients[PATIENT_ID].isin(ids).sum())
            notes += [f"{n} of {len(patients)} patients {said}"] if n else []
    return tuple(notes)


def node_notes(columns: Mapping[str, Sequence[str]], patients: pd.DataFrame) -> tuple[str, ...]:
    """Return what must be known where models use T/MLN: patients without metastases have none.

    Args:
        columns: Part of a model -> its columns.
        patients: A row a patient, with the columns.
    """
    ratio, count = OF_NODES
    if ratio not in columns.get("table", ()):
        return ()
    n = int(patients[ratio].isna().sum())
    said = (
        f"{n} of {len(patients)} patients have no {ratio} (no metastatic node): models that use it "
        f"leave them out, and --columns {count} would keep them"
    )
    return (said,) if n else ()
