"""Read what a mask file holds, before anything is said about what its values mean."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image as PillowImage

from histokeras.errors import HistokerasError, SlideError
from histokeras.foreign.text import read_limited
from histokeras.slides.checks import require_reasonable_size
from histokeras.slides.plain import open_picture

IMAGES = frozenset({".png", ".tif", ".tiff", ".bmp", ".webp", ".jpg", ".jpeg"})
TEXTS = frozenset({".txt", ".csv", ".tsv"})
REGIONS = frozenset({".geojson", ".json", ".xml"})
MASK_SUFFIXES = IMAGES | TEXTS | REGIONS
"""What a mask may be: a picture, a matrix of numbers, drawn regions."""
MASK_WORDS = (
    "segmentation", "annotations", "annotation", "labels", "label", "masks", "mask", "seg", "gt",
)  # fmt: skip
"""What masks are called, beside or in place of their image's name."""
MAX_TEXT_BYTES = 128 << 20
Plane = npt.NDArray[Any]
_SEPARATORS = (b",", b";", b"\t")
_TIFF = (b"II", b"MM")
_INVERTED, _PALETTE, _SEPARATE = 0, 3, 2
# JPEG, JPEG 2000 and WebP: pieces with a size of their own, which Pillow checks.
_PICTURE_CODECS = frozenset({6, 7, 33003, 33004, 33005, 34712, 50001})
_EXPORT = "Export it again, as PNG."


@dataclass(frozen=True)
class RawMask:
    """A mask file as it is.

    Attributes:
        name: What messages call it; see ``mask_name``.
        values: Shape (height, width), or (height, width, 3) in colour; bool is 0 and 1.
        white: The value of full white, such as 255; 1 of fractions and single bits.
        palette: Shape (n, 3), uint8: the colours that ``values`` are numbers of, None if they are
            none.
        alpha: Shape (height, width), None if the file has none; ``white`` is opaque.
        lossy: Whether the file's format blurs edges (JPEG).
        inverted: Whether viewers show 0 as white; the values are as they are stored.
    """

    name: str
    values: Plane
    white: float
    palette: npt.NDArray[np.uint8] | None = None
    alpha: Plane | None = None
    lossy: bool = False
    inverted: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.values.shape[1], self.values.shape[0]


def read_raw(path: Path) -> RawMask:
    """Read a picture or a matrix of numbers.

    Args:
        path: PNG, TIFF, BMP, WebP, JPEG; or .txt, .csv, .tsv with one row of numbers a line,
            parted by blanks, commas, semicolons or tabs.

    Returns:
        What it holds.

    Raises:
        SlideError: MASK_UNREADABLE, or SLIDE_TOO_LARGE if it says it has more pixels than are
            decoded whole; of a pyramid the finest level that is small enough is taken.
    """
    try:
        if path.suffix.lower() in TEXTS:
            return _read_matrix(path)
        with path.open("rb") as file:
            is_tiff = file.read(2) in _TIFF
        return _read_tiff(path) if is_tiff else _read_picture(path)
    except HistokerasError:
        raise
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error
    except Exception as error:
        # Pillow, tifffile and NumPy raise a dozen kinds on damaged files.
        raise unreadable(path, str(error)) from error


def mask_name(path: Path) -> str:
    """Return what messages call a mask: its file's name, with its folder's where it says nothing.

    Args:
        path: The file, such as ``<slide_id>/mask.png``.
    """
    general = path.stem.casefold() in MASK_WORDS
    return f"{path.parent.name}/{path.name}" if general else path.name


def unreadable(path: Path, why: str) -> SlideError:
    """Return the error for a mask that cannot be read.

    Args:
        path: The file.
        why: What the library said.
    """
    text = " ".join(why.replace(f"{path.parent}/", "").split())
    return SlideError(
        f"mask `{mask_name(path)}` cannot be read: {text[:200] or 'it is damaged'}.",
        code="MASK_UNREADABLE",
        hint=_EXPORT,
    )


