"""Options of commands that read class masks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from histokeras.cli import options
from histokeras.types import MASK_KINDS

if TYPE_CHECKING:
    from histokeras.data.masks import MaskCoding

F = TypeVar("F", bound=Callable[..., Any])

coding = click.option(
    "--mask-coding",
    type=click.Choice(MASK_KINDS),
    default=MASK_KINDS[0],
    show_default=True,
    help="How masks are written: binary is 0 and one other value; soft, channel and alpha are cut "
    "at --mask-threshold; palette and codes are numbers, colours colours, of --mask-codes. auto "
    "looks at all masks, and asks where two readings fit.",
)
channel = click.option(
    "--mask-channel",
    type=click.IntRange(0, 2),
    default=1,
    show_default=True,
    help="Of --mask-coding channel: 0 red, 1 green, 2 blue.",
)
threshold = click.option(
    "--mask-threshold",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.5,
    show_default=True,
    help="Foreground is what is above this share of full white.",
)
codes = click.option(
    "--mask-codes",
    metavar="TABLE|CODES",
    help='What codes mean: a table (label, code or color), or "necrosis=4" for one class against '
    'all else, "tumour=1;others=6,-1", "necrosis=#ffff00".',
)
ignore = click.option(
    "--mask-ignore",
    type=int,
    multiple=True,
    metavar="VALUE",
    help="Value whose pixels have no class; may be given several times.",
)
name = click.option(
    "--mask-class",
    default="foreground",
    show_default=True,
    metavar="NAME",
    help="What the foreground is called where masks do not name it.",
)
roi = click.option(
    "--roi",
    default="",
    metavar="CLASS",
    help="Drawn class that encloses what was looked at; what lies outside is ignored.",
)
only = click.option(
    "--drawn-class",
    multiple=True,
    metavar="CLASS",
    help="Drawn class that counts: regions of other classes are as if they were not drawn, also "
    "where they lie above; may be given several times.  [default: all]",
)
scaled = click.option(
    "--scaled-masks", is_flag=True, help="Let a picture have a mask of another size."
)


def mask_options(function: F) -> F:
    """Add the options of a ``MaskCoding``; the command receives what ``coding_from`` takes."""
    return options.together(coding, channel, threshold, codes, ignore, name, only, roi, scaled)(
        function
    )


def coding_from(
    *,
    mask_coding: str,
    mask_channel: int,
    mask_threshold: float,
    mask_codes: str | None,
    mask_ignore: tuple[int, ...],
    mask_class: str,
    roi: str,
    drawn_class: tuple[str, ...],
    scaled_masks: bool,
    group: str | None = None,
    positive: str | None = None,
) -> "MaskCoding":
    """Turn the options into what is said of the masks.

    Raises:
        ConfigError: If they contradict each other.
        TableError: If the table of codes cannot be used.
    """
    from histokeras.data.mask_codes import read_codes
    from histokeras.data.masks import MaskCoding

    return MaskCoding(
        kind=mask_coding,
        channel=mask_channel,
        threshold=mask_threshold,
        codes=read_codes(mask_codes) if mask_codes else None,
        ignore=tuple(mask_ignore),
        name=mask_class,
        group=group or "",
        positive=positive or "",
        roi=roi,
        only=tuple(drawn_class),
        scaled=scaled_masks,
    )
