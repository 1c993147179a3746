"""Fine-tune a backbone and its head on tiles: the second phase, after the head has been fitted."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

from histokeras.data.tiles import Reading, ordered_tiles, training_tiles
from histokeras.errors import ConfigError
from histokeras.features.pixels import MAX_OPEN, TilePixels
from histokeras.models.augment import build_augmentation
from histokeras.models.backbones import build_backbone
from histokeras.models.catalog import AUGMENTATION_NAMES, UNFREEZE, Backbone
from histokeras.models.drop_block import RAMP_STEPS, with_drop_block
from histokeras.models.heads import build_head
from histokeras.models.trainable import build_trainable, set_trainable
from histokeras.models.weights import WeightsSource
from histokeras.training.head import FittedHead, HeadConfig, class_weights, validation_figures
from histokeras.training.loop import FitConfig, Resume, fit
from histokeras.training.rows import TileRows
from histokeras.types import PATIENT_ID

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """How the second phase is trained.

    Attributes:
        unfreeze: ``top`` (the last block of the backbone) or ``all``.
        batch_norm: Whether BatchNormalization of the backbone learns too.
        augmentation: Name of :data:`histokeras.models.augment.AUGMENTATION_NAMES`.
        tiles_per_patient: Tiles drawn of each patient an epoch; all if None.
        drop_block: Share of the last stage's maps that DropBlock drops while training, 0..1, and a
            quarter of it of the stage's before; 0 for none.
        drop_block_steps: Steps until that share is reached.
        precision: ``float32`` or ``mixed_float16``.
        fit: Epochs, tiles a step over all devices, rate, patience, seed.
    """

    unfreeze: str = "top"
    batch_norm: bool = False
    augmentation: str = "light"
    tiles_per_patient: int | None = None
    drop_block: float = 0.0
    drop_block_steps: int = RAMP_STEPS
    precision: str = "float32"
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(epochs=20, batch_size=32, learning_rate=1e-4, patience=4)
    )

    def __post_init__(self) -> None:
        for name, allowed in (("unfreeze", UNFREEZE), ("augmentation", AUGMENTATION_NAMES)):
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"`{name}` must be one of {', '.join(allowed)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )
        if self.tiles_per_patient is not None and self.tiles_per_patient < 1:
            raise ConfigError(
                "`tiles_per_patient` must be at least 1. "
                f"Received: tiles_per_patient={self.tiles_per_patient}"
            )

        if self.drop_block_steps < 1:
            raise ConfigError(
                "`drop_block_steps` must be at least 1. "
                f"Received: drop_block_steps={self.drop_block_steps}"
            )

    def as_dict(self) -> dict[str, object]:
        """Return the settings as plain values; those of DropBlock where it is asked for."""
        # Not named otherwise, so that runs of before are known again.
        hidden = ("fit",) if self.drop_block else ("fit", "drop_block", "drop_block_steps")
        flat = {name: value for name, value in vars(self).items() if name not in hidden}
        return {**flat, **dataclasses.asdict(self.fit)}


@dataclass(frozen=True)
class Tuned:
    """What the second phase gave.

    Attributes:
        network: The backbone, with the weights of the best epoch.
        head: The head, likewise.
        history: One row an epoch; epoch 0 is the frozen backbone with the fitted head.
        n_trainable: How many numbers of the backbone learned.
    """

    network: keras.Model
    head: keras.Model
    history: pd.DataFrame
    n_trainable: int

    def facts(self) -> dict[str, Any]:
        """Return what run.json keeps of it."""
        best = self.history.loc[self.history["best"], "epoch"]
        return {"n_trainable": self.n_trainable, "best_epoch": int(best.iloc[0])}


def finetune(
    backbone: Backbone,
    weights: WeightsSource,
    fitted: FittedHead,
    rows: TileRows,
    pixels: TilePixels,
    size_px: int,
    head: HeadConfig,
    config: FinetuneConfig,
    *,
    strategy: tf.distribute.Strategy,
    workers: int,
    resume: Resume | None = None,
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
) -> Tuned:
    """Train backbone and head together, stopping early on val.

    The state before the first epoch competes too: on val the result is never worse than the
    frozen backbone.

    Args:
        backbone: Which backbone.
        weights: Its weights at the start.
        fitted: The head, fitted on the frozen backbone's features.
        rows: The tiles, with their sides of the split.
        pixels: Reads them.
        size_px: Side of a tile in pixels.
        head: Which head, and whether classes weigh the same.
        config: How to train.
        strategy: Where to train; each step is shared among its replicas.
        workers: Reading threads.
        resume: Where to go on after an interruption.
        on_epoch: Called with the row of each epoch.

    Raises:
        ConfigError: If the batch cannot be shared among the replicas, or training comes apart.
        SlideError: If a tile cannot be read.
    """
    train, val = rows.on_side("train"), rows.on_side("val")
    n_classes, seed = len(fitted.classes), config.fit.seed
    patients = _patients(train)
    n_epoch = _epoch_size(patients, config.tiles_per_patient)
    batch = min(config.fit.batch_size, n_epoch)
    _require_shared(batch, int(strategy.num_replicas_in_sync))
    weight = np.ones(n_classes, np.float32)
    if head.class_weight == "balanced":
        chances = _chances(patients, config.tiles_per_patient)
        weight = class_weights(np.bincount(train.target, chances, minlength=n_classes))
    shown = val.where(_val_sample(_patients(val), config.tiles_per_patient, seed))
    reading = Reading(lambda at: pixels.read(int(train.file[at]), int(train.row[at])), size_px)
    val_reading = Reading(lambda at: pixels.read(int(shown.file[at]), int(shown.row[at])), size_px)

    def order(epoch: int) -> Ints:
        rng = np.random.default_rng((seed, epoch))
        return epoch_order(train, patients, config.tiles_per_patient, rng)

    def validate(model: keras.Model) -> dict[str, float]:
        # Whole batches: a device that gets no tile at all cannot compute.
        whole = np.arange(math.ceil(len(shown) / batch) * batch) % len(shown)
        images = ordered_tiles(val_reading, whole, batch_size=batch, workers=workers)
        probabilities = model.predict(images, verbose=0)[: len(shown)]
        return validation_figures(shown.target, probabilities, weight)

    keras.utils.set_random_seed(seed)
    with precision_of(config.precision), strategy.scope():
        network = build_backbone(backbone, weights, size_px)
        top = build_head(head.head, backbone.n_features, n_classes)
        top.set_weights(fitted.model.get_weights())
        n_trainable = set_trainable(
            network, backbone, config.unfreeze, batch_norm=config.batch_norm
        )
        augmentation = build_augmentation(config.augmentation, seed=seed, size_px=size_px)
        learning = _dropping(network, backbone, config)
        model = build_trainable(backbone, learning, top, size_px, augmentation)
        try:
            history = fit(
                model,
                lambda epoch: training_tiles(
                    reading,
                    lambda: order(epoch()),
                    train.target,
                    weight[train.target],
                    batch_size=batch,
                    steps=n_epoch // batch,
                    workers=workers,
                ),
                validate,
                config.fit,
                resume=resume,
                from_start=True,
                warmup_steps=n_epoch // batch,
                on_epoch=on_epoch,
            )
        except tf.errors.OpError:
            for part in (reading, val_reading):
                if part.error is not None:
                    raise part.error from None
            raise
    return Tuned(network, top, history, n_trainable)


def _dropping(network: keras.Model, backbone: Backbone, config: FinetuneConfig) -> keras.Model:
    """Return the network to train, of the layers of the one that is saved."""
    rate, steps = config.drop_block, config.drop_block_steps
    if not rate:
        return network
    return with_drop_block(network, backbone.name, rate, ramp_steps=steps, seed=config.fit.seed)


def predict_tiles(
    backbone: Backbone,
    tuned: Tuned,
    rows: TileRows,
    pixels: TilePixels,
    size_px: int,
    *,
    batch_size: int,
    workers: int,
) -> npt.NDArray[np.float32]:
    """Return what a fine-tuned network says of tiles, without augmentation.

    Args:
        backbone: Which backbone.
        tuned: From :func:`finetune`.
        rows: The tiles, at least one.
        pixels: Reads them.
        size_px: Side of a tile in pixels.
        batch_size: Tiles at once.
        workers: Reading threads.

    Returns:
        Probabilities, float32 ``(n, n_classes)``, in the order of the tiles.
    """
    reading = Reading(lambda at: pixels.read(int(rows.file[at]), int(rows.row[at])), size_px)
    plain = build_augmentation("none", size_px=size_px)
    model = build_trainable(backbone, tuned.network, tuned.head, size_px, plain)
    images = ordered_tiles(reading, np.arange(len(rows)), batch_size=batch_size, workers=workers)
    return np.asarray(model.predict(images, verbose=0), np.float32)


@contextlib.contextmanager
def precision_of(name: str) -> Iterator[None]:
    """Build networks in a precision, ``float32`` or ``mixed_float16``."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def _require_shared(batch: int, replicas: int) -> None:
    if batch % replicas:
        raise ConfigError(
            f"`--batch-size` is the number of tiles a step over all devices: {batch} cannot be "
            f"shared equally among {replicas}.",
            hint=f"Give a multiple of {replicas}.",
        )


