"""Options of the commands that train segmenters, each defined once."""

from collections.abc import Mapping
from typing import Any

import click

from histokeras.cli import options, study_options
from histokeras.cli.mask_options import coding_from, mask_options
from histokeras.models.catalog import (
    AUGMENTATION_NAMES,
    FREEZE,
    NORMS,
    OUTPUT_STRIDES,
    SEGMENTER_BACKBONES,
    SEGMENTER_CHANNELS,
    SEGMENTERS,
)

_UNET = "unet"
_LOSSES = ("ce+dice", "ce", "dice", "focal", "focal+dice")
_CHANNELS = ", ".join(f"{name} {width}" for name, width in SEGMENTER_CHANNELS.items())

images = click.argument("images", type=options.existing_path, required=False)
masks = click.option(
    "--masks",
    type=options.existing_folder,
    help="Folder of masks (pictures, .txt matrices) or drawn regions (GeoJSON, ASAP XML), called "
    "as the images are.  [default: beside the images]",
)
pair_table = click.option(
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
mpp = click.option(
    "--mpp",
    type=click.FloatRange(min=0, min_open=True),
    metavar="UM",
    help="Resolution to work at, in um per pixel. Coarse classes, as necrosis, need 1 to 4.  "
    "[default: the images' own pixels]",
)
folds = click.option(
    "--cv",
    "folds",
    type=click.IntRange(min=3),
    metavar="K",
    help="Cross-validate: K folds of patients, a network each; every image is tested once.",
)
pair_options = options.together(
    images, masks, pair_table, slide_table, mask_options, study_options.group, options.positive
)
"""Images with their masks, and what these mean; what :func:`pairs_from` reads."""
_OF_MASKS = ("mask_coding", "mask_channel", "mask_threshold", "mask_codes", "mask_ignore",
             "mask_class", "drawn_class", "roi", "scaled_masks", "group", "positive")  # fmt: skip
network_options = options.together(
    click.option(
        "--network",
        type=click.Choice(SEGMENTERS),
        default="deeplabv3+",
        show_default=True,
        help="deeplabv3+ follows edges more closely than deeplabv3; unet has no backbone.",
    ),
    click.option(
        "--backbone",
        type=click.Choice(SEGMENTER_BACKBONES),
        help="Network that DeepLab is built on.  [default: resnet50; unet: none]",
    ),
    options.weights,
    click.option(
        "--channels",
        type=click.IntRange(1, 1024),
        help=f"Width of the decoder.  [default: {_CHANNELS}]",
    ),
    click.option(
        "--norm",
        type=click.Choice(NORMS),
        help="How the segmenter's own layers are normalised: within each image, or over the batch "
        "of all devices, as unet always is.  [default: group; unet: batch]",
    ),
    click.option(
        "--grey",
        is_flag=True,
        help="Let the network see the luminance of images alone, one channel: of unet. With "
        "--channels 64 it is the first U-Net's size.",
    ),
    study_options.train_batch_norm,
)
training_options = options.together(
    click.option(
        "--crop-px",
        type=click.IntRange(min=32),
        default=256,
        show_default=True,
        help="Side of the squares that it learns from, in pixels at --mpp; a multiple of 32.",
    ),
    click.option(
        "--augment",
        "augmentation",
        type=click.Choice(AUGMENTATION_NAMES),
        default="light",
        show_default=True,
        help="How crops are varied in training, image and mask alike: see README.",
    ),
    click.option(
        "--loss",
        type=click.Choice(_LOSSES),
        default=_LOSSES[0],
        show_default=True,
        help="What is made small: ce is cross-entropy.",
    ),
    click.option(
        "--focal-gamma",
        type=click.FloatRange(min=0),
        default=2.0,
        show_default=True,
        help="Of focal: how little pixels count that are right already.",
    ),
    click.option(
        "--class-weight",
        type=click.Choice(("none", "balanced")),
        default="none",
        show_default=True,
        help="balanced: each class weighs the same in the loss.",
    ),
    click.option(
        "--epochs", type=click.IntRange(min=1), default=40, show_default=True, help="At most."
    ),
    click.option(
        "--steps-per-epoch",
        type=click.IntRange(min=1),
        metavar="N",
        help="Batches between two looks at val.  [default: as many as cover train once, 25 to 250]",
    ),
    click.option(
        "--patience",
        "--early-stopping",
        "patience",
        type=click.IntRange(min=1),
        default=10,
        show_default=True,
        help="Stop after this many epochs without a higher IoU on val.",
    ),
)

searched_options = options.together(
    click.option(
        "--output-stride",
        type=click.Choice([str(stride) for stride in OUTPUT_STRIDES]),
        default="16",
        show_default=True,
        help="Pixels a cell of DeepLab's map. 8 is finer and takes about three times as long.",
    ),
    click.option(
        "--freeze",
        type=click.Choice(FREEZE),
        default="none",
        show_default=True,
        help="What of the backbone does not learn: half: what comes before stride 8; most: all "
        "but its last block; backbone: all of it.",
    ),
    click.option(
        "--dice-weight",
        type=click.FloatRange(min=0),
        default=1.0,
        show_default=True,
        help="What the Dice loss weighs beside 1 of the other.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=8,
        show_default=True,
        help="Crops a step, over all devices.",
    ),
    click.option(
        "--learning-rate",
        "--lr",
        "learning_rate",
        type=click.FloatRange(min=0, min_open=True),
        default=5e-4,
        show_default=True,
        help="Of AdamW, at its highest; it falls to 0 over all epochs.",
    ),
    click.option(
        "--weight-decay",
        type=click.FloatRange(min=0),
        default=1e-4,
        show_default=True,
        help="Of AdamW.",
    ),
)
"""What `tune segmenter` searches; `fit-segmenter` alone has these."""


def pairs_from(arguments: Mapping[str, Any]) -> Any:
    """Return the :class:`histokeras.data.pairs.PairSet` that the options ask for."""
    from histokeras.data.pairs import find_pairs
    from histokeras.slides.inventory import slide_patients

    return find_pairs(
        arguments["images"],
        arguments["masks"],
        table=arguments["pair_table"],
        coding=coding_from(**{name: arguments[name] for name in _OF_MASKS}),
        slide_patients=slide_patients(arguments["slide_table"]),
        default_mpp=arguments["default_mpp"],
    )


def job_from(arguments: dict[str, Any]) -> Any:
    """Return the :class:`histokeras.training.segmentation_job.SegmenterJob` that was asked for."""
    from histokeras.cohort.split import SHARES, parse_shares
    from histokeras.errors import ConfigError
    from histokeras.models.segmenters import SegmenterSpec
    from histokeras.training.loop import FitConfig
    from histokeras.training.segmentation_config import SegmenterConfig
    from histokeras.training.segmentation_job import SegmenterJob

    network, backbone = arguments["network"], arguments["backbone"]
    if network == _UNET and (backbone or arguments["weights"]):
        raise ConfigError("`--network unet` has no backbone: leave --backbone and --weights out.")
    if arguments["grey"] and network != _UNET:
        raise ConfigError(
            f"`--grey` is of `--network unet`: the backbone of {network} was trained on colours."
        )
    fit = {key: arguments[key] for key in ("epochs", "batch_size", "patience", "learning_rate")}
    same = ("crop_px", "loss", "dice_weight", "focal_gamma", "class_weight", "freeze",
            "batch_norm", "augmentation", "weight_decay", "steps_per_epoch")  # fmt: skip
    # What is wrong with these is said before every mask is read.
    config = SegmenterConfig(
        precision="mixed_float16" if arguments["mixed_precision"] else "float32",
        fit=FitConfig(seed=arguments["seed"], **fit),
        **{name: arguments[name] for name in same},
    )
    pairs = pairs_from(arguments)
    spec = SegmenterSpec(
        network=network,
        backbone="" if network == _UNET else backbone or "resnet50",
        output_stride=int(arguments["output_stride"]),
        n_classes=len(pairs.classes),
        channels=arguments["channels"] or SEGMENTER_CHANNELS[network],
        norm=arguments["norm"] or "",
        n_inputs=1 if arguments["grey"] else 3,
    )
    kept = ("mpp", "weights", "trust", "split", "folds", "patients_unknown", "gpus", "workers",
            "n_resamples")  # fmt: skip
    return SegmenterJob(
        pairs=pairs,
        spec=spec,
        config=config,
        shares=parse_shares(arguments["shares"]) if arguments["shares"] else SHARES,
        say=lambda line: click.echo(line, err=True),
        **{name: arguments[name] for name in kept},
    )
