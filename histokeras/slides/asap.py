"""Read the regions of ASAP's XML, as Camelyon16 and Camelyon17 come with."""

from collections.abc import Iterator
from typing import Any

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from histokeras.slides.geojson import Polygon, ring_of

_AREAS = frozenset({"polygon", "spline", "rectangle"})
_NO_GROUP = "none"


def read_asap(data: bytes) -> Iterator[tuple[str, Polygon]]:
    """Yield (class, polygon) of each annotation that encloses something, in the file's order.

    Args:
        data: The file: ``Annotation`` elements with ``PartOfGroup`` (their class; "None" is none)
            and ``Coordinate`` elements with ``Order``, ``X`` and ``Y`` in level-0 pixels.

    Raises:
        ValueError: If it is no such XML, or declares entities.
    """
    try:
        root = ElementTree.fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise ValueError("it declares entities or a document type, which are not read") from error
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"it is no XML: {error}") from error
    if root.tag != "ASAP_Annotations":
        raise ValueError(f"its root is <{str(root.tag)[:40]}>, not <ASAP_Annotations>")
    for annotation in root.iter("Annotation"):
        if annotation.get("Type", "Polygon").casefold() in _AREAS:
            group = annotation.get("PartOfGroup", "")
            label = "" if group.casefold() == _NO_GROUP else group
            yield label, (ring_of(_points(annotation)),)


def _points(annotation: Any) -> list[list[float]]:
    points = [
        (float(one.get("Order", "")), _number(one, "X"), _number(one, "Y"))
        for one in annotation.iter("Coordinate")
    ]
    return [[x, y] for _, x, y in sorted(points, key=lambda point: point[0])]


def _number(element: Any, name: str) -> float:
    # ASAP writes the comma of some languages.
    return float(element.get(name, "").replace(",", "."))
