import itertools

import numpy as np
import pytest
from scipy import ndimage

from histokeras.analysis.lymph_size import greatest_dimension, measure_deposits


def test_rectangle_is_as_long_as_its_diagonal() -> None:
    mask = np.zeros((9, 9), np.bool_)
    mask[2:5, 3:7] = True

    assert greatest_dimension(mask) == 5
    assert greatest_dimension(mask[2:3, 3:4]) == pytest.approx(2**0.5)
    assert greatest_dimension(np.zeros((3, 3), np.bool_)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_greatest_dimension_is_that_of_all_pairs_of_corners(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.normal(size=(25, 30)), 2) > 0.1
    corners = {
        (y + down, x + right)
        for y, x in np.argwhere(mask).tolist()
        for down, right in itertools.product((0, 1), (0, 1))
    }

    expected = max(np.hypot(a[0] - b[0], a[1] - b[1]) for a in corners for b in corners)

    assert greatest_dimension(mask) == pytest.approx(expected)


def test_largest_deposit_is_the_longest_one() -> None:
    mask = np.zeros((20, 30), np.bool_)
    mask[:8, :8] = True
    mask[15, 3:27] = True
    # Touching corners connect.
    mask[8, 8] = True

    n_deposits, largest_px, area_px = measure_deposits(mask)

    assert (n_deposits, area_px) == (2, 24)
    assert largest_px == pytest.approx(np.hypot(24, 1))
    assert measure_deposits(mask[9:14]) == (0, 0.0, 0)
