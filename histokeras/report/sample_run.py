"""``sample-tiles`` as a whole: labelled tiles of many slides. One bad slide stops nobody."""

import io
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image as PillowImage

from histokeras import files
from histokeras.errors import ConfigError, OutputError, SlideError
from histokeras.report.lymph_job import NodeSlide
from histokeras.report.sample_job import COMMAND, SampleJob
from histokeras.runs.each import each_slide
from histokeras.runs.lock import locked
from histokeras.runs.progress import Progress
from histokeras.runs.record import (
    RunRecord,
    failure,
    read_object,
    read_record,
    require_own_folder,
    require_same_names,
)
from histokeras.slides.annotations import require_on_slide
from histokeras.slides.called import called
from histokeras.slides.reader import open_slide
from histokeras.slides.slide import Slide
from histokeras.slides.source import Image
from histokeras.tiles.sample import sample_tiles
from histokeras.tiles.sample_places import NORMAL, TUMOUR
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, TILE

_LOG = logging.getLogger(__name__)
IMAGES, TILES, SLIDES = "images", "tiles.csv", "sample.csv"
_COLUMNS = [TILE, LABEL, PATIENT_ID, SLIDE_ID, "mpp", "x", "y", "share", "hard", "prob"]


def sample_slides(
    job: SampleJob,
    *,
    config: Mapping[str, Any] | None = None,
    command_line: str = "",
    quiet: bool = False,
) -> RunRecord:
    """Draw tiles of every slide of a job; slides that are finished already are skipped.

    Args:
        job: What to do.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.
        quiet: Say nothing of the progress.

    Returns:
        The record: ``slides`` has one entry a slide with ``outcome`` (done, skipped, empty, failed
        or left out), ``facts["failures"]`` the rows of failures.csv.

    Raises:
        ConfigError: If the folder is another command's, or was written with other settings; nothing
            has been done then.
        OutputError: If the output cannot be written.
    """
    require_own_folder(job.output, (COMMAND,), (TILES, SLIDES))
    require_same_names(job.output, pseudonyms=job.pseudonyms)
    _require_same_settings(job)
    for folder in ("facts", f"{IMAGES}/{NORMAL}", f"{IMAGES}/{TUMOUR}"):
        files.prepare_folder(job.output / folder)
        files.remove_leftovers(job.output / folder)
    record = RunRecord(
        COMMAND, config or {}, command_line=command_line, slides=[dict(row) for row in job.left_out]
    )
    record.facts = {"settings": job.settings}
    own = job.share.own
    taken = [slide for slide in job.slides if slide.slide_id in own]
    each_slide(
        record,
        job.output,
        job.share,
        taken,
        lambda one, progress: _sample(job, one, progress),
        lambda: _write_tables(job, record.slides),
        quiet=quiet,
    )
    whole = read_record(job.output)
    if job.shard is not None and str(whole.get("status", "")).startswith("done"):
        # What others failed at is known only now.
        _write_tables(job, whole["slides"])
    return record


def _require_same_settings(job: SampleJob) -> None:
    found = read_record(job.output).get("settings", job.settings)
    differing = sorted(key for key, value in job.settings.items() if found.get(key) != value)
    if differing and not job.overwrite:
        raise ConfigError(
            f"{job.output} holds tiles drawn with other {', '.join(differing)}.",
            code="CONFIG_MISMATCH",
            hint="Choose a new output folder, or give --overwrite to draw all of them anew.",
        )


def _write_tables(job: SampleJob, outcomes: Sequence[Mapping[str, Any]]) -> None:
    """Write tiles.csv and sample.csv of all slides that are finished by now.

    What was drawn earlier from a slide that fails now may be from another drawing: it is left out.
    """
    failed = {row["slide"] for row in outcomes if row["outcome"] == "failed"}
    tiles, slides = [], []
    with locked(job.output):
        for one in job.slides:
            found = read_object(job.facts_path(one.slide_id))
            if found.get("settings") == job.settings and one.slide_id not in failed:
                known = {SLIDE_ID: one.slide_id, PATIENT_ID: one.patient_id}
                tiles += [{**row, **known} for row in found["tiles"]]
                slides.append({**known, **found["row"]})
        files.write_csv(job.output / TILES, pd.DataFrame(tiles, columns=_COLUMNS))
        files.write_csv(job.output / SLIDES, pd.DataFrame(slides))


