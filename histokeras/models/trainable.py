"""One network from pixels to probabilities, and which of its parts learn."""

from typing import Any

import keras

from histokeras.models.backbones import preprocess
from histokeras.models.catalog import UNFREEZE, Backbone, require_backbone


@keras.saving.register_keras_serializable("histokeras")
class Preprocessing(keras.layers.Layer):
    """Prepare pixels as a backbone wants them.

    Args:
        backbone: Its name.
    """

    def __init__(self, backbone: str, **kwargs: Any) -> None:
        # Pixels of 0..255 keep all their bits, whatever the precision of the network.
        super().__init__(dtype=kwargs.pop("dtype", "float32"), **kwargs)
        self.backbone = backbone

    def call(self, images: Any) -> Any:
        """Return the images, float (batch, height, width, 3) of 0..255, prepared."""
        return preprocess(require_backbone(self.backbone), keras.ops.cast(images, "float32"))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the images."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same layer again."""
        return {**super().get_config(), "backbone": self.backbone}


def build_trainable(
    backbone: Backbone,
    network: keras.Model,
    head: keras.Model,
    size_px: int,
    augmentation: keras.Model,
) -> keras.Model:
    """Join augmentation, preprocessing, backbone and head; they keep their own weights.

    Args:
        backbone: Which backbone.
        network: From :func:`histokeras.models.backbones.build_backbone`.
        head: From :func:`histokeras.models.heads.build_head`.
        size_px: Side of the tiles in pixels.
        augmentation: From :func:`histokeras.models.augment.build_augmentation`.

    Returns:
        An uncompiled model, images uint8 or float (batch, size_px, size_px, 3) of 0..255 ->
        float32 (batch, n_classes) probabilities.
    """
    images = keras.Input((size_px, size_px, 3), dtype="float32", name="images")
    x = augmentation(images)
    x = Preprocessing(backbone.name, name="preprocessing")(x)
    return keras.Model(images, head(network(x)), name="classifier")


def set_trainable(
    network: keras.Model, backbone: Backbone, unfreeze: str, *, batch_norm: bool = False
) -> int:
    """Settle which layers of a backbone learn.

    Args:
        network: The backbone; changed in place, before it is compiled.
        backbone: Which one it is.
        unfreeze: ``top`` (its last block) or ``all``.
        batch_norm: Whether BatchNormalization learns too, and takes its statistics from the
            batches, over all devices together. Frozen, it keeps what it knows: with batches of a
            few tiles that is safer.

    Returns:
        The number of weights (single numbers) that learn.

    Raises:
        ValueError: If ``unfreeze`` is none of these.
    """
    if unfreeze not in UNFREEZE:
        raise ValueError(f"`unfreeze` must be one of {', '.join(UNFREEZE)}. Received: {unfreeze!r}")
    first = backbone.top_layer if unfreeze == "top" else ""
    learn_from(network, first, batch_norm=batch_norm)
    return int(sum(keras.ops.size(weight) for weight in network.trainable_weights))


def learn_from(
    network: keras.Model, first: str | None, *, batch_norm: bool, momentum: float | None = None
) -> None:
    """Let the layers of a backbone learn from one of them on.

    Args:
        network: The backbone; changed in place.
        first: Name of the first layer that learns; "" for all, None for none.
        batch_norm: As for :func:`set_trainable`.
        momentum: Of the BatchNormalization that learns; None to leave it.
    """
    network.trainable = True
    names = [layer.name for layer in network.layers]
    start = len(names) if first is None else names.index(first) if first else 0
    for number, layer in enumerate(network.layers):
        learns = number >= start
        if isinstance(layer, keras.layers.BatchNormalization):
            learns = learns and batch_norm
            # Plain, each device would keep statistics of its own, and only the first one's are
            # saved.
            layer.synchronized = learns
            if learns and momentum is not None:
                layer.momentum = momentum
        layer.trainable = learns
