import keras
import numpy as np
import pytest

from histokeras.models.backbones import build_backbone
from histokeras.models.catalog import (
    BACKBONES,
    OUTPUT_STRIDES,
    SEGMENTER_BACKBONES,
    require_backbone,
)
from histokeras.models.dilation import build_dilated, half_layer
from histokeras.models.weights import find_weights

LAST = {
    "mini": "stage3_out",
    "mobilenetv2": "block_16_project_BN",
    "resnet50": "conv5_block3_out",
}
# Which point of each 2 or 4 is the one that the network had: the first, or the last.
OFFSET = {("mini", 8): 1, ("mobilenetv2", 16): 1, ("mobilenetv2", 8): 3}


@pytest.mark.parametrize("stride", OUTPUT_STRIDES)
@pytest.mark.parametrize("name", SEGMENTER_BACKBONES)
def test_the_dilated_map_holds_the_map_of_the_network(name: str, stride: int) -> None:
    backbone = require_backbone(name)
    weights = find_weights(backbone, "random:0")
    base, dilated = build_backbone(backbone, weights, 128), build_dilated(backbone, weights, stride)
    images = np.random.default_rng(0).uniform(-1, 1, (1, 128, 128, 3)).astype(np.float32)

    low, last = (np.asarray(found) for found in dilated(images))

    plain = keras.Model(base.input, base.get_layer(LAST[name]).output)
    wanted = np.asarray(plain(images))
    k, offset = last.shape[1] // wanted.shape[1], OFFSET.get((name, stride), 0)
    assert low.shape[1:3] == (32, 32)
    assert last.shape == (1, 128 // stride, 128 // stride, wanted.shape[3])
    assert plain.count_params() == dilated.count_params()
    # Another path of the processor may add up in another order.
    atol = 1e-6 * float(np.abs(wanted).max())
    np.testing.assert_allclose(last[:, offset::k, offset::k], wanted, rtol=0, atol=atol)
    assert atol > 0


def test_half_of_a_backbone_begins_before_its_last_block() -> None:
    for name in SEGMENTER_BACKBONES:
        backbone = require_backbone(name)
        names = [layer.name for layer in build_dilated(backbone, None, 16).layers]
        half, top = names.index(half_layer(backbone)), names.index(backbone.top_layer)
        assert 0 < half < top
    assert set(SEGMENTER_BACKBONES) <= set(BACKBONES)
