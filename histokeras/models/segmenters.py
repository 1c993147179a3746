"""Networks that tell a class for every pixel: DeepLabV3, DeepLabV3+ and U-Net."""

from dataclasses import dataclass

import keras

from histokeras.errors import ConfigError
from histokeras.models.catalog import (
    FREEZE,
    NORMS,
    OUTPUT_STRIDES,
    SEGMENTER_BACKBONES,
    SEGMENTERS,
    require_backbone,
)
from histokeras.models.dilation import LOW_STRIDE, build_dilated, first_px, half_layer
from histokeras.models.luminance import Luminance
from histokeras.models.resampling import Crop, MirrorPad, Spread, Upsample
from histokeras.models.trainable import Preprocessing, learn_from
from histokeras.models.weights import WeightsSource
from histokeras.types import IGNORE

UNET = "unet"
_BACKBONE = "backbone"
_RATES = (6, 12, 18)
"""Dilation of the three pyramid branches at output stride 16; doubled at 8."""
_LOW_CHANNELS = 48
_DEPTH = 4
_MOMENTUM = 0.9
_GROUP = 8
_MAX_CHANNELS = 1024


@dataclass(frozen=True, kw_only=True)
class SegmenterSpec:
    """Which network.

    Attributes:
        network: ``deeplabv3``, ``deeplabv3+`` or ``unet``.
        backbone: One of ``SEGMENTER_BACKBONES``; "" for ``unet``.
        output_stride: Pixels a cell of the map that DeepLab starts from, 8 or 16; 16 for ``unet``.
        n_classes: At least 2; a binary task has 2.
        channels: Width of DeepLab's pyramid and decoder; of ``unet`` that of its first level, which
            doubles at each of four levels down.
        dropout: Fraction of the last map's channels dropped while training.
        n_inputs: Channels that the network sees of an RGB image: 3; or 1, its luminance, of
            ``unet`` alone.
        norm: How the segmenter's own layers are normalised: ``group`` (within each image, Wu and He
            2018, https://arxiv.org/abs/1803.08494) or ``batch`` (over the batch of all devices).
            "" is ``group`` for DeepLab and ``batch`` for ``unet``.
    """

    network: str = "deeplabv3"
    backbone: str = "mobilenetv2"
    output_stride: int = 16
    n_classes: int = 2
    channels: int = 256
    dropout: float = 0.1
    n_inputs: int = 3
    norm: str = ""

    def __post_init__(self) -> None:
        if not self.norm:
            # What is normalised over a whole window could not be the same in windows as in one
            # piece; U-Net's maps can.
            object.__setattr__(self, "norm", "batch" if self.network == UNET else "group")
        allowed = ("batch",) if self.network == UNET else NORMS
        _require_one_of("norm", self.norm, allowed, f" of {self.network}")
        _require_one_of("network", self.network, SEGMENTERS)
        _require_one_of("output_stride", self.output_stride, OUTPUT_STRIDES)
        if self.network == UNET:
            _require_one_of("backbone", self.backbone, ("",), " of unet")
        else:
            what = " of DeepLab"
            _require_one_of("backbone", self.backbone, SEGMENTER_BACKBONES, what)
            _require_one_of("n_inputs", self.n_inputs, (3,), what)
        _require_one_of("n_inputs", self.n_inputs, (1, 3))
        for name, low, high in (("n_classes", 2, IGNORE), ("channels", 1, _MAX_CHANNELS)):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"`{name}` must lie in {low}..{high}. Received: {name}={getattr(self, name)}"
                )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"`dropout` is in 0..1, 1 excluded. Received: dropout={self.dropout}")


def _require_one_of(name: str, value: object, allowed: tuple[object, ...], of: str = "") -> None:
    if value not in allowed:
        names = ", ".join(str(choice) or "''" for choice in allowed)
        raise ConfigError(
            f"`{name}`{of} must be {'one of ' * (len(allowed) > 1)}{names}. "
            f"Received: {name}={value!r}"
        )