def _patients(rows: TileRows) -> Ints:
    """Return the number of the patient of each tile."""
    ids = rows.units[PATIENT_ID].to_numpy(str)[rows.unit]
    return np.unique(ids, return_inverse=True)[1].astype(np.int64)


def _epoch_size(patients: Ints, tiles_per_patient: int | None) -> int:
    if tiles_per_patient is None:
        return len(patients)
    return tiles_per_patient * len(np.unique(patients))


def _chances(patients: Ints, tiles_per_patient: int | None) -> npt.NDArray[np.float64]:
    """Return how often each tile is drawn an epoch, on average."""
    if tiles_per_patient is None:
        return np.ones(len(patients))
    return tiles_per_patient / np.bincount(patients)[patients]


def _val_sample(patients: Ints, tiles_per_patient: int | None, seed: int) -> npt.NDArray[np.bool_]:
    """Return which tiles are looked at after each epoch: always the same ones."""
    if tiles_per_patient is None:
        return np.ones(len(patients), bool)
    place = _shuffled_place(patients, np.random.default_rng((seed, 0, 1)))
    return place < tiles_per_patient


def _shuffled_place(patients: Ints, rng: np.random.Generator) -> Ints:
    """Return the place of each tile among those of its patient, in a random order."""
    by_patient = np.lexsort((rng.random(len(patients)), patients))
    counts = np.bincount(patients)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    place = np.empty(len(patients), np.int64)
    place[by_patient] = np.arange(len(patients)) - starts
    return place


def epoch_order(
    rows: TileRows, patients: Ints, tiles_per_patient: int | None, rng: np.random.Generator
) -> Ints:
    """Draw the tiles of an epoch, and their order.

    Slides are opened a group at a time, in a random order; within a group the tiles of all its
    slides are mixed.

    Args:
        rows: The tiles.
        patients: Number of the patient of each.
        tiles_per_patient: How many of each patient: as many different ones as there are, the rest
            again. All tiles once if None.
        rng: What is random comes from it.

    Returns:
        Positions in ``rows``, int64.
    """
    chosen = np.arange(len(rows))
    if tiles_per_patient is not None:
        counts = np.bincount(patients)
        place = _shuffled_place(patients, rng)
        # Whole rounds of all tiles of a patient, and a random part of one more.
        times = (tiles_per_patient - place + counts[patients] - 1) // counts[patients]
        chosen = np.repeat(chosen, np.maximum(times, 0))
    files = rng.permutation(int(rows.file.max()) + 1)
    group = (np.argsort(files) // (MAX_OPEN // 2))[rows.file[chosen]]
    return chosen[np.lexsort((rng.random(len(chosen)), group))]
