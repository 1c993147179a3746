"""Tell tissue from glass on one small picture of the slide, at one fixed resolution."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from scipy import ndimage

from histokeras.errors import SlideError
from histokeras.slides.overview import overview_level, read_overview
from histokeras.slides.slide import Slide
from histokeras.slides.source import Image

Mask = npt.NDArray[np.bool_]
Boxes = npt.NDArray[np.float64]
"""Shape (n, 4): left, top, right, bottom of each window in pixels of the coarse picture."""

COARSE_MPP = 8.0
"""Resolution of the coarse picture in micrometres per pixel; a coarser slide is taken as it is."""
BRIGHT = 220
"""A pixel of this luminance (0..255) or more is background."""
_CHEAP_PX = 1 << 24
_CHEAP_SHARE = 0.25
_MARGIN = 2.0
_ROUNDING = 1e-6
_MIN_SATURATION_GAP = 12
_GREY_CHROMA = 2
_GREY_CONTRAST = 40


@dataclass(frozen=True)
class Coarse:
    """A small picture of the whole slide.

    Attributes:
        image: Shape (height, width, 3), uint8 RGB.
        scale: Level-0 pixels per pixel of the picture, in x and y.
        holes: Shape (height, width), True where the slide is corrupt and the picture white; None
            if it was read whole.
    """

    image: Image
    scale: tuple[float, float]
    holes: Mask | None = None

    def boxes(self, origins: npt.NDArray[np.int64], size_level0_px: int) -> Boxes:
        """Turn tiles in level-0 pixels into windows of this picture.

        Args:
            origins: Shape (n, 2): x and y of each tile in level-0 pixels.
            size_level0_px: Their side.
        """
        per_pixel = np.array([*self.scale, *self.scale])
        corners = np.hstack([origins, origins + size_level0_px])
        return np.asarray(corners / per_pixel, np.float64)


def is_cheap(slide: Slide, tile_downsample: float) -> bool:
    """Return whether reading the coarse picture costs much less than reading every tile.

    Args:
        slide: An open slide.
        tile_downsample: Level-0 pixels per pixel of the level that tiles are read from.
    """
    level = overview_level(slide, COARSE_MPP / slide.mpp)
    width, height = slide.level_dimensions[level]
    tile_px = slide.dimensions[0] * slide.dimensions[1] / tile_downsample**2
    return width * height <= max(_CHEAP_PX, _CHEAP_SHARE * tile_px)


def read_coarse(slide: Slide, *, around_corrupt: bool = False) -> Coarse:
    """Read the whole slide at ``COARSE_MPP``, block by block.

    Args:
        slide: An open slide with a known mpp.
        around_corrupt: Whether corrupt places are left out instead of raising.

    Returns:
        The picture.

    Raises:
        SlideError: If a region cannot be read; NOT_BRIGHTFIELD if all colours are grey.
    """
    width, height = slide.dimensions
    shrink = max(1.0, COARSE_MPP / slide.mpp)
    size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    holes = np.zeros((size[1], size[0]), np.bool_) if around_corrupt else None
    image = read_overview(slide, size, holes=holes)
    _require_colour(image, slide.name)
    scale = (width / size[0], height / size[1])
    return Coarse(image, scale, holes if holes is not None and holes.any() else None)


def _require_colour(image: Image, name: str) -> None:
    channels = image.astype(np.int16)
    chroma = int((channels.max(axis=2) - channels.min(axis=2)).max())
    # An empty slide is grey too, but flat.
    if chroma <= _GREY_CHROMA and int(channels.max()) - int(channels.min()) >= _GREY_CONTRAST:
        raise SlideError(
            f"slide `{name}` has no colours, only grey.",
            code="NOT_BRIGHTFIELD",
            hint="Leave fluorescence and greyscale slides out.",
        )


def luminance(image: Image) -> npt.NDArray[np.uint8]:
    """Return the luminance of each pixel, ``(19595 R + 38470 G + 7471 B + 32768) >> 16``.

    Args:
        image: Shape (height, width, 3), uint8 RGB.

    Returns:
        Shape (height, width), uint8.
    """
    return np.asarray(PillowImage.fromarray(image).convert("L"))


def _integral(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Return sums over everything above and left, with a leading row and column of zeros."""
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    np.cumsum(np.cumsum(values, axis=0, dtype=np.float64), axis=1, out=sums[1:, 1:])
    return sums


