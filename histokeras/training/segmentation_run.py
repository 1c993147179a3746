"""Fit segmenters into a run folder: networks, figures of test images, pictures, and the record."""

import dataclasses
import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf
from PIL import Image as PillowImage

from histokeras.analysis.segmentation_table import IMAGE_ID, patient_table
from histokeras.analysis.segmentation_units import evaluate_segmentation
from histokeras.cohort.split_file import split_text
from histokeras.errors import FeatureError, OutputError
from histokeras.files import (
    prepare_folder,
    remove,
    safe_name,
    write_bytes,
    write_csv,
    write_json,
    write_text,
)
from histokeras.models.catalog import require_backbone
from histokeras.models.devices import choose_strategy, describe_devices, gpu_numbers
from histokeras.models.segmenter_file import read_segmenter, segmenter_card, write_segmenter
from histokeras.models.weights import WeightsSource, find_weights
from histokeras.runs.environment import usable_cores
from histokeras.runs.record import RunRecord, read_object, require_own_folder, write_failures
from histokeras.runs.same import require_same_inputs
from histokeras.training.fit_study import CHECKPOINTS, resume_of
from histokeras.training.loop import OnEpoch, Resume
from histokeras.training.segmentation import Trained, fit_segmenter
from histokeras.training.segmentation_evaluate import (
    EvaluatedImage,
    evaluate_image,
    fit_colour_floor,
)
from histokeras.training.segmentation_job import NUMBER, SegmentationStudy, SegmenterJob
from histokeras.training.windows import predictor, windows_of
from histokeras.types import FOLD, PATIENT_ID, SLIDE_ID, SPLIT

COMMAND = "fit-segmenter"
SEGMENTER = "segmenter"
# The figures go first and come last: with them there, the rest is there.
OUTPUTS = ("metrics.json", SEGMENTER, "folds", "predictions", "pictures", "history.csv",
           "images.csv", "patients.csv", "split.csv", "dropped.csv", "report",
           "report.html")  # fmt: skip
"""What a run holds beside run.json and failures.csv."""
_ALWAYS = ("history.csv", "images.csv", "patients.csv", "split.csv", "dropped.csv")
_OF_SEGMENTER = ("model.json", "weights.safetensors")
_JPEG_QUALITY = 90


