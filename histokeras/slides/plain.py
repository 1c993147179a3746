"""Plain PNG, JPEG and TIFF images as slides of one level, with bounded memory.

A TIFF is decoded strip by strip or tile by tile, only where the window lies. Other images are
decoded once, under a limit that is checked before anything is allocated.
"""

import io
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import tifffile
from PIL import Image as PillowImage

from histokeras.errors import SlideError
from histokeras.slides.checks import not_brightfield, require_reasonable_size
from histokeras.slides.header import colour_remark
from histokeras.slides.source import (
    REMARK,
    RESOLUTION_UNIT,
    RESOLUTION_X,
    RESOLUTION_Y,
    Image,
    SlideSource,
)

PICTURE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
"""What Pillow may take a picture for, whatever its name: of EPS it would run Ghostscript."""
_CACHE_BYTES = 64 << 20
_GREY_MODES = frozenset({"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L"})
_RGB_PHOTOMETRICS = frozenset({2, 6})
_PALETTE = 3
_MOST_CHANNELS = 4
# None, LZW, deflate (two numbers), PackBits, LZMA, Zstandard: they decode into the piece's size.
_PLAIN_CODECS = frozenset({1, 5, 8, 32773, 32946, 34925, 50000})
# JPEG, JPEG 2000 (four numbers), WebP: pieces that are pictures, with a size of their own.
_PICTURE_CODECS = frozenset({7, 33003, 33004, 33005, 34712, 50001})
_UNITS = {2: "inch", 3: "centimeter"}


def _too_large(name: str, size: tuple[int, int]) -> SlideError:
    return SlideError(
        f"image `{name}` has {size[0]} x {size[1]} px and must be decoded whole; at most "
        f"{PillowImage.MAX_IMAGE_PIXELS} px are.",
        code="SLIDE_TOO_LARGE",
        hint="Convert it to a tiled TIFF.",
    )


def open_plain(path: Path) -> SlideSource:
    """Open a plain image by its content.

    Args:
        path: A PNG, JPEG or TIFF.

    Returns:
        A source of one level.

    Raises:
        SlideError: NOT_BRIGHTFIELD, SLIDE_TOO_LARGE or SLIDE_UNREADABLE.
    """
    with path.open("rb") as file:
        is_tiff = file.read(2) in (b"II", b"MM")
    try:
        return _open_tiff(path) if is_tiff else _PillowSource(path)
    except SlideError:
        raise
    except Exception as error:
        # tifffile and Pillow raise a dozen kinds on damaged headers.
        raise SlideError(
            f"image `{path.name}` cannot be opened: {error}.", hint="Download or export it again."
        ) from error


