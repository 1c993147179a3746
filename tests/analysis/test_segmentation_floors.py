from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.linear_model import LogisticRegression

from histokeras.analysis.segmentation_floors import (
    REACH_PX,
    colour_values,
    count_haematoxylin,
    fit_colour,
    optical_density,
    otsu_threshold,
    smooth_haematoxylin,
)


def noise(seed: int = 0, size: int = 96) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)


def test_density_of_glass_is_none_and_a_tenth_of_the_light_is_one() -> None:
    image = np.array([[[255, 127, 0]]], np.uint8)

    np.testing.assert_allclose(optical_density(image)[0, 0], [0, np.log10(2), np.log10(256)], 1e-6)


def test_haematoxylin_is_seen_and_eosin_is_not() -> None:
    haematoxylin, eosin = (
        np.array(stain) / np.linalg.norm(stain)
        for stain in ([0.65, 0.70, 0.29], [0.07, 0.99, 0.11])
    )
    image = np.zeros((40, 80, 3))
    image[:, :40] = 256 * 10 ** (-0.7 * haematoxylin) - 1
    image[:, 40:] = 256 * 10 ** (-0.7 * eosin) - 1

    amounts = smooth_haematoxylin(image.round().astype(np.uint8))

    assert amounts[20, 10] == pytest.approx(0.7, abs=0.01)
    assert amounts[20, 70] == pytest.approx(0, abs=0.01)


def test_otsu_parts_two_groups_in_the_middle_of_their_gap() -> None:
    amounts = np.concatenate([np.full(300, 0.2), np.full(100, 0.8)]).astype(np.float32)

    threshold = otsu_threshold(count_haematoxylin(amounts))

    # Every threshold in the gap is as good; of these the middle one.
    assert threshold == pytest.approx(0.5, abs=0.01)
    assert otsu_threshold(count_haematoxylin(amounts[:300])) == np.inf


def test_of_pixels_of_one_class_colour_says_this_class_everywhere() -> None:
    values = np.random.default_rng(0).random((20, 6)).astype(np.float32)

    floor = fit_colour(values, np.full(20, 1, np.uint8), 3, None)

    probabilities = floor.probabilities(noise(size=8))
    np.testing.assert_array_equal(probabilities, np.broadcast_to([0, 1, 0], (8, 8, 3)))
    assert (floor.classes(probabilities) == 1).all()


def test_otsu_agrees_with_the_variances_of_every_split() -> None:
    rng = np.random.default_rng(1)
    amounts = np.concatenate([rng.normal(0.3, 0.1, 500), rng.normal(0.9, 0.2, 300)])

    threshold = otsu_threshold(count_haematoxylin(amounts.astype(np.float32)))

    tried = np.linspace(0.2, 1.2, 501)
    within = [
        sum(group.var() * len(group) for group in (amounts[amounts > t], amounts[amounts <= t]))
        for t in tried
    ]
    assert threshold == pytest.approx(tried[int(np.argmin(within))], abs=0.02)


def test_a_part_with_its_surroundings_gives_the_numbers_of_the_whole() -> None:
    image = noise(size=160)

    whole, part = colour_values(image), colour_values(image[20 : 20 + 2 * REACH_PX + 30])

    np.testing.assert_allclose(part[REACH_PX:-REACH_PX], whole[20 + REACH_PX :][:30], atol=1e-5)
    density = optical_density(image)[..., 1].astype(np.float64)
    np.testing.assert_allclose(whole[..., 4], ndimage.gaussian_filter(density, 8), atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_are_those_of_the_regression(n_classes: int) -> None:
    rng = np.random.default_rng(0)
    image = noise()
    values = colour_values(image).reshape(-1, 6)
    targets = (rng.random(len(values)) + 4 * values[:, 0] > 2.2).astype(np.uint8)
    targets += n_classes - 2

    floor = fit_colour(values, targets, n_classes, None)

    scaled = (values - values.mean(0)) / values.std(0)
    expected = LogisticRegression(max_iter=300).fit(scaled, targets).predict_proba(scaled)
    found = floor.probabilities(image).reshape(-1, n_classes)
    np.testing.assert_allclose(found[:, n_classes - 2 :], expected, atol=2e-3)
    # A class that train lacks is never said.
    assert (found[:, : n_classes - 2] == 0).all()


def test_of_two_classes_the_threshold_is_where_dice_is_best() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (4000, 6)).astype(np.float32)
    truth = values[:, 0] + rng.normal(0, 1, 4000) > 1.8
    floor = fit_colour(values, truth.astype(np.uint8), 2, 1)

    logits = values @ floor.weights + floor.bias
    probability = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))

    def dice(at: float) -> float:
        said = probability >= at
        return float(2 * (said & truth).sum() / (said.sum() + truth.sum()))

    # One of ten is positive: at 0.5 few would be found.
    assert floor.threshold is not None
    assert floor.threshold < 0.5
    assert dice(floor.threshold) > dice(0.5) + 0.05
    assert dice(floor.threshold) >= max(dice(at) for at in np.linspace(0.05, 0.95, 19)) - 1e-3
    both = np.array([[[0.7, 0.3], [0.4, 0.6]]], np.float32)
    assert floor.classes(both).tolist() == [[int(floor.threshold <= 0.3), 1]]


def test_otsu_on_real_nuclei_is_where_it_was_measured(real_data: Path) -> None:
    dice = {}
    for path in sorted((real_data / "masks/monuseg/images").glob("*.png")):
        with Image.open(path) as picture:
            amounts = smooth_haematoxylin(np.asarray(picture.convert("RGB")))
        with Image.open(path.parents[1] / "masks" / path.name) as picture:
            truth = np.asarray(picture.convert("L")) > 127
        said = amounts > otsu_threshold(count_haematoxylin(amounts))
        dice[path.stem[:12]] = 2 * (said & truth).sum() / (said.sum() + truth.sum())

    # Another deconvolution and smoothing gave .554 to .675, and .649 of the last.
    assert len(dice) == 6
    assert min(dice.values()) == pytest.approx(0.551, abs=0.005)
    assert max(dice.values()) == pytest.approx(0.675, abs=0.005)
    assert dice["TCGA-AR-A1AK"] == pytest.approx(0.648, abs=0.005)
