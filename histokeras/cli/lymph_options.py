"""Options of ``lymph-nodes``, and what its preset sets."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from histokeras.cli import options
from histokeras.cli.slide_options import choice_options, default_mpp, recursive, slides

F = TypeVar("F", bound=Callable[..., Any])

PRESETS: dict[str, dict[str, Any]] = {
    "write-up": {
        "stride_um": 160.0,
        "itc_stride_um": 0.0,
        "tumour_holes": "fill",
        "split_touching": False,
        "min_tumour_mm2": 0.0,
        "count_itc": True,
    },
}
"""Name -> what it sets, where nothing else is said: the procedure of the original study."""
_HOLES = click.Choice(("fill", "keep"))


class _Share(click.FloatRange):
    """A share; whoever types per cent, or a way to find one, is told what to do."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(
                f"{value} is no share from 0 to 1, such as 0.25 for 25 %. One that follow-up "
                "decides is learnt by `histokeras survival --cutoff`.",
                param,
                ctx,
            )


slide_table = click.option(
    "--patients", "--slide-table", "slide_table", type=options.existing_file, metavar="TABLE",
    help="Table with slide_id and any of patient_id, mpp (um per pixel; wins over the file).  "
    "[default: TCGA barcodes, or a folder a patient inside SLIDES]",
)  # fmt: skip
segmenter = click.option(
    "--segmenter", type=options.run_folder, metavar="RUN",
    help="Finds the nodes: a run of fit-segmenter, or its segmenter/.",
)  # fmt: skip
drawn_nodes = click.option(
    "--nodes", "drawn_nodes", type=options.existing_folder, metavar="DIR",
    help="Instead: nodes that you drew, <slide>.geojson, .json or .xml.",
)  # fmt: skip
classifier = click.option(
    "--classifier", type=options.run_folder, metavar="RUN",
    help="Finds the tumour: a run of fit-head or finetune on tiles or slides.",
)  # fmt: skip
drawn_tumour = click.option(
    "--tumour", "--tumor", "drawn_tumour", type=options.existing_folder, metavar="DIR",
    help="Instead: tumour that you drew; DIR may be that of --nodes.",
)  # fmt: skip
node_class = click.option(
    "--node-class", metavar="NAME",
    help="Class of the nodes.  [default: Lymph node, node, LN, of networks also a positive 1 or "
    "yes; of drawings else the only one]",
)  # fmt: skip
tumour_class = click.option(
    "--tumour-class", "--tumor-class", "tumour_class", metavar="NAME",
    help="Class of the tumour.  [default: TUM, Tumor, metastasis, ..., of networks also a positive "
    "1 or yes; of drawings else the only one]",
)  # fmt: skip
tile_mpp = click.option(
    "--tile-mpp", type=float, metavar="UM",
    help="Of a classifier on ready-made tiles that does not tell: their um per pixel.",
)  # fmt: skip
overview_mpp = click.option(
    "--overview-mpp", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True,
    metavar="UM", help="With --nodes: resolution of the overview that areas are counted on.",
)  # fmt: skip
preset = click.option(
    "--preset", type=click.Choice(tuple(PRESETS)),
    help="write-up: as the original study, --stride 160 --itc-stride 0 --tumour-holes fill "
    "--no-split-touching --min-tumour-mm2 0 --count-itc; options given win.",
)  # fmt: skip
stride = click.option(
    "--stride", "stride_um", type=click.FloatRange(min=8), default=64.0, show_default=True,
    metavar="UM", help="From one tile to the next; overlapping tiles are averaged.",
)  # fmt: skip
itc_stride = click.option(
    "--itc-stride", "itc_stride_um", type=float, default=32.0, show_default=True, metavar="UM",
    help="Nodes with tumour, or a tile like it, but no deposit of 2 mm are read again at this "
    "stride; 0: not.",
)  # fmt: skip
threshold = click.option(
    "--threshold", type=float, default=0.5, show_default=True,
    help="Tumour is where the probability is higher.",
)  # fmt: skip
min_node = click.option(
    "--min-node-mm2", type=click.FloatRange(min=0), default=0.5, show_default=True,
    help="Smaller pieces are no nodes.",
)  # fmt: skip
split_touching = click.option(
    "--split-touching/--no-split-touching", default=True, show_default=True,
    help="Part nodes that touch at their neck (of a segmenter).",
)  # fmt: skip
node_holes = click.option(
    "--node-holes", type=_HOLES, default="fill", show_default=True,
    help="Whether a hole in a node belongs to it (of a segmenter).",
)  # fmt: skip
tumour_holes = click.option(
    "--tumour-holes", "--tumor-holes", "tumour_holes", type=_HOLES, default="keep",
    show_default=True, help="Whether a hole in tumour is tumour.",
)  # fmt: skip
min_tumour = click.option(
    "--min-tumour-mm2", "--min-tumor-mm2", "min_tumour_mm2", type=click.FloatRange(min=0),
    default=0.01, show_default=True, help="A node with less tumour is not metastatic.",
)  # fmt: skip
count_itc = click.option(
    "--count-itc/--no-count-itc", default=False, show_default=True,
    help="Whether nodes with isolated tumour cells alone (under 0.2 mm) count as metastatic.",
)  # fmt: skip
cutoff = click.option(
    "--cutoff", type=_Share(0, 1), metavar="SHARE",
    help="Patients of a higher T_MLN_mean, 0 to 1 (25 % is 0.25), are the group high; survival "
    "--cutoff learns one.  [default: no groups]",
)  # fmt: skip
batch_size = click.option(
    "--batch-size", type=click.IntRange(min=1), default=16, show_default=True,
    help="Tiles a device computes at once.",
)  # fmt: skip

