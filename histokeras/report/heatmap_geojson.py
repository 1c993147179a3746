"""Predictions of a slide's tiles as GeoJSON for QuPath."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from histokeras.analysis.tile_predictions import BOX
from histokeras.report.class_map import most_probable
from histokeras.report.colours import class_looks, rgb
from histokeras.slides.qupath import area_feature, feature_collection, tile_features
from histokeras.types import ATTENTION, PROB


def _colours(classes: Sequence[str]) -> dict[str, list[int]]:
    return {name: list(rgb(look.colour)) for name, look in class_looks(classes).items()}


def tiles_document(slide_id: str, table: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Return every tile as an object of its most probable class, in that class's colour.

    Args:
        slide_id: The slide.
        table: Its predictions.
        classes: In the order of the run.
    """
    probs = [f"{PROB}{name}" for name in classes]
    columns = [*probs, *([ATTENTION] if ATTENTION in table else [])]
    return feature_collection(
        tile_features(
            slide_id,
            table[list(BOX)].to_numpy(),
            {column: table[column].to_numpy() for column in columns},
            most_probable(table, classes),
            _colours(classes),
        )
    )


def areas_document(
    slide_id: str, table: pd.DataFrame, classes: Sequence[str], name: str, threshold: float
) -> dict[str, Any]:
    """Return the area of all tiles of at least a probability of a class, as one annotation.

    Args:
        slide_id: The slide.
        table: Its predictions.
        classes: In the order of the run.
        name: The class.
        threshold: The probability, 0..1.
    """
    inside = table[table[f"{PROB}{name}"] >= threshold]
    text = f"{PROB}{name} >= {threshold:g}"
    boxes = inside[list(BOX)].to_numpy()
    area = area_feature(slide_id, boxes, name, _colours(classes)[name], text)
    return feature_collection([] if area is None else [area])
