"""``histokeras demo``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from histokeras.cli import options

if TYPE_CHECKING:
    from histokeras.cohort.synthetic import CohortSpec
    from histokeras.slides.synthetic import SlideSpec

_PATIENTS, _NODE_PATIENTS = 40, 12
_SIZE_PX, _QUICK_PX = 1344, 1024
_OF_DEMO = {"slide_px": "--slide-px", "debris": "--debris"}
_OF_SLIDES = {"quick": "--quick", "only_slides": "--only-slides"}
_OF_TILES = {"tiles_per_class": "--tiles-per-class", "tile_px": "--tile-px"}
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
    help=f"Number of invented patients.  [default: {_PATIENTS}, with --nodes {_NODE_PATIENTS}]",
)
@click.option(
    "--slide-px",
    type=click.IntRange(min=256),
    metavar="PX",
    help=f"Side of a slide, 0.5 um per pixel.  [default: {_SIZE_PX}, quick {_QUICK_PX}]",
)
@click.option(
    "--debris",
    type=click.FloatRange(0, 0.9, min_open=True),
    metavar="SHARE",
    help="Mean share of necrotic debris in the tissue, for fit-segmenter.  [default: 0.04]",
)
@click.option(
    "--nodes",
    "only_nodes",
    is_flag=True,
    help="Paint lymph-node slides with the outlines of nodes and tumour, and stop there "
    "(slow: large slides; --quick paints one of small nodes a patient).",
)
@click.option(
    "--node-mm",
    type=click.FloatRange(min=0.5),
    metavar="MM",
    help="With --nodes: largest diameter of a node, unless a deposit needs more.  "
    "[default: 7, quick 2.5]",
)
@click.option(
    "--tiles",
    "only_tiles",
    is_flag=True,
    help="Paint a set of tiles of the eight tissue classes with a tile table, and stop there.",
)
@click.option(
    "--tiles-per-class",
    type=click.IntRange(1, 100_000),
    default=40,
    show_default=True,
    metavar="N",
    help="With --tiles.",
)
@click.option(
    "--tile-px",
    type=click.IntRange(16, 1024),
    default=224,
    show_default=True,
    metavar="PX",
    help="With --tiles: side of a tile, 0.5 um per pixel.",
)
@options.seed
def demo(
    output: Path,
    quick: bool,
    only_slides: bool,
    patients: int,
    slide_px: int | None,
    debris: float | None,
    only_nodes: bool,
    node_mm: float | None,
    only_tiles: bool,
    tiles_per_class: int,
    tile_px: int,
    seed: int,
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
      histokeras demo --out painted/ --nodes --patients 12
      histokeras demo --out tissue/ --tiles --tiles-per-class 100
    """
    _refuse_others(only_nodes=only_nodes, only_tiles=only_tiles)
    if only_tiles:
        _paint_tile_set(output, seed, patients, tiles_per_class, tile_px)
        return
    if only_nodes:
        n_patients = patients if _is_given("patients") else _NODE_PATIENTS
        _paint_nodes(output, seed, n_patients, quick=quick, largest_mm=node_mm)
        return
    from histokeras.cohort.synthetic import CohortSpec, mark_of, write_tables

    spec = CohortSpec(
        seed=seed,
        n_patients=patients,
        size_px=(slide_px or (_QUICK_PX if quick else _SIZE_PX),) * 2,
        most_slides=1 if quick else 2,
        debris=debris,
    )
    _claim(output, mark_of(spec), _told(spec))
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


