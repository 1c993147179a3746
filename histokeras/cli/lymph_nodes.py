"""``histokeras lymph-nodes``."""

from pathlib import Path
from typing import Any

import click

from histokeras.cli import options
from histokeras.cli.lymph_options import (
    RULES,
    batch_size,
    lymph_options,
    require_ways,
    with_preset,
)
from histokeras.cli.patient_slides import slides_from
from histokeras.cli.picture_options import end
from histokeras.cli.shard_options import say_share, shard
from histokeras.models import quiet


@click.command()
@lymph_options
@options.output
@options.gpus
@batch_size
@options.workers
@shard
@options.allow_empty
@options.overwrite
@options.as_json
@options.config
def lymph_nodes(**arguments: Any) -> None:
    """Find lymph nodes on SLIDES, measure the tumour inside: T/MLN and pN of each patient.

    Nodes come from a segmenter or your drawings, tumour from a tile classifier or your drawings.
    Writes, a slide, <slide_id>.jpg (to look at), <slide_id>.geojson (for QuPath; corrected there
    it may be given as --nodes and --tumour), <slide_id>.nodes.png and .tumour.png (maps) and
    predictions/<slide_id>.csv (tiles); for all of them report.html with a page for each patient,
    slides.csv, nodes.csv, patients.csv, failures.csv and run.json. T/MLN is the tumour's share of a
    metastatic node, T_MLN_mean the mean of a patient's. The same command again resumes. For
    research use only.

    \b
    Examples:
      histokeras lymph-nodes slides/ -o nodes/ --segmenter seg/ --classifier run/ --patients t.csv
      histokeras lymph-nodes patients/ -o nodes/ --nodes drawn/ --classifier run/ --cutoff 0.25
      histokeras lymph-nodes slides/ -o nodes2/ --nodes corrected/ --tumour corrected/
    """
    import json

    from histokeras.report.lymph_words import job_words

    require_ways(arguments)
    arguments = with_preset(arguments)
    slides, left_out = slides_from(arguments)
    from histokeras.report.lymph_run import PATIENTS, SLIDES, measure_lymph_nodes

    job = _job(arguments, slides, left_out)
    say_share(job.share)
    for line in job_words(job):
        click.echo(line, err=True)
    record = measure_lymph_nodes(
        job,
        config=options.recorded(arguments, "overwrite", "shard"),
        command_line=options.command_line(),
    )
    unknown = sum(not one.patient_id for one in slides)
    if unknown:
        click.echo(
            f"Note: of {unknown} of {len(slides)} slide(s) no patient is known; {PATIENTS} lacks "
            "them. Give --patients.",
            err=True,
        )
    failures = record.facts["failures"]
    if arguments["as_json"]:
        report = {"output": str(job.output), "slides": record.slides, "failures": failures}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        names = (name for name in (PATIENTS, SLIDES) if (job.output / name).is_file())
        click.echo(str(job.output / next(names)))
    if arguments["allow_empty"]:
        failures = [row for row in failures if row["code"] != "NO_TISSUE"]
    end(failures)


def _job(arguments: dict[str, Any], slides: list[Any], left_out: list[dict[str, str]]) -> Any:
    from histokeras.analysis.lymph_nodes import NodeRules
    from histokeras.cohort.pseudonyms import read_pseudonyms
    from histokeras.report.lymph_inputs import drawn_classes, learned_patients
    from histokeras.report.lymph_job import LymphJob
    from histokeras.runs.environment import usable_cores
    from histokeras.slides.node_classes import node_class

    names = {"node": arguments["node_class"], "tumour": arguments["tumour_class"]}
    nodes, tumour = drawn_classes(
        slides,
        node=names["node"] if arguments["segmenter"] is None else None,
        tumour=names["tumour"] if arguments["classifier"] is None else None,
    )
    segmenter, scorer = None, None
    if arguments["segmenter"] is not None or arguments["classifier"] is not None:
        quiet.import_tensorflow()
    if arguments["segmenter"] is not None:
        from histokeras.training.segmenter import open_segmenter

        segmenter = open_segmenter(arguments["segmenter"], gpus=arguments["gpus"])
        classes, positive = segmenter.classes, segmenter.positive
        nodes = (node_class(classes, positive=positive, wanted=names["node"]),)
    if arguments["classifier"] is not None:
        from histokeras.training.tile_scorer import open_tile_scorer

        scorer = open_tile_scorer(
            arguments["classifier"],
            tile_class=names["tumour"],
            mpp=arguments["tile_mpp"],
            **{name: arguments[name] for name in ("weights", "trust", "gpus", "batch_size")},
        )
        tumour = (scorer.tile_class,)
    same = ("overview_mpp", "stride_um", "itc_stride_um", "threshold", "cutoff", "default_mpp",
            "overwrite", "shard")  # fmt: skip
    return LymphJob(
        slides=slides,
        output=Path(arguments["output"]),
        segmenter=segmenter,
        node_classes=nodes,
        scorer=scorer,
        tumour_classes=tumour,
        rules=NodeRules(**{name: arguments[name] for name in RULES}),
        left_out=left_out,
        pseudonyms=arguments["pseudonyms"] is not None,
        learned=learned_patients(
            [arguments["segmenter"], arguments["classifier"]],
            read_pseudonyms(arguments["pseudonyms"]),
        ),
        readers=arguments["workers"] or min(8, usable_cores()),
        **{name: arguments[name] for name in same},
    )
