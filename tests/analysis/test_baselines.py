import json

import numpy as np
import pytest

from histokeras.analysis.baselines import (
    Baselines,
    baselines_from_json,
    fit_category,
    fit_linear,
    sample_rows,
)


def blobs(n: int, n_classes: int, seed: int, shift: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % n_classes
    vectors = rng.normal(size=(n, 5)).astype(np.float32)
    vectors[:, 0] += shift * targets
    vectors[:, 4] = 7  # never changes
    return vectors, targets


@pytest.mark.parametrize("n_classes", [2, 3])
def test_linear_baseline_learns_what_colour_tells(n_classes: int) -> None:
    model = fit_linear(*blobs(300, n_classes, 0), *blobs(100, n_classes, 1), n_classes)
    vectors, targets = blobs(200, n_classes, 2)

    probs = model.predict_proba(vectors)

    assert probs.shape == (200, n_classes)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert (probs.argmax(axis=1) == targets).mean() > 0.85


def test_linear_baseline_of_noise_is_no_better_than_chance() -> None:
    model = fit_linear(*blobs(400, 2, 0, shift=0), *blobs(200, 2, 1, shift=0), 2)
    vectors, targets = blobs(400, 2, 2, shift=0)

    assert abs((model.predict_proba(vectors).argmax(axis=1) == targets).mean() - 0.5) < 0.1


def test_the_validation_loss_chooses_the_penalty() -> None:
    vectors, targets = blobs(200, 2, 0)
    val_vectors, val_targets = blobs(100, 2, 1)

    # Where val says the contrary, the least sure model is the best.
    contrary = fit_linear(vectors, targets, val_vectors, 1 - val_targets, 2)

    assert contrary.strength == 0.01
    assert fit_linear(vectors, targets, val_vectors, val_targets, 2).strength > 0.01


def test_a_rare_class_is_not_lost_in_the_sample() -> None:
    targets = np.zeros(60_000, int)
    targets[:500] = 1

    chosen = sample_rows(targets, np.random.default_rng(0))

    assert chosen[:500].all()
    assert 15_000 < chosen.sum() <= 25_000
    again = sample_rows(targets, np.random.default_rng(0))
    np.testing.assert_array_equal(chosen, again)


def test_shares_of_a_category_are_counted_by_hand() -> None:
    # Site a: 2 of 3 positive; b: 0 of 1; all: 2 of 4. Two more units are added at the prior.
    table = fit_category(["a", "a", "a", "b"], np.array([1, 1, 0, 0]), 2)

    assert table[""] == [0.5, 0.5]
    assert table["a"] == pytest.approx([(1 + 1) / 5, (2 + 1) / 5])
    assert table["b"] == pytest.approx([(1 + 1) / 3, (0 + 1) / 3])


def test_unknown_values_get_the_share_among_all() -> None:
    table = fit_category(["a", "b", "b"], np.array([0, 1, 1]), 2)
    baselines = Baselines(("no", "yes"), "yes", {}, {"site": table})

    rows = baselines.of_categories("site", ["b", "never seen", ""])

    np.testing.assert_allclose(rows[1], [1 / 3, 2 / 3])
    np.testing.assert_allclose(rows[2], rows[1])
    assert rows[0, 1] > rows[1, 1]


def test_majority_says_one_class() -> None:
    np.testing.assert_array_equal(Baselines(("a", "b"), "b").of_majority(2), [[0, 1], [0, 1]])


def test_baselines_survive_json() -> None:
    model = fit_linear(*blobs(90, 3, 0), *blobs(30, 3, 1), 3)
    table = fit_category(["x", "y", "x"], np.array([0, 1, 2]), 3)
    names = tuple("vwxyz")
    baselines = Baselines(("a", "b", "c"), "a", {"colour": model}, {"site": table}, names)
    vectors, _ = blobs(10, 3, 5)

    loaded = baselines_from_json(json.loads(json.dumps(baselines.as_json())))

    assert (loaded.classes, loaded.floor_names) == (baselines.classes, names)
    np.testing.assert_array_equal(
        loaded.linear["colour"].predict_proba(vectors), model.predict_proba(vectors)
    )
    np.testing.assert_array_equal(
        loaded.of_categories("site", ["y"]), baselines.of_categories("site", ["y"])
    )