def _is_given(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is not ParameterSource.DEFAULT


def _refuse_others(*, only_nodes: bool, only_tiles: bool) -> None:
    """Refuse options that mean nothing with, or without, --nodes and --tiles."""
    if only_nodes and only_tiles:
        raise click.UsageError("`--nodes` does not go with `--tiles`.")
    wrong = _OF_DEMO if only_nodes else {**_OF_SLIDES, **_OF_DEMO} if only_tiles else {}
    for name, option in wrong.items():
        if _is_given(name):
            kind = "--nodes" if only_nodes else "--tiles"
            raise click.UsageError(f"`{option}` does not go with `{kind}`.")
    if _is_given("node_mm") and not only_nodes:
        raise click.UsageError("`--node-mm` belongs to `--nodes`.")
    for name, option in _OF_TILES.items():
        if _is_given(name) and not only_tiles:
            raise click.UsageError(f"`{option}` belongs to `--tiles`.")


def _claim(output: Path, mark: dict[str, object], told: str) -> None:
    """Take an empty folder, or one that the same options were given for before."""
    from histokeras.cohort.synthetic import MARK, write_mark
    from histokeras.errors import ConfigError
    from histokeras.runs.record import read_object

    occupied = output.is_dir() and any(output.iterdir())
    if occupied and read_object(output / MARK) != mark:
        raise ConfigError(
            f"{output} is not empty, and not a demo of these options ({told}).",
            hint="Choose a new folder.",
        )
    write_mark(output, mark)


def _paint_tile_set(
    output: Path, seed: int, n_patients: int, n_per_class: int, size_px: int
) -> None:
    """Paint the tiles that are not there yet, and write their table."""
    from functools import partial

    from histokeras.cohort.synthetic_tiles import (
        TABLE,
        TileSetSpec,
        tile_set_mark,
        write_painted_class,
        write_tile_table,
    )
    from histokeras.tissue import TISSUES

    spec = TileSetSpec(seed=seed, n_patients=n_patients, n_per_class=n_per_class, size_px=size_px)
    told = f"seed {seed}, {n_per_class} tiles a class of {size_px} px, {n_patients} patients"
    _claim(output, tile_set_mark(spec), told)
    write_tile_table(output, spec)
    n_tiles = len(TISSUES) * n_per_class
    click.echo(f"Painting {n_tiles} tiles of {n_patients} invented patients in {output}", err=True)
    for _ in _on_all_cores([partial(write_painted_class, output, spec, kind) for kind in TISSUES]):
        pass
    shown = f"histokeras extract-features --tiles {output} --tile-table {output / TABLE}"
    click.echo(f"Done. Go on with {shown} -o features/", err=True)
    click.echo(str(output))


def _on_all_cores(tasks: Sequence[Callable[[], object]]) -> Iterator[int]:
    """Do tasks in several processes; yield how many are done."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    from histokeras.runs.environment import usable_cores

    # Spawned: forking would copy the state of libraries that do not bear it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(usable_cores(), mp_context=context) as pool:
        futures = [pool.submit(task) for task in tasks]
        for number, future in enumerate(futures, start=1):
            future.result()
            yield number


def _told(spec: "CohortSpec") -> str:
    return (
        f"seed {spec.seed}, {spec.n_patients} patients of at most {spec.most_slides} slide(s) of "
        f"{spec.size_px[0]} px" + ("" if spec.debris is None else f", {spec.debris:g} debris")
    )


def _paint(output: Path, spec: "CohortSpec") -> None:
    """Paint the slides that are not there yet, on all cores."""
    from histokeras.cohort.synthetic import cohort_slides

    _paint_slides(output, cohort_slides(spec), spec.n_patients, every=10)


def _paint_slides(
    output: Path, slides: Mapping[str, "SlideSpec"], n_patients: int, *, every: int
) -> None:
    """Paint those slides that are not there yet; tell of each so many of them."""
    from functools import partial

    from histokeras.cohort.synthetic import is_written, write_slide_of

    tasks = [
        partial(write_slide_of, output, name, slide)
        for name, slide in slides.items()
        if not is_written(output, name)
    ]
    n_there = len(slides) - len(tasks)
    click.echo(
        f"Painting {len(tasks)} slides of {n_patients} invented patients in {output / 'slides'}"
        + (f"; {n_there} are there" if n_there else ""),
        err=True,
    )
    if not tasks:
        return
    for number in _on_all_cores(tasks):
        if number % every == 0:
            click.echo(f"  {number} of {len(tasks)}", err=True)


def _paint_nodes(
    output: Path, seed: int, n_patients: int, *, quick: bool, largest_mm: float | None
) -> None:
    """Paint the lymph-node slides that are not there yet, and write their truth and tables."""
    from functools import partial

    from histokeras.cohort.synthetic_nodes import (
        DIAMETERS_MM,
        QUICK_DIAMETERS_MM,
        NodeCohortSpec,
        node_mark_of,
        node_slides,
        write_node_truth,
    )
    from histokeras.cohort.synthetic_nodes_tables import (
        write_node_slide_tables,
        write_node_truth_tables,
    )

    sizes = QUICK_DIAMETERS_MM if quick else DIAMETERS_MM
    if largest_mm is not None:
        sizes = min(sizes[0], 0.9 * largest_mm), largest_mm
    spec = NodeCohortSpec(
        seed=seed,
        n_patients=n_patients,
        diameters_mm=sizes,
        most_slides=1 if quick else 2,
        most_nodes=3 if quick else 4,
    )
    told = f"seed {seed}, {n_patients} patients with lymph nodes of {sizes[0]:g}-{sizes[1]:g} mm"
    _claim(output, node_mark_of(spec), told)
    slides = node_slides(spec)
    write_node_slide_tables(output, spec)
    # The truth comes first: the tables rest on it, and painting takes long.
    for _ in _on_all_cores(
        [partial(write_node_truth, output, name, slide) for name, slide in slides.items()]
    ):
        pass
    write_node_truth_tables(output, spec)
    _paint_slides(output, slides, n_patients, every=1)
    click.echo(
        f"Done. {output / 'annotations'} holds the outlines of nodes and tumour, "
        f"{output / 'nodes_truth.csv'} one row a node, {output / 'patients_truth.csv'} the true "
        "T/MLN and pN; Lymph nodes in README.md says how to go on.",
        err=True,
    )
    click.echo(str(output))


def _call(command: list[str]) -> None:
    import shlex

    from histokeras.cli.main import main

    click.secho(f"\n$ histokeras {shlex.join(command)}", bold=True, err=True)
    code = main.main(command, prog_name="histokeras", standalone_mode=False)
    if code:
        # Nothing that follows could be right.
        raise click.exceptions.Exit(code)
