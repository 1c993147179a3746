"""Augmentation of tiles while a network is trained: Keras layers, each image by its own draw.

Every layer takes RGB of 0..255, uint8 or float, shape (batch, height, width, 3), and returns
float32 of the same shape and range; outside of training it changes nothing. In place of images
alone each takes a pair (images, masks) too, masks whole numbers of shape (batch, height, width, n):
geometry then moves both alike, masks by the nearest pixel, so that no label is ever mixed; colour
leaves masks alone. All is computed in float32 under any policy: float16 has no half grey levels
above 128 left to mix with.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from histokeras.errors import ConfigError

_PACKAGE = "histokeras"
# Optical densities of haematoxylin, eosin and DAB: Ruifrok and Johnston 2001.
_HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
_STAINS = _HED / np.linalg.norm(_HED, axis=1, keepdims=True)
_UNMIXING = np.linalg.inv(_STAINS)
_GREY = np.array([0.299, 0.587, 0.114])


class _Augmentation(keras.layers.Layer):
    """What all layers here share: float32, a seed, no change outside of training."""

    def __init__(self, *, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.seed = seed
        self._seeds = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the images, or images and masks, augmented if ``training``."""
        paired = isinstance(inputs, (list, tuple))
        images, masks = inputs if paired else (inputs, None)
        images = ops.cast(images, "float32")
        if training:
            images, masks = self.augment(images, masks)
        return (images, masks) if paired else images

    def augment(self, images: Any, masks: Any) -> tuple[Any, Any]:
        """Return images and masks (None if there are none), augmented."""
        raise NotImplementedError

    def draw(self, images: Any, low: float = 0.0, high: float = 1.0, n: int = 1) -> Any:
        """Return ``n`` even draws an image, float32 (batch, 1, 1, n)."""
        shape = (ops.shape(images)[0], 1, 1, n)
        return keras.random.uniform(shape, low, high, dtype="float32", seed=self._seeds)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(_PACKAGE)
class RandomSymmetry(_Augmentation):
    """One of the eight flips and quarter turns of a square, each as likely; no pixel is resampled.

    Args:
        seed: Seed of the draws.
        kwargs: Of every layer, such as ``name``.

    Raises:
        ValueError: If called on images that are not square.
    """

    def augment(self, images: Any, masks: Any) -> tuple[Any, Any]:
        """Return images and masks, turned and flipped alike."""
        height, width = images.shape[1:3]
        if height != width:
            raise ValueError(f"tiles are square. Received: images of {width} x {height} pixels")
        moves = (
            lambda x: ops.flip(x, axis=1),
            lambda x: ops.flip(x, axis=2),
            lambda x: ops.transpose(x, (0, 2, 1, 3)),
        )
        for move in moves:
            chosen = self.draw(images) < 0.5
            images = ops.where(chosen, move(images), images)
            masks = None if masks is None else ops.where(chosen, move(masks), masks)
        return images, masks


