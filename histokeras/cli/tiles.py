"""``histokeras tiles``."""

from pathlib import Path
from typing import Any

import click

from histokeras.cli import options


@click.command()
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=options.existing_folder)
@click.option(
    "--tile-table",
    type=options.existing_file,
    help="Table with tile and any of label, patient_id, slide_id; else the folder's name is the "
    "label.",
)
@click.option(
    "-o", "--output", "--out", "output", type=options.any_path,
    help="Also write tiles.html, tiles.csv and duplicates.csv there.",
)  # fmt: skip
@options.workers
@options.seed
@options.as_json
@options.config
def tiles(**arguments: Any) -> None:
    """Look at a set of ready-made tiles: counts, sizes, colours, duplicates, samples.

    To cut slides into tiles, see `histokeras tile`. Exit code 4: some images cannot be read.

    \b
    Examples:
      histokeras tiles NCT-CRC-HE-100K/ -o look/
      histokeras tiles tiles/ --tile-table tiles.csv -o look/
    """
    import json
    import sys

    from tqdm import tqdm

    from histokeras.analysis.tile_set import look_at_tiles
    from histokeras.errors import ConfigError
    from histokeras.report.tile_page import format_tile_set, write_tile_set
    from histokeras.runs.environment import usable_cores
    from histokeras.runs.record import require_own_folder
    from histokeras.tiles.folders import read_tile_set

    output: Path | None = arguments["output"]
    if output is not None:
        if output.suffix.lower() in (".html", ".htm"):
            raise ConfigError(f"-o names a folder. Received: {output.name}.")
        require_own_folder(output, ("tiles",), ("tiles.html", "tiles.csv", "duplicates.csv"))
    table = read_tile_set(arguments["folders"], tile_table=arguments["tile_table"])
    # On a terminal only: in a log the bar would be noise.
    with tqdm(total=len(table), unit="tile", file=sys.stderr, disable=None) as bar:
        facts = look_at_tiles(
            table,
            seed=arguments["seed"],
            workers=arguments["workers"] or min(8, usable_cores()),
            on_tile=bar.update,
        )
    if output is not None:
        title = ", ".join(folder.resolve().name for folder in arguments["folders"])
        config = options.recorded(arguments)
        page = write_tile_set(
            output, facts, title=title, config=config, command_line=options.command_line()
        )
        click.echo(f"Look at {page}", err=True)
    if arguments["as_json"]:
        document = {
            "classes": json.loads(facts.classes.to_json(orient="records")),
            "duplicates": json.loads(facts.duplicates.to_json(orient="records")),
        }
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(format_tile_set(facts))
    n_bad = int((facts.tiles["problem"] != "").sum())
    if n_bad:
        click.echo(f"{n_bad} of {len(facts.tiles)} image(s) cannot be read", err=True)
        raise click.exceptions.Exit(4)
