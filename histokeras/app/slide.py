"""A slide below the folder that the page was given: its picture, its tiles, its class map."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from histokeras.analysis.aggregate import SHARE, slide_sums
from histokeras.analysis.tile_predictions import BOX, predictions_path, read_slide_predictions
from histokeras.app.facts import RunFacts
from histokeras.app.settings import Settings
from histokeras.app.upload import Tile
from histokeras.cells import csv_text
from histokeras.errors import FeatureError, SlideError, TableError
from histokeras.files import canonical_json
from histokeras.report.colours import class_looks, rgb
from histokeras.report.heatmap import draw_heatmap, evidence_scale, of_tenth
from histokeras.report.heatmap_geojson import tiles_document
from histokeras.runs.gallery import head_digests
from histokeras.slides.inventory import find_slides, slide_id_of
from histokeras.slides.overview import read_overview
from histokeras.slides.pyramid import choose_level
from histokeras.slides.reader import open_slide
from histokeras.slides.source import Image
from histokeras.tiles.canvas import Canvas
from histokeras.tiles.paint import blended
from histokeras.tiles.plan import read_tile
from histokeras.types import ATTENTION, PROB, SLIDE_ID, Mpp

_SIDE_PX, _LEAST_PX = 900, 450
_TINT, _PALE = 0.6, 0.2
_FRAME = (250, 250, 250)
_FRAMED_PX = 8


@dataclass(frozen=True, eq=False)
class View:
    """A slide as a picture.

    Attributes:
        image: uint8 (h, w, 3).
        dimensions: (width, height) of level 0 in pixels.
        mpp: Micrometres per level-0 pixel; None if unknown.
    """

    image: Image
    dimensions: tuple[int, int]
    mpp: float | None

    @property
    def said(self) -> str:
        """What it is, and how wide."""
        if self.mpp is None:
            return "The slide"
        return f"The slide, {self.dimensions[0] * self.mpp / 1000:.2g} mm wide"


def choices(folder: Path) -> dict[str, Path]:
    """Return slide_id to file of the slides in a folder and its subfolders.

    Raises:
        SlideError: If there is none.
        TableError: If two have the same id.
    """
    return {slide_id_of(path): path for path in find_slides([folder], recursive=True)}


def require_own_predictions(settings: Settings) -> None:
    """Refuse a folder of predictions that another run made.

    Raises:
        FeatureError: CONFIG_MISMATCH.
    """
    folder = settings.predictions
    if folder is not None and head_digests(folder) != head_digests(settings.run):
        raise FeatureError(
            f"{folder} holds no predictions of this run.",
            code="CONFIG_MISMATCH",
            hint="Give --predictions a folder that `histokeras predict RUN` wrote.",
        )


def saved_predictions(
    settings: Settings, facts: RunFacts, slide_id: str
) -> tuple[pd.DataFrame | None, str]:
    """Return a slide's predictions as files hold them, and whose they are; None if there are none.

    Raises:
        TableError: If they are damaged or of other classes.
    """
    folders = {settings.run: "the run", settings.predictions: "`histokeras predict`"}
    for folder, whose in folders.items():
        if folder is None or not predictions_path(folder, slide_id).is_file():
            continue
        table = read_slide_predictions(slide_id, [folder])
        if table.empty or any(f"{PROB}{name}" not in table for name in facts.classes):
            raise TableError(f"predictions of slide `{slide_id}` hold no {facts.classes}.")
        return table, f"These predictions are those of {whose}."
    return None, ""


def view_slide(path: Path, slide_id: str, *, default_mpp: float | None = None) -> View:
    """Return the picture of a slide.

    Args:
        path: The slide.
        slide_id: What it is called.
        default_mpp: For a slide that does not tell.

    Raises:
        SlideError: If it cannot be read.
    """
    with open_slide(path, default_mpp=default_mpp, slide_id=slide_id) as slide:
        width, height = slide.dimensions
        shrink = max(1.0, max(width, height) / _SIDE_PX)
        shown = max(1, round(width / shrink)), max(1, round(height / shrink))
        image = read_overview(slide, shown, holes=np.zeros(shown[::-1], np.bool_))
        try:
            mpp = float(slide.mpp)
        except SlideError:
            # The picture can do without.
            mpp = None
    times = -(-_LEAST_PX // max(shown))
    return View(image.repeat(times, axis=0).repeat(times, axis=1), (width, height), mpp)


def require_inside(view: View, table: pd.DataFrame, slide_id: str) -> None:
    """Refuse predictions that reach beyond the slide.

    Raises:
        TableError: PREDICTIONS_UNFIT.
    """
    right = int((table["minx"] + table["width"]).max())
    bottom = int((table["miny"] + table["height"]).max())
    width, height = view.dimensions
    if right > width or bottom > height:
        raise TableError(
            f"predictions of slide `{slide_id}` reach to x={right} y={bottom}, the slide has "
            f"{width} x {height} px.",
            code="PREDICTIONS_UNFIT",
            hint="Is this another slide under the same name?",
        )


def slide_tile(
    path: Path, slide_id: str, location: tuple[int, int], facts: RunFacts, default_mpp: float | None
) -> Tile:
    """Read one tile of a slide as the run's tiles were cut.

    Raises:
        SlideError: If it cannot be read, or does not lie within the slide.
    """
    features = facts.features
    size = int(features["tile_size_px"])
    with open_slide(path, default_mpp=default_mpp, slide_id=slide_id) as slide:
        choice = choose_level(
            slide.mpp, slide.level_downsamples, Mpp(float(features["tile_mpp"])),
            tolerance=float(features.get("tile_mpp_tolerance", 0.05)), name=slide.name,
        )  # fmt: skip
        side = choice.size_level0_px(size)
        if location[0] + side > slide.dimensions[0] or location[1] + side > slide.dimensions[1]:
            raise SlideError(f"slide `{slide_id}` is smaller than the run's one of that name.")
        image = read_tile(slide, choice, size, location)
    name = f"{slide_id} · x {location[0]}, y {location[1]}"
    return Tile(image, "Read from the slide.", name)


def class_map(view: View, table: pd.DataFrame, classes: Sequence[str], threshold: float) -> Image:
    """Return the slide with each tile in the colour of its most probable class.

    Tiles whose best class has less than ``threshold`` are pale; where tiles overlap, the
    surest lies on top.

    Args:
        view: The slide.
        table: Its tiles with ``prob_<class>``.
        classes: In the order of the run.
        threshold: Probability, 0..1.
    """
    height, width = view.image.shape[:2]
    canvas = Canvas((width, height), view.dimensions)
    places = [canvas.place(tuple(box)) for box in table[list(BOX)].to_numpy().tolist()]
    probs = table[[f"{PROB}{name}" for name in classes]].to_numpy(np.float32)
    best, sure = probs.argmax(axis=1), probs.max(axis=1)
    paint = np.zeros((height, width, 3), np.uint8)
    strength = np.zeros((height, width), np.float32)
    palette = [rgb(class_looks(classes)[name].colour) for name in classes]
    for i in np.argsort(sure, kind="stable"):
        left, top, right, bottom = places[i]
        paint[top:bottom, left:right] = palette[best[i]]
        strength[top:bottom, left:right] = _TINT if sure[i] >= threshold else _PALE
    mapped = blended(view.image, paint, strength)
    for left, top, right, bottom in places:
        if right - left >= _FRAMED_PX:
            mapped[[top, bottom - 1], left:right] = _FRAME
            mapped[top:bottom, [left, right - 1]] = _FRAME
    return mapped


def attention_picture(view: View, table: pd.DataFrame, slide_id: str) -> bytes:
    """Return the slide and what each tile weighs in its bag, as a PNG."""
    height, width = view.image.shape[:2]
    canvas = Canvas((width, height), view.dimensions)
    weights = table[ATTENTION].to_numpy(np.float64)
    for box, weight in zip(table[list(BOX)].to_numpy().tolist(), weights, strict=True):
        canvas.add(tuple(box), np.full((1, 1), weight, np.float32))
    values = canvas.values()
    says = (
        f"attention · {weights.sum():.2f} on this slide, the tenth of tiles with most of it "
        f"{of_tenth(weights):.2f}"
    )
    return draw_heatmap(
        view.image,
        values,
        evidence_scale(values),
        titles=(slide_id, says),
        um_per_px=None if view.mpp is None else view.mpp * view.dimensions[0] / width,
        note=f"{len(table)} tiles. For research use only.",
    )


def composition(table: pd.DataFrame, classes: Sequence[str], slide_id: str) -> dict[str, float]:
    """Return class to the share of tiles in which it is the most probable one, 0..1."""
    row = slide_sums(table.assign(**{SLIDE_ID: slide_id}), classes).iloc[0]
    return {name: float(row[f"{SHARE}{name}"]) for name in classes}


def bag_probabilities(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, float]:
    """Return class to the probability of the bag, which all its tiles bear alike."""
    return {name: float(table[f"{PROB}{name}"].iloc[0]) for name in classes}


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as CSV in which no cell is a formula."""
    return csv_text(table).encode("utf-8")


def geojson_bytes(slide_id: str, table: pd.DataFrame, classes: Sequence[str]) -> bytes:
    """Return a slide's tiles as GeoJSON that QuPath opens."""
    return canonical_json(tiles_document(slide_id, table, classes)).encode("utf-8")
