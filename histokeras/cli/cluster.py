"""``histokeras cluster``."""

import json
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from histokeras.cli import options
from histokeras.models import quiet
from histokeras.types import CLUSTER_METHODS, LABEL, MAPS

_ASSIGNING = ("features", "output", "model", "slide_table", "pseudonyms", "memory_gb", "overwrite")
"""Options that mean something with --model."""


@click.command()
@click.argument("features", type=options.existing_path)
@options.output
@click.option(
    "--method",
    type=click.Choice(CLUSTER_METHODS),
    default=CLUSTER_METHODS[0],
    show_default=True,
    help="dkm-a: deep k-means, annealed; dkm-p: deep k-means, pretrained; kmeans: plain.",
)
@click.option(
    "--k",
    "n_clusters",
    type=click.IntRange(2, 100),
    default=2,
    show_default=True,
    help="Number of clusters.",
)
@click.option(
    "--split",
    "--splits",
    "split",
    type=options.existing_file,
    help="File of `histokeras split`; clusters are fitted on its train patients alone. Needed, "
    "but with --model.",
)
@click.option(
    "--model",
    type=options.existing_folder,
    metavar="CLUSTERS",
    help="Fit nothing: assign the tiles to the clusters that an earlier call wrote to CLUSTERS.",
)
@options.labels
@options.target
@click.option(
    "--slide-table",
    type=options.existing_file,
    help="Table with slide_id and patient_id, where neither ids nor labels tell the patient.",
)
@options.patients_unknown
@options.pseudonyms
@click.option(
    "--hidden",
    default="500,500,2000",
    show_default=True,
    metavar="UNITS",
    help="Hidden layers of the encoder, with commas; the decoder has them in reverse.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=256, show_default=True, help="Tiles a step."
)
@click.option(
    "--map",
    type=click.Choice(MAPS),
    default=MAPS[0],
    show_default=True,
    help="Directions of map.png: principal components, or UMAP (extra `histokeras[umap]`).",
)
@options.memory_gb
@options.seed
@options.overwrite
@options.as_json
@options.config
def cluster(**arguments: Any) -> None:
    """Cluster the tiles of FEATURES, and compare the clusters with label, site and tumour type.

    Labels are compared with, never learned from. Writes report.html to look at, clusters.csv (a row
    a tile), slides.csv and patients.csv (share of each cluster), metrics.json (NMI, ARI and
    accuracy after the best matching, plain k-means beside deep k-means), map.png, gallery.png
    (tiles nearest each centre), history.csv, model/, dropped.csv and run.json. Clusters that agree
    with the site more than with the label may show where the slides were made.

    \b
    Examples:
      histokeras cluster feats/ --split split.csv -o clusters/
      histokeras cluster feats/ --split split.csv --labels labels.csv --method dkm-p --k 4 -o c4/
      histokeras cluster new_feats/ --model clusters/ -o new/
    """
    if arguments["model"] is not None:
        _assign(arguments)
    elif arguments["split"] is None:
        raise click.UsageError("Missing option '--split' (or '--model', to fit nothing).")
    else:
        _fit(arguments)


def _fit(arguments: dict[str, Any]) -> None:
    """Fit clusters, and draw what was found."""
    quiet.import_tensorflow()
    from histokeras.analysis.clustering import format_agreement
    from histokeras.report.clusters import plot_gallery, plot_map
    from histokeras.report.page import write_report
    from histokeras.runs.record import read_object
    from histokeras.training.cluster import ClusterConfig
    from histokeras.training.cluster_job import ClusterJob, prepare_clusters
    from histokeras.training.cluster_run import GALLERY, MAP, run_clusters

    projection = _projection(arguments["map"])
    names = ("method", "n_clusters", "seed", "batch_size")
    clusters = ClusterConfig(
        **{name: arguments[name] for name in names}, hidden=_units(arguments["hidden"])
    )
    same = ["features", "split", "labels", "target", "slide_table", "patients_unknown"]
    same += ["pseudonyms", "memory_gb"]
    job = ClusterJob(
        clusters=clusters, projection=projection, **{name: arguments[name] for name in same}
    )
    study, output = prepare_clusters(job), Path(arguments["output"])
    if study.note:
        click.secho(f"Warning: {study.note}", fg="red", err=True)
    if not study.split.signed:
        click.echo("The split file is unsigned: histokeras did not make it.", err=True)
    if arguments["labels"] is None and LABEL not in study.groups:
        click.echo("Without --labels, clusters are compared with no label.", err=True)
    result = run_clusters(
        job,
        study,
        output,
        config=options.recorded(arguments, "overwrite"),
        command_line=options.command_line(),
        overwrite=arguments["overwrite"],
        say=lambda line: click.echo(line, err=True),
    )
    if result is None:
        click.echo(f"{output} holds this very run, finished: nothing to do.", err=True)
    else:
        shares = result.tiles["cluster"].value_counts(normalize=True)
        title = f"{len(result.map.points)} tiles, {clusters.method}, k = {clusters.n_clusters}"
        known = [float(shares.get(i, 0)) for i in range(clusters.n_clusters)]
        if not plot_gallery(output / GALLERY, result.nearest, known, result.limit):
            click.echo("No gallery: the feature files hold no pictures of tiles.", err=True)
        plot_map(output / MAP, result.map.points, result.map.axes, title)
    if result is not None or not (output / "report.html").is_file():
        write_report(output)
    metrics = read_object(output / "metrics.json")
    if arguments["as_json"]:
        click.echo(json.dumps(metrics, indent=2))
        return
    click.echo(format_agreement(metrics), err=True)
    click.echo(f"Look at {output / 'report.html'}", err=True)
    click.echo(str(output))


def _assign(arguments: dict[str, Any]) -> None:
    """Assign the tiles of new slides to known clusters."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        if given and name in arguments and name not in _ASSIGNING:
            raise click.UsageError(
                f"`{parameter.opts[0]}` is for fitting; with --model nothing is fitted. "
                "Leave it out."
            )
    quiet.import_tensorflow()
    from histokeras.training.cluster_assign import assign_clusters

    output = Path(arguments["output"])
    same = ("slide_table", "pseudonyms", "memory_gb", "overwrite")
    kept = {name: arguments[name] for name in _ASSIGNING}
    if not assign_clusters(
        arguments["model"],
        arguments["features"],
        output,
        config=options.recorded(kept, "overwrite"),
        command_line=options.command_line(),
        **{name: arguments[name] for name in same},
    ):
        click.echo(f"{output} holds this very result, finished: nothing to do.", err=True)
    click.echo(str(output))


def _projection(name: str) -> Any:
    """Return how the map is made; umap-learn is an extra, which is asked for before any work."""
    if name == "umap":
        from histokeras.training.umap_map import UMAP_MAP

        return UMAP_MAP
    from histokeras.training.cluster_map import PCA_MAP

    return PCA_MAP


def _units(text: str) -> tuple[int, ...]:
    from histokeras.errors import ConfigError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 16_384 for part in parts):
        raise ConfigError(
            f"`--hidden` is a list of whole numbers from 1 to 16384, such as 500,500,2000. "
            f"Received: {text}"
        )
    return tuple(map(int, parts))
