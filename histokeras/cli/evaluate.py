"""``histokeras evaluate``."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from histokeras.cli import options
from histokeras.cli.truth_options import evaluate_lymph_nodes, refuse_truth, truth_options
from histokeras.types import REGRESSION


@click.command()
@click.argument("folder", metavar="RUN|PREDICTIONS|NODES", type=options.run_folder)
@options.labels
@options.target
@options.positive
@click.option(
    "--slide-table", type=options.existing_file, help="Table with slide_id and patient_id."
)
@options.patients_unknown
@options.pseudonyms
@options.strict
@click.option(
    "--side",
    type=click.Choice(("train", "val", "test")),
    default="test",
    show_default=True,
    help="Which side of a run's split, or of --split; predictions with --labels are taken whole.",
)
@options.bootstrap
@options.specificity
@truth_options
@options.seed
@click.option(
    "-o",
    "--output",
    "output",
    type=options.any_path,
    help="Also write report.html, metrics.json and tables there.",
)
@options.as_json
@options.config
def evaluate(
    folder: Path,
    labels: Path | None,
    target: str,
    positive: str | None,
    slide_table: Path | None,
    patients_unknown: bool,
    pseudonyms: Path | None,
    strict: bool,
    side: str,
    n_resamples: int,
    specificity: float,
    truth: Path | None,
    split: Path | None,
    node_class: str | None,
    tumour_class: str | None,
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Figures with 95 % intervals: of a run, or of predictions with --labels.

    Of what lymph-nodes wrote with --truth: nodes, tumour inside them, T/MLN and pN against what
    was drawn.

    \b
    Examples:
      histokeras evaluate run/
      histokeras evaluate predictions/ --labels external.csv --target label -o evaluation/
      histokeras evaluate nodes/ --truth drawn/ -o evaluation/
    """
    import json

    from histokeras.analysis.lymph_folder import is_lymph_folder

    if is_lymph_folder(folder):
        evaluate_lymph_nodes(click.get_current_context().params)
        return
    refuse_truth()
    from histokeras.analysis.evaluation import evaluate_saved, write_evaluation
    from histokeras.analysis.format import format_metrics
    from histokeras.analysis.saved import open_saved
    from histokeras.analysis.units import EvaluationConfig
    from histokeras.cli import cohort_text
    from histokeras.cohort.pseudonyms import patients_by_slide, read_labels, read_pseudonyms
    from histokeras.errors import ConfigError
    from histokeras.report.page import write_report

    saved = open_saved(folder)
    if saved.task == REGRESSION:
        names = {"positive": "--positive", "specificity": "--specificity"}
        options.refuse_given(names, f"these predictions are of a number, {saved.classes[0]}")
    if labels is not None and not saved.is_run and side != "test":
        raise ConfigError("`--side` is for runs: predictions of new slides have no sides.")
    asked: dict[str, Any] = {"n_resamples": n_resamples, "seed": seed, "specificity": specificity}
    context = click.get_current_context()
    # A run's own figures come again, unless something else is asked for.
    asked |= {name: saved.evaluated[name] for name in saved.evaluated if _is_default(name)}
    config = EvaluationConfig(splits=(side,), **asked)
    if pseudonyms is not None and labels is None and slide_table is None:
        raise ConfigError("`--pseudonyms` translates --labels and --slide-table: give one of them.")
    given = read_pseudonyms(pseudonyms)
    table = read_labels(labels, given) if labels is not None else None
    evaluation = evaluate_saved(
        saved,
        table,
        output,
        target=target,
        positive=positive,
        slide_patients=patients_by_slide(slide_table, given, table),
        patients_unknown=patients_unknown,
        strict=strict,
        config=config,
    )
    if evaluation.cohort is not None and evaluation.joined is not None:
        cohort_text.say_cohort(evaluation.cohort)
        cohort_text.say_joined(evaluation.joined.funnel, evaluation.joined.dropped)
    if output is not None:
        write_evaluation(
            output,
            evaluation,
            config=options.recorded({**context.params, **asked}),
            command_line=options.command_line(),
        )
        click.echo(f"Look at {write_report(output)}", err=True)
    metrics = evaluation.metrics
    click.echo(json.dumps(metrics, indent=2) if as_json else format_metrics(metrics))


def _is_default(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.DEFAULT