def white_composite(picture: PillowImage.Image, name: str) -> Image:
    """Return a Pillow image as RGB on white.

    Args:
        picture: RGB, RGBA, CMYK, YCbCr or a palette image.
        name: Its name, for messages.

    Returns:
        Array of shape (height, width, 3), uint8.

    Raises:
        SlideError: NOT_BRIGHTFIELD for greyscale, 16-bit and float images.
    """
    if picture.mode in _GREY_MODES:
        raise not_brightfield(name, f"greyscale or deeper than 8 bits (mode {picture.mode})")
    if picture.has_transparency_data:
        layers = picture.convert("RGBA")
        white = PillowImage.new("RGBA", picture.size, (255, 255, 255, 255))
        return np.asarray(PillowImage.alpha_composite(white, layers).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def open_picture(
    source: Path | IO[bytes], *, name: str = "", formats: Sequence[str] = PICTURE_FORMATS
) -> PillowImage.Image:
    """Open (not yet decode) an image with Pillow, under its limit of pixels.

    Args:
        source: The image: a file, or its bytes in memory.
        name: What it is called in messages; the file's own name if empty.
        formats: What Pillow may take it for.

    Returns:
        The lazy image; close it.

    Raises:
        SlideError: SLIDE_TOO_LARGE.
    """
    name = name or (source.name if isinstance(source, Path) else "picture")
    with warnings.catch_warnings():
        # The size is judged below; Pillow's own warning would come as a second voice.
        warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
        try:
            picture = PillowImage.open(source, formats=tuple(formats))
        except PillowImage.DecompressionBombError as error:
            raise SlideError(
                f"image `{name}` is too large to be decoded whole: {error}",
                code="SLIDE_TOO_LARGE",
                hint="Convert it to a tiled TIFF.",
            ) from error
    width, height = picture.size
    if width * height > (PillowImage.MAX_IMAGE_PIXELS or 0):
        picture.close()
        raise _too_large(name, (width, height))
    return picture


def _window(pixels: Image, location: tuple[int, int], size: tuple[int, int]) -> Image:
    """Cut a window out of ``pixels``; white where it sticks out."""
    x, y = location
    width, height = size
    left, top = max(x, 0), max(y, 0)
    inside = pixels[top : max(y + height, 0), left : max(x + width, 0), :3]
    if inside.shape[:2] == (height, width):
        return np.ascontiguousarray(inside)
    window = np.full((height, width, 3), 255, np.uint8)
    window[top - y : top - y + inside.shape[0], left - x : left - x + inside.shape[1]] = inside
    return window


class _PillowSource:
    """An image that is decoded once, whole, at the first read."""

    vendor: str | None = None
    level_downsamples: tuple[float, ...] = (1.0,)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pixels: Image | None = None
        self._lock = threading.Lock()
        with open_picture(path) as picture:
            if picture.mode in _GREY_MODES:
                raise not_brightfield(path.name, f"greyscale or 16-bit (mode {picture.mode})")
            self.level_dimensions: tuple[tuple[int, int], ...] = (picture.size,)
            self.properties = _pillow_properties(picture)

    def read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image:
        with self._lock:
            if self._pixels is None:
                with open_picture(self._path) as picture:
                    self._pixels = white_composite(picture, self._path.name)
            return _window(self._pixels, location, size)

    def close(self) -> None:
        self._pixels = None


def _pillow_properties(picture: PillowImage.Image) -> Mapping[str, str]:
    properties = {"histokeras.format": picture.format or ""}
    dpi = picture.info.get("dpi")
    if dpi:
        properties |= {RESOLUTION_X: str(float(dpi[0])), RESOLUTION_Y: str(float(dpi[1]))}
        properties[RESOLUTION_UNIT] = "inch"
    profile = picture.info.get("icc_profile")
    if picture.format != "TIFF" and (profile or picture.mode == "CMYK"):
        properties[REMARK] = colour_remark(picture.mode, profile)
    return properties


def _open_tiff(path: Path) -> SlideSource:
    tiff = tifffile.TiffFile(path)
    try:
        page = tiff.pages[0]
        size = (int(page.imagewidth), int(page.imagelength))
        is_grey = page.samplesperpixel < 3 and page.photometric != _PALETTE
        if page.samplesperpixel > _MOST_CHANNELS:
            raise not_brightfield(path.name, f"of {page.samplesperpixel} channels")
        if page.dtype != np.uint8 or is_grey:
            raise not_brightfield(path.name, f"{page.dtype} with {page.samplesperpixel} channel(s)")
        block = (
            int(page.tilewidth) if page.is_tiled else size[0],
            int(page.tilelength) if page.is_tiled else min(int(page.rowsperstrip), size[1]),
        )
        require_reasonable_size(size, block, path.name)
        decoded = int(page.compression) in _PLAIN_CODECS | _PICTURE_CODECS
        rgb = int(page.photometric) in _RGB_PHOTOMETRICS and int(page.planarconfig) == 1
        if rgb and decoded:
            return _TiffSource(path.name, tiff, block)
    except BaseException:
        tiff.close()
        raise
    # Palettes, CMYK, separate planes and odd codecs are rare: Pillow decodes them whole.
    tiff.close()
    return _PillowSource(path)


def _tiff_properties(page: Any) -> Mapping[str, str]:
    properties = {"histokeras.format": "TIFF"}
    for name, key in (("XResolution", RESOLUTION_X), ("YResolution", RESOLUTION_Y)):
        tag = page.tags.get(name)
        if tag is not None and tag.value[1]:
            properties[key] = str(tag.value[0] / tag.value[1])
    unit = page.tags.get("ResolutionUnit")
    # The TIFF standard's own default is the inch.
    properties[RESOLUTION_UNIT] = _UNITS.get(int(unit.value) if unit is not None else 2, "none")
    return properties


class _TiffSource:
    """An RGB TIFF, decoded piece by piece; the last pieces are kept up to a limit of bytes."""

    vendor: str | None = None
    level_downsamples: tuple[float, ...] = (1.0,)

    def __init__(self, name: str, tiff: Any, block: tuple[int, int]) -> None:
        self._name, self._tiff, self._page = name, tiff, tiff.pages[0]
        self._block = block
        self._cache: OrderedDict[int, Image] = OrderedDict()
        self._lock = threading.Lock()
        width, height = int(self._page.imagewidth), int(self._page.imagelength)
        self._across = -(-width // block[0])
        self.level_dimensions: tuple[tuple[int, int], ...] = ((width, height),)
        self.properties = _tiff_properties(self._page)

    def read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image:
        x, y = location
        width, height = self.level_dimensions[0]
        window = np.full((size[1], size[0], 3), 255, np.uint8)
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + size[0], width), min(y + size[1], height)
        block_width, block_height = self._block
        for row in range(top // block_height, -(-bottom // block_height)):
            for column in range(left // block_width, -(-right // block_width)):
                piece = self._piece(row * self._across + column)
                corner = (column * block_width - x, row * block_height - y)
                _paste(window, piece, corner)
        return window

    def _piece(self, index: int) -> Image:
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
            piece = self._decode(index)
            self._cache[index] = piece
            while (
                len(self._cache) > 1 and sum(p.nbytes for p in self._cache.values()) > _CACHE_BYTES
            ):
                self._cache.popitem(last=False)
            return piece

    def _cached_bytes(self) -> int:
        return sum(piece.nbytes for piece in self._cache.values())

    def _decode(self, index: int) -> Image:
        page, handle = self._page, self._tiff.filehandle
        handle.seek(page.dataoffsets[index])
        n_bytes = page.databytecounts[index]
        # Asked first: a damaged number would be allocated before anything is read.
        if page.dataoffsets[index] + n_bytes > handle.size:
            raise EOFError(f"piece {index} ends early")
        data = handle.read(n_bytes) or None
        if data and int(page.compression) in _PICTURE_CODECS:
            _require_own_size(data, self._block, index)
        decoded, _, shape = page.decode(data, index, jpegtables=page.jpegtables)
        if decoded is None:
            # A sparse piece: the file holds nothing there.
            return np.full((shape[1], shape[2], 3), 255, np.uint8)
        # Tiles at the rim are stored whole, padded beyond the image.
        width, height = self.level_dimensions[0]
        left, top = index % self._across * self._block[0], index // self._across * self._block[1]
        pixels: Image = decoded[0, : height - top, : width - left]
        if pixels.shape[-1] == 4:
            return white_composite(PillowImage.fromarray(pixels, "RGBA"), self._name)
        return pixels

    def close(self) -> None:
        self._tiff.close()


def _require_own_size(data: bytes, block: tuple[int, int], index: int) -> None:
    """Refuse a piece whose own header says more than the TIFF: it would be decoded at that size."""
    with PillowImage.open(io.BytesIO(data), formats=("JPEG", "JPEG2000", "WEBP")) as picture:
        # A strip at the rim may be stored whole or cut.
        if picture.width > block[0] or picture.height > block[1]:
            raise ValueError(
                f"piece {index} says it has {picture.width} x {picture.height} px, not "
                f"{block[0]} x {block[1]}"
            )


def _paste(window: Image, piece: Image, corner: tuple[int, int]) -> None:
    """Copy the part of ``piece`` that lies in ``window``; ``corner`` may be negative."""
    x, y = corner
    left, top = max(x, 0), max(y, 0)
    right = min(x + piece.shape[1], window.shape[1])
    bottom = min(y + piece.shape[0], window.shape[0])
    if right > left and bottom > top:
        window[top:bottom, left:right] = piece[top - y : bottom - y, left - x : right - x]
