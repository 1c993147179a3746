"""How lymph nodes are drawn: metastatic, with tumour that does not count, without."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from histokeras.report.colours import OKABE_ITO


@dataclass(frozen=True)
class NodeLook:
    """How a kind of node is drawn.

    Attributes:
        title: What it is called in legends.
        colour: ``#rrggbb``.
        filled: Whether the badge of its number is filled.
        width_px: Width of its outline.
    """

    title: str
    colour: str
    filled: bool
    width_px: int


# Orange and blue are told apart by the colour-blind, and from the pink and violet of H&E; width
# and badge tell the same without colour.
LOOKS = (
    NodeLook("metastatic", OKABE_ITO[1], True, 6),
    NodeLook("tumour found, not counted", OKABE_ITO[1], False, 4),
    NodeLook("no tumour found", OKABE_ITO[0], False, 4),
)


def look_of(row: Mapping[Any, Any]) -> NodeLook:
    """Return how a node is drawn.

    Args:
        row: ``metastatic`` and ``tumour_area_mm2`` of the node.
    """
    if row["metastatic"]:
        return LOOKS[0]
    return LOOKS[1] if row["tumour_area_mm2"] > 0 else LOOKS[2]
