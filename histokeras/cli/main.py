"""The ``histokeras`` command: a list of commands, the config file, and how errors are shown."""

import errno
import importlib
import logging
import os
import signal
import sys
import traceback
from typing import Any

import click

from histokeras.cli.terminal import guard_terminal
from histokeras.config import nearest
from histokeras.errors import ConfigError, HistokerasError
from histokeras.foreign.text import printable

COMMANDS = {
    "slides": "List slides: readable or why not, size, levels, mpp.",
    "tiles": "Look at ready-made tiles: counts, sizes, colours, duplicates, a page.",
    "gdc": "TCGA slides from the GDC: query, manifest, download with resume.",
    "tile": "Cut slides into tiles: manifest and picture of each slide.",
    "sample-tiles": "Labelled tiles of slides with drawn tumour, for a tile classifier.",
    "extract-features": "Extract bottleneck features from slides or ready-made tiles.",
    "label-hypoxia": "Label patients by a hypoxia score: above the median, or a cut-off.",
    "split": "Split patients into train, val and test, or into folds.",
    "fit-head": "Train a top-up head on features; evaluate it on its test patients.",
    "finetune": "Fine-tune a backbone on tiles; evaluate it beside its frozen self.",
    "fit-segmenter": "Train a network that gives each pixel a class, from class masks.",
    "tune": "Search for the best options of fit-head or finetune, by val patients.",
    "predict": "Predict slides or features with a trained run.",
    "evaluate": "Figures with intervals, of a run or of predictions.",
    "explain": "Where in tiles the network of a run sees a class (Grad-CAM and others).",
    "composition": "Share of each tissue class in slides and patients, with intervals.",
    "clinical": "Look at a clinical table; test its columns against measures of patients.",
    "survival": "Survival by clinical columns, tissue and features: curves, hazards, C-index.",
    "cluster": "Cluster tiles without labels; compare with label, site, tumour type.",
    "heatmap": "Map of a class over whole slides; GeoJSON for QuPath.",
    "segment": "A class for every pixel of slides: masks, outlines for QuPath, areas.",
    "lymph-nodes": "Lymph nodes of slides and the tumour inside: T/MLN and pN of patients.",
    "report": "One page of a run to look at; or several runs in one table.",
    "app": "A web page of a run: a tile, a slide, the patients.",
    "run": "Run a whole study from its config file; one page at the end.",
    "verify": "Check every feature file of a folder.",
    "init": "Write example tables and a config that run.",
    "demo": "Run the whole job on slides made on the spot.",
    "doctor": "Check this installation: versions, devices, weights, disk.",
}
"""Name and one line of every command, in the order of the work. Loaded only when called."""

_ENVIRONMENT = "HISTOKERAS_"
_TESTS_OWN = "HISTOKERAS_REAL_DATA"
_AGAIN_S = 10
# What only writing meets, and reading never.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class _Terminated(BaseException):
    """SIGTERM: the scheduler wants this process to end."""


class _Commands(click.Group):
    """Load a command when it is called; show expected errors as one clean line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"histokeras.cli.{name}"), name)
        for path, part in _parts(name, command):
            for parameter in part.params:
                # Every name that users see, not only click's own for the parameter.
                names = [str(parameter.name), *(option.lstrip("-") for option in parameter.opts)]
                words = dict.fromkeys(word.replace("-", "_").upper() for word in names)
                parameter.envvar = [f"{_ENVIRONMENT}{path.upper()}_{word}" for word in words]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0].replace("_", "-") in COMMANDS:
            args = [args[0].replace("_", "-"), *args[1:]]
        elif args and not args[0].startswith("-"):
            raise click.UsageError(f"No command {args[0]!r}. {nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            _require_known_environment()
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except (HistokerasError, KeyboardInterrupt, _Terminated, BrokenPipeError) as error:
            if isinstance(error, _Terminated) and hasattr(signal, "alarm"):
                signal.alarm(0)
            if ctx.params.get("debug"):
                traceback.print_exc()
            raise click.exceptions.Exit(_explain(error)) from error
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            if isinstance(error, OSError) and error.errno in _UNWRITABLE:
                raise click.exceptions.Exit(_explain(error)) from error
            click.echo(
                f"Error: {type(error).__name__}: {error}. This is a bug of histokeras; "
                "`histokeras --debug ...` shows where.",
                err=True,
            )
            raise click.exceptions.Exit(1) from error


def _parts(name: str, command: click.Command) -> list[tuple[str, click.Command]]:
    """Return a command, or those of a group, by name: ``tune_head``."""
    if not isinstance(command, click.Group):
        return [(name, command)]
    return [(f"{name}_{key.replace('-', '_')}", part) for key, part in command.commands.items()]


def _explain(error: BaseException) -> int:
    if isinstance(error, HistokerasError):
        click.echo(f"Error: {printable(str(error), one_line=True)}", err=True)
        return error.exit_code
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        where = f" {error.filename}" if error.filename else ""
        click.echo(f"Error: the output{where} cannot be written: {error.strerror}.", err=True)
        return 6
    if isinstance(error, BrokenPipeError):
        # The reader (head, less) has gone: what is left to say has nowhere to go.
        sys.stdout = None
        return 0
    terminated = isinstance(error, _Terminated)
    word = "Terminated" if terminated else "Interrupted"
    click.echo(f"{word}: run the same command to resume.", err=True)
    return 143 if terminated else 130


def _require_known_environment() -> None:
    given = [name for name in os.environ if name.startswith(_ENVIRONMENT)]
    given = [name for name in given if not name.startswith(_TESTS_OWN)]
    if not given:
        return
    known = {f"{_ENVIRONMENT}DEBUG"}
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        prefix = f"{_ENVIRONMENT}{name.replace('-', '_').upper()}_"
        if command is not None and any(item.startswith(prefix) for item in given):
            for _, part in _parts(name, command):
                known |= {name for item in part.params for name in item.envvar or ()}
    for name in given:
        if name not in known:
            raise ConfigError(
                f"environment variable {name} belongs to no option.",
                code="CONFIG_UNKNOWN_KEY",
                hint="Its form is HISTOKERAS_<COMMAND>_<OPTION>. " + nearest(name, known),
            )


def _terminate(number: int, frame: Any) -> None:
    # Raised inside a callback of the garbage collector it would be ignored: so once more, soon,
    # until the command has come to its end.
    if hasattr(signal, "alarm"):
        signal.alarm(_AGAIN_S)
    raise _Terminated


@click.group(
    cls=_Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        # --batch_size and --batch-size are the same.
        "token_normalize_func": lambda text: text.replace("_", "-"),
    },
)
@click.version_option(package_name="histokeras")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Transfer learning on H&E whole-slide images: from slides to patient-level figures.

    Three steps: `histokeras extract-features slides/ -o feats/`, then
    `histokeras fit-head feats/ --labels labels.csv --target label -o run/`, then look into run/.
    For research use only.
    """
    guard_terminal()
    # Quiet TensorFlow's start-up notes; its errors stay.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # It tells of damaged files in its own words; they are reported as failed slides.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, _terminate)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, _terminate)
