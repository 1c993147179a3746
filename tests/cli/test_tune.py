import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from histokeras.cli.run import _commands
from histokeras.errors import ConfigError
from histokeras.study.config import read_study

Call = Callable[..., Result]


def test_fine_tuning_is_searched_and_the_best_is_an_ordinary_run(
    lab: Path, histokeras: Call, tmp_path: Path
) -> None:
    command = (
        "tune", "finetune", lab / "slides", "--labels", lab / "labels.csv", "-o", tmp_path / "out",
        "--backbone", "mini", "--tile-px", 64, "--epochs", 1, "--shares", "60/20/20",
        "--bootstrap", 100, "--tiles-per-patient", 4, "--trials", 2, "--set", "augment=none,flips",
        "--fix", "head=linear",
    )  # fmt: skip
    found = histokeras(*command)
    again = histokeras(*command, "--json")

    assert found.exit_code == 0, found.output
    assert found.stdout.strip() == str(tmp_path / "out/best")
    trials = pd.read_csv(tmp_path / "out/trials.csv")
    # `none`, for the default of finetune is not among what is searched.
    assert trials.loc[0, ["unfreeze", "augment", "batch-size"]].tolist() == ["top", "none", 32]
    record = json.loads((tmp_path / "out/best/run.json").read_text())
    summary = json.loads(again.stdout)
    best = summary["best"]
    assert record["command"] == "finetune"
    assert record["tuning"]["trial"] == best["number"]
    assert record["finetune"]["unfreeze"] == best["params"]["unfreeze"]
    metrics = json.loads((tmp_path / "out/best/metrics.json").read_text())
    val = metrics["splits"]["val"]["patient"]["aggregations"]["mean_probability"]["auc"]["value"]
    assert best["value"] == pytest.approx(val, abs=1e-3)
    assert summary["metrics"] == metrics


def test_without_optuna_the_extra_is_named(
    histokeras: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("histokeras.training.tune")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)

    result = histokeras("tune", "head", tmp_path, "-o", tmp_path / "out")

    assert result.exit_code == 5
    assert 'pip install "histokeras[tune]"' in result.stderr


def test_a_stage_and_the_environment_may_name_a_command_of_a_group(
    histokeras: Call, tmp_path: Path
) -> None:
    path = tmp_path / "study.toml"
    text = """
[study]
[[study.stages]]
command = "tune head"
arguments = ["features"]
name = "search"
options = { output = "{out}/tuned", trials = 3 }
[tune.head]
epochs = 7
"""
    path.write_text(text)
    config = read_study(path, _commands())
    assert config.stages[0].command == "tune head"
    assert config.defaults == {"tune head": {"epochs": 7}}
    dry = histokeras("run", path, "-o", tmp_path / "out", "--dry-run")
    assert (
        dry.stdout
        == f"search: histokeras tune head features --output {tmp_path}/out/tuned --trials 3\n"
    )
    path.write_text(text.replace("tune.head", "tune.hed"))
    with pytest.raises(ConfigError, match="Did you mean 'head'"):
        read_study(path, _commands())
    path.write_text(text.replace("epochs", "epoch"))
    slip = histokeras("run", path, "-o", tmp_path / "out", "--dry-run")
    assert "unknown key 'epoch' in [tune.head]" in slip.stderr

    wrong = histokeras("doctor", env={"HISTOKERAS_TUNE_HEAD_TRAILS": "3"})
    right = histokeras(
        "tune", "head", tmp_path, "-o", tmp_path / "o", env={"HISTOKERAS_TUNE_HEAD_TRIALS": "x"}
    )
    assert "Did you mean 'HISTOKERAS_TUNE_HEAD_TRIALS'?" in wrong.stderr
    assert "'x' is not a valid integer" in right.stderr
