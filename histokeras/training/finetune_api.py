"""``hk.finetune``: slides or tiles and a cohort in, a fine-tuned network with its figures out."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from histokeras.cohort.grouping import parse_grouping
from histokeras.cohort.split import SHARES, Split, write_split
from histokeras.errors import ConfigError
from histokeras.features.job import ExtractJob
from histokeras.files import write_csv
from histokeras.models.catalog import BAG_HEADS, TILE_HEADS
from histokeras.tiles.grid import TileSpec
from histokeras.training.finetune import FinetuneConfig
from histokeras.training.finetune_run import FinetuneJob, begin_finetune, run_finetune
from histokeras.training.fit import FittedRun
from histokeras.training.fit_job import FitJob
from histokeras.training.head import HeadConfig
from histokeras.training.saved_run import open_run
from histokeras.types import LABEL, Mpp


def finetune(
    inputs: str | Path | Sequence[str | Path],
    cohort: pd.DataFrame | str | Path | None,
    output: str | Path,
    *,
    target: str = LABEL,
    positive: str | None = None,
    group: str | None = None,
    split: Split | None = None,
    shares: tuple[float, float, float] = SHARES,
    slide_table: str | Path | None = None,
    tiles: bool = False,
    tile_table: str | Path | None = None,
    backbone: str = "resnet50",
    weights: str | None = None,
    tile_px: int | None = None,
    mpp: float | None = None,
    head: HeadConfig | None = None,
    config: FinetuneConfig | None = None,
    gpus: str = "all",
    patients_unknown: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> FittedRun:
    """Fine-tune a backbone on tiles, and evaluate it on patients it has not seen.

    Args:
        inputs: Slides, or folders of slides (of tiles with ``tiles``).
        cohort: Label table (or its path): patient_id, slide_id or tile, and ``target``; None for
            the labels that ready-made tiles came with.
        output: The run folder. The same call again goes on after an interruption.
        target: Column of the table that is learned.
        positive: Of two classes the positive one.
        group: A class against the rest, or classes as one: see
            :func:`histokeras.cohort.grouping.parse_grouping`.
        split: From :func:`histokeras.split_patients`; made here if None.
        shares: Percent of train, val and test patients, if split here.
        slide_table: Table with slide_id and any of mpp, patient_id.
        tiles: Whether ``inputs`` are folders of tile images.
        tile_table: Table of these tiles: tile, and any of label, patient_id, slide_id.
        backbone: Name of the network.
        weights: ``imagenet``, a path or ``random:SEED``; the backbone's own default if None.
        tile_px: Side of a tile in pixels; the backbone's own if None.
        mpp: Resolution of the tiles in micrometres per pixel: 0.5 for slides if None; of images
            what they have, which only you know.
        head: Which head, and how it is fitted before.
        config: How backbone and head are then trained.
        gpus: ``all``, ``cpu`` or numbers.
        patients_unknown: Accept slides without patients; every figure then says so.
        say: Called with a line now and then, such as ``print``.

    Returns:
        The run; ``output`` holds all of it, and its ``backbone/weights.safetensors`` can be given
        as ``weights`` elsewhere.

    Raises:
        TableError: If tables do not fit each other or the slides.
        LeakageError: If a patient lies on two sides of the split.
        ConfigError: If options contradict each other, or training comes apart.
    """
    paths = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    folder = Path(output)
    head, config = head or HeadConfig(), config or FinetuneConfig()
    if head.head in BAG_HEADS:
        raise ConfigError(
            f"`head` must be one of {', '.join(TILE_HEADS)}. Received: head={head.head!r}"
        )
    extract = ExtractJob(
        inputs=[Path(path) for path in paths],
        output=folder,
        backbone=backbone,
        weights=weights,
        spec=TileSpec(mpp=Mpp(0.5 if mpp is None else mpp)),
        tiles_mpp=mpp if tiles else None,
        size_px=tile_px,
        slide_table=_path(slide_table),
        ready_made=tiles,
        tile_table=_path(tile_table),
        resize=tiles and tile_px is not None,
        precision=config.precision,
    )
    with tempfile.TemporaryDirectory() as name:
        job = FinetuneJob(
            extract=extract,
            fit=FitJob(
                features=folder,
                labels=_labels(cohort, Path(name)),
                target=target,
                positive=positive,
                group=None if group is None else parse_grouping(group),
                slide_table=_path(slide_table),
                split=_split(split, Path(name)),
                shares=shares,
                head=head,
                patients_unknown=patients_unknown,
            ),
            config=config,
            gpus=gpus,
            say=say,
        )
        options = {"target": target, "backbone": backbone, **config.as_dict()}
        run_finetune(job, begin_finetune(job, config=options), config=options)
    return open_run(folder)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _labels(cohort: pd.DataFrame | str | Path | None, work: Path) -> Path | None:
    if not isinstance(cohort, pd.DataFrame):
        return _path(cohort)
    write_csv(work / "labels.csv", cohort)
    return work / "labels.csv"


def _split(split: Split | None, work: Path) -> Path | None:
    if split is None:
        return None
    write_split(work / "split.csv", split)
    return work / "split.csv"
