"""``heatmap`` as a whole: predictions of slides to pictures, GeoJSON and one table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.tile_predictions import BOX, read_slide_predictions
from histokeras.errors import ConfigError, FeatureError, HistokerasError, SlideError, TableError
from histokeras.files import canonical_json, prepare_folder, safe_name, write_bytes, write_text
from histokeras.report.colours import class_looks
from histokeras.report.heatmap import draw_heatmap, evidence_scale, of_tenth, probability_scale
from histokeras.runs.gallery import FILE, head_digests, open_gallery, write_gallery
from histokeras.runs.progress import Progress
from histokeras.runs.record import (
    RunRecord,
    failure,
    read_object,
    read_record,
    require_ended,
    write_failures,
)
from histokeras.slides.inventory import SlideRow, find_slides, pseudonym_of, row_of, slide_id_of
from histokeras.slides.overview import read_overview
from histokeras.slides.qupath import area_feature, feature_collection, tile_features
from histokeras.slides.reader import open_slide
from histokeras.slides.slide import Slide
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.tiles.canvas import Canvas
from histokeras.types import ATTENTION, PROB, SLIDE_ID

COMMAND, TABLE = "heatmap", "heatmaps.csv"
PROBABILITY, GRAD_CAM = "prob", "grad-cam"
LEAST_PX = 500
"""A smaller slide is enlarged, so that its tiles and the words can be told apart."""
_CLEAR_SHARE = 0.1
_FRAMED_PX = 8
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
    layer: str = ""
    pseudonyms: Pseudonyms | None = None

    @property
    def of(self) -> str:
        """What is drawn."""
        if self.attention:
            return ATTENTION
        return PROBABILITY if self.evidence is None else GRAD_CAM


@dataclass
class Drawn:
    """How a job went.

    Attributes:
        rows: One a picture, as in heatmaps.csv.
        failures: Rows of failures.csv.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)


def write_heatmaps(
    job: HeatmapJob,
    output: Path,
    *,
    overwrite: bool = False,
    config: Mapping[str, Any] | None = None,
    command_line: str = "",
    quiet: bool = False,
) -> Drawn:
    """Write a picture of each slide and class, a GeoJSON file a slide, and heatmaps.csv.

    Pictures of earlier calls stay, unless ``overwrite``.

    Args:
        job: What to draw.
        output: The folder.
        overwrite: Remove what earlier calls wrote there.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.
        quiet: Say nothing of the progress.

    Returns:
        What was drawn; slides that cannot be are listed, the others go on.

    Raises:
        ConfigError: If there is no such class, or the folder is another command's.
        FeatureError: If ``run`` is no run or not finished, or the folder shows another one.
        OutputError: If it cannot be written.
    """
    for folder in (job.run, job.predictions):
        if folder is not None:
            require_ended(folder, read_record(folder))
    facts = _run_facts(job.run)
    if not facts["classes"]:
        raise ConfigError(f"{job.run} predicts a number: only probabilities of classes are drawn.")
    if job.class_name is not None and job.class_name not in facts["classes"]:
        raise ConfigError(
            f"`class` must be one of {', '.join(facts['classes'])}. "
            f"Received: class={job.class_name!r}"
        )
    drawn = Drawn()
    paths = _find(job, drawn)
    earlier = open_gallery(output, COMMAND, TABLE, facts["heads"], overwrite=overwrite)
    prepare_folder(output)
    record = RunRecord(COMMAND, config or {}, facts, command_line=command_line)
    record.write(output, status="running")
    with Progress(len(paths), quiet=quiet) as progress:
        for path in paths:
            name = pseudonym_of(path, job.pseudonyms)
            try:
                rows = _draw_slide(job, path, output, facts, progress.tiles)
            except HistokerasError as error:
                if error.exit_code == 6:
                    raise
                drawn.failures.append(failure(name, COMMAND, error))
                progress.slide(name, "failed", error.code)
                continue
            drawn.rows += rows
            progress.slide(name, "done")
    write_gallery(output, TABLE, earlier, pd.DataFrame(drawn.rows))
    write_failures(output, drawn.failures)
    record.slides = [
        *({"slide": name, "outcome": "done"} for name in {row[SLIDE_ID]: 0 for row in drawn.rows}),
        *({"slide": row["slide"], "outcome": "failed"} for row in drawn.failures),
    ]
    record.write(output, status="done with failures" if drawn.failures else "done")
    return drawn


