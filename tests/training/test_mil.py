import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import roc_auc_score

from histokeras.errors import ConfigError, TableError
from histokeras.models.heads import bag_parts, build_head, build_number_head
from histokeras.models.model_file import read_head, write_head
from histokeras.training import mil
from histokeras.training.bags import in_bags
from histokeras.training.head import HeadConfig, Labelled, fit_classifier
from histokeras.training.loop import FitConfig, Resume
from histokeras.training.mil import FittedMil, fit_mil, padded, predict_bags
from histokeras.training.vectors import MemoryVectors
from histokeras.types import ATTENTION, PROB

WIDTH = 16
CONFIG = HeadConfig(
    head="mil", fit=FitConfig(epochs=20, batch_size=8, learning_rate=1e-3, patience=5, seed=2)
)


def bags(n_bags: int, seed: int, *, tiles: int = 100) -> tuple[Labelled, npt.NDArray[np.bool_]]:
    """Bags of about ``tiles``; of every second one 5 % of the tiles carry the class."""
    rng = np.random.default_rng(seed)
    targets, codes, carry = [], [], []
    for number in range(n_bags):
        n = int(rng.integers(tiles * 4 // 5, tiles * 6 // 5))
        carry.append(rng.permutation(n) < (round(0.05 * n) if number % 2 else 0))
        targets.append(np.full(n, number % 2, np.int32))
        codes.append(np.full(n, number))
    carrying = np.concatenate(carry)
    x = rng.normal(size=(len(carrying), WIDTH)).astype(np.float32)
    x[:, 3] += 4 * carrying
    # The tiles of a bag are scattered over the rows, as those of a patient with several slides.
    mixed = rng.permutation(len(x))
    vectors = in_bags(MemoryVectors(x[mixed]), np.concatenate(codes)[mixed])
    return Labelled(vectors, np.concatenate(targets)[mixed]), carrying[mixed]


@pytest.fixture(scope="module")
def fitted() -> FittedMil:
    return fit_mil(bags(80, 0)[0], bags(40, 1)[0], ("a", "b"), CONFIG)


def of_bags(labelled: Labelled, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.array([values[part].mean() for part in in_bags(labelled.vectors).positions])


def test_few_tiles_that_carry_the_class_are_found(fitted: FittedMil) -> None:
    test, carrying = bags(100, 2)

    scores = fitted.scores(test.vectors)

    truth = of_bags(test, test.targets)
    found = roc_auc_score(truth, of_bags(test, scores[PROB][:, 1]))
    assert found > 0.95
    attention = scores[ATTENTION][:, 0]
    first, ranks = [], []
    for positions in in_bags(test.vectors).positions:
        mine, weights = carrying[positions], attention[positions]
        assert weights.sum() == pytest.approx(1, abs=1e-5)
        assert len(np.unique(scores[PROB][positions, 1])) == 1
        if mine.any():
            first.append(mine[weights.argmax()])
            ranks.append(roc_auc_score(mine, weights))
    # The tile with most attention carries the class, and those that do come before the others.
    assert np.mean(first) > 0.9
    assert np.mean(ranks) > 0.9
    # A mean over the tiles drowns one in twenty: 0.87 where attention has 0.997.
    linear = fit_classifier(bags(80, 0)[0], bags(40, 1)[0], ("a", "b"))
    mean = roc_auc_score(truth, of_bags(test, linear.scores(test.vectors)[PROB][:, 1]))
    assert mean < found - 0.05


def test_attention_is_the_equation() -> None:
    model = build_head("mil", 2, 2)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.05, 0.9, weight.shape) for weight in model.get_weights()])
    named = {weight.path: np.asarray(weight, np.float64) for weight in model.weights}
    x = rng.normal(size=(5, 2))

    probabilities, attention = predict_bags(model, in_bags(MemoryVectors(x.astype(np.float32))))

    variance = named["standardise/moving_variance"] + 1e-6
    standard = (x - named["standardise/moving_mean"]) / np.sqrt(variance)
    standard = standard * named["standardise/gamma"]
    h = np.maximum(standard @ named["embedding/kernel"] + named["embedding/bias"], 0)
    v = np.tanh(h @ named["attention_v/kernel"] + named["attention_v/bias"])
    u = 1 / (1 + np.exp(-(h @ named["attention_u/kernel"] + named["attention_u/bias"])))
    odds = np.exp((v * u) @ named["attention_w/kernel"])[:, 0]
    expected = odds / odds.sum()
    logits = expected @ h @ named["logits/kernel"] + named["logits/bias"]
    np.testing.assert_allclose(attention, expected, rtol=1e-4)
    np.testing.assert_allclose(probabilities[0], np.exp(logits) / np.exp(logits).sum(), rtol=1e-4)


