"""What the commands of ``histokeras tune`` share: options of a search, its folder, its end."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from histokeras.cli import options

Show = Callable[[Path, Any], None]

options_of_search = options.together(
    click.option(
        "--trials",
        "n_trials",
        type=click.IntRange(min=1),
        default=20,
        show_default=True,
        help="Trials in all; the first takes the defaults.",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUES",
        help="Narrow what is searched: NAME=LOW..HIGH or NAME=A,B. May be given several times.",
    ),
    click.option(
        "--fix",
        "fixed",
        multiple=True,
        metavar="NAME=VALUE",
        help="Leave NAME out of the search: it has this value.",
    ),
    click.option("--no-pruning", is_flag=True, help="Train each trial to its end."),
    click.option(
        "--search-only",
        is_flag=True,
        help="Stop before the best is fitted and tested: more trials may follow.",
    ),
)


def say(line: str) -> None:
    """Tell the user a line."""
    click.echo(line, err=True)


def require_extra() -> None:
    """Say that Optuna is missing before TensorFlow takes its seconds."""
    import histokeras.training.tuner  # noqa: F401


_OF_SEARCH = ("n_trials", "settings", "fixed", "no_pruning", "search_only", "heads", "folds")


def run_config(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the best run beside what was chosen."""
    left_out = ("overwrite", "output", *_OF_SEARCH)
    return options.recorded(arguments, *left_out)


def folder_of(command: str, arguments: dict[str, Any]) -> AbstractContextManager[Path]:
    """Hold the folder of a search while it goes on."""
    from histokeras.training.tune_run import search_folder

    return search_folder(arguments["output"], command, overwrite=arguments["overwrite"])


def run(what: Any, arguments: dict[str, Any], show: Show) -> None:
    """Search, and say what came of it; stdout is the best run's folder, or the search's.

    Args:
        what: What is searched.
        arguments: The options.
        show: Prints the best run, given its folder and what fitting it returned.
    """
    from histokeras.report.page import write_report
    from histokeras.report.tuning import PAGE, format_search, write_tuning_page
    from histokeras.runs.record import read_object
    from histokeras.training.tune_run import BEST_RUN, SUMMARY, run_search

    output, as_json = Path(arguments["output"]), arguments["as_json"]
    found = run_search(
        what,
        output,
        n_trials=arguments["n_trials"],
        config=options.recorded(arguments, "overwrite"),
        command_line=options.command_line(),
        fit_best=not arguments["search_only"],
        say=say,
    )
    summary, best = read_object(output / SUMMARY), output / BEST_RUN
    write_tuning_page(output)
    say(format_search(summary))
    say(f"Look at {output / PAGE}")
    metrics = read_object(best / "metrics.json")
    if as_json:
        if metrics:
            write_report(best)
        run = str(best) if metrics else None
        click.echo(json.dumps({**summary, "run": run, "metrics": metrics or None}, indent=2))
    elif metrics:
        show(best, found.run)
    else:
        click.echo(str(output))
