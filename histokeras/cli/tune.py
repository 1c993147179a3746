"""``histokeras tune``: search for options by Optuna, then fit the best once."""

from functools import partial
from typing import Any

import click

from histokeras.cli import options, slide_options, study_options, tune_search
from histokeras.cli.tune_segmenter import segmenter
from histokeras.models import quiet
from histokeras.models.catalog import HEAD_NAMES, TILE_HEADS


@click.group()
def tune() -> None:
    """Search for the best options on train and val patients; test the best once.

    The search (TPE of Optuna) is seeded and goes on where it was stopped. Needs
    pip install "histokeras[tune]".

    \b
    Example:
      histokeras tune head feats/ --labels labels.csv --split split.csv -o tuned/ --trials 30
    """


@tune.command()
@click.argument("features", type=options.existing_path)
@options.labels
@options.target
@options.task
@study_options.group
@options.positive
@options.output
@tune_search.options_of_search
@click.option(
    "--heads",
    default=",".join(TILE_HEADS),
    show_default=True,
    metavar="NAMES",
    help=f"Heads to try, with commas, of {','.join(HEAD_NAMES)}.",
)
@click.option(
    "--cv",
    "folds",
    type=click.IntRange(min=3),
    metavar="K",
    help="Judge a trial by the mean over K folds of the train and val patients.  "
    "[default: by the val patients]",
)
@study_options.split
@study_options.shares
@study_options.stratify
@click.option(
    "--slide-table",
    type=options.existing_file,
    help="Table with slide_id and patient_id, where the labels stand at the patient.",
)
@options.patients_unknown
@options.pseudonyms
@options.strict
@click.option(
    "--epochs", type=click.IntRange(min=1), default=100, show_default=True, help="At most, a trial."
)
@click.option(
    "--patience",
    "--early-stopping",
    "patience",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Stop a trial after this many epochs without a lower validation loss.",
)
@options.bootstrap
@options.specificity
@options.memory_gb
@options.seed
@options.overwrite
@options.as_json
@options.config
def head(**arguments: Any) -> None:
    """Search for the options of fit-head on FEATURES.

    A trial is judged by val at the labels' own level (patient, slide or tile): by the AUC, of
    several classes the mean one-vs-rest AUC, of --task regression by R2. Test patients take no part
    until the best is fitted by the way of fit-head, once, into OUTPUT/best/. Trial 0 takes the
    defaults, so that the best is never worse on val. After --patience epochs trials are given up
    whose best tile AUC (regression: loss) of val so far lies below the median of the others at that
    epoch; with --cv, after two folds, by the mean figure.

    \b
    Searched, with the names for --set and --fix:
      head            linear, mlp, write-up (see --heads)
      learning-rate   of Adam, 1e-5..0.1, by its logarithm
      batch-size      tiles a step: 16,32,64,128,256,512
      bag-batch-size  bags a step, of mil: 4,8,16
      class-weight    balanced, none; not of --task regression

    Writes trials.csv, best.toml (for fit-head --config), tuning.html to look at, tuning.json,
    tuning.db, best/ (an ordinary run) and run.json. The same command again goes on.

    \b
    Examples:
      histokeras tune head feats/ --labels labels.csv --split split.csv -o tuned/ --trials 30
      histokeras tune head feats/ --labels labels.csv -o tuned/ --set learning-rate=1e-4..1e-2
      histokeras tune head feats/ --labels labels.csv -o tuned/ --fix head=linear --cv 5
    """
    tune_search.require_extra()
    quiet.import_tensorflow()
    from histokeras.cli import run_text
    from histokeras.cli.fit_head import job_from
    from histokeras.training.fit_job import prepare_study
    from histokeras.training.search_space import narrowed
    from histokeras.training.tune_head import head_search, head_space

    names = [name.strip() for name in arguments["heads"].split(",") if name.strip()]
    space = narrowed(
        head_space(names, arguments["task"]), arguments["settings"], arguments["fixed"]
    )
    # What the space holds is replaced in each trial; --cv is of trials, and not of the best run.
    own = {"head": space[0].default, "batch_size": None, "learning_rate": None, "folds": None}
    own |= {"class_weight": "balanced", "preserve_site": False}
    job = job_from({**arguments, **own})
    study = prepare_study(job)
    run_text.say_study(study)
    what = head_search(
        job,
        study,
        space,
        folds=arguments["folds"],
        prune=not arguments["no_pruning"],
        config=tune_search.run_config(arguments),
        command_line=options.command_line(),
        say=tune_search.say,
    )
    with tune_search.folder_of("tune head", arguments):
        tune_search.run(what, arguments, partial(run_text.show_run, as_json=False))


