"""The loss of a segmenter: cross-entropy and soft Dice, each image by itself."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from histokeras.errors import ConfigError
from histokeras.types import IGNORE

_TINY = 1e-7


@keras.saving.register_keras_serializable("histokeras")
class SegmentationLoss(keras.losses.Loss):
    """Cross-entropy plus soft Dice over the labelled pixels of each image, then their mean.

    With labelled pixels ``i`` of an image, their class ``y_i`` and probability ``p_ik``::

        cross-entropy = 1/n sum_i w_{y_i} (1 - p_{i y_i})^gamma (-ln p_{i y_i})
        Dice = 1 - sum_k w_k d_k / sum_k w_k
        d_k  = 2 sum_{i: y_i = k} p_ik / sum_i (p_ik + [y_i = k])

    The sums of Dice are over the classes that the image holds: the false pixels of one that it
    lacks are missed by another. No sum runs over several images, so the losses of two halves of a
    batch add up to that of the whole: several devices learn as one does. An image without a
    labelled pixel adds 0.

    Args:
        cross_entropy: Weight of cross-entropy, at least 0.
        dice: Weight of Dice, at least 0.
        focal_gamma: ``gamma``, at least 0: how much less pixels count that are well told already
            (focal loss, https://arxiv.org/abs/1708.02002); 0 for plain cross-entropy.
        class_weights: ``w_k``, each above 0, in the order of the classes; None for 1.
        name: Of the loss.

    Raises:
        ConfigError: If a weight is out of its range, or both parts weigh 0.
    """

    def __init__(
        self,
        cross_entropy: float = 1.0,
        dice: float = 1.0,
        focal_gamma: float = 0.0,
        class_weights: Sequence[float] | None = None,
        name: str = "segmentation_loss",
    ) -> None:
        # float32, whatever the precision of the network: sums over a million pixels.
        super().__init__(name=name, dtype="float32")
        known = {"cross_entropy": cross_entropy, "dice": dice, "focal_gamma": focal_gamma}
        for option, value in known.items():
            if not value >= 0:
                raise ConfigError(f"`{option}` must be at least 0. Received: {option}={value}")
        if not cross_entropy + dice > 0:
            raise ConfigError("one of `cross_entropy` and `dice` must weigh more than 0.")
        weights = None if class_weights is None else tuple(float(w) for w in class_weights)
        if weights is not None and not all(weight > 0 for weight in weights):
            raise ConfigError(f"`class_weights` must be above 0. Received: class_weights={weights}")
        self.cross_entropy, self.dice, self.focal_gamma = cross_entropy, dice, focal_gamma
        self.class_weights = weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image.

        Args:
            y_true: Class numbers, ``(b, h, w)``; 255 for pixels without a label.
            y_pred: Logits, ``(b, h, w, n_classes)``.

        Returns:
            float32 ``(b,)``.
        """
        n_classes = y_pred.shape[-1]
        labelled = ops.cast(ops.not_equal(y_true, IGNORE), "float32")
        classes = ops.cast(ops.where(labelled > 0, y_true, 0), "int32")
        truth = ops.one_hot(classes, n_classes, dtype="float32") * labelled[..., None]
        logs = ops.log_softmax(ops.cast(y_pred, "float32"), axis=-1)
        weights = self._weights(n_classes)
        loss = ops.zeros_like(labelled[:, 0, 0])
        if self.cross_entropy:
            loss += self.cross_entropy * self._cross_entropy(truth, logs, labelled, weights)
        if self.dice:
            loss += self.dice * _dice(truth, ops.exp(logs) * labelled[..., None], weights)
        return loss

    def _weights(self, n_classes: int) -> Any:
        weights = self.class_weights or (1.0,) * n_classes
        if len(weights) != n_classes:
            raise ConfigError(
                f"`class_weights` needs one for each of {n_classes} classes. "
                f"Received: class_weights={weights}"
            )
        return ops.convert_to_tensor(weights, "float32")

    def _cross_entropy(self, truth: Any, logs: Any, labelled: Any, weights: Any) -> Any:
        own = ops.sum(truth * logs, axis=-1)
        each = -own * ops.sum(truth * weights, axis=-1)
        if self.focal_gamma:
            # Of 0 a power below 1 has no finite gradient.
            missing = ops.maximum(-ops.expm1(own), _TINY)
            each *= ops.power(missing, self.focal_gamma)
        n = ops.sum(labelled, axis=(1, 2))
        return ops.sum(each, axis=(1, 2)) / ops.maximum(n, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same loss again."""
        names = ("cross_entropy", "dice", "focal_gamma", "class_weights", "name")
        return {name: getattr(self, name) for name in names}


def _dice(truth: Any, probabilities: Any, weights: Any) -> Any:
    """Return 1 less the weighted mean of the soft Dice of the classes that each image holds.

    Args:
        truth: ``(b, h, w, n_classes)``, 1 or 0; all 0 where there is no label.
        probabilities: The same shape, 0 where there is no label.
        weights: ``(n_classes,)``.
    """
    size = ops.sum(truth, axis=(1, 2))
    both = ops.sum(truth * probabilities, axis=(1, 2))
    overlap = 2 * both / ops.maximum(size + ops.sum(probabilities, axis=(1, 2)), 1.0)
    held = weights * ops.cast(size > 0, "float32")
    missed = ops.sum(held * (1 - overlap), axis=-1)
    return missed / ops.maximum(ops.sum(held, axis=-1), _TINY)