def _read_picture(path: Path) -> RawMask:
    with open_picture(path) as picture:
        lossy = picture.format in ("JPEG", "MPO")
        mode = picture.mode
        if mode in ("P", "PA"):
            index = picture.getchannel("P") if mode == "PA" else picture
            colours = np.asarray(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
            return RawMask(mask_name(path), np.asarray(index), 255.0, palette=colours)
        if mode == "1":
            return RawMask(mask_name(path), np.asarray(picture).astype(np.uint8), 1.0)
        if mode == "F":
            return RawMask(mask_name(path), _finite(np.asarray(picture)), 1.0)
        if mode.startswith("I"):
            return RawMask(mask_name(path), np.asarray(picture), 65535.0)
        if mode not in ("L", "LA", "RGB", "RGBA"):
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        return _with_channels(mask_name(path), np.asarray(picture), 255.0, lossy=lossy)


def _with_channels(name: str, pixels: Plane, white: float, *, lossy: bool = False) -> RawMask:
    """Part the alpha channel from the others."""
    if pixels.ndim == 2:
        return RawMask(name, pixels, white, lossy=lossy)
    n_channels = pixels.shape[2]
    if n_channels > 4:
        raise ValueError(f"it has {n_channels} channels")
    alpha = pixels[..., -1] if n_channels in (2, 4) else None
    values = pixels[..., 0] if n_channels < 3 else pixels[..., :3]
    return RawMask(name, values, white, alpha=alpha, lossy=lossy)


def _read_tiff(path: Path) -> RawMask:
    with tifffile.TiffFile(path) as tiff:
        page = _first_that_fits(tiff, path.name)
        if page is None:
            size = (tiff.pages[0].imagewidth, tiff.pages[0].imagelength)
            raise SlideError(
                f"mask `{mask_name(path)}` has {size[0]} x {size[1]} px and must be decoded "
                f"whole; at most {PillowImage.MAX_IMAGE_PIXELS} px are.",
                code="SLIDE_TOO_LARGE",
                hint="Export it at a lower resolution, by nearest neighbour.",
            )
        if int(page.compression) in _PICTURE_CODECS:
            return replace(_read_picture(path), lossy=True)
        # Asked first: a damaged number would be allocated before anything is read.
        if sum(page.databytecounts) > tiff.filehandle.size:
            raise EOFError("the file ends early")
        return _from_page(mask_name(path), page)


def _first_that_fits(tiff: Any, name: str) -> Any:
    """Return the finest level that may be decoded whole; None if there is none."""
    for number, level in enumerate(tiff.series[0].levels):
        page = level.pages[0]
        if number and int(page.compression) in _PICTURE_CODECS:
            continue
        size = (int(page.imagewidth), int(page.imagelength))
        block = (int(page.tilewidth), int(page.tilelength)) if page.is_tiled else size
        require_reasonable_size(size, block, name)
        if size[0] * size[1] <= (PillowImage.MAX_IMAGE_PIXELS or 0):
            return page
    return None


def _from_page(name: str, page: Any) -> RawMask:
    pixels = np.asarray(page.asarray())
    if int(page.planarconfig) == _SEPARATE and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim not in (2, 3):
        raise ValueError(f"its first page has {pixels.ndim} dimensions")
    if pixels.dtype.kind == "f":
        pixels = _finite(pixels)
    white = _white(pixels, int(page.bitspersample))
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8)
    photometric = int(page.photometric)
    if photometric == _PALETTE:
        colours = (np.asarray(page.colormap).T >> 8).astype(np.uint8)
        return RawMask(name, pixels, white, palette=colours)
    found = _with_channels(name, pixels, white)
    return replace(found, inverted=photometric == _INVERTED)


def _finite(numbers: Plane) -> Plane:
    if not np.isfinite(numbers).all():
        raise ValueError("it holds numbers that are not finite")
    return numbers


def _white(pixels: Plane, bits: int) -> float:
    if pixels.dtype.kind == "f" or pixels.dtype == np.bool_:
        return 1.0
    return float(2 ** min(bits, 8 * pixels.dtype.itemsize) - 1)


def _read_matrix(path: Path) -> RawMask:
    data = read_limited(path, MAX_TEXT_BYTES).removeprefix(b"\xef\xbb\xbf")
    first = data[: data.find(b"\n") + 1 or None]
    separator = next((mark for mark in _SEPARATORS if mark in first), None)
    if len(first) > MAX_TEXT_BYTES >> 4 or not first.strip():
        raise ValueError("its first line is no row of numbers")
    numbers = np.loadtxt(
        io.BytesIO(data),
        np.float32,
        comments=None,
        delimiter=separator.decode() if separator else None,
        ndmin=2,
    )
    whole = _finite(numbers).astype(np.int32)
    if (whole == numbers).all():
        # Shares of which all happen to be 0 or 1 are as white as those beside them.
        return RawMask(mask_name(path), whole, 1.0 if whole.max() <= 1 else 255.0)
    return RawMask(mask_name(path), numbers, 1.0)
