"""``histokeras gdc``: query, manifest, download."""

import json
from pathlib import Path
from typing import Any

import click

from histokeras.cli import options, slide_options

_KINDS = ("diagnostic", "tissue", "all")
_server = click.option(
    "--server",
    default="https://api.gdc.cancer.gov",
    show_default=True,
    metavar="URL",
    help="Address of the GDC's API, or of a mirror.",
)


@click.group()
def gdc() -> None:
    """TCGA slides from the GDC: ask for a manifest, look at it, download it.

    \b
    Example:
      histokeras gdc query --project TCGA-LUAD -o manifest.tsv
      histokeras gdc manifest manifest.tsv
      histokeras gdc download manifest.tsv -o slides/
    """


def _say(text: str) -> None:
    click.echo(text, err=True)


@gdc.command()
@click.option(
    "--project", "projects", multiple=True, required=True, metavar="NAME",
    help="Project such as TCGA-LUAD; may be given several times.",
)  # fmt: skip
@click.option(
    "--kind",
    type=click.Choice(_KINDS),
    default=_KINDS[0],
    show_default=True,
    help="diagnostic: DX slides; tissue: frozen sections.",
)
@click.option(
    "-o", "--output", "--out", "output", type=options.any_path, required=True,
    help="Manifest to write (.tsv).",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace a manifest that says something else.")
@_server
@options.as_json
def query(
    projects: tuple[str, ...],
    kind: str,
    output: Path,
    overwrite: bool,
    server: str,
    as_json: bool,
) -> None:
    """Ask the GDC for the slides of projects; write their manifest.

    The words it is asked by (data_type "Slide Image", experimental_strategy "Diagnostic Slide" and
    "Tissue Slide") are taken from public documents; they were not checked against the server.

    Example: histokeras gdc query --project TCGA-LUAD --project TCGA-LUSC -o manifest.tsv
    """
    from histokeras.cohort.gdc import count_files, format_counts, save_manifest
    from histokeras.cohort.gdc_query import query_files

    files = query_files(projects, kind, server=server, say=_say)
    counts = count_files(files)
    _say(format_counts(counts))
    save_manifest(output, files, overwrite=overwrite)
    found = {"manifest": str(output), "counts": counts.to_dict(orient="records")}
    click.echo(json.dumps(found, indent=2) if as_json else output)


@gdc.command()
@click.argument("manifest", type=options.existing_file)
@slide_options.choice_options
@click.option(
    "-o", "--output", "--out", "output", type=options.any_path,
    help="Also write the rows that are wanted as a manifest there.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace a manifest that says something else.")
@options.as_json
def manifest(
    manifest: Path, output: Path | None, overwrite: bool, as_json: bool, **choice: Any
) -> None:
    """Check MANIFEST (TSV: id, filename, md5, size, state); count its slides by kind and sample.

    \b
    Example:
      histokeras gdc manifest manifest.tsv
      histokeras gdc manifest manifest.tsv --sample-types 01 -o tumours.tsv
    """
    from histokeras.cohort.gdc import (
        count_files,
        format_counts,
        note_no_diagnostic,
        read_manifest,
        save_manifest,
    )

    files = read_manifest(manifest)
    note = note_no_diagnostic(files)
    if note:
        _say(f"Note: {note}")
    wanted, _ = _chosen(files, choice)
    counts = count_files(wanted)
    click.echo(counts.to_json(orient="records", indent=2) if as_json else format_counts(counts))
    if output is not None:
        save_manifest(output, wanted, overwrite=overwrite)


def _chosen(files: Any, choice: dict[str, Any]) -> Any:
    from histokeras.cli import cohort_text
    from histokeras.cohort.gdc import choose_files

    wanted, chosen = choose_files(files, slide_options.choice_from(**choice))
    cohort_text.say_left_out(chosen, len(files))
    return wanted, chosen


@gdc.command()
@click.argument("manifest", type=options.existing_file)
@options.output
@slide_options.choice_options
@click.option(
    "--workers", type=click.IntRange(1, 32), default=4, show_default=True,
    help="Files that are fetched at once.",
)  # fmt: skip
@_server
@click.option("--verify", is_flag=True, help="Check the MD5 of finished files once more.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched; write nothing.")
@options.as_json
def download(**arguments: Any) -> None:
    """Download the files of MANIFEST into a folder: FOLDER/<filename>.

    A finished file is never fetched again: its MD5 is checked once. What is cut off stays as
    .partial and is gone on with by the same command. Exit code 4: some files failed
    (failures.csv).

    \b
    Examples:
      histokeras gdc download manifest.tsv -o slides/ --dry-run
      histokeras gdc download manifest.tsv -o slides/ --diagnostic-only --workers 8
    """
    from histokeras.cohort.gdc import read_manifest
    from histokeras.cohort.gdc_download import DownloadJob, download, plan_download, require_space

    choice = {name: arguments[name] for name in ("diagnostic_only", "sample_types")}
    output: Path = arguments["output"]
    wanted, chosen = _chosen(read_manifest(arguments["manifest"]), choice)
    plan = plan_download(wanted, output, verify=arguments["verify"])
    _say(plan.text)
    if arguments["dry_run"]:
        require_space(plan)
        return
    job = DownloadJob(
        folder=output,
        server=arguments["server"],
        workers=arguments["workers"],
        left_out=chosen.outcomes(),
        config=options.recorded(arguments),
        command_line=options.command_line(),
    )
    totals = download(plan, job)
    n_failed = len(totals.failures)
    _say(f"{totals.fetched} fetched, {totals.kept} kept, {n_failed} failed")
    counts = {"fetched": totals.fetched, "kept": totals.kept, "failed": n_failed}
    click.echo(json.dumps({"folder": str(output), **counts}) if arguments["as_json"] else output)
    if n_failed:
        _say(f"See {output / 'failures.csv'}; run the same command to try them again.")
        raise click.exceptions.Exit(4)
