import math

import keras
import numpy as np
import tensorflow as tf

from histokeras.analysis.risk_baselines import cox_deviance
from histokeras.models.cox_loss import cox_loss


def loss_and_gradient(signed: list[float], risk: list[float]) -> tuple[float, np.ndarray]:
    values = tf.constant(np.array(risk, np.float32)[:, np.newaxis])
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = keras.ops.mean(cox_loss(tf.constant(np.array(signed, np.float32)), values))
    return float(loss), tape.gradient(loss, values).numpy()[:, 0]


def test_three_patients_by_hand() -> None:
    # Event at 1 (risk ln 2) among 2 + 1 + 4; censored at 2; event at 3 among itself alone.
    loss, gradient = loss_and_gradient([1, -2, 3], [math.log(2), 0, math.log(4)])

    assert math.isclose(loss, -math.log(2 / 7) / 2, rel_tol=1e-6)
    # d/dr of -(r1 - log sum) / 2: the share of each in the sum, less 1 for whom it is.
    np.testing.assert_allclose(gradient, [(2 / 7 - 1) / 2, 1 / 14, 4 / 14], rtol=1e-5)


def test_ties_by_efron_and_large_risks_agree_with_the_exact_form() -> None:
    rng = np.random.default_rng(0)
    time = rng.integers(1, 8, 40).astype(float)
    event = rng.random(40) < 0.6
    risk = rng.normal(size=40)
    signed = np.where(event, time, -time)

    loss, _ = loss_and_gradient(signed.tolist(), risk.tolist())

    assert math.isclose(loss, cox_deviance(time, event, risk), rel_tol=1e-5)
    # Two tied events of three, by hand: sums 1 + 2 + 4, then less half of the tied 1 + 2.
    tied, _ = loss_and_gradient([1, 1, -2], [0, math.log(2), math.log(4)])
    assert math.isclose(tied, (math.log(7) + math.log(5.5) - math.log(2)) / 2, rel_tol=1e-6)
    shifted, gradient = loss_and_gradient(signed.tolist(), (risk + 500).tolist())
    assert math.isclose(shifted, loss, rel_tol=1e-4)
    assert np.isfinite(gradient).all()


def test_a_batch_without_an_event_teaches_nothing() -> None:
    loss, gradient = loss_and_gradient([-1, -2], [0.3, -4.0])

    assert loss == 0
    np.testing.assert_array_equal(gradient, 0)
