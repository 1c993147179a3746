"""The site of each patient, for folds that keep sites whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from histokeras.cohort.categories import SITE, find_category
from histokeras.cohort.ids import patient_from_slide
from histokeras.cohort.labels import Cohort
from histokeras.errors import TableError
from histokeras.types import LABEL

_BARCODE = "barcode"


@dataclass(frozen=True)
class Sites:
    """Where patients come from.

    Attributes:
        of_group: Patient -> site. Names that differ in case or blanks alone are one site.
        source: The column that tells, or "barcode".
    """

    of_group: Mapping[str, str]
    source: str


def read_sites(cohort: Cohort, groups: Sequence[str]) -> Sites:
    """Find the site of each patient: a column of the table, else the TCGA barcode's second part.

    Args:
        cohort: The cohort.
        groups: The patient of each row.

    Returns:
        The sites.

    Raises:
        TableError: SITE_UNKNOWN if a patient has none, or several.
    """
    columns = [name for name in cohort.table.columns if name not in (LABEL, cohort.target)]
    column = find_category(columns, SITE)
    if column is None:
        barcodes = [patient_from_slide(name) or "" for name in groups]
        values = [name.split("-")[1] if name else "" for name in barcodes]
    else:
        values = ["".join(str(text).casefold().split()) for text in cohort.table[column]]
    found: dict[str, set[str]] = {}
    for group, value in zip(groups, values, strict=True):
        found.setdefault(group, set()).update({value} - {""})
    source = _BARCODE if column is None else column
    odd = sorted(group for group, several in found.items() if len(several) != 1)
    if odd:
        raise TableError(
            f"`--preserve-site` needs one site a patient ({source}): {len(odd)} of {len(found)} "
            f"patient(s) have none or several, first {odd[0]!r}.",
            code="SITE_UNKNOWN",
            hint="Fill in a `site` column, or take these patients out of the table.",
        )
    return Sites({group: next(iter(several)) for group, several in found.items()}, source)
