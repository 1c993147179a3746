"""Masks that are drawn as regions: their classes, and their pixels at any resolution."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from histokeras.data.mask_classes import classes_of
from histokeras.data.mask_codes import BACKGROUND
from histokeras.data.mask_overlap import Overlaps
from histokeras.data.masks import DRAWN, LEFT_OUT, Decoding, MaskCoding
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
        coding: ``name`` (class of what is drawn without one), ``only``, ``group``, ``positive`` and
            ``roi`` of it are heeded.

    Returns:
        The decision, and remarks for the user.

    Raises:
        SlideError: ANNOTATION_UNREADABLE.
        TableError: MASK_CLASSES if no file holds a region of a class; CLASS_UNKNOWN if a group
            names an unknown one.
        ConfigError: If no file holds a region of the class ``roi``, or of one of ``only``;
            MASK_AMBIGUOUS if ``name`` is a class that is drawn by name beside others.
    """
    found: Counter[str] = Counter()
    named: Counter[str] = Counter()
    overlaps = Overlaps()
    for path in paths:
        regions = read_regions(path)
        overlaps.add([region for region in regions if _counts(region, coding)], coding.name)
        found.update(region.label or coding.name for region in regions if not region.erases)
        named.update(region.label for region in regions if region.label)
    _require_drawn(found, coding)
    _require_plain(found, named, coding)
    looked_at = set(found) - {coding.roi, IGNORED}
    left = sorted(looked_at - set(coding.only)) if coding.only else []
    drawn = sorted(looked_at - set(left) - {BACKGROUND})
    if not drawn:
        raise TableError(
            f"none of {len(paths)} file(s) of regions holds one with a class: there is nothing to "
            "learn.",
            code="MASK_CLASSES",
            hint="Check that these are the annotations, and --roi.",
        )
    labels = (BACKGROUND, *drawn)
    classes = classes_of(labels, labels, coding)
    numbers = dict(classes.numbers) | {IGNORED: IGNORE} | dict.fromkeys(left, LEFT_OUT)
    decoding = Decoding(
        classes=classes.names,
        positive=classes.positive,
        plane=DRAWN,
        drawn=tuple(sorted(numbers.items())),
        undrawn=classes.numbers[BACKGROUND],
        roi=coding.roi,
        unnamed=coding.name,
    )
    return decoding, (*_notes(found, decoding), *overlaps.notes(numbers))


def _counts(region: Region, coding: MaskCoding) -> bool:
    label = region.label or coding.name
    return label != coding.roi and (not coding.only or label in (*coding.only, IGNORED))


def _require_drawn(found: Mapping[str, int], coding: MaskCoding) -> None:
    """Refuse classes that are asked for and drawn nowhere."""
    asked = [("--drawn-class", name) for name in coding.only]
    for option, name in [("--roi", coding.roi)] * bool(coding.roi) + asked:
        if name not in found:
            near = nearest_name(name, found)
            raise ConfigError(
                f"`{option}` names the class {name!r}, which nothing is drawn as; there are "
                f"{', '.join(sorted(found)) or 'no regions'}.",
                hint=f"Did you mean {near!r}?" if near else "",
            )


def _require_plain(found: Mapping[str, int], named: Mapping[str, int], coding: MaskCoding) -> None:
    """Refuse --mask-class where it would say nothing and may be meant to choose a class."""
    name = coding.name
    others = sorted(set(named) - {name, coding.roi, IGNORED, BACKGROUND})
    if name not in named or found[name] > named[name] or not others or coding.only or coding.group:
        return
    raise ConfigError(
        f"`--mask-class` names what is drawn without a class, and {name!r} is drawn by name beside "
        f"{', '.join(others)}.",
        code="MASK_AMBIGUOUS",
        hint=f"--drawn-class {name!r} learns it alone, as if the others were not drawn; leave "
        "--mask-class out to learn all of them.",
    )


def _notes(found: Mapping[str, int], decoding: Decoding) -> tuple[str, ...]:
    left = [name for name, number in decoding.drawn if number == LEFT_OUT]
    notes = [f"Not drawn, as --drawn-class asks: {', '.join(left)}."] if left else []
    if decoding.undrawn == IGNORE:
        notes.append("What nothing is drawn on is in no group, and ignored.")
    elif decoding.roi:
        n = found[decoding.roi]
        notes.append(f"What lies outside of {n} region(s) {decoding.roi} is ignored.")
    else:
        notes.append("What nothing is drawn on is background, on the whole slide; --roi limits it.")
    return tuple(notes)


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
        if known.get(label) == LEFT_OUT:
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
