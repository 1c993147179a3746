"""``histokeras verify``."""

from pathlib import Path

import click

from histokeras.cli import options


@click.command()
@click.argument("folder", type=options.existing_path)
@options.as_json
def verify(folder: Path, as_json: bool) -> None:
    """Check every feature file of FOLDER: checksum, shape, finite values, tile manifest.

    Exit code 4 if a file is bad; running extract-features again computes bad files anew.

    Example: histokeras verify feats/
    """
    import dataclasses
    import json

    from histokeras.features.verify import verify_folder
    from histokeras.runs.union import unfinished

    checked = verify_folder(folder)
    left = unfinished(folder) if folder.is_dir() else ""
    if left:
        click.secho(f"Warning: slides may be missing: {left}", fg="red", err=True)
    bad = [item for item in checked if item.status == "bad"]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(item) for item in checked], indent=2))
    else:
        for item in bad:
            click.echo(f"bad  {item.file}  {item.reason}")
        unverified = sum(item.status == "unverified" for item in checked)
        tiles = sum(item.n_tiles for item in checked)
        text = f"{len(checked)} files, {tiles} tiles: {len(checked) - len(bad) - unverified} ok"
        text += f", {unverified} unverified (no checksum inside)" if unverified else ""
        click.echo(f"{text}, {len(bad)} bad")
    if bad:
        raise click.exceptions.Exit(4)
