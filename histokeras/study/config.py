"""The ``[study]`` part of a config file: what a study needs, and its stages in order."""

import re
import string
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from histokeras.config import STUDY, nearest, read_config, require_known_keys
from histokeras.errors import ConfigError

OUT = "out"
"""The placeholder of the study's own folder."""
_KEYS = ("title", "inputs", "runs", "stages")
_STAGE_KEYS = ("name", "command", "arguments", "options")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class Stage:
    """One command of a study.

    Attributes:
        name: What the study calls it.
        command: The command of histokeras.
        arguments: What stands without an option; may hold ``{placeholders}``.
        options: Option name, without dashes, to value; texts may hold ``{placeholders}``.
    """

    name: str
    command: str
    arguments: tuple[str, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class StudyConfig:
    """A study as its config file has it.

    Attributes:
        path: The config file.
        title: What the study's page is called.
        inputs: Placeholder to value; "" for one that must be given.
        stages: In order.
        runs: Names of the stages whose runs stand on the study's page.
        defaults: Command to its table of options: they hold for every stage of that command.
    """

    path: Path
    title: str
    inputs: Mapping[str, str]
    stages: tuple[Stage, ...]
    runs: tuple[str, ...]
    defaults: Mapping[str, Mapping[str, Any]]


def read_study(path: Path, commands: Collection[str]) -> StudyConfig:
    """Read a study's config file.

    Args:
        path: A TOML file with ``[study]``, ``[study.inputs]`` and ``[[study.stages]]``.
        commands: The commands that exist; those of a group as ``tune head``.

    Raises:
        ConfigError: If it is no study, or names what does not exist; nothing has been done then.
    """
    defaults = _defaults(path, commands)
    table = _study_table(path)
    inputs = {str(name): str(value) for name, value in table.get("inputs", {}).items()}
    stages = tuple(_stage(item, path, commands) for item in table["stages"])
    names = [stage.name for stage in stages]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"{path}: two stages are called {twice[0]!r}.")
    runs = tuple(table.get("runs", ()))
    for name in runs:
        if name not in names:
            raise ConfigError(f"{path}: `runs` names no stage {name!r}.", hint=nearest(name, names))
    for stage in stages:
        for name in _placeholders(stage):
            if name not in {*inputs, OUT}:
                raise ConfigError(
                    f"{path}: stage {stage.name!r} uses {{{name}}}, which is no input.",
                    hint=nearest(name, [*inputs, OUT]),
                )
    return StudyConfig(path, str(table.get("title", path.stem)), inputs, stages, runs, defaults)


def _defaults(path: Path, commands: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the tables of options, that of a group's command under both its words."""
    groups = {name.partition(" ")[0] for name in commands if " " in name}
    found: dict[str, dict[str, Any]] = {}
    for name, table in read_config(path, {*commands, *groups}).items():
        if name not in groups:
            found[name] = table
            continue
        parts = [
            command.partition(" ")[2] for command in commands if command.startswith(f"{name} ")
        ]
        require_known_keys(table, parts, path=path, section=name)
        for part, content in table.items():
            if not isinstance(content, dict):
                raise ConfigError(f"{path}: `{part}` must be a table, written [{name}.{part}].")
            found[f"{name} {part}"] = content
    return found


def _study_table(path: Path) -> dict[str, Any]:
    table = tomllib.loads(path.read_text(encoding="utf-8-sig")).get(STUDY)
    if isinstance(table, dict):
        require_known_keys(table, _KEYS, path=path, section=STUDY)
        if table.get("stages"):
            return table
    raise ConfigError(
        f"{path} is no study: it has no [[study.stages]].",
        hint="Its tables serve single commands, through --config.",
    )


def given_inputs(config: StudyConfig, settings: Sequence[str]) -> dict[str, str]:
    """Return every input's value.

    Args:
        config: The study.
        settings: ``NAME=VALUE``, as ``--set`` has them.

    Raises:
        ConfigError: If a name is unknown, or an input that the study needs is not given.
    """
    values = dict(config.inputs)
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or name not in values:
            raise ConfigError(
                f"`--set` takes NAME=VALUE. Received: {text!r}", hint=nearest(name, values)
            )
        values[name] = value
    missing = [name for name, value in values.items() if not value]
    if missing:
        words = " ".join(f"--set {name}=..." for name in missing)
        raise ConfigError(f"this study needs {', '.join(missing)}.", hint=f"Give {words}.")
    return values


def filled(value: Any, places: Mapping[str, str]) -> Any:
    """Return a value with its ``{placeholders}`` filled in; what is no text stays as it is."""
    if isinstance(value, str):
        return value.format_map(places)
    if isinstance(value, list):
        return [filled(item, places) for item in value]
    return value


def _stage(table: Any, path: Path, commands: Collection[str]) -> Stage:
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: stages are written [[study.stages]].")
    require_known_keys(table, _STAGE_KEYS, path=path, section=f"{STUDY}.stages")
    command = str(table.get("command", ""))
    if command not in commands:
        raise ConfigError(f"{path}: a stage has no command {command!r}.",
                          hint=nearest(command, commands))  # fmt: skip
    name = str(table.get("name", command))
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{path}: a stage's name is of a-z, 0-9 and -. Received: {name!r}")
    options = {str(key).replace("_", "-"): value for key, value in table.get("options", {}).items()}
    arguments = tuple(str(item) for item in table.get("arguments", ()))
    return Stage(name, command, arguments, options)


def _placeholders(stage: Stage) -> list[str]:
    values = [item for value in stage.options.values() for item in _listed(value)]
    texts = [item for item in (*stage.arguments, *values) if isinstance(item, str)]
    # A width or a conversion belongs to no input: {out:>1000000000} would fill the memory.
    return [
        name if not spec and not conversion else f"{name}!{conversion or ''}:{spec}"
        for text in texts
        for _, name, spec, conversion in string.Formatter().parse(text)
        if name is not None
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
