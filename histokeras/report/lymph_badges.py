"""Numbers of nodes on a picture, each beside its node, so that the tissue inside stays in sight."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw
from scipy import ndimage

from histokeras.slides.source import Image
from histokeras.tiles.paint import font_of

_FONT_PX = 24
_PAD_PX = 5
_AWAY_PX = 5
# What a badge may cover, the worst first.
_OUTSIDE, _ON_BADGE, _ON_OTHER, _ON_OWN = 50.0, 20.0, 4.0, 1.0
Labels = npt.NDArray[np.integer]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Badge:
    """The number of a node on a picture.

    Attributes:
        text: The number.
        box: Left, top, right, bottom in pixels of the picture.
        colour: Red, green and blue, 0..255.
        filled: Whether the colour fills it; if not, it is its rim.
    """

    text: str
    box: Box
    colour: tuple[int, int, int]
    filled: bool


def place_badges(
    labels: Labels, wanted: Sequence[tuple[int, tuple[int, int, int], bool]]
) -> list[Badge]:
    """Find a place for each number: beside its node, clear of other nodes and numbers.

    Args:
        labels: (h, w), the number of the node of each pixel of the picture, 0 where none is.
        wanted: Number, colour, and whether it is filled, of each node; a node without a pixel
            gets no badge.
    """
    font = font_of(_FONT_PX)
    places = ndimage.find_objects(labels)
    taken = np.zeros(labels.shape, np.bool_)
    found = []
    for number, colour, filled in wanted:
        place = places[number - 1] if number <= len(places) else None
        if place is None:
            continue
        size = round(font.getlength(str(number))) + 2 * _PAD_PX + 2, _FONT_PX + 2 * _PAD_PX
        size = max(size), size[1]
        boxes = _candidates(labels[place] == number, place, size)
        box = min(boxes, key=lambda box: _cost(box, labels, number, taken))
        taken[max(box[1], 0) : max(box[3], 0), max(box[0], 0) : max(box[2], 0)] = True
        found.append(Badge(str(number), box, colour, filled))
    return found


def draw_badges(image: Image, badges: Sequence[Badge]) -> Image:
    """Draw numbers into a copy of a picture.

    Args:
        image: uint8 (h, w, 3).
        badges: From :func:`place_badges` for a picture of this size.
    """
    page = PillowImage.fromarray(image)
    draw = ImageDraw.Draw(page)
    font = font_of(_FONT_PX)
    white = (255, 255, 255)
    for badge in badges:
        left, top, right, bottom = badge.box
        fill, ink = (badge.colour, white) if badge.filled else (white, badge.colour)
        rim = white if badge.filled else badge.colour
        draw.rounded_rectangle(
            (left, top, right - 1, bottom - 1), radius=6, fill=fill, outline=rim, width=2
        )
        middle = (left + right) / 2, (top + bottom) / 2
        draw.text(middle, badge.text, fill=ink, font=font, anchor="mm", stroke_width=0)
    return np.asarray(page)


def _candidates(
    inside: npt.NDArray[np.bool_], place: tuple[slice, slice], size: tuple[int, int]
) -> list[Box]:
    """Return boxes above, right of, below, left of and in the middle of a node."""
    rows, columns = np.nonzero(inside)
    y, x = rows + place[0].start, columns + place[1].start
    width, height = size
    top, bottom, left, right = (int(i) for i in (y.argmin(), y.argmax(), x.argmin(), x.argmax()))
    across, down = width // 2, height // 2
    corners = [
        (x[top] - across, y[top] - _AWAY_PX - height),
        (x[right] + 1 + _AWAY_PX, y[right] - down),
        (x[bottom] - across, y[bottom] + 1 + _AWAY_PX),
        (x[left] - _AWAY_PX - width, y[left] - down),
        (x.mean() - across, y.mean() - down),
    ]
    return [(int(a), int(b), int(a) + width, int(b) + height) for a, b in corners]


def _cost(box: Box, labels: Labels, number: int, taken: npt.NDArray[np.bool_]) -> float:
    """Return how much a box covers that should stay in sight."""
    height, width = labels.shape
    left, top = max(box[0], 0), max(box[1], 0)
    right, bottom = max(min(box[2], width), left), max(min(box[3], height), top)
    seen = labels[top:bottom, left:right]
    outside = (box[2] - box[0]) * (box[3] - box[1]) - seen.size
    own = np.count_nonzero(seen == number)
    return (
        _OUTSIDE * outside
        + _ON_BADGE * np.count_nonzero(taken[top:bottom, left:right])
        + _ON_OTHER * (np.count_nonzero(seen) - own)
        + _ON_OWN * own
    )
