"""Options of the commands that read slides, each defined once."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from histokeras.cli import options
from histokeras.errors import ConfigError
from histokeras.models.catalog import BACKBONES
from histokeras.slides.mpp import OBJECTIVE_UM
from histokeras.tiles.grid import TileSpec
from histokeras.types import Mpp

F = TypeVar("F", bound=Callable[..., Any])

_DEFAULT = TileSpec()
_KINDS = ("luminance", "otsu", "none")

slides = click.argument("slides", nargs=-1, required=True, type=options.any_path)
slide_table = click.option(
    "--slide-table",
    type=options.existing_file,
    help="Table with slide_id and any of mpp (um per pixel; wins over the file), patient_id.",
)
default_mpp = click.option(
    "--default-mpp",
    type=float,
    metavar="UM",
    help="um per level-0 pixel for slides that do not tell.",
)
diagnostic_only = click.option(
    "--diagnostic-only/--all-slides",
    "diagnostic_only",
    default=False,
    help="Of TCGA slides the diagnostic ones (DX) only, no frozen sections.  [default: all]",
)
sample_types = click.option(
    "--sample-types",
    default="",
    metavar="01,...",
    help="Of TCGA slides these sample types only: 01 primary tumour, 06 metastasis, 11 normal "
    "tissue.  [default: all]",
)
recursive = click.option("--recursive", is_flag=True, help="Search folders inside folders too.")
ready_made = click.option(
    "--tiles", "ready_made", is_flag=True, help="The inputs are folders of ready-made tile images."
)
tile_table = click.option(
    "--tile-table",
    type=options.existing_file,
    help="With --tiles: table with tile and any of label, patient_id, slide_id, mpp.",
)
tile_px = click.option(
    "--tile-px",
    "--size-px",
    "--patch-size",
    "tile_px",
    type=int,
    metavar="PX",
    help=f"Side of a tile in pixels.  [default: {_DEFAULT.size_px}, or the backbone's own]",
)
mpp = click.option(
    "--mpp",
    type=float,
    metavar="UM",
    help="Resolution of the tiles in um per pixel; of --tiles what their images have.  "
    f"[default: {_DEFAULT.mpp:g}; --tiles: unknown]",
)
mag = click.option(
    "--mag",
    type=float,
    metavar="POWER",
    help="Instead of --mpp: 20 means 10 / 20 = 0.5 um per pixel.",
)
overlap_px = click.option(
    "--overlap-px",
    "--overlap",
    "overlap_px",
    type=int,
    default=_DEFAULT.overlap_px,
    show_default=True,
    metavar="PX",
    help="By how many pixels neighbouring tiles overlap.",
)
max_background = click.option(
    "--max-background",
    type=float,
    default=_DEFAULT.max_background,
    show_default=True,
    metavar="FRACTION",
    help="Largest share of background (luminance 220 or more) of a kept tile.",
)
tissue = click.option(
    "--tissue",
    default=_DEFAULT.tissue,
    show_default=True,
    metavar="luminance|otsu|none|DIR",
    help="Where to look for tiles; DIR holds <slide_id>.geojson, drawn e.g. in QuPath.",
)
mpp_tolerance = click.option(
    "--mpp-tolerance",
    type=float,
    default=_DEFAULT.mpp_tolerance,
    show_default=True,
    metavar="FRACTION",
    help="A level whose mpp differs by no more than this is read 1:1, never resampled.",
)

max_bad_tiles = click.option(
    "--max-bad-tiles",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Corrupt tiles that a slide may go without; they are listed in failures.csv. With more of "
    "them it fails.",
)


def slide_input_options(function: F) -> F:
    """Add SLIDES, --slide-table, --default-mpp, --recursive, --pseudonyms, and a choice for TCGA.

    The command receives ``slides`` (tuple of Path), ``slide_table`` (Path or None),
    ``default_mpp`` (float or None), ``recursive`` (bool), ``pseudonyms`` (Path or None), and what
    ``choice_from`` takes.
    """
    return options.together(
        slides, slide_table, default_mpp, recursive, choice_options, options.pseudonyms
    )(function)


def choice_options(function: F) -> F:
    """Add --diagnostic-only and --sample-types; the command receives what ``choice_from`` takes."""
    return options.together(diagnostic_only, sample_types)(function)


def choice_from(*, diagnostic_only: bool, sample_types: str) -> Any:
    """Turn the options into a :class:`histokeras.cohort.tcga.SlideChoice`.

    Raises:
        ConfigError: If a sample type is none.
    """
    from histokeras.cohort.tcga import SlideChoice, parse_sample_types

    types = parse_sample_types(sample_types)
    return SlideChoice(diagnostic_only=diagnostic_only, sample_types=types)


def choose_paths(
    paths: Sequence[Path],
    *,
    diagnostic_only: bool,
    sample_types: str,
    pseudonyms: Any = None,
) -> tuple[list[Path], Any]:
    """Leave out the slides that are not wanted, and say so.

    Args:
        paths: Slides.
        diagnostic_only: Whether frozen sections are left out.
        sample_types: The sample types to take, with commas; "" for all.
        pseudonyms: A :class:`histokeras.tables.pseudonyms.Pseudonyms`, or None.

    Returns:
        The slides that are wanted, and a :class:`histokeras.cohort.tcga.Chosen` with the others,
        by their pseudonyms if there are such.

    Raises:
        ConfigError: If a sample type is none.
        SlideError: NO_SLIDES if none is left.
        TableError: PSEUDONYM_MISSING if a slide has no pseudonym.
    """
    from histokeras.cli import cohort_text
    from histokeras.cohort.tcga import choose_slides
    from histokeras.slides.inventory import slide_id_of

    choice = choice_from(diagnostic_only=diagnostic_only, sample_types=sample_types)
    chosen = choose_slides([slide_id_of(path) for path in paths], choice)
    cohort_text.say_left_out(chosen, len(paths))
    wanted = [path for path in paths if slide_id_of(path) not in chosen.left_out]
    if pseudonyms is not None:
        pseudonyms.require([slide_id_of(path) for path in paths], "slide")
        left_out = {pseudonyms.of(name): why for name, why in chosen.left_out.items()}
        chosen = dataclasses.replace(chosen, left_out=left_out)
    return wanted, chosen


def tile_options(function: F) -> F:
    """Add the options of a ``TileSpec`` to a command.

    The command receives what ``tile_spec_from`` takes: ``tile_px``, ``mpp``, ``mag``,
    ``overlap_px``, ``max_background``, ``tissue``, ``mpp_tolerance``.
    """
    return options.together(tile_px, mpp, mag, overlap_px, max_background, tissue, mpp_tolerance)(
        function
    )


def tile_spec_from(
    *,
    tile_px: int | None,
    mpp: float | None,
    mag: float | None,
    overlap_px: int,
    max_background: float,
    tissue: str,
    mpp_tolerance: float,
    default_px: int = _DEFAULT.size_px,
) -> tuple[TileSpec, Path | None]:
    """Turn the options into a spec; print the mpp that ``--mag`` stands for.

    Args:
        tile_px: Side in pixels, None for ``default_px``.
        mpp: um per pixel, None for the default.
        mag: Objective power instead of ``mpp``.
        overlap_px: Overlap in pixels.
        max_background: Fraction, 0 to 1.
        tissue: luminance, otsu, none, or a folder of GeoJSON files.
        mpp_tolerance: Fraction.
        default_px: Side if ``tile_px`` is None, such as the backbone's own.

    Returns:
        The spec, and the folder of GeoJSON files or None.

    Raises:
        ConfigError: If both mpp and mag are given, a number is out of range, or ``tissue`` is
            neither a word nor a folder.
    """
    mpp, mag = _nearer(mpp, mag)
    if mpp is not None and mag is not None:
        raise ConfigError(f"give --mpp or --mag, not both. Received: --mpp {mpp:g} --mag {mag:g}")
    if mag is not None:
        if not mag > 0:
            raise ConfigError(f"`--mag` is a power above 0, such as 20. Received: {mag:g}")
        mpp = OBJECTIVE_UM / mag
        click.echo(f"--mag {mag:g}: tiles are cut at {mpp:g} um per pixel", err=True)
    folder = _annotations(tissue)
    spec = TileSpec(
        size_px=default_px if tile_px is None else tile_px,
        mpp=_DEFAULT.mpp if mpp is None else Mpp(mpp),
        overlap_px=overlap_px,
        max_background=max_background,
        mpp_tolerance=mpp_tolerance,
        tissue="geojson" if folder is not None else tissue,
    )
    return spec, folder


def _nearer(mpp: float | None, mag: float | None) -> tuple[float | None, float | None]:
    """Let the one that was typed win over the other from a config file or the environment."""
    context = click.get_current_context(silent=True)
    if mpp is None or mag is None or context is None:
        return mpp, mag
    typed = click.core.ParameterSource.COMMANDLINE
    sources = [context.get_parameter_source(name) == typed for name in ("mpp", "mag")]
    if sources == [True, False]:
        return mpp, None
    return (None, mag) if sources == [False, True] else (mpp, mag)


def _told_mpp(arguments: dict[str, Any]) -> bool:
    return arguments["mpp"] is not None or arguments["mag"] is not None


def _annotations(tissue: str) -> Path | None:
    if tissue in _KINDS:
        return None
    folder = Path(tissue)
    if not folder.is_dir():
        raise ConfigError(
            f"`--tissue` is {', '.join(_KINDS)} or a folder of <slide_id>.geojson. "
            f"Received: {tissue}"
        )
    return folder


def extract_job_from(arguments: dict[str, Any], **others: Any) -> Any:
    """Turn the options of a command that extracts features into a job.

    Args:
        arguments: Name to value of every option: those of ``slide_input_options`` and
            ``tile_options``, ``ready_made``, ``tile_table``, ``output``, ``backbone``,
            ``weights``, ``trust``, ``stain_norm``, ``mixed_precision``, ``compute_batch``,
            ``overwrite``, ``max_bad_tiles``, ``pseudonyms``.
        others: Further fields of the job.

    Returns:
        A :class:`histokeras.features.job.ExtractJob`.

    Raises:
        ConfigError: If options contradict each other.
    """
    # Pandas comes with it, for which ``--help`` need not wait.
    from histokeras.features.job import ExtractJob

    names = ("tile_px", "mpp", "mag", "overlap_px", "max_background", "tissue", "mpp_tolerance")
    spec, annotations = tile_spec_from(
        **{name: arguments[name] for name in names},
        default_px=BACKBONES[arguments["backbone"]].tile_px,
    )
    same = ["output", "backbone", "weights", "slide_table", "default_mpp", "recursive"]
    same += ["ready_made", "tile_table", "compute_batch", "stain_norm", "overwrite", "trust"]
    same += ["max_bad_tiles", "pseudonyms"]
    return ExtractJob(
        inputs=arguments["slides"],
        spec=spec,
        size_px=arguments["tile_px"],
        resize=arguments["ready_made"] and arguments["tile_px"] is not None,
        # Nobody else knows it of pictures: the default is for cutting slides.
        tiles_mpp=spec.mpp if arguments["ready_made"] and _told_mpp(arguments) else None,
        annotations=annotations,
        precision="mixed_float16" if arguments["mixed_precision"] else "float32",
        choice=choice_from(
            diagnostic_only=arguments["diagnostic_only"], sample_types=arguments["sample_types"]
        ),
        **{name: arguments[name] for name in same},
        **others,
    )


def manner_from(arguments: dict[str, Any]) -> Any:
    """Turn the options of how an extraction is carried out into a ``Manner``.

    Args:
        arguments: Name to value of every option: ``gpus``, ``batch_size``, ``workers``, and where
            the command has them ``stall_s``, ``workers_per_gpu`` and ``fail_fast``.

    Returns:
        A :class:`histokeras.features.run.Manner`.
    """
    from histokeras.features.run import Manner

    names = ("gpus", "batch_size", "stall_s", "fail_fast")
    return Manner(
        readers=arguments["workers"],
        workers_per_gpu=arguments.get("workers_per_gpu") or 0,
        **{name: arguments[name] for name in names},
    )
