"""``segment`` as a whole: many slides to masks, outlines and areas. One bad slide stops nobody."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras import files
from histokeras.cohort.patients import PatientFinder
from histokeras.errors import ConfigError, OutputError, SlideError
from histokeras.report.segment_job import COMMAND, SegmentJob
from histokeras.report.segment_slide import digests, file_names, segment_slide
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
from histokeras.slides.called import called
from histokeras.slides.inventory import row_of
from histokeras.slides.reader import open_slide
from histokeras.slides.slide import Slide
from histokeras.types import PATIENT_ID, SLIDE_ID

_LOG = logging.getLogger(__name__)
SLIDES, AREAS, PATIENTS = "segment.csv", "areas.csv", "patients.csv"
_FACTS = "segment.json"


def segment_slides(
    job: SegmentJob,
    *,
    config: Mapping[str, Any] | None = None,
    command_line: str = "",
    quiet: bool = False,
) -> RunRecord:
    """Segment every slide of a job; slides that are finished already are skipped.

    Args:
        job: What to do.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.
        quiet: Say nothing of the progress.

    Returns:
        The record: ``slides`` has one entry a slide with ``outcome`` (done, skipped, empty, failed
        or left out), ``facts["failures"]`` the rows of failures.csv.

    Raises:
        ConfigError: If the folder is another command's, or was written with another network or
            other settings; nothing has been done then.
        OutputError: If the output cannot be written.
    """
    require_own_folder(job.output, (COMMAND,), (SLIDES, AREAS, PATIENTS))
    require_same_names(job.output, pseudonyms=job.pseudonyms is not None)
    _require_same_settings(job)
    files.prepare_folder(job.output)
    files.remove_leftovers(job.output)
    record = RunRecord(
        COMMAND, config or {}, command_line=command_line, slides=[dict(row) for row in job.left_out]
    )
    record.facts = {"settings": job.settings}
    own = job.share.own
    taken = [path for path in job.slides if job.slide_id(path) in own]
    each_slide(
        record,
        job.output,
        job.share,
        taken,
        lambda one, progress: _segment(job, one, progress),
        lambda: write_tables(job),
        parts="windows",
        quiet=quiet,
    )
    return record


def write_tables(job: SegmentJob) -> None:
    """Write segment.csv, areas.csv and patients.csv of all slides that are finished by now."""
    rows, areas = [], []
    with locked(job.output):
        for slide_id in job.share.whole:
            found = read_object(_facts_path(job, slide_id))
            if found.get("settings") == job.settings:
                rows.append({**found["row"], PATIENT_ID: _patient(job, slide_id)})
                areas += found["areas"]
        columns = [SLIDE_ID, PATIENT_ID]
        slides = pd.DataFrame(rows)
        if rows:
            slides = slides[[*columns, *(name for name in slides if name not in columns)]]
        table = pd.DataFrame(areas)
        files.write_csv(job.output / SLIDES, slides)
        files.write_csv(job.output / AREAS, table)
        patients = patient_areas(slides, table)
        if len(patients):
            files.write_csv(job.output / PATIENTS, patients)
        else:
            files.remove(job.output, [PATIENTS])


def patient_areas(slides: pd.DataFrame, areas: pd.DataFrame) -> pd.DataFrame:
    """Add up the areas of each patient's slides.

    Args:
        slides: Rows of segment.csv.
        areas: Rows of areas.csv.

    Returns:
        A row a patient and class: patient_id, class, slides, n_px, area_mm2, share. Areas are empty
        for patients of whom a slide's mpp is unknown; their share is that of pixels.
    """
    columns = [PATIENT_ID, "class", "slides", "n_px", "area_mm2", "share"]
    if slides.empty or not slides[PATIENT_ID].any():
        return pd.DataFrame(columns=columns)
    known = slides.loc[slides[PATIENT_ID] != "", [SLIDE_ID, PATIENT_ID]]
    joined = areas.merge(known, on=SLIDE_ID)
    joined["area_mm2"] = joined["area_mm2"].astype(float)
    grouped = joined.groupby([PATIENT_ID, "class"], sort=False)
    found = grouped.agg(slides=(SLIDE_ID, "nunique"), n_px=("n_px", "sum")).reset_index()
    # One unknown area makes the sum unknown.
    found["area_mm2"] = grouped["area_mm2"].sum(skipna=False).to_numpy()
    sizes = found["area_mm2"].where(found["area_mm2"].notna(), found["n_px"])
    totals = sizes.groupby(found[PATIENT_ID]).transform("sum")
    found["share"] = sizes / totals
    order = found[PATIENT_ID].sort_values(kind="stable").index
    return found.loc[order, columns].reset_index(drop=True)


def _patient(job: SegmentJob, slide_id: str) -> str:
    return PatientFinder([], job.patients).of_slide(slide_id)


def _facts_path(job: SegmentJob, slide_id: str) -> Path:
    return job.output / f"{files.safe_name(f'{slide_id}.segment')}.json"


def _require_same_settings(job: SegmentJob) -> None:
    found = read_record(job.output).get("settings", job.settings)
    differing = sorted(key for key, value in job.settings.items() if found.get(key) != value)
    if differing and not job.overwrite:
        raise ConfigError(
            f"{job.output} holds masks made with other {', '.join(differing)}.",
            code="CONFIG_MISMATCH",
            hint="Choose a new output folder, or give --overwrite to make all of them anew.",
        )


def _segment(
    job: SegmentJob, path: Path, progress: Progress
) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Segment one slide; return its outcome and, if something is wrong, its failures.csv row."""
    slide_id, stage = job.slide_id(path), "open"
    try:
        mpp = row_of(job.table, path, slide_id).mpp
        known: dict[str, Any] = {"mpp": mpp, "default_mpp": job.default_mpp, "slide_id": slide_id}
        with called(path, slide_id), open_slide(path, **known) as slide:
            facts = _facts(job, slide)
            if not job.overwrite and _is_finished(job, slide_id, facts):
                detail = "finished before with the same settings"
                return {"slide": slide_id, "outcome": "skipped", "detail": detail}, None
            stage = COMMAND
            outcome = _write(job, slide, facts, progress)
    except OutputError:
        raise
    except Exception as error:
        if not isinstance(error, SlideError):
            _LOG.warning("slide %s failed unexpectedly", slide_id, exc_info=True)
        empty = isinstance(error, SlideError) and error.code == "NO_TISSUE"
        outcome = {"slide": slide_id, "outcome": "empty" if empty else "failed"}
        return outcome, failure(slide_id, stage, error)
    return outcome, None


