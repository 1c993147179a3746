import numpy as np
import pytest

from histokeras.tiles.cells import CellGrid, interpolate


def grid(
    width: int = 1000, height: int = 700, *, stride: float = 64.0, mpp: float = 1.0
) -> CellGrid:
    return CellGrid(
        slide_px=(width, height), slide_mpp=mpp, tile_px=round(128 / mpp), tile_um=128.0,
        stride_um=stride,
    )  # fmt: skip


def test_a_cell_is_the_mean_of_the_tiles_that_cover_it() -> None:
    # 4 x 3 cells, 3 x 2 tiles, each over 2 x 2 cells.
    one = grid(256, 192)
    assert (one.shape, one.tile_shape, one.span) == ((3, 4), (2, 3), 2)
    tiles = np.array([[0.0, 0.4, 0.8], [1.0, np.nan, 0.2]], np.float32)
    by_hand = [
        [0.0, 0.2, 0.6, 0.8],
        [0.5, (0 + 0.4 + 1) / 3, (0.4 + 0.8 + 0.2) / 3, 0.5],
        [1.0, 1.0, 0.2, 0.2],
    ]
    np.testing.assert_allclose(one.means(tiles), by_hand, rtol=1e-6)
    nothing = one.means(np.full((2, 3), np.nan, np.float32))
    assert np.isnan(nothing).all()


@pytest.mark.parametrize("stride", [16.0, 32.0, 50.0, 64.0, 100.0, 128.0, 160.0])
@pytest.mark.parametrize("mpp", [1.0, 0.37])
def test_tiles_lie_centred_on_their_cells_and_end_at_the_edge(stride: float, mpp: float) -> None:
    one = grid(2701, 1903, stride=stride, mpp=mpp)
    rows, columns = one.tile_shape
    for axis, (n_tiles, side) in enumerate(((columns, 2701), (rows, 1903))):
        places = [(k, 0)[::-1] if axis == 0 else (k, 0) for k in range(n_tiles)]
        starts = np.array([one.origin(*place)[axis] for place in places])
        assert starts.min() >= 0
        assert starts.max() + one.tile_px <= side
        away = np.abs(
            (starts + one.tile_px / 2) * mpp - (np.arange(n_tiles) + one.span / 2) * stride
        )
        # No drift: each is rounded by itself. Those at the edges may be moved inwards.
        inner = (starts > 0) & (starts < side - one.tile_px)
        assert away[inner].max() <= 0.51 * mpp
        # By less than a stride, and half of what a tile has beyond its cells.
        assert away.max() < stride + max(0, 128 - one.span * stride) / 2
        assert side - (starts.max() + one.tile_px) <= max(0, stride - 128) / mpp + 1
    # Every cell has a tile.
    assert np.isfinite(one.means(np.zeros(one.tile_shape, np.float32))).all()


def test_a_slide_smaller_than_a_tile_has_one() -> None:
    one = grid(90, 500)
    assert one.tile_shape == (7, 1)
    assert one.origin(0, 0) == (0, 0)
    assert one.means(np.ones((7, 1), np.float32)).shape == (8, 2)


def test_only_tiles_whose_cells_meet_a_node_are_wanted() -> None:
    one = grid(640, 640)
    # 10 um a pixel: from 128 to 192 um across, that is cell 2 alone; from 190 to 200 down: 2 and 3.
    mask = np.ones((1, 6), np.bool_)
    box = (slice(19, 20), slice(13, 19))
    cells = one.cells_of(mask, box, 10.0)
    assert np.argwhere(cells).tolist() == [[2, 2], [3, 2]]
    wanted = one.tiles_of(cells)
    assert np.argwhere(wanted).tolist() == [[r, c] for r in (1, 2, 3) for c in (1, 2)]
    # Pixels larger than cells reach over several.
    coarse = one.cells_of(np.ones((1, 1), np.bool_), (slice(1, 2), slice(0, 1)), 200.0)
    rows, columns = np.nonzero(coarse)
    assert (sorted(set(rows)), sorted(set(columns))) == ([3, 4, 5, 6], [0, 1, 2, 3])


def test_heat_is_bilinear_between_the_middles_of_cells() -> None:
    cells = np.array([[0.0, 1.0], [np.nan, np.nan]], np.float32)
    # Middles at 32 and 96 um; pixels of 16 um have theirs at 8, 24, 40, 56, ...
    heat = interpolate(cells, (slice(0, 4), slice(0, 8)), px_um=16.0, stride_um=64.0)
    row = [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]
    np.testing.assert_allclose(heat[0], row, atol=1e-6)
    # The row of cells below has no value: it does not pull down.
    np.testing.assert_allclose(heat[3], row, atol=1e-6)
    alone = interpolate(cells, (slice(6, 8), slice(0, 8)), px_um=16.0, stride_um=64.0)
    assert np.isnan(alone).all()
    whole = interpolate(cells, (slice(0, 8), slice(0, 8)), px_um=16.0, stride_um=64.0)
    np.testing.assert_array_equal(whole[1:3, 2:6], interpolate(
        cells, (slice(1, 3), slice(2, 6)), px_um=16.0, stride_um=64.0))  # fmt: skip
