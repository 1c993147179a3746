"""``histokeras composition``."""

import json
from pathlib import Path
from typing import Any

import click

from histokeras.cli import options


@click.command()
@click.argument(
    "folders", metavar="RUN|PREDICTIONS...", type=options.run_folder, nargs=-1, required=True
)
@options.output
@click.option(
    "--slide-table", type=options.existing_file, help="Table with slide_id and patient_id."
)
@click.option(
    "--slides-only", is_flag=True, help="Slides alone: no patient table, patients may be unknown."
)
@options.pseudonyms
@click.option(
    "--pool",
    type=click.Choice(("tiles", "slides")),
    default="tiles",
    show_default=True,
    help="A patient is the pool of all tiles, so that a slide counts by its area, or the mean of "
    "the slides.",
)
@click.option(
    "--interval",
    type=click.Choice(("blocks", "wilson", "none")),
    default="blocks",
    show_default=True,
    help="95 % intervals: bootstrap of squares of neighbouring tiles; or Wilson's of shares of "
    "tiles, which takes them as independent and is far too narrow.",
)
@click.option(
    "--block-tiles",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Side of these squares in tiles: as wide as regions of one tissue are; needs some 10 "
    "squares in a slide or patient.",
)
@click.option(
    "--min-tiles",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Slides and patients of fewer tiles get no figures.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="CLASS",
    help="Leave a class out; the shares of the others make up 1. May be repeated.",
)
@click.option(
    "--correct",
    type=options.run_folder,
    metavar="RUN",
    help="Also give shares corrected for what RUN, trained on tiles, confuses on its val tiles "
    "(else on its test tiles).",
)
@click.option(
    "--bootstrap",
    "n_resamples",
    type=click.IntRange(min=100),
    default=2000,
    show_default=True,
    help="Resamples of blocks behind each interval.",
)
@options.seed
@options.overwrite
@options.as_json
@options.config
def composition(folders: tuple[Path, ...], **arguments: Any) -> None:
    """Tissue composition of slides and patients: the share of each class among their tiles.

    RUN is a trained run, PREDICTIONS what `histokeras predict` wrote. Of the classes STR, TUM, LYM
    and DEB also the tumour-stroma ratio STR / (STR + TUM), LYM / TUM and debris.

    \b
    Examples:
      histokeras composition predictions/ --slide-table slides.csv -o composition/
      histokeras composition predictions/ --correct run/ --exclude ADI -o composition/
    """
    from histokeras.analysis.composition_figures import CompositionConfig
    from histokeras.analysis.composition_run import CompositionJob, run_composition
    from histokeras.cohort.pseudonyms import patients_by_slide, read_pseudonyms
    from histokeras.report.composition_words import spoken
    from histokeras.report.page import write_report
    from histokeras.runs.record import read_object

    output = Path(arguments["output"])
    names = ("pool", "interval", "block_tiles", "min_tiles", "n_resamples", "seed")
    exclude = tuple(dict.fromkeys(arguments["exclude"]))
    pseudonyms = read_pseudonyms(arguments["pseudonyms"])
    job = CompositionJob(
        folders=folders,
        slide_patients=patients_by_slide(arguments["slide_table"], pseudonyms),
        slides_only=arguments["slides_only"],
        correct=arguments["correct"],
        pseudonyms=pseudonyms,
        config=CompositionConfig(exclude=exclude, **{name: arguments[name] for name in names}),
    )
    result = run_composition(
        job,
        output,
        options=options.recorded({"folders": list(folders), **arguments}, "overwrite"),
        command_line=options.command_line(),
        overwrite=arguments["overwrite"],
    )
    if result is None:
        click.echo(f"{output} holds this very composition, finished: nothing to do.", err=True)
    page = output / "report.html"
    if result is not None or not page.is_file():
        write_report(output)
    metrics = read_object(output / "composition.json")
    if arguments["as_json"]:
        click.echo(json.dumps(metrics, indent=2))
        return
    for line in spoken(metrics):
        click.echo(line, err=True)
    click.echo(f"Look at {page}", err=True)
    click.echo(str(output))
