"""Run the stages of a study in order; what is done and still holds is skipped."""

import datetime as dt
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from histokeras.errors import ConfigError
from histokeras.files import prepare_folder, write_json
from histokeras.runs.record import read_object
from histokeras.study.config import OUT, Stage, StudyConfig, filled
from histokeras.study.fingerprint import digest, stage_fingerprint

RECORD = "study.json"
DONE, FAILED, RUNNING = "done", "failed", "running"
_STOPPED = (130, 143)
"""Exit codes of a command that was interrupted or terminated, and has said so itself."""
SOME_FAILED = 4
"""Exit code of a command that finished, but without some slides."""
_OUTPUT = "output"
_KEEPS = ("extract-features", "demo", "gdc download")
"""Commands that never do again what is done: they look at each slide themselves."""


@dataclass(frozen=True)
class Step:
    """A stage with its placeholders filled in.

    Attributes:
        stage: The stage.
        arguments: What stands without an option.
        options: Option name to value.
        reads: Files and folders that it reads.
        output: What it writes; None if it has no such option.
    """

    stage: Stage
    arguments: list[str]
    options: dict[str, Any]
    reads: list[Path]
    output: Path | None

    def words(self) -> list[str]:
        """Return what the command is called with, in a fixed order."""
        found = list(self.arguments)
        for name, value in self.options.items():
            found += _typed(name, value)
        return found

    def shown(self) -> str:
        """Return these words as they could be typed."""
        return shlex.join(self.words())


@dataclass(frozen=True)
class StudyRun:
    """A study to be run.

    Attributes:
        config: What its file says.
        out: The study's folder.
        inputs: Placeholder to value.
        redo: Names of stages to do anew.
        call: Called with a command's words; returns its exit code.
        say: Called with a line for the user.
    """

    config: StudyConfig
    out: Path
    inputs: Mapping[str, str]
    call: Callable[[list[str]], int]
    say: Callable[[str], None] = lambda line: None
    redo: Collection[str] = field(default_factory=tuple)

    def steps(self) -> list[Step]:
        """Return the stages with their placeholders filled in."""
        places = {**self.inputs, OUT: str(self.out)}
        return [_step(stage, places) for stage in self.config.stages]


def run_study(study: StudyRun) -> int:
    """Run every stage that is not done, in order; the first that fails ends it.

    Args:
        study: What to run.

    Returns:
        0; 4 if some slides failed on the way; else the exit code of the stage that failed.

    Raises:
        ConfigError: If the folder holds another study, or ``redo`` names no stage.
        OutputError: If it cannot be written.
    """
    names = [stage.name for stage in study.config.stages]
    unknown = [name for name in study.redo if name not in names]
    if unknown:
        raise ConfigError(f"no stage {unknown[0]!r}: the stages are {', '.join(names)}.")
    known = read_record_of(study.out, study.config.title)
    prepare_folder(study.out)
    worst = 0
    for number, step in enumerate(study.steps(), start=1):
        place = f"[{number}/{len(names)}] {step.stage.name}"
        before = known.get(step.stage.name, {})
        mark = _fingerprint(study, step)
        if _holds(study, step, before, mark):
            study.say(f"{place}: done, nothing changed")
            continue
        words = [*step.stage.command.split(), *step.words()]
        if _anew(study, step, before, mark):
            words.append("--overwrite")
        study.say(f"{place}: $ histokeras {shlex.join(words)}")
        # What it read may be made anew meanwhile, but not by itself.
        row: dict[str, Any] = {
            "command": step.stage.command,
            "words": step.words(),
            "fingerprint": mark,
        }
        row |= {"status": RUNNING, "started": _now()}
        known[step.stage.name] = row
        _write(study, known)
        if step.stage.command in study.config.defaults:
            words += ["--config", str(study.config.path)]
        code = study.call(words)
        done = code in (0, SOME_FAILED)
        row |= {"status": DONE if done else FAILED, "exit_code": code, "ended": _now()}
        row["output"] = "" if step.output is None else digest(step.output)
        _write(study, known)
        if not done:
            if code not in _STOPPED:
                study.say(f"{place}: failed (exit code {code}). Mend it and run the same command.")
            return code
        worst = max(worst, code)
    return worst


def read_record_of(out: Path, title: str) -> dict[str, dict[str, Any]]:
    """Return what is known of the stages of a study's folder.

    Args:
        out: The folder.
        title: The study's title.

    Raises:
        ConfigError: If the folder holds another study, or anything else.
    """
    record = read_object(out / RECORD)
    if record and record.get("title") != title:
        raise ConfigError(
            f"{out} holds another study: {record.get('title')!r}.", hint="Choose another folder."
        )
    if not record and out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty, and holds no study.", hint="Choose another folder.")
    return {str(row["name"]): row for row in record.get("stages", [])}


def _write(study: StudyRun, known: Mapping[str, Mapping[str, Any]]) -> None:
    stages = [
        {"name": stage.name, **known[stage.name]}
        for stage in study.config.stages
        if stage.name in known
    ]
    write_json(study.out / RECORD, {"title": study.config.title, "stages": stages})


def _step(stage: Stage, places: Mapping[str, str]) -> Step:
    arguments = [filled(text, places) for text in stage.arguments]
    options = {name: filled(value, places) for name, value in stage.options.items()}
    named = {name: value for name, value in options.items() if name != _OUTPUT}
    texts = zip(
        [*stage.arguments, *(stage.options[name] for name in named)],
        [*arguments, *named.values()],
        strict=True,
    )
    # Only what a placeholder stands for is a path: `rule = "pooled"` is none.
    reads = [Path(text) for raw, text in texts if isinstance(raw, str) and "{" in raw]
    output = options.get(_OUTPUT)
    return Step(stage, arguments, options, reads, None if output is None else Path(str(output)))


def _typed(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    values = value if isinstance(value, list) else [value]
    return [word for item in values for word in (f"--{name}", str(item))]


def _fingerprint(study: StudyRun, step: Step) -> str:
    defaults = study.config.defaults.get(step.stage.command, {})
    return stage_fingerprint(step.stage.command, step.words(), defaults, step.reads)


def _holds(study: StudyRun, step: Step, before: Mapping[str, Any], mark: str) -> bool:
    """Tell whether a stage was done, as it would be done now, and its output is as it left it."""
    return (
        step.stage.name not in study.redo
        # Slides that failed are tried again.
        and before.get("exit_code") == 0
        and before.get("fingerprint") == mark
        and (step.output is None or before.get("output") == digest(step.output))
    )


def _anew(study: StudyRun, step: Step, before: Mapping[str, Any], mark: str) -> bool:
    """Tell whether the output of an earlier state is to be replaced."""
    if step.stage.name in study.redo:
        return step.stage.command not in ("demo", "gdc download")
    changed = bool(before) and before.get("fingerprint") != mark
    return changed and step.stage.command not in _KEEPS


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
