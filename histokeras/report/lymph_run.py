"""``lymph-nodes`` as a whole: many slides to nodes, T/MLN and pN. One bad slide stops nobody."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from histokeras import files
from histokeras.analysis.lymph_nodes import NODE_COLUMNS
from histokeras.analysis.lymph_patients import FLAG_SEPARATOR, FLAGS, LEARNED, patient_table
from histokeras.errors import ConfigError, OutputError, SlideError
from histokeras.report.lymph_job import COMMAND, FACTS, LymphJob, NodeSlide
from histokeras.report.lymph_page import write_lymph_pages
from histokeras.report.lymph_slide import digests, measure_slide
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
from histokeras.slides.reader import open_slide
from histokeras.slides.slide import Slide
from histokeras.types import PATIENT_ID, SLIDE_ID

_LOG = logging.getLogger(__name__)
SLIDES, NODES, PATIENTS = "slides.csv", "nodes.csv", "patients.csv"
DONE, EMPTY, FAILED, NOT_DONE = "done", "empty", "failed", "not done"
"""Outcomes in slides.csv; the last is of slides that nobody has come to yet."""
_ROW = (
    "mpp", "mpp_source", "overview_mpp", "width_px", "height_px", "scale", "n_nodes",
    "n_metastatic", "n_dropped", "tiles_on_grid", "tiles_read", "share_not_read",
    "tiles_read_again",
)  # fmt: skip
_COUNTS = (
    "width_px", "height_px", "n_nodes", "n_metastatic", "n_dropped", "tiles_on_grid", "tiles_read",
    "tiles_read_again",
)  # fmt: skip


def measure_lymph_nodes(
    job: LymphJob,
    *,
    config: Mapping[str, Any] | None = None,
    command_line: str = "",
    quiet: bool = False,
) -> RunRecord:
    """Measure the lymph nodes of every slide of a job; finished slides are skipped.

    Args:
        job: What to do.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.
        quiet: Say nothing of the progress.

    Returns:
        The record: ``slides`` has one entry a slide with ``outcome`` (done, skipped, empty, failed
        or left out), ``facts["failures"]`` the rows of failures.csv.

    Raises:
        ConfigError: If the folder is another command's, or was written with other networks or
            rules; nothing has been done then.
        OutputError: If the output cannot be written.
    """
    require_own_folder(job.output, (COMMAND,), (SLIDES, NODES, PATIENTS))
    require_same_names(job.output, pseudonyms=job.pseudonyms)
    _require_same_settings(job)
    files.prepare_folder(job.output)
    files.remove_leftovers(job.output)
    record = RunRecord(
        COMMAND, config or {}, command_line=command_line, slides=[dict(row) for row in job.left_out]
    )
    record.facts = {"settings": job.settings, "cutoff": job.cutoff}
    own = job.share.own
    taken = [entry for entry in job.slides if entry.slide_id in own]
    each_slide(
        record,
        job.output,
        job.share,
        taken,
        lambda one, progress: _measure(job, one, progress),
        lambda: write_tables(job, {row["slide"]: row["outcome"] for row in record.slides}),
        quiet=quiet,
    )
    # Not while other shards are at work; the last of them writes the pages.
    whole = read_record(job.output)
    if str(whole.get("status", "")).startswith("done"):
        if job.shard is not None:
            # What others failed at is known only now, and old figures of it may lie there.
            write_tables(job, {row["slide"]: row["outcome"] for row in whole["slides"]})
        write_lymph_pages(job.output)
    return record


def write_tables(job: LymphJob, outcomes: Mapping[str, str]) -> None:
    """Write slides.csv, nodes.csv and patients.csv of all slides as far as they are finished.

    Args:
        job: What is done.
        outcomes: slide_id -> outcome of the slides that this process came to.
    """
    rows, nodes = [], []
    with locked(job.output):
        for entry in job.slides:
            ids = {SLIDE_ID: entry.slide_id, PATIENT_ID: entry.patient_id}
            found = read_object(job.path(entry.slide_id, FACTS))
            outcome = outcomes.get(entry.slide_id, NOT_DONE)
            if outcome == FAILED or found.get("settings") != job.settings:
                rows.append({**ids, "outcome": FAILED if outcome == FAILED else NOT_DONE})
                continue
            rows.append({**ids, "outcome": found["outcome"], **found["row"]})
            nodes += [{**ids, **node} for node in found["nodes"]]
        slides = pd.DataFrame(rows, columns=[SLIDE_ID, PATIENT_ID, "outcome", *_ROW])
        table = _node_table(nodes)
        files.write_csv(job.output / SLIDES, slides.astype(dict.fromkeys(_COUNTS, "Int64")))
        files.write_csv(job.output / NODES, table)
        _write_patients(job, slides, table)


def _node_table(nodes: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(nodes, columns=[SLIDE_ID, PATIENT_ID, *NODE_COLUMNS])
    return table.astype({"metastatic": np.bool_, "max_prob": np.float64})


def _write_patients(job: LymphJob, slides: pd.DataFrame, nodes: pd.DataFrame) -> None:
    """Write patients.csv; there is none where no patient is known."""
    known = slides[slides[PATIENT_ID] != ""]
    if known.empty:
        files.remove(job.output, [PATIENTS])
        return
    # A slide that nobody has come to yet is missing as one that failed is.
    known = known.assign(outcome=known["outcome"].replace(NOT_DONE, FAILED))
    table = patient_table(nodes[nodes[PATIENT_ID] != ""], known, job.rules, job.cutoff)
    learned = table[PATIENT_ID].isin(job.learned)
    said = (table[FLAGS] + FLAG_SEPARATOR).where(table[FLAGS] != "", "") + LEARNED
    table[FLAGS] = table[FLAGS].where(~learned, said)
    files.write_csv(job.output / PATIENTS, table)


def _require_same_settings(job: LymphJob) -> None:
    found = read_record(job.output).get("settings", job.settings)
    keys = {*job.settings, *found}
    differing = sorted(key for key in keys if found.get(key) != job.settings.get(key))
    if differing and not job.overwrite:
        raise ConfigError(
            f"{job.output} holds lymph nodes measured with other {', '.join(differing)}.",
            code="CONFIG_MISMATCH",
            hint="Choose a new output folder, or give --overwrite to measure all of them anew.",
        )


def _measure(
    job: LymphJob, entry: NodeSlide, progress: Progress
) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Measure one slide; return its outcome and, if something is wrong, its failures.csv row."""
    slide_id, stage = entry.slide_id, "open"
    known: dict[str, Any] = {"mpp": entry.mpp, "default_mpp": job.default_mpp, SLIDE_ID: slide_id}
    facts: dict[str, Any] = {}
    try:
        with called(entry.path, slide_id), open_slide(entry.path, **known) as slide:
            facts = _facts(job, slide, entry)
            if not job.overwrite and _is_finished(job, slide_id, facts):
                detail = "finished before with the same settings"
                return {"slide": slide_id, "outcome": "skipped", "detail": detail}, None
            stage = COMMAND
            outcome = _write(job, slide, entry, facts, progress)
    except OutputError:
        raise
    except Exception as error:
        if not isinstance(error, SlideError):
            _LOG.warning("slide %s failed unexpectedly", slide_id, exc_info=True)
        empty = isinstance(error, SlideError) and error.code == "NO_TISSUE"
        if empty:
            # Known to hold nothing: its patient lacks no slide.
            for path in job.files(slide_id).values():
                files.remove(path.parent, [path.name])
            content = {**facts, "outcome": EMPTY, "row": {}, "nodes": [], "files": {}}
            files.write_json(job.path(slide_id, FACTS), content)
        outcome = {"slide": slide_id, "outcome": EMPTY if empty else FAILED}
        return outcome, failure(slide_id, stage, error)
    return outcome, None


