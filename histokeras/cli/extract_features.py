"""``histokeras extract-features``."""

from pathlib import Path
from typing import Any

import click

from histokeras.cli import options
from histokeras.cli.slide_options import slide_input_options, tile_options


@click.command("extract-features")
@options.together(slide_input_options)
@click.option(
    "--tiles", "ready_made", is_flag=True, help="The inputs are folders of ready-made tile images."
)
@click.option(
    "--tile-table",
    type=options.existing_file,
    help="With --tiles: table with tile and any of label, patient_id, slide_id, mpp.",
)
@options.output
@options.backbone
@options.weights
@tile_options
@options.mixed_precision
@click.option("--half", is_flag=True, help="Store vectors as float16: half the disk.")
@click.option(
    "--compute-batch",
    type=click.IntRange(1, 1024),
    default=16,
    show_default=True,
    help="Tiles a device computes at once; part of the fingerprint. Larger is faster on GPUs.",
)
@options.batch_size
@options.workers
@options.gpus
@options.overwrite
@options.allow_empty
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@options.as_json
@options.config
def extract_features(**arguments: Any) -> None:
    """Extract bottleneck features from SLIDES: files, or folders that hold them.

    Writes one features/<slide_id>.h5 and tiles/<slide_id>.csv a slide, run.json and failures.csv.
    The same command again resumes. Exit code 4: some slides failed, see failures.csv.

    \b
    Examples:
      histokeras extract-features slides/ -o feats/
      histokeras extract-features slides/ -o feats/ --backbone resnet50 --mpp 0.5
      histokeras extract-features --tiles tiles/ --tile-table tiles.csv -o feats/
    """
    import json

    from histokeras.features.job import ExtractJob, run_job
    from histokeras.cli.slide_options import tile_spec_from

    raise NotImplementedError(json, ExtractJob, run_job, tile_spec_from, Path)
