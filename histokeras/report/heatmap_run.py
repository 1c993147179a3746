"""``heatmap`` as a whole: predictions of slides to pictures, GeoJSON and one table."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.analysis.tile_predictions import read_slide_predictions
from histokeras.errors import ConfigError, FeatureError, HistokerasError, TableError
from histokeras.files import canonical_json, prepare_folder, safe_name, write_bytes, write_text
from histokeras.report.heatmap_geojson import areas_document, tiles_document
from histokeras.report.heatmap_job import Drawn, HeatmapJob
from histokeras.report.heatmap_picture import draw_picture
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
from histokeras.slides.inventory import find_slides, pseudonym_of, row_of, slide_id_of
from histokeras.slides.reader import open_slide
from histokeras.slides.slide import Slide
from histokeras.types import ATTENTION, PROB, SLIDE_ID

COMMAND, TABLE = "heatmap", "heatmaps.csv"


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
        rows = []
        for name in _classes(job, facts):
            picture, figures = draw_picture(job, slide, table, facts["classes"], name, count)
            called = f"{slide_id}.{job.of}.{name}".removesuffix(".")
            file = f"{safe_name(called)}.png"
            write_bytes(output / file, picture)
            rows.append({FILE: file, SLIDE_ID: slide_id, "of": job.of, "class": name, **figures})
    _write(
        output / f"{safe_name(slide_id)}.geojson", tiles_document(slide_id, table, facts["classes"])
    )
    if job.threshold is not None:
        for name in _classes(job, facts):
            areas = areas_document(slide_id, table, facts["classes"], name, job.threshold)
            file = f"{safe_name(f'{slide_id}.{name}.areas')}.geojson"
            _write(output / file, areas)
    return rows


def _write(path: Path, document: Mapping[str, Any]) -> None:
    # Without line breaks: with them a slide of 20,000 tiles takes four times the bytes.
    write_text(path, canonical_json(document) + "\n")


def _classes(job: HeatmapJob, facts: Mapping[str, Any]) -> list[str]:
    if job.of_all:
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
