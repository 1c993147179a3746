"""Build a backbone with its weights and its own preprocessing inside."""

import functools
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from histokeras.errors import ConfigError, FeatureError
from histokeras.models.backbone_file import load_backbone
from histokeras.models.catalog import Application, Backbone
from histokeras.models.mini import build_mini, load_mini
from histokeras.models.weights import FINETUNED, WeightsSource

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def build_backbone(backbone: Backbone, weights: WeightsSource, size_px: int) -> keras.Model:
    """Build a network from preprocessed images to feature vectors.

    Args:
        backbone: Which network.
        weights: Its weights, from :func:`histokeras.models.weights.find_weights`.
        size_px: Side of the square input in pixels.

    Returns:
        A model ``(batch, size_px, size_px, 3) -> (batch, n_features)``, globally averaged, to be
        called with ``training=False`` on the output of :func:`preprocess`.

    Raises:
        ConfigError: If the network cannot take tiles of that size.
        FeatureError: If the weights file is not one of this network.
    """
    if size_px < backbone.min_px:
        raise ConfigError(
            f"{backbone.name} needs tiles of at least {backbone.min_px} px. "
            f"Received: size_px={size_px}"
        )
    if weights.seed is not None:
        keras.utils.set_random_seed(weights.seed)
    if isinstance(backbone, Application):
        build = getattr(keras.applications, backbone.builder)
        shape = (size_px, size_px, 3)
        model = build(include_top=False, weights=None, pooling="avg", input_shape=shape)
        load = functools.partial(_load, model, backbone)
    else:
        model = build_mini(size_px)
        load = functools.partial(load_mini, model)
    if weights.kind == FINETUNED:
        load = functools.partial(_load_finetuned, model, backbone)
    if weights.path is not None:
        load(weights.path)
    model.trainable = False
    return model


def preprocess(backbone: Backbone, images: Any) -> Any:
    """Return images as the network was trained on them.

    Args:
        backbone: Which network.
        images: Float tensor, RGB, values in 0..255.

    Returns:
        The same shape: -1..1 for InceptionV3, Xception and MobileNetV2; BGR less its mean for
        ResNet50; unchanged for EfficientNet and mini, which rescale inside.
    """
    if not isinstance(backbone, Application):
        return images
    return getattr(keras.applications, backbone.module).preprocess_input(images)


def _load(model: keras.Model, backbone: Application, path: Path) -> None:
    # Keras may skip layers that a file lacks and leave them random. NaN shows which were filled.
    model.set_weights([np.full(weight.shape, np.nan, "float32") for weight in model.weights])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.load_weights(path)
    except (ValueError, KeyError, OSError, TypeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise _unfit(backbone, path, reason) from error
    unfilled = [
        weight.path for weight in model.weights if not np.isfinite(np.asarray(weight)).all()
    ]
    if unfilled:
        raise _unfit(backbone, path, f"{len(unfilled)} arrays are missing, first {unfilled[0]}")
    _mend_normalization(model)


def _load_finetuned(model: keras.Model, backbone: Backbone, path: Path) -> None:
    load_backbone(model, backbone, path)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    _mend_normalization(model)


def _mend_normalization(model: keras.Model) -> None:
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            _square_imagenet_std(layer)


def _unfit(backbone: Application, path: Path, reason: str) -> FeatureError:
    return FeatureError(
        f"{path.name} does not hold weights of {backbone.name} without its classifier "
        f"(include_top=False): {reason}.",
        code="WEIGHTS_UNFIT",
        hint="Check --backbone and --weights.",
    )


def _square_imagenet_std(layer: keras.layers.Normalization) -> None:
    """Mend EfficientNet's ImageNet files, whose variance holds the standard deviation.

    Keras itself mends it by one more Rescaling layer, but only for ``weights="imagenet"``: the
    same file given as a path would be normalised wrongly without a word.
    """
    # The stored float32 weights: with mixed precision the layer's own copies are float16.
    mean, variance = (np.asarray(weight) for weight in (layer.adapt_mean, layer.adapt_variance))
    if np.allclose(mean.ravel(), _IMAGENET_MEAN, atol=1e-3) and np.allclose(
        variance.ravel(), _IMAGENET_STD, atol=1e-3
    ):
        squared = np.reshape(np.square(variance), layer.variance.shape)
        layer.variance = keras.ops.cast(squared, layer.compute_dtype)
