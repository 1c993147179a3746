"""Find a slide's resolution: one chain of places, each with its name, and nothing guessed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from histokeras.errors import SlideError
from histokeras.slides.source import (
    APERIO_MPP,
    GENERIC_TIFF,
    MPP_X,
    MPP_Y,
    OBJECTIVE_POWER,
    RESOLUTION_UNIT,
    RESOLUTION_X,
    RESOLUTION_Y,
)
from histokeras.types import Mpp

MIN_MPP, MAX_MPP = 0.05, 20.0
"""Plausible range in micrometres per pixel, from 200x to a coarse overview."""
MAX_ANISOTROPY = 0.02
"""Largest relative difference between the horizontal and the vertical mpp."""
OBJECTIVE_UM = 10.0
"""An objective of power p gives about 10 / p micrometres per pixel on today's scanners."""
_CONFLICT = 1.5
_UM_PER_UNIT = {"inch": 25_400.0, "centimeter": 10_000.0}
_REMEDY = "Give --default-mpp, or an `mpp` column in --slide-table."


@dataclass(frozen=True)
class FoundMpp:
    """A resolution, where it was found, and what to note about it.

    Attributes:
        value: Micrometres per level-0 pixel, 0.05 to 20.
        source: "slide table", "slide properties", "TIFF resolution", "image resolution",
            "objective power" or "--default-mpp".
        notes: Remarks that begin with a code, such as ``MPP_CONFLICT``.
    """

    value: Mpp
    source: str
    notes: tuple[str, ...] = ()


def find_mpp(
    properties: Mapping[str, str],
    *,
    vendor: str | None,
    name: str,
    table_mpp: float | None = None,
    default_mpp: float | None = None,
) -> FoundMpp:
    """Find the resolution of a slide.

    The order: slide table, the slide's own mpp, TIFF resolution tags, objective power,
    ``default_mpp``. A value that is found and absurd is an error; it is never passed over in
    silence. The one exception is a print resolution in the TIFF tags (72 or 300 dots per inch and
    the like, coarser than 20 um per pixel): programs write it into any file, so it counts as
    absent, and is named where nothing else is found.

    Args:
        properties: The slide's properties under OpenSlide's names.
        vendor: OpenSlide's name of the format, None for a plain image.
        name: The slide's name, for messages.
        table_mpp: What the slide table says.
        default_mpp: What to take for slides that say nothing.

    Returns:
        The resolution with its source.

    Raises:
        SlideError: MPP_MISSING, MPP_ABSURD or MPP_ANISOTROPIC.
    """
    if table_mpp is not None:
        found = FoundMpp(_plausible(table_mpp, "slide table", name), "slide table")
        return _with_conflict(found, properties)
    for finder in (_from_properties, _from_resolution, _from_objective):
        in_file = finder(properties, vendor, name)
        if in_file is not None:
            return _with_conflict(in_file, properties)
    if default_mpp is not None:
        value = _plausible(default_mpp, "--default-mpp", name)
        return FoundMpp(value, "--default-mpp")
    raise _missing(properties, vendor, name)


def _number(text: str | None) -> float | None:
    """Return the number in a property, None where there is none, NaN where it is unreadable."""
    if text is None or not text.strip():
        return None
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        return math.nan


def _plausible(value: float, source: str, name: str) -> Mpp:
    # Written so that NaN fails too.
    if not MIN_MPP <= value <= MAX_MPP:
        raise SlideError(
            f"slide `{name}`: mpp {value:g} ({source}) lies outside {MIN_MPP:g}-{MAX_MPP:g} "
            "micrometres per pixel.",
            code="MPP_ABSURD",
            hint="Correct it with an `mpp` column in --slide-table.",
        )
    return Mpp(value)