def _sample(
    job: SampleJob, one: NodeSlide, progress: Progress
) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Draw from one slide; return its outcome and, if something is wrong, its failures.csv row."""
    slide_id, stage = one.slide_id, "open"
    known: dict[str, Any] = {"mpp": one.mpp, "default_mpp": job.default_mpp, "slide_id": slide_id}
    try:
        with called(one.path, slide_id), open_slide(one.path, **known) as slide:
            drawn = job.drawn_files(one)
            facts = _facts(job, slide, drawn)
            found = {} if job.overwrite else read_object(job.facts_path(slide_id))
            if _is_finished(job, found, facts):
                return _outcome(slide_id, found["row"], again=True), None
            stage = COMMAND
            row = _draw(job, slide, drawn, facts, progress)
    except OutputError:
        raise
    except Exception as error:
        if not isinstance(error, SlideError):
            _LOG.warning("slide %s failed unexpectedly", slide_id, exc_info=True)
        return {"slide": slide_id, "outcome": "failed"}, failure(slide_id, stage, error)
    outcome = _outcome(slide_id, row, again=False)
    if outcome["outcome"] == "empty":
        what = "no tile of it is surely normal or tumour and has tissue."
        empty = SlideError(what, code="NO_TILES", hint="Look at its drawn regions.")
        return outcome, failure(slide_id, COMMAND, empty)
    return outcome, None


def _facts(job: SampleJob, slide: Slide, drawn: tuple[Path, Path | None]) -> dict[str, Any]:
    """Return what a finished slide must have been drawn from."""
    hard = ""
    if job.hard is not None and slide.slide_id in job.hard.slides:
        hard = job.hard.digest(slide.slide_id)
    return {
        "content": slide.content_id(),
        "slide_mpp": float(slide.mpp),
        "drawn": [None if path is None else files.sha256_file(path) for path in drawn],
        "predictions": hard,
        "settings": job.settings,
    }


def _is_finished(job: SampleJob, found: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    if any(found.get(key) != value for key, value in facts.items()):
        return False
    digests = {row[TILE]: row["sha256"] for row in found["tiles"]}
    paths = {name: job.output / name for name in digests}
    return all(
        path.is_file() and files.sha256_file(path) == digests[name] for name, path in paths.items()
    )


def _draw(
    job: SampleJob,
    slide: Slide,
    drawn: tuple[Path, Path | None],
    facts: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    slide_id = slide.slide_id
    tumour, within = job.drawings(*drawn)
    for path, drawing in zip(drawn, (tumour, within), strict=True):
        if path is not None and drawing is not None:
            require_on_slide(drawing.regions, slide.dimensions, path)
    is_hard = job.hard is not None and slide_id in job.hard.slides
    _remove_images(job, slide_id)
    digests: dict[tuple[int, int], tuple[str, str]] = {}

    def save(x: int, y: int, label: str, image: Image) -> None:
        buffer = io.BytesIO()
        PillowImage.fromarray(image).save(buffer, format="PNG", compress_level=3)
        name = f"{IMAGES}/{label}/{files.safe_name(slide_id)}_{x}_{y}.png"
        files.write_bytes(job.output / name, buffer.getvalue())
        digests[x, y] = name, files.sha256_bytes(buffer.getvalue())
        progress.tiles(1)

    sample = sample_tiles(
        slide,
        job.spec,
        tumour,
        within,
        suspects=job.hard.suspects(slide_id) if job.hard is not None and is_hard else None,
        on_tile=save,
        workers=job.workers,
    )
    slide.require_unchanged()
    tiles = []
    for one in sample.table.astype(object).to_dict("records"):
        name, digest = digests[one["x"], one["y"]]
        prob = None if pd.isna(one["prob"]) else one["prob"]
        tiles.append({**one, TILE: name, "sha256": digest, "prob": prob})
    labels, hard = sample.table[LABEL], sample.table["hard"] == 1
    row = {
        TUMOUR: int((labels == TUMOUR).sum()),
        NORMAL: int(((labels == NORMAL) & ~hard).sum()),
        "hard": int(hard.sum()),
        **{f"places_{label}": n for label, n in sample.places.items()},
    }
    # Last of all: a slide with this file is finished.
    files.write_json(job.facts_path(slide_id), {**facts, "row": row, "tiles": tiles})
    return row


def _remove_images(job: SampleJob, slide_id: str) -> None:
    """Remove tiles that were drawn before with other settings, or cut off in their midst."""
    files.remove(job.facts_path(slide_id).parent, [job.facts_path(slide_id).name])
    name = re.compile(rf"{re.escape(files.safe_name(slide_id))}_\d+_\d+\.png")
    for label in (NORMAL, TUMOUR):
        folder = job.output / IMAGES / label
        files.remove(folder, [path.name for path in folder.iterdir() if name.fullmatch(path.name)])


def _outcome(slide_id: str, row: Mapping[str, Any], *, again: bool) -> dict[str, Any]:
    n = row[TUMOUR] + row[NORMAL] + row["hard"]
    text = f"{row[TUMOUR]} tumour, {row[NORMAL]} normal"
    text += f", {row['hard']} hard" if row["hard"] else ""
    text += " (finished before with the same settings)" if again else ""
    outcome = "empty" if not n else "skipped" if again else "done"
    return {"slide": slide_id, "outcome": outcome, "detail": text, **row}
