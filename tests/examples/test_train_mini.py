import importlib.util
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from histokeras.models.mini import build_mini, load_mini
from histokeras.slides.synthetic import CLASSES, tissue_tile

SCRIPT = Path(__file__).parents[2] / "examples" / "train_mini.py"


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_mini", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tiles(recipe: ModuleType) -> np.ndarray:
    return recipe.drawn_tiles(16, seed=0)


def test_two_steps_change_the_weights_and_write_them(recipe: ModuleType, tmp_path: Path) -> None:
    out, head = tmp_path / "m.safetensors", tmp_path / "head"
    options = ["--tiles", "16", "--steps", "2", "--processes", "1", "--check-tiles", "2"]

    result = CliRunner().invoke(recipe.main, [*options, "--out", str(out), "--head-out", str(head)])

    assert result.exit_code == 0, result.output
    assert "2/2" in result.output
    assert "nan" not in result.output
    keras.utils.set_random_seed(0)
    before, after = build_mini(), build_mini()
    load_mini(after, out)
    moved = [
        not np.allclose(old, new, atol=1e-3)
        for old, new in zip(before.get_weights(), after.get_weights(), strict=True)
    ]
    assert sum(moved) > 10
    assert head.stat().st_size == 4 * (before.output_shape[-1] + 1) * len(CLASSES)


def test_losses_are_finite_and_add_up(recipe: ModuleType, tiles: np.ndarray) -> None:
    keras.utils.set_random_seed(0)
    trainee = recipe.build_trainee()

    (each,) = list(recipe.train(trainee, tiles, steps=1, seed=0))

    total = each.pop("loss")
    assert np.isfinite(total)
    assert all(loss > 0 for loss in each.values())
    expected = sum(recipe._WEIGHTS[name] * loss for name, loss in each.items())
    assert total == pytest.approx(expected, rel=1e-4)


def test_tiles_are_drawn_evenly_from_seeds_kept_for_training(
    recipe: ModuleType, tiles: np.ndarray
) -> None:
    seeds = recipe.TRAIN_SEEDS
    middles = tiles[:, :, :, 5].reshape(16, -1)
    most = [int(np.bincount(middle).argmax()) for middle in middles]
    np.testing.assert_array_equal(tiles[3], recipe.drawn_tile(seeds[3]))
    assert sorted(most) == sorted(2 * list(range(len(CLASSES))))
    assert not set(seeds) & set(recipe.CHECK_SEEDS)
    assert not np.array_equal(recipe.drawn_tiles(1, seed=1)[0], tiles[0])


def test_amounts_are_kept_to_a_hundredth(recipe: ModuleType) -> None:
    number = CLASSES.index("STR")
    drawn = (recipe.drawn_tile(seed) for seed in recipe.TRAIN_SEEDS[number::8])
    seed, stored = next(
        pair
        for pair in zip(recipe.TRAIN_SEEDS[number::8], drawn, strict=True)
        if (pair[1][..., 5] == number).all()
    )
    tile = tissue_tile("STR", seed=seed)

    np.testing.assert_array_equal(stored[..., 6] == 1, tile.nuclei)
    np.testing.assert_allclose(stored[..., :5] / 100, tile.concentrations, atol=0.0051)


def test_the_rate_rises_then_falls_to_nothing(recipe: ModuleType) -> None:
    rates = [recipe.learning_rate(done) for done in (0, 0.05, 0.525, 1)]

    np.testing.assert_allclose(rates, recipe._RATE * np.array([0.1, 1, 0.5, 0]), atol=1e-9)


def test_training_ends_when_the_minutes_are_over(recipe: ModuleType, tiles: np.ndarray) -> None:
    trainee = recipe.build_trainee()

    assert list(recipe.train(trainee, tiles, steps=1000, seed=0, minutes=1e-9)) == []


def test_a_crop_and_its_grid_show_the_same_place(
    recipe: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Left half class 0 with haematoxylin, right half class 7 with nuclei and eosin.
    tile = np.zeros((1, 224, 224, 7), np.uint8)
    tile[:, :, :112, 0], tile[:, :, 112:, 1] = 100, 200
    tile[:, :, 112:, 5], tile[:, :, 112:, 6] = 7, 1
    keras.utils.set_random_seed(1)

    for _ in range(4):
        dyes, classes, nuclei = (np.asarray(part) for part in recipe.crops(tf.constant(tile)))
        cells = dyes.reshape(2, 7, 16, 7, 16, 5).mean((2, 4))
        assert dyes.shape == (2, 112, 112, 5)
        np.testing.assert_allclose(cells[..., 0], classes[..., 0], atol=0.15)
        np.testing.assert_allclose(cells[..., 1] / 2, classes[..., 7], atol=0.15)
        np.testing.assert_array_equal(nuclei[..., 0], classes[..., 7])


def test_no_dye_is_white_and_more_dye_is_darker(recipe: ModuleType) -> None:
    keras.utils.set_random_seed(0)
    dyes = np.zeros((3, 8, 8, 5), np.float32)
    dyes[1, ..., 0], dyes[2, ..., 0] = 0.3, 2.0

    light = np.asarray(recipe.stained(tf.constant(dyes)))

    assert light[0].min() > 200
    assert light[0].mean() > light[1].mean() + 30 > light[2].mean() + 60


def test_pictures_keep_their_range_and_their_mean(recipe: ModuleType) -> None:
    keras.utils.set_random_seed(0)
    light = np.full((4, 32, 32, 3), 120, np.float32)

    picture = np.asarray(recipe.photographed(tf.constant(light)))

    assert picture.shape == light.shape
    assert 0 <= picture.min() < picture.max() <= 255
    np.testing.assert_allclose(picture.mean((1, 2, 3)), 120, atol=2)


def test_views_of_one_tile_that_agree_cost_least(recipe: ModuleType) -> None:
    rng = np.random.default_rng(0)
    first = rng.standard_normal((8, 16)).astype(np.float32)

    agree = float(recipe.alike_loss(tf.constant(np.concatenate([first, first]))))
    swapped = float(recipe.alike_loss(tf.constant(np.concatenate([first, first[::-1]]))))

    # By hand: log-sum-exp over the other 15 rows less the partner's own.
    unit = np.concatenate([first, first])
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    similar = unit @ unit.T / recipe._TEMPERATURE
    np.fill_diagonal(similar, -np.inf)
    partner = np.r_[8:16, 0:8]
    by_hand = np.log(np.exp(similar).sum(1)) - similar[np.arange(16), partner]
    assert agree == pytest.approx(by_hand.mean(), rel=1e-4)
    assert agree < swapped
