"""``finetune`` as a whole: frozen features, a head on them, the second phase, the figures."""

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from histokeras.analysis.calibration import fit_temperature
from histokeras.cohort.split_table import Split
from histokeras.errors import ConfigError, OutputError, TableError
from histokeras.features.engine import open_engine
from histokeras.features.extract import extract_to_folder
from histokeras.features.index import index_features
from histokeras.features.job import ExtractJob, Prepared, prepare_job
from histokeras.features.pixels import TilePixels
from histokeras.features.plan import Plan
from histokeras.features.ready_made import TileSetSource
from histokeras.features.run import Manner, run_job
from histokeras.features.tally import Tally
from histokeras.files import prepare_folder, remove, sha256_file
from histokeras.models.backbone_file import write_backbone
from histokeras.models.catalog import STAIN_TEXTURE, require_backbone
from histokeras.models.devices import choose_strategy, describe_devices
from histokeras.models.drop_block import require_drop_block
from histokeras.models.heads import build_head
from histokeras.models.weights import TUNED_FILE
from histokeras.runs.environment import usable_cores
from histokeras.runs.record import RunRecord, read_record, require_own_folder
from histokeras.training.finetune import FinetuneConfig, Tuned, finetune
from histokeras.training.fit_job import FitJob, Study, join_study, prepare_study
from histokeras.training.fit_run import OUTPUTS, Way, is_done, run_fit
from histokeras.training.fit_study import (
    CHECKPOINTS,
    HEAD,
    FitResult,
    Fold,
    fit_fold_baselines,
    fit_fold_head,
    fit_study,
    resume_of,
    rows_of,
)
from histokeras.training.head import FittedHead, predict_probabilities
from histokeras.training.loop import OnEpoch, Resume
from histokeras.training.references import label_weights
from histokeras.training.rows import TileRows
from histokeras.training.vectors import open_vectors
from histokeras.types import PATIENT_ID, REGRESSION, SLIDE_ID, TILE

FROZEN, TUNED = "frozen", "tuned"
"""Folders of features in a run: before and after fine-tuning."""
_BACKBONE = str(TUNED_FILE.parent)
_OWN = (FROZEN, TUNED, _BACKBONE, CHECKPOINTS)


@dataclass(frozen=True, kw_only=True)
class FinetuneJob:
    """What to fine-tune on what.

    Attributes:
        extract: Slides or tiles, backbone, weights, how tiles are cut; its output folder is the
            run's.
        fit: Labels, split, head; its ``features`` are not used.
        config: How the second phase is trained.
        gpus: ``all``, ``cpu`` or numbers.
        workers: Reading threads; the number of cores, at most 8, if None.
        batch_size: Tiles read ahead together while extracting.
        say: Called with a line for the user now and then.
    """

    extract: ExtractJob
    fit: FitJob
    config: FinetuneConfig = field(default_factory=FinetuneConfig)
    gpus: str = "all"
    workers: int | None = None
    batch_size: int = 64
    say: Callable[[str], None] = lambda line: None

    def __post_init__(self) -> None:
        require_drop_block(self.extract.backbone, self.config.drop_block)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.extract.output


@dataclass(frozen=True)
class Begun:
    """A run whose frozen features are there, its labels joined.

    Attributes:
        prepared: The frozen extraction.
        study: Features, labels and split.
    """

    prepared: Prepared
    study: Study

    @property
    def plan(self) -> Plan:
        """What became of each slide."""
        return self.prepared.plan


def begin_finetune(
    job: FinetuneJob,
    *,
    config: Mapping[str, Any],
    on_prepared: Callable[[Prepared], None] = lambda prepared: None,
) -> Begun:
    """Extract the features of the frozen backbone, and join labels and split to them.

    Args:
        job: What to do.
        config: The resolved options, for run.json.
        on_prepared: Called before features are extracted.

    Raises:
        ConfigError: If the run folder holds something else, or the backbone is no network.
        HistokerasError: Whatever extraction and labels raise.
    """
    backbone = require_backbone(job.extract.backbone)
    if backbone.name == STAIN_TEXTURE.name:
        raise ConfigError(f"{backbone.name} is no network: there is nothing to fine-tune.")
    require_own_folder(job.folder, ("finetune",), (*OUTPUTS, *_OWN))
    frozen = dataclasses.replace(job.extract, output=job.folder / FROZEN)
    prepared = prepare_job(frozen)
    on_prepared(prepared)
    # Before hours of work, not after them.
    split = _join_first(job, prepared)
    if split.folds:
        raise ConfigError(
            "`finetune` takes one split into train, val and test, not folds.",
            hint="Make one with `histokeras split` without --cv, or leave --split out.",
        )
    prepare_folder(job.folder)
    job.say(f"1 of 3: features of the frozen {backbone.name}")
    # Whose folder it is, should the extraction be interrupted.
    record = None if read_record(job.folder) else RunRecord("finetune", config)
    if record is not None:
        record.write(job.folder, status="running")
    try:
        _extract(job, frozen, prepared, config)
    except BaseException:
        if record is not None:
            with suppress(OutputError):
                record.write(job.folder, status="interrupted")
        raise
    if not prepared.plan.finished():
        raise TableError(
            f"none of {len(prepared.plan.outcomes)} slides could be used: "
            f"see {job.folder / FROZEN / 'failures.csv'}.",
            code="NO_TILES",
        )
    study = prepare_study(dataclasses.replace(job.fit, features=job.folder / FROZEN))
    return Begun(prepared, study)


