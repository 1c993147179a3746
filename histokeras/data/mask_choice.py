"""Decide what the values of a set of masks mean: over all of them together, and never by guess."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from histokeras.data.mask_classes import classes_of
from histokeras.data.mask_codes import BACKGROUND, CodeTable
from histokeras.data.mask_files import TEXTS, Plane, RawMask, read_raw
from histokeras.data.mask_look import Seen, look, look_at
from histokeras.data.mask_questions import ask_kind, ask_values, no_foreground, one_value
from histokeras.data.masks import (
    ALPHA,
    CHANNEL,
    GREY,
    INDEX,
    RGB,
    THRESHOLDED,
    Decoding,
    MaskCoding,
    decode,
    plane_of,
)
from histokeras.errors import ConfigError
from histokeras.types import IGNORE

_PLANES = {
    "binary": GREY, "soft": GREY, "channel": CHANNEL, "palette": INDEX, "alpha": ALPHA,
    "colours": RGB, "codes": GREY,
}  # fmt: skip
_SHOWN = 8
_WHITES = frozenset({1, 255, 65535})


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
    if coding.codes is None and (coding.group or coding.positive not in ("", coding.name)):
        raise ConfigError(
            f"the masks hold no classes but background and {coding.name}: `--group` and "
            "`--positive` have nothing to choose from.",
            hint="Give --mask-codes if their values are classes.",
        )
    if kind == "auto":
        seen = [look(read_raw(path)) for path in paths]
        doubtful = next((one for one in seen if one.question), None)
        if doubtful is not None:
            raise ask_kind(doubtful.name, doubtful.question)
        kind, plane = "codes" if coding.codes else "binary", GREY
    else:
        plane = _PLANES[kind]
        seen = [look_at(read_raw(path), plane, coding, kind) for path in paths]
    sizes = tuple(one.size for one in seen)
    if kind in THRESHOLDED:
        _require_one_white(paths, seen)
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


def _require_one_white(paths: Sequence[Path], seen: Sequence[Seen]) -> None:
    """Refuse matrices of numbers of which some reach to 1, others to 255: what is white?"""
    names = {
        one.white: one.name
        for path, one in zip(paths, seen, strict=True)
        if one.white and path.suffix.lower() in TEXTS
    }
    if len(names) > 1:
        raise ConfigError(
            f"mask `{names[1.0]}` holds no number above 1, `{names[255.0]}` numbers up to 255: is "
            "1 full white?",
            code="MASK_AMBIGUOUS",
            hint="Write all of them as shares, 0..1.",
        )


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
        notes.append(_taken_as_rest(sorted(values - ignored - set(listed)), codes.rest, plane))
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


def _taken_as_rest(values: Sequence[int], rest: str, plane: str) -> str:
    shown = [f"#{value:06x}" if plane == RGB else str(value) for value in values[:_SHOWN]]
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return f"Taken for {rest}: {', '.join(shown)}{more}."


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
