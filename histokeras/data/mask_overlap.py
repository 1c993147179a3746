"""Regions of one class drawn over those of another: the later one takes the pixels, and is told."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from histokeras.slides.annotations import Drawing, Region
from histokeras.slides.geojson import filled
from histokeras.types import IGNORE

_SIDE = 256
_NONE = -1
_LEAST = 0.01
"""Share of a class that is worth a word: outlines that touch overlap by a pixel."""


@dataclass
class Overlaps:
    """What was drawn over what, over all files together.

    Attributes:
        drawn: Class -> pixels that it covered when it was drawn, at a coarse scale.
        taken: (class below, class above) -> pixels of them that the later one took.
    """

    drawn: Counter[str] = field(default_factory=Counter)
    taken: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, regions: Sequence[Region], unnamed: str) -> None:
        """Draw the regions of one file coarsely, as they lie over each other.

        Args:
            regions: In the order of the file.
            unnamed: Class of those without one.
        """
        labels = [region.label or unnamed for region in regions]
        names = sorted(set(labels))
        if len(names) < 2:
            return
        boxes = Drawing(tuple(regions), (0,) * len(regions)).boxes
        low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        per_px = max(float((high - low).max()) / _SIDE, np.finfo(np.float32).tiny)
        picture = np.full((_SIDE, _SIDE), _NONE, np.int64)
        for region, label in zip(regions, labels, strict=True):
            rings = [(ring - low) / per_px for ring in region.polygon]
            where, inside = filled(rings, picture.shape)
            below = picture[where][inside]
            for at in np.unique(below[below != _NONE]).tolist():
                self.taken[names[at], label] += int((below == at).sum())
            self.drawn[label] += below.size
            picture[where][inside] = _NONE if region.erases else names.index(label)

    def notes(self, numbers: Mapping[str, int]) -> tuple[str, ...]:
        """Return a sentence for each class that takes pixels of another.

        Args:
            numbers: Class as drawn -> its class number; of what is ignored, ``IGNORE``.
        """
        return tuple(
            f"{above} is drawn over {part / self.drawn[below]:.0%} of {below}, and counts there: "
            f"what comes later in a file lies above. --drawn-class {below!r} learns {below} alone, "
            "--group may join the two."
            for (below, above), part in sorted(self.taken.items())
            if numbers[below] != numbers[above]
            and IGNORE not in (numbers[below], numbers[above])
            and part > _LEAST * self.drawn[below]
        )
