import dataclasses

import numpy as np
import pytest

from histokeras.analysis.calibration import temperature_scaled
from histokeras.errors import ConfigError, TableError
from histokeras.models.catalog import HEAD_RATES, TILE_HEADS
from histokeras.training.head import HeadConfig, Labelled, fit_classifier
from histokeras.training.loop import FitConfig
from histokeras.training.vectors import MemoryVectors, mean_and_scale


def blobs(n: int, seed: int, *, shift: float = 1.5) -> Labelled:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, n).astype(np.int32)
    x = rng.normal(size=(n, 8)).astype(np.float32) * 3 + 40
    x[:, 0] += shift * 3 * targets
    return Labelled(MemoryVectors(x), targets)


QUICK = FitConfig(epochs=30, batch_size=64, patience=5, seed=3, learning_rate=2e-2)


@pytest.mark.parametrize("head", ["linear", "mlp", "write-up"])
def test_heads_learn_separable_classes(head: str) -> None:
    train, val, test = blobs(400, 0, shift=4), blobs(100, 1, shift=4), blobs(200, 2, shift=4)

    fit = dataclasses.replace(QUICK, learning_rate=3e-3 if head == "write-up" else 2e-2)
    fitted = fit_classifier(train, val, ("a", "b"), HeadConfig(head=head, fit=fit))

    probabilities = fitted.predict_proba(test.vectors)
    assert np.mean(probabilities.argmax(1) == test.targets) > 0.9
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    history = fitted.history
    assert list(history["epoch"]) == list(range(1, len(history) + 1))
    assert history["best"].sum() == 1
    best = history.loc[history["best"], "val_loss"].iloc[0]
    assert best == pytest.approx(history["val_loss"].min())


@pytest.mark.parametrize("head", TILE_HEADS)
def test_defaults_learn_a_toy(head: str) -> None:
    # The write-up's BatchNorm must know its mean before early stopping gives up.
    train, val, test = blobs(600, 0, shift=3), blobs(200, 1, shift=3), blobs(400, 2, shift=3)
    config = HeadConfig(head=head, fit=FitConfig(learning_rate=HEAD_RATES[head], epochs=100))

    fitted = fit_classifier(train, val, ("a", "b"), config)

    assert np.mean(fitted.predict_proba(test.vectors).argmax(1) == test.targets) > 0.85


@pytest.mark.parametrize("head", ["linear", "write-up"])
def test_features_of_any_scale_are_standardised(head: str) -> None:
    # Random networks give features near 1e-7, whose variance an epsilon would swallow.
    train, val = blobs(300, 0, shift=4), blobs(100, 1, shift=4)
    tiny = [
        Labelled(MemoryVectors(next(iter(part.vectors.batches(9999)))[1] * 1e-8), part.targets)
        for part in (train, val)
    ]

    fit = dataclasses.replace(QUICK, learning_rate=3e-3 if head == "write-up" else 2e-2)
    fitted = fit_classifier(*tiny, ("a", "b"), HeadConfig(head=head, fit=fit))

    accuracy = np.mean(fitted.predict_proba(tiny[1].vectors).argmax(1) == val.targets)
    assert accuracy > 0.9


def test_constant_features_are_left_out() -> None:
    x = np.ones((50, 3), np.float32) * 0.1
    x[:, 1] = np.arange(50)

    mean, scale = mean_and_scale(MemoryVectors(x))

    assert scale[0] == scale[2] == 0
    assert mean[1] == pytest.approx(24.5)
    assert scale[1] == pytest.approx(1 / np.arange(50).std())


def test_the_kept_weights_are_those_of_the_best_epoch() -> None:
    train, val = blobs(100, 0), blobs(60, 1)

    fitted = fit_classifier(train, val, ("a", "b"), HeadConfig(fit=QUICK, class_weight="none"))

    p = fitted.predict_raw(val.vectors)
    loss = -np.log(p[np.arange(60), val.targets]).mean()
    assert loss == pytest.approx(fitted.history["val_loss"].min(), rel=1e-4)


def test_temperature_is_fitted_on_val_and_keeps_the_ranking() -> None:
    train, val, test = blobs(40, 0), blobs(200, 1), blobs(400, 2)

    # Far too many epochs for 40 rows: the head is over-confident.
    config = HeadConfig(fit=FitConfig(epochs=200, learning_rate=0.1, patience=200))
    fitted = fit_classifier(train, val, ("a", "b"), config)
    raw, calibrated = fitted.predict_raw(test.vectors), fitted.predict_proba(test.vectors)

    assert fitted.temperature != 1
    assert fitted.temperature_note == ""
    np.testing.assert_array_equal(raw.argmax(axis=1), calibrated.argmax(axis=1))
    np.testing.assert_array_equal(np.argsort(raw[:, 1], kind="stable"),
                                  np.argsort(calibrated[:, 1], kind="stable"))  # fmt: skip
    np.testing.assert_allclose(calibrated, temperature_scaled(raw, fitted.temperature))


def test_shuffled_labels_give_no_skill() -> None:
    train, val, test = blobs(400, 0), blobs(150, 1), blobs(600, 2)
    rng = np.random.default_rng(9)
    train = dataclasses.replace(train, targets=rng.permutation(train.targets))
    val = dataclasses.replace(val, targets=rng.permutation(val.targets))

    fitted = fit_classifier(train, val, ("a", "b"), HeadConfig(head="linear", fit=QUICK))

    accuracy = np.mean(fitted.predict_proba(test.vectors).argmax(1) == test.targets)
    assert abs(accuracy - 0.5) < 0.12


def test_the_same_seed_gives_the_same_head_and_another_seed_another() -> None:
    train, val = blobs(150, 0), blobs(50, 1)
    configs = [HeadConfig(fit=dataclasses.replace(QUICK, epochs=3, seed=s)) for s in (0, 0, 1)]

    first, again, other = (
        fit_classifier(train, val, ("a", "b"), c).predict_proba(val.vectors) for c in configs
    )

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_balanced_weights_lift_the_rare_class() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random(600) < 0.05).astype(np.int32)
    x = rng.normal(size=(600, 4)).astype(np.float32)
    x[:, 0] += targets
    data = Labelled(MemoryVectors(x), targets)

    def share(weight: str) -> float:
        config = HeadConfig(head="linear", class_weight=weight, fit=QUICK)
        fitted = fit_classifier(data, data, ("a", "b"), config)
        return float(fitted.predict_proba(data.vectors)[:, 1].mean())

    assert share("balanced") > 0.3
    assert share("none") < 0.2


def test_a_class_without_training_tiles_is_refused() -> None:
    train = blobs(50, 0)
    only_a = dataclasses.replace(train, targets=np.zeros(50, np.int32))
    none = Labelled(MemoryVectors(np.empty((0, 8), np.float32)), np.empty(0, np.int32))

    with pytest.raises(TableError, match=r"class\(es\) b in train"):
        fit_classifier(only_a, train, ("a", "b"))
    with pytest.raises(TableError, match="no tiles in val"):
        fit_classifier(train, none, ("a", "b"))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: HeadConfig(head="deep"), "`head` must be one of linear"),
        (lambda: HeadConfig(class_weight="auto"), "`class_weight` must be one of"),
        (lambda: FitConfig(epochs=0), "`epochs` must be at least 1"),
        (lambda: FitConfig(learning_rate=0.0), "`learning_rate` must be above 0"),
    ],
)
def test_impossible_settings_are_refused(build, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()
