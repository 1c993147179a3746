from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from histokeras.cli.main import COMMANDS, main
from histokeras.cohort.examples import EXAMPLES
from histokeras.cohort.split import read_split
from histokeras.config import read_config
from histokeras.slides.inventory import read_slide_table


def test_init_writes_examples_that_split_by_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    made = CliRunner().invoke(main, ["init", "study"])
    monkeypatch.chdir(tmp_path / "study")
    split = CliRunner().invoke(main, ["split", "--config", "histokeras.toml"])

    assert made.stdout.splitlines() == [f"study/{name}" for name in EXAMPLES]
    assert split.exit_code == 0, split.output
    assert read_split(Path("split.csv")).stratify == ("site",)


def test_init_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "slides.csv").write_text("mine")

    result = CliRunner().invoke(main, ["init", str(tmp_path)])

    assert result.exit_code == 0
    assert "slides.csv: it exists" in result.stderr
    assert "slides.csv" not in result.stdout
    assert (tmp_path / "slides.csv").read_text() == "mine"


def test_every_key_of_the_example_config_is_an_option(tmp_path: Path) -> None:
    CliRunner().invoke(main, ["init", str(tmp_path)])

    for name, table in read_config(tmp_path / "histokeras.toml", COMMANDS).items():
        command = main.get_command(click.Context(main), name)
        options = {
            option.lstrip("-").replace("-", "_") for item in command.params for option in item.opts
        }
        assert set(table) <= options, name


def test_the_example_slide_table_reads(tmp_path: Path) -> None:
    CliRunner().invoke(main, ["init", str(tmp_path)])

    rows = read_slide_table(tmp_path / "slides.csv")

    assert rows["slide-07a"].mpp == 0.25
    assert rows["slide-01a"].mpp is None
    assert rows["slide-05b"].patient_id == "patient-05"
