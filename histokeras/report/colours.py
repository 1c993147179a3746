"""Fixed colours and line styles of classes: told apart by the colour-blind and in greyscale."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from histokeras.tissue import BACKGROUND, TISSUE_COLOURS, tissue_of

OKABE_ITO = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#b8a600",
)  # fmt: skip
"""Okabe and Ito, Color Universal Design (2008); dark ones first, the yellow darkened for white."""
_DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2.5), (1.5, 2), (7, 2, 1.5, 2), (3, 3))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_BESIDE_TISSUE = {BACKGROUND: "#bfc5cc", "rest": "#9aa3ad"}
"""Beside tissues: glass, and all classes that are not the one in question."""
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
            the eight tissue classes, each has the colour of its tissue; BACK and ``rest`` may
            stand beside them, in grey.
    """
    looks, names = {}, sorted(classes)
    of_tissue = _tissue_colours(names)
    for i, name in enumerate(names):
        turn = i // len(OKABE_ITO)
        looks[name] = Look(
            of_tissue.get(name, OKABE_ITO[i % len(OKABE_ITO)]),
            _DASHES[(i + turn) % len(_DASHES)],
            _MARKERS[(i + turn) % len(_MARKERS)],
        )
    return looks


def mask_colours(classes: Sequence[str], positive: str | None) -> dict[str, tuple[int, int, int]]:
    """Return red, green and blue, 0..255, of each class of a mask.

    Args:
        classes: Its classes.
        positive: The class of interest, beside which the others are grey; None where all are of
            interest.
    """
    looks = class_looks(classes if positive is None else [positive])
    return {
        name: rgb(looks[name].colour if name in looks else _BESIDE_TISSUE["rest"])
        for name in classes
    }


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0..255, of ``#rrggbb``."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def _tissue_colours(names: Sequence[str]) -> dict[str, str]:
    """Return the colour of each class; nothing unless all are tissues or stand beside such."""
    tissues = {name: tissue_of(name) for name in names}
    found = {name: TISSUE_COLOURS[tissue] for name, tissue in tissues.items() if tissue}
    beside = {name: _BESIDE_TISSUE[name] for name in names if name in _BESIDE_TISSUE}
    return {**found, **beside} if found and len(found) + len(beside) == len(names) else {}
