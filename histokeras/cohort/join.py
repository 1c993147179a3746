"""Join labels and patients to the slides or tiles at hand; count and list what is lost."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pandas as pd

from histokeras.cohort.ids import (
    Matcher,
    canonical_patient,
    patient_from_slide,
    sample_type,
    slide_stem,
    tile_key,
)
from histokeras.cohort.labels import Cohort
from histokeras.cohort.overlap import no_overlap
from histokeras.cohort.patients import PatientFinder, ambiguous
from histokeras.cohort.tcga import normal_tissue
from histokeras.errors import TableError
from histokeras.tables import require_columns
from histokeras.types import CLASSIFICATION, LABEL, PATIENT_ID, SLIDE_ID, TILE

FUNNEL = ("patients in the table", "labelled", "with slide", "with features", "used")
"""Steps of the funnel; the first names what is counted where that is not only patients."""


@dataclass(frozen=True)
class Joined:
    """Slides or tiles with their patient and label.

    Attributes:
        units: The rows that are used: the columns given, ``patient_id`` and ``label``.
        funnel: Patients left after each step of ``FUNNEL``. Where patients are unknown, slides or
            tiles are counted instead, and the first step is called "slides in the table", "tiles
            in the table", or "patients or slides in the table" if some are known.
        dropped: What was lost: ``kind`` (row, patient, slide, tile), ``id``, ``reason``.
        unit: The column that names what must stay on one side of a split: ``patient_id``, or
            ``slide_id`` or ``tile`` where no patient is known.
        note: "" or e.g. "tile-level, not patient-safe"; every output repeats it.
        label_rows: The first row of each class in the label table.
        keys: For each row of ``units`` the key of the row of the label table that it fits.
        task: Whether labels are classes or numbers.
    """

    units: pd.DataFrame
    funnel: dict[str, int]
    dropped: pd.DataFrame
    unit: str = PATIENT_ID
    note: str = ""
    label_rows: Mapping[str, int] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    task: str = CLASSIFICATION

    @property
    def patient_safe(self) -> bool:
        """Whether the patient of every row is known."""
        return not self.note


def join_labels(
    units: pd.DataFrame,
    cohort: Cohort,
    *,
    slide_patients: Mapping[str, str] | None = None,
    slides: Collection[str] = (),
    patients_unknown: bool = False,
) -> Joined:
    """Give each slide or tile its label and its patient.

    Ids are compared without folder and file ending; TCGA barcodes of different length fit each
    other. The patient comes from ``units``, the label table or ``slide_patients`` (which must
    agree), else the TCGA barcode, else a slide named exactly like a patient of the table. A slide
    whose barcode says normal tissue gets no label but its own or its sample's: a patient's label is
    that of the tumour.

    Args:
        units: One row per slide (``slide_id``) or per tile (``tile`` too), with features at hand;
            ``patient_id`` if known. It is not changed.
        cohort: The labels.
        slide_patients: slide_id -> patient_id, from the slide table.
        slides: slide_ids that exist without features, for the funnel.
        patients_unknown: Accept rows without a patient; each slide (or tile, where the slide is
            unknown too) then counts as a patient of its own, and ``note`` says so.

    Returns:
        The rows that can be used, in the order of ``units``, and what was lost on the way.

    Raises:
        TableError: If nothing fits (NO_OVERLAP), nothing but normal tissue does (NORMAL_TISSUE), an
            id fits several rows (ID_AMBIGUOUS), a slide has two patients (SLIDE_TWO_PATIENTS), a
            patient is unknown (PATIENT_UNKNOWN), or tile labels meet whole slides.
    """
    require_columns(units, (SLIDE_ID, *((TILE,) if cohort.level == "tile" else ())), name="units")
    kind = "tile" if TILE in units.columns else "slide"
    work = _canonical_units(units)
    finder = PatientFinder([work, cohort.table], slide_patients or {})
    work[PATIENT_ID] = [
        patient or finder.of_tile(tile, slide)
        for patient, tile, slide in zip(work[PATIENT_ID], work[TILE], work[SLIDE_ID], strict=True)
    ]
    work["_key"] = _match(work, cohort)
    if not work["_key"].any():
        raise no_overlap(work, cohort, kind, slide_patients or {})
    work["_normal"] = _normal_tissue(work, cohort)
    work.loc[work["_normal"] != "", "_key"] = ""
    if not work["_key"].any():
        raise _only_normal(work, kind)
    used = work[work["_key"] != ""]
    unit, note = _unknown_patients(used, patients_unknown, kind)
    labels = dict(zip(cohort.table[cohort.key], cohort.table[LABEL], strict=True))
    result = units.iloc[used.index].reset_index(drop=True)
    result[PATIENT_ID] = _groups(used)
    result[LABEL] = [labels[key] for key in used["_key"]]
    counts = _funnel_counts(cohort, finder, work, slides)
    steps = (f"{_counted(unit, note)} in the table", *FUNNEL[1:])
    funnel = dict(zip(steps, counts, strict=True))
    lost = _dropped(work, cohort, kind)
    keys = tuple(used["_key"])
    return Joined(result, funnel, lost, unit, note, cohort.label_rows, keys, cohort.task)


def format_funnel(funnel: Mapping[str, int]) -> str:
    """Return the funnel as one line: "patients in the table 120 -> labelled 118 -> ..."."""
    return " -> ".join(f"{step} {count}" for step, count in funnel.items())


def _canonical_units(units: pd.DataFrame) -> pd.DataFrame:
    """Return slide_id, tile and patient_id as canonical text, "" where unknown, index 0..n-1."""
    clean = {SLIDE_ID: slide_stem, TILE: tile_key, PATIENT_ID: canonical_patient}
    return pd.DataFrame(
        {
            column: [change(str(text)) for text in units[column].fillna("")]
            if column in units.columns
            else [""] * len(units)
            for column, change in clean.items()
        },
        index=range(len(units)),
        dtype=object,
    )


def _match(work: pd.DataFrame, cohort: Cohort) -> list[str]:
    """Return the key of the label row of each unit, "" where there is none."""
    matcher = Matcher(cohort.table[cohort.key])
    if cohort.level != "patient":
        return [_only(name, matcher.find(name)) for name in work[cohort.key]]
    # A table may list samples (TCGA-A2-A0T2-01): the slide's barcode tells which one is meant.
    names = [
        slide if patient and patient_from_slide(slide) == patient else patient
        for slide, patient in zip(work[SLIDE_ID], work[PATIENT_ID], strict=True)
    ]
    return [_only(name, matcher.find(name)) if name else "" for name in names]


def _normal_tissue(work: pd.DataFrame, cohort: Cohort) -> list[str]:
    """Return why the label that each unit fits does not hold for its tissue, "" if it does."""
    if cohort.level == "tile":
        return [""] * len(work)
    return [
        normal_tissue(slide, tile) if key and sample_type(key) is None else ""
        for key, slide, tile in zip(work["_key"], work[SLIDE_ID], work[TILE], strict=True)
    ]


def _only_normal(work: pd.DataFrame, kind: str) -> TableError:
    normal = work[work["_normal"] != ""]
    name = normal[TILE].iloc[0] or normal[SLIDE_ID].iloc[0]
    return TableError(
        f"all {len(normal)} {kind}(s) that fit a label are of normal tissue, first {name!r}: "
        f"{normal['_normal'].iloc[0]}.",
        code="NORMAL_TISSUE",
        hint="Give slides of tumour tissue, or labels by slide_id.",
    )


def _only(name: str, keys: tuple[str, ...]) -> str:
    if len(keys) > 1:
        raise ambiguous(name, keys)
    return keys[0] if keys else ""


def _unknown_patients(used: pd.DataFrame, accepted: bool, kind: str) -> tuple[str, str]:
    """Return what must stay together and the note about it; refuse unless accepted."""
    unknown = used[used[PATIENT_ID] == ""]
    if unknown.empty:
        return PATIENT_ID, ""
    if not accepted:
        name = unknown[TILE].iloc[0] or unknown[SLIDE_ID].iloc[0]
        raise TableError(
            f"the patient of {len(unknown)} of {len(used)} {kind}(s) is unknown, first {name!r}.",
            code="PATIENT_UNKNOWN",
            hint="Give `--slide-table` with slide_id,patient_id, add a `patient_id` column, or "
            "accept a split that is not patient-safe with `--patients-unknown`.",
        )
    slideless = unknown[SLIDE_ID] == ""
    column = TILE if slideless.any() else SLIDE_ID
    alone = len(unknown) == len(used) and slideless.all() == slideless.any()
    return column if alone else PATIENT_ID, f"{column.removesuffix('_id')}-level, not patient-safe"


def _counted(unit: str, note: str) -> str:
    """Return the word for what the funnel counts."""
    if not note:
        return "patients"
    stand_in = note.partition("-")[0] + "s"
    return f"patients or {stand_in}" if unit == PATIENT_ID else stand_in


def _groups(work: pd.DataFrame) -> list[str]:
    """Return the patient of each row, or its slide or tile where the patient is unknown."""
    columns = (work[name] for name in (PATIENT_ID, SLIDE_ID, TILE))
    return [patient or slide or tile for patient, slide, tile in zip(*columns, strict=True)]


def _dropped(work: pd.DataFrame, cohort: Cohort, kind: str) -> pd.DataFrame:
    lost = [("row", name, reason) for name, reason in cohort.dropped[["id", "reason"]].to_numpy()]
    taken = set(work["_key"])
    normal = set(work.loc[work["_normal"] != "", PATIENT_ID]) - {""}
    lost += [
        (cohort.level, key, f"labelled, but no {kind} with features" + _of_tumour(key, normal))
        for key in cohort.table[cohort.key]
        if key not in taken
    ]
    unlabelled = work[work["_key"] == ""]
    names = unlabelled[TILE if kind == "tile" else SLIDE_ID]
    for name, patient, why in zip(
        names, unlabelled[PATIENT_ID], unlabelled["_normal"], strict=True
    ):
        reason = "no label"
        if cohort.level == "patient":
            reason = f"no label for patient {patient}" if patient else "its patient is unknown"
        lost.append((kind, name, why or reason))
    return pd.DataFrame(lost, columns=["kind", "id", "reason"], dtype=object)


def _of_tumour(key: str, normal: Collection[str]) -> str:
    return " of tumour tissue" if canonical_patient(key) in normal else ""


def _funnel_counts(
    cohort: Cohort, finder: PatientFinder, work: pd.DataFrame, slides: Collection[str]
) -> list[int]:
    groups = _groups(work)
    owners = dict(zip(work["_key"], groups, strict=True))

    def owner(key: str, patient: str) -> str:
        """Return the patient that a row of the label table stands for."""
        slide_patient = finder.of_slide(key) if cohort.level == "slide" else ""
        return patient or owners.get(key, "") or slide_patient or canonical_patient(key)

    listed = {owner(key, patient) for key, patient in cohort.listed.to_numpy()}
    patients = dict(cohort.listed.to_numpy())
    labelled = {owner(key, patients.get(key, "")) for key in cohort.table[cohort.key]}
    used = {group for group, key in zip(groups, work["_key"], strict=True) if key}
    existing = {finder.of_slide(slide_stem(slide)) or slide_stem(slide) for slide in slides}
    featured = (set(groups) & labelled) | used
    counts = (listed | labelled, labelled, featured | (existing & labelled), featured, used)
    return [len(members) for members in counts]
