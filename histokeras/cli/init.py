"""``histokeras init``."""

from pathlib import Path

import click

from histokeras.cli import options


@click.command()
@click.argument("folder", type=options.any_path)
def init(folder: Path) -> None:
    """Write example tables and a commented config into FOLDER; existing files are kept.

    labels.csv (one row a patient), slides.csv (one row a slide), tiles.csv (one row a ready-made
    tile), histokeras.toml (options of each command).

    \b
    Example:
      histokeras init study/
      histokeras split --labels study/labels.csv --target label -o study/split.csv
    """
    from histokeras.cohort.examples import write_examples

    written, kept = write_examples(folder)
    for path in written:
        click.echo(path)
    for path in kept:
        click.echo(f"kept {path}: it exists", err=True)
