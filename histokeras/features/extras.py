"""What is noted of each kept tile while it is read anyway: the floor vector, a hash, a picture.

Where stains are normalised, the floor and the pictures are of the changed tile: the floor must have
what the network has, or their difference says nothing. The hash is of the tile as it was read: the
same tile in two slides is the same, whatever stain each slide is brought to. Which tiles are kept
is settled before, by their own pixels.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image as PillowImage
from PIL import ImageDraw
from scipy import ndimage

from histokeras.features.stained import StainChange, estimate_stain
from histokeras.tiles.texture import FLOOR_NAMES, stain_texture

if TYPE_CHECKING:
    from histokeras.features.sources import OpenTiles, Source
    from histokeras.slides.source import Image

SLIDE_PICTURES, MAX_PICTURES = 64, 512
"""Tiles of which a picture is kept: of a slide, and of a folder of ready-made tiles, which stands
for many slides. A picture takes 4 to 5 kB."""
PICTURE_PX = 128
OVERVIEW_PX = 480
_QUALITY = 80
_FRAME = (0, 114, 178)
"""Blue that occurs in no H&E, the colour of kept tiles in ``histokeras tile``'s pictures."""
_FRAMED_PX = 10
"""Tiles smaller than this on the overview are framed together, not one by one."""


@dataclass(frozen=True, eq=False)
class TileExtras:
    """What is known of the tiles of one feature file beside their features.

    Attributes:
        floor: float32 ``(n_tiles, n_numbers)``: colour and texture, what a network must beat, of
            the pixels that the network saw.
        pixel_hash: uint64 ``(n_tiles,)``: equal for equal pixels as read, see :func:`pixel_hash`.
        pictures: Row in the feature file -> JPEG of the tile as the network saw it, at most
            ``MAX_PICTURES``.
        overview: JPEG of the slide with its kept tiles framed, None where there is none.
        names: What the columns of ``floor`` are.
    """

    floor: npt.NDArray[np.float32]
    pixel_hash: npt.NDArray[np.uint64]
    pictures: Mapping[int, bytes]
    overview: bytes | None
    names: tuple[str, ...] = FLOOR_NAMES

    def __post_init__(self) -> None:
        n = len(self.floor)
        if self.floor.shape != (n, len(self.names)) or self.pixel_hash.shape != (n,):
            raise ValueError(
                f"`floor` must be (n, {len(self.names)}) and `pixel_hash` (n,). Received: shapes "
                f"{self.floor.shape} and {self.pixel_hash.shape}"
            )

    def __len__(self) -> int:
        return len(self.floor)


def pixel_hash(image: Image) -> int:
    """Return the 8-byte BLAKE2b of a tile's shape and pixels, as an unsigned number.

    Args:
        image: Shape (height, width, 3), uint8 RGB, as read, before its stain is normalised.
    """
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(image).data)
    return int.from_bytes(digest.digest(), "little")


class NotedTiles:
    """Tiles of an open source that notes the extras of each kept tile as it is read.

    Reading threads share that work. Nothing depends on the order in which they come.

    Args:
        tiles: The open slide or folder; ``rows`` ascend.
        stain: How the stain of its tiles is normalised; None if it is not.
    """

    def __init__(self, tiles: OpenTiles, stain: StainChange | None = None) -> None:
        self.tiles = tiles
        self.stain = stain
        self.rows = tiles.rows
        self._floor = np.zeros((len(self.rows), len(FLOOR_NAMES)), np.float32)
        self._hashes = np.zeros(len(self.rows), np.uint64)
        self._pictures: dict[int, tuple[bytes, bytes]] = {}
        self._limit: bytes | None = None
        self._lock = threading.Lock()

    def read(self, row: int) -> tuple[Image, float, bool]:
        """Return image as the network shall see it, background and whether the tile is kept."""
        image, background, kept = self.tiles.read(row)
        if kept:
            position = int(np.searchsorted(self.rows, row))
            self._hashes[position] = pixel_hash(image)
            if self.stain is not None:
                image = self.stain.change(row, image)
            self._floor[position] = stain_texture(image)
            self._note_picture(row, image)
        return image, background, kept

    def close(self) -> None:
        """Give back the file handle."""
        self.tiles.close()

    def _note_picture(self, row: int, image: Image) -> None:
        """Keep the pictures of those rows whose number has the smallest hash: an even sample."""
        key = hashlib.blake2b(str(row).encode(), digest_size=8).digest()
        # Read without the lock: it only falls, so an old value means a picture in vain at worst.
        limit = self._limit
        if limit is not None and key > limit:
            return
        picture = key, tile_jpeg(image)
        with self._lock:
            self._pictures[row] = picture
            if len(self._pictures) > self.tiles.n_pictures:
                del self._pictures[max(self._pictures, key=self._key)]
            if len(self._pictures) == self.tiles.n_pictures:
                self._limit = max(key for key, _ in self._pictures.values())

    def _key(self, row: int) -> bytes:
        return self._pictures[row][0]

    def extras(self, manifest: pd.DataFrame) -> TileExtras:
        """Return what was noted, once all tiles have been read.

        Args:
            manifest: The finished manifest; its kept rows are those of the feature file.
        """
        kept = np.flatnonzero(manifest["kept"].to_numpy(bool))
        positions = np.searchsorted(self.rows, kept)
        numbers = {int(row): number for number, row in enumerate(kept)}
        return TileExtras(
            self._floor[positions],
            self._hashes[positions],
            {numbers[row]: self._pictures[row][1] for row in sorted(self._pictures)},
            self.tiles.overview(manifest),
        )


