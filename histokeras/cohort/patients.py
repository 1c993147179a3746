"""Who the patient of a slide or tile is, from whichever table or name knows it."""

from collections.abc import Mapping

import pandas as pd

from histokeras.cohort.ids import Matcher, canonical_patient, patient_from_slide, slide_stem
from histokeras.cohort.labels import require_one_patient
from histokeras.errors import TableError
from histokeras.types import PATIENT_ID, SLIDE_ID, TILE

_SHOWN = 5


class PatientFinder:
    """Find patients in the tables at hand, else in the TCGA barcode, else in the slide's own name.

    Args:
        tables: Tables with canonical ids and any of ``patient_id``, ``slide_id`` and ``tile``.
        slide_patients: Further pairs slide_id -> patient_id.

    Raises:
        TableError: If a slide or tile belongs to two patients, in one table or between them.
    """

    def __init__(self, tables: list[pd.DataFrame], slide_patients: Mapping[str, str]) -> None:
        slides = [
            (slide_stem(slide), canonical_patient(patient))
            for slide, patient in slide_patients.items()
            if patient.strip()
        ]
        slides += [pair for table in tables for pair in _pairs(table, SLIDE_ID)]
        self._by_slide = _one_patient_each(slides, SLIDE_ID)
        tiles = [pair for table in tables for pair in _pairs(table, TILE)]
        self._by_tile = _one_patient_each(tiles, TILE)
        self._matcher = Matcher(self._by_slide)
        self._named = frozenset(
            canonical_patient(patient)
            for table in tables
            if PATIENT_ID in table.columns
            for patient in table[PATIENT_ID]
            if patient
        )

    def of_tile(self, tile: str, slide_id: str) -> str:
        """Return the patient of a tile; "" if nobody knows."""
        return self._by_tile.get(tile, "") or self.of_slide(slide_id)

    def of_slide(self, slide_id: str) -> str:
        """Return the patient of a slide; "" if nobody knows.

        Raises:
            TableError: If the slide's name fits slides of two patients.
        """
        keys = self._matcher.find(slide_id)
        candidates = {self._by_slide[key] for key in keys}
        if len(candidates) > 1:
            raise ambiguous(slide_id, keys)
        if candidates:
            return candidates.pop()
        barcode = patient_from_slide(slide_id)
        return barcode or (slide_id if slide_id in self._named else "")


def ambiguous(name: str, keys: tuple[str, ...]) -> TableError:
    """Build the error for a name that fits several rows."""
    return TableError(
        f"{name!r} fits {len(keys)} rows of the table: {', '.join(map(repr, keys[:_SHOWN]))}.",
        code="ID_AMBIGUOUS",
        hint="Write the full name in the table, or remove the other rows.",
    )


def _pairs(table: pd.DataFrame, key: str) -> list[tuple[str, str]]:
    if key not in table.columns or PATIENT_ID not in table.columns:
        return []
    return [
        (name, canonical_patient(patient))
        for name, patient in zip(table[key], table[PATIENT_ID], strict=True)
        if name and patient
    ]


def _one_patient_each(pairs: list[tuple[str, str]], key: str) -> dict[str, str]:
    patients = dict(pairs)
    if len(set(pairs)) > len(patients):
        require_one_patient(pd.DataFrame(pairs, columns=[key, PATIENT_ID]), key)
    return patients