def _at(sums: npt.NDArray[np.float64], x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Boxes:
    """Interpolate an integral image at fractional places."""
    x, y = np.clip(x, 0, sums.shape[1] - 1), np.clip(y, 0, sums.shape[0] - 1)
    left = np.minimum(x.astype(np.int64), sums.shape[1] - 2)
    top = np.minimum(y.astype(np.int64), sums.shape[0] - 2)
    u, v = x - left, y - top
    upper = sums[top, left] * (1 - u) + sums[top, left + 1] * u
    lower = sums[top + 1, left] * (1 - u) + sums[top + 1, left + 1] * u
    return np.asarray(upper * (1 - v) + lower * v)


def _box_sums(values: npt.NDArray[np.generic], boxes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    sums = _integral(values)
    left, top, right, bottom = boxes.T
    return np.asarray(
        _at(sums, right, bottom) - _at(sums, left, bottom) - _at(sums, right, top)
        + _at(sums, left, top)
    )  # fmt: skip


def mask_share(mask: Mask, boxes: Boxes) -> npt.NDArray[np.float64]:
    """Return the share of each window that the mask covers; cut pixels count in part.

    Args:
        mask: Shape (height, width).
        boxes: Windows in pixels of the mask.

    Returns:
        Shape (n,), 0..1.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.clip(_box_sums(mask, boxes) / areas, 0, 1)


def is_surely_bright(coarse: Coarse, boxes: Boxes, max_background: float) -> Mask:
    """Find windows whose tile cannot have enough dark pixels, whatever its fine pixels are.

    A kept tile needs a share of 1 - ``max_background`` of pixels darker than ``BRIGHT``. A coarse
    pixel is the mean of the fine ones below it, none of them above 255, so its luminance m limits
    their dark share to (255 - m) / 36. Added up over the tile this gives the most dark pixels that
    it can have: inside, each coarse pixel's limit; at the rim, where a coarse pixel is cut, the
    whole limit or the whole cut part, whichever is less in sum. Two grey levels are allowed for
    JPEG and rounding, and each pixel takes the highest limit of its neighbours, since a level may
    be shifted by part of a pixel. Where the picture has a hole, all may be dark.

    Args:
        coarse: The picture of the slide.
        boxes: Windows in its pixels.
        max_background: Largest share of bright pixels of a kept tile.

    Returns:
        Shape (n,), True where the tile need not be read.
    """
    headroom = 255 - luminance(coarse.image).astype(np.float64) + _MARGIN
    if coarse.holes is not None:
        headroom[coarse.holes] = 256 - BRIGHT
    limit = np.minimum(1.0, ndimage.maximum_filter(headroom, 3, mode="nearest") / (256 - BRIGHT))
    inner = np.hstack([np.ceil(boxes[:, :2] - _ROUNDING), np.floor(boxes[:, 2:] + _ROUNDING)])
    touched = np.hstack([np.floor(boxes[:, :2] + _ROUNDING), np.ceil(boxes[:, 2:] - _ROUNDING)])
    sides = np.maximum(inner[:, 2:] - inner[:, :2], 0)
    inner[:, 2:] = inner[:, :2] + sides
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    rim = area - sides[:, 0] * sides[:, 1]
    most_dark = np.minimum(_box_sums(limit, touched), _box_sums(limit, inner) + rim)
    return np.asarray(most_dark < (1 - max_background) * area - _ROUNDING)


def dark_mask(coarse: Coarse) -> Mask:
    """Return where the coarse picture is darker than ``BRIGHT``, or has a hole."""
    dark = luminance(coarse.image) < BRIGHT
    return dark if coarse.holes is None else dark | coarse.holes


def otsu_mask(image: Image, holes: Mask | None = None) -> Mask:
    """Tell tissue from glass by Otsu's threshold on saturation.

    Args:
        image: The coarse picture, shape (height, width, 3), uint8 RGB.
        holes: Where nothing is known of it: it does not count for the threshold, and is tissue.

    Returns:
        Shape (height, width), True on tissue; all False if there are no two groups to part.
    """
    saturation = np.asarray(PillowImage.fromarray(image).convert("HSV"))[..., 1]
    if holes is not None:
        known = image[~holes][None]
        mask = holes.copy()
        mask[~holes] = otsu_mask(known)[0] if known.size else False
        return mask
    counts = np.bincount(saturation.ravel(), minlength=256).astype(np.float64)
    levels = np.arange(256)
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.nan_to_num((sums[-1] - sums) / above - sums / below)
    between = below * above * gap**2
    best = int(between.argmax())
    # Otsu splits anything, noise on glass too; real stain lies well apart.
    if gap[best] < _MIN_SATURATION_GAP:
        return np.zeros(saturation.shape, np.bool_)
    return np.asarray(saturation > best)
