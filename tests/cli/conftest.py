from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from histokeras.cli.main import main
from histokeras.slides.synthetic import write_slide


@pytest.fixture(scope="session")
def histokeras() -> Callable[..., Result]:
    """Call the command line in this process."""

    def call(*arguments: object, env: dict[str, str] | None = None) -> Result:
        return CliRunner(env=env).invoke(main, [str(item) for item in arguments])

    return call


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a lab comes with: a folder of slides and a table of labels."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "slides").mkdir()
    rows = []
    for number in range(10):
        path = folder / "slides" / f"case{number:02d}-A.tiff"
        write_slide(path, seed=number, size_px=(448, 448), kind="ab"[number % 2], downsamples=(2,))
        rows.append({"Case_ID": f"case{number:02d}", "slide": path.name, "Label": number % 2})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False, sep=";")
    return folder


SMALL = ("--backbone", "mobilenetv2", "--weights", "random:0", "--tile-px", "96")


@pytest.fixture(scope="session")
def feats(lab: Path, histokeras: Callable[..., Result]) -> Path:
    """Features of the lab's slides."""
    out = lab / "feats"
    result = histokeras("extract-features", lab / "slides", "-o", out, *SMALL)
    assert result.exit_code == 0, result.output
    return out
