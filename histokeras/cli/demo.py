"""``histokeras demo``."""

from pathlib import Path

import click

from histokeras.cli import options

_PATIENTS = 20
_SIZE_PX = (1344, 1344)
_NETWORK = ("--backbone", "mobilenetv2", "--weights", "random:0")
_HEAD = ("--head", "linear", "--seed")


@click.command()
@click.option(
    "-o", "--out", "--output", "output", type=options.any_path, required=True, help="Output folder."
)
@options.seed
def demo(output: Path, seed: int) -> None:
    """Run the whole job on slides made on the spot: no download, no GPU, about a minute.

    Makes small H&E-like slides of 20 invented patients in two classes that differ in tissue
    architecture alone, then calls the real commands on them, each shown as you would type it. The
    network has random weights: the figures show that the tool works, not what it can reach.

    Example: histokeras demo --out demo/
    """
    import json

    import pandas as pd

    from histokeras.errors import ConfigError
    from histokeras.files import prepare_folder, write_csv, write_json
    from histokeras.slides.synthetic import write_slide

    mark = output / "demo.json"
    if output.exists() and any(output.iterdir()):
        known = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else {}
        if known.get("seed") != seed:
            raise ConfigError(
                f"{output} is not empty, and not a demo of seed {seed}.",
                hint="Choose a new folder.",
            )
    slides = prepare_folder(output / "slides")
    write_json(mark, {"seed": seed})
    click.echo(f"Making {_PATIENTS} slides in {slides}", err=True)
    rows = []
    for number in range(_PATIENTS):
        kind = "ab"[number % 2]
        patient = f"patient-{number + 1:02d}"
        path = slides / f"{patient}_slide.tiff"
        if not path.exists():
            write_slide(
                path, seed=seed * 1000 + number, size_px=_SIZE_PX, kind=kind, stain_variation=0.1
            )
        rows.append({"slide_id": path.stem, "patient_id": patient, "label": f"architecture {kind}"})
    write_csv(output / "labels.csv", pd.DataFrame(rows))
    folds, run = output / "folds.csv", output / "run"
    labels = ["--labels", output / "labels.csv", "--target", "label"]
    commands: list[list[object]] = [
        ["slides", slides],
        ["extract-features", slides, "-o", output / "features", *_NETWORK],
        ["split", *labels, "-o", folds, "--cv", 5, "--seed", seed],
        ["fit-head", output / "features", *labels, "--split", folds, "-o", run, *_HEAD, seed],
        ["evaluate", run],
    ]
    for command in commands:
        _call([str(item) for item in command])
    click.echo(f"Done. Open {run / 'report.html'} in a browser.", err=True)
    click.echo(str(output))


def _call(command: list[str]) -> None:
    import shlex

    from histokeras.cli.main import main

    click.secho(f"\n$ histokeras {shlex.join(command)}", bold=True, err=True)
    code = main.main(command, prog_name="histokeras", standalone_mode=False)
    if code:
        # Nothing that follows could be right.
        raise click.exceptions.Exit(code)
