"""``histokeras evaluate`` of lymph nodes against what was drawn: options, and the doing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from histokeras.cli import options
from histokeras.cli.lymph_options import node_class, tumour_class

_OWN = {
    "truth": "--truth",
    "split": "--split",
    "node_class": "--node-class",
    "tumour_class": "--tumour-class",
}
_OTHERS = {
    "labels": "--labels",
    "target": "--target",
    "positive": "--positive",
    "slide_table": "--slide-table",
    "patients_unknown": "--patients-unknown",
    "strict": "--strict",
    "specificity": "--specificity",
}
_SHOWN = 3
truth_options = options.together(
    click.option(
        "--truth",
        type=options.existing_folder,
        metavar="DIR",
        help="Of NODES: drawn nodes and tumour, <slide>.geojson, .json or .xml.",
    ),
    click.option(
        "--split",
        type=options.existing_file,
        help="Of NODES: split file; only patients of --side count.  [default: all patients]",
    ),
    node_class,
    tumour_class,
)


def refuse_truth() -> None:
    """Refuse the options of lymph nodes where something else is evaluated."""
    options.refuse_given(_OWN, "this folder holds something else", of="output of lymph-nodes")


def evaluate_lymph_nodes(arguments: Mapping[str, Any]) -> None:
    """Compare lymph nodes with drawn truth and show the figures.

    Args:
        arguments: Name to value of every option of ``evaluate``.
    """
    import json

    from histokeras.analysis.lymph_truth_run import TruthJob, compare_with_truth, write_truth
    from histokeras.analysis.lymph_truth_text import format_node_metrics
    from histokeras.cohort.pseudonyms import read_pseudonyms
    from histokeras.report.lymph_truth_page import write_truth_page

    options.refuse_given(_OTHERS, "this folder holds lymph nodes", of="classifiers")
    if arguments["truth"] is None:
        raise click.UsageError("lymph nodes are compared with drawings: give --truth DIR.")
    if arguments["split"] is None:
        options.refuse_given({"side": "--side"}, "no --split was given", of="a split")
    given = read_pseudonyms(arguments["pseudonyms"])
    job = TruthJob(
        folder=arguments["folder"],
        truth=arguments["truth"],
        node_class=arguments["node_class"],
        tumour_class=arguments["tumour_class"],
        split=arguments["split"],
        side=arguments["side"],
        n_resamples=arguments["n_resamples"],
        seed=arguments["seed"],
        originals={} if given is None else {new: old for old, new in given.ids.items()},
    )
    found = compare_with_truth(job)
    _say(found.metrics["left_out"], found.unused)
    output: Path | None = arguments["output"]
    if output is not None:
        write_truth(
            output,
            job,
            found,
            config=options.recorded(arguments),
            command_line=options.command_line(),
        )
        click.echo(f"Look at {write_truth_page(output)}", err=True)
    metrics = found.metrics
    click.echo(
        json.dumps(metrics, indent=2) if arguments["as_json"] else format_node_metrics(metrics)
    )


def _say(left_out: Mapping[str, str], unused: tuple[str, ...]) -> None:
    """Tell on stderr which slides have no truth, and which files belong to no slide."""
    for slide_id, why in list(left_out.items())[:_SHOWN]:
        click.echo(f"Left out: {slide_id} ({why}).", err=True)
    if len(left_out) > _SHOWN:
        click.echo(f"Left out: {len(left_out) - _SHOWN} more slide(s).", err=True)
    if unused:
        shown = ", ".join(unused[:_SHOWN]) + (", ..." if len(unused) > _SHOWN else "")
        click.echo(f"Note: {len(unused)} file(s) of --truth belong to no slide: {shown}.", err=True)
