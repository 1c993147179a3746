"""``histokeras survival``."""

import json
import math
from pathlib import Path
from typing import Any

import click

from histokeras.cli import options

_UNITS = ("days", "months", "years")
_CUTOFFS = ("median", "logrank")


@click.command()
@click.option(
    "--clinical",
    type=options.existing_file,
    required=True,
    help="Clinical table: patient_id, follow-up time, event (1 seen, 0 censored), and what else is "
    "known of a patient.",
)
@options.output
@click.option("--time", metavar="COLUMN", help="Column of the follow-up.  [default: found by name]")
@click.option("--event", metavar="COLUMN", help="Column of the event.  [default: found by name]")
@click.option(
    "--time-unit",
    type=click.Choice(_UNITS),
    help="Unit of the follow-up.  [default: as the column's header tells]",
)
@click.option(
    "--composition",
    "--table",
    "table",
    type=options.existing_file,
    help="A table of the tissue with a row a patient, such as patients.csv of `composition`: its "
    "shares are used, else its numbers.",
)
@click.option(
    "--features",
    type=options.existing_path,
    help="Feature files: a penalised Cox model of the principal components of each patient's mean.",
)
@click.option(
    "--slide-table",
    type=options.existing_file,
    help="Table with slide_id and patient_id, where names of feature files do not tell.",
)
@click.option(
    "--columns",
    metavar="A,B",
    help="Columns to use, of either table, with commas.  [default: those that may serve]",
)
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="COLUMN",
    help="Draw a curve for each group of this column; a number is cut in two. May be given several "
    "times.",
)
@click.option(
    "--cutoff",
    type=click.Choice(_CUTOFFS),
    default=_CUTOFFS[0],
    show_default=True,
    help="How a number is cut, learned on other patients than those it parts: logrank is where "
    "survival differs most, its p corrected for the search.",
)
@click.option(
    "--cut",
    "cuts",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Cut this number here, as it is given, instead of learning where; higher is the group "
    "high. May be given several times.",
)
@click.option(
    "--missing-group",
    metavar="NAME",
    default="",
    help='Patients without a number that is cut make a group of this name, such as "no '
    'metastasis" of T_MLN_mean.  [default: left out of its curve]',
)
@click.option(
    "--split",
    "--splits",
    "split",
    type=options.existing_file,
    help="File of `histokeras split`: models learn on train and val, and are tested on test.",
)
@click.option(
    "--cv",
    "folds",
    type=click.IntRange(2, 20),
    help="Folds of patients instead of a split.  [default: 5 without --split]",
)
@options.bootstrap
@options.seed
@options.overwrite
@options.as_json
@options.config
def survival(**arguments: Any) -> None:
    """Link a clinical table, the tissue and features of patients to their survival.

    Curves (Kaplan-Meier) with numbers at risk and the log-rank test; hazard ratios (Cox, Efron's
    ties) of each column alone and of all together; and the C-index of the clinical columns, the
    tissue and features, each beside clinical columns alone, for patients that the models did not
    see. Too few events are said, and nothing is computed from them. Needs
    pip install "histokeras[survival]".

    Writes report.html to look at, metrics.json, cox.csv, km.csv, patients.csv (risk and group of
    each patient), dropped.csv and run.json.

    \b
    Examples:
      histokeras survival --clinical clinical.csv -o survival/
      histokeras survival --clinical clinical.csv --composition composition/patients.csv \\
        --split split.csv --group stage -o survival/
      histokeras survival --clinical clinical.csv --table nodes/patients.csv \
        --cut T_MLN_mean=0.25 --missing-group "no metastasis" -o survival/
      histokeras survival --clinical clinical.csv --time OS_MONTHS --event OS_STATUS \\
        --features feats/ --cv 5 -o survival/
    """
    # Asked for before any work.
    import histokeras.analysis.cox  # noqa: F401
    from histokeras.analysis.survival_run import run_survival
    from histokeras.analysis.survival_study import SurvivalJob, prepare_survival
    from histokeras.analysis.survival_text import format_survival
    from histokeras.report.survival_page import write_survival_page

    same = ("clinical", "time", "event", "time_unit", "table", "cutoff", "split", "folds")
    job = SurvivalJob(
        columns=_names(arguments["columns"]),
        groups=tuple(arguments["groups"]),
        cuts=tuple(_cut(text) for text in arguments["cuts"]),
        missing_group=arguments["missing_group"].strip(),
        **{name: arguments[name] for name in (*same, "n_resamples", "seed")},
    )
    output = Path(arguments["output"])
    study = prepare_survival(job, _features(arguments))
    metrics = run_survival(
        job,
        study,
        output,
        config=options.recorded(arguments, "overwrite"),
        command_line=options.command_line(),
        overwrite=arguments["overwrite"],
    )
    page = write_survival_page(output)
    if arguments["as_json"]:
        click.echo(json.dumps(metrics, indent=2))
        return
    for note in study.notes:
        click.echo(f"Note: {note}", err=True)
    click.echo(format_survival(metrics), err=True)
    click.echo(f"Look at {page}", err=True)
    click.echo(str(output))


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _cut(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        cut = float(value)
    except ValueError:
        cut = math.nan
    if not name.strip() or not math.isfinite(cut):
        raise click.BadParameter(
            f"{text!r} is no COLUMN=VALUE, such as T_MLN_mean=0.25.", param_hint="'--cut'"
        )
    return name.strip(), cut


def _features(arguments: dict[str, Any]) -> Any:
    """Return the mean features of the patients of the clinical table, if any are asked for."""
    if arguments["features"] is None:
        if arguments["slide_table"] is not None:
            raise click.UsageError("`--slide-table` tells whose features are: give --features too.")
        return None
    from histokeras.cohort.clinical import read_clinical
    from histokeras.training.patient_features import read_patient_features
    from histokeras.types import PATIENT_ID

    patients = read_clinical(arguments["clinical"]).table[PATIENT_ID].astype(str).tolist()
    return read_patient_features(
        arguments["features"], patients, slide_table=arguments["slide_table"]
    )
