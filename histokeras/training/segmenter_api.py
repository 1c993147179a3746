"""``hk.fit_segmenter``: images with class masks in, a network with its figures out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from histokeras.cohort.split import SHARES
from histokeras.data.masks import MaskCoding
from histokeras.data.pairs import find_pairs
from histokeras.errors import ConfigError
from histokeras.models.catalog import SEGMENTER_CHANNELS
from histokeras.models.segmenters import UNET, SegmenterSpec
from histokeras.runs.record import read_object
from histokeras.training.segmentation_config import SegmenterConfig
from histokeras.training.segmentation_job import SegmenterJob, prepare_segmentation
from histokeras.training.segmentation_run import run_segmenter
from histokeras.types import Mpp


def fit_segmenter(
    images: str | Path | None,
    masks: str | Path | None,
    output: str | Path,
    *,
    pairs: str | Path | None = None,
    coding: MaskCoding | None = None,
    mpp: float | None = None,
    network: str = "deeplabv3+",
    backbone: str = "resnet50",
    weights: str | None = None,
    output_stride: int = 16,
    channels: int | None = None,
    norm: str = "",
    grey: bool = False,
    config: SegmenterConfig | None = None,
    split: str | Path | None = None,
    shares: tuple[float, float, float] = SHARES,
    folds: int | None = None,
    gpus: str = "all",
    patients_unknown: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train a network on images and class masks, and evaluate it on patients it has not seen.

    Args:
        images: Folder of pictures or slides; None with ``pairs``.
        masks: Folder of masks or drawn regions of the same names; None if they lie among the
            images, or with ``pairs``.
        output: The run folder. The same call again goes on after an interruption.
        pairs: Table with image, mask and any of image_id, slide_id, patient_id, mpp.
        coding: What the masks mean; what they show by themselves if None.
        mpp: Resolution to work at in micrometres per pixel; the images' own pixels if None.
        network: ``deeplabv3``, ``deeplabv3+`` or ``unet``, which has no backbone.
        backbone: ``resnet50``, ``mobilenetv2`` or ``mini``.
        weights: Of the backbone: ``imagenet``, a path or ``random:SEED``; its own default if None.
        output_stride: Pixels a cell of DeepLab's map, 8 or 16.
        channels: Width of the decoder; the network's own if None.
        norm: ``group`` or ``batch``: see :class:`~histokeras.models.segmenters.SegmenterSpec`.
        grey: Whether the network sees the luminance of images alone, as ``unet`` can.
        config: How it is trained.
        split: A split file; split here if None.
        shares: Percent of train, val and test patients, if split here.
        folds: Cross-validate: so many folds of patients, a network each.
        gpus: ``all``, ``cpu`` or numbers.
        patients_unknown: Accept images without patients; every figure then says so.
        say: Called with a line now and then, such as ``print``.

    Returns:
        The figures, as metrics.json has them. :func:`histokeras.open_segmenter` opens the network,
        :func:`histokeras.write_report` writes the page.

    Raises:
        TableError: If images, masks and tables do not fit each other.
        LeakageError: If a patient lies on two sides of the split.
        ConfigError: If options contradict each other, masks may be read in two ways, or training
            comes apart.
    """
    if network == UNET and weights is not None:
        raise ConfigError(f"`network` unet has no backbone. Received: weights={weights!r}")
    folder, paths = Path(output), [None if p is None else Path(p) for p in (images, masks, pairs)]
    found = find_pairs(paths[0], paths[1], table=paths[2], coding=coding)
    spec = SegmenterSpec(
        network=network,
        backbone="" if network == UNET else backbone,
        output_stride=output_stride,
        n_classes=len(found.classes),
        channels=channels or SEGMENTER_CHANNELS[network],
        norm=norm,
        n_inputs=1 if grey else 3,
    )
    job = SegmenterJob(
        pairs=found,
        mpp=None if mpp is None else Mpp(mpp),
        spec=spec,
        weights=weights,
        config=config or SegmenterConfig(),
        split=None if split is None else Path(split),
        shares=shares,
        folds=folds,
        patients_unknown=patients_unknown,
        gpus=gpus,
        say=say,
    )
    options = {"network": network, "backbone": spec.backbone, **job.config.as_dict()}
    metrics = run_segmenter(job, prepare_segmentation(job), folder, config=options)
    return read_object(folder / "metrics.json") if metrics is None else metrics
