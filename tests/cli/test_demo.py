import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result


def test_the_demo_runs_the_real_commands_on_painted_slides(
    histokeras: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("histokeras.cli.demo._QUICK_PX", 520)
    out = tmp_path / "my demo"

    result = histokeras("demo", "--out", out, "--quick", "--patients", 10)

    assert result.exit_code == 0, result.output
    for command in ("slides", "extract-features", "split", "fit-head"):
        assert f"$ histokeras {command}" in result.stderr
    metrics = json.loads((out / "run" / "metrics.json").read_text())
    level = metrics["splits"]["test"]["patient"]
    assert level["n"] == 10
    assert metrics["positive"] == "poorly cohesive"
    assert set(level["baselines"]) >= {"majority", "colour", "floor", "site"}
    html = (out / "run" / "report.html").read_text(encoding="utf-8")
    assert html.count('src="data:image/jpeg;base64,') > 10
    truth = sorted((out / "truth").iterdir())
    assert len(truth) == len(list((out / "slides").iterdir())) == 10
    other = histokeras("demo", "--out", out, "--quick", "--patients", 10, "--seed", 1)
    assert other.exit_code == 2
    assert "not a demo of these options (seed 1, 10 patients of at most 1 slide(s) of 520 px)" in (
        other.stderr
    )
    assert "at most 2 slide(s)" in histokeras("demo", "--out", out, "--patients", 10).stderr


def test_the_demo_leaves_other_folders_alone(
    histokeras: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "labels.csv").write_text("mine")

    result = histokeras("demo", "--out", tmp_path)

    assert result.exit_code == 2
    assert (tmp_path / "labels.csv").read_text() == "mine"
