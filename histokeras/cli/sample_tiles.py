"""``histokeras sample-tiles``."""

from pathlib import Path
from typing import Any

import click

from histokeras.cli import lymph_options, options, study_options
from histokeras.cli.patient_slides import slides_from
from histokeras.cli.picture_options import end
from histokeras.cli.shard_options import say_share, shard
from histokeras.cli.slide_options import choice_options, default_mpp, recursive, slides

_SHARE = click.FloatRange(0, 1)


@click.command()
@slides
@lymph_options.slide_table
@default_mpp
@recursive
@choice_options
@options.pseudonyms
@click.option(
    "--annotations", type=options.existing_folder, required=True,
    help="Folder of drawn regions, called as the slides are: QuPath's GeoJSON, Camelyon's JSON, "
    "ASAP's XML.",
)  # fmt: skip
@click.option(
    "--nodes", "drawn_nodes", type=options.existing_folder, metavar="DIR",
    help="Folder of drawn lymph nodes.  [default: that of --annotations]",
)  # fmt: skip
@options.output
@click.option(
    "--node-class", "--inside", "node_class", metavar="CLASS",
    help="Drawn class that the middle of a tile must lie in; '*' for anywhere.  [default: Lymph "
    "node, LN, ... where such were drawn; else anywhere]",
)  # fmt: skip
@click.option(
    "--tumour-class", metavar="CLASS",
    help="Drawn class of tumour.  [default: Tumor, tumour, Metastasis, ...]",
)  # fmt: skip
@click.option(
    "--per-slide", type=click.IntRange(min=1), default=100, show_default=True, metavar="N",
    help="Tumour tiles of a slide, and normal ones, at most.",
)  # fmt: skip
@click.option(
    "--min-share", type=_SHARE, default=0.5, show_default=True, metavar="FRACTION",
    help="A tile is tumour where tumour covers at least this share of it.",
)  # fmt: skip
@click.option(
    "--normal-share", type=_SHARE, metavar="FRACTION",
    help="A tile is normal where tumour covers at most this share of it; those between are left "
    "out, and tumour then comes out too large.  [default: all below --min-share]",
)  # fmt: skip
@click.option(
    "--border", type=_SHARE, default=0.25, show_default=True, metavar="FRACTION",
    help="Part of each label's tiles that lie on the border of tumour.",
)  # fmt: skip
@click.option(
    "--tile-px", type=int, default=256, show_default=True, metavar="PX",
    help="Side of a tile in pixels.",
)  # fmt: skip
@click.option(
    "--mpp", type=float, default=0.5, show_default=True, metavar="UM",
    help="Resolution of the tiles in um per pixel.",
)  # fmt: skip
@click.option(
    "--stride", "stride_um", type=float, default=64.0, show_default=True, metavar="UM",
    help="From one place that a tile may lie at to the next, in um; tiles may overlap.",
)  # fmt: skip
@click.option(
    "--max-background", type=float, default=0.75, show_default=True, metavar="FRACTION",
    help="Largest share of background (luminance 220 or more) of a tile.",
)  # fmt: skip
@click.option(
    "--hard-from", type=options.existing_folder,
    help="Predictions of these slides (of predict, lymph-nodes, or a run): the normal tiles that "
    "look most like tumour to it are added, of train patients of --split alone.",
)  # fmt: skip
@click.option(
    "--hard", type=click.IntRange(min=1), default=50, show_default=True, metavar="N",
    help="With --hard-from: how many a slide at most, the surest first, none over another.",
)  # fmt: skip
@click.option(
    "--hard-class", metavar="CLASS",
    help="With --hard-from: class of the predictions that stands for tumour.  [default: by its "
    "name]",
)  # fmt: skip
@study_options.split
@options.workers
@shard
@options.seed
@options.overwrite
@options.as_json
@options.config
def sample_tiles(**arguments: Any) -> None:
    """Draw labelled tiles from SLIDES with drawn tumour, to train a tile classifier on.

    Writes images/tumour/ and images/normal/, tiles.csv (for --tile-table: tile, label, patient_id,
    slide_id, mpp, x, y, share covered by tumour, hard), sample.csv (a row a slide), failures.csv
    and run.json. The same seed draws the same tiles; the same command again resumes. SLIDES may
    hold a folder a patient. All patients are drawn from: split by patient when you train.

    \b
    Examples:
      histokeras sample-tiles slides/ --annotations qupath/ --slide-table slides.csv -o tiles/
      histokeras finetune --tiles tiles/ --tile-table tiles/tiles.csv --positive tumour
        --split split.csv -o run/
      histokeras sample-tiles slides/ --annotations qupath/ --slide-table slides.csv -o tiles2/
        --hard-from predictions/ --split split.csv
    """
    import dataclasses
    import json

    from histokeras.cohort.split_file import read_split
    from histokeras.errors import ConfigError
    from histokeras.report.sample_job import hard_tiles
    from histokeras.report.sample_run import sample_slides

    split, folder = arguments["split"], arguments["hard_from"]
    if (split is None) != (folder is None):
        raise ConfigError(
            "`--hard-from` and `--split` belong together: tiles that a network mistook are added "
            "of train patients alone."
        )
    job = _job_from(arguments)
    if folder is not None:
        hard = hard_tiles(job, folder, read_split(split), column=arguments["hard_class"])
        job = dataclasses.replace(job, hard=hard)
    say_share(job.share)
    unknown = sum(not one.patient_id for one in job.slides)
    if unknown:
        click.echo(
            f"Note: of {unknown} of {len(job.slides)} slide(s) no patient is known: no split by "
            "patient will hold their tiles. Give --slide-table.",
            err=True,
        )
    record = sample_slides(
        job,
        config=options.recorded(arguments, "overwrite", "shard"),
        command_line=options.command_line(),
    )
    failures = record.facts["failures"]
    if arguments["as_json"]:
        report = {"output": str(job.output), "slides": record.slides, "failures": failures}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        counts = {
            name: sum(row.get(name, 0) for row in record.slides)
            for name in ("tumour", "normal", "hard")
        }
        click.echo(", ".join(f"{n:,} {name}" for name, n in counts.items()), err=True)
        click.echo(str(job.output / "tiles.csv"))
    end(failures)


def _job_from(arguments: dict[str, Any]) -> Any:
    """Return the :class:`histokeras.report.sample_job.SampleJob` asked for, without hard tiles."""
    from histokeras.report.sample_job import SampleJob, drawn_classes
    from histokeras.tiles.sample_places import SampleSpec

    same = ("mpp", "stride_um", "min_share", "max_background", "per_slide", "seed")
    spec = SampleSpec(
        size_px=arguments["tile_px"],
        max_normal=arguments["normal_share"],
        border=arguments["border"],
        hard=arguments["hard"] if arguments["hard_from"] is not None else 0,
        **{name: arguments[name] for name in same},
    )
    drawn = arguments["annotations"]
    slides, left_out = slides_from({**arguments, "drawn_tumour": drawn,
                                    "drawn_nodes": arguments["drawn_nodes"] or drawn})  # fmt: skip
    tumour, within = drawn_classes(
        slides, node=arguments["node_class"], tumour=arguments["tumour_class"]
    )
    return SampleJob(
        slides=slides,
        output=Path(arguments["output"]),
        tumour=tumour,
        within=within,
        spec=spec,
        left_out=left_out,
        pseudonyms=arguments["pseudonyms"] is not None,
        **{name: arguments[name] for name in ("default_mpp", "overwrite", "workers", "shard")},
    )