RULES = ("min_node_mm2", "split_touching", "node_holes", "tumour_holes", "min_tumour_mm2",
         "count_itc")  # fmt: skip
"""Parameters that are fields of ``NodeRules``."""


def lymph_options(function: F) -> F:
    """Add SLIDES and everything that says what is a node, a metastasis, a patient."""
    return options.together(
        *(slides, slide_table, segmenter, drawn_nodes, classifier, drawn_tumour, node_class),
        *(tumour_class, tile_mpp, options.run_weights, options.trust_model, overview_mpp, preset),
        *(stride, itc_stride, threshold, min_node, split_touching, node_holes, tumour_holes),
        *(min_tumour, count_itc, cutoff, default_mpp, recursive, choice_options),
        options.pseudonyms,
    )(function)


def with_preset(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with what the preset sets, where nothing else was said."""
    context = click.get_current_context()
    chosen = PRESETS.get(arguments["preset"] or "", {})
    silent = {
        name: value
        for name, value in chosen.items()
        if context.get_parameter_source(name) is ParameterSource.DEFAULT
    }
    return {**arguments, **silent}


def require_ways(arguments: Mapping[str, Any]) -> None:
    """Refuse a command that says no way, or two, to find nodes or tumour.

    Raises:
        click.UsageError: Naming the two ways; or if a resolution is given that a segmenter decides.
    """
    ways = (
        ("nodes", "segmenter", "`--segmenter RUN`", "drawn_nodes", "`--nodes DIR`"),
        ("tumour", "classifier", "`--classifier RUN`", "drawn_tumour", "`--tumour DIR`"),
    )
    for what, network, option, drawn, other in ways:
        if (arguments[network] is None) == (arguments[drawn] is None):
            text = "not both" if arguments[network] is not None else "one of them"
            raise click.UsageError(
                f"To find the {what}, give {option} (a network) or {other} (drawn): {text}."
            )
    typed = click.get_current_context().get_parameter_source("overview_mpp")
    if arguments["segmenter"] is not None and typed is ParameterSource.COMMANDLINE:
        raise click.UsageError(
            "`--overview-mpp` goes with --nodes: a segmenter looks at slides at the resolution "
            "that it learned at."
        )
