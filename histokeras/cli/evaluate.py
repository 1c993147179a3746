"""``histokeras evaluate``."""

from pathlib import Path

import click

from histokeras.cli import options


@click.command()
@click.argument("folder", metavar="RUN|PREDICTIONS", type=options.existing_folder)
@options.labels
@options.target
@options.positive
@click.option(
    "--slide-table", type=options.existing_file, help="Table with slide_id and patient_id."
)
@options.patients_unknown
@click.option(
    "--side",
    type=click.Choice(("train", "val", "test")),
    default="test",
    show_default=True,
    help="Which side of a run's split; predictions with --labels are taken whole.",
)
@options.bootstrap
@options.seed
@click.option(
    "-o",
    "--output",
    "output",
    type=options.any_path,
    help="Also write metrics.json and tables there.",
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
    side: str,
    n_resamples: int,
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Figures with 95 % intervals: of a run, or of predictions with --labels.

    \b
    Examples:
      histokeras evaluate run/
      histokeras evaluate predictions/ --labels external.csv --target label -o evaluation/
    """
    import json

    from histokeras.analysis.collect import collect_predictions
    from histokeras.analysis.format import format_metrics
    from histokeras.analysis.saved import figures, open_saved, relabelled
    from histokeras.analysis.tables import write_tables
    from histokeras.analysis.units import EvaluationConfig
    from histokeras.cli import cohort_text
    from histokeras.errors import ConfigError
    from histokeras.files import prepare_folder, write_json
    from histokeras.runs.record import RunRecord, require_own_folder
    from histokeras.slides.inventory import slide_patients

    if output is not None:
        require_own_folder(output, ("evaluate",), ("metrics.json", "slides.csv", "patients.csv"))
    saved = open_saved(folder)
    level, note = saved.level, saved.note
    if labels is not None and not saved.is_run and side != "test":
        raise ConfigError("`--side` is for runs: predictions of new slides have no sides.")
    if labels is not None:
        predictions, cohort, joined = relabelled(
            saved,
            labels,
            target=target,
            slide_patients=slide_patients(slide_table),
            patients_unknown=patients_unknown,
        )
        cohort_text.say_cohort(cohort)
        cohort_text.say_joined(joined.funnel, joined.dropped)
        level, note = cohort.level, joined.note
    elif not level:
        raise ConfigError("these predictions carry no labels.", hint="Give --labels TABLE.")
    else:
        predictions = collect_predictions(
            saved.tables(), classes=saved.classes, keep_tiles=level == "tile"
        )
    config = EvaluationConfig(
        n_resamples=n_resamples, seed=seed, splits=(side,), patient_safe=not note
    )
    metrics = figures(
        predictions, level, positive=positive or saved.positive, note=note, config=config
    )
    if output is not None:
        prepare_folder(output)
        context = click.get_current_context()
        record = RunRecord("evaluate", options.recorded(context.params))
        record.write(output, status="running")
        write_json(output / "metrics.json", metrics)
        write_tables(output, predictions)
        record.write(output, status="done")
    click.echo(json.dumps(metrics, indent=2) if as_json else format_metrics(metrics))
