"""Class masks: what a mask's values mean, and the class number of each of its pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from histokeras.data.mask_codes import CodeTable
from histokeras.data.mask_files import Plane, RawMask, read_raw
from histokeras.errors import ConfigError, TableError
from histokeras.types import MASK_KINDS

THRESHOLDED = frozenset({"soft", "channel", "alpha"})
"""Kinds whose foreground is what is above a threshold."""
FOREGROUND = "foreground"
GREY, INDEX, CHANNEL, ALPHA, RGB, DRAWN = "grey", "index", "channel", "alpha", "rgb", "drawn"
"""Where in a mask file its values stand."""
LEFT_OUT = -1
"""In place of a class number: regions of this class are not drawn."""
MOST_CLASSES = 200
_UNKNOWN = 254
_MOST_SPAN = 1 << 24
# Above 1: where masks are resized by splines, edges overshoot.
_MOST_SHARE = 2.0
ClassMask = npt.NDArray[np.uint8]
"""Shape (height, width): class numbers in the order of the classes; ``IGNORE`` means none."""


@dataclass(frozen=True, kw_only=True)
class MaskCoding:
    """What a user says of the masks.

    Attributes:
        kind: One of ``MASK_KINDS``; auto decides over all masks together, and asks where it cannot.
        channel: Of kind channel: 0 red, 1 green, 2 blue.
        threshold: Of kinds soft, channel and alpha: foreground is what is above this share of full
            white, 0..1.
        codes: What codes or colours mean, None if nothing is said.
        ignore: Values whose pixels have no class.
        name: The class of the foreground where the masks do not name it.
        group: Classes that count as one, as ``--group`` has it; "" leaves them as they are.
        positive: Of two classes the one of interest; "" where it is known without.
        roi: Drawn class that encloses what was looked at; the rest is ignored; "" if all was.
        only: Drawn classes that count; regions of others are as if they were not there; () for all.
        scaled: Whether a picture may have a mask of another size.
    """

    kind: str = "auto"
    channel: int = 1
    threshold: float = 0.5
    codes: CodeTable | None = None
    ignore: tuple[int, ...] = ()
    name: str = FOREGROUND
    group: str = ""
    positive: str = ""
    roi: str = ""
    only: tuple[str, ...] = ()
    scaled: bool = False

    def __post_init__(self) -> None:
        if self.kind not in MASK_KINDS:
            raise ConfigError(
                f"`--mask-coding` is one of {', '.join(MASK_KINDS)}. Received: {self.kind!r}"
            )
        if self.channel not in (0, 1, 2):
            raise ConfigError(
                f"`--mask-channel` is 0 (red), 1 (green) or 2 (blue). Received: {self.channel}"
            )
        if not 0 <= self.threshold < 1:
            raise ConfigError(
                f"`--mask-threshold` is a share of full white, 0..1. Received: {self.threshold}"
            )
        if self.kind in THRESHOLDED and (self.codes or self.ignore):
            raise ConfigError(
                f"`--mask-coding {self.kind}` cuts masks at a threshold: they have no codes.",
                hint="Leave out --mask-codes and --mask-ignore.",
            )
        if self.kind in ("colours", "codes") and self.codes is None:
            raise ConfigError(
                f"`--mask-coding {self.kind}` needs to know what they mean.",
                hint='Give --mask-codes TABLE, or typed, such as --mask-codes "necrosis=4".',
            )


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the masks of one set become class numbers: decided, the same for every mask.

    Attributes:
        classes: Names; a pixel's class number is the position of its class.
        positive: Of two classes the one of interest, which is the second; None if none is.
        plane: ``GREY``, ``INDEX``, ``CHANNEL``, ``ALPHA``, ``RGB`` or ``DRAWN``.
        channel: Of plane ``CHANNEL``: 0 red, 1 green, 2 blue.
        threshold: Share of full white above which a pixel is of class 1; None where values are
            codes.
        numbers: (value, class number or ``IGNORE``) of each code; colours are 0xRRGGBB.
        others: Class number of every value that is not listed; None if such a value is an error.
        drawn: (class as drawn, class number, ``IGNORE`` or ``LEFT_OUT``), of plane ``DRAWN``.
        undrawn: Class number of what nothing is drawn on.
        roi: Drawn class that encloses what was looked at, "" if all was.
        unnamed: Class of what is drawn without one.
        scaled: Whether a picture may have a mask of another size.
    """

    classes: tuple[str, ...]
    positive: str | None = None
    plane: str = GREY
    channel: int = 1
    threshold: float | None = None
    numbers: tuple[tuple[int, int], ...] = ()
    others: int | None = None
    drawn: tuple[tuple[str, int], ...] = ()
    undrawn: int = 0
    roi: str = ""
    unnamed: str = FOREGROUND
    scaled: bool = False


def read_mask(path: Path, decoding: Decoding) -> ClassMask:
    """Read a mask as class numbers.

    Args:
        path: A picture or a matrix of numbers.
        decoding: What its values mean, from ``choose_decoding``.

    Returns:
        Shape (height, width), uint8.

    Raises:
        SlideError: MASK_UNREADABLE or SLIDE_TOO_LARGE.
        TableError: MASK_VALUES if it holds a value that means nothing, MASK_KIND if it has no such
            channel.
    """
    raw = read_raw(path)
    return decode(plane_of(raw, decoding.plane, decoding.channel), decoding, raw)


