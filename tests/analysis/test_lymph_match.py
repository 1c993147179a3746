import numpy as np
import pytest

from histokeras.analysis.lymph_match import match_nodes


def nodes(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Label boxes (top, bottom, left, right) 1, 2, ... on 20 x 40 pixels."""
    labels = np.zeros((20, 40), np.int32)
    for number, (top, bottom, left, right) in enumerate(boxes, start=1):
        labels[top:bottom, left:right] = number
    return labels


def outcomes(true: np.ndarray, said: np.ndarray) -> list[tuple[int, int, str]]:
    rows = match_nodes(true, said).to_dict("records")
    return [(row["true_node"], row["node_id"], row["outcome"]) for row in rows]


def test_pair_is_measured_by_hand() -> None:
    found = match_nodes(nodes((0, 10, 0, 10)), nodes((0, 10, 2, 12)))

    # 80 px in common of 120, and of 100 + 100.
    assert found.loc[0, "iou"] == pytest.approx(2 / 3)
    assert found.loc[0, "dice"] == pytest.approx(0.8)
    assert found["outcome"].tolist() == ["found"]


def test_missed_and_invented_nodes_are_told() -> None:
    true, said = nodes((0, 10, 0, 10), (0, 10, 20, 30)), nodes((0, 10, 20, 30), (12, 20, 0, 10))

    assert outcomes(true, said) == [(1, 0, "missed"), (2, 1, "found"), (0, 2, "invented")]


def test_half_of_the_union_is_not_enough() -> None:
    # 100 px, of which 50 were found: once too few, then a row more.
    true = nodes((0, 10, 0, 10))

    assert outcomes(true, nodes((0, 5, 0, 10))) == [(1, 0, "missed"), (0, 1, "piece")]
    assert outcomes(true, nodes((0, 6, 0, 10))) == [(1, 1, "found")]


def test_nodes_that_were_run_together_are_merged() -> None:
    equal = nodes((0, 10, 0, 10), (0, 10, 10, 20))
    small = nodes((0, 10, 0, 14), (0, 10, 14, 20))
    one = nodes((0, 10, 0, 20))

    assert outcomes(equal, one) == [(1, 0, "merged"), (2, 0, "merged"), (0, 1, "merged")]
    assert outcomes(small, one) == [(1, 1, "found"), (2, 0, "merged")]


def test_node_that_was_cut_in_two_is_split() -> None:
    one = nodes((0, 10, 0, 20))
    halves = nodes((0, 10, 0, 10), (0, 10, 10, 20))
    unequal = nodes((0, 10, 0, 14), (0, 10, 14, 20))

    assert outcomes(one, halves) == [(1, 0, "split"), (0, 1, "piece"), (0, 2, "piece")]
    assert outcomes(one, unequal) == [(1, 1, "found"), (0, 2, "piece")]


def test_slides_without_nodes_match_nothing() -> None:
    none, one = nodes(), nodes((0, 10, 0, 10))

    assert outcomes(none, none) == []
    assert outcomes(one, none) == [(1, 0, "missed")]
    assert outcomes(none, one) == [(0, 1, "invented")]
    with pytest.raises(ValueError, match=r"\(20, 40\)"):
        match_nodes(none, none[:4])
