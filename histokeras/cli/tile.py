"""``histokeras tile``."""

from pathlib import Path
from typing import Any

import click

from histokeras.cli import options
from histokeras.cli.shard_options import say_share, shard
from histokeras.cli.slide_options import (
    choose_paths,
    max_bad_tiles,
    slide_input_options,
    tile_options,
)


@click.command()
@slide_input_options
@options.output
@tile_options
@max_bad_tiles
@click.option("--save-images", is_flag=True, help="Write the kept tiles as PNG files too.")
@options.workers
@options.stall_seconds
@options.fail_fast
@shard
@options.overwrite
@options.allow_empty
@options.as_json
@options.config
def tile(
    slides: tuple[Path, ...],
    slide_table: Path | None,
    default_mpp: float | None,
    recursive: bool,
    diagnostic_only: bool,
    sample_types: str,
    pseudonyms: Path | None,
    output: Path,
    max_bad_tiles: int,
    save_images: bool,
    workers: int | None,
    stall_s: float,
    fail_fast: bool,
    shard: Any,
    overwrite: bool,
    allow_empty: bool,
    as_json: bool,
    **tile_arguments: Any,
) -> None:
    """Cut SLIDES (files or folders) into tiles.

    Writes tiles/<slide_id>.csv (every grid tile, kept or not and why), pictures/<slide_id>.png,
    run.json and failures.csv; with --save-images images/<slide_id>/<x>_<y>.png too. The same
    command again resumes. Exit code 4: some slides failed or are empty, see failures.csv.

    \b
    Examples:
      histokeras tile slides/ -o tiles/
      histokeras tile slides/ -o tiles/ --tile-px 224 --mag 20 --save-images
      histokeras tile slides/ -o tiles/ --tissue annotations/
    """
    import json

    from histokeras.cli.slide_options import tile_spec_from
    from histokeras.cohort.pseudonyms import read_pseudonyms
    from histokeras.slides.inventory import find_slides, read_slide_table
    from histokeras.tiles.run import TileJob, tile_slides

    spec, annotations = tile_spec_from(**tile_arguments)
    given = read_pseudonyms(pseudonyms)
    paths, chosen = choose_paths(
        find_slides(slides, recursive=recursive),
        diagnostic_only=diagnostic_only,
        sample_types=sample_types,
        pseudonyms=given,
    )
    job = TileJob(
        slides=paths,
        left_out=chosen.outcomes(),
        output=output,
        spec=spec,
        annotations=annotations,
        table=read_slide_table(slide_table) if slide_table is not None else {},
        default_mpp=default_mpp,
        save_images=save_images,
        overwrite=overwrite,
        workers=workers,
        stall_s=stall_s,
        fail_fast=fail_fast,
        max_bad_tiles=max_bad_tiles,
        shard=shard,
        pseudonyms=given,
    )
    say_share(job.share)
    context = click.get_current_context()
    record = tile_slides(job, config=options.recorded(context.params, "shard"))
    failures = record.facts["failures"]
    if as_json:
        report = {"output": str(output), "slides": record.slides, "failures": failures}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        for outcome in record.slides:
            if outcome["outcome"] in ("done", "skipped"):
                click.echo(job.manifest_path(outcome["slide"]))
    bad = [o for o in record.slides if o["outcome"] == "failed"]
    bad += [o for o in record.slides if o["outcome"] == "empty" and not allow_empty]
    if bad:
        click.echo(
            f"{len(bad)} of {len(job.taken())} slide(s): see {output}/failures.csv", err=True
        )
        raise click.exceptions.Exit(4)
