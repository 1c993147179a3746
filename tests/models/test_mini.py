from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load, save

from histokeras.errors import FeatureError
from histokeras.models.mini import (
    MINI_FEATURES,
    MINI_LAST_CONV,
    MINI_STRIDE,
    MINI_WEIGHTS,
    build_mini,
    load_mini,
    save_mini,
)


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(3)
    return build_mini()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype(np.float32)


def features(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(model(images, training=False))


@pytest.mark.parametrize("size_px", [32, 96, 224, 299])
def test_one_network_takes_tiles_of_any_size(model: keras.Model, size_px: int) -> None:
    image = np.full((1, size_px, size_px, 3), 128, np.float32)

    assert features(model, image).shape == (1, MINI_FEATURES)


def test_a_fixed_size_changes_no_weight_and_no_name(model: keras.Model, images: np.ndarray) -> None:
    fixed = build_mini(96)
    fixed.set_weights(model.get_weights())

    assert [weight.path for weight in fixed.weights] == [weight.path for weight in model.weights]
    np.testing.assert_allclose(features(fixed, images), features(model, images), atol=1e-5)


def test_tiles_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="size_px=31"):
        build_mini(31)


def test_the_last_convolution_has_its_name_and_stride_and_is_pooled_last(
    model: keras.Model, images: np.ndarray
) -> None:
    last = keras.Model(model.input, model.get_layer(MINI_LAST_CONV).output)
    maps = np.asarray(last(images, training=False))

    assert maps.shape[1:3] == (96 // MINI_STRIDE, 96 // MINI_STRIDE)
    pooled = features(model, images)[:, -maps.shape[-1] :]
    np.testing.assert_allclose(pooled, maps.mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_the_network_is_small(model: keras.Model) -> None:
    assert 500_000 < model.count_params() < 900_000


def test_weights_come_back_as_float16_rounded_them(
    model: keras.Model, images: np.ndarray, tmp_path: Path
) -> None:
    save_mini(model, tmp_path / "m.safetensors")
    other = build_mini()
    assert not np.allclose(features(other, images), features(model, images))

    load_mini(other, tmp_path / "m.safetensors")

    for before, after in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(before.astype(np.float16).astype(np.float32), after)
        assert after.dtype == np.float32


def test_weights_that_float16_cannot_hold_are_not_written(
    model: keras.Model, tmp_path: Path
) -> None:
    model.weights[0].assign(np.full(model.weights[0].shape, 1e6, np.float32))

    with pytest.raises(ValueError, match="stem_conv/kernel"):
        save_mini(model, tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def _without_first(arrays: dict[str, np.ndarray]) -> bytes:
    return save({name: arrays[name] for name in list(arrays)[1:]})


def _other_shape(arrays: dict[str, np.ndarray]) -> bytes:
    return save({**arrays, "stem_norm/gamma": np.zeros(3, np.float16)})


def _not_finite(arrays: dict[str, np.ndarray]) -> bytes:
    return save({**arrays, "stem_norm/gamma": np.full(16, np.nan, np.float16)})


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (_without_first, "missing or unknown"),
        (_other_shape, "stem_norm/gamma has shape"),
        (_not_finite, "not finite"),
        (lambda arrays: save({**arrays, "more": np.zeros(1, np.float16)}), "first more"),
        (lambda arrays: save(arrays)[:-7], "does not hold weights of mini"),
        (lambda _: b"", "does not hold weights of mini"),
    ],
)
def test_a_wrong_file_is_refused_and_leaves_the_network_as_it_was(
    spoil: object, word: str, model: keras.Model, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    save_mini(model, path)
    path.write_bytes(spoil(load(path.read_bytes())))
    before = model.get_weights()

    with pytest.raises(FeatureError, match=word) as caught:
        load_mini(model, path)

    assert caught.value.code == "WEIGHTS_UNFIT"
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_file_that_is_not_there_is_refused(model: keras.Model, tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="No such file"):
        load_mini(model, tmp_path / "none.safetensors")


def test_the_bundled_weights_are_small_and_not_random(
    model: keras.Model, images: np.ndarray
) -> None:
    random = features(model, images)

    load_mini(model)

    assert MINI_WEIGHTS.stat().st_size <= 2_000_000
    assert {array.dtype for array in load(MINI_WEIGHTS.read_bytes()).values()} == {
        np.dtype(np.float16)
    }
    trained = features(model, images)
    assert np.isfinite(trained).all()
    assert not np.allclose(trained, random, rtol=0.1)
