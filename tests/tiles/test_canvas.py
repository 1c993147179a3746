import numpy as np

from histokeras.tiles.canvas import Canvas


def test_tiles_lie_where_they_belong_and_overlaps_are_averaged() -> None:
    canvas = Canvas((4, 2), (400, 200))

    canvas.add((0, 0, 200, 200), np.full((1, 1), 0.2, np.float32))
    canvas.add((100, 0, 200, 200), np.full((1, 1), 0.6, np.float32))

    nan = np.nan
    np.testing.assert_allclose(canvas.values(), [[0.2, 0.4, 0.6, nan]] * 2, rtol=1e-6)
    assert canvas.place((100, 0, 200, 200)) == (1, 0, 3, 2)


def test_a_tile_smaller_than_a_pixel_is_not_lost_nor_one_at_the_rim() -> None:
    canvas = Canvas((3, 3), (3000, 3000))

    canvas.add((1000, 1000, 10, 10), np.ones((1, 1), np.float32))
    canvas.add((2990, 2990, 10, 10), np.ones((1, 1), np.float32))

    assert np.argwhere(np.isfinite(canvas.values())).tolist() == [[1, 1], [2, 2]]


def test_a_map_of_many_fields_keeps_its_sides() -> None:
    canvas = Canvas((4, 4), (4, 4))
    values = np.arange(16, dtype=np.float32).reshape(4, 4)

    canvas.add((0, 0, 4, 4), values)

    np.testing.assert_array_equal(canvas.values(), values)
