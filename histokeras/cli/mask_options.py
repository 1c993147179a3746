"""Options that say where class masks lie and what their values mean, each defined once."""

from collections.abc import Mapping
from typing import Any

import click

from histokeras.cli import options

_KINDS = ("auto", "binary", "soft", "channel", "palette", "alpha", "colours", "codes")

masks = click.option(
    "--masks",
    type=options.existing_folder,
    help="Folder of masks (pictures, .txt matrices) or drawn regions (GeoJSON, ASAP XML), called "
    "as the images are.  [default: beside the images]",
)
pairs = click.option(
    "--pairs",
    "pair_table",
    type=options.existing_file,
    metavar="TABLE",
    help="Table with image, mask and any of image_id, slide_id, patient_id, mpp, instead of names.",
)
slide_table = click.option(
    "--slide-table",
    type=options.existing_file,
    help="Table with slide_id and patient_id, where the names of images do not tell.",
)
default_mpp = click.option(
    "--default-mpp",
    type=click.FloatRange(min=0, min_open=True),
    metavar="UM",
    help="Resolution of images that do not tell it, in um per pixel.",
)
coding = options.together(
    click.option(
        "--mask-coding",
        type=click.Choice(_KINDS),
        default="auto",
        show_default=True,
        help="What values mean: binary: 0 and anything else; soft: grey, by --mask-threshold; "
        "channel: one of red, green, blue; auto decides over all masks, and asks where it cannot.",
    ),
    click.option(
        "--mask-codes",
        metavar="CODES|TABLE",
        help='What codes or colours mean: "necrosis=4", "tumour=1;others=6,-1", '
        '"necrosis=#ffff00", or a table of them.',
    ),
    click.option(
        "--mask-channel",
        type=click.IntRange(0, 2),
        default=1,
        show_default=True,
        help="Of --mask-coding channel: 0 red, 1 green, 2 blue.",
    ),
    click.option(
        "--mask-threshold",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.5,
        show_default=True,
        help="Share of full white above which a pixel is foreground, of soft, channel and alpha.",
    ),
    click.option(
        "--mask-ignore",
        default="",
        metavar="VALUES",
        help="Values, with commas, of pixels that have no class and count nowhere.",
    ),
    click.option(
        "--mask-class",
        "mask_name",
        default="foreground",
        show_default=True,
        metavar="NAME",
        help="What the foreground is called, where masks do not say.",
    ),
    click.option(
        "--group",
        "mask_group",
        default="",
        metavar="CLASS|GROUPS",
        help='A class against the rest: necrosis; or classes as one: "tumour=1,2;stroma=3".',
    ),
    click.option(
        "--positive",
        "mask_positive",
        default="",
        metavar="CLASS",
        help="Of two classes the one of interest.  [default: the foreground, or the class named]",
    ),
    click.option(
        "--roi",
        default="",
        metavar="CLASS",
        help="Drawn class that encloses what was looked at; the rest counts nowhere.",
    ),
    click.option(
        "--scaled-masks",
        is_flag=True,
        help="Masks of pictures may be smaller or larger than these.",
    ),
)
mask_options = options.together(masks, pairs, slide_table, default_mpp, coding)


def pairs_from(arguments: Mapping[str, Any]) -> Any:
    """Return the :class:`histokeras.data.pairs.PairSet` that the options ask for."""
    from histokeras.data.pairs import find_pairs
    from histokeras.slides.inventory import slide_patients

    return find_pairs(
        arguments["images"],
        arguments["masks"],
        table=arguments["pair_table"],
        coding=coding_from(arguments),
        slide_patients=slide_patients(arguments["slide_table"]),
        default_mpp=arguments["default_mpp"],
    )


def coding_from(arguments: Mapping[str, Any]) -> Any:
    """Return the :class:`histokeras.data.masks.MaskCoding` that the options ask for."""
    from histokeras.data.mask_codes import read_codes
    from histokeras.data.masks import MaskCoding

    codes = arguments["mask_codes"]
    return MaskCoding(
        kind=arguments["mask_coding"],
        channel=arguments["mask_channel"],
        threshold=arguments["mask_threshold"],
        codes=None if codes is None else read_codes(codes),
        ignore=_numbers(arguments["mask_ignore"]),
        name=arguments["mask_name"],
        group=arguments["mask_group"],
        positive=arguments["mask_positive"],
        roi=arguments["roi"],
        scaled=arguments["scaled_masks"],
    )


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise click.UsageError(
            f"`--mask-ignore` is whole numbers with commas, such as 255. Received: {text!r}"
        ) from None
