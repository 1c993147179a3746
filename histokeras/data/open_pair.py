"""Read an image and its class mask together, at one working resolution, from many threads."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image as PillowImage

from histokeras.data.mask_drawn import drawing_of
from histokeras.data.mask_sizes import require_fitting
from histokeras.data.masks import DRAWN, ClassMask, Decoding, read_mask
from histokeras.data.pair import Pair
from histokeras.data.pixel_cache import PixelCache, Pixels
from histokeras.data.truth import Counts, DrawnTruth, ImageTruth, Truth, count_classes
from histokeras.errors import SlideError
from histokeras.slides.annotations import require_on_slide
from histokeras.slides.pyramid import LevelChoice, choose_level
from histokeras.slides.reader import open_slide
from histokeras.slides.slide import Slide
from histokeras.slides.source import Image
from histokeras.types import IGNORE, Mpp

MPP_TOLERANCE = 0.05
"""Relative difference of resolutions that counts as none."""
_WHOLE_PX = 1 << 24
_ROUNDING = 1e-6


_SHARED = PixelCache()


class OpenPair:
    """An image with its class mask at the working resolution; open it with ``open_pair``.

    Attributes:
        pair: What it is.
        size_px: (width, height) at the working resolution.
        mpp: Of the working resolution, None if it is not known.
        scale: Level-0 pixels per pixel at the working resolution.
        n_classes: Number of classes.
    """

    def __init__(
        self, pair: Pair, slide: Slide, decoding: Decoding, mpp: float | None, cache: PixelCache
    ) -> None:
        self.pair = pair
        self.n_classes = len(decoding.classes)
        self._choice = _choice(slide, pair, mpp)
        self.scale = self._choice.scale
        self.mpp = float(self._choice.mpp) if mpp is not None else pair.mpp
        self.size_px = _working_size(slide, self._choice)
        self._cache = cache
        self._locks = {"image": threading.Lock(), "mask": threading.Lock()}
        self._slide = slide
        self._whole = _is_small(slide)
        self._truth = self._truth_of(decoding)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file and what is held of it. Closing twice does no harm."""
        self._slide.close()
        for part in self._locks:
            self._cache.drop((id(self), part))

    def _held(self, part: str, load: Callable[[], Pixels]) -> Pixels:
        # Two threads at once would decode twice.
        with self._locks[part]:
            return self._cache.find((id(self), part), load)

    def _truth_of(self, decoding: Decoding) -> Truth:
        if decoding.plane == DRAWN:
            drawing, roi = drawing_of(self.pair.mask, decoding)
            require_on_slide(drawing.regions, self._slide.dimensions, self.pair.mask)
            return DrawnTruth(drawing, decoding.undrawn, roi)
        dimensions, levels = self._slide.dimensions, self._slide.level_count

        def load() -> ClassMask:
            mask = read_mask(self.pair.mask, decoding)
            size = (mask.shape[1], mask.shape[0])
            require_fitting(self.pair, size, dimensions, levels, scaled=decoding.scaled)
            return mask

        return ImageTruth(lambda: self._held("mask", load), dimensions)

    def read(self, x: int, y: int, width: int, height: int) -> tuple[Image, ClassMask]:
        """Read a window; it may leave the image.

        Args:
            x: Left side in pixels of the working resolution.
            y: Top.
            width: In pixels of the working resolution, at least 1.
            height: Likewise.

        Returns:
            The image, uint8 (height, width, 3), and the class numbers, uint8 (height, width);
            outside of the image white and ``IGNORE``.

        Raises:
            SlideError: If image or mask cannot be read.
            TableError: If the mask holds what means nothing.
        """
        image = np.full((height, width, 3), 255, np.uint8)
        mask = np.full((height, width), IGNORE, np.uint8)
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, self.size_px[0]), min(y + height, self.size_px[1])
        if right > left and bottom > top:
            inside = (slice(top - y, bottom - y), slice(left - x, right - x))
            image[inside] = self._pixels(left, top, right, bottom)
            mask[inside] = self._truth.window(left, top, right - left, bottom - top, self.scale)
        return image, mask

    def counts(self, cell_px: int) -> Counts:
        """Count the labelled pixels of each class in each cell of the working grid.

        Exact where the mask is not coarser than the grid, near the truth elsewhere.

        Args:
            cell_px: Side of a cell; the last ones of a row or column may be cut.

        Returns:
            Shape (rows, columns, n_classes), int64.
        """
        return count_classes(self._truth, self.size_px, self.scale, self.n_classes, cell_px)

    def _pixels(self, left: int, top: int, right: int, bottom: int) -> Pixels:
        if not self._whole:
            return self._read(self._slide, left, top, right, bottom)
        return self._held("image", self._read_whole)[top:bottom, left:right]

    def _read_whole(self) -> Pixels:
        # A handle of its own: a plain image would hold its pixels a second time.
        with open_slide(self.pair.image) as slide:
            return np.array(self._read(slide, 0, 0, *self.size_px))

    def _read(self, slide: Slide, left: int, top: int, right: int, bottom: int) -> Pixels:
        choice = self._choice
        per_px = choice.scale / choice.downsample
        size = slide.level_dimensions[choice.level]
        x, y = int(left * per_px + _ROUNDING), int(top * per_px + _ROUNDING)
        until_x = min(size[0], _ceil(right * per_px))
        until_y = min(size[1], _ceil(bottom * per_px))
        location = (round(x * choice.downsample), round(y * choice.downsample))
        pixels = slide.read_region(location, choice.level, (until_x - x, until_y - y))
        if not choice.resampled:
            return pixels
        box = (
            left * per_px - x,
            top * per_px - y,
            min(right * per_px, until_x) - x,
            min(bottom * per_px, until_y) - y,
        )
        shrunk = PillowImage.fromarray(pixels).resize(
            (right - left, bottom - top), PillowImage.Resampling.BOX, box=box
        )
        return np.asarray(shrunk)


