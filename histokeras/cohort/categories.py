"""Facts of a label table that may tell the label without any picture: tumour type and site."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from histokeras.cohort.ids import patient_from_slide
from histokeras.cohort.join import Joined
from histokeras.cohort.labels import Cohort
from histokeras.tables import folded_name
from histokeras.types import LABEL, PATIENT_ID

SITE, TUMOUR_TYPE = "site", "tumour_type"
CATEGORIES = (TUMOUR_TYPE, SITE)
_NAMES = {
    TUMOUR_TYPE: (
        *("tumour_type", "cancer_type_acronym", "tcga_pancanatlas_cancer_type_acronym"),
        *("tumor_type", "cancer_type", "project_id"),
    ),
    SITE: ("site", "center", "centre", "hospital", "institution", "tissue_source_site"),
}
"""Names under which tables (cBioPortal's too) hold them, the first that is there counts."""


def category_values(cohort: Cohort, joined: Joined) -> dict[str, list[str]]:
    """Return tumour type and site of each unit, as far as they are known and vary.

    The site of a TCGA patient without such a column is the second field of the barcode.

    Args:
        cohort: The labels with the other columns of their table.
        joined: The slides or tiles that were joined to them.

    Returns:
        ``tumour_type`` and ``site`` -> one text a unit, "" where unknown. A column is left out if
        it is the target, has one value only, or about as many values as there are patients.
    """
    found = {}
    columns = [name for name in cohort.table.columns if name not in (LABEL, cohort.target)]
    for name in _NAMES:
        column = find_category(columns, name)
        values: list[str] = []
        if column is not None:
            known = dict(zip(cohort.table[cohort.key], cohort.table[column], strict=True))
            values = [str(known[key]) for key in joined.keys]
        if name == SITE and not any(values):
            values = _barcode_sites(joined.units)
        if _varies(values, joined.units):
            found[name] = values
    return found


def patient_categories(
    patients: Iterable[str], found: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, str]]:
    """Settle one tumour type and one site for each patient.

    Args:
        patients: The patient of each unit.
        found: Of :func:`category_values`, or the same columns read from a file: name -> one text a
            unit.

    Returns:
        Name -> patient -> value; "" where it is unknown, or where units of one patient differ:
        such a patient belongs to no single type.
    """
    names = list(patients)
    settled = {}
    for name, values in found.items():
        of_patient: dict[str, set[str]] = {patient: set() for patient in names}
        for patient, value in zip(names, values, strict=True):
            of_patient[patient] |= {value} - {""}
        settled[name] = {
            patient: next(iter(several)) if len(several) == 1 else ""
            for patient, several in of_patient.items()
        }
    return settled


def find_category(columns: Iterable[object], name: str) -> str | None:
    """Return the column that holds the tumour type or the site; None if there is none.

    Args:
        columns: Names of columns; case, blanks and dashes do not matter.
        name: ``tumour_type`` or ``site``.
    """
    by_folded = {folded_name(column): str(column) for column in reversed(list(columns))}
    return next((by_folded[known] for known in _NAMES[name] if known in by_folded), None)


def _barcode_sites(units: pd.DataFrame) -> list[str]:
    patients = [patient_from_slide(str(name)) or "" for name in units[PATIENT_ID]]
    return [patient.split("-")[1] if patient else "" for patient in patients]


def _varies(values: Sequence[str], units: pd.DataFrame) -> bool:
    """Whether values group patients: an id of each patient would not be a category."""
    different = set(values) - {""}
    n_patients = max(units[PATIENT_ID].nunique(), 1)
    return 2 <= len(different) <= n_patients / 2
