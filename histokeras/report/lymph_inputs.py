"""The slides of ``lymph-nodes``: their patients, and what was drawn on them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from histokeras.cohort.ids import canonical_patient, patient_from_slide
from histokeras.cohort.patient_folders import FoundSlide
from histokeras.cohort.patients import PatientFinder
from histokeras.cohort.split_file import read_split
from histokeras.errors import ConfigError, HistokerasError, TableError
from histokeras.report.lymph_job import NodeSlide
from histokeras.slides.annotations import read_regions
from histokeras.slides.drawn_files import NODE_WORDS, TUMOUR_WORDS, DrawnFiles
from histokeras.slides.inventory import SlideRow, row_of
from histokeras.slides.node_classes import drawn_node_classes, drawn_tumour_classes
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.types import PATIENT_ID, SPLIT

_SPLIT_FILE = "split.csv"


def node_slides(
    found: Sequence[FoundSlide],
    *,
    table: Mapping[str, SlideRow],
    patients: Mapping[str, str],
    pseudonyms: Pseudonyms | None = None,
    nodes: Path | None = None,
    tumour: Path | None = None,
) -> list[NodeSlide]:
    """Return the slides with what is known of them.

    The patient is what the slide table says, if it says any; else whom a TCGA barcode names; else
    the folder's name.

    Args:
        found: The slides.
        table: Rows of the slide table.
        patients: slide_id -> patient_id of the slide table, by pseudonyms if there are such.
        pseudonyms: By which slides and patients are named; None for their own names.
        nodes: Folder in which nodes were drawn; None for none.
        tumour: Likewise of tumour; it may be the same.

    Raises:
        TableError: PSEUDONYM_MISSING; PATIENT_UNKNOWN if all slides lie in one folder that may be
            a patient's or not; MASKS_SEVERAL if two drawings fit one slide.
        SlideError: ANNOTATION_MISSING if a folder holds no drawing.
    """
    slide_ids = [one.slide_id for one in found]
    folders = [canonical_patient(one.patient_id) for one in found]
    if not patients:
        _require_patients(found)
    if pseudonyms is not None:
        pseudonyms.require(slide_ids, "slide")
        slide_ids = [pseudonyms.of(name) for name in slide_ids]
        if not patients:
            pseudonyms.require([name for name in folders if name], "patient")
            folders = [pseudonyms.of(name, "patient") if name else "" for name in folders]
    drawn = {folder: DrawnFiles.of(folder) for folder in {nodes, tumour} if folder is not None}

    owners = {one.patient_id for one in found} - {""}

    def file(one: FoundSlide, folder: Path | None, words: Sequence[str]) -> Path | None:
        if folder is None:
            return None
        return drawn[folder].find(one.path, one.slide_id, words, others=owners)

    finder = PatientFinder([], patients)
    rows = []
    for one, slide_id, folder in zip(found, slide_ids, folders, strict=True):
        known = finder.of_slide(slide_id) if patients else patient_from_slide(slide_id) or folder
        rows.append(
            NodeSlide(
                path=one.path,
                slide_id=slide_id,
                patient_id=known,
                mpp=row_of(table, one.path, slide_id).mpp,
                nodes=file(one, nodes, NODE_WORDS),
                tumour=file(one, tumour, TUMOUR_WORDS),
            )
        )
    return rows


def _require_patients(found: Sequence[FoundSlide]) -> None:
    """Refuse to take the one folder with slides, such as ``slides/``, for a patient."""
    named = [one for one in found if patient_from_slide(one.slide_id) is None]
    folders = {one.patient_id for one in named}
    if named and len(folders) == 1 and "" not in folders:
        raise TableError(
            f"all slides lie in one folder, `{folders.pop()}`: is it a patient?",
            code="PATIENT_UNKNOWN",
            hint="Say whose they are with --patients TABLE; or name the folder itself.",
        )


def learned_patients(
    runs: Sequence[Path | None], pseudonyms: Pseudonyms | None = None
) -> frozenset[str]:
    """Return the patients whom networks learned from: figures of these say nothing of new ones.

    Args:
        runs: Run folders, or the folder of a segmenter inside one; None for no network.
        pseudonyms: By which patients are named; None for their own names.

    Raises:
        TableError: If the split file of a run is damaged.
        LeakageError: If a patient lies on two sides of it.
    """
    learned: set[str] = set()
    for run in filter(None, runs):
        places = (run / _SPLIT_FILE, run.parent / _SPLIT_FILE)
        path = places[run.name == "segmenter"]
        if not path.is_file():
            continue
        split = read_split(path)
        if split.unit != PATIENT_ID:
            continue
        # Networks of folds are averaged: each patient is on the train side of some.
        names = split.table[PATIENT_ID].astype(str)
        learned |= set(names if split.folds else names[split.table[SPLIT] != "test"])
    if pseudonyms is not None:
        learned = {pseudonyms.find(name) or name for name in learned}
    return frozenset(learned)


def drawn_classes(
    slides: Sequence[NodeSlide], *, node: str | None = None, tumour: str | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return as which classes nodes and tumour were drawn, over all slides; () where none was.

    Args:
        slides: The slides.
        node: What ``--node-class`` says.
        tumour: What ``--tumour-class`` says.

    Raises:
        ConfigError: If nothing tells, a class would be both, or no file holds a node though
            something is drawn.
    """
    nodes = drawn_labels([one.nodes for one in slides])
    tumours = drawn_labels([one.tumour for one in slides])
    found = (
        () if nodes is None else drawn_node_classes(nodes, wanted=node),
        () if tumours is None else drawn_tumour_classes(tumours, wanted=tumour),
    )
    if nodes and not found[0]:
        raise ConfigError(
            f"no lymph node is drawn in any file: there are {', '.join(sorted(nodes))}.",
            hint="Name their class with --node-class.",
        )
    same = {one.nodes for one in slides if one.nodes} & {one.tumour for one in slides if one.tumour}
    both = sorted(set(found[0]) & set(found[1]))
    if same and both:
        raise ConfigError(
            f"nodes and tumour are drawn in the same files, both as {both[0] or '(no class)'!r}.",
            hint="Name the classes with --node-class and --tumour-class.",
        )
    return found


def drawn_labels(paths: Sequence[Path | None]) -> set[str] | None:
    """Return the classes in some files, "" being none; None if there is no file.

    One that cannot be read is passed over: its slide fails later.
    """
    given = [path for path in paths if path is not None]
    if not given:
        return None
    labels: set[str] = set()
    for path in given:
        with suppress(HistokerasError):
            labels |= {region.label for region in read_regions(path) if not region.erases}
    return labels
