"""Grad-CAM against ten lines of our own, on a network that was taught to look at one place."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from histokeras.errors import ConfigError
from histokeras.models.catalog import require_backbone
from histokeras.models.weights import WeightsSource
from histokeras.training.classifier import Classifier
from histokeras.training.explain import (
    explain_tiles,
    grad_cam,
    integrated_gradients,
    map_layers,
    occlusion,
    positive_share,
    require_layer,
    scaled,
)
from histokeras.training.trained_run import TrainedRun

SIDE, SQUARE = 48, 16
DARK, BRIGHT = "dark", "with a square"


def images_with_squares(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise; every second image has a bright square. Images, corners (y, x), targets."""
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 120, (n, SIDE, SIDE, 3)).astype(np.uint8)
    corners = rng.integers(0, SIDE - SQUARE, (n, 2))
    targets = np.arange(n) % 2
    for image, (y, x), target in zip(images, corners, targets, strict=True):
        if target:
            image[y : y + SQUARE, x : x + SQUARE] += 110
    return images, corners, targets


@pytest.fixture(scope="module")
def toy() -> Classifier:
    """A small network that finds the square; the tile's pixels are scaled inside."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1, name="rescaling")(image)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="early")(x)
    x = keras.layers.MaxPooling2D(2, name="halved")(x)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="late")(x)
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    logits = keras.layers.Dense(2, name="logits")(x)
    model = keras.Model(image, logits)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.optimizer.learning_rate = 0.01
    images, _, targets = images_with_squares(64, 0)
    for _ in range(60):
        model.train_on_batch(images.astype("float32"), targets)
    scorer = keras.Model(image, [logits, keras.layers.Softmax()(logits)])
    settings = {"tile_size_px": SIDE, "backbone": "mini"}
    run = TrainedRun(Path("run"), {"classes": [DARK, BRIGHT], "features": settings}, [], [])
    weights = WeightsSource("random", None, 0, "random:0")
    # mini's preprocessing leaves pixels as they are, as this network wants them.
    return Classifier(model, scorer, require_backbone("mini"), run, weights, ({},))


def own_grad_cam(model: keras.Model, images: np.ndarray, target: int, layer: str) -> np.ndarray:
    twin = keras.Model(model.inputs[0], [model.get_layer(layer).output, model.outputs[0]])
    with tf.GradientTape() as tape:
        maps, logits = twin(images)
        score = logits[:, target]
    gradient = tape.gradient(score, maps).numpy().astype("float64")
    weights = gradient.sum(axis=(1, 2))
    return np.einsum("nyxk,nk->nyx", maps.numpy(), weights)


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("layer", ["early", "halved", "late"])
@pytest.mark.parametrize("target", [0, 1])
def test_grad_cam_equals_ten_lines_of_our_own(toy: Classifier, layer: str, target: int) -> None:
    # More than a batch.
    images = images_with_squares(18, 1)[0].astype("float32")

    found = grad_cam(toy.model, images, target, layer)

    assert relative_difference(found, own_grad_cam(toy.model, images, target, layer)) < 1e-5


def test_the_mean_of_the_last_map_is_what_it_adds_to_the_logit(toy: Classifier) -> None:
    images = images_with_squares(4, 2)[0].astype("float32")
    bias = toy.model.get_layer("logits").bias.numpy()

    found = grad_cam(toy.model, images, 1, "late").mean(axis=(1, 2)) + bias[1]

    assert found == pytest.approx(toy.score(images.astype(np.uint8))[0][:, 1], rel=1e-4)


def share_in_square(evidence: np.ndarray, corner: np.ndarray) -> float:
    y, x = corner
    return float(evidence[y : y + SQUARE, x : x + SQUARE].sum() / evidence.sum())


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
def test_the_evidence_lies_in_the_square(toy: Classifier, method: str) -> None:
    images, corners, targets = images_with_squares(8, 3)
    found = explain_tiles(toy, images, method=method)

    assert [item.predicted for item in found] == [(DARK, BRIGHT)[target] for target in targets]
    for item, corner in zip(found[1::2], corners[1::2], strict=True):
        assert share_in_square(item.map.clip(0), corner) >= 0.6
        assert item.clear
        assert item.class_name == BRIGHT
        assert np.abs(item.map).max() == 1
        assert item.prob > 0.9


def test_integrated_gradients_from_the_ground_lie_in_the_square(toy: Classifier) -> None:
    images, corners, _ = images_with_squares(2, 3)
    ground = np.full((SIDE, SIDE, 3), 90, "float32")

    found = integrated_gradients(toy.model, images[1].astype("float32"), ground, 1)

    assert share_in_square(found.clip(0), corners[1]) >= 0.6


def test_smoothgrad_reacts_most_at_the_square_and_is_repeatable(toy: Classifier) -> None:
    images, corners, _ = images_with_squares(2, 4)
    (first,), (again,) = (explain_tiles(toy, images[1:], method="smoothgrad") for _ in range(2))
    y, x = corners[1]

    inside = first.map[y : y + SQUARE, x : x + SQUARE].mean()

    assert inside > 1.5 * first.map.mean()
    assert first.map.min() >= 0
    assert first.positive_share is None
    np.testing.assert_array_equal(first.map, again.map)


def test_integrated_gradients_add_up_to_the_difference_of_the_logits(toy: Classifier) -> None:
    image, white = (
        images_with_squares(2, 5)[0][1].astype("float32"),
        np.full((SIDE, SIDE, 3), 255.0),
    )
    logits = toy.model(np.stack([image, white]).astype("float32")).numpy()[:, 1]

    found = integrated_gradients(toy.model, image, white.astype("float32"), 1, steps=256)

    assert found.sum() == pytest.approx(logits[0] - logits[1], rel=0.02)


def test_occlusion_of_a_linear_model_is_what_the_window_carried() -> None:
    image = keras.Input((4, 4, 3))
    total = keras.layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, keras.layers.Dense(1, use_bias=False)(total))
    model.set_weights([np.array([[16.0], [0], [0]], "float32")])
    pixels = np.zeros((4, 4, 3), "float32")
    pixels[0, 0, 0] = 6

    found = occlusion(model, pixels, np.zeros(3, "float32"), 0, windows=2)

    # Windows of 2 x 2 begin at 0, 1 and 2: only the first holds the pixel, whose fall is 6. Pixel
    # (0, 1) lies in two windows, (1, 1) in four.
    expected = np.zeros((4, 4))
    expected[:2, :2] = [[6, 3], [3, 1.5]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_class_without_evidence_stays_dark_and_says_so(toy: Classifier) -> None:
    # All that the last map holds is made to speak against the square.
    images = images_with_squares(2, 6)[0][1:]
    kernel, bias = toy.model.get_layer("logits").get_weights()
    turned = kernel.copy()
    turned[:, 1] = -np.abs(kernel[:, 1])
    toy.model.get_layer("logits").set_weights([turned, bias])
    try:
        (item,) = explain_tiles(toy, images, class_name=BRIGHT)
    finally:
        toy.model.get_layer("logits").set_weights([kernel, bias])

    assert item.map.max() == 0
    assert item.positive_share == 0
    assert not item.clear
    assert "NO CLEAR EVIDENCE" in item.titles[1]
    assert item.row()["evidence"] == "no clear evidence"


def test_a_class_that_is_not_predicted_can_be_explained(toy: Classifier) -> None:
    images = images_with_squares(4, 7)[0]
    logits, probabilities = toy.score(images)

    found = explain_tiles(toy, images, class_name=DARK)

    assert [item.class_name for item in found] == [DARK] * 4
    assert found[1].predicted == BRIGHT
    assert [item.logit for item in found] == pytest.approx(logits[:, 0].tolist())
    assert [item.prob for item in found] == pytest.approx(probabilities[:, 0].tolist())
    assert f"(predicted: {BRIGHT})" in found[1].titles[1]


def test_shares_and_scales_by_hand() -> None:
    values = np.array([[3.0, -1.0], [0.0, 0.0]], "float32")

    assert positive_share(values) == 0.75
    assert positive_share(np.zeros((2, 2), "float32")) == 0
    np.testing.assert_array_equal(scaled(values, 2.0), [[1, -0.5], [0, 0]])
    np.testing.assert_array_equal(scaled(np.zeros((2, 2), "float32"), 0.0), 0)


def test_layers_methods_and_classes_are_checked(toy: Classifier) -> None:
    images = images_with_squares(2, 8)[0]

    assert map_layers(toy.model)["late"] == (SIDE // 2, SIDE // 2)
    assert require_layer(toy.model, None) == "late"
    with pytest.raises(ConfigError, match=r"'lat'.*late.*halved|'lat'.*early.*late"):
        explain_tiles(toy, images, layer="lat")
    with pytest.raises(ConfigError, match="belongs to grad-cam"):
        explain_tiles(toy, images, method="occlusion", layer="late")
    with pytest.raises(ConfigError, match="one of grad-cam"):
        explain_tiles(toy, images, method="lime")
    with pytest.raises(ConfigError, match="one of dark, with a square"):
        explain_tiles(toy, images, class_name="square")
    with pytest.raises(ConfigError, match=r"uint8 \(n, 48, 48, 3\)"):
        explain_tiles(toy, images[:, :32])
