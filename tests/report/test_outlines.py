"""Outlines lie on borders, half inside and half outside, and leave all else as it was."""

import numpy as np
import pytest

from histokeras.report.outlines import Outline, draw_outlines


def _near_border(inside, reach):
    """Return pixels whose centre is within ``reach`` of a border, corner by corner."""
    height, width = inside.shape
    found = np.zeros(inside.shape, bool)
    ys, xs = np.mgrid[:height, :width] + 0.5
    for y in range(height):
        for x in range(width):
            for j, i, corners in (
                (y, x + 1, ((y, x + 1), (y + 1, x + 1))),
                (y + 1, x, ((y + 1, x), (y + 1, x + 1))),
            ):
                if j < height and i < width and inside[y, x] != inside[j, i]:
                    for b, a in corners:
                        found |= (ys - b) ** 2 + (xs - a) ** 2 <= reach**2
    return found


@pytest.mark.parametrize("width_px", [2, 4, 6])
def test_a_line_is_centred_on_the_border(width_px):
    rng = np.random.default_rng(0)
    inside = np.kron(rng.random((5, 6)) < 0.4, np.ones((6, 6))).astype(bool)
    image = np.full((30, 36, 3), 90, np.uint8)
    before = image.copy()
    drawn = draw_outlines(image, [Outline(inside, "#ff8000", width_px)])
    marked = (drawn == (255, 128, 0)).all(axis=2)
    assert (marked == _near_border(inside, width_px // 2)).all()
    assert (drawn[~marked] == 90).all()
    assert (image == before).all()


def test_a_region_that_fills_the_picture_has_no_border():
    image = np.full((8, 8, 3), 90, np.uint8)
    assert (draw_outlines(image, [Outline(np.ones((8, 8), bool), "#000000", 4, 2)]) == 90).all()


def test_narrow_lines_over_wide_ones_leave_both_in_sight():
    inside = np.zeros((20, 20), bool)
    inside[6:14, 6:14] = True
    image = np.full((20, 20, 3), 90, np.uint8)
    drawn = draw_outlines(image, [Outline(inside, "#ffff00", 6), Outline(inside, "#0000ff", 2, 1)])
    row = drawn[10, :10].tolist()
    assert row[3] == row[8] == [255, 255, 0]
    assert row[4] == row[7] == [255, 255, 255]
    assert row[5] == row[6] == [0, 0, 255]


def test_regions_and_widths_that_do_not_fit_are_refused():
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="as large as the picture"):
        draw_outlines(image, [Outline(np.zeros((8, 7), bool), "#000000")])
    with pytest.raises(ValueError, match="`width_px` must be 2, 4, 6"):
        draw_outlines(image, [Outline(np.zeros((8, 8), bool), "#000000", 3)])