def build_segmenter(spec: SegmenterSpec, weights: WeightsSource | None = None) -> keras.Model:
    """Build a segmenter, all of it ready to learn but the BatchNormalization of its backbone.

    Images of any size are continued by their mirror image so that a cell of the maps lies on the
    first pixel and one on or beyond the last; the logits are interpolated between the cells.

    Args:
        spec: Which network.
        weights: Of its backbone, from :func:`histokeras.models.weights.find_weights`; None for a
            network that is filled from a file, and for ``unet``.

    Returns:
        An uncompiled model, RGB images uint8 or float (b, h, w, 3) of 0..255 -> logits float32
        (b, h, w, ``n_classes``), h and w free. The preprocessing is inside, luminance included.

    Raises:
        ConfigError: If weights are given to a network without backbone.
        FeatureError: If the weights file is not one of the backbone.
    """
    images = keras.Input((None, None, 3), dtype="float32", name="images")
    if spec.network == UNET:
        if weights is not None:
            raise ConfigError(
                f"`weights` are those of a backbone, and unet has none. Received: {weights.label}"
            )
        return keras.Model(images, _unet(images, spec), name="segmenter")
    model = keras.Model(images, _deeplab(images, spec, weights), name="segmenter")
    freeze(model, spec, "none", batch_norm=False)
    return model


def freeze(model: keras.Model, spec: SegmenterSpec, depth: str, *, batch_norm: bool) -> int:
    """Settle which layers of the backbone learn; those of the segmenter itself always do.

    Args:
        model: From :func:`build_segmenter`; changed in place, before it is compiled.
        spec: Which network it is.
        depth: ``none``, ``half``, ``most`` or ``backbone``: what does not learn.
        batch_norm: Whether the BatchNormalization of layers that learn does too, with statistics
            of the batches over all devices. A backbone of random weights needs it: what it was
            normalised by was never measured. One of real weights is better without: after 40 steps
            its statistics still lagged, and test Dice was .013 against .639 (five MoNuSeg images).

    Returns:
        The number of weights (single numbers) that learn.

    Raises:
        ConfigError: If there is no such depth, or no backbone to freeze.
    """
    _require_one_of("freeze", depth, FREEZE)
    if spec.network == UNET:
        _require_one_of("freeze", depth, FREEZE[:1], " of unet")
    else:
        network, backbone = model.get_layer(_BACKBONE), require_backbone(spec.backbone)
        first = {"none": "", "half": half_layer(backbone), "most": backbone.top_layer}.get(depth)
        learn_from(network, first, batch_norm=batch_norm, momentum=_MOMENTUM)
    return int(sum(keras.ops.size(weight) for weight in model.trainable_weights))


def _deeplab(
    images: keras.KerasTensor, spec: SegmenterSpec, weights: WeightsSource | None
) -> keras.KerasTensor:
    """Return the logits of DeepLabV3 (https://arxiv.org/abs/1706.05587) or V3+."""
    stride, backbone = spec.output_stride, require_backbone(spec.backbone)
    before = first_px(backbone, stride)
    # The first cell comes to lie on the image's first pixel, the last at or after its last.
    pad = MirrorPad(stride, before, stride - 1 - before, dtype="float32", name="mirror_pad")
    x = Preprocessing(backbone.name, name="preprocessing")(pad(images))
    low, x = build_dilated(backbone, weights, stride)(x)
    plus = spec.network == "deeplabv3+"
    x = _pyramid(x, spec, separable=plus)
    first = 0
    if plus:
        low_first = first_px(backbone, LOW_STRIDE)
        first = low_first - before
        x = _decoded(x, low, spec, (before - low_first) // LOW_STRIDE)
        stride = LOW_STRIDE
    x = keras.layers.Dropout(spec.dropout, name="dropout")(x)
    x = keras.layers.Conv2D(spec.n_classes, 1, dtype="float32", name="logits")(x)
    return Upsample(stride, first, dtype="float32", name="pixel_logits")(x, images)


def _pyramid(x: keras.KerasTensor, spec: SegmenterSpec, *, separable: bool) -> keras.KerasTensor:
    """Return what is seen at five widths (ASPP): a point, three rates of dilation, the image."""
    conv, width, norm = _separable if separable else _conv, spec.channels, spec.norm
    branches = [_conv(x, width, "aspp_point", norm, size=1)]
    for rate in _RATES:
        wide = rate * 16 // spec.output_stride
        branches.append(conv(x, width, f"aspp_rate{rate}", norm, dilation=wide))
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True, name="aspp_mean")(x)
    mean = _conv(mean, width, "aspp_image", norm, size=1)
    branches.append(Spread(name="aspp_spread")(mean, x))
    joined = keras.layers.Concatenate(name="aspp_joined")(branches)
    return _conv(joined, width, "aspp_projection", norm, size=1)