def _is_small(slide: Slide) -> bool:
    """Return whether an image is held whole; a plain one would be decoded whole in any case."""
    whole = (PillowImage.MAX_IMAGE_PIXELS or 0) if slide.vendor is None else _WHOLE_PX
    return slide.level_count == 1 and slide.dimensions[0] * slide.dimensions[1] <= whole


def _ceil(value: float) -> int:
    return int(-(-(value - _ROUNDING) // 1))


def _choice(slide: Slide, pair: Pair, mpp: float | None) -> LevelChoice:
    if mpp is None:
        own = Mpp(pair.mpp or 1.0)
        return LevelChoice(0, own, own, 1.0, 1.0, resampled=False)
    downsamples = slide.level_downsamples
    return choose_level(slide.mpp, downsamples, mpp, tolerance=MPP_TOLERANCE, name=slide.name)


def _working_size(slide: Slide, choice: LevelChoice) -> tuple[int, int]:
    """Return (width, height): of the level where it is read 1:1, else of the whole pixels in it."""
    if not choice.resampled:
        return slide.level_dimensions[choice.level]
    width, height = (max(1, int(side / choice.scale + _ROUNDING)) for side in slide.dimensions)
    return width, height


def open_pair(
    pair: Pair, decoding: Decoding, *, mpp: float | None, cache: PixelCache | None = None
) -> OpenPair:
    """Open an image with its class mask.

    A slide is read region by region. A picture, and a slide of one level and up to 16 million
    pixels, is decoded whole, shrunk once and kept, as masks are, while the cache has room.

    Args:
        pair: From ``find_pairs``.
        decoding: What its mask's values mean: ``PairSet.decoding``.
        mpp: Working resolution in micrometres per pixel; None for the image's own pixels.
        cache: Where pixels are kept; one for the whole process, of 2 GB, if None.

    Returns:
        The open pair; use it in a ``with`` block or close it. Threads may share it.

    Raises:
        SlideError: If the image cannot be opened; MPP_MISSING if its resolution is needed and not
            known; MAG_UNAVAILABLE if it is coarser than ``mpp``; ANNOTATION_UNREADABLE
            or ANNOTATION_OUTSIDE.
    """
    slide = open_slide(Path(pair.image), mpp=pair.mpp)
    try:
        return OpenPair(pair, slide, decoding, mpp, cache or _SHARED)
    except SlideError as error:
        slide.close()
        if error.code == "MPP_MISSING":
            # Slide tables tell the patients of pairs alone.
            hint = "Give --default-mpp, or an `mpp` column in the table of --pairs."
            raise SlideError(error.message, code=error.code, hint=hint) from error
        raise
    except BaseException:
        slide.close()
        raise
