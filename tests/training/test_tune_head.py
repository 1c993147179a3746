"""`tune head` as a user calls it, on made features."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from histokeras.cli.main import main
from histokeras.features.store import read_features
from histokeras.runs.lease import Leases
from histokeras.training import vectors
from tests.training.conftest import write_cohort


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(item) for item in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Classes that lie close together, so that trials differ.
    return write_cohort(tmp_path_factory.mktemp("tune"), 40, shift=0.8)


@pytest.fixture(scope="module")
def command(made: Path) -> tuple[object, ...]:
    return (
        "tune", "head", made / "features", "--labels", made / "labels.csv", "--slide-table",
        made / "slides.csv", "--epochs", 6, "--bootstrap", 100, "--heads", "linear,mlp,mil",
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(command: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "tuned"
    result = call(*command, "-o", out, "--trials", 4)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out / "best")
    assert "patient AUC of val: default" in result.stderr
    assert "the test figure is what counts" in result.stderr
    return out


def test_the_best_run_is_an_ordinary_run_and_its_val_figure_is_the_trials(run: Path) -> None:
    summary = json.loads((run / "tuning.json").read_text())
    metrics = json.loads((run / "best" / "metrics.json").read_text())
    record = json.loads((run / "best" / "run.json").read_text())
    trials = pd.read_csv(run / "trials.csv", keep_default_na=False)

    value = metrics["splits"]["val"]["patient"]["aggregations"]["mean_probability"]["auc"]["value"]
    assert summary["best"]["value"] == pytest.approx(value, abs=1e-6)
    assert summary["best"]["value"] >= summary["default"]["value"]
    assert trials["number"].tolist() == [0, 1, 2, 3]
    assert trials.loc[0, ["head", "learning-rate", "batch-size", "class-weight"]].tolist() == [
        "linear", 0.001, "64", "balanced",
    ]  # fmt: skip
    assert record["command"] == "fit-head"
    assert record["tuning"]["trial"] == summary["best"]["number"]
    assert json.loads((run / "run.json").read_text())["test_seen"] is True
    assert "4 trials" in (run / "best" / "report.html").read_text(encoding="utf-8")
    assert "default" in (run / "tuning.html").read_text(encoding="utf-8")


def test_the_best_options_serve_fit_head(run: Path, made: Path, tmp_path: Path) -> None:
    options = tomllib.loads((run / "best.toml").read_text())["fit-head"]
    result = call(
        "fit-head", made / "features", "--labels", made / "labels.csv", "--slide-table",
        made / "slides.csv", "-o", tmp_path / "run", "--bootstrap", 100, "--config",
        run / "best.toml",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == json.loads(
        (run / "best" / "metrics.json").read_text()
    )
    assert options["epochs"] == 6


def test_the_same_command_does_nothing_and_what_differs_is_named(
    run: Path, command: tuple[object, ...]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (run / "best").rglob("*") if path.is_file()}
    again = call(*command, "-o", run, "--trials", 4)
    more = call(*command, "-o", run, "--trials", 5)
    other = call(*command, "-o", run, "--trials", 4, "--fix", "learning-rate=1e-3", "--seed", 1)

    assert again.exit_code == 0, again.output
    assert "nothing to do" in again.stderr
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert more.exit_code == 2
    assert "ended after 4 trials, and the test figures of its best came out" in more.stderr
    assert other.exit_code == 3
    assert "holds another search" in other.stderr or "holds another run" in other.stderr
    assert "seed" in other.stderr
    assert "space (learning-rate" in other.stderr


def test_a_search_sees_no_test_patient_and_goes_on(
    command: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every file that a search opens, its patient is looked up in the split."""
    opened: set[str] = set()

    def noted(function: Callable[..., object]) -> Callable[..., object]:
        def call_it(parts: object, *rest: object, **named: object) -> object:
            opened.update(part.path.stem[:3] for part in parts)  # type: ignore[attr-defined]
            return function(parts, *rest, **named)

        return call_it

    monkeypatch.setattr("histokeras.training.bags.open_vectors", noted(vectors.open_vectors))
    lone = ("--fix", "head=linear", "--heads", "linear", "--set", "batch-size=16,32")
    first = call(*command, "-o", tmp_path, "--trials", 1, "--search-only", *lone, "--cv", 3)
    seen = set(opened)
    second = call(*command, "-o", tmp_path, "--trials", 2, "--json", *lone, "--cv", 3)

    assert first.exit_code == 0, first.output
    assert first.stdout.strip() == str(tmp_path)
    assert second.exit_code == 0, second.output
    summary = json.loads(second.stdout)
    split = pd.read_csv(tmp_path / "best" / "split.csv", comment="#").set_index("patient_id")
    assert seen == set(split.index[split["split"] != "test"])
    assert opened == set(split.index)
    assert summary["figure"] == "mean patient AUC of 3 folds"
    assert summary["n_trials"] == 2
    assert summary["metrics"]["splits"]["test"]["patient"]["n"] > 0
    assert summary["space"]["batch-size"]["values"] == [16, 32]


