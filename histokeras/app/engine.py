"""The run's network, opened once for everybody who looks at the page."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from histokeras.app.settings import Settings
from histokeras.app.upload import Tile
from histokeras.errors import SlideError
from histokeras.features.seen import image_change, slide_change
from histokeras.slides.reader import open_slide
from histokeras.slides.source import Image
from histokeras.tiles.paint import blended, coloured
from histokeras.tiles.plan import TilePlan, plan_tiles
from histokeras.training.classifier import Classifier, open_classifier
from histokeras.training.explain import explain_tiles, require_layer, unseen_maps
from histokeras.training.explain_run import notes_on
from histokeras.training.explanation import Explanation, TilePlace
from histokeras.training.tile_classifier import for_slides
from histokeras.types import PROB

_BATCH = 16


@dataclass(frozen=True, eq=False)
class Engine:
    """A network and what must be known of it.

    Attributes:
        classifier: The network.
        notes: Remarks for the reader.
        mpp: What is said of the resolution of ready-made tiles, um per pixel; None for nothing.
        lock: One prediction at a time: two would only share the same cores.
    """

    classifier: Classifier
    notes: tuple[str, ...]
    mpp: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def stain_norm(self) -> str:
        """What extraction did to the stain of the run's tiles."""
        return str(self.classifier.run.settings.get("stain_norm", "none"))


def open_engine(settings: Settings) -> Engine:
    """Open the run's network and use it once, so that the first tile need not wait.

    Raises:
        HistokerasError: If the run has no network for tiles, is damaged, or weights are missing.
    """
    classifier = open_classifier(settings.run, settings.weights, trust=settings.trust)
    # Of the notes for grad-cam some name options, which a page has not.
    shown = require_layer(classifier.model, None)
    notes = [f"{note[:1].upper()}{note[1:]}." for note in notes_on(classifier, "occlusion", None)]
    notes += [
        f"The network also decides by its map {name}, which Grad-CAM here leaves out."
        for name in unseen_maps(classifier.model, shown)
    ]
    engine = Engine(classifier, tuple(notes), settings.mpp)
    side = classifier.size_px
    explain_tiles(classifier, np.full((1, side, side, 3), 255, np.uint8))
    return engine


def explain_tile(engine: Engine, tile: Tile, class_name: str) -> Explanation:
    """Compute Grad-CAM of a class on a tile of the run's own size."""
    with engine.lock:
        return explain_tiles(
            engine.classifier,
            _seen(engine, tile),
            class_name=class_name,
            places=[TilePlace(tile.name)],
        )[0]


def probabilities(engine: Engine, tile: Tile) -> dict[str, float]:
    """Return class to calibrated probability of a tile, in the order of the run."""
    with engine.lock:
        _, found = engine.classifier.score(_seen(engine, tile))
    return dict(zip(engine.classifier.classes, map(float, found[0]), strict=True))


def _seen(engine: Engine, tile: Tile) -> Image:
    """Return a tile as the network sees it, uint8 (1, size_px, size_px, 3)."""
    change = image_change("none" if tile.normalised else engine.stain_norm)
    return np.asarray(change(tile.image))[None]


def overlay(item: Explanation, opacity: float) -> Image:
    """Return a tile under its map; without clear evidence nothing is drawn.

    Args:
        item: Of Grad-CAM.
        opacity: How much of the colour shows where the map is 1, 0..1.
    """
    if not item.clear:
        return item.image
    # The hues of high values alone: the dark ones of low values would pass for haematoxylin.
    return blended(item.image, coloured(0.35 + 0.65 * item.map), opacity * item.map)


def predict_slide(
    engine: Engine,
    path: Path,
    slide_id: str,
    *,
    default_mpp: float | None = None,
    count: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Predict every tile of a slide, as ``histokeras predict`` does; nothing is written.

    Args:
        engine: The network.
        path: The slide.
        slide_id: What it is called.
        default_mpp: For a slide that does not tell.
        count: Called with the number of candidate tiles looked at, and of all.

    Returns:
        One row a kept tile: ``minx, miny, width, height`` in level-0 pixels, ``prob_<class>``.

    Raises:
        SlideError: If it cannot be read, lacks its mpp or holds no tile.
        FeatureError: If the run is on ready-made tiles of unknown resolution.
        ConfigError: If tiles of the run were cut in drawn regions.
    """
    run = engine.classifier.run
    if run.ready_made or engine.mpp is not None:
        run = for_slides(run, engine.mpp)
    spec = run.tile_spec
    with open_slide(path, default_mpp=default_mpp, slide_id=slide_id) as slide:
        plan = plan_tiles(slide, spec)
        change = slide_change(slide, spec, engine.stain_norm)
        parts = []
        for start in range(0, len(plan.candidates), _BATCH):
            rows = plan.candidates[start : start + _BATCH].tolist()
            parts.append(_predict_part(engine, plan, rows, change))
            count(min(start + _BATCH, len(plan.candidates)), len(plan.candidates))
    found = [part for part in parts if len(part)]
    if not found:
        raise SlideError(
            f"slide `{slide_id}`: no tile of it is kept, it is glass.",
            code="NO_TILES",
            hint="Look at it with `histokeras tile`.",
        )
    return pd.concat(found, ignore_index=True)


def _predict_part(
    engine: Engine, plan: TilePlan, rows: list[int], change: Callable[[Image], Image]
) -> pd.DataFrame:
    kept, images = [], []
    for row in rows:
        image = plan.read(row)
        if plan.judge(image)[1]:
            kept.append(row)
            images.append(change(image))
    if not kept:
        return pd.DataFrame()
    with engine.lock:
        _, found = engine.classifier.score(np.stack(images))
    origins, side = plan.origins[kept], plan.choice.size_level0_px(plan.spec.size_px)
    boxes = {"minx": origins[:, 0], "miny": origins[:, 1], "width": side, "height": side}
    probs = {f"{PROB}{name}": found[:, k] for k, name in enumerate(engine.classifier.classes)}
    return pd.DataFrame({**boxes, **probs})
