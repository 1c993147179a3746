"""Lymph nodes and tumour of a slide as they were found, against the truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.lymph_drawn import DrawnSlide
from histokeras.analysis.lymph_match import FOUND, INVENTED, MERGED, MISSED, SPLIT_UP, match_nodes
from histokeras.analysis.lymph_split import Labels
from histokeras.analysis.metrics import Bools, Floats, divide, roc_auc
from histokeras.slides.tissue import Mask

COMPARED = ("node_area_mm2", "tumour_area_mm2", "ratio", "metastatic", "size_class")
"""What is told of a node on both sides; the true one has ``_true`` behind its name."""
_TUMOUR_TILE = 0.5


@dataclass(frozen=True, eq=False)
class SlideComparison:
    """A slide against its truth.

    Attributes:
        row: Counts of pixels (``node_px_true node_px node_px_both tumour_px_true tumour_px
            tumour_px_both``) and of nodes (``n_found n_missed n_merged n_split n_invented``).
        nodes: ``true_node node_id outcome iou dice``, then ``COMPARED`` of the true and of the
            found node.
        positive: Whether each tile inside true nodes is tumour, (n,); None where tiles or tumour
            are unknown.
        scores: Its probability, (n,), float64.
    """

    row: dict[str, Any]
    nodes: pd.DataFrame
    positive: Bools | None
    scores: Floats


def compare_slide(
    true: DrawnSlide,
    labels: Labels,
    tumour: Mask,
    nodes: pd.DataFrame,
    tiles: pd.DataFrame | None,
    *,
    scale: float,
) -> SlideComparison:
    """Compare what was found on a slide with what was drawn.

    Args:
        true: The truth.
        labels: Nodes that were found, shape (h, w), int32.
        tumour: Tumour that was found and counts, bool (h, w).
        nodes: The found nodes, as ``measure_nodes`` gives them.
        tiles: ``minx miny width height`` (level-0 pixels) and ``prob`` of the tiles that were read;
            None where none were.
        scale: Level-0 pixels per pixel of the overview.
    """
    pairs = match_nodes(true.labels, labels)
    row = {f"n_{name}": int((pairs["outcome"] == name).sum()) for name in (FOUND, MISSED, INVENTED)}
    of_true = pairs[pairs["true_node"] > 0]
    row |= {f"n_{name}": int((of_true["outcome"] == name).sum()) for name in (MERGED, SPLIT_UP)}
    row |= _common("node", true.labels > 0, labels > 0)
    positive, scores = None, np.zeros(0)
    if true.tumour is not None:
        row |= _common("tumour", true.tumour & (true.labels > 0), tumour & (labels > 0))
        if tiles is not None:
            covered, inside = tile_truth(true.labels, true.tumour, tiles, scale)
            positive = covered[inside] >= _TUMOUR_TILE
            scores = tiles["prob"].to_numpy(np.float64)[inside]
    table = pairs.merge(
        true.nodes[["node_id", *COMPARED]].rename(
            columns={"node_id": "true_node"} | {name: f"{name}_true" for name in COMPARED}
        ),
        how="left",
        on="true_node",
    ).merge(nodes[["node_id", *COMPARED]], how="left", on="node_id")
    return SlideComparison(row, table, positive, scores)


def _common(what: str, true: Mask, said: Mask) -> dict[str, int]:
    return {
        f"{what}_px_true": int(np.count_nonzero(true)),
        f"{what}_px": int(np.count_nonzero(said)),
        f"{what}_px_both": int(np.count_nonzero(true & said)),
    }


def overlap(
    true_px: npt.NDArray[Any], said_px: npt.NDArray[Any], both_px: npt.NDArray[Any]
) -> tuple[Floats, Floats]:
    """Return Dice and IoU of areas; NaN where both are empty.

    Args:
        true_px: Pixels of the true area, any shape.
        said_px: Those of the found one.
        both_px: Those that they have in common.
    """
    union = true_px + said_px - both_px
    return divide(2 * both_px, true_px + said_px), divide(both_px, union)


def tile_truth(
    labels: Labels, tumour: Mask, tiles: pd.DataFrame, scale: float
) -> tuple[Floats, Bools]:
    """Return how much of each tile is tumour, and which lie in a true node.

    Args:
        labels: True nodes, shape (h, w).
        tumour: Where tumour was drawn, bool (h, w).
        tiles: ``minx miny width height`` in level-0 pixels, n rows.
        scale: Level-0 pixels per pixel of the maps.

    Returns:
        The share of each tile that tumour covers, (n,), 0..1; and whether its middle lies in a
        node, (n,).
    """
    left, top, width, height = (
        tiles[name].to_numpy(np.float64) / scale for name in ("minx", "miny", "width", "height")
    )
    sums = np.zeros((tumour.shape[0] + 1, tumour.shape[1] + 1))
    np.cumsum(np.cumsum(tumour, axis=0, dtype=np.float64), axis=1, out=sums[1:, 1:])
    right, bottom = left + width, top + height
    area = _at(sums, right, bottom) - _at(sums, left, bottom) - _at(sums, right, top)
    area += _at(sums, left, top)
    rows, columns = np.floor(top + height / 2).astype(int), np.floor(left + width / 2).astype(int)
    on_map = (rows >= 0) & (columns >= 0) & (rows < len(labels)) & (columns < labels.shape[1])
    inside = np.zeros(len(tiles), np.bool_)
    inside[on_map] = labels[rows[on_map], columns[on_map]] > 0
    return area / (width * height), inside


def _at(sums: Floats, x: Floats, y: Floats) -> Floats:
    """Return the sum above and left of places between the corners of pixels."""
    x, y = x.clip(0, sums.shape[1] - 1), y.clip(0, sums.shape[0] - 1)
    column = np.minimum(x.astype(int), sums.shape[1] - 2)
    row = np.minimum(y.astype(int), sums.shape[0] - 2)
    across, down = x - column, y - row
    upper = sums[row, column] * (1 - across) + sums[row, column + 1] * across
    lower = sums[row + 1, column] * (1 - across) + sums[row + 1, column + 1] * across
    found: Floats = upper * (1 - down) + lower * down
    return found


def tile_auc(positive: Bools, scores: Floats) -> float:
    """Return the area under the ROC curve of tiles; NaN without tumour, or without anything else.

    Args:
        positive: Whether each tile is tumour, (n,).
        scores: Its probability of tumour, (n,).
    """
    return roc_auc(positive, scores)