def test_padding_order_pieces_and_other_bags_change_nothing(
    fitted: FittedMil, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    large, small = (rng.normal(size=(n, WIDTH)).astype(np.float32) for n in (50, 7))
    codes = np.repeat([0, 1], [50, 7])
    both = in_bags(MemoryVectors(np.concatenate([large, small])), codes)

    alone, attention = predict_bags(fitted.model, in_bags(MemoryVectors(small)))
    beside, weights = predict_bags(fitted.model, both)
    batch = np.asarray(fitted.model(padded([large, small]), training=False))
    order = rng.permutation(7)
    turned, shares = predict_bags(fitted.model, in_bags(MemoryVectors(small[order])))
    monkeypatch.setattr(mil, "_READ_ROWS", 3)
    pieces, _ = predict_bags(fitted.model, in_bags(MemoryVectors(small)))

    np.testing.assert_array_equal(beside[1], alone[0])
    np.testing.assert_array_equal(weights[50:], attention)
    np.testing.assert_allclose(batch, beside, rtol=1e-5)
    np.testing.assert_allclose(turned, alone, rtol=1e-5)
    np.testing.assert_allclose(shares, attention[order], rtol=1e-4)
    np.testing.assert_allclose(pieces, alone, rtol=1e-5)
    # What is padded has no weight at all, whatever stands there.
    odd = padded([large, small])
    odd["features"][1, 7:] = 1e6
    np.testing.assert_array_equal(np.asarray(fitted.model(odd, training=False)), batch)


def test_a_kept_head_says_the_same(
    fitted: FittedMil, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("mil") / "head"
    test, _ = bags(4, 3)
    card = {"head": "mil", "n_features": WIDTH, "classes": ["a", "b"], **fitted.facts()}
    write_head(folder, fitted.model, card)

    again = FittedMil.of_card(*read_head(folder))

    ours, theirs = fitted.scores(test.vectors), again.scores(test.vectors)
    assert list(ours) == list(theirs)
    for name, values in ours.items():
        np.testing.assert_array_equal(theirs[name], values)


def test_a_cut_off_training_ends_in_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Bags are larger than what an epoch learns from: what is drawn is drawn again.
    monkeypatch.setattr(mil, "BAG_TILES", 20)
    train, val = bags(12, 0, tiles=30)[0], bags(6, 1, tiles=30)[0]
    fit = dataclasses.replace(CONFIG.fit, epochs=4, batch_size=5)
    resume = Resume(tmp_path_factory.mktemp("mil") / "fit.safetensors", "key")

    whole = fit_mil(train, val, ("a", "b"), dataclasses.replace(CONFIG, fit=fit))
    first = dataclasses.replace(CONFIG, fit=dataclasses.replace(fit, epochs=2))
    fit_mil(train, val, ("a", "b"), first, resume=resume)
    said: list[str] = []
    taken = dataclasses.replace(resume, say=said.append)
    again = fit_mil(train, val, ("a", "b"), dataclasses.replace(CONFIG, fit=fit), resume=taken)

    assert "after epoch 2" in said[0]
    for ours, theirs in zip(whole.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert whole.history.equals(again.history)


def test_large_bags_are_drawn_from_in_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mil, "BAG_TILES", 20)
    some = in_bags(bags(2, 0, tiles=50)[0].vectors)

    draws = [mil.drawn(some, number, (0, epoch)) for number, epoch in ((1, 3), (1, 3), (1, 4))]

    assert {draw.shape for draw in draws} == {(20, WIDTH)}
    assert len(np.unique(draws[0], axis=0)) == 20
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    _, attention = predict_bags(build_head("mil", WIDTH, 2), some)
    assert (attention > 0).all()


def test_a_side_without_a_class_is_an_error() -> None:
    train, val = bags(4, 0)[0], bags(2, 1)[0]
    with pytest.raises(TableError, match="c in train"):
        fit_mil(train, val, ("a", "b", "c"), CONFIG)
    none = Labelled(in_bags(MemoryVectors(np.zeros((0, WIDTH)))), np.zeros(0, np.int32))
    with pytest.raises(TableError, match="no bags in val"):
        fit_mil(train, none, ("a", "b"), CONFIG)


def test_bags_have_no_number_head() -> None:
    with pytest.raises(ConfigError, match="linear, mlp, write-up"):
        build_number_head("mil", 4)


def test_parts_share_the_weights() -> None:
    model = build_head("mil", 4, 3)
    of_tiles, of_bag = bag_parts(model)
    assert (of_tiles.outputs[0].shape[-1], of_bag.outputs[1].shape[-1]) == (256, 3)
    mine = {id(weight) for weight in model.weights}
    assert {id(weight) for part in (of_tiles, of_bag) for weight in part.weights} == mine
