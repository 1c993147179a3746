"""Whether a mask's size fits its image."""

from histokeras.data.mask_files import mask_name
from histokeras.data.pair import Pair
from histokeras.errors import TableError

_ROUNDED_PX = 1.0


def require_fitting(
    pair: Pair,
    mask_px: tuple[int, int],
    image_px: tuple[int, int],
    n_levels: int,
    *,
    scaled: bool,
) -> None:
    """Check that a mask covers its image.

    A slide's mask may be of another resolution. A picture's must have its size, unless ``scaled``:
    another size often means that it belongs to another picture.

    Args:
        pair: For messages.
        mask_px: (width, height) of the mask.
        image_px: (width, height) of level 0 of the image.
        n_levels: Levels of the image; a picture has one.
        scaled: Whether a picture may have a mask of another size.

    Raises:
        TableError: MASK_SIZE if the sizes differ, or their proportions by more than a pixel.
    """
    if mask_px == image_px:
        return
    sizes = (
        f"`{pair.image_id}`: the image has {image_px[0]} x {image_px[1]} px, its mask "
        f"`{mask_name(pair.mask)}` {mask_px[0]} x {mask_px[1]}"
    )
    if not is_scaled(mask_px, image_px):
        raise TableError(
            f"{sizes}: other proportions.",
            code="MASK_SIZE",
            hint="Check that the mask belongs to it and covers it whole.",
        )
    if n_levels == 1 and not scaled:
        raise TableError(
            f"{sizes}.",
            code="MASK_SIZE",
            hint="Give --scaled-masks if it covers the whole image at another resolution.",
        )


def is_scaled(mask_px: tuple[int, int], image_px: tuple[int, int]) -> bool:
    """Return whether one size is the other at another scale, to within a pixel of the smaller.

    Args:
        mask_px: (width, height).
        image_px: (width, height).
    """
    small, large = sorted((mask_px, image_px))
    by_width = small[1] - large[1] * small[0] / large[0]
    by_height = small[0] - large[0] * small[1] / large[1]
    return min(abs(by_width), abs(by_height)) <= _ROUNDED_PX
