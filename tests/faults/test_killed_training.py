"""T7: a fit killed at ten points and given again ends with the same bits as one left alone."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from histokeras.report.page import write_report
from histokeras.training import loop
from histokeras.training.fit_job import prepare_study
from histokeras.training.loop import FitConfig
from tests.faults.conftest import Remembered, fit, job_of
from tests.faults.faulty_files import FSYNC, REPLACE, WRITE, FaultyFiles, Killed, contents

SHORT = FitConfig(epochs=3, batch_size=8)
HEAD = "checkpoints/head.safetensors"


def results(run: Path) -> dict[str, bytes]:
    """Every file of a run but those that tell the time."""
    return {name: data for name, data in contents(run).items() if "run.json" not in name}


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch, figures_once: Remembered) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SHARE", 1.0)


@pytest.fixture(scope="module")
def whole(studies: Any, figures_once: Remembered, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    fit(*studies["a"], run)
    assert not (run / "checkpoints").exists()
    assert len(pd.read_csv(run / "history.csv")) == 5
    return run


@pytest.fixture(scope="module")
def trained(studies: Any, whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run killed right after its training had ended: its last checkpoint stands, and no head."""
    folder = tmp_path_factory.mktemp("trained")
    with FaultyFiles(folder) as counted:
        fit(*studies["a"], folder / "count")
    with FaultyFiles(folder, at=counted.named(WRITE, "history.csv")[0]), pytest.raises(Killed):
        fit(*studies["a"], folder / "run")
    assert (folder / "run" / HEAD).is_file()
    return folder / "run"


def resumed(studies: Any, run: Path) -> list[str]:
    said: list[str] = []
    fit(*studies["a"], run, say=said.append)
    assert not (run / "checkpoints").exists()
    assert json.loads((run / "run.json").read_text())["status"] == "done"
    return said


def in_the_middle_of_epoch_3(
    faulty: FaultyFiles, batches: list[int], patch: pytest.MonkeyPatch
) -> None:
    def on_train_batch_end(self: Any, batch: int, logs: Any = None) -> None:
        batches.append(batch)
        if batches.count(0) == 3:
            faulty.kill()

    patch.setattr(loop._Keeper, "on_train_batch_end", on_train_batch_end)


@pytest.mark.parametrize(
    ("kind", "number", "epoch"),
    [
        ("in an epoch", 0, 2),
        (WRITE, 0, 0),  # the first checkpoint, half written: nothing to go on from
        (WRITE, 3, 3),  # a later one: the one before it stands
        (REPLACE, 2, 2),  # written, not yet under its name
        (FSYNC, 5, 3),  # under its name, its folder not yet on the disk
    ],
)
def test_killed_while_training(
    kind: str, number: int, epoch: int, studies: Any, whole: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    faulty = FaultyFiles(tmp_path)
    with monkeypatch.context() as patch:
        if kind == "in an epoch":
            in_the_middle_of_epoch_3(faulty, [], patch)
        else:
            faulty.at_nth(kind, ("head.safetensors", "checkpoints"), number)
        with faulty, pytest.raises(Killed):
            fit(*studies["a"], tmp_path / "run")

    said = resumed(studies, tmp_path / "run")

    assert [f"after epoch {epoch}," in line for line in said] == ([True] if epoch else [])
    assert results(tmp_path / "run") == results(whole)


@pytest.mark.parametrize(
    "name",
    ["history.csv", "model.json", "weights.safetensors", "predictions/P03_0.csv", "metrics.json"],
)
def test_killed_while_writing_what_was_learned(
    name: str, studies: Any, whole: Path, trained: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copytree(trained, tmp_path / "run")
    faulty = FaultyFiles(tmp_path)
    faulty.at_nth(WRITE, (name,), 0)
    with faulty, pytest.raises(Killed):
        fit(*studies["a"], tmp_path / "run")
    monkeypatch.setattr(loop.keras.Model, "fit", _never)

    said = resumed(studies, tmp_path / "run")

    assert "after epoch 5," in said[0]
    assert results(tmp_path / "run") == results(whole)


def test_killed_at_the_last_record_and_the_page(
    studies: Any, whole: Path, trained: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    faulty = FaultyFiles(tmp_path)
    faulty.at_nth(WRITE, ("run.json",), 1)
    with faulty, pytest.raises(Killed):
        fit(*studies["a"], run)
    assert resumed(studies, run)
    page = FaultyFiles(tmp_path)
    page.at_nth(WRITE, ("report.html",), 0)
    with page, pytest.raises(Killed):
        write_report(run)
    assert not (run / "report.html").exists()
    # The command that draws the page too finds the run done, and the page missing.
    fit(*studies["a"], run)

    write_report(run)

    assert {n: d for n, d in results(run).items() if not n.startswith("report")} == results(whole)


def test_killed_between_folds_and_a_finished_fold_is_not_fitted_again(
    cohort: Path, figures_once: Remembered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures_once, "name", "folds")
    job = job_of(cohort, folds=3, head=dataclasses.replace(job_of(cohort).head, fit=SHORT))
    study = prepare_study(job)
    fit(job, study, tmp_path / "whole")
    faulty = FaultyFiles(tmp_path)
    # Fold 0 is done, fold 1 in its second epoch.
    faulty.at_nth(WRITE, ("fold-1.safetensors",), 1)
    with faulty, pytest.raises(Killed):
        fit(job, study, tmp_path / "run")
    fitted: list[int] = []
    real = loop.keras.Model.fit

    def counted(model: Any, *args: Any, **options: Any) -> Any:
        fitted.append(options["initial_epoch"])
        return real(model, *args, **options)

    monkeypatch.setattr(loop.keras.Model, "fit", counted)

    fit(job, study, tmp_path / "run")

    assert fitted == [1, 0]
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def _never(*args: Any, **options: Any) -> None:
    pytest.fail("what was trained is trained again")


CHILD = """
import os, pathlib, signal, sys
from tests.faults.conftest import fit, job_of
from histokeras.training import loop
from histokeras.training.fit_job import prepare_study

loop._CHECKPOINT_SHARE = 1.0
real, seen = pathlib.Path.replace, []

def replace(path, target):
    seen.extend(["checkpoint"] * target.match("checkpoints/*"))
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(path, target)

pathlib.Path.replace = replace
job = job_of(pathlib.Path(sys.argv[1]))
fit(job, prepare_study(job), pathlib.Path(sys.argv[2]))
"""


def test_a_process_that_was_really_killed(
    studies: Any, cohort: Path, whole: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", CHILD, str(cohort), str(tmp_path / "run")]
    done = subprocess.run(command, check=False, capture_output=True, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list((tmp_path / "run" / "checkpoints").glob(".*.part*"))

    said = resumed(studies, tmp_path / "run")

    assert "after epoch 2," in said[0]
    assert results(tmp_path / "run") == results(whole)