@keras.saving.register_keras_serializable(_PACKAGE)
class RandomTurnZoom(_Augmentation):
    """A turn by any small angle and a zoom; what comes in from outside is the tile's mirror image.

    Args:
        turn_deg: Largest angle to either side in degrees, 0 to 180.
        zoom: Largest enlargement, as a fraction >= 0; shrunk by as much.
        seed: Seed of the draws.
        kwargs: Of every layer, such as ``name``.
    """

    def __init__(
        self, *, turn_deg: float = 10.0, zoom: float = 0.1, seed: int = 0, **kwargs: Any
    ) -> None:
        _require_range("turn_deg", turn_deg, 180)
        _require_range("zoom", zoom, 10)
        super().__init__(seed=seed, **kwargs)
        self.turn_deg, self.zoom = turn_deg, zoom

    def augment(self, images: Any, masks: Any) -> tuple[Any, Any]:
        """Return images (bilinear) and masks (nearest), turned and zoomed alike."""
        limit = math.radians(self.turn_deg)
        angle = self.draw(images, -limit, limit)[:, 0, 0]
        scale = ops.exp(self.draw(images, -1, 1)[:, 0, 0] * math.log1p(self.zoom))
        cosine, sine = ops.cos(angle) / scale, ops.sin(angle) / scale
        shape = ops.shape(images)
        middle_y, middle_x = ((ops.cast(side, "float32") - 1) / 2 for side in shape[1:3])
        # From a pixel of the output to its place in the input, around the middle.
        rows = [
            cosine, -sine, middle_x - cosine * middle_x + sine * middle_y,
            sine, cosine, middle_y - sine * middle_x - cosine * middle_y,
            ops.zeros_like(angle), ops.zeros_like(angle),
        ]  # fmt: skip
        transform = ops.concatenate(rows, axis=1)
        images = ops.image.affine_transform(
            images, transform, interpolation="bilinear", fill_mode="reflect"
        )
        if masks is not None:
            masks = ops.image.affine_transform(
                masks, transform, interpolation="nearest", fill_mode="reflect"
            )
        return ops.clip(images, 0, 255), masks

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "turn_deg": self.turn_deg, "zoom": self.zoom}


@keras.saving.register_keras_serializable(_PACKAGE)
class ColourJitter(_Augmentation):
    """Brightness, contrast and saturation, as lamps, cameras and their software differ.

    Each is a factor drawn evenly from 1 - x to 1 + x, one an image: on all values, on their
    distance from the image's mean grey, and on the distance of each pixel from its own grey.

    Args:
        brightness: 0 to 1.
        contrast: 0 to 1.
        saturation: 0 to 1.
        seed: Seed of the draws.
        kwargs: Of every layer, such as ``name``.
    """

    def __init__(
        self,
        *,
        brightness: float = 0.1,
        contrast: float = 0.1,
        saturation: float = 0.1,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        for name, value in (
            ("brightness", brightness), ("contrast", contrast), ("saturation", saturation)
        ):  # fmt: skip
            _require_range(name, value, 1)
        super().__init__(seed=seed, **kwargs)
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation

    def augment(self, images: Any, masks: Any) -> tuple[Any, Any]:
        """Return images with other colours, and masks as they are."""
        bright, contrast, colour = (
            1 + self.draw(images, -size, size)
            for size in (self.brightness, self.contrast, self.saturation)
        )
        images = images * bright
        mean = ops.mean(_grey(images), axis=(1, 2), keepdims=True)
        images = mean + (images - mean) * contrast
        grey = _grey(images)
        return ops.clip(grey + (images - grey) * colour, 0, 255), masks

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        sizes = {
            "brightness": self.brightness,
            "contrast": self.contrast,
            "saturation": self.saturation,
        }
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable(_PACKAGE)
class StainJitter(_Augmentation):
    """Haematoxylin, eosin and the rest stronger or weaker, one by one: another laboratory's stain.

    Colour deconvolution into haematoxylin, eosin and DAB (Ruifrok and Johnston 2001), then each
    amount times alpha plus beta, drawn evenly, one an image and stain, and back (Tellez et al.
    2018, https://doi.org/10.1109/TMI.2018.2820199).

    Args:
        alpha: Largest change of an amount, as a fraction, 0 to 1.
        beta: Largest shift of an amount, in optical density (decimal logarithm), 0 to 1. It tints
            glass too, as a dirty or yellow lamp does, so it should stay small.
        seed: Seed of the draws.
        kwargs: Of every layer, such as ``name``.
    """

    def __init__(
        self, *, alpha: float = 0.1, beta: float = 0.01, seed: int = 0, **kwargs: Any
    ) -> None:
        _require_range("alpha", alpha, 1)
        _require_range("beta", beta, 1)
        super().__init__(seed=seed, **kwargs)
        self.alpha, self.beta = alpha, beta

    def augment(self, images: Any, masks: Any) -> tuple[Any, Any]:
        """Return images with other amounts of dye, and masks as they are."""
        alpha = 1 + self.draw(images, -self.alpha, self.alpha, 3)
        beta = self.draw(images, -self.beta, self.beta, 3)
        # 1 is added so that black stays finite.
        density = ops.log10((images + 1) / 256)
        unmixing, stains = (ops.convert_to_tensor(m, "float32") for m in (_UNMIXING, _STAINS))
        # One matrix an image does all three steps; without jitter it is the identity.
        mixing = ops.matmul(unmixing * alpha[:, 0], stains)
        density = ops.einsum("nhwc,ncd->nhwd", density, mixing) - ops.matmul(beta, stains)
        return ops.clip(256 * ops.power(10.0, density) - 1, 0, 255), masks

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}


