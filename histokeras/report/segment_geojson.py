"""Areas of a class mask as GeoJSON for QuPath."""

from collections.abc import Mapping
from typing import Any

from histokeras.slides.outlines import Outlines
from histokeras.slides.qupath import feature_collection, outline_feature


def outlines_document(
    slide_id: str,
    outlines: Outlines,
    colours: Mapping[str, tuple[int, int, int]],
    scale: float,
    mpp: float | None,
) -> dict[str, Any]:
    """Return each area as an annotation of its class, in the class's colour.

    Args:
        slide_id: The slide.
        outlines: Its areas in pixels of the mask.
        colours: Red, green and blue of each class, in the order of the mask's numbers.
        scale: Level-0 pixels per pixel of the mask.
        mpp: Micrometres per pixel of the mask; None if unknown.

    Returns:
        The document; ``traced_at_um_per_px`` tells how finely the outlines were traced, or
        ``traced_at_px``, in pixels of the mask, where the mpp is unknown.
    """
    classes, features = list(colours), []
    for number, areas in outlines.areas.items():
        name = classes[number]
        for rings in areas:
            x, y = rings[0][0].tolist()
            level0 = [(ring * scale).round(2) for ring in rings]
            key = f"{slide_id} {name} {x:g} {y:g} {len(rings[0])}"
            features.append(outline_feature(key, level0, name, colours[name]))
    traced: dict[str, Any] = {"traced_at_px": outlines.factor}
    if mpp is not None:
        traced = {"traced_at_um_per_px": round(outlines.factor * mpp, 6)}
    return {**feature_collection(features), **traced}
