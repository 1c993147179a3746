import click
from click.testing import CliRunner

from histokeras.cli.mask_options import coding_from, mask_options
from histokeras.data.masks import MaskCoding


@click.command()
@mask_options
def show(**given: object) -> None:
    found = coding_from(**given)  # type: ignore[arg-type]
    same = found == MaskCoding()
    labels = found.codes.labels if found.codes else ()
    click.echo(f"{same} {found.kind} {found.ignore} {labels} {found.name} {found.scaled}")


def test_options_have_the_defaults_of_the_coding_and_reach_it() -> None:
    run = CliRunner().invoke

    assert run(show, []).output.startswith("True auto ()")
    result = run(
        show,
        ["--mask-coding", "codes", "--mask-codes", "necrosis=4", "--mask-ignore", "0",
         "--mask-ignore", "-1", "--mask-class", "x", "--scaled-masks"],
    )  # fmt: skip
    assert result.output == "False codes (0, -1) ('background', 'necrosis') x True\n"
