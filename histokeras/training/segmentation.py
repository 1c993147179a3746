"""Train a network that gives each pixel a class, on crops of images and their class masks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

from histokeras.analysis.segmentation import figures_of
from histokeras.data.crops import CropReading, ordered_crops, training_crops
from histokeras.data.pair_pool import PairPool
from histokeras.data.places import Places, draw_crops, fixed_windows
from histokeras.errors import ConfigError
from histokeras.models.augment import build_augmentation
from histokeras.models.rates import PolyRate
from histokeras.models.segmenters import SegmenterSpec, build_segmenter, freeze
from histokeras.models.weights import WeightsSource
from histokeras.training.finetune import precision_of
from histokeras.training.loop import OnEpoch, Resume, Watched, fit
from histokeras.training.segmentation_config import SegmenterConfig, loss_of
from histokeras.types import IGNORE

Ints = npt.NDArray[np.int64]
MAX_VAL_WINDOWS = 256
_MIN_STEPS, _MAX_STEPS = 25, 250


@dataclass(frozen=True)
class Side:
    """The images of one side of the split.

    Attributes:
        pool: Reads them.
        images: Their numbers in the pool, int64 ``(n,)``.
        places: Where in each which classes lie.
        patients: Number of the patient of each, int64 ``(n,)``.
    """

    pool: PairPool
    images: Ints
    places: Sequence[Places]
    patients: Ints

    @property
    def class_counts(self) -> Ints:
        """Labelled pixels of each class, int64 ``(n_classes,)``."""
        return np.asarray(np.sum([item.class_counts for item in self.places], axis=0), np.int64)

    def in_pool(self, rows: Ints) -> Ints:
        """Return rows whose first column is an image of this side, with its number in the pool."""
        return np.column_stack([self.images[rows[:, 0]], rows[:, 1:]])


@dataclass(frozen=True)
class Trained:
    """What training gave.

    Attributes:
        model: The network with the weights of its best epoch, images 0..255 -> logits.
        history: One row an epoch: ``epoch loss val_loss val_iou val_dice learning_rate best``.
        n_trainable: How many numbers learned.
        facts: What run.json keeps of it.
    """

    model: keras.Model
    history: pd.DataFrame
    n_trainable: int
    facts: Mapping[str, Any]


class AugmentedSegmenter(keras.Model):
    """A segmenter whose training step augments images and masks together, on its own device.

    In the data pipeline the draws would depend on which thread came first; here they are a state of
    the network that a checkpoint keeps, and each replica augments its own part of the batch.

    Args:
        network: Images to logits.
        augmentation: [images, masks] to the same, with masks ``(b, h, w, 1)``.
    """

    def __init__(self, network: keras.Model, augmentation: keras.Model) -> None:
        super().__init__(name="augmented_segmenter")
        self.network, self.augmentation = network, augmentation

    def build(self, input_shape: Any) -> None:
        """Do nothing: both parts are built."""

    def call(self, images: Any, training: bool = False) -> Any:
        """Return the logits of images as they are."""
        return self.network(images, training=training)

    def train_step(self, data: Any) -> Any:
        """Take one step on images and masks (b, h, w), augmented alike."""
        images, masks = data
        images, masks = self.augmentation([images, masks[..., None]], training=True)
        return super().train_step((images, masks[..., 0]))


def fit_segmenter(
    spec: SegmenterSpec,
    weights: WeightsSource | None,
    train: Side,
    val: Side,
    positive: int | None,
    config: SegmenterConfig,
    *,
    strategy: tf.distribute.Strategy,
    workers: int,
    resume: Resume | None = None,
    on_epoch: OnEpoch = lambda row: None,
) -> Trained:
    """Train a segmenter, stopping early on the IoU of val.

    Args:
        spec: Which network.
        weights: Of its backbone at the start; None where it has none.
        train: What it learns from; each image has labelled pixels.
        val: What decides when to stop.
        positive: Number of the class whose IoU decides; None for the mean over classes.
        config: How to train.
        strategy: Where to train; each step is shared among its replicas.
        workers: Reading threads.
        resume: Where to go on after an interruption.
        on_epoch: Called with the row of each epoch.

    Raises:
        ConfigError: If the batch cannot be shared among the replicas, training comes apart, or no
            window of val holds the class of interest (CLASS_MISSING).
        HistokerasError: If an image or mask cannot be read.
    """
    seed, batch, crop = config.fit.seed, config.fit.batch_size, config.crop_px
    require_shared(batch, int(strategy.num_replicas_in_sync))
    steps = config.steps_per_epoch or steps_of(train, config)
    windows = val.in_pool(fixed_windows(val.places, crop, MAX_VAL_WINDOWS, seed))
    reading, val_reading = CropReading(train.pool, crop), CropReading(val.pool, crop)

    def order(epoch: int) -> Ints:
        rng = np.random.default_rng((seed, epoch))
        drawn = draw_crops(
            train.places, train.patients, crop, steps * batch, rng, n_open=train.pool.max_open
        )
        return train.in_pool(drawn)

    keras.utils.set_random_seed(seed)
    with precision_of(config.precision), strategy.scope():
        network = build_segmenter(spec, weights)
        n_trainable = freeze(network, spec, config.freeze, batch_norm=config.batch_norm)
        augmentation = build_augmentation(config.augmentation, seed=seed, size_px=crop, masks=True)
        loss = loss_of(config, train.class_counts)
        model = AugmentedSegmenter(network, augmentation)
        total = steps * config.fit.epochs
        rate = PolyRate(config.fit.learning_rate, total, warmup_steps=_warmup(total))
        validate = _Validation(
            ordered_crops(val_reading, windows, batch_size=batch, workers=workers),
            loss,
            positive,
            strategy,
            rate,
            n_windows=len(windows),
            n_classes=spec.n_classes,
        )
        try:
            history = fit(
                model,
                lambda epoch: training_crops(
                    reading,
                    lambda: order(epoch()),
                    batch_size=batch,
                    steps=steps,
                    workers=workers,
                ),
                validate,
                config.fit,
                loss=loss,
                optimizer=keras.optimizers.AdamW(rate, weight_decay=config.weight_decay),
                watched=Watched("val_iou", highest=True),
                resume=resume,
                on_epoch=on_epoch,
            )
        except tf.errors.OpError:
            for part in (reading, val_reading):
                if part.error is not None:
                    raise part.error from None
            raise
    facts = {
        "n_trainable": n_trainable,
        "best_epoch": int(history.loc[history["best"], "epoch"].max()),
        "steps_per_epoch": steps,
        "val_windows": len(windows),
        "val_windows_of": int(sum(len(item.windows(crop)) for item in val.places)),
    }
    return Trained(network, history, n_trainable, facts)


class _Validation:
    """Looks at fixed windows of val with the network as it stands, shared among the replicas."""

    def __init__(
        self,
        data: tf.data.Dataset,
        loss: keras.losses.Loss,
        positive: int | None,
        strategy: tf.distribute.Strategy,
        rate: PolyRate,
        *,
        n_windows: int,
        n_classes: int,
    ) -> None:
        self._data = strategy.experimental_distribute_dataset(data)
        self._loss, self._positive, self._strategy = loss, positive, strategy
        self._rate = rate
        self._n_windows, self._n_classes = n_windows, n_classes
        self._step: Any = None

    def __call__(self, model: keras.Model) -> dict[str, float]:
        """Return loss, IoU and Dice of all windows together, and the rate."""
        if self._step is None:
            self._step = self._traced(model)
        loss, counts = 0.0, np.zeros((self._n_classes, self._n_classes), np.int64)
        for images, masks in self._data:
            part, found = self._step(images, masks)
            loss += float(part)
            counts += np.asarray(found, np.int64)
        self._require_class(counts)
        figures = figures_of(counts, self._positive)
        names = ("mean_iou", "mean_dice") if self._positive is None else ("iou", "dice")
        iou, dice = (float(figures[name]) for name in names)
        done = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
        return {
            "val_loss": loss / self._n_windows,
            "val_iou": iou,
            "val_dice": dice,
            # Of the last step.
            "learning_rate": float(keras.ops.convert_to_numpy(self._rate(max(0, done - 1)))),
        }

    def _require_class(self, counts: Ints) -> None:
        """Refuse windows by which no epoch is better than another."""
        if self._positive is not None and not counts[self._positive].any():
            raise ConfigError(
                f"none of the {self._n_windows} val windows has a pixel of the class of interest: "
                "its IoU cannot decide when to stop.",
                code="CLASS_MISSING",
                hint="Give a larger --crop-px, or val images that have more of it.",
            )

    def _traced(self, model: keras.Model) -> Any:
        n = self._n_classes

        def one(images: Any, masks: Any) -> tuple[Any, Any]:
            logits = tf.cast(model(tf.cast(images, tf.float32), training=False), tf.float32)
            # Windows that fill a batch have no labelled pixel, and are no part of the mean.
            real = tf.reduce_any(masks != IGNORE, axis=(1, 2))
            each = tf.reshape(self._loss.call(masks, logits), (-1,))
            labelled = tf.reshape(masks, (-1,)) != IGNORE
            said = tf.argmax(logits, axis=-1, output_type=tf.int32)
            counts = tf.math.confusion_matrix(
                tf.boolean_mask(tf.reshape(masks, (-1,)), labelled),
                tf.boolean_mask(tf.reshape(said, (-1,)), labelled),
                num_classes=n,
                dtype=tf.int64,
            )
            return tf.reduce_sum(tf.where(real, each, 0.0)), counts

        @tf.function
        def step(images: Any, masks: Any) -> tuple[Any, Any]:
            found = self._strategy.run(one, args=(images, masks))
            return tuple(
                self._strategy.reduce(tf.distribute.ReduceOp.SUM, part, axis=None) for part in found
            )

        return step


def steps_of(train: Side, config: SegmenterConfig) -> int:
    """Return how many batches cover the labelled part of train about once, 25 to 250."""
    crops = int(train.class_counts.sum()) / config.crop_px**2
    return min(_MAX_STEPS, max(_MIN_STEPS, math.ceil(crops / config.fit.batch_size)))


def _warmup(total: int) -> int:
    # Adam's first steps are as long as any, in directions that a few crops chose.
    return min(50, total // 10)


def require_shared(batch: int, replicas: int) -> None:
    """Refuse a batch that the devices cannot share equally.

    Raises:
        ConfigError: If they cannot.
    """
    if batch % replicas:
        raise ConfigError(
            f"`--batch-size` is the number of crops a step over all devices: {batch} cannot be "
            f"shared equally among {replicas}.",
            hint=f"Give a multiple of {replicas}.",
        )
