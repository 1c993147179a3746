"""What is asked where masks may be read in two ways, and which option decides."""

from collections.abc import Collection, Sequence
from typing import Protocol

from histokeras.data.masks import MaskCoding
from histokeras.errors import ConfigError, TableError

_SHOWN = 6
_FEW = 32
_OFTEN_NONE = 255
KINDS = {
    "alpha": (
        "has an alpha channel that varies",
        "Give --mask-coding alpha if that is the mask; else save the masks without it.",
    ),
    "palette": (
        "has a palette whose colours are not its numbers",
        "Give --mask-coding palette if the numbers are the classes, or --mask-coding colours "
        "with --mask-codes if the colours are.",
    ),
    "colours": (
        "has three channels that differ",
        "Give --mask-coding channel (with --mask-channel 0, 1 or 2) if one of them is the mask, or "
        "--mask-coding colours with --mask-codes if colours are classes.",
    ),
    "colours lossy": (
        "is a JPEG with three channels that differ; JPEG blurs colours at every edge",
        "Give --mask-coding channel (with --mask-channel 0, 1 or 2), or save the masks as PNG from "
        "their source.",
    ),
    "inverted": (
        "is a TIFF whose 0 is shown as white: programs disagree which of the two is meant",
        "Give --mask-coding binary (or codes) if its numbers are, as ImageJ and tifffile mean it, "
        'with --mask-codes "foreground=0;background=1" (or 255) if its look is.',
    ),
    "soft": (
        "holds fractions",
        "Give --mask-coding soft, with --mask-threshold (0.5 unless you say).",
    ),
}
"""What a file showed -> what is wrong with that, and what to do."""


class SeenValues(Protocol):
    """The part of ``Seen`` that is needed here."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def values(self) -> tuple[int, ...]:
        """Its distinct values."""

    @property
    def lossy(self) -> bool:
        """Whether its format blurs edges."""


def ask_kind(name: str, question: str) -> ConfigError:
    """Return the question which part of a file is the mask.

    Args:
        name: The mask that showed it.
        question: A key of ``KINDS``.
    """
    what, hint = KINDS[question]
    return ConfigError(f"mask `{name}` {what}.", code="MASK_AMBIGUOUS", hint=hint)


def ask_values(
    seen: Sequence[SeenValues], values: Collection[int], coding: MaskCoding
) -> ConfigError:
    """Return the question what values mean.

    Args:
        seen: Every mask.
        values: All their values but the ignored.
        coding: What the user said.
    """
    telling = max(seen, key=lambda one: len(set(one.values) & set(values)))
    where = f"mask `{telling.name}` holds {_listed(telling.values)}"
    if not set(values) <= set(telling.values):
        other = next(one for one in seen if not set(one.values) <= set(telling.values))
        where += f", `{other.name}` {_listed(other.values)}"
    if set(values) == {0, 1, 255}:
        hint = (
            "Give --mask-ignore 255 if 255 means `no class` and 1 the foreground, or "
            '--mask-codes such as "tumour=1;stroma=255;background=0".'
        )
    elif telling.lossy or len(values) > _FEW:
        blurred = (
            "like a JPEG, which blurs edges" if telling.lossy else "like grey levels in between"
        )
        hint = (
            f"That looks {blurred}: give --mask-coding soft, with --mask-threshold (0.5 unless you "
            "say), or masks saved as PNG from their source. If values number single objects, give "
            f'--mask-codes "{coding.name}=*;background=0".'
        )
    else:
        top = max(set(values) - {_OFTEN_NONE}, default=_OFTEN_NONE)
        hint = (
            f'Say what they mean: --mask-codes TABLE (label, code), or "{coding.name}={top}" for '
            "one class against all else"
        )
        none = _OFTEN_NONE in values
        hint += f"; and --mask-ignore {_OFTEN_NONE} if that is no class." if none else "."
    return ConfigError(f"{where}.", code="MASK_AMBIGUOUS", hint=hint)


def _listed(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:_SHOWN]))
    if len(values) == 1:
        return f"the value {shown}"
    more = f" and more, up to {values[-1]}" if len(values) > _SHOWN else ""
    return f"the values {shown}{more}"


def one_value(value: int, n_masks: int) -> ConfigError:
    """Return the question what the only value means."""
    return ConfigError(
        f"all {n_masks} mask(s) hold nothing but {value}: is that foreground or a class?",
        code="MASK_AMBIGUOUS",
        hint=f'Say it with --mask-codes "foreground={value};background=0".',
    )


def no_foreground(what: str, n_masks: int) -> TableError:
    """Return the error for masks without any foreground."""
    return TableError(
        f"none of {n_masks} mask(s) has a pixel {what}: there is nothing to learn.",
        code="MASK_CLASSES",
        hint="Check that these are the masks, and how they are coded (--mask-coding).",
    )
