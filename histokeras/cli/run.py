"""``histokeras run``."""

import contextlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from histokeras.cli import options

if TYPE_CHECKING:
    from histokeras.study.config import StudyConfig

_EXTRAS = {"tune": "optuna", "survival": "statsmodels"}
"""Command, or group of commands -> the module of its extra, which is called as it is."""


@click.command()
@click.argument("study", metavar="STUDY.toml", type=options.existing_file)
@options.output
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="An input of the study, such as slides=DIR; may be given several times.",
)
@click.option(
    "--redo", multiple=True, metavar="STAGE", help="Do this stage anew, and what depends on it."
)
@click.option("--dry-run", is_flag=True, help="Print the stages, and do nothing.")
@options.as_json
def run(
    study: Path, output: Path, settings: tuple[str, ...], redo: tuple[str, ...], dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Run a whole study: the stages of STUDY.toml in order, and one page at the end.

    Each stage is a command as you would type it. A stage that is done is skipped as long as its
    options and what it reads have not changed; one that was interrupted goes on.

    \b
    Examples:
      histokeras run configs/hypoxia-demo.toml -o demo-study/
      histokeras run configs/hypoxia.toml -o study/ --set slides=slides/ --set scores=scores.txt
    """
    import json

    from histokeras.runs.record import read_object
    from histokeras.study.config import given_inputs, read_study
    from histokeras.study.page import write_study_page
    from histokeras.study.run import RECORD, SOME_FAILED, StudyRun, run_study

    config = read_study(study, [name for name in _commands() if name != "run"])
    _require_known_options(config)
    _require_extras(config)
    inputs = given_inputs(config, settings)
    plan = StudyRun(config, output, inputs, _call, _say, redo)
    if dry_run:
        for step in plan.steps():
            click.echo(f"{step.stage.name}: histokeras {step.stage.command} {step.shown()}")
        return
    code = run_study(plan)
    if code not in (0, SOME_FAILED):
        raise click.exceptions.Exit(code)
    page = write_study_page(plan)
    click.echo(f"Look at {page}", err=True)
    if as_json:
        click.echo(json.dumps(read_object(output / RECORD), indent=2))
    else:
        click.echo(str(output))
    if code:
        raise click.exceptions.Exit(code)


def _say(line: str) -> None:
    click.secho(f"\n{line}", bold=True, err=True)


def _call(words: list[str]) -> int:
    """Call a command in this process; what it prints as its result goes to stderr."""
    from histokeras.cli.main import main

    with contextlib.redirect_stdout(sys.stderr):
        try:
            code: Any = main.main(words, prog_name="histokeras", standalone_mode=False)
        except click.ClickException as error:
            error.show()
            return error.exit_code
    return int(code or 0)


def _require_known_options(config: "StudyConfig") -> None:
    """Refuse options that a command does not have, before anything is done."""
    from histokeras.config import STUDY, require_known_keys

    for stage in config.stages:
        section = f"{STUDY}.stages"
        known = _option_names(stage.command)
        require_known_keys(stage.options, known, path=config.path, section=section)
    for command, table in config.defaults.items():
        section = command.replace(" ", ".")
        require_known_keys(table, _option_names(command), path=config.path, section=section)


def _require_extras(config: "StudyConfig") -> None:
    """Say before any work that a stage needs an extra that is not installed."""
    from histokeras.errors import MissingError

    for stage in config.stages:
        group = stage.command.partition(" ")[0]
        if group in _EXTRAS and importlib.util.find_spec(_EXTRAS[group]) is None:
            raise MissingError(
                f"stage {stage.name!r} needs {_EXTRAS[group]}, which is not installed.",
                hint=f'pip install "histokeras[{group}]"',
            )


def _commands() -> list[str]:
    """Return the commands a stage may name; those of a group as ``tune head``."""
    from histokeras.cli.main import COMMANDS, main

    found = {name: main.get_command(click.Context(main), name) for name in COMMANDS}
    return [
        f"{name} {part}" if part else name
        for name, command in found.items()
        for part in (command.commands if isinstance(command, click.Group) else [""])
    ]


def _option_names(command: str) -> list[str]:
    from histokeras.cli.main import main

    name, _, part = command.partition(" ")
    found = main.get_command(click.Context(main), name)
    if part and isinstance(found, click.Group):
        found = found.commands.get(part)
    assert found is not None
    names = [option.lstrip("-") for item in found.params for option in item.opts]
    return [name.replace("-", "_") for name in [*names, *(str(p.name) for p in found.params)]]
