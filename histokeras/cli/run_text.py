"""What the commands that train say of a study before, and of its figures after."""

import json
from pathlib import Path
from typing import Any

import click

from histokeras.cli import cohort_text


def say_study(study: Any) -> None:
    """Say which labels and patients are used, and what is to be minded.

    Args:
        study: A :class:`histokeras.training.fit_job.Study`.
    """
    cohort_text.say_cohort(study.cohort)
    cohort_text.say_joined(study.joined.funnel, study.dropped)
    cohort_text.say_sites(study.split.sites)
    for note in {study.joined.note, study.split.note} - {""}:
        click.secho(f"Warning: {note}", fg="red", err=True)
    if not study.split.signed:
        click.echo("The split file is unsigned: histokeras did not make it.", err=True)
    weights = str(study.index.settings.get("weights", ""))
    if weights.startswith("random"):
        click.secho(f"Warning: features of random weights ({weights})", fg="red", err=True)


def show_run(output: Path, result: Any, *, as_json: bool) -> None:
    """Draw the page of a run and print its figures.

    Args:
        output: The run folder.
        result: What was fitted; None if it was finished before.
        as_json: Whether to print metrics.json instead of words.
    """
    from histokeras.analysis.format import format_metrics
    from histokeras.report.page import write_report
    from histokeras.runs.record import read_object

    if result is None:
        click.echo(f"{output} holds this very run, finished: nothing to do.", err=True)
    else:
        cohort_text.say_duplicates(result.duplicates.table, result.duplicates.note)
    if result is not None or not (output / "report.html").is_file():
        write_report(output)
    metrics = read_object(output / "metrics.json")
    if as_json:
        click.echo(json.dumps(metrics, indent=2))
        return
    # Val decided when to stop: its figures stand in metrics.json, and are not the ones to quote.
    tested = {side: levels for side, levels in metrics["splits"].items() if side == "test"}
    click.echo(format_metrics({**metrics, "splits": tested}), err=True)
    click.echo(f"Look at {output / 'report.html'}", err=True)
    click.echo(str(output))
