"""Which lymph node that was found is which true one: by their common area."""

import numpy as np
import pandas as pd

from histokeras.analysis.lymph_split import Labels
from histokeras.analysis.metrics import Bools, Floats, divide

FOUND, MERGED, SPLIT_UP, MISSED = "found", "merged", "split", "missed"
"""What became of a true node."""
PIECE, INVENTED = "piece", "invented"
"""What else a node may be that was found."""
_MOSTLY = 0.5
TRUE_COLUMNS = ("true_node", "node_id", "outcome", "iou", "dice")


def match_nodes(true: Labels, said: Labels) -> pd.DataFrame:
    """Pair true nodes with those that were found.

    Two are one node if their intersection is more than half of their union: a node has no more than
    one such partner. Of the others a true node is ``split`` if two or more of the found ones lie in
    it by half of their area or more, ``merged`` if it lies so in a found one that holds another
    true node as well, else ``missed``.
    A found one without a partner is ``merged`` if two or more true ones lie in it, a ``piece`` if
    it lies in a true one, else ``invented``.

    Args:
        true: Shape (h, w), int32: 0 outside, true nodes 1..n.
        said: Same shape: those found, 1..m.

    Returns:
        ``TRUE_COLUMNS``: first one row a true node (``node_id`` its partner, 0 without one), then
        one row a found node without a partner (``true_node`` 0). ``iou`` and ``dice`` are those
        of the pair; without a partner the highest ones with any node.

    Raises:
        ValueError: If the shapes differ.
    """
    if true.shape != said.shape:
        raise ValueError(
            f"both must have one shape. Received: shapes {true.shape} and {said.shape}"
        )
    n_true, n_said = int(true.max(initial=0)), int(said.max(initial=0))
    inside = (true > 0) | (said > 0)
    cells = true[inside].astype(np.int64) * (n_said + 1) + said[inside]
    table = np.bincount(cells, minlength=(n_true + 1) * (n_said + 1)).astype(np.float64)
    table = table.reshape(n_true + 1, n_said + 1)
    areas, own = table.sum(axis=1)[1:, np.newaxis], table.sum(axis=0)[np.newaxis, 1:]
    common = table[1:, 1:]
    iou = np.nan_to_num(divide(common, areas + own - common))
    dice = np.nan_to_num(divide(2 * common, areas + own))
    pairs = iou > _MOSTLY
    rows = [
        *_true_rows(pairs, divide(common, areas), divide(common, own)),
        *_said_rows(pairs, divide(common, areas), divide(common, own)),
    ]
    found = pd.DataFrame(rows, columns=["true_node", "node_id", "outcome"])
    for name, values in (("iou", iou), ("dice", dice)):
        found[name] = [
            _value(values, int(row["true_node"]), int(row["node_id"]))
            for row in found.to_dict("records")
        ]
    return found.astype({"true_node": np.int64, "node_id": np.int64})


def _value(values: Floats, true: int, said: int) -> float:
    if true and said:
        return float(values[true - 1, said - 1])
    return float((values[true - 1] if true else values[:, said - 1]).max(initial=0.0))


def _true_rows(pairs: Bools, of_true: Floats, of_said: Floats) -> list[tuple[int, int, str]]:
    rows = []
    holds_several = (of_true >= _MOSTLY).sum(axis=0) > 1
    for at, partners in enumerate(pairs):
        outcome = MISSED
        if partners.any():
            outcome = FOUND
        elif (of_said[at] >= _MOSTLY).sum() > 1:
            outcome = SPLIT_UP
        elif ((of_true[at] >= _MOSTLY) & holds_several).any():
            outcome = MERGED
        partner = int(np.argmax(partners)) + 1 if partners.any() else 0
        rows.append((at + 1, partner, outcome))
    return rows


def _said_rows(pairs: Bools, of_true: Floats, of_said: Floats) -> list[tuple[int, int, str]]:
    rows = []
    for at in np.flatnonzero(~pairs.any(axis=0)).tolist():
        outcome = INVENTED
        if (of_true[:, at] >= _MOSTLY).sum() > 1:
            outcome = MERGED
        elif (of_said[:, at] >= _MOSTLY).any():
            outcome = PIECE
        rows.append((0, at + 1, outcome))
    return rows
