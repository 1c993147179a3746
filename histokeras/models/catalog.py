"""The backbones that histokeras knows: names, sizes, where their ImageNet weights come from.

Keras is not imported here, so that the command line can list the names at once.
"""

from dataclasses import dataclass
from pathlib import Path

from histokeras.errors import ConfigError

_KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications/"


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """What turns a tile into a feature vector.

    Attributes:
        name: What a user types.
        n_features: Length of one feature vector.
        tile_px: Default side of a tile in pixels (the size it was trained on).
        min_px: Smallest side that it accepts.
        default_weights: What ``--weights`` means where it is not given.
        preprocessing: What is done to pixels before, by name; part of the fingerprint.
        top_layer: Where its last block begins, which fine-tuning trains first; "" for no network.
    """

    name: str
    n_features: int
    tile_px: int
    min_px: int
    default_weights: str
    preprocessing: str
    top_layer: str = ""


@dataclass(frozen=True, kw_only=True)
class Application(Backbone):
    """A network of ``keras.applications``, used without its classifier, globally averaged.

    Attributes:
        builder: Name of the function in ``keras.applications``.
        weights_url: Where Keras' ImageNet weights without the classifier lie.
        weights_md5: MD5 of that file as Keras states it, or None where Keras states none.
        weights_mb: Size of the download in megabytes.
    """

    builder: str
    weights_url: str
    weights_md5: str | None
    weights_mb: int
    default_weights: str = "imagenet"

    @property
    def module(self) -> str:
        """Module of ``keras.applications`` that holds its ``preprocess_input``."""
        return self.preprocessing

    @property
    def weights_file(self) -> str:
        """Name under which Keras caches the weights."""
        return self.weights_url.rsplit("/", 1)[1]


_APPLICATIONS = (
    Application(
        name="inceptionv3",
        builder="InceptionV3",
        preprocessing="inception_v3",
        n_features=2048,
        tile_px=299,
        min_px=75,
        top_layer="mixed7",
        weights_url=_KERAS_FILES
        + "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        weights_md5="bcbd6486424b2319ff4ef7d526e38f63",
        weights_mb=88,
    ),
    Application(
        name="resnet50",
        builder="ResNet50",
        preprocessing="resnet",
        n_features=2048,
        tile_px=224,
        min_px=32,
        top_layer="conv5_block1_1_conv",
        weights_url=_KERAS_FILES + "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        weights_md5="4d473c1dd8becc155b73f8504c6f6626",
        weights_mb=95,
    ),
    Application(
        name="efficientnetb0",
        builder="EfficientNetB0",
        preprocessing="efficientnet",
        n_features=1280,
        tile_px=224,
        min_px=32,
        top_layer="block6a_expand_conv",
        weights_url="https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5",
        weights_md5="50bc09e76180e00e4465e1a485ddc09d",
        weights_mb=17,
    ),
    Application(
        name="efficientnetb3",
        builder="EfficientNetB3",
        preprocessing="efficientnet",
        n_features=1536,
        tile_px=300,
        min_px=32,
        top_layer="block6a_expand_conv",
        weights_url="https://storage.googleapis.com/keras-applications/efficientnetb3_notop.h5",
        weights_md5="af6d107764bb5b1abb91932881670226",
        weights_mb=44,
    ),
    Application(
        name="mobilenetv2",
        builder="MobileNetV2",
        preprocessing="mobilenet_v2",
        n_features=1280,
        tile_px=224,
        min_px=32,
        top_layer="block_13_expand",
        weights_url=_KERAS_FILES
        + "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        weights_md5=None,
        weights_mb=9,
    ),
    Application(
        name="xception",
        builder="Xception",
        preprocessing="xception",
        n_features=2048,
        tile_px=299,
        min_px=71,
        top_layer="block13_sepconv1_act",
        weights_url=_KERAS_FILES + "xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        weights_md5="b0042744bf5b25fce3cb969f33bebb97",
        weights_mb=84,
    ),
)

