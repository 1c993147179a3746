"""Patients of a clinical table under their pseudonyms."""

import dataclasses

from histokeras.cohort.clinical import Clinical
from histokeras.cohort.pseudonyms import patient_pseudonyms
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.types import PATIENT_ID


def clinical_under_pseudonyms(clinical: Clinical, pseudonyms: Pseudonyms | None) -> Clinical:
    """Return a clinical table with pseudonyms for its patients.

    Args:
        clinical: The table; it is not changed.
        pseudonyms: None for patients that keep their names.

    Raises:
        TableError: PSEUDONYM_MISSING with the first patients that have none, and their number.
    """
    if pseudonyms is None:
        return clinical
    names = clinical.table[PATIENT_ID].tolist()
    known = patient_pseudonyms(names, pseudonyms)
    rows = [known[name] for name in names]
    return dataclasses.replace(
        clinical,
        table=clinical.table.assign(**{PATIENT_ID: rows}),
        # A row without a patient bears no id worth telling.
        dropped=clinical.dropped.assign(id=[known.get(n, "") for n in clinical.dropped["id"]]),
        unreadable=clinical.unreadable.assign(
            **{PATIENT_ID: [known[name] for name in clinical.unreadable[PATIENT_ID]]}
        ),
        notes=tuple(pseudonyms.masked(note) for note in clinical.notes),
    )
