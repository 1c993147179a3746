import keras
import numpy as np
import pytest

from histokeras.errors import ConfigError
from histokeras.models.backbones import build_backbone
from histokeras.models.catalog import require_backbone
from histokeras.models.drop_block import DropBlock, kept_cells, with_drop_block
from histokeras.models.weights import find_weights


def filled(rate: float, **more: int) -> DropBlock:
    """A layer whose rate is reached."""
    layer = DropBlock(rate, **{"seed": 0, "ramp_steps": 1, **more})
    layer.build((None, 16, 16, 1))
    layer.steps.assign(1.0)
    return layer


def test_a_square_is_dropped_from_each_corner() -> None:
    # 3 x 4 places of a square of 2 in a map of 4 x 5.
    corners = np.zeros((1, 3, 4, 2), np.float32)
    corners[0, 1, 0, 0] = corners[0, 2, 3, 0] = corners[0, 0, 0, 1] = 1

    kept = np.asarray(kept_cells(corners, 2))[0]

    assert kept[..., 0].tolist() == [
        [1, 1, 1, 1, 1],
        [0, 0, 1, 1, 1],
        [0, 0, 1, 0, 0],
        [1, 1, 1, 0, 0],
    ]
    assert kept[..., 1].tolist() == [[0, 0, 1, 1, 1]] * 2 + [[1] * 5] * 2


def test_the_share_that_is_dropped_is_the_expected_one_and_the_mean_is_kept() -> None:
    side, size, rate = 16, 7, 0.1
    x = np.ones((256, side, side, 32), np.float32)

    found = np.asarray(filled(rate)(x, training=True))

    # A cell is kept where none of the squares that would cover it is drawn.
    starts = np.arange(side - size + 1)
    covering = [((starts <= i) & (i < starts + size)).sum() for i in range(side)]
    chance = rate * side**2 / (size**2 * len(starts) ** 2)
    expected = np.mean(1 - (1 - chance) ** np.outer(covering, covering))
    assert 0.8 * rate < expected < rate
    # A map has half a square on average, of 0.19 of it: over 8192 maps the error is 0.0015.
    assert (found == 0).mean() == pytest.approx(expected, abs=0.006)
    assert found.mean() == pytest.approx(1, abs=1e-4)
    assert len(np.unique(found)) == 2
    # Each channel for itself.
    assert (found[..., 0] != found[..., 1]).any()


def test_a_map_smaller_than_a_square_is_dropped_whole() -> None:
    found = np.asarray(filled(0.25)(np.ones((500, 4, 4, 20), np.float32), training=True)) == 0

    dropped = found.reshape(500, 16, 20)
    assert (dropped.all(axis=1) == dropped.any(axis=1)).all()
    # 10 000 maps of which a quarter goes: 0.25 within four standard errors of 0.0043.
    assert dropped[:, 0].mean() == pytest.approx(0.25, abs=0.018)


def test_the_rate_rises_with_the_steps_and_the_count_is_a_weight() -> None:
    layer = DropBlock(0.5, block_cells=1, ramp_steps=4, seed=1)
    x = np.ones((8, 16, 16, 8), np.float32)

    shares = [float((np.asarray(layer(x, training=True)) == 0).mean()) for _ in range(6)]

    assert shares == pytest.approx([0, 0.125, 0.25, 0.375, 0.5, 0.5], abs=0.02)
    assert [float(np.asarray(weight)) for weight in layer.weights] == [6]
    np.testing.assert_array_equal(np.asarray(layer(x, training=False)), x)
    assert float(np.asarray(layer.steps)) == 6
    again = DropBlock.from_config(layer.get_config())
    again.build(x.shape)
    again.set_weights(layer.get_weights())
    assert float((np.asarray(again(x, training=True)) == 0).mean()) == pytest.approx(0.5, abs=0.02)


def test_resnet50_keeps_its_weights_and_its_inference() -> None:
    backbone = require_backbone("resnet50")
    network = build_backbone(backbone, find_weights(backbone, "random:0"), 64)
    names = [weight.path for weight in network.weights]
    x = np.random.default_rng(0).uniform(-100, 100, (2, 64, 64, 3)).astype(np.float32)
    plain = np.asarray(network(x, training=False))

    dropping = with_drop_block(network, "resnet50", 0.1, ramp_steps=1, seed=3)
    none = with_drop_block(network, "resnet50", 0.0)

    layers = [layer for layer in dropping.layers if isinstance(layer, DropBlock)]
    assert [layer.rate for layer in layers] == [0.025] * 6 + [0.1] * 3
    assert layers[0].name == "conv4_block1_out_drop_block"
    assert len({layer.seed for layer in layers}) == 9
    np.testing.assert_array_equal(np.asarray(dropping(x, training=False)), plain)
    np.testing.assert_array_equal(np.asarray(none(x, training=True)), plain)
    # The first step has the rate 0, the second all of it.
    np.testing.assert_allclose(np.asarray(dropping(x, training=True)), plain, rtol=1e-5)
    assert np.abs(np.asarray(dropping(x, training=True)) - plain).max() > 1e-2 * np.abs(plain).max()
    assert [weight.path for weight in network.weights] == names
    weight = network.get_layer("conv5_block3_3_conv").kernel
    assert any(weight is other for other in dropping.weights)
    np.testing.assert_array_equal(np.asarray(network(x, training=False)), plain)


def test_half_precision_drops_too() -> None:
    layer = DropBlock(0.1, ramp_steps=1, seed=0, dtype="mixed_float16")
    x = keras.ops.ones((4, 16, 16, 8), "float16")
    layer(x, training=True)

    found = layer(x, training=True)

    assert keras.backend.standardize_dtype(found.dtype) == "float16"
    assert float(np.asarray(found, np.float32).mean()) == pytest.approx(1, abs=2e-3)
    assert float(np.asarray(layer.steps)) == 2


@pytest.mark.parametrize(
    ("backbone", "rate", "message"),
    [
        ("inceptionv3", 0.1, "`--drop-block` is of resnet50, mini. Received: --backbone inc"),
        ("resnet50", 1.0, "is a share, 0..1, 1 excluded"),
        ("resnet50", -0.1, "is a share"),
    ],
)
def test_impossible_wishes_are_refused(backbone: str, rate: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_drop_block(keras.Sequential(), backbone, rate)
