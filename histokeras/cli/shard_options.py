"""The option ``--shard``: several processes share the slides of one command."""

from typing import Any

import click

from histokeras.runs.shard import Share, parse_shard, unshared_array


def _read_shard(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    if value is not None:
        return parse_shard(value)
    warning = unshared_array()
    if warning:
        click.secho(f"Warning: {warning}", fg="red", err=True)
    return None


shard = click.option(
    "--shard",
    metavar="i/n|slurm",
    callback=_read_shard,
    help="Take the i-th of n parts of the slides, i from 0 to n-1; slurm: the numbers of this task "
    "of a SLURM array. All parts go into one output folder.  [default: all slides]",
)


def say_share(share: Share) -> None:
    """Say which part of the slides is taken, if it is a part."""
    if share.shard is None:
        return
    text = f"shard {share.shard}: {len(share.own)} of {len(share.whole)} slide(s)"
    if not share.own:
        text += ": nothing to do, the other shards have them"
    click.echo(text, err=True)
