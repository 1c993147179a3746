"""The site of each patient: for folds that keep sites whole, and to probe features for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from histokeras.cohort.categories import SITE, find_category
from histokeras.cohort.ids import patient_from_slide
from histokeras.cohort.join import Joined
from histokeras.cohort.labels import Cohort
from histokeras.errors import TableError
from histokeras.types import LABEL, PATIENT_ID

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
    column = _column(cohort)
    values = _barcode_sites(groups) if column is None else cohort.table[column].tolist()
    return _one_each(groups, values, _BARCODE if column is None else column)


def read_unit_sites(cohort: Cohort, joined: Joined) -> Sites:
    """Find the site of each patient of the slides or tiles that were joined to a label table.

    Args:
        cohort: The labels, with the other columns of their table.
        joined: Slides or tiles with their patients.

    Returns:
        The sites, as :func:`read_sites` finds them.

    Raises:
        TableError: SITE_UNKNOWN if a patient has none, or several.
    """
    values, source = _of_units(cohort, joined)
    return _one_each(joined.units[PATIENT_ID].tolist(), values, source)


def known_sites(cohort: Cohort, joined: Joined) -> Sites:
    """Find the sites of those patients that have one, under the names that the table gives them.

    Args:
        cohort: The labels, with the other columns of their table.
        joined: Slides or tiles with their patients.

    Returns:
        The sites, those of the barcode also where the column is empty; patients with none or
        several are not in it. Of names that are one site the first in the alphabet stands for all.
    """
    values, source = _of_units(cohort, joined)
    if not any(values):
        values, source = _barcode_sites(joined.units[PATIENT_ID]), _BARCODE
    spelled = {_folded(value): str(value).strip() for value in sorted(values, reverse=True)}
    found = _collected(joined.units[PATIENT_ID].tolist(), values)
    known = {group: next(iter(several)) for group, several in found.items() if len(several) == 1}
    return Sites({group: spelled[value] for group, value in known.items()}, source)


def _column(cohort: Cohort) -> str | None:
    columns = [name for name in cohort.table.columns if name not in (LABEL, cohort.target)]
    return find_category(columns, SITE)


def _of_units(cohort: Cohort, joined: Joined) -> tuple[list[str], str]:
    """Return the site of each unit as the table or the barcode has it, and which of them tells."""
    column = _column(cohort)
    if column is None:
        return _barcode_sites(joined.units[PATIENT_ID]), _BARCODE
    known = dict(zip(cohort.table[cohort.key], cohort.table[column].astype(str), strict=True))
    return [known[key] for key in joined.keys], column


def _barcode_sites(groups: Iterable[str]) -> list[str]:
    barcodes = [patient_from_slide(name) or "" for name in groups]
    return [name.split("-")[1] if name else "" for name in barcodes]


def _folded(value: object) -> str:
    return "".join(str(value).casefold().split())


def _collected(groups: Sequence[str], values: Sequence[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for group, value in zip(groups, values, strict=True):
        found.setdefault(group, set()).update({_folded(value)} - {""})
    return found


def _one_each(groups: Sequence[str], values: Sequence[str], source: str) -> Sites:
    found = _collected(groups, values)
    odd = sorted(group for group, several in found.items() if len(several) != 1)
    if odd:
        raise TableError(
            f"`--preserve-site` needs one site a patient ({source}): {len(odd)} of {len(found)} "
            f"patient(s) have none or several, first {odd[0]!r}.",
            code="SITE_UNKNOWN",
            hint="Fill in a `site` column, or take these patients out of the table.",
        )
    return Sites({group: next(iter(several)) for group, several in found.items()}, source)
