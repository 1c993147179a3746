import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from histokeras.errors import ConfigError
from histokeras.models.augment import (
    AUGMENTATIONS,
    ColourJitter,
    RandomSymmetry,
    RandomTurnZoom,
    StainJitter,
    build_augmentation,
)
from histokeras.slides.synthetic import StainProfile, render_tile, tissue_tile

LAYERS: list[Callable[..., keras.Layer]] = [
    RandomSymmetry, RandomTurnZoom, ColourJitter, StainJitter
]  # fmt: skip


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    """Six tiles of 64 px, uint8."""
    kinds = ("LYM", "TUM", "STR", "MUS", "NOR", "ADI")
    return np.stack([
        render_tile(tissue_tile(kind, seed=3, size_px=64), StainProfile()) for kind in kinds
    ])  # fmt: skip


def run(layer: keras.Layer, images: object, training: bool = True) -> np.ndarray:
    return keras.ops.convert_to_numpy(layer(images, training=training))


def inside(layer: keras.Layer, images: np.ndarray) -> np.ndarray:
    return run(layer, images)[:, 8:-8, 8:-8]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_shape_range_and_no_change_outside_of_training(
    augmentation: str, tiles: np.ndarray
) -> None:
    model = build_augmentation(augmentation, seed=1)

    for images in (tiles, tiles.astype("float16"), tiles.astype("float32")):
        for training in (True, False):
            made = model(images, training=training)
            assert made.dtype == "float32"
            assert made.shape == tiles.shape
            values = keras.ops.convert_to_numpy(made)
            assert values.min() >= 0
            assert values.max() <= 255
            if not training:
                np.testing.assert_array_equal(values, tiles)
    changed = (run(model, tiles) != tiles).mean(axis=(1, 2, 3))
    assert (changed > 0.5).sum() >= (0 if augmentation == "none" else 4)


@pytest.mark.parametrize("augmentation", ["flips", "light", "strong"])
def test_the_seed_decides_and_each_call_draws_anew(augmentation: str, tiles: np.ndarray) -> None:
    first, again, other = (build_augmentation(augmentation, seed=seed) for seed in (1, 1, 2))
    drawn = [run(first, tiles) for _ in range(2)]

    np.testing.assert_array_equal(drawn, [run(again, tiles) for _ in range(2)])
    assert (drawn[0] != drawn[1]).any()
    assert (drawn[0] != run(other, tiles)).any()


def test_flips_and_turns_lose_no_pixel_and_reach_all_eight(tiles: np.ndarray) -> None:
    images = np.repeat(tiles[:1], 128, axis=0)
    masks = images[..., :1].astype("int32")

    made, moved = RandomSymmetry(seed=0)((images, masks), training=True)

    made, moved = np.asarray(made), np.asarray(moved)
    eight = [np.rot90(side, turn) for side in (tiles[0], tiles[0][:, ::-1]) for turn in range(4)]
    counts = [int((made == one).all(axis=(1, 2, 3)).sum()) for one in eight]
    assert sum(counts) == 128
    assert min(counts) >= 4
    assert moved.dtype == np.int32
    np.testing.assert_array_equal(moved, made[..., :1])


def test_oblong_images_are_refused_by_the_turn(tiles: np.ndarray) -> None:
    with pytest.raises(ValueError, match="tiles are square"):
        RandomSymmetry()(tiles[:, :32], training=True)


@pytest.mark.parametrize("layer", LAYERS)
def test_each_image_has_its_own_draw(layer: Callable, tiles: np.ndarray) -> None:
    made = run(layer(seed=0), np.repeat(tiles[:1], 16, axis=0))

    different = {image.tobytes() for image in made}
    assert len(different) > (4 if layer is RandomSymmetry else 14)


@pytest.mark.parametrize(
    "layer",
    [
        StainJitter(alpha=0, beta=0),
        ColourJitter(brightness=0, contrast=0, saturation=0),
        RandomTurnZoom(turn_deg=0, zoom=0),
    ],
)
def test_no_strength_gives_the_image_back(layer: keras.Layer, tiles: np.ndarray) -> None:
    extremes = np.array([0, 1, 254, 255], np.uint8).reshape(1, 2, 2, 1).repeat(3, axis=3)
    for images in (tiles, extremes):
        assert np.abs(run(layer, images) - images).max() < 1


@pytest.mark.parametrize("layer", [StainJitter(alpha=0.2, beta=0.02), ColourJitter()])
def test_jitter_moves_colour_and_not_structure(layer: keras.Layer, tiles: np.ndarray) -> None:
    made = run(layer, tiles)

    shifts = np.abs(made.mean(axis=(1, 2)) - tiles.mean(axis=(1, 2))).max(axis=1)
    assert (shifts > 1).sum() >= 5
    for image, original in zip(made, tiles, strict=True):
        edges = [np.abs(np.diff(picture.astype(float).mean(axis=2), axis=0)).ravel()
                 for picture in (image, original)]  # fmt: skip
        assert np.corrcoef(edges)[0, 1] > 0.95


