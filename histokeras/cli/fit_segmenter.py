"""``histokeras fit-segmenter``."""

import json
import logging
from pathlib import Path
from typing import Any

import click

from histokeras.cli import options, segmenter_options, study_options
from histokeras.models import quiet


@click.command()
@segmenter_options.pair_options
@segmenter_options.mpp
@segmenter_options.default_mpp
@options.output
@segmenter_options.network_options
@options.trust_model
@segmenter_options.training_options
@segmenter_options.searched_options
@study_options.split
@study_options.shares
@segmenter_options.folds
@options.patients_unknown
@options.mixed_precision
@options.gpus
@options.workers
@options.bootstrap
@options.seed
@options.overwrite
@options.as_json
@options.config
def fit_segmenter(**arguments: Any) -> None:
    """Train a network that gives each pixel of IMAGES a class, from class masks.

    IMAGES is a folder of pictures or slides; each has a mask of the same name in --masks, or a row
    in the table of --pairs. Patients are divided into train, val and test: the network learns from
    crops of train, stops where val no longer gains, and is evaluated once on whole test images,
    beside what the colour of each pixel alone can tell.

    Writes report.html, segmenter/ (for `histokeras segment`), metrics.json, images.csv,
    patients.csv, history.csv, predictions/ and pictures/. The same command again goes on.

    \b
    Examples:
      histokeras fit-segmenter images/ --masks masks/ -o run/
      histokeras fit-segmenter images/ --masks masks/ -o run/ --cv 5 --backbone mobilenetv2
      histokeras fit-segmenter slides/ --masks qupath/ --mpp 2 -o run/
    """
    quiet.import_tensorflow()
    # Each fold builds its own network: that TensorFlow traces it anew is no news.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from histokeras.training.segmentation_job import prepare_segmentation
    from histokeras.training.segmentation_run import run_segmenter

    output = Path(arguments["output"])
    job = segmenter_options.job_from(study_options.one_division(arguments))
    study = prepare_segmentation(job)
    say_study(job, study)
    metrics = run_segmenter(
        job,
        study,
        output,
        config=options.recorded(arguments, "overwrite"),
        command_line=options.command_line(),
        overwrite=arguments["overwrite"],
    )
    show_run(output, metrics, as_json=arguments["as_json"])


def say_study(job: Any, study: Any) -> None:
    """Say what is learned from, and what is to be minded."""
    task, funnel = study.task, study.funnel
    named = [f"{name} (the one of interest)" if name == task.positive else name
             for name in task.classes]  # fmt: skip
    scale = "pixels as they are" if study.mpp is None else f"{study.mpp:.3g} um per pixel"
    click.echo(
        f"{funnel['images']} images of {funnel['patients']} patients, {scale}; "
        f"classes {', '.join(named)}",
        err=True,
    )
    if study.note:
        click.secho(f"Warning: {study.note}", fg="red", err=True)
    for note in (*job.pairs.notes, *study.notes):
        click.secho(f"Note: {note}", fg="yellow", err=True)
    if not study.split.signed:
        click.echo("The split file is unsigned: histokeras did not make it.", err=True)
    if str(job.weights or "").startswith("random"):
        click.secho(f"Note: the backbone starts from {job.weights}", fg="yellow", err=True)


def show_run(output: Path, metrics: dict[str, Any] | None, *, as_json: bool) -> None:
    """Print the figures of a run."""
    from histokeras.report.page import write_report
    from histokeras.runs.record import read_object

    done_before = metrics is None
    if metrics is None:
        click.echo(f"{output} holds this very run, finished: nothing to do.", err=True)
        metrics = read_object(output / "metrics.json")
    if not done_before or not (output / "report.html").is_file():
        write_report(output)
    if as_json:
        click.echo(json.dumps(metrics, indent=2))
        return
    for line in figure_lines(metrics):
        click.echo(line, err=True)
    click.echo(f"Look at {output / 'report.html'}", err=True)
    click.echo(str(output))


def figure_lines(metrics: dict[str, Any]) -> list[str]:
    """Return the figures of the network and its floors, a line each."""
    from histokeras.report.text import plural

    shown = ("dice", "iou") if metrics["positive"] else ("mean_dice", "mean_iou")
    units = plural(metrics["n_units"], metrics["resampled_by"])
    lines = [f"Test, {plural(metrics['n_images'], 'image')}; mean over {units}:"]
    for model in metrics["models"].values():
        found = model["unit_mean"]
        figures = ", ".join(f"{name} {_interval(found[name])}" for name in shown)
        lines.append(f"  {model['title']}: {figures}")
    # Its figures are others than the means above.
    lines.append(f"All test pixels as one pool: {metrics['verdict']['text']}")
    return lines


def _interval(estimate: dict[str, Any]) -> str:
    value, low, high = (estimate.get(name) for name in ("value", "low", "high"))
    if value is None:
        return "not defined"
    return f"{value:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")
