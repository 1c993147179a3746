import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

import histokeras
from histokeras.cli.main import COMMANDS, main
from histokeras.config import STUDY
from histokeras.models.catalog import TILE_HEADS
from histokeras.models.heads import HEADS

ROOT = Path(__file__).parent.parent
FREE_OF_TENSORFLOW = (
    "histokeras", "histokeras.cli.main", "histokeras.config", "histokeras.files",
    "histokeras.tables", "histokeras.runs.record", "histokeras.slides.reader",
    "histokeras.slides.synthetic", "histokeras.tiles.cut", "histokeras.tiles.run",
    "histokeras.cohort.split", "histokeras.cohort.hypoxia_file", "histokeras.cohort.gdc_download",
    "histokeras.features.store", "histokeras.features.job",
    "histokeras.features.verify", "histokeras.features.index", "histokeras.analysis.evaluate",
    "histokeras.analysis.saved", "histokeras.analysis.evaluation", "histokeras.report.page",
    "histokeras.report.comparison", "histokeras.report.heatmap_run",
    "histokeras.training.explanation", "histokeras.training.explain_tiles",
    "histokeras.models.catalog", "histokeras.models.weights", "histokeras.analysis.survival_run",
    "histokeras.training.patient_features",
)  # fmt: skip


def test_no_file_is_longer_than_400_lines() -> None:
    folders = ("histokeras", "tests", "benchmarks", "examples")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    long = {str(path): n for path in files if (n := len(path.read_text().splitlines())) > 400}

    assert files
    assert not long


def test_the_light_floors_load_no_tensorflow() -> None:
    # One process: what a module drags in stays in sys.modules.
    code = (
        "import importlib, sys\n"
        f"for name in {FREE_OF_TENSORFLOW!r}:\n"
        "    importlib.import_module(name)\n"
        "    found = {'keras', 'tensorflow'} & set(sys.modules)\n"
        "    assert not found, (name, found)\n"
        "import histokeras.cli.main as m\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_help_loads_neither_numpy_nor_pandas() -> None:
    code = (
        "import sys\n"
        "from histokeras.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print(sorted({'numpy', 'pandas', 'keras'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == "[]"
    for name in COMMANDS:
        assert name in done.stdout


def test_every_public_name_is_there() -> None:
    assert set(dir(histokeras)) >= set(histokeras.__all__)
    for name in histokeras.__all__:
        assert getattr(histokeras, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'extract'"):
        histokeras.extract  # noqa: B018


def test_the_catalog_lists_the_heads_that_are_built() -> None:
    assert tuple(HEADS) == TILE_HEADS


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda p: p.name)
def test_configs_name_real_options(path: Path) -> None:
    for name, table in tomllib.loads(path.read_text()).items():
        if name == STUDY:
            continue
        assert name in COMMANDS
        command = main.get_command(None, name)  # type: ignore[arg-type]
        # [tune.head] is of a command within a group.
        group = command.commands if isinstance(command, click.Group) else None
        for known, options in (
            [(command, table)]
            if group is None
            else [(group[part], options) for part, options in table.items()]
        ):
            names = {str(parameter.name) for parameter in known.params}
            names |= {text.lstrip("-").replace("-", "_") for p in known.params for text in p.opts}
            assert {key.replace("-", "_") for key in options} <= names


def test_every_command_has_an_example_in_its_help() -> None:
    for name in COMMANDS:
        command = main.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert "Example" in (command.help or ""), name
