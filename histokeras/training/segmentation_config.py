"""How a segmenter is trained: the settings, and the loss that they ask for."""

from dataclasses import dataclass, field

import keras
import numpy as np
import numpy.typing as npt

from histokeras.errors import ConfigError
from histokeras.models.catalog import AUGMENTATION_NAMES
from histokeras.models.segmentation_loss import SegmentationLoss
from histokeras.training.loop import FitConfig

Ints = npt.NDArray[np.int64]
LOSSES = ("ce+dice", "ce", "dice", "focal", "focal+dice")
"""What is made small: cross-entropy, Dice loss, focal loss, or two of them together."""
CLASS_WEIGHTS = ("none", "balanced")
GRID_PX = 32
"""Crops are multiples of it, as windows are: no network here pools to more than so many pixels."""


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig:
    """How a segmenter is trained.

    Attributes:
        crop_px: Side of a crop at the working resolution, a multiple of 32.
        loss: One of :data:`LOSSES`.
        dice_weight: What the Dice loss weighs beside 1 of the other.
        focal_gamma: How little pixels count that are right already, of the focal losses; >= 0.
        class_weight: ``none``, or ``balanced``: in cross-entropy and focal loss each class weighs
            the same.
        freeze: What of the backbone does not learn, as :func:`~histokeras.models.segmenters.freeze`
            has it.
        batch_norm: Whether BatchNormalization of the backbone learns too.
        augmentation: Name of :data:`histokeras.models.augment.AUGMENTATIONS`.
        weight_decay: Of AdamW, a step and unit of the rate, >= 0.
        steps_per_epoch: Batches between two looks at val; None for as many as cover train about
            once, 25 to 250.
        precision: ``float32`` or ``mixed_float16``.
        fit: Epochs, crops a step over all devices, rate at the start, patience, seed.
    """

    crop_px: int = 256
    loss: str = "ce+dice"
    dice_weight: float = 1.0
    focal_gamma: float = 2.0
    class_weight: str = "none"
    freeze: str = "none"
    batch_norm: bool = False
    augmentation: str = "light"
    weight_decay: float = 1e-4
    steps_per_epoch: int | None = None
    precision: str = "float32"
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(epochs=40, batch_size=8, learning_rate=5e-4, patience=10)
    )

    def __post_init__(self) -> None:
        for name, allowed in (
            ("loss", LOSSES), ("class_weight", CLASS_WEIGHTS), ("augmentation", AUGMENTATION_NAMES)
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"`{name}` must be one of {', '.join(allowed)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )
        if self.crop_px < GRID_PX or self.crop_px % GRID_PX:
            raise ConfigError(
                f"`crop_px` is a multiple of {GRID_PX}, at least {GRID_PX}. "
                f"Received: crop_px={self.crop_px}"
            )
        for name in ("dice_weight", "focal_gamma", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"`{name}` is 0 or more. Received: {name}={getattr(self, name)}")
        if self.steps_per_epoch is not None and self.steps_per_epoch < 1:
            raise ConfigError(
                "`steps_per_epoch` must be at least 1. "
                f"Received: steps_per_epoch={self.steps_per_epoch}"
            )

    def as_dict(self) -> dict[str, object]:
        """Return the settings as plain values."""
        own = {name: value for name, value in vars(self).items() if name != "fit"}
        return {**own, **vars(self.fit)}


def loss_of(config: SegmenterConfig, class_counts: Ints) -> keras.losses.Loss:
    """Return the loss that the options ask for.

    Args:
        config: How to train.
        class_counts: Labelled pixels of each class in train.
    """
    name, _, rest = config.loss.partition("+")
    weights = None
    if config.class_weight == "balanced":
        # Each class weighs the same; a class that train lacks is never the truth.
        shares = np.where(class_counts > 0, class_counts, np.inf)
        inverse = class_counts.sum() / ((class_counts > 0).sum() * shares)
        weights = tuple(float(value) for value in inverse)
    return SegmentationLoss(
        cross_entropy=0.0 if name == "dice" else 1.0,
        dice=config.dice_weight if "dice" in (name, rest) else 0.0,
        focal_gamma=config.focal_gamma if name == "focal" else 0.0,
        class_weights=weights,
    )
