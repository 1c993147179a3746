"""The classes of a set of masks, and the class number of each label that a mask may hold."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from histokeras.cohort.grouping import parse_grouping
from histokeras.data.mask_codes import BACKGROUND
from histokeras.data.masks import MOST_CLASSES, MaskCoding
from histokeras.errors import ConfigError, TableError
from histokeras.types import IGNORE

_OF_NO_INTEREST = frozenset({BACKGROUND, "other", "others", "rest", "normal", "none", "negative"})


@dataclass(frozen=True)
class Classes:
    """The classes of a set of masks.

    Attributes:
        names: In the order of their numbers.
        positive: Of two classes the one of interest, the second; None if none is.
        numbers: Label -> class number, or ``IGNORE`` for one that is in no group.
    """

    names: tuple[str, ...]
    positive: str | None
    numbers: Mapping[str, int]


def classes_of(labels: Sequence[str], present: Collection[str], coding: MaskCoding) -> Classes:
    """Decide the classes.

    Args:
        labels: Every label that the masks may hold, in order.
        present: Those that occur.
        coding: ``group`` and ``positive`` of it are heeded.

    Returns:
        Without groups the labels that occur, with groups these. Of two classes the one of interest
        is the second: the one that ``positive`` names, or the only one in a group, or the only one
        beside "background", "other", "rest", "normal", "none" or "negative".

    Raises:
        TableError: If a group names an unknown label, or less than two classes remain.
        ConfigError: If ``positive`` is none of two classes.
    """
    if coding.group:
        grouping = parse_grouping(coding.group)
        grouping.require_known(list(labels), "mask")
        group_of = {label: grouping.group_of(label) for label in labels}
        names, positive = tuple(grouping.members), grouping.positive
    else:
        group_of = {label: label for label in labels}
        names, positive = tuple(label for label in labels if label in present), None
    if not 2 <= len(names) <= MOST_CLASSES:
        raise TableError(
            f"the masks hold {len(names)} class(es) ({', '.join(names[:3]) or 'none'}); a "
            f"segmenter tells 2 to {MOST_CLASSES}.",
            code="MASK_CLASSES",
            hint="Check the masks, --mask-codes and --group.",
        )
    positive = _positive(names, positive, coding.positive)
    if positive is not None:
        names = (next(name for name in names if name != positive), positive)
    at = {name: number for number, name in enumerate(names)}
    numbers = {label: at.get(group or "", IGNORE) for label, group in group_of.items()}
    return Classes(names, positive, numbers)


def _positive(names: Sequence[str], grouped: str | None, asked: str) -> str | None:
    if asked:
        if len(names) != 2 or asked not in names:
            raise ConfigError(
                f"`--positive` names one of two classes; the masks have {', '.join(names)}. "
                f"Received: {asked!r}"
            )
        return asked
    if len(names) != 2 or grouped:
        return grouped if len(names) == 2 else None
    plain = [name for name in names if name.casefold() in _OF_NO_INTEREST]
    return next(name for name in names if name not in plain) if len(plain) == 1 else None
