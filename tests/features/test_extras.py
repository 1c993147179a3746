import hashlib
import io
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histokeras.features.extras import (
    SLIDE_PICTURES,
    NotedTiles,
    overview_jpeg,
    pixel_hash,
    tile_jpeg,
)
from histokeras.tiles.texture import FLOOR_NAMES, stain_texture

BLUE = np.array([0, 114, 178])


def decoded(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    assert picture.format == "JPEG"
    return picture


class MadeTiles:
    """Tiles of plain colours; every seventh is not kept, and every third row is no candidate."""

    def __init__(self, n: int, *, thumbnail: bool = True) -> None:
        self.n = n
        self.rows = np.array([row for row in range(n) if row % 3], np.int64)
        self.identity: Mapping[str, Any] = {}
        self.facts: Mapping[str, Any] = {}
        self.thumbnail = thumbnail

    def image(self, row: int) -> np.ndarray:
        return np.full((16, 16, 3), (row % 256, row // 256, 100), np.uint8)

    def kept(self, row: int) -> bool:
        return row % 3 != 0 and row % 7 != 0

    def read(self, row: int) -> tuple[np.ndarray, float, bool]:
        return self.image(row), 0.0, self.kept(row)

    def close(self) -> None:
        self.n = 0

    def manifest(self, background: Mapping[int, float]) -> pd.DataFrame:
        return pd.DataFrame({"kept": [self.kept(row) for row in range(self.n)]})

    def empty(self, manifest: pd.DataFrame) -> None:
        return None

    def coords_attributes(self) -> dict[str, Any]:
        return {}

    n_pictures = SLIDE_PICTURES

    def overview(self, manifest: pd.DataFrame) -> bytes | None:
        return b"drawn" if self.thumbnail else None


def test_each_kept_tile_gets_the_numbers_of_its_own_pixels() -> None:
    tiles = MadeTiles(60)
    noted = NotedTiles(tiles)
    for row in noted.rows:
        image, _, kept = noted.read(int(row))
        np.testing.assert_array_equal(image, tiles.image(int(row)))
        assert kept == tiles.kept(int(row))

    extras = noted.extras(tiles.manifest({}))

    kept_rows = [row for row in range(60) if tiles.kept(row)]
    assert len(extras) == len(kept_rows) == 34
    for number, row in enumerate(kept_rows):
        image = tiles.image(row)
        np.testing.assert_array_equal(extras.floor[number], stain_texture(image))
        assert extras.pixel_hash[number] == pixel_hash(image)
        assert extras.pictures[number] == tile_jpeg(image)
    assert extras.overview == b"drawn"
    noted.close()
    assert tiles.n == 0


def test_pictures_are_those_of_the_smallest_hashes_in_any_order() -> None:
    tiles = MadeTiles(1500)
    manifest = tiles.manifest({})
    rows = tiles.rows.tolist()
    orders = [rows, rows[::-1], np.random.default_rng(0).permutation(rows).tolist()]
    found = []
    for order, threads in zip(orders, (1, 1, 8), strict=True):
        noted = NotedTiles(tiles)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(noted.read, order))
        found.append(noted.extras(manifest))

    kept_rows = [row for row in range(1500) if tiles.kept(row)]
    smallest = sorted(
        kept_rows, key=lambda row: hashlib.blake2b(str(row).encode(), digest_size=8).digest()
    )[:SLIDE_PICTURES]
    assert [kept_rows[number] for number in found[0].pictures] == sorted(smallest)
    assert max(smallest) > 1000
    for extras in found[1:]:
        assert dict(extras.pictures) == dict(found[0].pictures)
        np.testing.assert_array_equal(extras.floor, found[0].floor)
        np.testing.assert_array_equal(extras.pixel_hash, found[0].pixel_hash)


def test_equal_pixels_have_one_hash_and_others_another() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    other = image.copy()
    other[7, 7, 2] ^= 1

    assert pixel_hash(image) == pixel_hash(np.asfortranarray(image)) < 2**64
    assert pixel_hash(other) != pixel_hash(image)
    assert pixel_hash(image.reshape(4, 16, 3)) != pixel_hash(image)
    # The number of a 1 x 1 px black tile, by hand: shape as text, then three zero bytes.
    expected = hashlib.blake2b(b"(1, 1, 3)\0\0\0", digest_size=8).digest()
    assert pixel_hash(np.zeros((1, 1, 3), np.uint8)) == int.from_bytes(expected, "little")


@pytest.mark.parametrize(("size", "side"), [(299, 128), (128, 128), (64, 64), (1024, 128)])
def test_pictures_are_small_jpegs_of_the_tile_without_metadata(size: int, side: int) -> None:
    image = np.full((size, size, 3), (200, 120, 160), np.uint8)
    image[:, : size // 2] = (60, 40, 120)

    picture = decoded(tile_jpeg(image))

    assert picture.size == (side, side)
    pixels = np.asarray(picture).astype(int)
    np.testing.assert_allclose(pixels[side // 2, side // 4], (60, 40, 120), atol=6)
    np.testing.assert_allclose(pixels[side // 2, 3 * side // 4], (200, 120, 160), atol=6)
    assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert not picture.getexif()


def grid(columns: int, rows: int, side: int, kept: Callable[[int, int], bool]) -> pd.DataFrame:
    cells = [(column, row) for row in range(rows) for column in range(columns)]
    return pd.DataFrame(
        {
            "x": [side * column for column, _ in cells],
            "y": [side * row for _, row in cells],
            "size_level0_px": side,
            "kept": [kept(*cell) for cell in cells],
        }
    )


def blueness(data: bytes) -> np.ndarray:
    """Return 0 where the picture has the colour of frames, 1 where it is white."""
    distance = np.linalg.norm(np.asarray(decoded(data)).astype(float) - BLUE, axis=2)
    return distance / np.linalg.norm(255.0 - BLUE)


def test_kept_tiles_are_framed_on_the_overview() -> None:
    white = np.full((600, 900, 3), 255, np.uint8)
    manifest = grid(3, 2, 3000, lambda column, row: (column, row) == (1, 0))

    data = overview_jpeg(white, (9000, 6000), manifest)

    assert data is not None
    assert decoded(data).size == (480, 320)
    distance = blueness(data)
    assert distance[80, 160] < 0.5 > distance[159, 240]
    for y, x in ((80, 240), (80, 80), (240, 240), (80, 400)):
        assert distance[y, x] > 0.95


def test_tiles_too_small_for_frames_are_framed_together() -> None:
    white = np.full((480, 480, 3), 255, np.uint8)
    manifest = grid(100, 100, 100, lambda column, row: 25 <= column < 75 and 25 <= row < 75)

    data = overview_jpeg(white, (10_000, 10_000), manifest)

    assert data is not None
    assert decoded(data).size == (480, 480)
    distance = blueness(data)
    assert distance[240, 120] < 0.6 > distance[120, 240]
    assert distance[132:348, 132:348].min() > 0.9
    assert distance[:108].min() > 0.9


def test_what_cannot_be_drawn_fails_nothing() -> None:
    white = np.full((40, 40, 3), 255, np.uint8)

    assert overview_jpeg(white, (400, 400), pd.DataFrame({"kept": [True]})) is None
    one = grid(1, 1, 9, lambda *cell: True)
    assert overview_jpeg(np.zeros((0, 0, 3), np.uint8), (0, 0), one) is None
    nothing = overview_jpeg(white, (400, 400), grid(2, 2, 200, lambda *cell: False))
    assert nothing is not None
    assert blueness(nothing).min() > 0.95


def test_the_names_say_what_the_columns_are() -> None:
    tiles = MadeTiles(4)
    extras = NotedTiles(tiles).extras(pd.DataFrame({"kept": [False] * 4}))

    assert extras.names == FLOOR_NAMES
    assert extras.floor.shape == (0, len(FLOOR_NAMES))
    assert not extras.pictures
