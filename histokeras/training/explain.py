"""Where in a tile a network sees a class: Grad-CAM and three other ways.

The only file that knows tf-explain, whose own ``explain`` methods are not used: its Grad-CAM keeps
guided gradients and no ReLU, its integrated gradients start from a grey that depends on the
network's preprocessing and leave out the product with the way gone, its SmoothGrad takes a
cross-entropy of what must be probabilities, its occlusion paints 127.5 whatever range the input
has, and each stretches its map between minimum and maximum, so that no evidence looks like some.
What it computes right (a layer's gradients, their weighted sum, mean gradients of many inputs) is
its own here.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tf_explain.core.grad_cam import GradCAM
from tf_explain.core.integrated_gradients import IntegratedGradients

from histokeras.config import nearest
from histokeras.errors import ConfigError
from histokeras.training.classifier import Classifier
from histokeras.training.explanation import METHODS, SIGNED, Explanation, TilePlace

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
_BATCH = 16
_STEPS = 64
_COPIES = 32
_NOISE = 0.1 * 255
_CUT = 99.5
_WINDOWS = 7
_WHITE = 255


class _LayerGradCam(GradCAM):
    """tf-explain's Grad-CAM, which asks layers of Keras 3 for what they no longer have."""

    @staticmethod
    def infer_grad_cam_target_layer(model: keras.Model) -> str:
        """Return the last layer that still is a map, the one before the global average."""
        return list(map_layers(model))[-1]


def map_layers(model: keras.Model) -> dict[str, tuple[int, int]]:
    """Return the layers whose output is a map, in the order of the network, and its (h, w)."""
    inner = [item for item in model.layers if not isinstance(item, keras.layers.InputLayer)]
    shapes: dict[str, Any] = {item.name: getattr(item.output, "shape", ()) for item in inner}
    return {name: (shape[1], shape[2]) for name, shape in shapes.items() if len(shape) == 4}


def require_layer(model: keras.Model, layer: str | None) -> str:
    """Return the layer to explain: the one named, else the last map before the global average.

    Raises:
        ConfigError: If there is no such layer, or its output is no map.
    """
    if layer is None:
        return _LayerGradCam.infer_grad_cam_target_layer(model)
    found = map_layers(model)
    if layer not in found:
        # One a resolution: a network has hundreds of layers.
        last = {size: name for name, size in found.items()}
        listed = ", ".join(f"{name} ({size[0]} x {size[1]})" for size, name in last.items())
        raise ConfigError(
            f"`layer` names no map of this network. Received: layer={layer!r}.",
            hint=f"{nearest(layer, found)} The last of each size: {listed}.",
        )
    return layer


def unseen_maps(model: keras.Model, layer: str) -> list[str]:
    """Return maps that are averaged into the features beside ``layer``, which show not in its map.

    A network whose features pool two stages decides by both.
    """
    pools = [item for item in model.layers if isinstance(item, keras.layers.GlobalAveragePooling2D)]
    sources = [pool.input._keras_history.operation.name for pool in pools]
    return [name for name in sources if name != layer] if layer in sources else []


def grad_cam(model: keras.Model, images: Floats, target: int, layer: str) -> Floats:
    """Return Grad-CAM before its ReLU, in logits.

    Selvaraju et al. 2017, https://doi.org/10.1109/ICCV.2017.74: each map of the layer weighs as
    much as the mean of its gradient. Times the number of fields, so that maps of any size read
    alike: where the layer is averaged into a linear head, the mean over the map then is what it
    adds to the logit.

    Args:
        model: A network that ends in logits; a softmax's gradient vanishes where it is sure.
        images: Preprocessed, float32 (n, h, w, 3).
        target: Number of the class.
        layer: Name of a layer whose output is a map.

    Returns:
        float32 (n, h', w') at the layer's own resolution, below 0 where it speaks against.
    """
    parts = []
    for start in range(0, len(images), _BATCH):
        with warnings.catch_warnings():
            # It nests the model's inputs in a list of their own, which Keras 3 remarks on.
            warnings.filterwarnings("ignore", message=r"(?s).*structure of `inputs`")
            outputs, gradients = _LayerGradCam.get_gradients_and_filters(
                model, images[start : start + _BATCH], layer, target, use_guided_grads=False
            )
        parts.append(np.stack(_LayerGradCam.generate_ponderated_output(outputs, gradients)))
    maps: Floats = np.concatenate(parts).astype(np.float32)
    return maps * np.float32(maps.shape[1] * maps.shape[2])


