"""Masks that are drawn as regions: their classes, and their pixels at any resolution."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from histokeras.data.mask_classes import classes_of
from histokeras.data.mask_codes import BACKGROUND
from histokeras.data.masks import DRAWN, Decoding, MaskCoding
from histokeras.errors import ConfigError, TableError
from histokeras.slides.annotations import Drawing, Region, read_regions
from histokeras.tables import nearest_name
from histokeras.types import IGNORE

IGNORED = "Ignore*"
"""QuPath's class for what is not to be looked at."""


def choose_drawn(paths: Sequence[Path], coding: MaskCoding) -> tuple[Decoding, tuple[str, ...]]:
    """Read every file of regions once and decide the classes.

    What nothing is drawn on is the class "background", and may be named so in a group: where groups
    name neither it nor ``*``, it is ignored. QuPath's class ``Ignore*`` is ignored too.

    Args:
        paths: Files of regions, at least one.
        coding: ``name`` (class of what is drawn without one), ``group``, ``positive`` and ``roi``
            of it are heeded.

    Returns:
        The decision, and remarks for the user.

    Raises:
        SlideError: ANNOTATION_UNREADABLE.
        TableError: MASK_CLASSES if no file holds a region of a class; CLASS_UNKNOWN if a group
            names an unknown one.
        ConfigError: If no file holds a region of the class ``roi``.
    """
    found: dict[str, int] = {}
    for path in paths:
        for region in read_regions(path):
            if not region.erases:
                label = region.label or coding.name
                found[label] = found.get(label, 0) + 1
    if coding.roi and coding.roi not in found:
        near = nearest_name(coding.roi, found)
        raise ConfigError(
            f"`--roi` names the class {coding.roi!r}, which nothing is drawn as; there are "
            f"{', '.join(sorted(found)) or 'no regions'}.",
            hint=f"Did you mean {near!r}?" if near else "",
        )
    drawn = sorted(set(found) - {coding.roi, IGNORED, BACKGROUND})
    if not drawn:
        raise TableError(
            f"none of {len(paths)} file(s) of regions holds one with a class: there is nothing to "
            "learn.",
            code="MASK_CLASSES",
            hint="Check that these are the annotations, and --roi.",
        )
    labels = (BACKGROUND, *drawn)
    classes = classes_of(labels, labels, coding)
    numbers = dict(classes.numbers) | {IGNORED: IGNORE}
    decoding = Decoding(
        classes=classes.names,
        positive=classes.positive,
        plane=DRAWN,
        drawn=tuple(sorted(numbers.items())),
        undrawn=classes.numbers[BACKGROUND],
        roi=coding.roi,
        unnamed=coding.name,
    )
    return decoding, _notes(found, decoding)


def _notes(found: Mapping[str, int], decoding: Decoding) -> tuple[str, ...]:
    if decoding.undrawn == IGNORE:
        return ("What nothing is drawn on is in no group, and ignored.",)
    if decoding.roi:
        return (f"What lies outside of {found[decoding.roi]} region(s) {decoding.roi} is ignored.",)
    return ("What nothing is drawn on is background, on the whole slide; --roi limits it.",)


def drawing_of(path: Path, decoding: Decoding) -> tuple[Drawing, Drawing | None]:
    """Read a file of regions, ready to be drawn as class numbers.

    Args:
        path: The file.
        decoding: From ``choose_drawn``.

    Returns:
        The classes; and what encloses the part that was looked at, None if all was.

    Raises:
        SlideError: ANNOTATION_MISSING or ANNOTATION_UNREADABLE.
        TableError: MASK_VALUES if a class is unknown.
    """
    known = dict(decoding.drawn)
    regions: list[Region] = []
    numbers: list[int] = []
    roi: list[Region] = []
    for region in read_regions(path):
        label = region.label or decoding.unnamed
        if decoding.roi and label == decoding.roi:
            roi.append(region)
            continue
        if not region.erases and label not in known:
            raise TableError(
                f"annotations {path.name}: the class {label!r} is none of {', '.join(known)}.",
                code="MASK_VALUES",
            )
        regions.append(region)
        numbers.append(decoding.undrawn if region.erases else known[label])
    enclosing = Drawing(tuple(roi), (1,) * len(roi)) if decoding.roi else None
    return Drawing(tuple(regions), tuple(numbers)), enclosing
