"""A segmenter as slides are laid under it, whatever computes it."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from histokeras.slides.source import Image
from histokeras.tiles.windows import Predict, Probabilities, Windows, segment_image


@dataclass(frozen=True, kw_only=True)
class Segmenter:
    """A network that tells a class for every pixel, or the mean of those of several folds.

    Attributes:
        predict: Turns windows into probabilities.
        classes: In the order of the probabilities.
        positive: The class of interest; None where all are.
        mpp: Micrometres per pixel that it works at; None for each image's own pixels.
        digests: SHA-256 of the networks, sorted.
        windows: How images are cut for it.
    """

    predict: Predict
    classes: tuple[str, ...]
    positive: str | None
    mpp: float | None
    digests: tuple[str, ...]
    windows: Windows = field(default_factory=Windows)

    @property
    def shown(self) -> tuple[str, ...]:
        """The classes that are outlined: the positive one, or all where there is none."""
        return (self.positive,) if self.positive is not None else self.classes

    def probabilities(self, image: Image) -> Probabilities:
        """Return the probability of each class for each pixel.

        Args:
            image: uint8 RGB ``(height, width, 3)`` at :attr:`mpp`, of any size.

        Returns:
            float32 ``(height, width, n_classes)``, of sum 1.

        Raises:
            ValueError: If it is no such image.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                "`image` is uint8 RGB (height, width, 3). "
                f"Received: {image.dtype} of shape {image.shape}"
            )
        return segment_image(self.predict, image, len(self.classes), self.windows)

    def segment(self, image: Image) -> npt.NDArray[np.uint8]:
        """Return the most probable class of each pixel.

        Args:
            image: As :meth:`probabilities` takes it.

        Returns:
            Numbers of :attr:`classes`, uint8 ``(height, width)``.
        """
        return np.asarray(np.argmax(self.probabilities(image), axis=-1), np.uint8)
