from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import ndimage

from histokeras.analysis.lymph_nodes import (
    NODE_COLUMNS,
    NodeRules,
    counted_tumour,
    find_nodes,
    measure_nodes,
    number_nodes,
)

Mask = npt.NDArray[np.bool_]
MPP = 10.0


def disc(x: float, y: float, radius: float, shape: tuple[int, int] = (240, 240)) -> Mask:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(columns + 0.5 - x, rows + 0.5 - y) < radius)


def measure(labels: Any, tumour: Mask, rules: NodeRules | None = None, **more: Any) -> pd.DataFrame:
    settings: dict[str, Any] = {"scale": 40.0, "cell_um": 10.0} | more
    return measure_nodes(labels, tumour, MPP, rules or NodeRules(), **settings)


def test_concentric_discs_have_a_quarter_of_tumour() -> None:
    labels, n_dropped = find_nodes(disc(120, 120, 100), MPP, NodeRules())

    (node,) = measure(labels, disc(120, 120, 50)).to_dict("records")

    assert n_dropped == 0
    assert node["ratio"] == pytest.approx(0.25, abs=0.01)
    assert node["node_area_mm2"] == pytest.approx(np.pi, rel=0.01)
    assert (node["n_deposits"], node["metastatic"], node["size_class"]) == (1, True, "micro")
    # 1 mm, and up to a diagonal of a pixel more for the corners.
    assert 0.98 <= node["largest_deposit_mm"] <= 1.015
    assert (node["centroid_x_mm"], node["centroid_y_mm"]) == pytest.approx((1.2, 1.2))
    assert [node[name] for name in ("x", "y", "width", "height")] == [800, 800, 8000, 8000]


def test_holes_in_tumour_count_as_the_policy_says() -> None:
    labels, _ = find_nodes(disc(120, 120, 100), MPP, NodeRules())
    ring = disc(120, 120, 50) & ~disc(120, 120, 25)

    kept, filled = (
        measure(labels, ring, NodeRules(tumour_holes=policy)).loc[0, "ratio"]
        for policy in ("keep", "fill")
    )

    assert filled == pytest.approx(0.25, abs=0.01)
    assert filled - kept == pytest.approx(0.0625, abs=0.01)


def test_holes_in_nodes_count_as_the_policy_says() -> None:
    hilum = disc(120, 120, 100) & ~disc(120, 120, 50)

    areas = [
        np.count_nonzero(find_nodes(hilum, MPP, NodeRules(node_holes=policy))[0])
        for policy in ("keep", "fill")
    ]

    assert areas == [np.count_nonzero(hilum), np.count_nonzero(disc(120, 120, 100))]


def test_a_gap_that_touching_nodes_enclose_is_no_node() -> None:
    shape = (420, 420)
    centres = [(110, 110), (304, 110), (207, 278)]
    three = np.logical_or.reduce([disc(x, y, 98.5, shape) for x, y in centres])
    assert not three[166, 207]
    assert ndimage.binary_fill_holes(three)[166, 207]

    labels, _ = find_nodes(three, MPP, NodeRules())

    assert labels.max() == 3
    assert labels[166, 207] == 0
    # Specks where their borders meet are filled, no more.
    assert np.count_nonzero((labels > 0) != three) < 10


def test_a_gap_that_four_nodes_enclose_is_no_node() -> None:
    shape = (420, 420)
    centres = [(110, 110), (305, 110), (110, 305), (305, 305)]
    four = np.logical_or.reduce([disc(x, y, 98.5, shape) for x, y in centres])
    assert ndimage.binary_fill_holes(four)[207, 207]
    assert not four[207, 207]

    labels, _ = find_nodes(four, MPP, NodeRules())

    assert labels.max() == 4
    assert labels[207, 207] == 0


def test_specks_in_the_fat_of_a_node_do_not_keep_its_hole_open() -> None:
    shape = (240, 420)
    left, right = disc(110, 120, 100, shape), disc(300, 120, 96, shape)
    hilum, speck = disc(90, 120, 40, shape), disc(75, 120, 12, shape)

    labels, n_dropped = find_nodes((left & ~hilum) | speck | right, MPP, NodeRules())

    assert (labels.max(), n_dropped) == (2, 0)
    assert np.array_equal(labels > 0, left | right)
    for number, node in ((1, left), (2, right)):
        assert np.count_nonzero(labels == number) == pytest.approx(np.count_nonzero(node), rel=0.01)


