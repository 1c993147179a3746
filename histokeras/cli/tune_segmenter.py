"""``histokeras tune segmenter``."""

import logging
from functools import partial
from typing import Any

import click

from histokeras.cli import options, segmenter_options, study_options, tune_search
from histokeras.models import quiet

# What the space holds; each trial replaces it.
_OF_SPACE = {
    "output_stride": "16",
    "freeze": "none",
    "dice_weight": 1.0,
    "batch_size": 8,
    "learning_rate": 5e-4,
    "weight_decay": 1e-4,
    "folds": None,
}


@click.command()
@segmenter_options.pair_options
@segmenter_options.mpp
@segmenter_options.default_mpp
@options.output
@tune_search.options_of_search
@segmenter_options.network_options
@options.trust_model
@segmenter_options.training_options
@study_options.split
@study_options.shares
@options.patients_unknown
@options.mixed_precision
@options.gpus
@options.workers
@options.bootstrap
@options.seed
@options.overwrite
@options.as_json
@options.config
def segmenter(**arguments: Any) -> None:
    """Search for the options of fit-segmenter on IMAGES.

    A trial is judged by the highest IoU of val, of the class of interest, or else the mean over
    classes. Test images take no part until the best is fitted by the way of fit-segmenter, once,
    into OUTPUT/best/. Trial 0 takes the defaults, so that the best is never worse on val. After
    --patience epochs trials are given up whose best IoU so far lies below the median of the others
    at that epoch. All GPUs share each step of a trial.

    \b
    Searched, with the names for --set and --fix:
      learning-rate  of AdamW, 1e-5..0.01, by its logarithm
      weight-decay   of AdamW, 1e-6..0.01, by its logarithm
      batch-size     crops a step: 4,8,16
      dice-weight    of the Dice loss, 0.1..10, by its logarithm; of losses that have it
      output-stride  8,16; of DeepLab
      freeze         none, half, most, backbone; of DeepLab

    Writes trials.csv, best.toml (for fit-segmenter --config), tuning.html to look at, tuning.json,
    tuning.db, best/ (an ordinary run) and run.json. The same command again goes on.

    \b
    Examples:
      histokeras tune segmenter images/ --masks masks/ -o tuned/ --trials 20
      histokeras tune segmenter --pairs pairs.csv --mpp 2 -o tuned/ --fix output-stride=16
    """
    tune_search.require_extra()
    quiet.import_tensorflow()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from histokeras.cli.fit_segmenter import say_study, show_run
    from histokeras.training.search_space import narrowed
    from histokeras.training.tune_segmenter import begin_search, segmenter_search, segmenter_space

    job = segmenter_options.job_from(study_options.one_division({**arguments, **_OF_SPACE}))
    space = narrowed(segmenter_space(job), arguments["settings"], arguments["fixed"])
    study = begin_search(job)
    say_study(job, study)
    what = segmenter_search(
        job,
        study,
        space,
        prune=not arguments["no_pruning"],
        config=tune_search.run_config(arguments),
        command_line=options.command_line(),
    )
    try:
        with tune_search.folder_of("tune segmenter", arguments):
            tune_search.run(what, arguments, partial(show_run, as_json=False))
    finally:
        study.pool.close()
