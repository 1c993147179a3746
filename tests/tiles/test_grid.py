import dataclasses

import numpy as np
import pytest

from histokeras.errors import ConfigError
from histokeras.tiles.grid import TileSpec, grid_origins


def test_the_defaults_are_those_of_the_write_up() -> None:
    assert dataclasses.asdict(TileSpec()) == {
        "size_px": 299,
        "mpp": 0.5,
        "overlap_px": 0,
        "max_background": 0.25,
        "mpp_tolerance": 0.05,
        "tissue": "luminance",
    }


def test_only_whole_tiles_are_laid() -> None:
    origins = grid_origins((900, 700), 299, 299)

    assert origins.tolist() == [[0, 0], [299, 0], [598, 0], [0, 299], [299, 299], [598, 299]]
    assert origins.dtype == np.int64


@pytest.mark.parametrize(("width", "n"), [(298, 0), (299, 1), (597, 1), (598, 2)])
def test_a_tile_that_fits_exactly_counts(width: int, n: int) -> None:
    assert len(grid_origins((width, 299), 299, 299)) == n


def test_each_pixel_of_the_grid_is_covered_once() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        width, height, size = rng.integers(1, 400, 3)
        covered = np.zeros((height, width), int)
        for x, y in grid_origins((width, height), size, size):
            covered[y : y + size, x : x + size] += 1
        inside = covered[: height // size * size, : width // size * size]
        assert (inside == 1).all()
        assert covered.sum() == inside.size


def test_overlap_shortens_the_step() -> None:
    assert grid_origins((500, 200), 200, 150)[:, 0].tolist() == [0, 150, 300]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size_px": 0}, r"`size_px` is 8 to 8192 pixels. Received: size_px=0"),
        ({"overlap_px": 299}, r"`overlap_px` is 0 to size_px - 1"),
        ({"overlap_px": -1}, r"`overlap_px`"),
        ({"max_background": 25}, r"a fraction, 0 to 1. Received: max_background=25"),
        ({"max_background": float("nan")}, r"`max_background`"),
        ({"mpp": 0.0}, r"`mpp` is 0.05 to 20"),
        ({"mpp_tolerance": 5}, r"`mpp_tolerance`"),
        ({"tissue": "magic"}, r"luminance, otsu, none, geojson. Received: tissue='magic'"),
    ],
)
def test_impossible_specs_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TileSpec(**options)  # type: ignore[arg-type]
