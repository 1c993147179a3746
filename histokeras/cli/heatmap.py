"""``histokeras heatmap``."""

from pathlib import Path
from typing import Any

import click

from histokeras.cli import options
from histokeras.cli.picture_options import end, growing_output, layer, predictions
from histokeras.cli.slide_options import default_mpp, slide_table
from histokeras.models import quiet

_OF_NO_CLASS = {"attention": "attention has none", "class": "a class map shows all of them"}


@click.command()
@click.argument("run", type=options.run_folder)
@click.argument("slides", metavar="SLIDES...", nargs=-1, required=True, type=options.any_path)
@growing_output("heatmaps")
@click.option(
    "--class", "class_name", metavar="NAME",
    help="Class that is drawn.  [default: the positive one; where none is, each]",
)  # fmt: skip
@click.option(
    "--of", type=click.Choice(("prob", "class", "grad-cam", "attention")), default="prob",
    show_default=True,
    help="Probability of each tile, its most probable class in that class's colour, where in the "
    "tiles the network sees the class, or, of a run with --head mil, what each tile weighs.",
)  # fmt: skip
@layer
@click.option(
    "--threshold", type=click.FloatRange(min=0, max=1), metavar="PROB",
    help="Also write the area of all tiles of at least this probability, as one annotation.",
)  # fmt: skip
@click.option(
    "--side-px", type=click.IntRange(min=100, max=10_000), default=1200, show_default=True,
    help="Longest side of the map in pixels.",
)  # fmt: skip
@predictions
@options.run_weights
@options.trust_model
@slide_table
@default_mpp
@options.pseudonyms
@options.overwrite
@options.as_json
@options.config
def heatmap(**arguments: Any) -> None:
    """Draw a class, or all, over whole SLIDES, from the tile predictions of RUN.

    RUN is a folder of fit-head or of predict. Writes a picture a slide and class, heatmaps.csv,
    <slide_id>.geojson (a tile an object with its probabilities; drop it on QuPath) and, with
    --threshold, <slide_id>.<class>.areas.geojson. In RUN/heatmaps/, which is the default,
    `histokeras report RUN` finds the pictures.

    \b
    Examples:
      histokeras heatmap run/ slides/
      histokeras heatmap predictions/ new_slides/ --of class
      histokeras heatmap run/ slides/S12.svs --of grad-cam --class tumour
      histokeras heatmap predictions/ new_slides/ -o maps/ --threshold 0.5
    """
    import json

    from histokeras.cohort.pseudonyms import read_pseudonyms
    from histokeras.report.heatmap_job import HeatmapJob
    from histokeras.report.heatmap_run import write_heatmaps
    from histokeras.slides.inventory import read_slide_table

    table = arguments["slide_table"]
    names = ("run", "slides", "class_name", "side_px", "threshold", "predictions", "default_mpp")
    job = HeatmapJob(
        **{name: arguments[name] for name in names},
        table=read_slide_table(table) if table is not None else {},
        pseudonyms=read_pseudonyms(arguments["pseudonyms"]),
        **_evidence(arguments),
    )
    output = Path(arguments["output"] or arguments["run"] / "heatmaps")
    drawn = write_heatmaps(
        job,
        output,
        overwrite=arguments["overwrite"],
        config=options.recorded(arguments, "overwrite"),
        command_line=options.command_line(),
    )
    if arguments["as_json"]:
        click.echo(json.dumps(drawn.rows, indent=2, ensure_ascii=False))
    else:
        for row in drawn.rows:
            click.echo(str(output / row["file"]))
    end(drawn.failures)


def _evidence(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what computes Grad-CAM; nothing for probabilities, which need no network."""
    from histokeras.errors import ConfigError

    one_class = arguments["class_name"] or arguments["threshold"] is not None
    if arguments["of"] in _OF_NO_CLASS and one_class:
        raise ConfigError(
            f"`--class`, `--threshold` are of one class: {_OF_NO_CLASS[arguments['of']]}."
        )
    if arguments["of"] != "grad-cam":
        if arguments["layer"] or arguments["weights"] or arguments["trust"]:
            raise ConfigError("`--layer`, `--weights`, `--trust-model` belong to --of grad-cam.")
        return {"attention": arguments["of"] == "attention", "by_class": arguments["of"] == "class"}
    quiet.import_tensorflow()
    from histokeras.training.slide_map import slide_evidence

    evidence, layer, unseen = slide_evidence(
        arguments["run"], arguments["weights"], arguments["layer"], trust=arguments["trust"]
    )
    for name in unseen:
        click.echo(f"Note: the features also hold the average of {name}: --layer {name}", err=True)
    return {"evidence": evidence, "layer": layer}
