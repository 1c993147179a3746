"""``histokeras fit-head``."""

import functools
from pathlib import Path
from typing import Any

import click

from histokeras.cli import options, run_text, study_options
from histokeras.models import quiet
from histokeras.models.catalog import (
    BAG_BATCH_SIZE,
    BATCH_SIZE,
    HEAD_RATES,
    RISK_BATCH_SIZE,
    batch_size_of,
)
from histokeras.types import CLASSIFICATION, REGRESSION, SURVIVAL

_OF_CLASSES = {
    "group": "--group",
    "positive": "--positive",
    "class_weight": "--class-weight",
    "specificity": "--specificity",
}
_OF_SURVIVAL = {
    "time": "--time",
    "event": "--event",
    "clinical": "--clinical-columns",
    "with_clinical": "--with-clinical",
}


@click.command("fit-head")
@click.argument("features", type=options.existing_path)
@options.labels
@options.target
@study_options.task
@study_options.time
@study_options.event
@study_options.clinical_columns
@study_options.with_clinical
@study_options.group
@options.positive
@options.output
@study_options.split
@study_options.shares
@click.option(
    "--cv",
    "folds",
    type=click.IntRange(min=3),
    help="Cross-validate: this many folds, a head each.",
)
@study_options.stratify
@click.option(
    "--preserve-site", is_flag=True, help="With --cv: no site in two folds, classes even."
)
@click.option(
    "--slide-table",
    type=options.existing_file,
    help="Table with slide_id and patient_id, where the labels stand at the patient.",
)
@options.patients_unknown
@options.pseudonyms
@options.strict
@study_options.head
@study_options.class_weight
@click.option(
    "--epochs", type=click.IntRange(min=1), default=100, show_default=True, help="At most."
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help=f"Tiles a step; of mil bags; of survival patients.  [default: {BATCH_SIZE}; mil "
    f"{BAG_BATCH_SIZE}; survival {RISK_BATCH_SIZE}]",
)
@click.option(
    "--learning-rate",
    "--lr",
    "learning_rate",
    type=click.FloatRange(min=0, min_open=True),
    help=f"Of Adam.  [default: {', '.join(f'{n} {r:g}' for n, r in HEAD_RATES.items())}]",
)
@click.option(
    "--patience",
    "--early-stopping",
    "patience",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Stop after this many epochs without a lower validation loss.",
)
@options.bootstrap
@options.specificity
@options.memory_gb
@options.seed
@options.overwrite
@options.as_json
@options.config
def fit_head(**arguments: Any) -> None:
    """Train a top-up head on FEATURES and evaluate it on patients it has not seen.

    Writes report.html to look at, metrics.json, head/, history.csv, predictions/, slides.csv,
    patients.csv, split.csv, dropped.csv, duplicates.csv and run.json. Labels may stand at the tile,
    slide or patient; figures are given at that level and above, with 95 % intervals by resampling
    patients, and beside what colour and texture alone reach. With --task regression the target is a
    number: Spearman, R2 and the mean absolute error take the place of AUC and accuracy.

    With --task survival the head learns the risk of patients by the Cox loss, and is set beside a
    Cox model of clinical columns alone: C-index, hazard ratios, Kaplan-Meier curves of high and low
    risk, cut at the training median. It needs 10 events in train and 2 in val; figures of test
    need 5. With --with-clinical the head learns from features and clinical columns together.

    \b
    Examples:
      histokeras fit-head feats/ --labels labels.csv --target label -o run/
      histokeras fit-head feats/ --labels labels.xlsx --target msi --positive MSI-H --cv 5 -o run/
      histokeras fit-head feats/ --labels labels.csv --target label --cv 5 --preserve-site -o run/
      histokeras fit-head feats/ --labels scores.csv --target buffa --task regression -o run/
      histokeras fit-head feats/ --labels labels.csv --target label --head mil -o run/
      histokeras fit-head feats/ --labels clinical.csv --task survival --cv 5 -o run/
      histokeras fit-head feats/ --labels clinical.csv --task survival --with-clinical -o run/
      histokeras fit-head tissue_feats/ --group TUM -o tumour/
    """
    quiet.import_tensorflow()
    from histokeras.training.fit_job import prepare_study
    from histokeras.training.fit_run import run_fit

    task = arguments["task"]
    unfit = _unfit_options(task)

    def say(line: str) -> None:
        click.echo(line, err=True)

    way = None
    if task == SURVIVAL:
        from histokeras.training.fit_run import Way
        from histokeras.training.survival_study import fit_survival

        way = Way("fit-head", functools.partial(fit_survival, say=say))
    job, output = job_from(arguments), Path(arguments["output"])
    study = prepare_study(job)
    run_text.say_study(study)
    config = options.recorded(arguments, "overwrite", *unfit)
    result = run_fit(
        job,
        study,
        output,
        config=config,
        command_line=options.command_line(),
        overwrite=arguments["overwrite"],
        way=way,
        say=say,
    )
    run_text.show_run(output, result, as_json=arguments["as_json"])


def _unfit_options(task: str) -> tuple[str, ...]:
    """Refuse options that were given and mean nothing for a task; return the names of all such."""
    if task == CLASSIFICATION:
        options.refuse_given(_OF_SURVIVAL, "classes have no follow-up", of=SURVIVAL)
        return (*_OF_SURVIVAL, "task")
    why = "a number has no classes" if task == REGRESSION else "survival has no classes"
    options.refuse_given(_OF_CLASSES, why)
    if task == REGRESSION:
        options.refuse_given(_OF_SURVIVAL, "a number has no follow-up", of=SURVIVAL)
        return (*_OF_CLASSES, *_OF_SURVIVAL)
    named = "--time and --event name what is learned"
    options.refuse_given({"target": "--target"}, named, of="classes and numbers")
    return (*_OF_CLASSES, "target")


def job_from(arguments: dict[str, Any]) -> Any:
    """Return the job that the options ask for."""
    from histokeras.cohort.split import SHARES, parse_shares
    from histokeras.training.fit_job import FitJob
    from histokeras.training.head import HeadConfig
    from histokeras.training.loop import FitConfig

    arguments = study_options.one_division(arguments)
    fit = {key: arguments[key] for key in ("epochs", "patience")}
    survival = arguments["task"] == SURVIVAL
    size = RISK_BATCH_SIZE if survival else batch_size_of(arguments["head"])
    fit["batch_size"] = arguments["batch_size"] or size
    fit["learning_rate"] = arguments["learning_rate"] or HEAD_RATES[arguments["head"]]
    head = HeadConfig(
        head=arguments["head"],
        class_weight=arguments["class_weight"],
        fit=FitConfig(seed=arguments["seed"], **fit),
    )
    same = ["features", "labels", "target", "positive", "slide_table", "split", "folds"]
    same += ["patients_unknown", "strict", "memory_gb", "n_resamples", "specificity", "task"]
    same += ["pseudonyms"]
    return FitJob(
        preserve_site=bool(arguments["preserve_site"]),
        **{name: arguments[name] for name in same},
        group=study_options.grouping_from(arguments),
        shares=parse_shares(arguments["shares"]) if arguments["shares"] else SHARES,
        stratify=study_options.column_names(arguments["stratify"] or ""),
        time=arguments.get("time"),
        event=arguments.get("event"),
        clinical=study_options.column_names(arguments.get("clinical") or ""),
        with_clinical=bool(arguments.get("with_clinical")),
        head=head,
    )
