"""Options of the commands that draw maps, and how these end."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from histokeras.cli import options

_MOST = 20

layer = click.option(
    "--layer", help="Layer of grad-cam.  [default: the last before the global average]"
)
predictions = click.option(
    "--predictions",
    type=options.existing_folder,
    help="Folder of `histokeras predict`, for slides that are not in RUN.",
)


def growing_output(name: str) -> Callable[[Any], Any]:
    """Return the option ``-o``: a folder that later calls add pictures to.

    Args:
        name: Of the folder inside RUN that is the default.
    """
    return click.option(
        "-o",
        "--output",
        "--out",
        "output",
        type=options.any_path,
        help=f"Output folder; pictures of earlier calls stay.  [default: RUN/{name}]",
    )


def end(failures: Sequence[Mapping[str, str]]) -> None:
    """Say what failed, a line each, and leave with exit code 4 if something did.

    Args:
        failures: Rows of failures.csv.
    """
    if not failures:
        return
    click.secho(f"{len(failures)} input(s) left out, see failures.csv:", fg="red", err=True)
    for row in failures[:_MOST]:
        click.echo(f"  {row['slide']}: {row['code']} {row['message']} {row['hint']}", err=True)
    if len(failures) > _MOST:
        click.echo(f"  ... and {len(failures) - _MOST} more", err=True)
    raise click.exceptions.Exit(4)
