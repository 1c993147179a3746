import io

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image

from histokeras.analysis.lymph_nodes import NodeRules, find_nodes, measure_nodes
from histokeras.report.lymph_badges import place_badges
from histokeras.report.lymph_beside import MOST_ROWS, table_rows
from histokeras.report.lymph_numbers import area_text, class_text, length_text, share_text
from histokeras.report.lymph_picture import draw_slide
from histokeras.report.text import DASH

Bits = npt.NDArray[np.bool_]


def _disc(shape: tuple[int, int], x: int, y: int, radius: int) -> Bits:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def _picture(heat: npt.NDArray[np.float32] | None, scale: int = 1) -> npt.NDArray[np.uint8]:
    """Return a wide slide of 600 x 300 px with a metastatic node at the left, one without."""
    shape = (300, 600)
    mask = _disc(shape, 150, 150, 80) | _disc(shape, 450, 150, 80)
    tumour = _disc(shape, 150, 150, 30)
    rules = NodeRules()
    labels, _ = find_nodes(mask, 10.0, rules)
    nodes = measure_nodes(labels, tumour, 10.0, rules, scale=20.0, cell_um=10.0)
    assert nodes["metastatic"].tolist() == [True, False]
    thumbnail = np.full((300 // scale, 600 // scale, 3), (180, 120, 170), np.uint8)
    page = draw_slide(
        thumbnail, labels, tumour, heat, nodes, titles=("S1",), um_per_px=10.0 * scale, note="n"
    )
    return np.asarray(Image.open(io.BytesIO(page)))


def _near(picture: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> Bits:
    return np.asarray((np.abs(picture.astype(int) - colour) < 40).all(axis=2))


@pytest.mark.parametrize("scale", [1, 4])
def test_a_metastatic_node_is_orange_and_the_other_blue(scale: int) -> None:
    picture = _picture(None, scale)[:400]

    # Of 600 px both: a small slide is enlarged by whole numbers.
    orange, blue = (np.nonzero(_near(picture, c))[1] for c in ((213, 94, 0), (0, 114, 178)))
    assert len(orange) > 500
    assert len(blue) > 500
    left = orange[orange < 324 + 24]
    assert len(left) > 0.9 * np.count_nonzero(orange < 620)
    assert np.median(blue[blue < 620]) > 324


def test_probability_colours_the_inside_of_nodes_alone() -> None:
    heat = np.full((300, 600), 1.0, np.float32)
    heat[:, 300:] = 0.0
    picture = _picture(heat)
    bare = _picture(np.full((300, 600), np.nan, np.float32))

    changed = np.abs(picture.astype(int) - bare).max(axis=2) > 60
    rows, _ = np.nonzero(changed)
    # The second panel lies below the first: 300 px and a gap further down.
    top = 24 + 29 + 8 + 318
    assert rows.min() >= top + 150 - 80 - 3
    assert rows.max() <= top + 150 + 80 + 3
    yellow, violet = picture[top + 210, 24 + 150], picture[top + 150, 24 + 450]
    assert yellow[0] > 180 > yellow[2]
    assert violet[2] > violet[1] + 30
    # Glass between the nodes stays pale.
    assert picture[top + 150, 24 + 300].min() > 180


def test_a_slide_without_nodes_is_drawn_once() -> None:
    labels, none = np.zeros((40, 40), np.int32), np.zeros((40, 40), np.bool_)
    nodes = measure_nodes(labels, none, 10.0, NodeRules(), scale=1.0, cell_um=64.0)

    page = draw_slide(
        np.full((600, 600, 3), 230, np.uint8), labels, none, None, nodes,
        titles=("S1", "no lymph node was found"), um_per_px=None, note="n",
    )  # fmt: skip

    width, height = Image.open(io.BytesIO(page)).size
    assert 600 < width < 1200
    assert 600 < height < 800


def test_numbers_keep_clear_of_nodes_and_of_each_other() -> None:
    labels = np.zeros((400, 400), np.int32)
    for number, (x, y) in enumerate([(60, 200), (150, 200), (240, 200), (240, 290)], start=1):
        labels[_disc((400, 400), x, y, 42)] = number

    badges = place_badges(labels, [(n, (0, 0, 0), False) for n in (1, 2, 3, 4)])

    assert [badge.text for badge in badges] == ["1", "2", "3", "4"]
    covered = np.zeros((400, 400), int)
    for left, top, right, bottom in (badge.box for badge in badges):
        assert min(left, top) >= 0
        assert max(right, bottom) <= 400
        covered[top:bottom, left:right] += 1
    assert covered.max() == 1
    assert not (labels[covered > 0] > 0).any()


def test_the_table_leaves_out_nodes_without_tumour_first() -> None:
    n = MOST_ROWS + 10
    nodes = pd.DataFrame({
        "node_id": np.arange(1, n + 1), "node_area_mm2": 4.0,
        "tumour_area_mm2": np.where(np.arange(n) >= n - 5, 1.0, 0.0),
        "ratio": np.where(np.arange(n) >= n - 5, 0.25, 0.0), "largest_deposit_mm": 1.0,
        "metastatic": np.arange(n) >= n - 5, "size_class": "",
    })  # fmt: skip

    rows, left_out = table_rows(nodes)

    assert len(rows) == MOST_ROWS
    assert [row[0] for row in rows[-5:]] == [str(n - i) for i in (4, 3, 2, 1, 0)]
    assert left_out == "and 10 more without tumour, see nodes.csv"


def test_numbers_read_as_a_pathologist_writes_them() -> None:
    areas = [area_text(v) for v in (0.0, 0.0002, 0.0123, 0.456, 9.876, 25.34, 412.4, None)]
    assert areas == ["0", "< 0.001", "0.012", "0.46", "9.88", "25.3", "412", DASH]
    # 1.97 mm and 0.199 mm are below the limits of their classes, and stay so when rounded.
    lengths = [length_text(v) for v in (0.0, 0.084, 0.199, 0.2, 1.97, 2.0, 12.03)]
    assert lengths == [DASH, "0.08", "0.199", "0.20", "1.97", "2.0", "12.0"]
    shares = [share_text(v) for v in (0.0, 0.0002, 0.25251, 1.0, float("nan"))]
    assert shares == ["0.0", "< 0.1", "25.3", "100.0", DASH]


@pytest.mark.parametrize(
    ("metastatic", "size", "tumour", "text"),
    [(True, "macro", 3.0, "macro"), (True, "ITC", 0.02, "ITC"),
     (False, "ITC", 0.02, "ITC, not counted"), (False, "", 0.004, "too little, not counted"),
     (False, "", 0.0, "")],
)  # fmt: skip
def test_a_node_that_does_not_count_says_so(
    metastatic: bool, size: str, tumour: float, text: str
) -> None:
    row = {"metastatic": metastatic, "size_class": size, "tumour_area_mm2": tumour}

    assert class_text(row) == text
