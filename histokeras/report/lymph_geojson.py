"""Lymph nodes and the tumour inside them as GeoJSON for QuPath."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from histokeras.report.colours import rgb
from histokeras.report.lymph_looks import LOOKS, look_of
from histokeras.slides.qupath import feature_collection, measured_feature
from histokeras.slides.synthetic.contours import polygons

NODE_CLASS, TUMOUR_CLASS = "Lymph node", "Tumor"
"""What QuPath calls them: the second is among its own classes."""
_MEASURED = {
    "node_area_mm2": "Node area mm^2",
    "tumour_area_mm2": "Tumor area mm^2",
    "ratio": "Tumor share",
    "n_deposits": "Deposits",
    "largest_deposit_mm": "Largest deposit mm",
    "max_prob": "Largest probability",
    "metastatic": "Metastatic",
}
Scale = float | tuple[float, float]
Rings = tuple[npt.NDArray[np.float64], ...]


def nodes_document(
    slide_id: str,
    labels: npt.NDArray[np.integer],
    tumour: npt.NDArray[np.bool_],
    nodes: pd.DataFrame,
    *,
    scale: Scale,
    mpp: float,
) -> dict[str, Any]:
    """Return each node, and each connected piece of tumour inside it, as an annotation.

    Args:
        slide_id: The slide.
        labels: (h, w), the number of the node of each pixel of the overview, 0 where none is.
        tumour: bool (h, w), the tumour as it is measured.
        nodes: A row a node: ``node_id``, and what was measured.
        scale: Level-0 pixels per pixel of the overview, or those in x and y.
        mpp: Micrometres per pixel of the overview.

    Returns:
        The document: a node is called "node 3" and carries its measurements, a deposit "node 3,
        deposit 1" and its area; ``traced_at_um_per_px`` tells how finely they were traced.
    """
    features = []
    places = ndimage.find_objects(labels)
    for row in nodes.to_dict("records"):
        number = int(row["node_id"])
        place = places[number - 1]
        inside = labels[place] == number
        features.append(_node(slide_id, number, _parts(inside, place, scale), row))
        features += _deposits(slide_id, number, inside & tumour[place], place, scale, mpp)
    return {**feature_collection(features), "traced_at_um_per_px": round(mpp, 6)}


def _parts(mask: npt.NDArray[np.bool_], place: tuple[slice, slice], scale: Scale) -> list[Rings]:
    """Return the areas of a mask that lies at a place of the overview, in level-0 pixels."""
    corner = np.array([place[1].start, place[0].start], np.float64)
    return [
        tuple(((ring + corner) * np.asarray(scale)).round(2) for ring in rings)
        for rings in polygons(mask)
    ]


def _node(slide_id: str, number: int, parts: list[Rings], row: Mapping[Any, Any]) -> dict[str, Any]:
    known = {
        title: float(row[name])
        for name, title in _MEASURED.items()
        if name in row and math.isfinite(float(row[name]))
    }
    return measured_feature(
        f"{slide_id} {NODE_CLASS} {number}",
        parts,
        NODE_CLASS,
        rgb(LOOKS[-1].colour),
        own_colour=rgb(look_of(row).colour),
        text=f"node {number}",
        measurements=known,
    )


def _deposits(
    slide_id: str,
    number: int,
    mask: npt.NDArray[np.bool_],
    place: tuple[slice, slice],
    scale: Scale,
    mpp: float,
) -> list[dict[str, Any]]:
    # Pieces that touch at a corner alone are one deposit, as where they are measured.
    pieces, _ = ndimage.label(mask, np.ones((3, 3)))
    features = []
    for piece, (rows, columns) in enumerate(ndimage.find_objects(pieces), start=1):
        inside = pieces[rows, columns] == piece
        down, right = place[0].start, place[1].start
        at = (
            slice(rows.start + down, rows.stop + down),
            slice(columns.start + right, columns.stop + right),
        )
        features.append(
            measured_feature(
                f"{slide_id} {TUMOUR_CLASS} {number} {piece}",
                _parts(inside, at, scale),
                TUMOUR_CLASS,
                rgb(LOOKS[0].colour),
                own_colour=rgb(LOOKS[0].colour),
                text=f"node {number}, deposit {piece}",
                measurements={
                    _MEASURED["tumour_area_mm2"]: np.count_nonzero(inside) * mpp**2 / 1e6
                },
            )
        )
    return features
