import json

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from histokeras.analysis.number_baselines import (
    NumberBaselines,
    Tiles,
    category_means,
    fit_ridge,
    number_baselines_from_json,
)


def tiles(n: int, seed: int, slope: float = 2.0) -> Tiles:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(3, [1, 5, 0], (n, 3))
    return Tiles(vectors, 10 + slope * vectors[:, 0] + rng.normal(size=n), rng.uniform(0.5, 2, n))


def test_ridge_is_scikit_learns_on_standardised_numbers() -> None:
    train, val = tiles(300, 0), tiles(100, 1)

    model = fit_ridge(train, val)

    varied = train.vectors[:, :2]
    standard = (varied - varied.mean(axis=0)) / varied.std(axis=0)
    weights = train.weights / train.weights.mean()
    referee = Ridge(alpha=model.strength * 300).fit(standard, train.targets, weights)
    expected = referee.predict((val.vectors[:, :2] - varied.mean(axis=0)) / varied.std(axis=0))
    np.testing.assert_allclose(model.outputs(val.vectors)[:, 0], expected, rtol=1e-9)
    assert model.strength == 1e-3
    # The slope is in units of the tiles, and the weight of a tile counts.
    assert model.weights[0, 0] / model.scale[0] == pytest.approx(2, abs=0.2)


def test_val_chooses_the_penalty_where_there_is_nothing_to_learn() -> None:
    train = tiles(60, 0, slope=0)
    contrary = tiles(200, 2, slope=-3)

    assert fit_ridge(train, contrary).strength < fit_ridge(tiles(60, 0, 3), contrary).strength


def test_category_means_by_hand() -> None:
    found = category_means(["a", "a", "b", ""], np.array([1.0, 3.0, 8.0, 4.0]))

    # The mean of all is 4: a (1 + 3 + 2 * 4) / 4, b (8 + 2 * 4) / 3.
    assert found == {"": 4.0, "a": 3.0, "b": pytest.approx(16 / 3)}


def test_baselines_come_back_from_json() -> None:
    model = fit_ridge(tiles(50, 0), tiles(20, 1))
    table = {"site": {"": 4.0, "a": 3.0}}
    made = NumberBaselines("score", 4.5, {"colour": model}, table, ("x", "y", "z"))

    again = number_baselines_from_json(json.loads(json.dumps(made.as_json())))

    assert again.constants(2)["mean"].tolist() == [[4.5], [4.5]]
    assert again.of_categories("site", ["a", "unseen"]).tolist() == [[3.0], [4.0]]
    vectors = tiles(5, 3).vectors
    np.testing.assert_array_equal(again.linear["colour"].outputs(vectors), model.outputs(vectors))
    assert (again.target, again.floor_names, again.n_outputs) == ("score", ("x", "y", "z"), 1)