def test_more_of_one_dye_is_what_beer_and_lambert_say() -> None:
    # A pixel of haematoxylin alone; its draws are known by asking for the same seed again.
    dye = np.array([0.65, 0.70, 0.29])
    dye /= np.linalg.norm(dye)
    pixel = (256 * 10 ** (-0.4 * dye) - 1).reshape(1, 1, 1, 3)
    again = keras.random.SeedGenerator(5)
    drawn = keras.random.uniform((1, 1, 1, 3), -0.3, 0.3, seed=again)
    factor = 1 + float(np.asarray(drawn)[0, 0, 0, 0])

    made = run(StainJitter(alpha=0.3, beta=0, seed=5), pixel.astype("float32"))

    assert abs(factor - 1) > 0.02
    np.testing.assert_allclose(made[0, 0, 0], 256 * 10 ** (-0.4 * factor * dye) - 1, atol=0.2)


def test_a_turn_moves_masks_like_images_and_mixes_no_label(tiles: np.ndarray) -> None:
    masks = np.zeros((4, 64, 64, 1), np.int32)
    masks[:, 20:30, 24:44], masks[:, 36:50, 10:30] = 7, 3
    images = np.repeat(masks * 30, 3, axis=3).astype("float32")

    made, moved = RandomTurnZoom(turn_deg=20, zoom=0.2, seed=2)((images, masks), training=True)

    made, moved = np.asarray(made), np.asarray(moved)
    assert moved.dtype == np.int32
    assert set(np.unique(moved)) == {0, 3, 7}
    assert (moved != masks).mean(axis=(1, 2, 3)).min() > 0.005
    nearest = np.abs(made[..., :1] - moved * 30)
    assert np.median(nearest[moved > 0]) < 1
    assert (nearest > 110).mean() < 0.02
    # Half a turn about the middle is exact, and so would show an axis that is off by a pixel.
    half = RandomTurnZoom(turn_deg=180, zoom=0, seed=0)
    half.draw = lambda images, low=0.0, high=1.0, n=1: keras.ops.full((6, 1, 1, 1), high)
    np.testing.assert_allclose(run(half, tiles), tiles[:, ::-1, ::-1], atol=0.2)


def test_a_network_with_it_is_saved_and_loaded(tiles: np.ndarray, tmp_path: Path) -> None:
    image = keras.Input((64, 64, 3), dtype="uint8")
    x = build_augmentation("strong", seed=4, size_px=64)(image)
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
    before = run(model, tiles)
    model.save(tmp_path / "m.keras")

    again = keras.models.load_model(tmp_path / "m.keras")

    np.testing.assert_array_equal(run(again, tiles, training=False), run(model, tiles, False))
    # The draws begin anew: Keras keeps the seed, not how often it was used.
    np.testing.assert_array_equal(before, run(again, tiles))
    assert (before != run(model, tiles, False)).any()
    for layer in (RandomTurnZoom(turn_deg=7, zoom=0.3, seed=9), StainJitter(alpha=0.3, beta=0.1),
                  ColourJitter(brightness=0.3, contrast=0.2, saturation=0.4)):  # fmt: skip
        same = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
        assert same.get_config() == layer.get_config()


def test_float16_policy_leaves_it_in_float32(tiles: np.ndarray) -> None:
    before = keras.mixed_precision.dtype_policy()
    wanted = run(build_augmentation("strong", seed=0), tiles)
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = build_augmentation("strong", seed=0)
        made = model(tiles, training=True)
        convolved = keras.layers.Conv2D(2, 3)(model(tiles))
    finally:
        keras.mixed_precision.set_dtype_policy(before)

    assert made.dtype == "float32"
    assert convolved.dtype == "float16"
    np.testing.assert_array_equal(made, wanted)


def test_images_and_masks_pass_through_the_model_together(tiles: np.ndarray) -> None:
    masks = tiles[..., :1].astype("int32") // 64
    model = build_augmentation("strong", masks=True)

    images, moved = model([tiles, masks], training=True)
    same, still = model([tiles, masks], training=False)

    assert images.shape == tiles.shape
    assert set(np.unique(moved)) <= set(np.unique(masks))
    np.testing.assert_array_equal(same, tiles)
    np.testing.assert_array_equal(still, masks)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: build_augmentation("heavy"), "must be one of none, flips, light, strong"),
        (lambda: StainJitter(alpha=-1), "`alpha` must be 0 to 1"),
        (lambda: ColourJitter(contrast=2), "`contrast` must be 0 to 1"),
        (lambda: RandomTurnZoom(turn_deg=270), "`turn_deg` must be 0 to 180"),
    ],
)
def test_slips_are_named(call: Callable, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        call()


MIRRORED = """
import json
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras
from histokeras.models.augment import build_augmentation
from histokeras.models.devices import mirrored

with mirrored("CPU:0", "CPU:1").scope():
    image = keras.Input((16, 16, 3))
    x = build_augmentation("strong", seed=0, size_px=16)(image)
    out = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, out)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
images = np.random.default_rng(0).integers(0, 256, (14, 16, 16, 3), dtype=np.uint8)
history = model.fit(images, np.arange(14) % 2, batch_size=4, epochs=2, verbose=0)
same = model.predict(images, batch_size=4, verbose=0) - model(images).numpy()
print(json.dumps({"loss": history.history["loss"], "difference": float(np.abs(same).max())}))
"""


def test_it_fits_under_a_mirrored_strategy_of_two() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED], check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert np.isfinite(found["loss"]).all()
    assert found["difference"] < 1e-3
