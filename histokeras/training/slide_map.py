"""Grad-CAM over a whole slide, tile by tile."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.errors import FeatureError
from histokeras.features.seen import slide_change
from histokeras.slides.pyramid import choose_level
from histokeras.slides.slide import Slide
from histokeras.tiles.canvas import Canvas
from histokeras.tiles.plan import read_tile
from histokeras.training.classifier import Classifier, open_classifier
from histokeras.training.explain import grad_cam, require_layer, unseen_maps

Boxes = npt.NDArray[np.int64]
_BATCH = 16


def draw_grad_cam(
    classifier: Classifier,
    slide: Slide,
    boxes: Boxes,
    canvas: Canvas,
    *,
    target: int,
    layer: str,
    count: Callable[[int], None] = lambda n: None,
) -> float:
    """Lay Grad-CAM of every tile over the slide, in logits, comparable from tile to tile.

    No tile is scaled by its own maximum: that would give each a hot spot.

    Args:
        classifier: The network.
        slide: The open slide.
        boxes: int64 (n, 4): x, y, width, height of its tiles in level-0 pixels.
        canvas: Where the maps are added.
        target: Number of the class.
        layer: The layer whose maps are used.
        count: Called with the number of tiles done.

    Returns:
        The positive share of all evidence of the slide, 0..1.

    Raises:
        FeatureError: If the tiles have another size than the run's have on this slide.
        SlideError: If a tile cannot be read, or the resolution is unknown.
    """
    spec = classifier.tile_spec
    choice = choose_level(
        slide.mpp,
        slide.level_downsamples,
        spec.mpp,
        tolerance=spec.mpp_tolerance,
        name=slide.path.name,
    )
    side = choice.size_level0_px(spec.size_px)
    if (boxes[:, 2:] != side).any():
        raise FeatureError(
            f"slide `{slide.slide_id}`: its predictions are of tiles of {boxes[0, 2]} level-0 px, "
            f"at this resolution the run's tiles have {side}.",
            code="CONFIG_MISMATCH",
            hint="Give the resolution that was used: --slide-table or --default-mpp.",
        )
    change = slide_change(slide, spec, str(classifier.run.settings.get("stain_norm", "none")))
    positive = everything = 0.0
    for start in range(0, len(boxes), _BATCH):
        part = boxes[start : start + _BATCH].tolist()
        tiles = (read_tile(slide, choice, spec.size_px, (x, y)) for x, y, _, _ in part)
        images = np.stack([change(tile) for tile in tiles])
        maps = grad_cam(classifier.model, classifier.preprocess(images), target, layer)
        for box, values in zip(part, maps, strict=True):
            canvas.add(tuple(box), values.clip(0))
        positive += float(maps.clip(0).sum(dtype=np.float64))
        everything += float(np.abs(maps).sum(dtype=np.float64))
        count(len(part))
    return positive / everything if everything > 0 else 0.0


def slide_evidence(
    run: Path, weights: str | None, layer: str | None, *, trust: str | None = None
) -> tuple[Any, str, list[str]]:
    """Return what lays Grad-CAM of a run's network over slides, and the layer it uses.

    Args:
        run: The run folder.
        weights: Path of the weights file, if the run used one.
        trust: SHA-256 of a whole model whose weights may be taken.
        layer: Name of the layer; the last map before the global average if None.

    Returns:
        A function of slide, boxes, canvas, class and counter, as
        :class:`histokeras.report.heatmap_job.HeatmapJob` takes it; the layer's name; maps that the
        features average too, and that are not shown.

    Raises:
        ConfigError: If there is no such layer, or the run has no network.
        MissingError: If weights are missing.
    """
    classifier = open_classifier(run, weights, trust=trust)
    name = require_layer(classifier.model, layer)

    def evidence(
        slide: Slide, boxes: Boxes, canvas: Canvas, class_name: str, count: Callable[[int], None]
    ) -> float:
        target = classifier.number(class_name)
        return draw_grad_cam(
            classifier, slide, boxes, canvas, target=target, layer=name, count=count
        )

    return evidence, name, unseen_maps(classifier.model, name)