def _decoded(
    x: keras.KerasTensor, low: keras.KerasTensor, spec: SegmenterSpec, first: int
) -> keras.KerasTensor:
    """Return V3+'s decoder (Chen et al. 2018, https://arxiv.org/abs/1802.02611).

    Low-level features in 48 channels join the pyramid; two 3x3 convolutions follow. As in that
    paper, these and the pyramid's are separable.
    """
    low = _conv(low, _LOW_CHANNELS, "low_level", spec.norm, size=1)
    upsample = Upsample(spec.output_stride // LOW_STRIDE, first, name="decoder_upsample")
    x = keras.layers.Concatenate(name="decoder_joined")([upsample(x, low), low])
    for name in ("decoder_a", "decoder_b"):
        x = _separable(x, spec.channels, name, spec.norm)
    return x


def _conv(
    x: keras.KerasTensor, width: int, name: str, norm: str, *, size: int = 3, dilation: int = 1
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(
        width,
        size,
        padding="same",
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return _normed(x, name, norm)


def _separable(
    x: keras.KerasTensor, width: int, name: str, norm: str, *, dilation: int = 1
) -> keras.KerasTensor:
    x = keras.layers.DepthwiseConv2D(
        3,
        padding="same",
        dilation_rate=dilation,
        use_bias=False,
        depthwise_initializer="he_normal",
        name=f"{name}_depthwise",
    )(x)
    x = _normed(x, f"{name}_depthwise", norm)
    return _conv(x, width, name, norm, size=1)


def _normed(x: keras.KerasTensor, name: str, norm: str) -> keras.KerasTensor:
    if norm == "group":
        # Batches of a few crops: statistics of the batch are too noisy to be those of another
        # image. With 4 real crops a step val Dice was .67 after 30 steps, and .01 with batches.
        layer = keras.layers.GroupNormalization(_groups(int(x.shape[-1])), name=f"{name}_norm")
    else:
        # Plain, each device would keep statistics of its own and only the first one's are saved
        # (up to 0.54 in a probability). Momentum 0.9, for with 0.99 the moving statistics lag
        # behind the weights for hundreds of steps: the training loss falls, and validation sees
        # nothing of it.
        layer = keras.layers.BatchNormalization(
            momentum=_MOMENTUM, synchronized=True, name=f"{name}_norm"
        )
    return keras.layers.ReLU(name=f"{name}_relu")(layer(x))


def _groups(width: int) -> int:
    """Return how many groups: at most 32, of at least 8 channels, for one alone tells nothing."""
    wide = [n for n in range(1, 33) if width % n == 0 and width // n >= _GROUP]
    return max(wide, default=1)


def _unet(images: keras.KerasTensor, spec: SegmenterSpec) -> keras.KerasTensor:
    """Return the logits of a U-Net (https://arxiv.org/abs/1505.04597), padded and normalised."""
    x = images
    if spec.n_inputs == 1:
        x = Luminance(dtype="float32", name="luminance")(x)
    x = MirrorPad(2**_DEPTH, dtype="float32", name="mirror_pad")(x)
    x = keras.layers.Rescaling(1 / 127.5, -1, dtype="float32", name="rescaling")(x)
    skips = []
    for level in range(_DEPTH):
        x = _double(x, spec.channels << level, f"down{level}", spec.norm)
        skips.append(x)
        x = keras.layers.MaxPooling2D(2, name=f"down{level}_pool")(x)
    x = _double(x, spec.channels << _DEPTH, "bottom", spec.norm)
    for level in reversed(range(_DEPTH)):
        width = spec.channels << level
        x = keras.layers.Conv2DTranspose(width, 2, 2, name=f"up{level}_transposed")(x)
        x = keras.layers.Concatenate(name=f"up{level}_joined")([skips[level], x])
        x = _double(x, width, f"up{level}", spec.norm)
    x = keras.layers.Dropout(spec.dropout, name="dropout")(x)
    x = keras.layers.Conv2D(spec.n_classes, 1, dtype="float32", name="logits")(x)
    return Crop(dtype="float32", name="pixel_logits")(x, images)


def _double(x: keras.KerasTensor, width: int, name: str, norm: str) -> keras.KerasTensor:
    return _conv(_conv(x, width, f"{name}_a", norm), width, f"{name}_b", norm)