def _mean_gradients(model: keras.Model, inputs: Floats, target: int) -> Floats:
    """Return the gradient of a logit, averaged over many inputs, float32 (h, w, 3)."""
    total = np.zeros(inputs.shape[1:], np.float64)
    for start in range(0, len(inputs), _BATCH):
        part = inputs[start : start + _BATCH]
        # Tensors, not numbers: tf-explain would trace the network anew for each number.
        mean = IntegratedGradients.get_integrated_gradients(
            tf.constant(part), model, tf.constant(target), tf.constant(len(part))
        )
        total += len(part) * mean.numpy()[0]
    return (total / len(inputs)).astype(np.float32)


def integrated_gradients(
    model: keras.Model, image: Floats, baseline: Floats, target: int, *, steps: int = _STEPS
) -> Floats:
    """Return integrated gradients, summed over the channels.

    Sundararajan et al. 2017, https://proceedings.mlr.press/v70/sundararajan17a.html: the values add
    up to the logit of the image less that of the baseline.

    Args:
        model: A network that ends in logits.
        image: Preprocessed, float32 (h, w, 3).
        baseline: Where the way begins, preprocessed, same shape.
        target: Number of the class.
        steps: Places on the way, in the middle of as many equal parts.

    Returns:
        float32 (h, w), below 0 where it speaks against.
    """
    way = ((np.arange(steps) + 0.5) / steps).astype(np.float32)[:, None, None, None]
    gradients = _mean_gradients(model, baseline + way * (image - baseline), target)
    values: Floats = ((image - baseline) * gradients).sum(axis=-1)
    return values


def occlusion(
    model: keras.Model, image: Floats, cover: Floats, target: int, *, windows: int = _WINDOWS
) -> Floats:
    """Return by how much the logit falls where the tile is covered.

    Zeiler and Fergus 2014, https://doi.org/10.1007/978-3-319-10590-1_53. Windows overlap by half;
    each pixel gets the mean of the windows that covered it.

    Args:
        model: A network that ends in logits.
        image: Preprocessed, float32 (h, w, 3).
        cover: What covers, preprocessed, float32 (3,).
        target: Number of the class.
        windows: How many windows lie beside each other.

    Returns:
        float32 (h, w): the fall of the logit, below 0 where it rises.
    """
    height, width = image.shape[:2]
    boxes = [(*y, *x) for y in _spans(height, windows) for x in _spans(width, windows)]
    covered = np.repeat(image[None], len(boxes) + 1, axis=0)
    for number, (top, bottom, left, right) in enumerate(boxes):
        covered[number, top:bottom, left:right] = cover
    logits = _logits(model, covered, target)
    total, count = np.zeros((2, height, width), np.float64)
    for fall, (top, bottom, left, right) in zip(logits[-1] - logits[:-1], boxes, strict=True):
        total[top:bottom, left:right] += fall
        count[top:bottom, left:right] += 1
    return (total / count).astype(np.float32)


def _spans(length: int, windows: int) -> list[tuple[int, int]]:
    edges = np.linspace(0, length, 2 * windows + 1).round().astype(int).tolist()
    return list(zip(edges[:-2], edges[2:], strict=True))


def _logits(model: keras.Model, inputs: Floats, target: int) -> Floats:
    parts = [
        keras.ops.convert_to_numpy(model(inputs[start : start + _BATCH], training=False))
        for start in range(0, len(inputs), _BATCH)
    ]
    return np.concatenate(parts)[:, target].astype(np.float32)


def positive_share(values: Floats) -> float:
    """Return the sum of the positive values as a share of all absolute ones, 0 if all are 0."""
    everything = float(np.abs(values).sum(dtype=np.float64))
    return float(values.clip(0).sum(dtype=np.float64)) / everything if everything > 0 else 0.0


def scaled(values: Floats, top: float) -> Floats:
    """Return values divided by ``top`` and cut at -1 and 1; all zero stays zero."""
    if not top > 0:
        return np.zeros_like(values)
    return (values / np.float32(top)).clip(-1, 1)


