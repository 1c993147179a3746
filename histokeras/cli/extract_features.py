"""``histokeras extract-features``."""

from typing import Any

import click

from histokeras.cli import extract_text, options
from histokeras.cli.shard_options import say_share, shard
from histokeras.cli.slide_options import (
    extract_job_from,
    manner_from,
    max_bad_tiles,
    ready_made,
    slide_input_options,
    tile_options,
    tile_table,
)


@click.command("extract-features")
@slide_input_options
@ready_made
@tile_table
@options.output
@options.backbone
@options.weights
@options.trust_model
@tile_options
@max_bad_tiles
@options.stain_norm
@options.mixed_precision
@click.option("--half", is_flag=True, help="Store vectors as float16: half the disk.")
@options.compute_batch
@options.batch_size
@options.workers
@options.gpus
@options.workers_per_gpu
@options.stall_seconds
@options.fail_fast
@shard
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

    from histokeras.features.job import describe_plan, prepare_job
    from histokeras.models.catalog import require_backbone

    dtype = "float16" if arguments["half"] else "float32"
    job = extract_job_from(arguments, dtype=dtype, shard=arguments["shard"])
    prepared = prepare_job(job, download=not arguments["dry_run"])
    plan = prepared.plan
    say_share(plan.share)
    extract_text.say_prepared(prepared)
    if arguments["dry_run"]:
        described = describe_plan(prepared, n_features=require_backbone(job.backbone).n_features)
        if arguments["as_json"]:
            click.echo(json.dumps(described, indent=2))
        else:
            extract_text.say_description(described)
        return

    from histokeras.features.run import run_job

    config = options.recorded(arguments, "dry_run", "overwrite", "shard")
    run_job(
        job,
        prepared,
        config=config,
        manner=manner_from(arguments),
        command_line=options.command_line(),
    )
    if arguments["as_json"]:
        document = {"output": str(job.output), "slides": plan.outcomes, "failures": plan.failures}
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(str(job.output))
    extract_text.end(plan, allow_empty=arguments["allow_empty"])
