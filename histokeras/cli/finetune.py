"""``histokeras finetune``."""

from pathlib import Path
from typing import Any

import click

from histokeras.cli import extract_text, options, run_text, study_options
from histokeras.cli.slide_options import (
    extract_job_from,
    max_bad_tiles,
    ready_made,
    slide_input_options,
    tile_options,
    tile_table,
)
from histokeras.models import quiet
from histokeras.models.catalog import AUGMENTATION_NAMES, HEAD_RATES, UNFREEZE

_DROP_BLOCK = ("drop_block", "drop_block_steps")


@click.command()
@slide_input_options
@ready_made
@tile_table
@options.labels
@options.target
@study_options.group
@options.positive
@options.output
@options.backbone
@options.weights
@options.trust_model
@tile_options
@max_bad_tiles
@options.stain_norm
@study_options.split
@study_options.shares
@study_options.stratify
@options.patients_unknown
@options.strict
@study_options.tile_head
@study_options.class_weight
@click.option(
    "--unfreeze",
    type=click.Choice(UNFREEZE),
    default="top",
    show_default=True,
    help="What learns beside the head: the backbone's last block, or all of it.",
)
@study_options.train_batch_norm
@click.option(
    "--augment",
    "augmentation",
    type=click.Choice(AUGMENTATION_NAMES),
    default="light",
    show_default=True,
    help="How tiles are varied in training: see README.",
)
@click.option(
    "--drop-block",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="DropBlock: while training, drop squares of 7 x 7 cells of the maps, this share behind "
    "the blocks of the last stage, a quarter of it behind those before; 0.1 is usual. Of resnet50 "
    "and mini.",
)
@click.option(
    "--drop-block-steps",
    type=click.IntRange(min=1),
    default=5000,
    show_default=True,
    help="Steps over which --drop-block rises from 0.",
)
@study_options.tiles_per_patient
@click.option(
    "--epochs", type=click.IntRange(min=1), default=20, show_default=True, help="At most."
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Tiles a step, over all devices.",
)
@click.option(
    "--learning-rate",
    "--lr",
    "learning_rate",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-4,
    show_default=True,
    help="Of Adam, while fine-tuning.",
)
@click.option(
    "--patience",
    "--early-stopping",
    "patience",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Stop after this many epochs without a lower validation loss.",
)
@options.mixed_precision
@options.compute_batch
@options.workers
@options.gpus
@options.bootstrap
@options.specificity
@options.memory_gb
@options.seed
@options.overwrite
@options.allow_empty
@options.as_json
@options.config
def finetune(**arguments: Any) -> None:
    """Fine-tune a backbone on SLIDES, and evaluate it on patients it has not seen.

    First a head is fitted on the features of the frozen backbone; then backbone and head learn
    together from the tiles; then the backbone, as it was saved, extracts features again, and these
    are evaluated, beside the frozen ones. The state before counts as epoch 0: on the validation
    side the result is never worse than the frozen backbone.

    Writes what fit-head writes, backbone/weights.safetensors (for --weights of other commands),
    frozen/ and tuned/ with features before and after. The same command again goes on.

    \b
    Examples:
      histokeras finetune slides/ --labels labels.csv --target label -o tuned/ --backbone resnet50
      histokeras finetune --tiles tiles/ --tile-table tiles.csv -o tuned/ --backbone resnet50
      histokeras predict tuned/ new_slides/ -o predictions/
    """
    quiet.import_tensorflow()
    from histokeras.training.finetune_run import begin_finetune, run_finetune

    job, output = job_from(arguments), Path(arguments["output"])
    config = options.recorded(arguments, "overwrite")
    begun = begin_finetune(job, config=config, on_prepared=extract_text.say_prepared)
    run_text.say_study(begun.study)
    result = run_finetune(
        job,
        begun,
        config=config,
        command_line=options.command_line(),
        overwrite=arguments["overwrite"],
    )
    run_text.show_run(output, result, as_json=arguments["as_json"])
    extract_text.end(begun.plan, allow_empty=arguments["allow_empty"])


def job_from(arguments: dict[str, Any]) -> Any:
    """Return the job that the options ask for."""
    from histokeras.cohort.split import SHARES, parse_shares
    from histokeras.errors import ConfigError
    from histokeras.training.finetune import FinetuneConfig
    from histokeras.training.finetune_run import FinetuneJob
    from histokeras.training.fit_job import FitJob
    from histokeras.training.head import HeadConfig
    from histokeras.training.loop import FitConfig

    arguments = study_options.one_division(arguments)
    if arguments["labels"] is None and not arguments["ready_made"]:
        raise ConfigError("`--labels` is needed: a table of labels.")
    extract = extract_job_from(arguments)
    head = HeadConfig(
        head=arguments["head"],
        class_weight=arguments["class_weight"],
        fit=FitConfig(learning_rate=HEAD_RATES[arguments["head"]], seed=arguments["seed"]),
    )
    same = ["labels", "target", "positive", "slide_table", "split", "patients_unknown", "strict"]
    same += ["memory_gb", "n_resamples", "specificity", "pseudonyms"]
    fit = {key: arguments[key] for key in ("epochs", "batch_size", "patience", "learning_rate")}
    tune = {key: arguments[key] for key in ("unfreeze", "batch_norm", "augmentation")}
    return FinetuneJob(
        extract=extract,
        fit=FitJob(
            features=extract.output,
            group=study_options.grouping_from(arguments),
            shares=parse_shares(arguments["shares"]) if arguments["shares"] else SHARES,
            stratify=study_options.column_names(arguments["stratify"]),
            head=head,
            **{name: arguments[name] for name in same},
        ),
        config=FinetuneConfig(
            tiles_per_patient=arguments["tiles_per_patient"],
            precision=extract.precision,
            # A search has them not.
            **{key: arguments[key] for key in _DROP_BLOCK if key in arguments},
            fit=FitConfig(seed=arguments["seed"], **fit),
            **tune,
        ),
        gpus=arguments["gpus"],
        workers=arguments["workers"],
        say=lambda line: click.echo(line, err=True),
    )
