"""A command dies between any two of its writes: nobody reads a mix, and the same command mends it.

Each flow here replaces the output of another one, which is where a mix could come about.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from histokeras.analysis.evaluation import evaluate_saved, write_evaluation
from histokeras.analysis.saved import open_saved
from histokeras.analysis.units import EvaluationConfig
from histokeras.cohort.split_file import read_split, split_text, write_split
from histokeras.errors import HistokerasError
from histokeras.files import copy_folder, sha256_text
from histokeras.report.html import data_folder, write_page
from histokeras.report.more_plots import scores_plot
from histokeras.report.run_files import read_run
from histokeras.training.predict_job import write_predicted
from histokeras.training.trained_run import open_run
from tests.faults.conftest import Remembered, fit
from tests.faults.faulty_files import OPEN, REMOVALS, WRITE, FaultyFiles, Killed, contents

Write = Callable[[Path], Any]
Read = Callable[[Path], str]
REFUSALS = {"RUN_UNFINISHED", "MODEL_MISSING", "PREDICTIONS_MISSING", "RUN_MISSING", "FILE_MISSING"}


def kill_everywhere(old: Path, write: Write, readers: Mapping[str, Read], tmp_path: Path) -> int:
    """Kill a flow at each of its writes and removals; return at how many.

    Args:
        old: What stands there before.
        write: Replaces it.
        readers: What other commands read of it, as text; all see the old, all the new, or refuse.
    """
    first = tmp_path / "first"
    shutil.copytree(old, first)
    before = {name: read(first) for name, read in readers.items()}
    with FaultyFiles(tmp_path) as whole:
        write(first)
    expected = contents(first)
    after = {name: read(first) for name, read in readers.items()}
    assert all(before[name] != after[name] for name in readers)
    points = whole.ends(REMOVALS | {WRITE, OPEN})
    for number, at in enumerate(points):
        folder = tmp_path / str(at)
        shutil.copytree(old, folder)
        with FaultyFiles(tmp_path, at=at), pytest.raises(Killed):
            write(folder)
        where = (at, whole.steps[at])
        seen = {name: _seen(read, folder) for name, read in readers.items()}
        told = {name: text for name, text in seen.items() if text is not None}
        assert all(text in (before[name], after[name]) for name, text in told.items()), where
        assert len({text == after[name] for name, text in told.items()}) <= 1, where
        if number % 4 == 0:
            write(folder)
            assert contents(folder) == expected, where
        shutil.rmtree(folder)
    return len(points)


def _seen(read: Read, folder: Path) -> str | None:
    try:
        return read(folder)
    except HistokerasError as error:
        if error.code in REFUSALS and error.hint:
            return None
        raise


def saved_text(folder: Path) -> str:
    saved = open_saved(folder)
    tables = pd.concat(list(saved.tables()), ignore_index=True)
    return sha256_text(f"{tables.to_csv()} {saved.positive} {saved.classes}")


def page_text(folder: Path) -> str:
    run = read_run(folder)
    return sha256_text(f"{run.metrics} {run.curves} {[t.to_csv() for t in run.tables.values()]}")


def run_text(folder: Path) -> str:
    run = open_run(folder)
    return sha256_text(f"{run.card} {run.digests} {read_split(folder / 'split.csv').digest}")


@pytest.fixture(scope="module")
def runs(
    studies: Any, remembered: Remembered, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for name in "ab":
        remembered.name = name
        fit(*studies[name], folder / name)
    return {name: folder / name for name in "ab"}


def test_a_fit_over_another(
    studies: Any, remembered: Remembered, runs: dict[str, Path], tmp_path: Path
) -> None:
    def write(folder: Path) -> None:
        remembered.name = "b"
        fit(*studies["b"], folder, overwrite=True)

    readers = {"evaluate": saved_text, "report": page_text, "predict": run_text}
    assert kill_everywhere(runs["a"], write, readers, tmp_path) > 20


def test_a_prediction_over_another(
    cohort: Path, remembered: Remembered, runs: dict[str, Path], tmp_path: Path
) -> None:
    def write(folder: Path, name: str = "b") -> None:
        remembered.name = name
        write_predicted(
            open_run(runs[name]), cohort, folder, slide_patients={}, memory_gb=1, config={},
            run_folder=runs[name],
        )  # fmt: skip

    write(tmp_path / "old", "a")
    (tmp_path / "try").mkdir()

    assert kill_everywhere(tmp_path / "old", write, {"evaluate": saved_text}, tmp_path / "try") > 12


def test_an_evaluation_over_another(runs: dict[str, Path], tmp_path: Path) -> None:
    config = EvaluationConfig(n_resamples=20, splits=("test",))
    found = {
        name: evaluate_saved(open_saved(run), None, None, config=config)
        for name, run in runs.items()
    }
    write_evaluation(tmp_path / "old", found["a"], config={})
    (tmp_path / "try").mkdir()

    def write(folder: Path) -> None:
        write_evaluation(folder, found["b"], config={})

    assert kill_everywhere(tmp_path / "old", write, {"report": page_text}, tmp_path / "try") > 10


def test_a_page_over_another(runs: dict[str, Path], tmp_path: Path) -> None:
    plots = {name: scores_plot(read_run(run)) for name, run in runs.items()}

    def write(folder: Path, name: str = "b") -> None:
        plot = plots[name]
        assert plot is not None
        write_page(folder / "report.html", f"<html>{name}", [plot])

    def read(folder: Path) -> str:
        page = folder / "report.html"
        # Whoever looks at data opens the page they belong to.
        data = [p.read_text() for p in sorted(data_folder(page).iterdir())] if page.exists() else []
        return str([page.read_text(), data]) if page.exists() else _missing()

    write(tmp_path / "old", "a")
    (tmp_path / "try").mkdir()

    assert kill_everywhere(tmp_path / "old", write, {"reader": read}, tmp_path / "try") > 4


def _missing() -> str:
    raise HistokerasError("no page.", code="FILE_MISSING", hint="Write it.")


def test_a_split_over_another(studies: Any, tmp_path: Path) -> None:
    splits = {name: study.split for name, (_, study) in studies.items()}
    (tmp_path / "old").mkdir()
    write_split(tmp_path / "old" / "split.csv", splits["a"])

    def write(folder: Path) -> None:
        write_split(folder / "split.csv", splits["b"], overwrite=True)

    def read(folder: Path) -> str:
        return split_text(read_split(folder / "split.csv"))

    (tmp_path / "try").mkdir()
    assert kill_everywhere(tmp_path / "old", write, {"fit-head": read}, tmp_path / "try") == 1


def test_a_saved_copy_that_was_cut_off_is_no_run(runs: dict[str, Path], tmp_path: Path) -> None:
    with FaultyFiles(tmp_path) as whole:
        copy_folder(runs["a"], tmp_path / "whole", last="metrics.json")
    points = [i for i, (kind, _) in enumerate(whole.steps) if kind == WRITE]

    for at in points[:: len(points) // 8]:
        with FaultyFiles(tmp_path, at=at), pytest.raises(Killed):
            copy_folder(runs["a"], tmp_path / str(at), last="metrics.json")
        assert _seen(run_text, tmp_path / str(at)) is None
        assert _seen(page_text, tmp_path / str(at)) is None
