"""A segmenter as slides are laid under it, whatever computes it."""

from dataclasses import dataclass, field

from histokeras.tiles.windows import Predict, Windows


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