def _run_facts(run: Path) -> dict[str, Any]:
    """Return classes, positive class and digests of the heads, of a run or of its predictions."""
    cards = [run / "head" / "model.json", *sorted(run.glob("folds/[0-9]*/head/model.json"))]
    known = [card for card in map(read_object, cards) if card]
    record = known[0] if known else read_record(run)
    if not known and record.get("command") != "predict":
        raise FeatureError(
            f"{run} holds no head and no predictions.",
            code="RUN_MISSING",
            hint="Name a folder that `histokeras fit-head` or `histokeras predict` wrote.",
        )
    return {
        "classes": [str(name) for name in record.get("classes") or []],
        "positive": record.get("positive"),
        "heads": head_digests(run),
    }


def _find(job: HeatmapJob, drawn: Drawn) -> list[Path]:
    found: dict[str, Path] = {}
    for path in job.slides:
        try:
            for slide in find_slides([path]):
                found.setdefault(slide_id_of(slide), slide)
        except HistokerasError as error:
            if job.pseudonyms is not None:
                # What was mistyped may be the name of a slide: it goes to the screen alone.
                raise
            drawn.failures.append(failure(path.name, "open", error))
    if job.pseudonyms is not None:
        job.pseudonyms.require(found, "slide")
    return list(found.values())


def _draw_slide(
    job: HeatmapJob,
    path: Path,
    output: Path,
    facts: Mapping[str, Any],
    count: Callable[[int], None],
) -> list[dict[str, Any]]:
    slide_id = pseudonym_of(path, job.pseudonyms)
    folders = [job.run, *([job.predictions] if job.predictions is not None else [])]
    table = read_slide_predictions(slide_id, folders)
    missing = [name for name in facts["classes"] if f"{PROB}{name}" not in table]
    if missing or table.empty:
        raise TableError(
            f"predictions of slide `{slide_id}` hold no {', '.join(missing) or 'tile'}.",
            hint="Give predictions of this run.",
        )
    if job.attention and ATTENTION not in table:
        raise TableError(
            f"predictions of slide `{slide_id}` hold no attention.",
            code="ATTENTION_MISSING",
            hint="Only runs of `histokeras fit-head --head mil` have it.",
        )
    mpp = row_of(job.table, path, slide_id).mpp
    with open_slide(path, mpp=mpp, default_mpp=job.default_mpp, slide_id=slide_id) as slide:
        _require_inside(slide, table)
        thumbnail, size = _thumbnail(slide, job.side_px)
        rows = []
        for name in _classes(job, facts):
            canvas = Canvas(size, slide.dimensions)
            figures = _fill(job, slide, table, canvas, name, count)
            called = f"{slide_id}.{job.of}.{name}".removesuffix(".")
            file = f"{safe_name(called)}.png"
            picture = _picture(job, slide, table, thumbnail, canvas, figures, name)
            write_bytes(output / file, picture)
            rows.append({FILE: file, SLIDE_ID: slide_id, "of": job.of, "class": name, **figures})
    _write(output / f"{safe_name(slide_id)}.geojson", _tiles(slide_id, table, facts))
    if job.threshold is not None:
        for name in _classes(job, facts):
            areas = _areas(slide_id, table, facts, name, job.threshold)
            file = f"{safe_name(f'{slide_id}.{name}.areas')}.geojson"
            _write(output / file, areas)
    return rows


def _write(path: Path, document: Mapping[str, Any]) -> None:
    # Without line breaks: with them a slide of 20,000 tiles takes four times the bytes.
    write_text(path, canonical_json(document) + "\n")


def _classes(job: HeatmapJob, facts: Mapping[str, Any]) -> list[str]:
    if job.attention:
        return [""]
    chosen = job.class_name or facts["positive"]
    return [chosen] if chosen else list(facts["classes"])


def _require_inside(slide: Slide, table: pd.DataFrame) -> None:
    width, height = slide.dimensions
    right, bottom = (table["minx"] + table["width"]).max(), (table["miny"] + table["height"]).max()
    if right > width or bottom > height:
        raise TableError(
            f"predictions of slide `{slide.slide_id}` reach to x={right} y={bottom}, the slide "
            f"has {width} x {height} px.",
            code="PREDICTIONS_UNFIT",
            hint="Is this another slide, or another export of it, under the same name?",
        )


