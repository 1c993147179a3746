"""How far two outlines of a class lie apart: 95th percentile Hausdorff, mean surface distance."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree

from histokeras.analysis.metrics import Bools, Floats
from histokeras.types import IGNORE

MEASURED = "measured"
NEITHER = "neither has a boundary"
TRUTH_ONLY = "only the truth has a boundary"
PREDICTION_ONLY = "only the prediction has a boundary"
MOST_POINTS = 200_000
"""From more boundary pixels than these, every second, third, ... is measured from."""
_HAUSDORFF_PERCENT = 95
Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class BoundaryDistance:
    """How far the boundaries of truth and prediction lie apart.

    Attributes:
        hd95_px: The larger of the two 95th percentiles of distances, from truth to prediction and
            back, in pixels; NaN unless ``state`` is ``measured``.
        assd_px: Mean of all these distances, in pixels; NaN likewise.
        state: ``measured``, or which of the two has no boundary.
        step: Every ``step``-th boundary pixel was measured from; 1 for all.
    """

    hd95_px: float
    assd_px: float
    state: str
    step: int = 1


def boundary_distance(
    truth: Mask, predicted: Mask, positive: int, *, most_points: int = MOST_POINTS
) -> BoundaryDistance:
    """Measure distances between the boundaries of one class.

    A boundary pixel is of the class and has one of its four neighbours in another class. The edge
    of the image and pixels without label make no boundary: nobody drew one there.

    Args:
        truth: Class mask ``(h, w)``, 255 where not labelled.
        predicted: Class mask of the same shape; what it says where ``truth`` is 255 is not used.
        positive: Number of the class.
        most_points: Boundary pixels that are measured from on each side, at least 1; to all of the
            other side in any case. With more, every k-th in the order of rows is taken.

    Returns:
        The distances; NaN where one of the two has no boundary, whose ``state`` tells which.
    """
    unknown = truth == IGNORE
    ours = _boundary(truth == positive, unknown)
    theirs = _boundary((predicted == positive) & ~unknown, unknown)
    if not len(ours) or not len(theirs):
        nan = float("nan")
        return BoundaryDistance(nan, nan, _state(len(ours), len(theirs)))
    step = -(-max(len(ours), len(theirs)) // most_points)
    there = _distances(ours[::step], theirs)
    back = _distances(theirs[::step], ours)
    hausdorff = max(float(np.percentile(side, _HAUSDORFF_PERCENT)) for side in (there, back))
    return BoundaryDistance(hausdorff, _mean(there, back, len(ours), len(theirs)), MEASURED, step)


def _boundary(inside: Bools, unknown: Bools) -> Floats:
    """Return the boundary pixels, ``(n, 2)`` float64, row and column."""
    if not inside.any():
        return np.empty((0, 2))
    # Only the box around the class is looked at, with one pixel more to see its neighbours.
    box = _reach(np.any(inside, axis=1)), _reach(np.any(inside, axis=0))
    part = inside[box]
    core = binary_erosion(part | unknown[box], border_value=1)
    corner = np.array([side.start for side in box], np.float64)
    return np.argwhere(part & ~core).astype(np.float64) + corner


def _reach(occupied: npt.NDArray[Any]) -> slice:
    found = np.flatnonzero(occupied)
    return slice(max(int(found[0]) - 1, 0), int(found[-1]) + 2)


def _state(n_true: int, n_said: int) -> str:
    if n_true:
        return TRUTH_ONLY
    return PREDICTION_ONLY if n_said else NEITHER


def _distances(points: Floats, others: Floats) -> Floats:
    found: Floats = KDTree(others, balanced_tree=False, compact_nodes=False).query(points)[0]
    return found


def _mean(there: Floats, back: Floats, n_there: int, n_back: int) -> float:
    """Return the mean over all pixels of both boundaries, also where some stand for more."""
    return float((there.mean() * n_there + back.mean() * n_back) / (n_there + n_back))
