"""Look at one mask: which values it holds, and what makes its reading doubtful."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from histokeras.data.mask_files import Plane, RawMask
from histokeras.data.masks import GREY, THRESHOLDED, MaskCoding, above, is_grey, plane_of


@dataclass(frozen=True)
class Seen:
    """What a look at one mask showed.

    Attributes:
        name: What messages call it.
        size: (width, height) in pixels.
        values: The distinct values of the plane in question, sorted; () where there is none.
        question: What makes its reading doubtful: a key of ``mask_questions.KINDS``, or "".
        lossy: Whether its format blurs edges.
        white: The value of full white, of kinds in ``THRESHOLDED``; 0 where all is black.
    """

    name: str
    size: tuple[int, int]
    values: tuple[int, ...] = ()
    question: str = ""
    lossy: bool = False
    white: float = 0.0


def look(raw: RawMask) -> Seen:
    """Look at a mask of which nothing is said.

    Args:
        raw: What its file holds.
    """
    question = _question(raw)
    values = () if question else _distinct(plane_of(raw, GREY))
    return Seen(raw.name, raw.size, values, question, raw.lossy)


def _question(raw: RawMask) -> str:
    if raw.inverted:
        return "inverted"
    if raw.alpha is not None and raw.alpha.size and raw.alpha.min() != raw.alpha.max():
        return "alpha"
    if raw.palette is not None:
        return "" if _palette_is_plain(raw) else "palette"
    if raw.values.ndim == 3 and not is_grey(raw.values):
        return "colours lossy" if raw.lossy else "colours"
    values = raw.values
    return "soft" if values.dtype.kind == "f" and (values != np.floor(values)).any() else ""


def _palette_is_plain(raw: RawMask) -> bool:
    """Return whether colours and numbers say the same: grey n at place n, or black and white."""
    used = _distinct(raw.values)
    assert raw.palette is not None
    if used[-1] >= len(raw.palette) or not is_grey(raw.palette[list(used)]):
        return False
    greys = [int(raw.palette[index, 0]) for index in used]
    return greys == list(used) or (set(used) <= {0, 1} and greys == [255 * i for i in used])


def look_at(raw: RawMask, plane: str, coding: MaskCoding, kind: str) -> Seen:
    """Look at the values of a mask that is known to be in a certain plane.

    Args:
        raw: What its file holds.
        plane: Which plane of it.
        coding: What the user says.
        kind: The kind of mask; of those in ``THRESHOLDED`` the values are 0 and 1.

    Raises:
        TableError: MASK_KIND if it has no such plane, or fractions that are no shares.
    """
    found = plane_of(raw, plane, coding.channel)
    if kind in THRESHOLDED:
        white = raw.white if found.any() else 0.0
        values = _distinct(above(found, coding.threshold, raw))
        return Seen(raw.name, raw.size, values, lossy=raw.lossy, white=white)
    return Seen(raw.name, raw.size, _distinct(found), lossy=raw.lossy)


def _distinct(values: Plane) -> tuple[int, ...]:
    if values.dtype in (np.uint8, np.uint16, np.bool_):
        counts = np.bincount(values.ravel())
        return tuple(np.flatnonzero(counts).tolist())
    return tuple(sorted(int(value) for value in pd.unique(values.ravel())))
