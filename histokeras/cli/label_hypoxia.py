"""``histokeras label-hypoxia``."""

from pathlib import Path
from typing import Any

import click

from histokeras.cli import options


@click.command("label-hypoxia")
@click.argument("scores", metavar="TABLE", type=options.existing_file)
@click.option(
    "-o", "--output", "--out", "output", type=options.any_path, required=True,
    help="Label table (.csv); .dropped.csv and .run.json go beside it.",
)  # fmt: skip
@click.option(
    "--rule",
    default="tumour-type",
    show_default=True,
    metavar="tumour-type|pooled|sign|cutoff=X",
    help="Hypoxic is above: the median of the own tumour type, the median of all, 0, or X.",
)
@click.option(
    "--score",
    metavar="COLUMN",
    help="Column of the score, or a signature such as Winter.  [default: Buffa pan-cancer]",
)
@click.option(
    "--tumour-type-column",
    metavar="COLUMN",
    help="Column of the tumour type.  [default: tumour_type, CANCER_TYPE_ACRONYM or the like]",
)
@click.option(
    "--tumour-types",
    default="",
    metavar="BRCA,...",
    help="Label these only; the pooled median stays that of all.  [default: all]",
)
@click.option(
    "--ties",
    type=click.Choice(["zero", "drop"]),
    default="zero",
    show_default=True,
    help="A score equal to the median: non-hypoxic, or left out.",
)
@click.option(
    "--min-group",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Patients that a median needs; patients of smaller groups stay unlabelled.",
)
@click.option(
    "--keep-samples",
    is_flag=True,
    help="Keep further samples of a patient (TCGA-BH-A1ES-1) as rows of their own.",
)
@click.option(
    "--fit-on",
    metavar="SPLIT",
    type=options.existing_file,
    help="Split file: medians of its training patients only, applied to all.",
)
@options.pseudonyms
@click.option("--overwrite", is_flag=True, help="Replace another file of that name.")
@options.as_json
@options.config
def label_hypoxia(**arguments: Any) -> None:
    """Label patients hypoxic or non-hypoxic by the hypoxia scores in TABLE.

    TABLE (.csv, .tsv, .txt, .xlsx) is Supplementary Table 1 of Bhandari 2019, a cBioPortal export
    with BUFFA_HYPOXIA_SCORE, or any table with patient_id, score and tumour_type. The labels are
    for `split` and `fit-head`; what is left out is listed with its reason in .dropped.csv.

    \b
    Examples:
      histokeras label-hypoxia scores.txt -o labels.csv
      histokeras label-hypoxia scores.txt -o labels.csv --rule pooled --tumour-types BRCA
      histokeras split --labels scores.txt --stratify tumour_type -o split.csv
      histokeras label-hypoxia scores.txt -o labels.csv --fit-on split.csv
    """
    import json

    from histokeras.cli import cohort_text
    from histokeras.cohort.hypoxia import parse_rule
    from histokeras.cohort.hypoxia_file import counts_json, require_output, write_labels
    from histokeras.cohort.hypoxia_labels import label_hypoxia
    from histokeras.cohort.hypoxia_table import read_scores, scores_under_pseudonyms
    from histokeras.cohort.pseudonyms import read_pseudonyms, translated_split
    from histokeras.cohort.split_file import read_split
    from histokeras.runs.record import RunRecord

    source, output = Path(arguments["scores"]), Path(arguments["output"])
    rule = parse_rule(arguments["rule"], ties=arguments["ties"], min_group=arguments["min_group"])
    fit_on = arguments["fit_on"]
    require_output(output, [source, *([fit_on] if fit_on else [])])
    scores = read_scores(
        source,
        score=arguments["score"],
        type_column=arguments["tumour_type_column"],
        keep_samples=arguments["keep_samples"],
    )
    pseudonyms = read_pseudonyms(arguments["pseudonyms"])
    scores = scores_under_pseudonyms(scores, pseudonyms)
    made = label_hypoxia(
        scores,
        rule,
        tumour_types=[n.strip() for n in arguments["tumour_types"].split(",") if n.strip()],
        split=translated_split(read_split(fit_on), pseudonyms) if fit_on else None,
    )
    cohort_text.say_hypoxia(made)
    record = RunRecord(
        "label-hypoxia",
        options.recorded(arguments, "overwrite"),
        command_line=options.command_line(),
    )
    written = write_labels(output, made, record, overwrite=arguments["overwrite"])
    if not written:
        click.echo("unchanged: the same labels stand there already", err=True)
    content = {"path": str(output), "written": written, "rule": made.rule, **made.facts}
    content |= {"counts": counts_json(made.counts), "notes": list(made.notes)}
    content["dropped"] = made.dropped.to_dict(orient="records")
    click.echo(json.dumps(content, indent=2) if arguments["as_json"] else output)