def test_slips_of_the_user_are_said(command: tuple[object, ...], tmp_path: Path) -> None:
    with Leases(tmp_path) as leases:
        leases.claim("tune")
        held = call(*command, "-o", tmp_path, "--trials", 1)
    rate = call(*command, "-o", tmp_path, "--set", "rate=1e-4..1e-2")
    heads = call(*command, "-o", tmp_path, "--heads", "linear,forest")
    (tmp_path / "c.toml").write_text("[tune.head]\ntrials = 0\n")
    config = call(*command, "-o", tmp_path, "--config", tmp_path / "c.toml")
    (tmp_path / "d.toml").write_text("[tune.head]\ntrails = 3\n")
    key = call(*command, "-o", tmp_path, "--config", tmp_path / "d.toml")
    (tmp_path / "e.toml").write_text("[tune.hed]\ntrials = 3\n")
    table = call(*command, "-o", tmp_path, "--config", tmp_path / "e.toml")

    assert held.exit_code == 2
    assert "another process is at work" in held.stderr
    assert rate.exit_code == 2
    assert "takes NAME=" in rate.stderr
    assert heads.exit_code == 2
    assert "`--heads` are some of linear,mlp,write-up,mil" in heads.stderr
    assert config.exit_code == 2
    assert "`trials` in [tune.head]" in config.stderr
    assert key.exit_code == 2
    assert "unknown key 'trails' in [tune.head]. Did you mean 'trials'?" in key.stderr
    assert table.exit_code == 2
    assert "Did you mean 'head'?" in table.stderr


def test_a_number_is_judged_by_r2(made: Path, tmp_path: Path) -> None:
    labels = pd.read_csv(made / "labels.csv")
    means = {}
    for path in sorted((made / "features").iterdir()):
        means.setdefault(path.stem[:3], float(read_features(path).vectors[:, 0].mean()))
    labels.assign(score=labels["patient_id"].map(means)).to_csv(tmp_path / "n.csv", index=False)
    result = call(
        "tune", "head", made / "features", "--labels", tmp_path / "n.csv", "--target", "score",
        "--task", "regression", "--slide-table", made / "slides.csv", "-o", tmp_path / "out",
        "--trials", 2, "--epochs", 4, "--bootstrap", 100, "--heads", "linear",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "out" / "tuning.json").read_text())
    metrics = json.loads((tmp_path / "out" / "best" / "metrics.json").read_text())
    found = metrics["splits"]["val"]["patient"]["aggregations"]["mean_prediction"]["r2"]["value"]
    assert summary["figure"] == "patient R2 of val"
    assert summary["best"]["value"] == pytest.approx(found, abs=1e-6)
    assert "class-weight" not in summary["space"]