@tune.command()
@slide_options.slide_input_options
@slide_options.ready_made
@slide_options.tile_table
@options.labels
@options.target
@study_options.group
@options.positive
@options.output
@tune_search.options_of_search
@options.backbone
@options.weights
@options.trust_model
@slide_options.tile_options
@slide_options.max_bad_tiles
@options.stain_norm
@study_options.split
@study_options.shares
@study_options.stratify
@options.patients_unknown
@options.strict
@study_options.class_weight
@study_options.train_batch_norm
@study_options.tiles_per_patient
@click.option(
    "--epochs", type=click.IntRange(min=1), default=20, show_default=True, help="At most, a trial."
)
@click.option(
    "--patience",
    "--early-stopping",
    "patience",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Stop a trial after this many epochs without a lower validation loss.",
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
    """Search for the options of finetune on SLIDES.

    A trial is judged by the AUC of val at the labels' own level (patient, slide or tile), of
    several classes the mean one-vs-rest AUC. Labels of test patients take no part until the best is
    fitted by the way of finetune, once, into OUTPUT/best/. Trial 0 takes the defaults, so that the
    best is never worse on val. After --patience epochs trials are given up whose best tile AUC of
    val so far lies below the median of the others at that epoch. Frozen features are extracted
    once, for all trials.

    \b
    Searched, with the names for --set and --fix:
      head           linear, mlp, write-up
      learning-rate  of Adam, 1e-6..0.01, by its logarithm
      unfreeze       top, all
      augment        none, flips, light, strong
      batch-size     tiles a step: 8,16,32,64

    Writes what tune head writes; best.toml is for finetune --config.

    \b
    Examples:
      histokeras tune finetune slides/ --labels labels.csv -o tuned/ --backbone resnet50 --trials 10
      histokeras tune finetune --tiles tiles/ -o tuned/ --fix unfreeze=top --set augment=flips,light
    """
    tune_search.require_extra()
    quiet.import_tensorflow()
    from histokeras.cli import extract_text, run_text
    from histokeras.cli.finetune import job_from
    from histokeras.training.search_space import narrowed
    from histokeras.training.tune_finetune import begin_search, finetune_search, finetune_space

    space = narrowed(finetune_space(), arguments["settings"], arguments["fixed"])
    # What the space holds is replaced in each trial.
    own = {"head": TILE_HEADS[0], "unfreeze": "top", "augmentation": "light"}
    job = job_from({**arguments, **own, "batch_size": 32, "learning_rate": 1e-4})
    config = tune_search.run_config(arguments)
    with tune_search.folder_of("tune finetune", arguments) as folder:
        job, begun = begin_search(job, folder, config=config, on_prepared=extract_text.say_prepared)
        run_text.say_study(begun.study)
        what = finetune_search(
            job,
            begun,
            space,
            prune=not arguments["no_pruning"],
            config=config,
            command_line=options.command_line(),
        )
        tune_search.run(what, arguments, partial(run_text.show_run, as_json=False))
    extract_text.end(begun.plan, allow_empty=arguments["allow_empty"])


tune.add_command(segmenter)
