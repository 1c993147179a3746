"""Decide what the values of a set of masks mean: over all of them together, and never by guess."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from histokeras.data.mask_classes import classes_of
from histokeras.data.mask_codes import BACKGROUND, CodeTable
from histokeras.data.mask_files import Plane, RawMask, read_raw
from histokeras.data.mask_questions import ask_kind, ask_values, no_foreground, one_value
from histokeras.data.masks import (
    ALPHA,
    CHANNEL,
    GREY,
    INDEX,
    RGB,
    Decoding,
    MaskCoding,
    decode,
    is_grey,
    plane_of,
)
from histokeras.errors import ConfigError
from histokeras.types import IGNORE

_PLANES = {
    "binary": GREY, "soft": GREY, "channel": CHANNEL, "palette": INDEX, "alpha": ALPHA,
    "colours": RGB, "codes": GREY,
}  # fmt: skip
_THRESHOLDED = frozenset({"soft", "channel", "alpha"})
_WHITES = frozenset({1, 255, 65535})


@dataclass(frozen=True)
class Seen:
    """What a look at one mask showed.

    Attributes:
        name: The file's name.
        size: (width, height) in pixels.
        values: The distinct values of the plane in question, sorted; () where there is none.
        question: What makes its reading doubtful: "palette", "colours", "alpha", "soft" or "".
        lossy: Whether its format blurs edges.
    """

    name: str
    size: tuple[int, int]
    values: tuple[int, ...] = ()
    question: str = ""
    lossy: bool = False


@dataclass(frozen=True)
class Choice:
    """What was decided about a set of masks.

    Attributes:
        decoding: How each becomes class numbers.
        sizes: (width, height) of each mask, in the order given; None of drawn regions.
        notes: Remarks for the user, a sentence each.
    """

    decoding: Decoding
    sizes: tuple[tuple[int, int] | None, ...]
    notes: tuple[str, ...] = ()


def choose_decoding(paths: Sequence[Path], coding: MaskCoding) -> Choice:
    """Read every mask once and decide what their values mean.

    Args:
        paths: Pictures or matrices of numbers, at least one.
        coding: What the user says.

    Returns:
        The decision, valid for all of them.

    Raises:
        ConfigError: MASK_AMBIGUOUS if they may be read in two ways: it says which file shows what,
            and the option that decides.
        TableError: MASK_VALUES, MASK_KIND or MASK_CLASSES if they contradict what the user says.
        SlideError: If a mask cannot be read.
    """
    kind = _settled(coding)
    if kind == "auto":
        seen = [_look(read_raw(path)) for path in paths]
        doubtful = next((one for one in seen if one.question), None)
        if doubtful is not None:
            raise ask_kind(doubtful.name, doubtful.question)
        kind, plane = "codes" if coding.codes else "binary", GREY
    else:
        plane = _PLANES[kind]
        seen = [_look_at(read_raw(path), plane, coding, kind) for path in paths]
    sizes = tuple(one.size for one in seen)
    if kind in _THRESHOLDED:
        return Choice(_soft(seen, plane, coding), sizes)
    if coding.codes is not None:
        decoding, notes = _coded(paths, seen, plane, coding, coding.codes)
        return Choice(decoding, sizes, notes)
    return Choice(_binary(seen, plane, coding), sizes)


def _settled(coding: MaskCoding) -> str:
    """Return the kind; a table of colours alone says that the masks are coloured."""
    codes = coding.codes
    if coding.kind == "auto" and codes is not None and codes.colours and not codes.codes:
        return "colours"
    if coding.kind == "colours" and codes is not None and not codes.colours:
        raise ConfigError(
            f"`--mask-coding colours` needs a colour of each class; {codes.source} has none, or "
            "gives one colour to two classes.",
            hint='Give a table with the columns label and color, or "necrosis=#ffff00".',
        )
    return coding.kind


def _look(raw: RawMask) -> Seen:
    """Look at a mask of which nothing is said."""
    question = _question(raw)
    values = () if question else _distinct(plane_of(raw, GREY))
    return Seen(raw.name, raw.size, values, question, raw.lossy)


def _question(raw: RawMask) -> str:
    if raw.alpha is not None and raw.alpha.size and raw.alpha.min() != raw.alpha.max():
        return "alpha"
    if raw.palette is not None:
        return "" if _palette_is_plain(raw) else "palette"
    if raw.values.ndim == 3 and not is_grey(raw.values):
        return "colours lossy" if raw.lossy else "colours"
    values = raw.values
    return "soft" if values.dtype.kind == "f" and (values != np.floor(values)).any() else ""


def _palette_is_plain(raw: RawMask) -> bool:
    """Return whether colours and numbers say the same: grey n at place n, or black and white."""
    used = _distinct(raw.values)
    assert raw.palette is not None
    if used[-1] >= len(raw.palette) or not is_grey(raw.palette[list(used)]):
        return False
    greys = [int(raw.palette[index, 0]) for index in used]
    return greys == list(used) or (set(used) <= {0, 1} and greys == [255 * i for i in used])


def _look_at(raw: RawMask, plane: str, coding: MaskCoding, kind: str) -> Seen:
    found = plane_of(raw, plane, coding.channel)
    if kind in _THRESHOLDED:
        found = found > coding.threshold * raw.white
    return Seen(raw.name, raw.size, _distinct(found), lossy=raw.lossy)


def _distinct(values: Plane) -> tuple[int, ...]:
    if values.dtype in (np.uint8, np.uint16, np.bool_):
        counts = np.bincount(values.ravel())
        return tuple(np.flatnonzero(counts).tolist())
    return tuple(sorted(int(value) for value in pd.unique(values.ravel())))


def _soft(seen: Sequence[Seen], plane: str, coding: MaskCoding) -> Decoding:
    if not any(1 in one.values for one in seen):
        raise no_foreground(f"above {coding.threshold:g} of full white", len(seen))
    return Decoding(
        classes=(BACKGROUND, coding.name),
        positive=coding.name,
        plane=plane,
        channel=coding.channel,
        threshold=coding.threshold,
        scaled=coding.scaled,
    )


def _binary(seen: Sequence[Seen], plane: str, coding: MaskCoding) -> Decoding:
    values = {value for one in seen for value in one.values} - set(coding.ignore)
    if values <= {0}:
        raise no_foreground("other than 0 or ignored", len(seen))
    if len(values) == 1:
        raise one_value(values.pop(), len(seen))
    white = max(values)
    asked = coding.kind in ("binary", "palette") and len(values) == 2
    if min(values) != 0 or len(values) > 2 or not (asked or white in _WHITES):
        raise ask_values(seen, values, coding)
    ignored = tuple((value, IGNORE) for value in coding.ignore)
    return Decoding(
        classes=(BACKGROUND, coding.name),
        positive=coding.name,
        plane=plane,
        numbers=((0, 0), (white, 1), *ignored),
        scaled=coding.scaled,
    )


def _coded(
    paths: Sequence[Path], seen: Sequence[Seen], plane: str, coding: MaskCoding, codes: CodeTable
) -> tuple[Decoding, tuple[str, ...]]:
    listed = dict(codes.colours if plane == RGB else codes.codes)
    values = {value for one in seen for value in one.values}
    ignored = set(coding.ignore)
    notes = []
    if codes.zero_outside and 0 not in listed and 0 in values:
        ignored.add(0)
        notes.append(
            f"Code 0 is not in {codes.source}, which marks regions of interest: taken for what "
            "lies outside of them, and ignored."
        )
    present = {listed[value] for value in values - ignored if value in listed}
    if codes.rest is not None and values - ignored - set(listed):
        present.add(codes.rest)
    labels = tuple(label for label in codes.labels if label in {codes.rest, *listed.values()})
    found = classes_of(labels, present, coding)
    number = dict.fromkeys(codes.outside, IGNORE) | dict(found.numbers)
    decoding = Decoding(
        classes=found.names,
        positive=found.positive,
        plane=plane,
        numbers=(
            *((value, number[label]) for value, label in listed.items() if value not in ignored),
            *((value, IGNORE) for value in sorted(ignored)),
        ),
        others=None if codes.rest is None else number[codes.rest],
        scaled=coding.scaled,
    )
    _require_known(paths, seen, decoding, lambda raw: plane_of(raw, plane))
    used = {number[label] for label in present}
    absent = [name for i, name in enumerate(found.names) if i not in used]
    if absent:
        notes.append(f"No mask has a pixel of {', '.join(absent)}.")
    return decoding, tuple(notes)


def _require_known(
    paths: Sequence[Path],
    seen: Sequence[Seen],
    decoding: Decoding,
    plane: Callable[[RawMask], Plane],
) -> None:
    """Decode the first mask with a value that means nothing, which raises."""
    if decoding.others is not None:
        return
    known = {value for value, _ in decoding.numbers}
    for path, one in zip(paths, seen, strict=True):
        if not known.issuperset(one.values):
            raw = read_raw(path)
            decode(plane(raw), decoding, raw)
