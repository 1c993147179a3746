"""``histokeras demo``."""

from pathlib import Path

import click

from histokeras.cli import options

_PATIENTS = 20
_SIZE_PX = (1344, 1344)


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
    import pandas as pd

    from histokeras.files import prepare_folder, write_csv
    from histokeras.slides.synthetic import write_slide

    slides = prepare_folder(output / "slides")
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
    out = str(output)
    commands = [
        f"slides {out}/slides",
        f"extract-features {out}/slides -o {out}/features --backbone mobilenetv2 "
        "--weights random:0",
        f"split --labels {out}/labels.csv --target label -o {out}/folds.csv --cv 5 --seed {seed}",
        f"fit-head {out}/features --labels {out}/labels.csv --target label --split {out}/folds.csv "
        f"-o {out}/run --head linear --seed {seed}",
        f"evaluate {out}/run",
    ]
    for command in commands:
        _call(command)
    click.echo(f"Done. Look at {out}/run/patients.csv and {out}/run/metrics.json.", err=True)
    click.echo(out)


def _call(command: str) -> None:
    import shlex

    from histokeras.cli.main import main

    click.secho(f"\n$ histokeras {command}", bold=True, err=True)
    main.main(shlex.split(command), prog_name="histokeras", standalone_mode=False)
