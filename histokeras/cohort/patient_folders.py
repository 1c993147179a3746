"""Slides in one folder a patient: whose they are, and what those of one name are called."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from histokeras.errors import SlideError, TableError
from histokeras.slides.checks import slide_id_of, text_of
from histokeras.slides.inventory import find_slides

_NO_SLIDES = "NO_SLIDES"


@dataclass(frozen=True)
class FoundSlide:
    """A slide that was found.

    Attributes:
        path: The file.
        slide_id: Its name without the extension; where slides of several patients have the same,
            ``<patient>_<name>``.
        patient_id: Name of its patient's folder; "" where there are no such folders.
    """

    path: Path
    slide_id: str
    patient_id: str = ""


def find_patient_slides(paths: Sequence[Path], *, recursive: bool = False) -> list[FoundSlide]:
    """Find slides among files and folders; folders that hold none themselves hold patients.

    A folder with slides is read as everywhere. One without, whose folders hold slides, holds a
    folder a patient.

    Args:
        paths: Files and folders.
        recursive: Whether folders inside these are searched too.

    Returns:
        The slides, sorted by path.

    Raises:
        SlideError: NO_SLIDES if there is none, SLIDE_NOT_FOUND for a path that does not exist.
        TableError: DUPLICATE_SLIDE_ID if two slides of one patient, or outside of such folders,
            have one name.
    """
    plain: list[Path] = []
    found: list[FoundSlide] = []
    for path in map(Path, paths):
        patients = _patient_folders(path) if path.is_dir() else []
        plain += [] if patients else [path]
        for folder in patients:
            name = text_of(folder.name)
            found += [
                FoundSlide(slide, slide_id_of(slide), name)
                for slide in _slides(folder, recursive=recursive)
            ]
    # Where there are none at all, it says so of what was given.
    if plain or not found:
        slides = find_slides(plain if found else paths, recursive=recursive)
        found += [FoundSlide(slide, slide_id_of(slide)) for slide in slides]
    return sorted(_distinct(found), key=lambda one: one.path)


def _patient_folders(folder: Path) -> list[Path]:
    """Return the folders inside one that holds no slide itself."""
    if _slides(folder):
        return []
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))


def _slides(folder: Path, *, recursive: bool = False) -> list[Path]:
    try:
        return find_slides([folder], recursive=recursive)
    except SlideError as error:
        if error.code != _NO_SLIDES:
            raise
        return []


def _distinct(found: Sequence[FoundSlide]) -> list[FoundSlide]:
    # Upper and lower case are one file on many systems.
    counts = Counter(one.slide_id.casefold() for one in found)
    named = [
        replace(one, slide_id=f"{one.patient_id}_{one.slide_id}")
        if one.patient_id and counts[one.slide_id.casefold()] > 1
        else one
        for one in found
    ]
    seen: dict[str, FoundSlide] = {}
    for one in named:
        other = seen.setdefault(one.slide_id.casefold(), one)
        if other is not one:
            raise TableError(
                f"two slides have the id `{one.slide_id}`: {text_of(other.path)} and "
                f"{text_of(one.path)}.",
                code="DUPLICATE_SLIDE_ID",
                hint="Rename one.",
            )
    return named