def _grey(images: Any) -> Any:
    weights = ops.convert_to_tensor(_GREY, "float32")
    return ops.sum(images * weights, axis=-1, keepdims=True)


def _require_range(name: str, value: float, largest: float) -> None:
    if not 0 <= value <= largest:
        raise ConfigError(f"`{name}` must be 0 to {largest:g}. Received: {name}={value}")


# Looked at on real tiles: with half as much again, glass turns brown and pale tissue green.
_LIGHT = {"alpha": 0.1, "beta": 0.01}
_STRONG = {"alpha": 0.2, "beta": 0.02}
AUGMENTATIONS: dict[str, tuple[tuple[str, type[_Augmentation], dict[str, float]], ...]] = {
    "none": (),
    "flips": (("symmetry", RandomSymmetry, {}),),
    "light": (
        ("symmetry", RandomSymmetry, {}),
        ("stain_jitter", StainJitter, _LIGHT),
        ("colour_jitter", ColourJitter, {"brightness": 0.05, "contrast": 0.1, "saturation": 0.1}),
    ),
    "strong": (
        ("symmetry", RandomSymmetry, {}),
        ("turn_zoom", RandomTurnZoom, {"turn_deg": 15.0, "zoom": 0.15}),
        ("stain_jitter", StainJitter, _STRONG),
        ("colour_jitter", ColourJitter, {"brightness": 0.1, "contrast": 0.15, "saturation": 0.2}),
    ),
}
"""Layers of each strength, in order: their names, classes and arguments."""


def build_augmentation(
    augmentation: str, *, seed: int = 0, size_px: int | None = None, masks: bool = False
) -> keras.Model:
    """Build the augmentation that goes before a network.

    Args:
        augmentation: ``none``; ``flips`` (the eight symmetries of a square, without any loss);
            ``light`` (and stains and colours as within one laboratory); ``strong`` (and turns,
            zoom, stains and colours as between laboratories).
        seed: Seed of all draws. Replicas of a MirroredStrategy draw alike, each for its own part of
            the batch.
        size_px: Side of the square tiles in pixels; None for any.
        masks: Whether it takes and returns [images, masks] instead of images.

    Returns:
        A model, ``(batch, size_px, size_px, 3)`` RGB of 0..255, uint8 or float, to float32 of the
        same; masks int32 ``(batch, size_px, size_px, 1)``. It works in training alone
        (``training=True``, as in ``fit``).

    Raises:
        ConfigError: If there is no such augmentation.
    """
    if augmentation not in AUGMENTATIONS:
        raise ConfigError(
            f"`augmentation` must be one of {', '.join(AUGMENTATIONS)}. "
            f"Received: augmentation={augmentation!r}"
        )
    image = keras.Input((size_px, size_px, 3), name="tiles", dtype="float32")
    mask = keras.Input((size_px, size_px, 1), name="masks", dtype="int32")
    x = [image, mask] if masks else image
    layers = AUGMENTATIONS[augmentation]
    # Layers of one seed would draw the same numbers: a flip would always come with a dark image.
    seeds = np.random.SeedSequence(seed).generate_state(max(1, len(layers)))
    for (name, layer, arguments), own in zip(layers, seeds.tolist(), strict=False):
        x = layer(seed=own, name=name, **arguments)(x)
    return keras.Model([image, mask] if masks else image, x, name=f"augmentation_{augmentation}")
