"""One picture of ``heatmap``: the slide, and beside it what a run says of its tiles."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.tile_predictions import BOX
from histokeras.errors import SlideError
from histokeras.report.class_map import class_shares, draw_class_map, most_probable
from histokeras.report.heatmap import draw_heatmap, evidence_scale, of_tenth, probability_scale
from histokeras.report.heatmap_job import HeatmapJob
from histokeras.slides.overview import read_overview
from histokeras.slides.slide import Slide
from histokeras.tiles.canvas import Canvas
from histokeras.types import ATTENTION, PROB

LEAST_PX = 500
"""A smaller slide is enlarged, so that its tiles and the words can be told apart."""
_CLEAR_SHARE = 0.1
_FRAMED_PX = 8


def draw_picture(
    job: HeatmapJob,
    slide: Slide,
    table: pd.DataFrame,
    classes: Sequence[str],
    name: str,
    count: Callable[[int], None],
) -> tuple[bytes, dict[str, Any]]:
    """Draw one map of a slide beside its thumbnail.

    Args:
        job: What is drawn.
        slide: The open slide.
        table: Predictions of its tiles.
        classes: Of the run, in order.
        name: The class; "" where all or none are drawn.
        count: Called with the number of tiles done.

    Returns:
        A PNG, and what heatmaps.csv says of it.
    """
    thumbnail, size = _thumbnail(slide, job.side_px)
    canvas = Canvas(size, slide.dimensions)
    if job.by_class:
        count(len(table))
        return _class_picture(slide, table, thumbnail, canvas, classes), _figures(table)
    figures = _fill(job, slide, table, canvas, name, count)
    return _picture(job, slide, table, thumbnail, canvas, figures, name), figures


def _class_picture(
    slide: Slide, table: pd.DataFrame, thumbnail: Any, canvas: Canvas, classes: Sequence[str]
) -> bytes:
    found = most_probable(table, classes)
    return draw_class_map(
        thumbnail,
        [canvas.place(tuple(box)) for box in table[list(BOX)].to_numpy().tolist()],
        found,
        table[[f"{PROB}{name}" for name in classes]].max(axis=1).tolist(),
        class_shares(found, classes),
        titles=(slide.slide_id, "most probable class of each tile · share of the tiles"),
        um_per_px=_um_per_px(slide, thumbnail),
        note=_note(slide, table),
    )


def _figures(table: pd.DataFrame) -> dict[str, Any]:
    names = ("mean_prob", "share_of_tiles_above_half", "positive_share", "layer")
    return {"n_tiles": len(table), **dict.fromkeys(names, "")}


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
    figures = _figures(table)
    if not job.attention:
        figures["mean_prob"] = round(float(probs.mean(dtype=np.float64)), 6)
        figures["share_of_tiles_above_half"] = round(float((probs >= 0.5).mean()), 6)
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
        um_per_px=_um_per_px(slide, thumbnail),
        note=_note(slide, table),
        frames=[box for box in frames if box[2] - box[0] >= _FRAMED_PX],
    )


def _um_per_px(slide: Slide, thumbnail: Any) -> float | None:
    mpp = _mpp(slide)
    return None if mpp is None else mpp * slide.dimensions[0] / float(thumbnail.shape[1])


def _note(slide: Slide, table: pd.DataFrame) -> str:
    mpp, side = _mpp(slide), int(table["width"].iloc[0])
    um = "" if mpp is None else f" = {side * mpp:.0f} µm"
    return (
        f"{len(table)} tiles of {side} px{um}; where no tile was kept the slide is bare. For "
        "research use only."
    )


def _mpp(slide: Slide) -> float | None:
    try:
        return float(slide.mpp)
    except SlideError:
        # The picture can do without; only its scale bar cannot.
        return None
