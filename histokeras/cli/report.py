"""``histokeras report``."""

from pathlib import Path

import click

from histokeras.cli import options


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=options.run_folder)
@click.option(
    "-o",
    "--output",
    "output",
    metavar="FILE.html",
    type=options.any_path,
    help="The page.  [default: report.html in RUN; comparison.html here for several]",
)
@options.config
def report(runs: tuple[Path, ...], output: Path | None) -> None:
    """Write the page of RUN (or of clusters), or one that compares several runs; print its path.

    One file that needs no other: open it in any browser, print it, pass it on. The data of its
    plots lie beside it as CSV and JSON.

    \b
    Examples:
      histokeras report run/
      histokeras report run_a/ run_b/ -o comparison.html
    """
    from histokeras.report.comparison import write_comparison
    from histokeras.report.page import write_report

    if len(runs) == 1:
        page = write_report(runs[0], output)
    else:
        page = write_comparison(runs, output or Path("comparison.html"))
    click.echo(str(page))