def plane_of(raw: RawMask, plane: str, channel: int = 1) -> Plane:
    """Return the values that matter, one a pixel.

    Args:
        raw: The mask as its file has it.
        plane: ``GREY``, ``INDEX``, ``CHANNEL``, ``ALPHA`` or ``RGB``.
        channel: Of ``CHANNEL``.

    Returns:
        Shape (height, width); colours as 0xRRGGBB.

    Raises:
        TableError: MASK_KIND if the file has no such values.
    """
    if plane == ALPHA:
        if raw.alpha is None:
            raise _of_other_kind(raw, "has no alpha channel")
        return raw.alpha
    if plane == INDEX:
        if raw.values.ndim == 3:
            raise _of_other_kind(raw, "is coloured without a palette")
        return raw.values
    return _coloured_plane(raw, plane, channel)


def _coloured_plane(raw: RawMask, plane: str, channel: int) -> Plane:
    colours = raw.values if raw.palette is None else _painted(raw)
    if plane == GREY:
        if colours.ndim == 3 and not is_grey(colours):
            raise _of_other_kind(raw, "is coloured")
        return colours if colours.ndim == 2 else colours[..., 0]
    if plane == CHANNEL:
        return colours if colours.ndim == 2 else colours[..., channel]
    if colours.dtype != np.uint8:
        raise _of_other_kind(raw, f"has values of {colours.dtype}, colours have 8 bits")
    if colours.ndim == 2:
        # Single bits are black and white.
        colours = colours * np.uint8(255) if raw.white == 1 else colours
        colours = np.repeat(colours[..., None], 3, axis=2)
    wide = colours.astype(np.int32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2])


def _painted(raw: RawMask) -> Plane:
    assert raw.palette is not None
    if raw.values.size and int(raw.values.max()) >= len(raw.palette):
        raise _of_other_kind(raw, "has values beyond its palette")
    return raw.palette[raw.values]


def is_grey(colours: Plane) -> bool:
    """Return whether the three channels are equal everywhere.

    Args:
        colours: Shape (..., 3).
    """
    first = colours[..., 0]
    return bool((first == colours[..., 1]).all() and (first == colours[..., 2]).all())


def _of_other_kind(raw: RawMask, what: str) -> TableError:
    return TableError(
        f"mask `{raw.name}` {what}, unlike what --mask-coding says or the other masks show.",
        code="MASK_KIND",
        hint="Give masks of one kind, and the --mask-coding that fits them.",
    )


def decode(plane: Plane, decoding: Decoding, raw: RawMask) -> ClassMask:
    """Turn values into class numbers.

    Args:
        plane: Shape (height, width).
        decoding: What they mean.
        raw: Where they come from.

    Returns:
        Shape (height, width), uint8.

    Raises:
        TableError: MASK_VALUES, naming the first value that means nothing and how often it stands;
            MASK_KIND if fractions are neither codes nor shares.
    """
    if decoding.threshold is not None:
        return above(plane, decoding.threshold, raw).astype(np.uint8)
    if plane.dtype.kind == "f":
        if not (plane == np.floor(plane)).all():
            raise _of_other_kind(raw, "holds fractions")
        plane = plane.astype(np.int64)
    low, high = int(plane.min()), int(plane.max())
    if high - low >= _MOST_SPAN:
        raise _of_other_kind(raw, f"holds values from {low} to {high}, which are no codes")
    unknown = _UNKNOWN if decoding.others is None else decoding.others
    table = np.full(high - low + 1, unknown, np.uint8)
    for value, number in decoding.numbers:
        if low <= value <= high:
            table[value - low] = number
    # Unsigned values cannot be moved below zero; most begin at it anyway.
    mask = np.asarray(table[plane if low == 0 else plane.astype(np.int64) - low])
    if decoding.others is None and (mask == _UNKNOWN).any():
        raise _unknown_value(plane, mask, decoding, raw)
    return mask


def above(plane: Plane, threshold: float, raw: RawMask) -> npt.NDArray[np.bool_]:
    """Return where values are above a threshold.

    Args:
        plane: Shape (height, width).
        threshold: Share of full white, 0..1.
        raw: Where they come from.

    Returns:
        Shape (height, width).

    Raises:
        TableError: MASK_KIND if fractions are no shares.
    """
    if raw.white == 1 and plane.size and float(plane.max()) > _MOST_SHARE:
        raise TableError(
            f"mask `{raw.name}` holds fractions up to {float(plane.max()):g}; shares of full white "
            "lie in 0..1.",
            code="MASK_KIND",
            hint="Divide them by what is full white, such as 255.",
        )
    return np.asarray(plane > threshold * raw.white)


def _unknown_value(plane: Plane, mask: ClassMask, decoding: Decoding, raw: RawMask) -> TableError:
    value = int(plane[mask == _UNKNOWN][0])
    count = int((plane == value).sum())
    colour = decoding.plane == RGB
    shown = f"the colour #{value:06x}" if colour else f"the value {value}"
    return TableError(
        f"mask `{raw.name}`: {count} px have {shown}, which means no class.",
        code="MASK_VALUES",
        hint=f"Add it to --mask-codes, or give --mask-ignore {value}."
        if not colour
        else "Add the colour to --mask-codes; lossy formats (JPEG) blur colours.",
    )