def test_touching_nodes_are_parted_where_they_meet() -> None:
    shape = (240, 420)
    left, right = disc(110, 120, 100, shape), disc(300, 120, 96, shape)
    mask = left | right
    assert ndimage.label(mask)[1] == 1

    labels, _ = find_nodes(mask, MPP, NodeRules())
    whole, _ = find_nodes(mask, MPP, NodeRules(), split=False)

    assert labels.max() == 2
    assert whole.max() == 1
    assert np.array_equal(labels > 0, mask)
    for number, node in ((1, left), (2, right)):
        assert np.count_nonzero(labels == number) == pytest.approx(np.count_nonzero(node), rel=0.01)


def test_a_bulge_below_the_minimum_is_not_parted_from_its_node() -> None:
    shape = (240, 300)
    mask = disc(110, 120, 100, shape) | disc(235, 120, 30, shape)

    bulge, _ = find_nodes(mask, MPP, NodeRules())
    node, _ = find_nodes(mask, MPP, NodeRules(min_node_mm2=0.2))

    assert bulge.max() == 1
    assert node.max() == 2


def test_bean_stays_one_node() -> None:
    bean = disc(120, 120, 100) & ~disc(120, 10, 45)

    labels, _ = find_nodes(bean, MPP, NodeRules())

    assert labels.max() == 1


def test_ragged_borders_part_nothing() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:300, :300] - 149.5
    noise = ndimage.gaussian_filter(rng.normal(size=(300, 300)), 4)
    ragged = np.hypot(columns, rows * 1.5) + 8 * noise / noise.std() < 120
    ragged = ndimage.label(ragged)[0] == ndimage.label(ragged)[0][150, 150]

    labels, _ = find_nodes(ragged, MPP, NodeRules())

    assert labels.max() == 1


def test_small_pieces_are_dropped_and_counted() -> None:
    # 0.5 mm2 are 5000 px: a radius of 39.9 px.
    mask = disc(60, 60, 40.5) | disc(160, 160, 39.2)

    labels, n_dropped = find_nodes(mask, MPP, NodeRules())

    assert (labels.max(), n_dropped) == (1, 1)
    assert labels[60, 60] == 1
    assert labels[160, 160] == 0


def test_separate_nodes_are_those_of_plain_labelling() -> None:
    rng = np.random.default_rng(3)
    mask = ndimage.gaussian_filter(rng.normal(size=(200, 200)), 6) > 0.03
    rules = NodeRules(min_node_mm2=0, split_touching=False, node_holes="keep")

    labels, _ = find_nodes(mask, MPP, rules)

    expected, n_expected = ndimage.label(mask, np.ones((3, 3)))
    pairs = np.unique(np.column_stack([labels[mask], expected[mask]]), axis=0)
    assert labels.max() == n_expected == len(pairs)
    assert np.array_equal(labels > 0, mask)


def test_nodes_are_numbered_in_reading_order() -> None:
    # The right node of the first row begins higher than the left one.
    mask = np.logical_or.reduce([disc(60, 66, 45), disc(180, 60, 45), disc(90, 180, 45)])

    labels, _ = find_nodes(mask, MPP, NodeRules())

    assert [labels[66, 60], labels[60, 180], labels[180, 90]] == [1, 2, 3]


def test_tumour_outside_nodes_does_not_count_and_a_shared_deposit_counts_in_each() -> None:
    labels = np.zeros((100, 200), np.int32)
    labels[10:90, 10:100], labels[10:90, 100:190] = 1, 2
    tumour = np.zeros((100, 200), np.bool_)
    tumour[40:50, 90:110] = tumour[:8] = True

    table = measure(labels, tumour)

    assert table["tumour_area_mm2"].tolist() == [0.01, 0.01]
    assert table["n_deposits"].tolist() == [1, 1]
    assert table["ratio"].tolist() == [100 / 7200] * 2


@pytest.mark.parametrize("policy", ["keep", "fill"])
def test_tumour_that_counts_is_what_is_measured(policy: str) -> None:
    rules = NodeRules(tumour_holes=policy)
    labels = np.zeros((240, 240), np.int32)
    labels[:, :120], labels[:200, 120:] = 1, 2
    # A ring over both nodes has no hole in either; the other one has.
    tumour = disc(120, 60, 40) & ~disc(120, 60, 20)
    tumour |= disc(50, 180, 30) & ~disc(50, 180, 10)

    counted = counted_tumour(labels, tumour, rules)

    areas = measure(labels, tumour, rules)["tumour_area_mm2"] * 1e4
    assert areas.tolist() == pytest.approx([counted[labels == 1].sum(), counted[labels == 2].sum()])
    assert bool(counted[180, 50]) == (policy == "fill")
    assert not counted[60, 120]


def test_drawn_nodes_are_numbered_anew_without_the_small_ones() -> None:
    drawn = np.zeros((240, 240), np.int32)
    drawn[:100, 100:], drawn[:100, :100], drawn[200:210, :9] = 7, 9, 2

    labels, n_dropped = number_nodes(drawn, MPP, NodeRules())

    assert (labels.max(), n_dropped) == (2, 1)
    assert (labels[0, 0], labels[0, 239], labels[205, 0]) == (1, 2, 0)


