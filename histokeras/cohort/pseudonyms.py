"""Read the table of pseudonyms, and translate the ids of other tables by it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath

import pandas as pd

from histokeras.cohort.ids import (
    FILE_SUFFIXES,
    Matcher,
    canonical_key,
    patient_from_slide,
    slide_stem,
    tile_key,
)
from histokeras.cohort.patients import ambiguous
from histokeras.cohort.split_table import Split, build_table
from histokeras.errors import TableError
from histokeras.foreign.text import printable
from histokeras.slides.inventory import slide_patients
from histokeras.tables import read_table, row_numbers, with_standard_columns
from histokeras.tables.columns import ALIASES, find_column, folded_name
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.types import PATIENT_ID, SLIDE_ID, TILE

ID, PSEUDONYM = "id", "pseudonym"
_SAMPLE_LENGTH = len("TCGA-A2-A0T2-01A")


def read_pseudonyms(path: Path | None) -> Pseudonyms | None:
    """Read a table of pseudonyms and check that none can be taken for another.

    Args:
        path: A table with the columns pseudonym and one of id, slide_id, patient_id: a row for
            each slide (its file's name) and each patient. None for no table.

    Returns:
        The pseudonyms, None for no table.

    Raises:
        TableError: If a column or a cell is missing; PSEUDONYM_CONFLICT if an id has two, two ids
            share one (upper and lower case being the same), or one is the id of a row;
            PSEUDONYM_UNSAFE if one is no plain name, ends like a file or looks like a TCGA barcode.
    """
    if path is None:
        return None
    raw = read_table(path, name="table of pseudonyms")
    where = f"table of pseudonyms {path}"
    names = {folded_name(name): str(name) for name in raw.columns}
    keys = [names.get(ID), find_column(raw, SLIDE_ID), find_column(raw, PATIENT_ID)]
    found = [key for key in keys if key is not None]
    if len(found) != 1 or PSEUDONYM not in names:
        raise TableError(
            f"{where}: needs the columns {ID} (or slide_id, or patient_id) and {PSEUDONYM}; it has "
            f"{list(raw.columns)}.",
            code="COLUMN_AMBIGUOUS" if len(found) > 1 else "COLUMN_MISSING",
            hint=f"Write slides and patients one below the other: {ID},{PSEUDONYM}.",
        )
    ids: dict[str, str] = {}
    owners: dict[str, tuple[str, int]] = {}
    for row, text, written in zip(
        row_numbers(raw), raw[found[0]], raw[names[PSEUDONYM]], strict=True
    ):
        key, pseudonym = _key(text), canonical_key(written)
        place = f"{where}, row {row}"
        if not key or not pseudonym:
            raise TableError(f"{place}: a cell is empty.", hint="Complete or remove the row.")
        _require_plain(pseudonym, place)
        _require_own(ids, owners, key, pseudonym, row, place)
        ids[key] = pseudonym
    _require_no_id(ids, where)
    return Pseudonyms(ids, path.name)


def _key(text: str) -> str:
    is_file = PurePath(text.strip()).suffix.lower() in FILE_SUFFIXES
    return slide_stem(text) if is_file else canonical_key(text)


def _require_plain(pseudonym: str, place: str) -> None:
    why = ""
    if any(letter in pseudonym for letter in "/\\") or pseudonym.strip(".") == "":
        why = "is a path, not a name"
    elif not pseudonym.isprintable() or printable(pseudonym, one_line=True) != pseudonym:
        why = "holds control characters"
    elif slide_stem(pseudonym) != pseudonym:
        why = "ends like a file"
    elif patient_from_slide(pseudonym) is not None:
        why = "looks like a TCGA barcode, which tells a patient"
    if why:
        raise TableError(
            f"{place}: the pseudonym {pseudonym!r} {why}.",
            code="PSEUDONYM_UNSAFE",
            hint="Take letters, digits, dashes.",
        )


def _conflict(what: str, hint: str) -> TableError:
    return TableError(what, code="PSEUDONYM_CONFLICT", hint=hint)


def _require_own(
    ids: Mapping[str, str],
    owners: dict[str, tuple[str, int]],
    key: str,
    pseudonym: str,
    row: int,
    place: str,
) -> None:
    """Refuse an id with two pseudonyms, and a pseudonym of two ids."""
    if ids.get(key, pseudonym) != pseudonym:
        raise _conflict(
            f"{place}: `{key}` has another pseudonym, `{ids[key]}`, already.", "Keep one of them."
        )
    owner, first = owners.setdefault(pseudonym.casefold(), (key, row))
    if owner != key:
        raise _conflict(
            f"{place}: the pseudonym `{pseudonym}` of `{key}` is that of `{owner}` (row {first}).",
            "Give each slide and patient its own; upper and lower case make no difference.",
        )


def _require_no_id(ids: Mapping[str, str], where: str) -> None:
    originals = {name.casefold(): name for name in ids}
    for name, pseudonym in ids.items():
        other = originals.get(pseudonym.casefold())
        if other is not None:
            raise _conflict(
                f"{where}: the pseudonym `{pseudonym}` of `{name}` is the id of a row.",
                "Take pseudonyms that name nobody.",
            )


def _is_slide(name: str) -> bool:
    """Return whether a TCGA barcode names more than a patient or sample."""
    return patient_from_slide(name) is not None and len(name) > _SAMPLE_LENGTH


@dataclasses.dataclass(frozen=True)
class _Translator:
    """Finds pseudonyms for ids as tables write them: file names, barcodes of other length."""

    pseudonyms: Pseudonyms
    slides: Matcher
    patients: Matcher

    @classmethod
    def of(cls, pseudonyms: Pseudonyms) -> "_Translator":
        # The barcode of a slide begins with its patient's, which is not its own.
        slides = [name for name in pseudonyms.ids if _is_slide(name)]
        others = set(pseudonyms.ids) - set(slides)
        return cls(pseudonyms, Matcher(slides), Matcher(others))

    def _find(self, name: str, matcher: Matcher) -> str | None:
        found = self.pseudonyms.find(name)
        if found is not None or not name:
            return found or ""
        keys = matcher.find(name)
        if len(keys) > 1:
            raise ambiguous(name, keys)
        return self.pseudonyms.ids[keys[0]] if keys else None

    def slide(self, text: str) -> str | None:
        return self._find(slide_stem(text), self.slides)

    def patient(self, text: str) -> str | None:
        return self._find(canonical_key(text), self.patients)

    def tile(self, text: str) -> str:
        return self.pseudonyms.masked(tile_key(text))

    def all(self, texts: Sequence[str], kind: str, find: Callable[[str], str | None]) -> list[str]:
        known = {text: find(text) for text in dict.fromkeys(texts)}
        missing = [text for text, name in known.items() if name is None]
        if missing:
            self.pseudonyms.refuse(missing, kind, len(known))
        return [known[text] or "" for text in texts]


def translated(table: pd.DataFrame, pseudonyms: Pseudonyms | None) -> pd.DataFrame:
    """Return a table with pseudonyms for its ids; what is a pseudonym already stays.

    A column of another tool's name is translated too. A row with the TCGA barcode of a slide and
    no patient gets the pseudonym of the barcode's patient, if that has one.

    Args:
        table: As :func:`histokeras.tables.read_table` returns it; it is not changed.
        pseudonyms: None for a table that stays as it is.

    Returns:
        A table with the same rows and ``attrs``.

    Raises:
        TableError: PSEUDONYM_MISSING with the first ids that have none, and their number.
    """
    if pseudonyms is None:
        return table
    by = _Translator.of(pseudonyms)
    copy = table.copy()
    how = {
        SLIDE_ID: ("slide", by.slide),
        PATIENT_ID: ("patient", by.patient),
        TILE: ("tile", by.tile),
    }
    patients = _barcode_patients(copy, by)
    for name in copy.columns:
        wanted = next((key for key in how if folded_name(name) in (key, *ALIASES[key])), None)
        if wanted is not None:
            kind, find = how[wanted]
            copy[name] = by.all(copy[name].astype(str).tolist(), kind, find)
    if any(patients):
        column = find_column(copy, PATIENT_ID) or PATIENT_ID
        known = copy[column] if column in copy.columns else [""] * len(copy)
        copy[column] = [one or other for one, other in zip(known, patients, strict=True)]
    copy.attrs = dict(table.attrs)
    return copy


def _barcode_patients(table: pd.DataFrame, by: _Translator) -> list[str]:
    column = find_column(table, SLIDE_ID)
    barcodes = [] if column is None else [patient_from_slide(slide_stem(n)) for n in table[column]]
    return [(by.patient(name) or "") if name else "" for name in barcodes]


def require_renamed(units: pd.DataFrame, pseudonyms: Pseudonyms | None) -> None:
    """Check that features go by pseudonyms: their ids stand in every output of them.

    Args:
        units: Slides or tiles with features: ``slide_id``, and ``patient_id`` where known.
        pseudonyms: None where nothing is asked for.

    Raises:
        TableError: PSEUDONYM_MISSING if an id is none of the table, or has a pseudonym that the
            features do not bear.
    """
    if pseudonyms is None:
        return
    for column in (SLIDE_ID, PATIENT_ID):
        names = [name for name in units.get(column, ()) if name]
        kind = column.removesuffix("_id")
        pseudonyms.require(names, kind)
        own = sorted(set(names) - pseudonyms.given)
        if own:
            raise TableError(
                f"{len(own)} {kind}(s) of the features go by their own names, first `{own[0]}`.",
                code="PSEUDONYM_MISSING",
                hint="Extract the features with `--pseudonyms` too, into a new folder.",
            )


def patient_pseudonyms(names: Sequence[str], pseudonyms: Pseudonyms) -> dict[str, str]:
    """Return patient -> pseudonym.

    Raises:
        TableError: PSEUDONYM_MISSING with the first that have none, and their number.
    """
    by = _Translator.of(pseudonyms)
    return dict(zip(names, by.all(names, "patient", by.patient), strict=True))


def patients_by_slide(
    slide_table: Path | None,
    pseudonyms: Pseudonyms | None,
    labels: pd.DataFrame | None = None,
) -> dict[str, str]:
    """Return slide_id -> patient_id as far as anything says: pseudonyms, if there are such.

    Args:
        slide_table: Table with slide_id and patient_id, or None.
        pseudonyms: Under a pseudonym no barcode tells the patient: of slides with a TCGA barcode in
            this table the patient is known if it has a row of its own, and no table says otherwise.
        labels: A table that was translated, whose patients count before those of barcodes.

    Raises:
        TableError: PSEUDONYM_MISSING if a slide or patient of the slide table has none.
    """
    told = slide_patients(slide_table)
    if pseudonyms is None:
        return told
    by = _Translator.of(pseudonyms)
    slides = by.all(list(told), "slide", by.slide)
    patients = by.all(list(told.values()), "patient", by.patient)
    said = set() if labels is None else _slides_with_patient(labels)
    barcodes = {
        pseudonym: patient
        for name, pseudonym in pseudonyms.ids.items()
        if _is_slide(name) and pseudonym not in said
        if (patient := by.patient(patient_from_slide(name) or ""))
    }
    return barcodes | dict(zip(slides, patients, strict=True))


def _slides_with_patient(table: pd.DataFrame) -> set[str]:
    known = with_standard_columns(table, (SLIDE_ID, PATIENT_ID))
    if not {SLIDE_ID, PATIENT_ID} <= set(known.columns):
        return set()
    return set(known.loc[known[PATIENT_ID] != "", SLIDE_ID])


def read_labels(path: Path, pseudonyms: Pseudonyms | None) -> pd.DataFrame:
    """Read a label table, with pseudonyms for its ids.

    Args:
        path: The table; see :func:`histokeras.tables.read_table`.
        pseudonyms: None for a table that stays as it is.

    Raises:
        TableError: If it cannot be read, or PSEUDONYM_MISSING.
    """
    return translated(read_table(path, name="label table"), pseudonyms)


def translated_split(split: Split, pseudonyms: Pseudonyms | None) -> Split:
    """Return a split with pseudonyms for its ids, on the same sides.

    Args:
        split: The split; its signature has been verified.
        pseudonyms: None for a split that stays as it is.

    Raises:
        TableError: PSEUDONYM_MISSING with the first ids that have none, and their number.
    """
    if pseudonyms is None:
        return split
    table = translated(split.table, pseudonyms)
    pairs = list(zip(table[split.unit], split.table[split.column], strict=True))
    return dataclasses.replace(split, table=build_table(pairs, split.unit, split.column))
