"""Regions drawn on a slide with their classes: QuPath's GeoJSON, polygon JSON, ASAP's XML."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from histokeras.errors import HistokerasError, SlideError
from histokeras.foreign.text import read_limited
from histokeras.slides.asap import read_asap
from histokeras.slides.geojson import (
    MAX_BYTES,
    Polygon,
    annotation_error,
    filled,
    labelled_objects,
    missing_error,
    ring_of,
)

_NEGATIVE = "negative"


@dataclass(frozen=True)
class Region:
    """A drawn region.

    Attributes:
        label: Its class as it was drawn, "" if it has none.
        polygon: Its outer ring, then its holes, in level-0 pixels.
        erases: Whether it takes away what was drawn before it.
        part_of: Number of the object in the file that it is an area of; None where each region is
            an object of its own.
    """

    label: str
    polygon: Polygon
    erases: bool = False
    part_of: int | None = field(default=None, compare=False)

    @property
    def area_px(self) -> float:
        """Area in level-0 pixels by the shoelace formula, the holes taken off."""
        areas = [ring_area(ring) for ring in self.polygon]
        return areas[0] - sum(areas[1:])


def ring_area(ring: npt.NDArray[np.float64]) -> float:
    """Return the area that a line encloses, by the shoelace formula.

    Args:
        ring: Shape (n, 2): x and y of its corners; it must not cross itself.
    """
    # About its own corner: far from the origin the products would lose their last digits.
    x, y = (ring - ring[0]).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def read_regions(path: Path) -> tuple[Region, ...]:
    """Read drawn regions, in the order of the file.

    Args:
        path: GeoJSON as QuPath writes it (the name of a polygon's ``classification`` is its
            class); JSON with lists ``positive`` and ``negative`` of ``{name, vertices}``, as
            Camelyon16 and NCRF have it; or the XML of ASAP (``PartOfGroup`` is the class).

    Returns:
        The regions; of a polygon JSON the positive ones, then the negative ones, which erase, all
        without a class. There may be none: nothing was found on the slide.

    Raises:
        SlideError: ANNOTATION_MISSING or ANNOTATION_UNREADABLE.
    """
    try:
        data = read_limited(path, MAX_BYTES)
        if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            return tuple(Region(label, polygon) for label, polygon in read_asap(data))
        content = json.loads(data.decode("utf-8-sig"))
        if isinstance(content, Mapping) and {"positive", _NEGATIVE} & set(content):
            return tuple(_signed(content))
        return tuple(
            Region(label, polygon, part_of=number)
            for number, (label, polygons) in enumerate(labelled_objects(content))
            for polygon in polygons
        )
    except FileNotFoundError as error:
        raise missing_error(path) from error
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
        raise annotation_error(path, why, "Check its permissions.") from error
    except HistokerasError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        text = " ".join(str(error).split())[:200]
        raise annotation_error(
            path, f"is no annotation file that is known ({text})", "Export GeoJSON from QuPath."
        ) from error


def _signed(content: Mapping[str, object]) -> list[Region]:
    regions = []
    for key in ("positive", _NEGATIVE):
        drawn = content.get(key, [])
        if not isinstance(drawn, list):
            raise ValueError(f"`{key}` is no list")
        erases = key == _NEGATIVE
        regions += [Region("", (ring_of(one["vertices"]),), erases) for one in drawn]
    return regions


def require_on_slide(regions: Sequence[Region], size_px: Sequence[float], path: Path) -> None:
    """Refuse regions whose middle lies beyond the slide: they were drawn on another one.

    Args:
        regions: In level-0 pixels.
        size_px: Width and height of the slide at level 0.
        path: Their file.

    Raises:
        SlideError: ANNOTATION_OUTSIDE.
    """
    size = np.asarray(size_px, np.float64)
    boxes = Drawing(regions, ()).boxes
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    n_beyond = int(((middles < 0) | (middles > size)).any(axis=1).sum())
    if n_beyond:
        raise SlideError(
            f"annotations {path.name}: {n_beyond} of {len(regions)} regions lie beyond the slide, "
            f"which has {size[0]:.0f} x {size[1]:.0f} px.",
            code="ANNOTATION_OUTSIDE",
            hint="They are of another slide, or not in pixels of its level 0.",
        )


@dataclass(frozen=True)
class Drawing:
    """Regions ready to be drawn anywhere; later ones lie over earlier ones.

    Attributes:
        regions: In the order of drawing.
        numbers: What each is drawn with, 0..255.
    """

    regions: Sequence[Region]
    numbers: Sequence[int]

    @cached_property
    def boxes(self) -> npt.NDArray[np.float64]:
        """Shape (n, 4): left, top, right, bottom of each region in level-0 pixels."""
        outer = [region.polygon[0] for region in self.regions]
        corners = [np.concatenate([ring.min(axis=0), ring.max(axis=0)]) for ring in outer]
        return np.array(corners, np.float64).reshape(-1, 4)

    def draw(
        self,
        picture: npt.NDArray[np.uint8],
        scale: tuple[float, float],
        origin: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Draw into a window; a pixel belongs to a region if its centre lies inside.

        Only regions whose box meets the window are looked at.

        Args:
            picture: Shape (height, width); drawn upon.
            scale: Level-0 pixels per pixel of the picture, in x and y.
            origin: x and y of its top-left corner in its own pixels.
        """
        height, width = picture.shape
        per_px, corner = np.array(scale), np.array(origin, np.float64)
        low, high = corner * per_px, (corner + np.array([width, height])) * per_px
        boxes = self.boxes
        meets = (boxes[:, :2] < high).all(axis=1) & (boxes[:, 2:] > low).all(axis=1)
        for at in np.flatnonzero(meets).tolist():
            rings = [ring / per_px - corner for ring in self.regions[at].polygon]
            where, inside = filled(rings, (height, width))
            picture[where][inside] = self.numbers[at]
