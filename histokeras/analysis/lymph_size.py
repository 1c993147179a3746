"""How large tumour deposits in lymph nodes are: greatest dimension, and the class that follows."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from histokeras.slides.tissue import Mask

MACRO, MICRO, ITC, NOT_RESOLVED, NO_TUMOUR = "macro", "micro", "ITC", "not resolved", ""
SIZE_CLASSES = (MACRO, MICRO, ITC, NOT_RESOLVED, NO_TUMOUR)
"""Macrometastasis, micrometastasis, isolated tumour cells; told apart too coarsely; no tumour."""
MACRO_MM = 2.0
MICRO_MM = 0.2
MOST_CELL_UM = 50.0
"""Where tumour was read in coarser cells, what is smaller than a macrometastasis has no class."""
LEAST_CELLS = 3
_ROUND = np.ones((3, 3), np.bool_)


def greatest_dimension(mask: Mask) -> float:
    """Return the largest distance between two corners of pixels of a mask: its largest caliper.

    Args:
        mask: Shape (h, w), True in the deposit.

    Returns:
        In pixels; 0 where the mask is empty, the diagonal of the pixel where it is one.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return 0.0
    inside = mask[rows]
    left = inside.argmax(axis=1)
    right = mask.shape[1] - inside[:, ::-1].argmax(axis=1)
    # The corners of the outermost pixels of each row: no others lie on the hull.
    ends = [np.column_stack([x, y]) for x in (left, right) for y in (rows, rows + 1)]
    corners = np.unique(np.concatenate(ends), axis=0).astype(np.float64)
    return float(pdist(corners[ConvexHull(corners).vertices]).max())


def measure_deposits(tumour: Mask) -> tuple[int, float, int]:
    """Measure the connected pieces of tumour in one node; touching corners connect.

    Args:
        tumour: Shape (h, w), True in tumour inside the node.

    Returns:
        How many deposits there are, the greatest dimension of the largest one in pixels (the one
        of the greatest dimension), and its area in pixels; zeros without tumour.
    """
    labels, n_deposits = ndimage.label(tumour, _ROUND)
    largest, area = 0.0, 0
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        # No deposit is longer than the diagonal of its box.
        if np.hypot(*(side.stop - side.start for side in box)) <= largest:
            continue
        deposit = labels[box] == number
        length = greatest_dimension(deposit)
        if length > largest:
            largest, area = length, int(np.count_nonzero(deposit))
    return int(n_deposits), largest, area


def size_class(largest_mm: float, n_cells: float, cell_um: float) -> str:
    """Name a node by its largest deposit.

    Args:
        largest_mm: The greatest dimension of the largest deposit, above 0.
        n_cells: Its area in cells.
        cell_um: Side of the cells in which tumour was read, in micrometres.

    Returns:
        ``macro`` from 2 mm; below, ``not resolved`` where cells are larger than 50 um, or a deposit
        of 0.2 mm is smaller than 3 of them; else ``micro`` from 0.2 mm and ``ITC`` below. A smaller
        one of less than 3 cells is ``ITC``: 3 cells of 50 um are not longer than 0.2 mm.
    """
    if largest_mm >= MACRO_MM:
        return MACRO
    if cell_um > MOST_CELL_UM or (largest_mm >= MICRO_MM and n_cells < LEAST_CELLS):
        return NOT_RESOLVED
    return MICRO if largest_mm >= MICRO_MM else ITC


Lengths = float | npt.NDArray[np.float64]
"""One for all nodes, or one a node, (n,)."""
