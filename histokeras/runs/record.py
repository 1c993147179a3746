"""run.json and failures.csv: what a command did, with what, and how it ended."""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.errors import ConfigError, FeatureError, HistokerasError
from histokeras.files import canonical_json, sha256_text, write_csv, write_json
from histokeras.foreign.text import read_json
from histokeras.runs.environment import hardware, versions

TRAINING = ("fit-head", "finetune")
"""Commands that make a run: a trained head with its figures."""
EXTRACTION = "extract-features"
FAILURE_COLUMNS = ("slide", "stage", "code", "message", "hint")


# An absolute path in a message, up to its last part; spaces end it.
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/'\"`:,;]+/)+")


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def without_folders(value: Any) -> Any:
    """Return config values with every path cut to its last part.

    Outputs are passed on; the folders above them may bear names of people and projects.
    """
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Mapping):
        return {str(key): without_folders(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(item) for item in value]
    return value


@dataclass
class RunRecord:
    """The record of one command, written to ``run.json`` at its start and again at its end.

    Attributes:
        command: Name of the command.
        config: Its resolved options; paths are cut to their last part.
        facts: What else belongs to the record: device, weights, funnel, digests, ...
        slides: Outcome of every slide: ``slide``, ``outcome`` (done, skipped, empty, failed,
            left out), ...
        command_line: The command as it was typed, paths cut to their last part; "" from Python.
    """

    command: str
    config: Mapping[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    slides: list[dict[str, Any]] = field(default_factory=list)
    command_line: str = ""
    started: str = field(default_factory=_now)

    def write(self, folder: Path, *, status: str, name: str = "run.json") -> None:
        """Write ``run.json``.

        Args:
            folder: The output folder.
            status: ``running``, ``done``, ``done with failures`` or ``interrupted``.
            name: Another name, for a command whose output is one file.
        """
        write_json(folder / name, self.content(status))

    def content(self, status: str) -> dict[str, Any]:
        """Return what ``run.json`` holds now."""
        config = without_folders(self.config)
        return {
            "command": self.command,
            "command_line": self.command_line,
            "status": status,
            "started": self.started,
            "ended": None if status == "running" else _now(),
            "config": config,
            "config_sha256": sha256_text(canonical_json(config)),
            "versions": versions(),
            "hardware": hardware(),
            **without_folders(self.facts),
            "slides": self.slides,
        }


def read_record(folder: Path) -> dict[str, Any]:
    """Return what stands in the ``run.json`` of a folder; {} if there is none.

    Raises:
        FeatureError: If it is not a record (code RECORD_DAMAGED).
    """
    return read_object(folder / "run.json")


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of ours; {} if there is no such file.

    Raises:
        FeatureError: If it is damaged (code RECORD_DAMAGED).
    """
    if not path.is_file():
        return {}
    try:
        content = read_json(path)
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise FeatureError(
            f"{path} is damaged.",
            code="RECORD_DAMAGED",
            hint="Remove its folder and make it anew, or choose another folder.",
        )
    return content


def require_ended(folder: Path, record: Mapping[str, Any]) -> None:
    """Refuse a folder whose command did not come to its end: its files may be of different runs.

    Args:
        folder: The output folder.
        record: Its :func:`read_record`; {} for a folder that has lost it.

    Raises:
        FeatureError: If it was cut off (code RUN_UNFINISHED).
    """
    command = str(record.get("command", ""))
    cut_off = record.get("status") in ("running", "interrupted")
    if command in TRAINING:
        cut_off = cut_off or not (folder / "metrics.json").is_file()
    elif command == EXTRACTION:
        # Extracted to be predicted, which did not begin: the predictions are of before.
        command, cut_off = "predict", (folder / "predictions").is_dir()
    if not cut_off:
        return
    raise FeatureError(
        f"the {command} that writes {folder} has not finished.",
        code="RUN_UNFINISHED",
        hint="Give the same command again that began it.",
    )


def read_outcomes(folder: Path) -> dict[str, str]:
    """Return slide -> outcome (done, skipped, empty, failed, left out) of a folder's record."""
    return {row["slide"]: row["outcome"] for row in read_record(folder).get("slides", [])}


def read_left_out(folder: Path) -> dict[str, str]:
    """Return slide -> reason of the slides that a command was told not to take."""
    rows = read_record(folder).get("slides", [])
    return {row["slide"]: row["reason"] for row in rows if row["outcome"] == "left out"}


def require_own_folder(folder: Path, commands: Sequence[str], names: Sequence[str] = ()) -> None:
    """Refuse an output folder whose files a command would replace though it did not write them.

    Args:
        folder: The output folder; it need not exist.
        commands: Commands whose folder may be written to, as run.json names them.
        names: Files and folders that would be replaced.

    Raises:
        ConfigError: If run.json is of another command, or there is none but some of ``names``.
    """
    record = read_record(folder)
    if record:
        known = record.get("command", "something else")
        if known not in commands:
            raise ConfigError(
                f"{folder} holds the output of {known}, which would be replaced.",
                hint="Choose another output folder.",
            )
        return
    found = [name for name in names if (folder / name).exists()]
    if found:
        raise ConfigError(
            f"{folder} holds {', '.join(found)} of other origin, which would be replaced.",
            hint="Choose another output folder.",
        )


def require_same_names(folder: Path, *, pseudonyms: bool) -> None:
    """Refuse to put slides under their own names and slides under pseudonyms into one folder.

    Args:
        folder: The output folder; it need not exist.
        pseudonyms: Whether pseudonyms are asked for now.

    Raises:
        ConfigError: If what lies there was written the other way (CONFIG_MISMATCH).
    """
    record = read_record(folder)
    if not record or bool(record.get("config", {}).get("pseudonyms")) == pseudonyms:
        return
    was = "without" if pseudonyms else "with"
    raise ConfigError(
        f"{folder} was written {was} `--pseudonyms`.",
        code="CONFIG_MISMATCH",
        hint="Choose another output folder"
        + ("." if pseudonyms else ", or give the table of pseudonyms again."),
    )


def failure(slide: str, stage: str, error: Exception) -> dict[str, str]:
    """Return the row of failures.csv for a slide that failed.

    Args:
        slide: Its slide_id.
        stage: Where it failed: open, tile, extract, predict.
        error: What was raised.
    """
    if isinstance(error, HistokerasError):
        code, message, hint = error.code, error.message, error.hint
    else:
        code, message = "UNEXPECTED", f"{type(error).__name__}: {error}"
        hint = "This looks like a bug of histokeras: please report it with this line."
    message = _FOLDERS.sub("", message)
    return {"slide": slide, "stage": stage, "code": code, "message": message, "hint": hint}


def write_failures(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write ``failures.csv`` (also when empty, so that an old one does not stay)."""
    write_csv(folder / "failures.csv", pd.DataFrame(list(rows), columns=list(FAILURE_COLUMNS)))