def run_segmenter(
    job: SegmenterJob,
    study: SegmentationStudy,
    folder: Path,
    *,
    config: Mapping[str, Any],
    command_line: str = "",
    overwrite: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Fit a segmenter, or one a fold, and evaluate each on its test images.

    Args:
        job: What to learn.
        study: From :func:`histokeras.training.segmentation_job.prepare_segmentation`.
        folder: The run folder.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.
        overwrite: Whether another run may be replaced.
        facts: What else run.json keeps.

    Returns:
        The figures; None if this very run stands there already, finished.

    Raises:
        FeatureError: If another run stands there (CONFIG_MISMATCH).
        ConfigError: If something else stands there, or training comes apart.
        MissingError: If weights are not here.
        OutputError: If it cannot be written.
    """
    devices = describe_devices(choose_strategy(job.gpus))
    weights = weights_of(job)
    origin = {} if weights is None else {"weights": weights.sha256}
    inputs = {**study.inputs, **origin}
    require_own_folder(folder, (COMMAND,), (*OUTPUTS, CHECKPOINTS))
    if not overwrite and require_same_inputs(folder, inputs) and _is_whole(folder, study):
        # Left where the run was cut off at its very end.
        remove(folder, [CHECKPOINTS])
        return None
    prepare_folder(folder)
    # Nothing of an earlier run may be taken for a part of this one.
    remove(folder, (*OUTPUTS, CHECKPOINTS) if overwrite else OUTPUTS)
    record = RunRecord(COMMAND, config, command_line=command_line)
    record.facts = {
        "inputs": inputs,
        "note": study.note,
        "notes": list(study.notes),
        SEGMENTER: _card(job, study, weights),
        "split": {"signed": study.split.signed, "sha256": study.split.digest, **study.split.meta},
        "funnel": study.funnel,
        "n_dropped": len(study.dropped),
        "devices": devices,
        "trained": [],
        **(facts or {}),
    }
    record.write(folder, status="running")
    write_csv(folder / "dropped.csv", study.dropped)
    write_failures(folder, ())
    write_text(folder / "split.csv", split_text(study.split))
    try:
        metrics = _fit(job, study, folder, weights, inputs, record.facts["trained"])
    except BaseException:
        # On a full disk this fails too, and would hide which file was the first.
        with suppress(OutputError):
            record.write(folder, status="interrupted")
        raise
    finally:
        study.pool.close()
    record.write(folder, status="done")
    remove(folder, [CHECKPOINTS])
    return metrics


def weights_of(job: SegmenterJob) -> WeightsSource | None:
    """Find the weights that the backbone of a job starts from; None where it has none."""
    if not job.spec.backbone:
        return None
    return find_weights(require_backbone(job.spec.backbone), job.weights, trust=job.trust)


def _card(
    job: SegmenterJob, study: SegmentationStudy, weights: WeightsSource | None
) -> dict[str, Any]:
    card = segmenter_card(
        job.spec,
        study.task.classes,
        positive=study.task.positive,
        mpp=study.mpp,
        crop_px=job.config.crop_px,
        weights="none" if weights is None else weights.label,
        weights_sha256="" if weights is None else weights.sha256,
    )
    more = {"training": job.config.as_dict(), "split_sha256": study.split.digest}
    return {**card, **more, "note": study.note}


def _fit(
    job: SegmenterJob,
    study: SegmentationStudy,
    folder: Path,
    weights: WeightsSource | None,
    inputs: Mapping[str, Any],
    trained: list[dict[str, Any]],
) -> dict[str, Any]:
    histories, rows = [], []
    for fold in study.fold_numbers:
        name = SEGMENTER if fold is None else f"fold-{fold}"
        if fold is not None:
            job.say(f"fold {fold + 1} of {study.split.folds}")
        place = _place(folder, fold)
        resume = resume_of(folder, name, inputs, job.say)
        result = train_segmenter(job, study, fold, weights, resume=resume)
        numbered = {} if fold is None else {FOLD: fold}
        histories.append(result.history.assign(**numbered))
        card = {**_card(job, study, weights), **result.facts}
        write_segmenter(prepare_folder(place), result.model, {**card, **numbered})
        del result
        keras.backend.clear_session()
        found, facts = _evaluate(job, study, fold, place, folder)
        rows += [{**row, **numbered} for row in found]
        trained.append({**numbered, **{key: card[key] for key in _FACTS if key in card}, **facts})
    write_csv(folder / "history.csv", pd.concat(histories, ignore_index=True))
    images = pd.DataFrame(rows)
    write_csv(folder / "images.csv", images)
    task = study.task
    write_csv(folder / "patients.csv", patient_table(images, task.classes, task.positive))
    metrics = evaluate_segmentation(
        images,
        task.classes,
        task.positive,
        n_resamples=job.n_resamples,
        seed=job.config.fit.seed,
    )
    metrics = {**metrics, "note": study.note}
    write_json(folder / "metrics.json", metrics)
    return metrics


_FACTS = ("n_trainable", "best_epoch", "steps_per_epoch", "val_windows", "val_windows_of")


def train_segmenter(
    job: SegmenterJob,
    study: SegmentationStudy,
    fold: int | None,
    weights: WeightsSource | None,
    *,
    resume: Resume | None = None,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Train the network of a fold on its train and val sides.

    Args:
        job: What to learn.
        study: Images, masks and split.
        fold: Its number; None without folds.
        weights: From :func:`weights_of`.
        resume: Where to go on after an interruption.
        on_epoch: Called with the row of each epoch; the job's ``say`` tells it if None.
    """
    seed = job.config.fit.seed + (fold or 0)
    config = dataclasses.replace(job.config, fit=dataclasses.replace(job.config.fit, seed=seed))
    train, val = study.side(fold, "train"), study.side(fold, "val")
    job.say(
        f"{job.spec.network} on {len(train.images)} images of "
        f"{len(np.unique(train.patients))} patients, val {len(val.images)} images"
    )
    return fit_segmenter(
        job.spec,
        weights,
        train,
        val,
        study.task.number,
        config,
        strategy=choose_strategy(job.gpus),
        workers=job.workers or min(8, usable_cores()),
        resume=resume,
        on_epoch=on_epoch or (lambda row: job.say(told(row))),
    )


def told(row: Mapping[str, float]) -> str:
    """Return the line of an epoch."""
    figures = "  ".join(
        f"{name} {row[name]:.4f}" for name in ("loss", "val_loss", "val_iou", "val_dice")
    )
    return f"  epoch {row['epoch']:.0f}  {figures}  rate {row['learning_rate']:.2g}"


def _evaluate(
    job: SegmenterJob,
    study: SegmentationStudy,
    fold: int | None,
    place: Path,
    folder: Path,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Evaluate the network as it was saved: what others will load."""
    placed = study.placed(fold)
    labelled = np.array([_is_labelled(study, at) for at in placed[NUMBER]], bool)
    tested = placed[(placed[SPLIT] == "test").to_numpy() & labelled]
    seed = job.config.fit.seed + (fold or 0)
    colour = fit_colour_floor(study.side(fold, "train"), study.task, job.config.crop_px, seed)
    windows = windows_of(job.config.crop_px, pools_all=bool(job.spec.backbone))
    rows = []
    numbers = gpu_numbers(job.gpus)
    with tf.device(f"/gpu:{numbers[0]}" if numbers else "/cpu:0"):
        predict = predictor(read_segmenter(place)[0], windows.batch_size)
        for row in tested.to_dict("records"):
            pair = study.pool.opened(int(row[NUMBER]))
            try:
                found = evaluate_image(predict, colour, pair, study.task, windows, study.mpp)
            finally:
                pair.close()
            size = study.places[int(row[NUMBER])].size_px
            about = {name: row[name] for name in (IMAGE_ID, SLIDE_ID, PATIENT_ID)}
            if study.note:
                about[PATIENT_ID] = ""
            known = {"width_px": size[0], "height_px": size[1], "mpp": study.mpp}
            rows.append({**about, **known, **found.columns})
            _write_pictures(folder, str(row[IMAGE_ID]), found)
    return rows, {"colour": colour.facts()}


def _is_labelled(study: SegmentationStudy, number: int) -> bool:
    return bool(study.places[number].class_counts.any())


def _write_pictures(folder: Path, image_id: str, found: EvaluatedImage) -> None:
    name = safe_name(image_id)
    pictures = prepare_folder(folder / "pictures")
    if found.predicted is not None:
        predictions = prepare_folder(folder / "predictions")
        write_bytes(predictions / f"{name}.png", _encoded(found.predicted, "PNG"))
    write_bytes(pictures / f"{name}.jpg", _encoded(found.picture, "JPEG", quality=_JPEG_QUALITY))
    for kind, mask in (("truth", found.truth), ("predicted", found.small)):
        write_bytes(pictures / f"{name}.{kind}.png", _encoded(mask, "PNG"))


def _encoded(pixels: npt.NDArray[np.uint8], kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _place(folder: Path, fold: int | None) -> Path:
    """Return where the segmenter of a fold lies."""
    return folder / SEGMENTER if fold is None else folder / "folds" / str(fold) / SEGMENTER


def _is_whole(folder: Path, study: SegmentationStudy) -> bool:
    """Whether all that a finished run holds is there: what was lost is made again."""
    places = [_place(folder, fold) for fold in study.fold_numbers]
    try:
        whole = bool(read_object(folder / "metrics.json"))
    except FeatureError:
        whole = False
    return (
        whole
        and all((place / name).is_file() for place in places for name in _OF_SEGMENTER)
        and all((folder / name).is_file() for name in _ALWAYS)
    )
