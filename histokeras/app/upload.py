"""An uploaded picture as a tile: judged by its content, decoded in memory under a limit."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from histokeras.errors import SlideError
from histokeras.foreign.text import printable
from histokeras.slides.plain import open_picture, white_composite
from histokeras.slides.source import Image

FORMATS = ("PNG", "JPEG", "TIFF")
SUFFIXES = ("png", "jpg", "jpeg", "tif", "tiff")
MAX_PX = 36_000_000
"""Most pixels of an upload: decoded, with a copy on white, it takes half a gigabyte."""
_LEAST_PX = 16
_LONGEST_NAME = 60


@dataclass(frozen=True, eq=False)
class Tile:
    """A tile as the network takes it.

    Attributes:
        image: uint8 (size_px, size_px, 3), RGB.
        said: Where it is from and what was done to it, a sentence or several.
        name: Short.
        normalised: Whether its stain is already as the network wants it.
    """

    image: Image
    said: str
    name: str
    normalised: bool = False


def read_upload(data: bytes, name: str) -> tuple[Image, str]:
    """Decode an uploaded picture.

    Args:
        data: The whole file.
        name: What the browser calls it; only for messages.

    Returns:
        uint8 (h, w, 3) RGB, transparent parts white; what it was, such as "PNG, 300 x 200 px".

    Raises:
        SlideError: If it is no PNG, JPEG or TIFF by its content, damaged, too large or too small,
            greyscale or deeper than 8 bits.
    """
    name = printable(name, one_line=True)[:_LONGEST_NAME]
    try:
        with open_picture(io.BytesIO(data), name=name, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PX:
                raise _unfit(
                    name,
                    f"has {width} x {height} px, at most {MAX_PX // 1_000_000} million are read",
                    "Cut a tile out of it.",
                )
            if min(width, height) < _LEAST_PX:
                raise _unfit(name, f"has {width} x {height} px", "Give a whole tile.")
            kind = f"{picture.format}, {width} x {height} px"
            if getattr(picture, "n_frames", 1) > 1:
                kind += ", the first of its pages"
            if picture.has_transparency_data:
                kind += ", what is transparent made white"
            return white_composite(picture, name), kind
    except SlideError:
        raise
    except Exception as error:
        # Pillow raises a dozen kinds on damaged files, and on what is no picture at all.
        raise _unfit(
            name, "is no PNG, JPEG or TIFF, or damaged", "Export the tile again as PNG."
        ) from error


def _unfit(name: str, what: str, hint: str) -> SlideError:
    return SlideError(f"`{name}` {what}.", code="UPLOAD_UNFIT", hint=hint)


def fit_to_tile(
    image: Image, size_px: int, *, mpp: float | None, wanted_mpp: float | None
) -> tuple[Image, str]:
    """Cut the middle of a picture and bring it to the side of a tile.

    Args:
        image: uint8 (h, w, 3).
        size_px: Side of the run's tiles.
        mpp: Micrometres per pixel of the picture; None if unknown: its central square is taken
            whole then.
        wanted_mpp: Those of the run's tiles; None if unknown.

    Returns:
        uint8 (size_px, size_px, 3); what was done, in sentences.

    Raises:
        SlideError: If the picture shows less tissue than a tile, by its ``mpp``.
    """
    height, width = image.shape[:2]
    known = mpp is not None and wanted_mpp is not None
    side = min(width, height)
    if mpp is not None and wanted_mpp is not None:
        side = round(size_px * wanted_mpp / mpp)
        if side > min(width, height):
            raise SlideError(
                f"at {mpp:g} µm per pixel this picture shows {min(width, height) * mpp:.0f} µm, a "
                f"tile of the run {size_px * wanted_mpp:.0f} µm.",
                code="UPLOAD_UNFIT",
                hint="Give a larger field, or leave the resolution unknown.",
            )
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    words = []
    if (width, height) != (side, side):
        words.append(f"The middle {side} x {side} px were cut out.")
    if side != size_px:
        method = PillowImage.Resampling.BOX if side > size_px else PillowImage.Resampling.BICUBIC
        square = np.asarray(PillowImage.fromarray(square).resize((size_px, size_px), method))
        words.append(f"They were resampled to {size_px} x {size_px} px.")
    if not words:
        words.append(f"It was taken as it is, {size_px} x {size_px} px.")
    if not known:
        wanted = "" if wanted_mpp is None else f" The run's tiles have {wanted_mpp:g} µm per pixel."
        words.append(f"Its resolution is unknown: structures may look too large or small.{wanted}")
    return np.ascontiguousarray(square), " ".join(words)