@pytest.mark.parametrize(
    ("side_px", "cell_um", "expected"),
    [
        (150, 64.0, "macro"),
        (100, 64.0, "not resolved"),
        (20, 32.0, "micro"),
        (10, 32.0, "ITC"),
        (10, 64.0, "not resolved"),
        # 0.01 mm2 are 2.5 cells of 63.2 um, and 4.0 of 50 um.
        (10, 50.0, "ITC"),
        (9, 10.0, ""),
    ],
)
def test_size_class_follows_the_largest_deposit(
    side_px: int, cell_um: float, expected: str
) -> None:
    labels = np.ones((200, 200), np.int32)
    tumour = np.zeros((200, 200), np.bool_)
    tumour[5 : 5 + side_px, 5 : 5 + side_px] = True

    (node,) = measure(labels, tumour, cell_um=cell_um).to_dict("records")

    assert node["size_class"] == expected
    assert node["largest_deposit_mm"] == pytest.approx(side_px * 2**0.5 / 100)
    assert node["metastatic"] == (expected not in ("", "ITC"))


def test_a_deposit_of_too_few_cells_has_no_size_class() -> None:
    labels, tumour = np.ones((50, 50), np.int32), np.zeros((50, 50), np.bool_)
    tumour[:5, :20] = True

    # 0.01 mm2: 4.9 cells of 45 um; by a lower bound 0.005 mm2 would be 2.5 of them.
    assert measure(labels, tumour, cell_um=45.0).loc[0, "size_class"] == "micro"
    tumour[:, 10:] = False
    few = measure(labels, tumour, NodeRules(min_tumour_mm2=0), cell_um=45.0)
    # However it is measured, so few cells are no 0.2 mm long.
    assert few.loc[0, "size_class"] == "ITC"
    assert not few.loc[0, "metastatic"]
    tumour[:] = False
    tumour[0, :30] = True
    thin = measure(labels, tumour, NodeRules(min_tumour_mm2=0), cell_um=45.0)
    assert thin.loc[0, "largest_deposit_mm"] > 0.2
    assert thin.loc[0, "size_class"] == "not resolved"


def test_isolated_tumour_cells_count_if_asked_for() -> None:
    labels, tumour = np.ones((50, 50), np.int32), np.zeros((50, 50), np.bool_)
    tumour[:10, :10] = True

    metastatic = [
        bool(measure(labels, tumour, NodeRules(count_itc=count)).loc[0, "metastatic"])
        for count in (False, True)
    ]

    assert metastatic == [False, True]


def test_highest_probability_is_that_of_what_was_read_in_the_node() -> None:
    labels = np.zeros((4, 9), np.int32)
    labels[:, :3], labels[:, 3:6], labels[:, 6:] = 1, 2, 3
    probability = np.full((4, 9), np.nan, np.float32)
    probability[0, 0], probability[3, 2], probability[1, 4] = 0.25, 0.5, 0.75

    table = measure(labels, labels < 0, probability=probability)

    np.testing.assert_array_equal(table["max_prob"], [0.5, 0.75, np.nan])


def test_each_node_may_have_cells_of_its_own_and_pixels_that_are_not_square() -> None:
    labels = np.array([[1, 1, 0, 2]], np.int32)

    table = measure(labels, labels < 0, cell_um=np.array([64.0, 32.0]), scale=(4.0, 8.0))

    assert table["stride_um"].tolist() == [64, 32]
    assert table[["x", "y", "width", "height"]].to_numpy().tolist() == [[0, 0, 8, 8], [12, 0, 4, 8]]


def test_slide_without_a_node_gives_an_empty_table_with_all_columns() -> None:
    empty = np.zeros((30, 40), np.bool_)
    labels, n_dropped = find_nodes(empty, MPP, NodeRules())

    table = measure(labels, empty)

    assert (labels.shape, labels.dtype, n_dropped) == ((30, 40), np.int32, 0)
    assert tuple(table.columns) == NODE_COLUMNS
    assert table["metastatic"].dtype == np.bool_


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"min_node_mm2": -1}, "min_node_mm2=-1"),
        ({"min_tumour_mm2": float("nan")}, "min_tumour_mm2=nan"),
        ({"neck": 1}, "neck=1"),
        ({"node_holes": "open"}, "node_holes='open'"),
    ],
)
def test_rules_outside_their_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NodeRules(**wrong)


def test_labels_with_a_gap_are_refused() -> None:
    with pytest.raises(ValueError, match="no node 1"):
        measure(np.array([[0, 2]], np.int32), np.zeros((1, 2), np.bool_))
