"""Write class masks and maps of probabilities as pyramidal TIFFs, in memory that stays flat."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image as PillowImage

from histokeras import files
from histokeras.types import IGNORE

Grey = npt.NDArray[np.uint8]
"""Shape (height, width)."""
Paste = Callable[[int, int, Grey], None]
"""Left, top and pixels of a part that is finished."""
_TILE_PX = 256
_STRIP_PX = 256
_FACTOR = 4
_BUFFER_BYTES = 1 << 23
_LEAST_PX = 256
_WHITE = (255, 255, 255)


@contextmanager
def class_mask_writer(
    path: Path,
    size_px: tuple[int, int],
    colours: Sequence[Sequence[int]],
    *,
    mpp: float | None,
) -> Iterator[Paste]:
    """Write a class mask part by part.

    A tiled palette TIFF: its numbers are the classes, and OpenSlide and viewers show it in the
    colours of the classes. In coarser levels a pixel has the class of most pixels under it.

    Args:
        path: The file, ``.tif``; its folder must exist. It is there when the block ends well.
        size_px: (width, height).
        colours: Red, green and blue, 0..255, of each class.
        mpp: Micrometres per pixel, which OpenSlide then tells; None if unknown.

    Yields:
        What takes the finished parts, uint8 class numbers; pixels that none is given for are
        ``IGNORE``, shown white.

    Raises:
        OutputError: If it cannot be written.
    """
    palette = np.zeros((3, 256), np.uint16)
    for number, colour in [*enumerate(colours), (IGNORE, _WHITE)]:
        # 16 bits a colour: 257 takes 255 to 65535.
        palette[:, number] = np.asarray(colour, np.uint16) * 257
    with _writer(path, size_px, mpp, IGNORE, most_frequent, palette) as paste:
        yield paste


@contextmanager
def probability_writer(
    path: Path, size_px: tuple[int, int], *, mpp: float | None
) -> Iterator[Paste]:
    """Write a map of probabilities part by part: a tiled grey TIFF.

    Args:
        path: The file, ``.tif``; its folder must exist. It is there when the block ends well.
        size_px: (width, height).
        mpp: Micrometres per pixel; None if unknown.

    Yields:
        What takes the finished parts, uint8: probability x 255; the others are 0.

    Raises:
        OutputError: If it cannot be written.
    """
    with _writer(path, size_px, mpp, 0, _mean, None) as paste:
        yield paste


def most_frequent(mask: Grey, factor: int = _FACTOR) -> Grey:
    """Shrink a class mask: the most frequent class of each square, of equals the lowest.

    Args:
        mask: uint8 (h, w); the last squares may be cut off.
        factor: Pixels along a square.

    Returns:
        uint8 (ceil(h / factor), ceil(w / factor)).
    """
    if factor == 1:
        return mask
    height, width = (-(-side // factor) for side in mask.shape)
    most = np.zeros((height, width), np.int64)
    found = np.full((height, width), IGNORE, np.uint8)
    beyond = [(0, -side % factor) for side in mask.shape]
    for number in np.unique(mask):
        here = np.pad(mask == number, beyond).reshape(height, factor, width, factor)
        count = np.count_nonzero(here, axis=(1, 3))
        more = count > most
        most[more], found[more] = count[more], number
    return found


def read_class_mask(path: Path, most_px: int) -> tuple[Grey, int]:
    """Read a class mask of ours, shrunk until it has no more than so many pixels.

    Args:
        path: File of :func:`class_mask_writer`.
        most_px: How many pixels it may have; no fewer than one of its TIFF tiles leaves.

    Returns:
        The mask and the factor: the least power of two, up to 256, that is enough.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        height, width = page.shape
        factor = 1
        while -(-height // factor) * -(-width // factor) > most_px and factor < _TILE_PX:
            factor *= 2
        found = np.full((-(-height // factor), -(-width // factor)), IGNORE, np.uint8)
        for tile, place, _ in page.segments():
            if tile is None:
                continue
            top, left = place[-3], place[-2]
            rows, columns = min(_TILE_PX, height - top), min(_TILE_PX, width - left)
            small = most_frequent(np.squeeze(tile)[:rows, :columns], factor)
            y, x = top // factor, left // factor
            found[y : y + small.shape[0], x : x + small.shape[1]] = small
    return found, factor


def _mean(values: Grey) -> Grey:
    return np.asarray(PillowImage.fromarray(values).reduce(_FACTOR))


class _Raster:
    """An image on disk, written and read in parts."""

    # No memory map: on a full disk it would end the process without a word.

    def __init__(self, scratch: Path, shape: tuple[int, int], fill: int) -> None:
        self._place, self.shape, self._fill = scratch, shape, np.uint8(fill)
        with scratch.open("wb") as file:
            # Nothing but holes yet; a hole reads as 0, so numbers are stored less `fill`.
            file.truncate(shape[0] * shape[1])

    def put(self, left: int, top: int, pixels: Grey) -> None:
        scratch, (height, width) = self._place, self.shape
        if left + pixels.shape[1] > width or top + pixels.shape[0] > height:
            raise ValueError(
                f"no such part of {width} x {height} px. "
                f"Received: left={left}, top={top}, shape={pixels.shape}"
            )
        # Unsigned bytes wrap around, here and back.
        stored = pixels - self._fill
        with scratch.open("r+b") as file:
            if stored.shape[1] == width:
                stored = stored.reshape(1, -1)
            for row, line in enumerate(stored):
                file.seek((top + row) * width + left)
                file.write(line.tobytes())

    def strips(self) -> Iterator[Grey]:
        scratch, (height, width) = self._place, self.shape
        with scratch.open("rb") as file:
            for top in range(0, height, _STRIP_PX):
                rows = min(_STRIP_PX, height - top)
                strip = np.frombuffer(file.read(rows * width), np.uint8).reshape(rows, width)
                yield strip + self._fill


@contextmanager
def _writer(
    path: Path,
    size_px: tuple[int, int],
    mpp: float | None,
    fill: int,
    shrunk: Callable[[Grey], Grey],
    palette: npt.NDArray[np.uint16] | None,
) -> Iterator[Paste]:
    width, height = size_px
    with ExitStack() as stack:
        scratch = stack.enter_context(files.scratch_path(path.with_name(f"{path.name}.level0")))
        level = _Raster(scratch, (height, width), fill)
        yield level.put
        with (
            files.temporary_path(path) as part,
            tifffile.TiffWriter(part, bigtiff=width * height > 1 << 31) as writer,
        ):
            factor = 1
            while True:
                strips: Iterator[Grey] = level.strips()
                last = max(level.shape) < _FACTOR * _LEAST_PX
                if not last:
                    name = path.with_name(f"{path.name}.level{factor * _FACTOR}")
                    scratch = stack.enter_context(files.scratch_path(name))
                    shape = (-(-level.shape[0] // _FACTOR), -(-level.shape[1] // _FACTOR))
                    coarser = _Raster(scratch, shape, fill)
                    strips = _aside(strips, coarser, shrunk)
                _write_level(writer, strips, level.shape, factor, mpp, fill, palette)
                if last:
                    break
                level, factor = coarser, factor * _FACTOR


def _aside(
    strips: Iterator[Grey], coarser: _Raster, shrunk: Callable[[Grey], Grey]
) -> Iterator[Grey]:
    """Hand strips on and lay them aside at a quarter of their size."""
    for number, strip in enumerate(strips):
        coarser.put(0, number * _STRIP_PX // _FACTOR, shrunk(strip))
        yield strip


def _write_level(
    writer: tifffile.TiffWriter,
    strips: Iterator[Grey],
    shape: tuple[int, int],
    factor: int,
    mpp: float | None,
    fill: int,
    palette: npt.NDArray[np.uint16] | None,
) -> None:
    writer.write(
        _tiles(strips, fill),
        shape=shape,
        dtype=np.uint8,
        tile=(_TILE_PX, _TILE_PX),
        photometric="minisblack" if palette is None else "palette",
        colormap=palette,
        compression="deflate",
        # Else a quarter of a gigabyte of tiles is laid up before they are written.
        buffersize=_BUFFER_BYTES,
        subfiletype=int(factor > 1),
        resolution=(1.0, 1.0) if mpp is None else (1e4 / (mpp * factor),) * 2,
        resolutionunit="NONE" if mpp is None else "CENTIMETER",
        metadata=None,
        software=False,
    )


def _tiles(strips: Iterator[Grey], fill: int) -> Iterator[Grey]:
    """Cut strips into TIFF tiles; tiles at the edges are filled up."""
    for strip in strips:
        beyond = [(0, -side % _TILE_PX) for side in strip.shape]
        padded = np.pad(strip, beyond, constant_values=fill)
        for top in range(0, padded.shape[0], _TILE_PX):
            for left in range(0, padded.shape[1], _TILE_PX):
                yield np.ascontiguousarray(padded[top : top + _TILE_PX, left : left + _TILE_PX])
