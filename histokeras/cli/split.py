"""``histokeras split``."""

from pathlib import Path

import click

from histokeras.cli import options, study_options
from histokeras.types import REGRESSION


@click.command()
@click.option(
    "--labels",
    "--clini-table",
    "labels",
    type=options.existing_file,
    required=True,
    help="Table (.csv, .xlsx) with a patient column.",
)
@click.option(
    "--target",
    help="Label column to balance: its classes, or its quantiles.  [default: none]",
)
@options.task
@click.option(
    "-o", "--output", "--out", "output", type=options.any_path, required=True, help="Split file."
)
@click.option(
    "--shares",
    metavar="TRAIN/VAL/TEST",
    help="Percent, or fractions; test may be 0.  [default: 70/15/15]",
)
@click.option(
    "--cv",
    "folds",
    type=int,
    help="Number of folds instead: fold i test, i+1 val.",
)
@options.seed
@click.option("--stratify", default="", metavar="COLUMNS", help="Columns to balance, with commas.")
@click.option(
    "--preserve-site", is_flag=True, help="With --cv: no site in two folds, classes even."
)
@options.patients_unknown
@options.pseudonyms
@options.strict
@click.option("--overwrite", is_flag=True, help="Replace another file of that name.")
@options.as_json
@options.config
def split(
    labels: Path,
    target: str | None,
    task: str,
    output: Path,
    shares: str | None,
    folds: int | None,
    seed: int,
    stratify: str,
    preserve_site: bool,
    patients_unknown: bool,
    pseudonyms: Path | None,
    strict: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Split patients into train, val and test, or into folds, and sign the file.

    The same table gives the same file in any row order. Commands that read it check that no
    patient lies on two sides.

    \b
    Examples:
      histokeras split --labels labels.csv --target label -o split.csv
      histokeras split --labels labels.csv --target label --cv 5 --stratify site -o folds.csv
      histokeras split --labels labels.csv --target label --cv 5 --preserve-site -o folds.csv
      histokeras split --labels scores.csv --target buffa --task regression -o split.csv
    """
    import json

    from histokeras.cli import cohort_text
    from histokeras.cohort.labels import read_cohort
    from histokeras.cohort.pseudonyms import read_labels, read_pseudonyms
    from histokeras.cohort.split import (
        count_patients,
        count_strata,
        parse_shares,
        split_patients,
        write_split,
    )
    from histokeras.errors import ConfigError
    from histokeras.files import prepare_folder

    given = study_options.one_division(
        {"shares": shares, "folds": folds, "preserve_site": preserve_site, "stratify": stratify}
    )
    shares, folds, stratify = given["shares"], given["folds"], given["stratify"] or ""
    preserve_site = bool(given["preserve_site"])
    if output.resolve() == labels.resolve() or (output.exists() and output.samefile(labels)):
        raise ConfigError(
            f"`--output` {output} is the label table itself.",
            hint="Choose another name for the split file; `--overwrite` does not help here.",
        )
    if task == REGRESSION and target is None:
        raise click.UsageError(
            "`--task regression` needs `--target COLUMN`, whose quantiles count."
        )
    table = read_labels(labels, read_pseudonyms(pseudonyms))
    cohort = read_cohort(table, target=target, task=task, strict=strict)
    made = split_patients(
        cohort,
        shares=parse_shares(shares or "70/15/15"),
        seed=seed,
        stratify=[name.strip() for name in stratify.split(",") if name.strip()],
        folds=folds,
        preserve_site=preserve_site,
        patients_unknown=patients_unknown,
    )
    counts = count_patients(made, cohort)
    cohort_text.say_cohort(cohort)
    click.echo(counts.to_string(), err=True)
    cohort_text.say_strata(count_strata(made, cohort))
    cohort_text.say_sites(made.sites)
    if made.note:
        click.secho(f"Warning: {made.note}", fg="red", err=True)
    prepare_folder(output.parent)
    written = write_split(output, made, overwrite=overwrite)
    if not written:
        click.echo("unchanged: the same split stands there already", err=True)
    content = {"path": str(output), "written": written, "sha256": made.digest, **made.meta}
    content["counts"] = counts.to_dict(orient="index")
    content["dropped"] = cohort.dropped.to_dict(orient="records")
    click.echo(json.dumps(content, indent=2) if as_json else output)
