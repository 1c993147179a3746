"""``histokeras explain``."""

from pathlib import Path
from typing import Any

import click

from histokeras.cli import options
from histokeras.cli.picture_options import end, growing_output, layer, predictions
from histokeras.cli.slide_options import default_mpp, slide_table
from histokeras.models import quiet

# Names alone: the texts stand beside the methods, which --help need not load.
_METHODS = ("grad-cam", "integrated-gradients", "smoothgrad", "occlusion")


@click.command()
@click.argument("run", type=options.run_folder)
@click.argument("inputs", metavar="TILES|SLIDES...", nargs=-1, required=True, type=options.any_path)
@growing_output("explain")
@click.option(
    "--class", "class_name", metavar="NAME",
    help="Class whose evidence is shown.  [default: the one predicted, tile by tile]",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(_METHODS), default=_METHODS[0], show_default=True,
    help="How: by a layer's map, by pixels from white glass to the tile, by noise, by covering.",
)  # fmt: skip
@layer
@click.option(
    "-n", "--n", type=click.IntRange(min=1), default=12, show_default=True,
    help="Tiles at most of a folder of images, and of all slides together.",
)  # fmt: skip
@click.option(
    "--tiles", type=options.existing_file,
    help="Table with x, y (level-0 pixels; slide_id too if there are several slides): all of them.",
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
def explain(**arguments: Any) -> None:
    """Show where in TILES, or in tiles of SLIDES, the network of RUN sees a class.

    Writes a picture a tile (tile, map, overlay), explain.csv and run.json. Of slides the most
    certain tiles of each class are taken from the run's predictions. In RUN/explain/, which is the
    default, `histokeras report RUN` finds them. A map shows what the network looks at, not whether
    it is right.

    \b
    Examples:
      histokeras explain run/ slides/S12.svs
      histokeras explain run/ tiles/ -o maps/ --class tumour --method occlusion
    """
    import json

    quiet.import_tensorflow()
    from histokeras.training.explain_run import ExplainJob, write_explanations

    output = Path(arguments["output"] or arguments["run"] / "explain")
    names = ("run", "inputs", "class_name", "method", "layer", "n", "tiles", "predictions",
             "weights", "trust", "slide_table", "default_mpp", "pseudonyms")  # fmt: skip
    done = write_explanations(
        ExplainJob(**{name: arguments[name] for name in names}),
        output,
        overwrite=arguments["overwrite"],
        config=options.recorded(arguments, "overwrite"),
        command_line=options.command_line(),
    )
    for note in done.notes:
        click.echo(f"Note: {note}", err=True)
    if arguments["as_json"]:
        click.echo(json.dumps(done.rows, indent=2, ensure_ascii=False))
    elif done.rows:
        click.echo(str(output))
    end(done.failures)
