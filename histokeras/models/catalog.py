"""The backbones that histokeras knows: names, sizes, where their ImageNet weights come from.

Keras is not imported here, so that the command line can list the names at once.
"""

from dataclasses import dataclass

from histokeras.errors import ConfigError

_KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications/"


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network of ``keras.applications``, used without its classifier, globally averaged.

    Attributes:
        name: What a user types.
        builder: Name of the function in ``keras.applications``.
        module: Module of ``keras.applications`` that holds its ``preprocess_input``.
        n_features: Length of one feature vector.
        tile_px: Default side of a tile in pixels (the size it was trained on).
        min_px: Smallest side that the network accepts.
        weights_url: Where Keras' ImageNet weights without the classifier lie.
        weights_md5: MD5 of that file as Keras states it, or None where Keras states none.
        weights_mb: Size of the download in megabytes.
    """

    name: str
    builder: str
    module: str
    n_features: int
    tile_px: int
    min_px: int
    weights_url: str
    weights_md5: str | None
    weights_mb: int

    @property
    def weights_file(self) -> str:
        """Name under which Keras caches the weights."""
        return self.weights_url.rsplit("/", 1)[1]


_ALL = (
    Backbone(
        name="inceptionv3",
        builder="InceptionV3",
        module="inception_v3",
        n_features=2048,
        tile_px=299,
        min_px=75,
        weights_url=_KERAS_FILES
        + "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        weights_md5="bcbd6486424b2319ff4ef7d526e38f63",
        weights_mb=88,
    ),
    Backbone(
        name="resnet50",
        builder="ResNet50",
        module="resnet",
        n_features=2048,
        tile_px=224,
        min_px=32,
        weights_url=_KERAS_FILES + "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        weights_md5="4d473c1dd8becc155b73f8504c6f6626",
        weights_mb=95,
    ),
    Backbone(
        name="efficientnetb0",
        builder="EfficientNetB0",
        module="efficientnet",
        n_features=1280,
        tile_px=224,
        min_px=32,
        weights_url="https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5",
        weights_md5="50bc09e76180e00e4465e1a485ddc09d",
        weights_mb=17,
    ),
    Backbone(
        name="mobilenetv2",
        builder="MobileNetV2",
        module="mobilenet_v2",
        n_features=1280,
        tile_px=224,
        min_px=32,
        weights_url=_KERAS_FILES
        + "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        weights_md5=None,
        weights_mb=9,
    ),
    Backbone(
        name="xception",
        builder="Xception",
        module="xception",
        n_features=2048,
        tile_px=299,
        min_px=71,
        weights_url=_KERAS_FILES + "xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        weights_md5="b0042744bf5b25fce3cb969f33bebb97",
        weights_mb=84,
    ),
)

BACKBONES: dict[str, Backbone] = {backbone.name: backbone for backbone in _ALL}
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


HEAD_RATES = {"linear": 1e-3, "mlp": 3e-4, "write-up": 1e-3}
"""The heads of :func:`histokeras.models.heads.build_head`, and at which rate Adam fits each.

At 1e-3 the validation loss of ``mlp`` was lowest after one epoch on real tiles, long before its
ranking was best.
"""
HEAD_NAMES = tuple(HEAD_RATES)
DEFAULT_HEAD = "linear"
