import keras
import numpy as np
import pytest

from histokeras.errors import ConfigError
from histokeras.models.segmentation_loss import SegmentationLoss
from histokeras.types import IGNORE

LN = np.log


def logits_of(probabilities: list) -> np.ndarray:
    return LN(np.asarray(probabilities, np.float32))


# One row of four pixels, the last without a label; p of the true class: .8, .6, .1.
TRUTH = np.array([[[0, 0, 1, IGNORE]]])
LOGITS = logits_of([[[[0.8, 0.2], [0.6, 0.4], [0.9, 0.1], [0.01, 0.99]]]])
CE = -(LN(0.8) + LN(0.6) + LN(0.1)) / 3
DICE_0, DICE_1 = 2 * 1.4 / (2.3 + 2), 2 * 0.1 / (0.7 + 1)
FOCAL = -(0.2**2 * LN(0.8) + 0.4**2 * LN(0.6) + 0.9**2 * LN(0.1)) / 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"dice": 0}, CE),
        ({"cross_entropy": 0}, 1 - (DICE_0 + DICE_1) / 2),
        ({"cross_entropy": 2, "dice": 0.5}, 2 * CE + 0.5 * (1 - (DICE_0 + DICE_1) / 2)),
        ({"dice": 0, "focal_gamma": 2}, FOCAL),
        ({"dice": 0, "class_weights": (1, 3)}, -(LN(0.8) + LN(0.6) + 3 * LN(0.1)) / 3),
        ({"cross_entropy": 0, "class_weights": (1, 3)}, 1 - (DICE_0 + 3 * DICE_1) / 4),
    ],
)
def test_the_loss_of_four_pixels_is_that_of_the_hand(arguments: dict, expected: float) -> None:
    loss = SegmentationLoss(**arguments)

    again = SegmentationLoss.from_config(loss.get_config())

    assert float(loss(TRUTH, LOGITS)) == pytest.approx(expected, rel=1e-5)
    assert float(again(TRUTH, LOGITS)) == float(loss(TRUTH, LOGITS))


def referee(truth: np.ndarray, logits: np.ndarray, gamma: float, weights: np.ndarray) -> float:
    """One image after the other, in float64, by masks alone."""
    losses = []
    for y, z in zip(truth, logits.astype(np.float64), strict=True):
        y, z = y[y != IGNORE], z[y != IGNORE]
        if not len(y):
            losses.append(0.0)
            continue
        p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
        own = p[np.arange(len(y)), y]
        entropy = np.mean(weights[y] * (1 - own) ** gamma * -LN(own))
        held = np.unique(y)
        overlap = [2 * p[y == k, k].sum() / (p[:, k].sum() + (y == k).sum()) for k in held]
        losses.append(entropy + 1 - np.average(overlap, weights=weights[held]))
    return float(np.mean(losses))


def test_the_loss_is_that_of_the_referee_and_halves_add_up() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, IGNORE], (4, 9, 7))
    truth[1], truth[2] = IGNORE, np.where(truth[2] == 1, 2, truth[2])
    logits = rng.normal(0, 3, (4, 9, 7, 3)).astype(np.float32)
    weights = np.array([1.0, 5.0, 0.5])
    loss = SegmentationLoss(focal_gamma=1.5, class_weights=weights)

    whole = float(loss(truth, logits))

    assert whole == pytest.approx(referee(truth, logits, 1.5, weights), rel=1e-5)
    halves = [float(loss(truth[part], logits[part])) for part in (slice(2), slice(2, 4))]
    assert np.mean(halves) == pytest.approx(whole, rel=1e-6)


def test_nothing_labelled_is_a_loss_of_nothing_and_large_logits_stay_finite() -> None:
    import tensorflow as tf

    truth = np.array([[[IGNORE, IGNORE]], [[0, 1]], [[0, 1]]])
    # Half precision, as far from the truth as it goes, and as near.
    far, near = [-6e4, 6e4], [6e4, -6e4]
    logits = tf.constant([[[far, near]], [[far, near]], [[near, far]]], tf.float16)
    for gamma in (0.0, 0.5, 2.0):
        loss = SegmentationLoss(focal_gamma=gamma)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            each = loss.call(truth, logits)
            whole = tf.reduce_sum(each)
        slope = np.asarray(tape.gradient(whole, logits))

        assert each.dtype == tf.float32
        assert float(each[0]) == 0
        np.testing.assert_allclose(each[1:], [120_001, 0], atol=1e-3)
        assert np.isfinite(slope).all()
        assert not slope[0].any()


def test_impossible_weights_are_refused() -> None:
    for arguments in ({"dice": -1}, {"focal_gamma": -1}, {"class_weights": (1, 0)}):
        with pytest.raises(ConfigError, match=next(iter(arguments))):
            SegmentationLoss(**arguments)
    with pytest.raises(ConfigError, match="more than 0"):
        SegmentationLoss(cross_entropy=0, dice=0)
    with pytest.raises(ConfigError, match="one for each of 2 classes"):
        SegmentationLoss(class_weights=(1, 1, 1))(TRUTH, LOGITS)


def test_keras_takes_the_loss_with_weights_of_images() -> None:
    model = keras.Sequential([keras.Input((1, 4, 2)), keras.layers.Identity()])
    model.compile(loss=SegmentationLoss(dice=0))
    twice, truth = np.repeat(LOGITS, 2, axis=0), np.repeat(TRUTH, 2, axis=0)

    found = model.evaluate(twice, truth, sample_weight=np.array([1.0, 0.0]), verbose=0)

    assert found == pytest.approx(CE / 2, rel=1e-5)