def _thumbnail(slide: Slide, side_px: int) -> tuple[Any, tuple[int, int]]:
    """Return the slide as a picture, and the size (width, height) that the map has too."""
    width, height = slide.dimensions
    longest = max(width, height)
    shrink = longest / max(min(side_px, longest), min(LEAST_PX, side_px))
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    shown = min(size[0], width), min(size[1], height)
    # Tiles that were left out as corrupt are white here too.
    small = read_overview(slide, shown, holes=np.zeros(shown[::-1], np.bool_))
    if shrink < 1:
        times = -(-size[0] // width)
        small = small.repeat(times, axis=0).repeat(times, axis=1)
        size = small.shape[1], small.shape[0]
    return small, size


def _fill(
    job: HeatmapJob,
    slide: Slide,
    table: pd.DataFrame,
    canvas: Canvas,
    name: str,
    count: Callable[[int], None],
) -> dict[str, Any]:
    """Draw the map of a class; return what heatmaps.csv says of it."""
    boxes = table[list(BOX)].to_numpy()
    probs = table[ATTENTION if job.attention else f"{PROB}{name}"].to_numpy(np.float32)
    figures: dict[str, Any] = {
        "n_tiles": len(table),
        "mean_prob": round(float(probs.mean(dtype=np.float64)), 6),
        "share_of_tiles_above_half": round(float((probs >= 0.5).mean()), 6),
        "positive_share": "",
        "layer": "",
    }
    if job.attention:
        figures |= {"mean_prob": "", "share_of_tiles_above_half": ""}
    if job.evidence is None:
        for box, prob in zip(boxes.tolist(), probs, strict=True):
            canvas.add(tuple(box), np.full((1, 1), prob, np.float32))
        count(len(boxes))
    else:
        share = job.evidence(slide, boxes, canvas, name, count)
        figures |= {"positive_share": round(share, 6), "layer": job.layer}
    return figures


def _picture(
    job: HeatmapJob,
    slide: Slide,
    table: pd.DataFrame,
    thumbnail: Any,
    canvas: Canvas,
    figures: Mapping[str, Any],
    name: str,
) -> bytes:
    mpp = _mpp(slide)
    side = int(table["width"].iloc[0])
    um = "" if mpp is None else f" = {side * mpp:.0f} µm"
    values, frames = canvas.values(), list[tuple[int, int, int, int]]()
    if job.attention:
        weights = table[ATTENTION].to_numpy(np.float64)
        says = (
            f"attention of each tile in its bag · {weights.sum():.2f} on this slide, the tenth "
            f"with most of it {of_tenth(weights):.2f}"
        )
        scale = evidence_scale(values)
    elif job.evidence is None:
        above = figures["share_of_tiles_above_half"]
        says = (
            f"probability of {name} · mean {figures['mean_prob']:.2f}, {above:.0%} of tiles ≥ 0.5"
        )
        scale = probability_scale()
    else:
        share = figures["positive_share"]
        unclear = "" if share >= _CLEAR_SHARE else " · NO CLEAR EVIDENCE"
        says = f"Grad-CAM of {name}, in logits · layer {job.layer} · positive {share:.2f}{unclear}"
        scale = evidence_scale(values)
    if job.evidence is None:
        frames = [canvas.place(tuple(box)) for box in table[list(BOX)].to_numpy().tolist()]
    return draw_heatmap(
        thumbnail,
        values,
        scale,
        titles=(slide.slide_id, says),
        um_per_px=None if mpp is None else mpp * slide.dimensions[0] / thumbnail.shape[1],
        note=f"{figures['n_tiles']} tiles of {side} px{um}; where no tile was kept the slide is "
        "bare. For research use only.",
        frames=[box for box in frames if box[2] - box[0] >= _FRAMED_PX],
    )


def _mpp(slide: Slide) -> float | None:
    try:
        return float(slide.mpp)
    except SlideError:
        # The picture can do without; only its scale bar cannot.
        return None


def _colours(classes: Sequence[str]) -> dict[str, list[int]]:
    looks = class_looks(classes)
    return {name: [int(looks[name].colour[i : i + 2], 16) for i in (1, 3, 5)] for name in classes}


def _tiles(slide_id: str, table: pd.DataFrame, facts: Mapping[str, Any]) -> dict[str, Any]:
    classes = facts["classes"]
    probs = [f"{PROB}{name}" for name in classes]
    best = table[probs].to_numpy().argmax(axis=1)
    columns = [*probs, *([ATTENTION] if ATTENTION in table else [])]
    return feature_collection(
        tile_features(
            slide_id,
            table[list(BOX)].to_numpy(),
            {column: table[column].to_numpy() for column in columns},
            [classes[i] for i in best],
            _colours(classes),
        )
    )


def _areas(
    slide_id: str, table: pd.DataFrame, facts: Mapping[str, Any], name: str, threshold: float
) -> dict[str, Any]:
    inside = table[table[f"{PROB}{name}"] >= threshold]
    colour = _colours(facts["classes"])[name]
    text = f"{PROB}{name} >= {threshold:g}"
    area = area_feature(slide_id, inside[list(BOX)].to_numpy(), name, colour, text)
    return feature_collection([] if area is None else [area])