def _facts(job: LymphJob, slide: Slide, entry: NodeSlide) -> dict[str, Any]:
    """Return what a finished slide must have been made with."""
    drawn = {
        what: files.sha256_file(path)
        for what, path in (("nodes", entry.nodes), ("tumour", entry.tumour))
        if path is not None
    }
    return {
        "content": slide.content_id(),
        "slide_mpp": float(slide.mpp),
        "drawn": drawn,
        "settings": job.settings,
    }


def _is_finished(job: LymphJob, slide_id: str, facts: Mapping[str, Any]) -> bool:
    found = read_object(job.path(slide_id, FACTS))
    if found.get("outcome") != DONE or any(found.get(key) != facts[key] for key in facts):
        return False
    return len(found["files"]) == len(job.files(slide_id)) and found["files"] == digests(
        job, slide_id
    )


def _write(
    job: LymphJob,
    slide: Slide,
    entry: NodeSlide,
    facts: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    row, nodes = measure_slide(job, slide, entry, progress.tiles)
    content = {
        **facts,
        "outcome": DONE,
        "row": row,
        "nodes": [_plain(node) for node in nodes.to_dict("records")],
        "files": digests(job, entry.slide_id),
    }
    # Last of all: a slide with this file is finished.
    files.write_json(job.path(entry.slide_id, FACTS), content)
    detail = "; ".join([_told(row), *slide.notes])
    return {"slide": entry.slide_id, "outcome": DONE, "detail": detail}


def _plain(node: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row as JSON has it: None for a number that is not known."""
    return {
        str(key): None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in node.items()
    }


def _told(row: Mapping[str, Any]) -> str:
    n = row["n_nodes"]
    text = f"{n} node{'s' * (n != 1)}, {row['n_metastatic']} metastatic"
    if row["n_dropped"]:
        text += f", {row['n_dropped']} too small"
    if row["share_not_read"] is not None:
        text += f"; {row['share_not_read']:.1%} of the tiles never read"
    return text
