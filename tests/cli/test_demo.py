import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result


def test_the_demo_runs_the_real_commands_and_finds_the_planted_difference(
    histokeras: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("histokeras.cli.demo._PATIENTS", 10)

    result = histokeras("demo", "--out", tmp_path / "my demo")

    assert result.exit_code == 0, result.output
    for command in ("slides", "extract-features", "split", "fit-head", "evaluate"):
        assert f"$ histokeras {command}" in result.stderr
    metrics = json.loads((tmp_path / "my demo/run/metrics.json").read_text())
    level = metrics["splits"]["test"]["patient"]
    assert level["n"] == 10
    assert level["aggregations"]["mean_probability"]["auc"]["value"] >= 0.8
    assert len(pd.read_csv(tmp_path / "my demo/run/patients.csv")) == 10
    other = histokeras("demo", "--out", tmp_path / "my demo", "--seed", 1)
    assert other.exit_code == 2
    assert "not a demo of seed 1" in other.stderr


def test_the_demo_leaves_other_folders_alone(
    histokeras: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "labels.csv").write_text("mine")

    result = histokeras("demo", "--out", tmp_path)

    assert result.exit_code == 2
    assert (tmp_path / "labels.csv").read_text() == "mine"