def explain_tiles(
    classifier: Classifier,
    images: Images,
    *,
    class_name: str | None = None,
    method: str = "grad-cam",
    layer: str | None = None,
    places: Sequence[TilePlace] | None = None,
) -> list[Explanation]:
    """Explain tiles.

    Args:
        classifier: Of :func:`histokeras.training.classifier.open_classifier`.
        images: uint8 (n, size_px, size_px, 3), RGB.
        class_name: The class whose logit is explained; each tile's most probable one if None.
        method: One of ``METHODS``.
        layer: For grad-cam; the last map before the global average if None.
        places: Which tiles they are; numbered if None.

    Raises:
        ConfigError: If method, layer or class do not exist, or the images have another size.
    """
    _require(classifier, images, method, layer)
    fixed = None if class_name is None else classifier.number(class_name)
    name = require_layer(classifier.model, layer) if method == "grad-cam" else ""
    logits, probabilities = classifier.score(images)
    best = probabilities.argmax(axis=1)
    targets = best if fixed is None else np.full(len(images), fixed)
    maps, shares = _maps(classifier, images, targets, method, name)
    places = places or [TilePlace(f"tile {i}") for i in range(len(images))]
    return [
        Explanation(
            place=places[i],
            image=images[i],
            map=maps[i],
            class_name=classifier.classes[target],
            logit=float(logits[i, target]),
            prob=float(probabilities[i, target]),
            predicted=classifier.classes[best[i]],
            positive_share=shares[i],
            method=method,
            layer=name,
        )
        for i, target in enumerate(targets.tolist())
    ]


def _require(classifier: Classifier, images: Images, method: str, layer: str | None) -> None:
    size = classifier.size_px
    if method not in METHODS:
        raise ConfigError(
            f"`method` must be one of {', '.join(METHODS)}. Received: method={method!r}"
        )
    if layer is not None and method != "grad-cam":
        raise ConfigError(f"`layer` belongs to grad-cam; {method} looks at pixels.")
    if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3):
        raise ConfigError(
            f"tiles of this run are uint8 (n, {size}, {size}, 3). "
            f"Received: {images.dtype} {images.shape}"
        )


def _maps(
    classifier: Classifier, images: Images, targets: Any, method: str, layer: str
) -> tuple[list[Floats], list[float | None]]:
    """Return a map a tile, scaled, at the tile's size, and the positive share of each."""
    model, inputs = classifier.model, classifier.preprocess(images)
    if method == "grad-cam":
        return _grad_cam_maps(model, inputs, targets, layer)
    compute = _pixel_method(classifier, method)
    maps, shares = [], list[float | None]()
    for image, pixels, target in zip(images, inputs, targets.tolist(), strict=True):
        values = compute(image, pixels, target)
        # A few pixels of extreme gradients would leave all else in the dark.
        maps.append(scaled(values, float(np.percentile(np.abs(values), _CUT))))
        shares.append(positive_share(values) if method in SIGNED else None)
    return maps, shares


def _grad_cam_maps(
    model: keras.Model, inputs: Floats, targets: Any, layer: str
) -> tuple[list[Floats], list[float | None]]:
    size = inputs.shape[1:3]
    maps: list[Any] = [None] * len(inputs)
    shares: list[float | None] = [None] * len(inputs)
    for target in np.unique(targets).tolist():
        rows = np.flatnonzero(targets == target)
        for row, values in zip(rows, grad_cam(model, inputs[rows], target, layer), strict=True):
            large = tf.image.resize(values.clip(0)[..., None], size).numpy()[..., 0]
            maps[row] = scaled(large, float(large.max()))
            shares[row] = positive_share(values)
    return maps, shares


def _pixel_method(classifier: Classifier, method: str) -> Callable[[Images, Floats, int], Floats]:
    model = classifier.model
    if method == "integrated-gradients":
        # Glass without tissue; black, the usual start, would be the darkest nucleus of all.
        side = classifier.size_px
        glass = classifier.preprocess(np.full((1, side, side, 3), _WHITE))[0]
        return lambda image, pixels, target: integrated_gradients(model, pixels, glass, target)
    if method == "occlusion":
        # The tile's own mean colour: white would read as lumen or fat, black as a nucleus.
        def covered(image: Images, pixels: Floats, target: int) -> Floats:
            colour = image.mean(axis=(0, 1))[None, None, None]
            return occlusion(model, pixels, classifier.preprocess(colour)[0, 0, 0], target)

        return covered

    def smooth(image: Images, pixels: Floats, target: int) -> Floats:
        # Smilkov et al. 2017, https://arxiv.org/abs/1706.03825: gradients of noisy copies, their
        # mean's absolute value, the largest channel. Noise: 10 % of the range of 8-bit pixels.
        noise = np.random.default_rng(0).normal(0, _NOISE, (_COPIES, *image.shape))
        noisy = classifier.preprocess(image + noise)
        return np.abs(_mean_gradients(model, noisy, target)).max(axis=-1)

    return smooth
