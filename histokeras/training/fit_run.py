"""Fit a study into a run folder: every table, figure and picture, and the record."""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from histokeras.analysis.tables import write_tables
from histokeras.cohort.split_file import split_text
from histokeras.cohort.split_table import apply_split
from histokeras.errors import FeatureError, OutputError
from histokeras.features.index import FeatureIndex
from histokeras.files import (
    prepare_folder,
    remove,
    write_csv,
    write_json,
    write_text,
)
from histokeras.runs.record import (
    RunRecord,
    read_object,
    read_record,
    require_own_folder,
    write_failures,
)
from histokeras.runs.same import require_same_inputs
from histokeras.training.fit_job import FitJob, Study
from histokeras.training.fit_study import CHECKPOINTS, FitResult, fit_study
from histokeras.training.pictures import write_pictures
from histokeras.types import SLIDE_ID

# The figures go first and come last: with them there, the rest is there.
OUTPUTS = ("metrics.json", "head", "folds", "predictions", "reference", "history.csv",
           "curves.json", "slides.csv", "patients.csv", "split.csv", "dropped.csv",
           "duplicates.csv", "pictures", "pictures.csv", "report", "report.html")  # fmt: skip
"""What a run holds beside run.json and failures.csv."""
_ALWAYS = ("curves.json", "slides.csv", "patients.csv", "split.csv", "dropped.csv",
           "duplicates.csv")  # fmt: skip


@dataclass(frozen=True)
class Way:
    """How a command fits a study.

    Attributes:
        command: Its name, for run.json.
        fit: Given the study, the job and the folder, fits and predicts.
        is_whole: Given the folder of a finished run, tells whether all that this command adds to
            it is there.
        inputs: What decides the result beside the study's own inputs.
        facts: What else run.json keeps; may be filled while fitting.
        failures: Rows of failures.csv.
    """

    command: str
    fit: Callable[[Study, FitJob, Path], FitResult]
    is_whole: Callable[[Path], bool] = lambda folder: True
    inputs: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    failures: Sequence[Mapping[str, str]] = ()


def run_fit(
    job: FitJob,
    study: Study,
    folder: Path,
    *,
    config: dict[str, Any],
    command_line: str = "",
    overwrite: bool = False,
    way: Way | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> FitResult | None:
    """Fit a study into a run folder.

    Args:
        job: What to learn.
        study: From :func:`prepare_study`.
        folder: The run folder.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.
        overwrite: Whether another run may be replaced.
        way: How it is fitted; that of ``fit-head`` if None.
        say: Called with a line when an interrupted training goes on.

    Returns:
        What was fitted; None if this very run stands there already, finished.

    Raises:
        FeatureError: If another run stands there (CONFIG_MISMATCH).
        ConfigError: If something else stands there.
        OutputError: If it cannot be written.
    """
    way = way or Way("fit-head", functools.partial(fit_study, say=say))
    inputs = {**study.inputs, **way.inputs}
    require_own_folder(folder, (way.command,), (*OUTPUTS, CHECKPOINTS))
    if not overwrite and is_done(folder, inputs) and way.is_whole(folder):
        # Left where the run was cut off at its very end.
        remove(folder, [CHECKPOINTS])
        return None
    prepare_folder(folder)
    # Nothing of an earlier run may be taken for a part of this one.
    remove(folder, (*OUTPUTS, CHECKPOINTS) if overwrite else OUTPUTS)
    record = RunRecord(way.command, config, command_line=command_line)
    record.facts = {
        "inputs": inputs,
        "note": study.joined.note or study.split.note,
        "features": _features(job, study.index),
        "labels": {
            "level": study.cohort.level,
            "classes": list(study.cohort.classes),
            **job.grouping,
        },
        "head": job.head_options,
        "split": {"signed": study.split.signed, "sha256": study.split.digest, **study.split.meta},
        "funnel": study.joined.funnel,
        "n_dropped": len(study.dropped),
        **way.facts,
    }
    record.slides = _slides(study)
    record.write(folder, status="running")
    write_csv(folder / "dropped.csv", study.dropped)
    write_failures(folder, way.failures)
    write_text(folder / "split.csv", split_text(study.split))
    try:
        result = way.fit(study, job, folder)
        record.facts["features"] = _features(job, result.index)
        record.facts |= _head_facts(result)
        record.facts["duplicates"] = result.duplicates.facts()
        write_csv(folder / "duplicates.csv", result.duplicates.table)
        write_tables(folder, result.predictions)
        write_pictures(folder, result.index, result.predicted)
        write_json(folder / "curves.json", result.curves)
        write_json(folder / "metrics.json", result.metrics)
    except BaseException:
        # On a full disk this fails too, and would hide which file was the first.
        with suppress(OutputError):
            record.write(folder, status="interrupted")
        raise
    record.write(folder, status="done with failures" if way.failures else "done")
    remove(folder, [CHECKPOINTS])
    return result


def _features(job: FitJob, index: FeatureIndex) -> dict[str, Any]:
    known = read_record(job.features) if job.features.is_dir() else {}
    return {
        "settings": index.settings,
        "sha256": index.digest,
        "command_line": known.get("command_line", ""),
    }


def _head_facts(result: FitResult) -> dict[str, list[Any]]:
    """Return what belongs to the heads, one a fold: temperature, or the target's mean and scale."""
    facts = [fold.fitted.facts() for fold in result.folds]
    names = [name for name in facts[0] if not name.endswith("_note")]
    return {name: [fact[name] for fact in facts] for name in names}


def _slides(study: Study) -> list[dict[str, Any]]:
    """Return the outcome of each slide; ready-made tiles have none, see dropped.csv."""
    if study.index.tiles is not None:
        return []
    placed, _ = apply_split(study.joined.units, study.split, 0 if study.split.folds else None)
    used = set(placed[SLIDE_ID])
    return [
        {"slide": name, "outcome": "used" if name in used else "dropped", "tiles": n}
        for name, n in zip(study.index.names, study.index.n_tiles, strict=True)
    ]


def is_done(folder: Path, inputs: Mapping[str, Any]) -> bool:
    """Tell whether this very run stands in a folder, finished.

    Raises:
        FeatureError: If another run stands there (CONFIG_MISMATCH).
    """
    return require_same_inputs(folder, inputs) and _is_whole(folder)


def _is_whole(folder: Path) -> bool:
    """Whether all that a finished run holds is there: what was lost is made again."""
    heads = [folder / "head", *folder.glob("folds/[0-9]*/head")]
    try:
        whole = bool(read_object(folder / "metrics.json"))
    except FeatureError:
        whole = False
    return (
        whole
        and any((head / "model.json").is_file() for head in heads)
        and all(any((folder / name).glob("*.csv")) for name in ("predictions", "reference"))
        and all((folder / name).is_file() for name in _ALWAYS)
    )
