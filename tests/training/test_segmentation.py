from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from histokeras.data.crops import CropReading, ordered_crops, training_crops
from histokeras.data.pair_pool import PairPool
from histokeras.errors import ConfigError, SlideError
from histokeras.models.augment import build_augmentation
from histokeras.models.devices import choose_strategy
from histokeras.models.segmenters import SegmenterSpec
from histokeras.training.loop import FitConfig, Resume
from histokeras.training.segmentation import Side, Trained, fit_segmenter
from histokeras.training.segmentation_config import SegmenterConfig, loss_of
from histokeras.training.segmentation_evaluate import Task, fit_colour_floor
from histokeras.types import IGNORE
from tests.training.blobs import ArrayPair, paint_blobs, side_of

SPEC = SegmenterSpec(network="unet", backbone="", channels=8, dropout=0.0)


def blobs(n: int, size_px: int = 64) -> Side:
    return side_of([ArrayPair(*paint_blobs(seed, size_px)) for seed in range(n)])


def config(**changes: Any) -> SegmenterConfig:
    fit = {"epochs": 3, "batch_size": 4, "learning_rate": 3e-3, "patience": 50}
    fit |= {name: changes.pop(name) for name in list(changes) if name in fit}
    return SegmenterConfig(**{"crop_px": 64, "steps_per_epoch": 3, **changes}, fit=FitConfig(**fit))


def fitted(side: Side, how: SegmenterConfig, **options: Any) -> Trained:
    keras.backend.clear_session()
    strategy = options.pop("strategy", None) or choose_strategy("cpu")
    return fit_segmenter(SPEC, None, side, side, 1, how, strategy=strategy, workers=2, **options)


def test_eight_images_are_learned_by_heart() -> None:
    how = config(
        epochs=6, steps_per_epoch=20, batch_size=8, learning_rate=1e-2, augmentation="none"
    )

    trained = fitted(blobs(8), how)

    assert trained.history["val_iou"].max() > 0.95
    assert trained.history["loss"].iloc[-1] < trained.history["loss"].iloc[0] / 2
    best = trained.history.loc[trained.history["best"]]
    assert best["val_iou"].tolist() == [trained.history["val_iou"].max()]
    assert trained.history["learning_rate"].is_monotonic_decreasing


class _Cut(Exception):
    pass


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    side, how = blobs(3), config(augmentation="strong", epochs=2, steps_per_epoch=2, batch_size=2)
    whole = fitted(side, how)

    def cut(row: dict[str, float]) -> None:
        if row["epoch"] == 1:
            raise _Cut

    resume = Resume(tmp_path / "x.safetensors", "key")
    with pytest.raises(_Cut):
        fitted(side, how, resume=resume, on_epoch=cut)
    seen: list[float] = []
    again = fitted(side, how, resume=resume, on_epoch=lambda row: seen.append(row["epoch"]))

    assert seen == [1, 2]
    np.testing.assert_array_equal(again.history.to_numpy(float), whole.history.to_numpy(float))
    for one, other in zip(again.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_image_and_mask_are_moved_alike() -> None:
    # The square of a mask, and the same square as colour: they stay on each other.
    masks = np.zeros((16, 128, 128, 1), np.int32)
    for number, mask in enumerate(masks):
        mask[20 + number : 70 + number, 30:90] = 1
    masks[:, :8] = IGNORE
    images = np.where(masks == 1, 220.0, 60.0) * np.ones(3)
    augmentation = build_augmentation("strong", seed=5, size_px=128, masks=True)

    moved, found = augmentation([images.astype("float32"), masks], training=True)

    shown = np.asarray(moved)[..., 0]
    middle = (shown.min((1, 2), keepdims=True) + shown.max((1, 2), keepdims=True)) / 2
    found = np.asarray(found)[..., 0]
    known = found != IGNORE
    assert ((shown > middle) == (found == 1))[known].mean() > 0.99
    assert set(np.unique(found)) == {0, 1, IGNORE}
    assert found.dtype == np.int32
    assert not np.array_equal(found, masks[..., 0])


def test_crops_come_in_order_and_beyond_the_image_nothing_counts() -> None:
    side = blobs(3)
    reading = CropReading(side.pool, 64)
    rows = np.array([[number, -16, 8] for number in (2, 0, 1, 1)])

    ((images, masks),) = training_crops(reading, lambda: rows, batch_size=4, steps=1, workers=3)

    image, mask = side.pool.read(2, (-16, 8), (64, 64))
    np.testing.assert_array_equal(images[0], image)
    np.testing.assert_array_equal(masks[0], mask)
    assert (np.asarray(masks)[:, :, :16] == IGNORE).all()
    assert (np.asarray(images)[:, 56:] == 255).all()

    windows = np.array([[1, 0, 0, 8, 4]])
    ((images, masks),) = ordered_crops(reading, windows, batch_size=2, workers=1)
    assert (masks[1] == IGNORE).numpy().all()
    assert (masks[0].numpy()[:4] == IGNORE).all()
    assert (masks[0].numpy()[:, :8] == IGNORE).all()
    np.testing.assert_array_equal(masks[0][4:, 8:], side.pool.read(1, (0, 0), (64, 64))[1][4:, 8:])


def test_what_a_reader_raised_is_what_the_training_raises() -> None:
    def broken() -> ArrayPair:
        raise SlideError("cannot be read")

    side = blobs(2)
    with pytest.raises(SlideError, match="cannot be read"):
        fitted(Side(PairPool([broken, broken]), side.images, side.places, side.patients), config())


def test_val_windows_without_the_class_of_interest_are_refused() -> None:
    image, mask = paint_blobs(0, 64)
    side = side_of([ArrayPair(image, mask * 0)])

    with pytest.raises(ConfigError, match="none of the 1 val windows has a pixel") as caught:
        fitted(side, config(epochs=1, steps_per_epoch=1))

    assert caught.value.code == "CLASS_MISSING"


def test_the_colour_floor_knows_a_class_of_a_single_pixel() -> None:
    image, mask = paint_blobs(0, 96)
    mask[:] = 0
    image[40:60, 40:60], mask[50, 50] = 0, 1

    floor = fit_colour_floor(side_of([ArrayPair(image, mask)]), Task(("a", "b"), "b"), 96, seed=0)

    assert np.isfinite(floor.bias).all()
    assert floor.probabilities(image)[50, 50, 1] > floor.probabilities(image)[5, 5, 1]


def test_losses_weigh_what_they_say() -> None:
    counts = np.array([300, 100])

    balanced = loss_of(config(loss="focal+dice", class_weight="balanced", dice_weight=0.5), counts)

    assert balanced.class_weights == pytest.approx((2 / 3, 2))
    assert (balanced.cross_entropy, balanced.dice, balanced.focal_gamma) == (1, 0.5, 2)
    dice = loss_of(config(loss="dice"), counts)
    assert (dice.cross_entropy, dice.dice, dice.focal_gamma) == (0, 1, 0)
    plain = loss_of(config(loss="ce"), counts)
    assert (plain.cross_entropy, plain.dice, plain.focal_gamma) == (1, 0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_px": 100}, "multiple of 32"),
        ({"loss": "hinge"}, "ce\\+dice"),
        ({"weight_decay": -1}, "0 or more"),
        ({"steps_per_epoch": 0}, "at least 1"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**changes)
