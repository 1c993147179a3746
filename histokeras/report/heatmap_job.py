"""Which maps ``heatmap`` draws, and how it went."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.slides.inventory import SlideRow
from histokeras.slides.slide import Slide
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.tiles.canvas import Canvas
from histokeras.types import ATTENTION

PROBABILITY, GRAD_CAM, CLASS = "prob", "grad-cam", "class"
Boxes = npt.NDArray[np.int64]
Evidence = Callable[[Slide, Boxes, Canvas, str, Callable[[int], None]], float]
"""Lays a class's evidence over a canvas and returns its positive share; see
:func:`histokeras.training.slide_map.draw_grad_cam`."""


@dataclass(frozen=True, kw_only=True)
class HeatmapJob:
    """Which maps are drawn.

    Attributes:
        run: A run folder, or one of ``histokeras predict``.
        slides: Slides, or folders of slides.
        class_name: The class; the positive one if None, or each where none is positive.
        side_px: Longest side of the map in pixels.
        threshold: Tiles of at least this probability become areas in the GeoJSON; None for none.
        predictions: Folder of ``histokeras predict``, for slides that are not in the run.
        table: What the slide table says.
        default_mpp: For slides that do not tell.
        evidence: Computes Grad-CAM; None for probabilities.
        attention: Draw what each tile weighs in its bag, once a slide, and no class.
        by_class: Draw the most probable class of each tile, once a slide.
        layer: Whose maps these are, for the title.
        pseudonyms: By which outputs and predictions name the slides; None for their own names.
    """

    run: Path
    slides: Sequence[Path]
    class_name: str | None = None
    side_px: int = 1200
    threshold: float | None = None
    predictions: Path | None = None
    table: Mapping[str, SlideRow] = field(default_factory=dict)
    default_mpp: float | None = None
    evidence: Evidence | None = None
    attention: bool = False
    by_class: bool = False
    layer: str = ""
    pseudonyms: Pseudonyms | None = None

    @property
    def of(self) -> str:
        """What is drawn."""
        if self.attention:
            return ATTENTION
        if self.by_class:
            return CLASS
        return PROBABILITY if self.evidence is None else GRAD_CAM

    @property
    def of_all(self) -> bool:
        """Whether one picture a slide shows all classes, or none."""
        return self.attention or self.by_class


@dataclass
class Drawn:
    """How a job went.

    Attributes:
        rows: One a picture, as in heatmaps.csv.
        failures: Rows of failures.csv.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
