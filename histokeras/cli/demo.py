"""``histokeras demo``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from histokeras.cli import options

if TYPE_CHECKING:
    from histokeras.cohort.synthetic import CohortSpec

_PATIENTS = 40
_SIZE_PX, _QUICK_PX = 1344, 1024
_NETWORK = ("--backbone", "mini")


@click.command()
@click.option(
    "-o", "--out", "--output", "output", type=options.any_path, required=True, help="Output folder."
)
@click.option(
    "--quick",
    is_flag=True,
    help="One smaller slide a patient: about a minute; its figures are the less certain ones.",
)
@click.option(
    "--only-slides", is_flag=True, help="Paint slides and write their tables, and stop there."
)
@click.option(
    "--patients",
    type=click.IntRange(min=4),
    default=_PATIENTS,
    show_default=True,
    help="Number of invented patients.",
)
@click.option(
    "--slide-px",
    type=click.IntRange(min=256),
    metavar="PX",
    help=f"Side of a slide, 0.5 um per pixel.  [default: {_SIZE_PX}, quick {_QUICK_PX}]",
)
@options.seed
def demo(
    output: Path, quick: bool, only_slides: bool, patients: int, slide_px: int | None, seed: int
) -> None:
    """Run the whole job on slides made on the spot: no download, no GPU, two to three minutes.

    Paints small H&E-like slides of 40 invented patients from 4 sites that stain differently; their
    tumours grow in glands or in small nests. Then calls the real commands on them, each shown as
    you would type it. No patient is real, and the figures say nothing of real tissue.

    \b
    Examples:
      histokeras demo --out demo/
      histokeras demo --out demo/ --quick
      histokeras demo --out cohort/ --only-slides --patients 80 --slide-px 2048
    """
    from histokeras.cohort.synthetic import MARK, CohortSpec, mark_of, write_mark, write_tables
    from histokeras.errors import ConfigError
    from histokeras.files import prepare_folder
    from histokeras.runs.record import read_object

    spec = CohortSpec(
        seed=seed,
        n_patients=patients,
        size_px=(slide_px or (_QUICK_PX if quick else _SIZE_PX),) * 2,
        most_slides=1 if quick else 2,
    )
    occupied = output.is_dir() and any(output.iterdir())
    if occupied and read_object(output / MARK) != mark_of(spec):
        raise ConfigError(
            f"{output} is not empty, and not a demo of these options ({_told(spec)}).",
            hint="Choose a new folder.",
        )
    prepare_folder(output)
    write_mark(output, spec)
    write_tables(output, spec)
    _paint(output, spec)
    if only_slides:
        click.echo(str(output))
        return
    folds, run = output / "folds.csv", output / "run"
    labels = ["--labels", output / "labels.csv", "--target", "label"]
    table = ["--slide-table", output / "slides.csv"]
    head = ["--positive", "poorly cohesive", "--seed", seed]
    commands: list[list[object]] = [
        ["slides", output / "slides"],
        ["extract-features", output / "slides", "-o", output / "features", *_NETWORK],
        ["split", *labels, "-o", folds, "--cv", 5, "--seed", seed],
        ["fit-head", output / "features", *labels, *table, "--split", folds, "-o", run, *head],
    ]
    for command in commands:
        _call([str(item) for item in command])
    click.echo(
        f"Done. Open {run / 'report.html'} in a browser; {run / 'patients.csv'} holds one row a "
        f"patient, {output / 'truth'} what is true of each slide.",
        err=True,
    )
    click.echo(str(output))


def _told(spec: "CohortSpec") -> str:
    return (
        f"seed {spec.seed}, {spec.n_patients} patients of at most {spec.most_slides} slide(s) of "
        f"{spec.size_px[0]} px"
    )


def _paint(output: Path, spec: "CohortSpec") -> None:
    """Paint the slides that are not there yet, on all cores."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    from histokeras.cohort.synthetic import cohort_slides, is_written, write_slide_of
    from histokeras.runs.environment import usable_cores

    every = cohort_slides(spec)
    slides = {name: slide for name, slide in every.items() if not is_written(output, name)}
    click.echo(
        f"Painting {len(slides)} slides of {spec.n_patients} invented patients in "
        f"{output / 'slides'}"
        + (f"; {len(every) - len(slides)} are there" if len(slides) < len(every) else ""),
        err=True,
    )
    if not slides:
        return
    # Spawned: forking would copy the state of libraries that do not bear it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(usable_cores(), mp_context=context) as pool:
        futures = [
            pool.submit(write_slide_of, output, slide_id, slide)
            for slide_id, slide in slides.items()
        ]
        for number, future in enumerate(futures, start=1):
            future.result()
            if number % 10 == 0:
                click.echo(f"  {number} of {len(futures)}", err=True)


def _call(command: list[str]) -> None:
    import shlex

    from histokeras.cli.main import main

    click.secho(f"\n$ histokeras {shlex.join(command)}", bold=True, err=True)
    code = main.main(command, prog_name="histokeras", standalone_mode=False)
    if code:
        # Nothing that follows could be right.
        raise click.exceptions.Exit(code)
