"""Lymph nodes and tumour as a pathologist drew them, on the overview of a slide."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from histokeras.analysis.lymph_nodes import KEEP, NodeRules, measure_nodes, number_nodes
from histokeras.analysis.lymph_split import Labels
from histokeras.slides.annotations import Drawing, Region
from histokeras.slides.geojson import filled
from histokeras.slides.node_classes import regions_of
from histokeras.slides.tissue import Mask


@dataclass(frozen=True)
class DrawnClasses:
    """As which classes things were drawn in a cohort.

    Attributes:
        node: Of lymph nodes.
        tumour: Of tumour; () where none was drawn in any file: then nothing is known of it.
    """

    node: tuple[str, ...]
    tumour: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class DrawnSlide:
    """What is true of a slide.

    Attributes:
        labels: Shape (h, w), int32: 0 outside, nodes 1..n in reading order.
        tumour: Shape (h, w), True where tumour was drawn; None where nothing is known of it.
        nodes: The nodes as ``measure_nodes`` gives them.
    """

    labels: Labels
    tumour: Mask | None
    nodes: pd.DataFrame


def drawn_nodes(regions: Sequence[Region], shape: tuple[int, int], scale: float) -> Labels:
    """Number nodes as they were drawn: an object of several areas, as QuPath has them, is one.

    Args:
        regions: The nodes in the order of drawing; later ones lie over earlier ones.
        shape: (height, width) of the overview.
        scale: Level-0 pixels per pixel of the overview.

    Returns:
        int32 of ``shape``: 0 outside, a number above 0 for each object.
    """
    labels = np.zeros(shape, np.int32)
    numbers: dict[tuple[str, int], int] = {}
    for at, region in enumerate(regions):
        key = ("region", at) if region.part_of is None else ("object", region.part_of)
        number = numbers.setdefault(key, len(numbers) + 1)
        where, inside = filled([ring / scale for ring in region.polygon], shape)
        labels[where][inside] = 0 if region.erases else number
    return labels


def draw_truth(
    regions: Sequence[Region],
    classes: DrawnClasses,
    shape: tuple[int, int],
    *,
    scale: float,
    mpp: float,
    rules: NodeRules,
) -> DrawnSlide:
    """Draw the truth of a slide on its overview, and measure it.

    Each drawn object is a node of its own, however small; holes are as they were drawn, and so is
    all tumour: the least areas of ``rules`` are for what a network finds.

    Args:
        regions: All that was drawn on the slide.
        classes: As which classes.
        shape: (height, width) of the overview.
        scale: Level-0 pixels per pixel of the overview.
        mpp: Micrometres per pixel of the overview.
        rules: Whether isolated tumour cells count.
    """
    drawn = drawn_nodes(regions_of(regions, classes.node), shape, scale)
    as_drawn = replace(
        rules, min_node_mm2=0.0, min_tumour_mm2=0.0, node_holes=KEEP, tumour_holes=KEEP
    )
    labels, _ = number_nodes(drawn, mpp, as_drawn)
    tumour = _tumour(regions, classes, shape, scale) if classes.tumour else None
    nodes = measure_nodes(
        labels,
        np.zeros(shape, np.bool_) if tumour is None else tumour,
        mpp,
        as_drawn,
        scale=scale,
        # A drawing has no cells: one pixel of it is enough to be measured.
        cell_um=mpp / 2,
    )
    return DrawnSlide(labels, tumour, nodes)


def _tumour(
    regions: Sequence[Region], classes: DrawnClasses, shape: tuple[int, int], scale: float
) -> Mask:
    kept = regions_of(regions, classes.tumour)
    picture = np.zeros(shape, np.uint8)
    drawing = Drawing(kept, [0 if region.erases else 1 for region in kept])
    drawing.draw(picture, (scale, scale))
    return picture > 0