def open_noted(source: Source, stain_norm: str = "none") -> NotedTiles:
    """Open a slide or folder so that the extras of its tiles are noted.

    Args:
        source: The slide or folder.
        stain_norm: How the stain of its tiles is normalised.

    Raises:
        SlideError: If it cannot be opened, or STAIN_UNKNOWN.
    """
    tiles = source.open()
    try:
        return NotedTiles(tiles, estimate_stain(tiles, stain_norm))
    except BaseException:
        tiles.close()
        raise


def tile_jpeg(image: Image) -> bytes:
    """Return a small picture of a tile, at most ``PICTURE_PX`` wide and high, without metadata.

    Args:
        image: Shape (height, width, 3), uint8 RGB.
    """
    return _jpeg(_fitted(image, PICTURE_PX))


def overview_jpeg(
    thumbnail: Image, dimensions: tuple[int, int], manifest: pd.DataFrame
) -> bytes | None:
    """Draw the kept tiles on a picture of the slide that is in memory already.

    Args:
        thumbnail: The whole slide, shape (height, width, 3), uint8 RGB.
        dimensions: Width and height of the slide at level 0, in pixels.
        manifest: Its finished manifest.

    Returns:
        A JPEG, ``OVERVIEW_PX`` on its longer side, without metadata; None if it cannot be drawn,
        for features do not need it.
    """
    try:
        # Enlarged too, so that frames are thin beside the tissue.
        picture = _fitted(thumbnail, OVERVIEW_PX, enlarge=True)
        _frame(picture, dimensions, manifest[manifest["kept"].astype(bool)])
        return _jpeg(picture)
    except (ArithmeticError, LookupError, MemoryError, OSError, TypeError, ValueError):
        return None


def _frame(picture: PillowImage.Image, dimensions: tuple[int, int], kept: pd.DataFrame) -> None:
    """Frame each tile, or together those too small to be framed one by one."""
    scale = np.array([picture.width, picture.height]) / dimensions
    corners = kept[["x", "y"]].to_numpy(np.float64)
    sides = kept[["size_level0_px"]].to_numpy(np.float64)
    # Rounded, so that neighbours share an edge and leave no gap between them.
    boxes = np.hstack([corners * scale, (corners + sides) * scale]).round().astype(int)
    if len(boxes) and np.min(sides * scale) >= _FRAMED_PX:
        draw = ImageDraw.Draw(picture)
        for x0, y0, x1, y1 in boxes.tolist():
            draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=_FRAME, width=1)
        return
    covered = np.zeros((picture.height, picture.width), bool)
    for x0, y0, x1, y1 in boxes.tolist():
        covered[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
    pixels = np.asarray(picture).copy()
    pixels[covered & ~ndimage.binary_erosion(covered)] = _FRAME
    picture.paste(PillowImage.fromarray(pixels))


def _fitted(image: Image, side_px: int, *, enlarge: bool = False) -> PillowImage.Image:
    """Return the image with its longer side ``side_px``, or less if it may not be enlarged."""
    height, width = image.shape[:2]
    scale = side_px / max(height, width)
    scale = scale if enlarge else min(1.0, scale)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    way = PillowImage.Resampling.BICUBIC if scale > 1 else PillowImage.Resampling.BOX
    return PillowImage.fromarray(image).resize(size, way)


def _jpeg(picture: PillowImage.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()