def _both(x: float | None, y: float | None, source: str, name: str) -> FoundMpp | None:
    """Join the horizontal and the vertical value; either may be absent."""
    values = [_plausible(value, source, name) for value in (x, y) if value is not None]
    if not values:
        return None
    if max(values) > min(values) * (1 + MAX_ANISOTROPY):
        raise SlideError(
            f"slide `{name}`: mpp is {values[0]:g} across and {values[1]:g} down ({source}), "
            f"more than {MAX_ANISOTROPY:.0%} apart.",
            code="MPP_ANISOTROPIC",
            hint="Resample the slide to square pixels, or state the mpp to use in --slide-table.",
        )
    return FoundMpp(Mpp(sum(values) / len(values)), source)


def _from_properties(
    properties: Mapping[str, str], vendor: str | None, name: str
) -> FoundMpp | None:
    # For a generic TIFF, OpenSlide's mpp is nothing but the resolution tags: the next step.
    if vendor == GENERIC_TIFF:
        return None
    x, y = _number(properties.get(MPP_X)), _number(properties.get(MPP_Y))
    if x is None and y is None:
        # OpenSlide passes over what is no number; a header that says nan says something.
        x = _number(properties.get(APERIO_MPP))
    return _both(x, y, "slide properties", name)


def _resolution_source(vendor: str | None, properties: Mapping[str, str]) -> str:
    is_tiff = vendor is not None or properties.get("histokeras.format", "TIFF") == "TIFF"
    return "TIFF resolution" if is_tiff else "image resolution"


def _tag_mpp(properties: Mapping[str, str], tag: str) -> float | None:
    um = _UM_PER_UNIT.get(properties.get(RESOLUTION_UNIT, "").lower())
    per_unit = _number(properties.get(tag))
    if um is None or per_unit is None or per_unit == 0:
        return None
    # Tags are rationals of limited precision: 0.5015000000000001 means 0.5015.
    return float(f"{um / per_unit:.7g}")


def _is_print(value: float | None) -> bool:
    return value is not None and value > MAX_MPP


def _from_resolution(
    properties: Mapping[str, str], vendor: str | None, name: str
) -> FoundMpp | None:
    x, y = _tag_mpp(properties, RESOLUTION_X), _tag_mpp(properties, RESOLUTION_Y)
    if _is_print(x) or _is_print(y):
        return None
    return _both(x, y, _resolution_source(vendor, properties), name)


def _from_objective(
    properties: Mapping[str, str], vendor: str | None, name: str
) -> FoundMpp | None:
    power = _number(properties.get(OBJECTIVE_POWER))
    if power is None or power == 0:
        return None
    return FoundMpp(_plausible(OBJECTIVE_UM / power, "objective power", name), "objective power")


def _with_conflict(found: FoundMpp, properties: Mapping[str, str]) -> FoundMpp:
    power = _number(properties.get(OBJECTIVE_POWER))
    if not power or math.isnan(power) or found.source == "objective power":
        return found
    ratio = found.value * power / OBJECTIVE_UM
    if 1 / _CONFLICT < ratio < _CONFLICT:
        return found
    note = (
        f"MPP_CONFLICT: objective power {power:g} suggests {OBJECTIVE_UM / power:g} um per pixel, "
        f"the {found.source} say{'s' if found.source == 'slide table' else ''} {found.value:g}; "
        f"{found.value:g} is used."
    )
    return FoundMpp(found.value, found.source, (*found.notes, note))


def _missing(properties: Mapping[str, str], vendor: str | None, name: str) -> SlideError:
    value = _tag_mpp(properties, RESOLUTION_X) or _tag_mpp(properties, RESOLUTION_Y)
    if value is None:
        return SlideError(
            f"slide `{name}`: the file does not say its resolution (mpp).",
            code="MPP_MISSING",
            hint=_REMEDY,
        )
    return SlideError(
        f"slide `{name}`: mpp {value:g} ({_resolution_source(vendor, properties)}, "
        f"{25_400 / value:.0f} dots per inch) is a print setting, outside "
        f"{MIN_MPP:g}-{MAX_MPP:g} micrometres per pixel, and the file says nothing else.",
        code="MPP_ABSURD",
        hint=_REMEDY,
    )
