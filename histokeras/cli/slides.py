"""``histokeras slides``."""

from pathlib import Path
from typing import Any

import click

from histokeras.cli import options
from histokeras.cli.slide_options import choose_paths, slide_input_options


@click.command()
@slide_input_options
@options.stall_seconds
@options.as_json
@options.config
def slides(
    slides: tuple[Path, ...],
    slide_table: Path | None,
    default_mpp: float | None,
    recursive: bool,
    pseudonyms: Path | None,
    stall_s: float,
    as_json: bool,
    **choice: Any,
) -> None:
    """List SLIDES (files or folders): readable or why not, size, levels, mpp and its source.

    Exit code 4: some slides cannot be used.

    \b
    Examples:
      histokeras slides slides/
      histokeras slides slides/ --recursive --json
      histokeras slides tcga/ --recursive --diagnostic-only --sample-types 01
    """
    from histokeras.cohort.pseudonyms import read_pseudonyms
    from histokeras.slides.inventory import (
        describe_slides,
        find_slides,
        format_inventory,
        inventory_json,
        read_slide_table,
    )

    table = read_slide_table(slide_table) if slide_table is not None else {}
    given = read_pseudonyms(pseudonyms)
    found_slides = find_slides(slides, recursive=recursive)
    paths, chosen = choose_paths(found_slides, pseudonyms=given, **choice)
    found = describe_slides(
        paths, table=table, default_mpp=default_mpp, stall_s=stall_s, pseudonyms=given
    )
    click.echo(inventory_json(found, chosen.outcomes()) if as_json else format_inventory(found))
    n_bad = int((~found["readable"]).sum())
    if n_bad:
        click.echo(f"{n_bad} of {len(found)} slide(s) cannot be used", err=True)
        raise click.exceptions.Exit(4)