def _facts(job: SegmentJob, slide: Slide) -> dict[str, Any]:
    """Return what a finished slide must have been made with."""
    try:
        mpp: float | None = float(slide.mpp)
    except SlideError:
        # Where the network needs it, the slide fails a little later.
        mpp = None
    return {"content": slide.content_id(), "slide_mpp": mpp, "settings": job.settings}


def _is_finished(job: SegmentJob, slide_id: str, facts: Mapping[str, Any]) -> bool:
    found = read_object(_facts_path(job, slide_id))
    if any(found.get(key) != value for key, value in facts.items()):
        return False
    wanted = set(file_names(job, slide_id).values())
    known = {name: digest for name, digest in found["files"].items() if name in wanted}
    return len(known) == len(wanted) and known == digests(job, slide_id)


def _write(
    job: SegmentJob, slide: Slide, facts: Mapping[str, Any], progress: Progress
) -> dict[str, Any]:
    row, areas = segment_slide(job, slide, progress.tiles)
    made = digests(job, slide.slide_id)
    # Last of all: a slide with this file is finished.
    content = {**facts, "row": row, "areas": areas, "files": made}
    files.write_json(_facts_path(job, slide.slide_id), content)
    detail = "; ".join([_told(job, areas, row), *slide.notes])
    return {"slide": slide.slide_id, "outcome": "done", "detail": detail}


def _told(job: SegmentJob, areas: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> str:
    shown = [area for area in areas if area["class"] in job.segmenter.shown]
    text = ", ".join(
        f"{area['class']} {area['share']:.1%}"
        + ("" if area["area_mm2"] is None else f" = {area['area_mm2']:.3g} mm²")
        for area in shown
    )
    at = "its own pixels" if row["mpp"] is None else f"{row['mpp']:g} um per pixel"
    return f"{text} at {at}"
