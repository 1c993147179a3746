"""``histokeras segment``."""

from pathlib import Path
from typing import Any

import click

from histokeras.cli import options
from histokeras.cli.picture_options import end
from histokeras.cli.shard_options import say_share, shard
from histokeras.cli.slide_options import choose_paths, slide_input_options
from histokeras.models import quiet


@click.command()
@click.argument("run", metavar="RUN|MODEL", type=options.run_folder)
@slide_input_options
@options.output
@click.option("--everywhere", is_flag=True, help="Segment glass too, not only where tissue is.")
@click.option(
    "--probability", is_flag=True,
    help="Also write the probability of the positive class, or of each class where none is.",
)  # fmt: skip
@click.option(
    "--min-area-um2", type=click.FloatRange(min=0), default=20.0, show_default=True,
    help="Smaller areas, and holes in areas, are not outlined (of images without mpp in pixels); "
    "the mask and areas.csv keep them.",
)  # fmt: skip
@click.option(
    "--window-px", type=click.IntRange(min=64), metavar="PX",
    help="Side of the windows that the network sees; a multiple of 32.  [default: that of its "
    "crops in training; of a U-Net 640]",
)  # fmt: skip
@click.option(
    "--overlap-px", type=click.IntRange(min=32), metavar="PX",
    help="By how much windows overlap; a multiple of 32.  [default: about three eighths of a "
    "window; of a U-Net 192 at most]",
)  # fmt: skip
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=4, show_default=True,
    help="Windows computed at once.",
)  # fmt: skip
@options.gpus
@shard
@options.allow_empty
@options.overwrite
@options.as_json
@options.config
def segment(**arguments: Any) -> None:
    """Segment SLIDES, or pictures, with the network of RUN: a class for every pixel.

    RUN is a folder of fit-segmenter, or its segmenter/; several folds are averaged. Slides are read
    at the resolution that the network learned at. Writes, a slide, <slide_id>.mask.tif (class
    numbers, 255 where nothing was segmented; OpenSlide and QuPath show it in colours),
    <slide_id>.geojson (outlines for QuPath) and <slide_id>.overlay.jpg; for all of them
    segment.csv, areas.csv (mm2 and share of each class), patients.csv, failures.csv and run.json.
    The same command again resumes. One GPU computes; share slides out with --shard.

    \b
    Examples:
      histokeras segment run/ slides/ -o masks/
      histokeras segment run/ slides/S12.svs -o masks/ --probability
      histokeras segment run/ images/*.png -o masks/ --default-mpp 0.25
    """
    import json

    from histokeras.cohort.pseudonyms import patients_by_slide, read_pseudonyms
    from histokeras.slides.inventory import find_slides, read_slide_table

    pseudonyms = read_pseudonyms(arguments["pseudonyms"])
    paths, chosen = choose_paths(
        find_slides(arguments["slides"], recursive=arguments["recursive"]),
        diagnostic_only=arguments["diagnostic_only"],
        sample_types=arguments["sample_types"],
        pseudonyms=pseudonyms,
    )
    table = arguments["slide_table"]
    rows = read_slide_table(table) if table is not None else {}
    patients = patients_by_slide(table, pseudonyms)
    quiet.import_tensorflow()
    from histokeras.report.segment_job import SegmentJob
    from histokeras.report.segment_run import segment_slides
    from histokeras.training.segmenter import open_segmenter

    job = SegmentJob(
        segmenter=open_segmenter(
            arguments["run"],
            **{name: arguments[name] for name in ("window_px", "overlap_px", "batch_size", "gpus")},
        ),
        slides=paths,
        output=Path(arguments["output"]),
        least_um2=arguments["min_area_um2"],
        table=rows,
        patients=patients,
        left_out=chosen.outcomes(),
        pseudonyms=pseudonyms,
        **{
            name: arguments[name]
            for name in ("everywhere", "probability", "default_mpp", "overwrite", "shard")
        },
    )
    say_share(job.share)
    if job.segmenter.mpp is None:
        click.echo("Note: the network has no mpp: each image is taken in its own pixels.", err=True)
    record = segment_slides(
        job,
        config=options.recorded(arguments, "overwrite", "shard"),
        command_line=options.command_line(),
    )
    failures = record.facts["failures"]
    done = [row["slide"] for row in record.slides if row["outcome"] in ("done", "skipped")]
    if arguments["as_json"]:
        report = {"output": str(job.output), "slides": record.slides, "failures": failures}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        for slide_id in done:
            click.echo(str(job.mask_path(slide_id)))
    if arguments["allow_empty"]:
        failures = [row for row in failures if row["code"] != "NO_TISSUE"]
    end(failures)