STAIN_TEXTURE = Backbone(
    name="stain-texture",
    n_features=59,
    tile_px=224,
    min_px=32,
    default_weights="none",
    preprocessing="stain-texture:1",
)
"""The plain numbers of colour and texture of :mod:`histokeras.tiles.texture`. No network and no
weights: what a network must beat, and what serves on real tissue where nothing can be downloaded.
The number counts the versions of those numbers: another version, another fingerprint."""

MINI = Backbone(
    name="mini",
    n_features=224,
    tile_px=224,
    min_px=32,
    top_layer="stage3_down_conv",
    default_weights="bundled",
    preprocessing="mini",
)
"""The small network that comes with the package (:mod:`histokeras.models.mini`)."""
MINI_WEIGHTS = Path(__file__).parent / "weights_data" / "mini.safetensors"
"""Its weights, trained on procedural tissue alone."""

APPLICATIONS = {network.name: network for network in _APPLICATIONS}
BACKBONES: dict[str, Backbone] = {
    **APPLICATIONS,
    MINI.name: MINI,
    STAIN_TEXTURE.name: STAIN_TEXTURE,
}
DEFAULT_BACKBONE = "inceptionv3"


def require_backbone(name: str) -> Backbone:
    """Return the backbone called ``name``.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in BACKBONES:
        raise ConfigError(
            f"`backbone` must be one of {', '.join(BACKBONES)}. Received: backbone={name!r}"
        )
    return BACKBONES[name]


HEAD_RATES = {"linear": 1e-3, "mlp": 3e-4, "write-up": 1e-3, "mil": 3e-4}
"""The heads of :func:`histokeras.models.heads.build_head`, and at which rate Adam fits each.

At 1e-3 the validation loss of ``mlp`` was lowest after one epoch on real tiles, long before its
ranking was best.
"""
UNFREEZE = ("top", "all")
"""What fine-tuning trains of a backbone: its last block, or every layer."""
AUGMENTATION_NAMES = ("none", "flips", "light", "strong")
"""Names of :func:`histokeras.models.augment.build_augmentation`."""
HEAD_NAMES = tuple(HEAD_RATES)
BAG_HEADS = ("mil",)
"""Heads that learn from bags, all tiles of a labelled slide or patient, and not from tiles."""
TILE_HEADS = tuple(name for name in HEAD_NAMES if name not in BAG_HEADS)
RISK_HEADS = ("linear", "mlp", "mil")
"""Heads of survival: the mean of the tiles' risks, or the risk of a bag."""
BATCH_SIZE, BAG_BATCH_SIZE, RISK_BATCH_SIZE = 64, 8, 512
"""Tiles a step; bags a step: a bag is thousands of tiles; of survival patients a step, who are set
against each other: as a rule all."""
DEFAULT_HEAD = "linear"


def batch_size_of(head: str) -> int:
    """Return how many tiles, or bags, a head sees a step unless another number is asked for."""
    return BAG_BATCH_SIZE if head in BAG_HEADS else BATCH_SIZE


SEGMENTERS = ("deeplabv3", "deeplabv3+", "unet")
"""Networks of :func:`histokeras.models.segmenters.build_segmenter`."""
SEGMENTER_BACKBONES = ("mobilenetv2", "resnet50", "mini")
"""Backbones whose strides can be turned into dilation without changing what they compute."""
OUTPUT_STRIDES = (8, 16)
"""Pixels a cell of the map that DeepLab starts from."""
SEGMENTER_CHANNELS = {"deeplabv3": 256, "deeplabv3+": 256, "unet": 32}
"""Width of a segmenter unless another is asked for; the first U-Net had 64, four times the work."""
FREEZE = ("none", "half", "most", "backbone")
"""What of a segmenter's backbone does not learn: nothing, what comes before stride 8 is reached,
all but its last block, or all of it."""
