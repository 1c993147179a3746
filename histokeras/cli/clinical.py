"""``histokeras clinical``."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from histokeras.cli import options

_OF_LINK = ("columns", "with_train", "min_patients", "min_group")


@click.command()
@click.argument("table", type=options.existing_file)
@click.option(
    "--with",
    "measured",
    metavar="PATIENTS",
    type=options.existing_file,
    help="Table with one row a patient, such as patients.csv of a run: test its columns against "
    "the clinical ones.",
)
@click.option(
    "-o", "--output", "--out", "output", type=options.any_path,
    help="Output folder of --with; made if need be.",
)  # fmt: skip
@click.option(
    "--columns",
    default="",
    metavar="NAMES",
    help="Columns of PATIENTS to test, with commas; * stands for any text (share_*).  "
    "[default: all numbers but counts, and label]",
)
@click.option(
    "--with-train",
    is_flag=True,
    help="Also use patients whose `split` in PATIENTS is train.",
)
@click.option(
    "--min-patients",
    type=click.IntRange(min=4),
    default=10,
    show_default=True,
    help="A test with fewer patients is not computed.",
)
@click.option(
    "--min-group",
    type=click.IntRange(min=2),
    default=5,
    show_default=True,
    help="Groups of fewer patients are left out of a test.",
)
@click.option(
    "--time-unit",
    type=click.Choice(["days", "months", "years"]),
    help="Unit of the follow-up time.  [default: what its header tells]",
)
@options.pseudonyms
@options.as_json
@options.config
def clinical(**arguments: Any) -> None:
    """Look at a clinical TABLE: types, missing values, code books; test it against measures.

    TABLE (.csv, .tsv, .txt, .xlsx) has one row a patient. Known columns (sex, age, TNM, stage,
    Lauren, HER2, time, event, also as TCGA and cBioPortal call them) get our names; a header such
    as `Venous Invasion(Negative=0,Positive=1)` is a code book. What cannot be read is listed with
    its row. Missing are empty cells, NA, N/A, NaN, null, unknown, not available, `.`, `-`, `?`.

    With --with PATIENTS, every measure is tested against every clinical column: report.html,
    associations.csv (p, q, effect size), linked.csv, dropped.csv, run.json.

    \b
    Examples:
      histokeras clinical HMU-GC-Clinical.csv
      histokeras clinical clinical.xlsx --with run/patients.csv -o link/
      histokeras clinical clinical.xlsx --with clusters/patients.csv --columns 'share_*' -o link/
    """
    import json

    from histokeras.cohort.clinical import read_clinical
    from histokeras.cohort.clinical_names import clinical_under_pseudonyms
    from histokeras.cohort.clinical_text import clinical_json, format_clinical
    from histokeras.cohort.pseudonyms import read_pseudonyms

    if (arguments["measured"] is None) != (arguments["output"] is None):
        raise click.UsageError("--with PATIENTS and -o FOLDER go together: give both, or neither.")
    if arguments["measured"] is None:
        _refuse_lonely()
    table = clinical_under_pseudonyms(
        read_clinical(arguments["table"], time_unit=arguments["time_unit"]),
        read_pseudonyms(arguments["pseudonyms"]),
    )
    if arguments["measured"] is not None:
        _link(table, arguments)
    elif arguments["as_json"]:
        click.echo(json.dumps(clinical_json(table), indent=2, ensure_ascii=False))
    else:
        click.echo(format_clinical(table))


def _refuse_lonely() -> None:
    """Refuse options that mean nothing without --with."""
    context = click.get_current_context()
    for name in _OF_LINK:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"`{option}` goes with --with PATIENTS. Give both, or neither.")


def _link(table: Any, arguments: dict[str, Any]) -> None:
    """Join with what was measured, test, and write the page."""
    import json

    from histokeras.analysis.clinical_link import link_clinical
    from histokeras.cohort.join import format_funnel
    from histokeras.report.clinical_page import COMMAND, FILES, headline, write_link
    from histokeras.runs.record import require_own_folder

    output: Path = arguments["output"]
    require_own_folder(output, (COMMAND,), tuple(FILES))
    names = [name.strip() for name in arguments["columns"].split(",") if name.strip()]
    how = {name: arguments[name] for name in _OF_LINK} | {"columns": names}
    link = link_clinical(table, arguments["measured"], **how)
    click.echo(format_funnel(link.funnel), err=True)
    for note in (*table.notes, *link.notes):
        click.echo(f"Note: {note}", err=True)
    page = write_link(
        output,
        table,
        link,
        config=options.recorded(arguments),
        command_line=options.command_line(),
    )
    click.echo(headline(link), err=True)
    click.echo(f"Look at {page}", err=True)
    if arguments["as_json"]:
        rows = json.loads(link.results.to_json(orient="records"))
        click.echo(json.dumps({"funnel": dict(link.funnel), "associations": rows}, indent=2))
    else:
        click.echo(str(output))
