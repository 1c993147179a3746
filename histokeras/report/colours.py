"""Fixed colours and line styles of classes: told apart by the colour-blind and in greyscale."""

from collections.abc import Iterable
from dataclasses import dataclass

from histokeras.tissue import TISSUE_COLOURS, tissue_of

OKABE_ITO = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#b8a600",
)  # fmt: skip
"""Okabe and Ito, Color Universal Design (2008); dark ones first, the yellow darkened for white."""
_DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2.5), (1.5, 2), (7, 2, 1.5, 2), (3, 3))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK = "#333a45"
FAINT = "#8a93a0"


@dataclass(frozen=True)
class Look:
    """How a class is drawn.

    Attributes:
        colour: ``#rrggbb``.
        dash: Lengths of dashes and gaps in points; empty for a solid line.
        marker: matplotlib's marker.
    """

    colour: str
    dash: tuple[float, ...]
    marker: str


def class_looks(classes: Iterable[str]) -> dict[str, Look]:
    """Return how each class is drawn: the same in every plot of runs with the same classes.

    Args:
        classes: Class names in any order; sorted, they take the colours in turn. From the ninth
            on colours come again, with another dash and another marker. Where all of them are of
            the eight tissue classes, each has the colour of its tissue.
    """
    looks, names = {}, sorted(classes)
    tissues = [tissue_of(name) for name in names]
    for i, name in enumerate(names):
        turn = i // len(OKABE_ITO)
        tissue = tissues[i] if None not in tissues else None
        looks[name] = Look(
            OKABE_ITO[i % len(OKABE_ITO)] if tissue is None else TISSUE_COLOURS[tissue],
            _DASHES[(i + turn) % len(_DASHES)],
            _MARKERS[(i + turn) % len(_MARKERS)],
        )
    return looks