def _join_first(job: FinetuneJob, prepared: Prepared) -> Split:
    """Join labels and split to slides that are not extracted yet: what is wrong is found now."""
    try:
        return join_study(job.fit, *_units(prepared))[2]
    except TableError as error:
        if REGRESSION not in error.hint:
            raise
        hint = "`finetune` learns classes; numbers are learned by `fit-head --task regression`."
        raise TableError(error.message, code=error.code, hint=hint) from error


def _units(prepared: Prepared) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return what labels are joined to, before any feature is there."""
    parts = [source.described() for source in prepared.sources if isinstance(source, TileSetSource)]
    if parts:
        tiles = pd.concat(parts, ignore_index=True)
        return tiles[[TILE, SLIDE_ID, PATIENT_ID]], tiles
    return pd.DataFrame({SLIDE_ID: [source.slide_id for source in prepared.sources]}), None


def run_finetune(
    job: FinetuneJob,
    begun: Begun,
    *,
    config: dict[str, Any],
    command_line: str = "",
    overwrite: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> FitResult | None:
    """Fit the head, fine-tune, extract with the tuned backbone, and evaluate that.

    Args:
        job: What to do.
        begun: From :func:`begin_finetune`.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.
        overwrite: Whether another run may be replaced.
        facts: What else run.json keeps.

    Returns:
        What was fitted; None if this very run stands there already, finished.

    Raises:
        FeatureError: If another run stands there (CONFIG_MISMATCH).
        OutputError: If it cannot be written.
    """
    inputs = {"finetune": job.config.as_dict()}
    every = {**begun.study.inputs, **inputs}
    kept = {"finetune": dict(job.config.as_dict()), "devices": {}, **(facts or {})}
    fit_job = dataclasses.replace(job.fit, features=job.folder / FROZEN)
    if not overwrite and is_done(job.folder, every) and _has_backbone(job.folder):
        remove(job.folder, [CHECKPOINTS])
        return None
    if overwrite:
        remove(job.folder, [TUNED, _BACKBONE])

    def fit(study: Study, fitted: FitJob, folder: Path) -> FitResult:
        return _fit(job, begun, study, fitted, kept, every, config)

    way = Way("finetune", fit, _has_backbone, inputs, kept, begun.plan.failures)
    return run_fit(
        fit_job,
        begun.study,
        job.folder,
        config=config,
        command_line=command_line,
        overwrite=overwrite,
        way=way,
    )


def _has_backbone(folder: Path) -> bool:
    """Whether the fine-tuned weights lie there as the record names them."""
    known = read_record(folder).get("finetune", {}).get("weights_sha256")
    path = folder / TUNED_FILE
    return path.is_file() and sha256_file(path) == known


def _fit(
    job: FinetuneJob,
    begun: Begun,
    study: Study,
    fit_job: FitJob,
    facts: dict[str, Any],
    inputs: Mapping[str, Any],
    config: Mapping[str, Any],
) -> FitResult:
    rows = rows_of(study, None)
    resume = resume_of(job.folder, HEAD, study.inputs, job.say)
    frozen_head = fit_fold_head(study, fit_job, rows, None, resume)
    assert isinstance(frozen_head, FittedHead)
    tuned = _tune(job, begun, rows, frozen_head, facts, inputs)
    prepare_folder(job.folder / _BACKBONE)
    backbone = require_backbone(job.extract.backbone)
    digest = write_backbone(job.folder / TUNED_FILE, tuned.network, backbone)
    started_from = begun.plan.settings["weights"]
    facts["finetune"] |= {"started_from": started_from, "weights_sha256": digest, **tuned.facts()}
    # As others will load it: in float32, whatever it was trained in.
    head = build_head(job.fit.head.head, backbone.n_features, len(frozen_head.classes))
    head.set_weights(tuned.head.get_weights())
    history = tuned.history
    del tuned
    job.say(f"3 of 3: features of the fine-tuned {backbone.name}, as it was saved")
    index = _extract_tuned(job, study, config)
    evaluated = dataclasses.replace(study, index=index)

    def fit_fold(study: Study, job: FitJob, rows: TileRows, number: int | None) -> Fold:
        fitted = _calibrated(study, job, rows, head, frozen_head.classes, history)
        baselines = fit_fold_baselines(study, job, rows)
        return Fold(number, fitted, baselines, (begun.study.index, frozen_head))

    return fit_study(evaluated, fit_job, job.folder, fit_fold=fit_fold)


def _tune(
    job: FinetuneJob,
    begun: Begun,
    rows: TileRows,
    frozen_head: FittedHead,
    facts: dict[str, Any],
    inputs: Mapping[str, Any],
) -> Tuned:
    facts["devices"].update(describe_devices(choose_strategy(job.gpus)))
    n = len(rows.on_side("train"))
    job.say(f"2 of 3: {job.config.unfreeze} of {job.extract.backbone} on {n} training tiles")
    resume = resume_of(job.folder, "finetune", inputs, job.say)
    return tune_backbone(job, begun, rows, frozen_head, resume, lambda row: job.say(told(row)))


def tune_backbone(
    job: FinetuneJob,
    begun: Begun,
    rows: TileRows,
    frozen_head: FittedHead,
    resume: Resume | None,
    on_epoch: OnEpoch,
) -> Tuned:
    """Train backbone and head together on the tiles; see :func:`finetune`."""
    pixels = TilePixels(begun.study.index, begun.prepared.sources)
    try:
        return finetune(
            require_backbone(job.extract.backbone),
            begun.prepared.weights,
            frozen_head,
            rows,
            pixels,
            int(begun.plan.settings["tile_size_px"]),
            job.fit.head,
            job.config,
            strategy=choose_strategy(job.gpus),
            workers=job.workers or min(8, usable_cores()),
            resume=resume,
            on_epoch=on_epoch,
        )
    finally:
        pixels.close()


def told(row: Mapping[str, float]) -> str:
    """Return the line of an epoch."""
    figures = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
    return f"  epoch {row['epoch']:.0f}  {figures}"


def _extract(
    job: FinetuneJob,
    extraction: ExtractJob,
    prepared: Prepared,
    config: Mapping[str, Any],
    *,
    here: bool = False,
) -> Plan:
    def extract_here(plan: Plan, tally: Tally) -> None:
        backbone = require_backbone(extraction.backbone)
        engine = partial(
            open_engine,
            backbone,
            prepared.weights,
            int(plan.settings["tile_size_px"]),
            strategy=choose_strategy(job.gpus),
            compute_batch=extraction.compute_batch,
            precision=extraction.precision,
        )
        workers = job.workers or min(8, usable_cores())
        extract_to_folder(plan, engine, batch_size=job.batch_size, workers=workers, tally=tally)

    return run_job(
        extraction,
        prepared,
        config=dict(config),
        manner=Manner(gpus=job.gpus, batch_size=job.batch_size, readers=job.workers),
        here=extract_here if here else None,
    )


def _extract_tuned(job: FinetuneJob, study: Study, config: Mapping[str, Any]) -> Any:
    """Extract with the backbone as it was written: what is evaluated is what others will load."""
    keras.backend.clear_session()
    extraction = dataclasses.replace(
        job.extract, output=job.folder / TUNED, weights=str(job.folder / TUNED_FILE), trust=None
    )
    _remove_stale(job.folder / TUNED, sha256_file(job.folder / TUNED_FILE))
    # This process has trained: the memory of the GPUs is its own.
    _extract(job, extraction, prepare_job(extraction), config, here=True)
    index = index_features(job.folder / TUNED)
    if (index.names, index.n_tiles) != (study.index.names, study.index.n_tiles):
        raise TableError(
            "slides changed while the backbone was fine-tuned: other tiles than before.",
            code="SLIDE_CHANGED",
            hint="Give the command again with --overwrite.",
        )
    return index


def _remove_stale(folder: Path, digest: str) -> None:
    """Remove features of another fine-tuning: an earlier one of this very run, cut off."""
    known = read_record(folder).get("settings", {}).get("weights_sha256", digest)
    if known != digest:
        remove(folder.parent, [folder.name])


def _calibrated(
    study: Study,
    job: FitJob,
    rows: TileRows,
    head: keras.Model,
    classes: tuple[str, ...],
    history: Any,
) -> FittedHead:
    """Fit the temperature on val, on the features of the saved backbone."""
    val = rows.on_side("val")
    vectors = open_vectors(val.parts(study.index), study.index.n_features, memory_gb=job.memory_gb)
    raw = predict_probabilities(head, vectors)
    found = fit_temperature(val.target, raw, weights=label_weights(val, study.cohort.key))
    return FittedHead(head, classes, history, found.value, found.note)
