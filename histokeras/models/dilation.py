"""Backbones whose last strides are turned into dilation: finer maps, the same weights.

Where a convolution of stride 2 was, one of stride 1 computes the points between too, and those
after it look past them: every k-th point of the finer map is exactly the map that the network had
(DeepLab: Chen et al. 2017, https://arxiv.org/abs/1706.05587). It fails for EfficientNet, whose
squeezes take means over the map; for Xception, whose pooling and shortcut look from different
points; for InceptionV3, which loses its edges.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from histokeras.models.backbones import build_backbone
from histokeras.models.catalog import Backbone
from histokeras.models.weights import WeightsSource

_BUILT_PX = 128
"""A side that halves evenly five times: the paddings in the graph are those of any such side."""
LOW_STRIDE = 4
"""Pixels a cell of the low-level map."""
Edits = dict[str, dict[str, Any]]
"""Layer name -> what changes in its configuration."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """How a backbone is dilated.

    Attributes:
        low: Layer of the low-level map, stride 4.
        last: Layer of the map that a segmenter starts from.
        half: First layer of the second half, from stride 8 on, which freezing can spare.
        edits: Given the output stride, what changes.
        looks_back: Whether a cell lies on the last pixel of its square, as with TensorFlow's
            padding of even sides; otherwise on the first.
    """

    low: str
    last: str
    half: str
    edits: Callable[[int], Edits]
    looks_back: bool


def _resnet50(stride: int) -> Edits:
    edits: Edits = {}
    for stage, n_blocks, dilation in ((4, 6, 16 // stride), (5, 3, 32 // stride)):
        if dilation == 1:
            continue
        for layer in ("0_conv", "1_conv"):
            edits[f"conv{stage}_block1_{layer}"] = {"strides": (1, 1)}
        for block in range(1, n_blocks + 1):
            edits[f"conv{stage}_block{block}_2_conv"] = {"dilation_rate": (dilation, dilation)}
    return edits


def _mobilenetv2(stride: int) -> Edits:
    edits: Edits = {}
    for first, end, dilation in ((6, 13, 16 // stride), (13, 17, 32 // stride)):
        if dilation == 1:
            continue
        own = dilation // 2
        edits[f"block_{first}_pad"] = {"padding": ((own, own), (own, own))}
        edits[f"block_{first}_depthwise"] = {"strides": (1, 1), "dilation_rate": (own, own)}
        for block in range(first + 1, end):
            edits[f"block_{block}_depthwise"] = {"dilation_rate": (dilation, dilation)}
    return edits


def _mini(stride: int) -> Edits:
    if stride == 16:
        return {}
    dilated = {"dilation_rate": (2, 2)}
    down = {"strides": (1, 1)}
    return {"stage3_down_conv": down, "stage3_a_conv": dilated, "stage3_b_conv": dilated}


_PLANS = {
    "mobilenetv2": _Plan(
        low="block_2_add",
        # Not the 1280 channels after it, which serve classes of whole images: the map that
        # DeepLab's authors take.
        last="block_16_project_BN",
        half="block_6_expand",
        edits=_mobilenetv2,
        looks_back=True,
    ),
    "resnet50": _Plan(
        low="conv2_block3_out",
        last="conv5_block3_out",
        half="conv4_block1_1_conv",
        edits=_resnet50,
        looks_back=False,
    ),
    "mini": _Plan(
        low="stage1_out",
        last="stage3_out",
        half="stage2_down_conv",
        edits=_mini,
        looks_back=True,
    ),
}


def build_dilated(
    backbone: Backbone, weights: WeightsSource | None, output_stride: int
) -> keras.Model:
    """Build a backbone that gives maps of images of any size.

    Args:
        backbone: One of ``SEGMENTER_BACKBONES``.
        weights: From :func:`histokeras.models.weights.find_weights`; None for any, to be filled.
        output_stride: Pixels a cell of the last map, 8 or 16.

    Returns:
        A model from what :func:`histokeras.models.backbones.preprocess` returns, float
        (b, h, w, 3), h and w multiples of the output stride, to two maps: low-level
        (b, h/4, w/4, channels) and last (b, h/stride, w/stride, channels).

    Raises:
        FeatureError: If the weights file is not one of this network.
    """
    plan = _PLANS[backbone.name]
    source = weights or WeightsSource("random", None, None, "")
    base = build_backbone(backbone, source, _BUILT_PX)
    edits = plan.edits(output_stride)

    def edited(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), **edits.get(layer.name, {})})

    images = keras.Input((None, None, 3), name="prepared")
    whole = keras.models.clone_model(base, input_tensors=images, clone_function=edited)
    whole.set_weights(base.get_weights())
    maps = [whole.get_layer(name).output for name in (plan.low, plan.last)]
    return keras.Model(whole.input, maps, name="backbone")


def first_px(backbone: Backbone, stride: int) -> int:
    """Return on which pixel, from 0, the first cell of a map lies: the centre of what it sees.

    Args:
        backbone: One of ``SEGMENTER_BACKBONES``.
        stride: Pixels a cell, up to the output stride.
    """
    return stride - 1 if _PLANS[backbone.name].looks_back else 0


def half_layer(backbone: Backbone) -> str:
    """Return the first layer of a backbone's second half, from stride 8 on."""
    return _PLANS[backbone.name].half
