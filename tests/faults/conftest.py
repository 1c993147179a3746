import datetime as dt
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from histokeras.runs import record
from histokeras.training import fit_study, pictures, predict_job, results
from histokeras.training.fit_job import FitJob, Study, prepare_study
from histokeras.training.fit_run import run_fit
from histokeras.training.head import HeadConfig
from histokeras.training.loop import FitConfig
from tests.training.conftest import write_cohort

COMPUTED = {
    fit_study: ("fit_fold_head", "fit_fold_baselines", "_predict", "figures", "curves_of_levels",
                "find_duplicates"),
    results: ("_geometry",),
    results.Predicted: ("collect",),
    pictures: ("_pictured", "_chosen"),
    predict_job: ("predict_index",),
}  # fmt: skip
"""What costs time in a fit or a prediction, and writes nothing but checkpoints."""

FIGURES = ("figures", "curves_of_levels", "find_duplicates", "collect", "_chosen", "_pictured")


def job_of(folder: Path, **changes: object) -> FitJob:
    head = HeadConfig(head="mlp", fit=FitConfig(epochs=5, batch_size=8, learning_rate=0.02))
    known = {"features": folder, "labels": folder / "labels.csv", "shares": (40, 30, 30),
             "slide_table": folder / "slides.csv", "head": head, "n_resamples": 20}  # fmt: skip
    return FitJob(**{**known, **changes})


def fit(job: FitJob, study: Study, out: Path, **options: Any) -> None:
    run_fit(job, study, out, config={"seed": 0}, **options)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six patients of one slide each: few files, and every kind of file."""
    folder = write_cohort(tmp_path_factory.mktemp("faults") / "cohort", 6, shift=1.5)
    for path in (folder / "features").glob("*_1.h5"):
        path.unlink()
    slides = pd.read_csv(folder / "slides.csv")
    slides[slides["slide_id"].str.endswith("_0")].to_csv(folder / "slides.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def studies(cohort: Path) -> dict[str, tuple[FitJob, Study]]:
    """Two fits of the same features: other splits, other positive class, hence other files."""
    jobs = {"a": job_of(cohort), "b": job_of(cohort, positive="neg", shares=(34, 33, 33))}
    return {name: (job, prepare_study(job)) for name, job in jobs.items()}


class Remembered:
    """What was computed, by the name of the fit: what is tried here a hundred times is writing."""

    def __init__(self) -> None:
        self.name = ""
        self._known: dict[tuple[str, ...], Any] = {}

    def once(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def answer(*args: Any, **options: Any) -> Any:
            paths = [str(item) for item in args if isinstance(item, Path)]
            key = self.name, function.__name__, *paths
            if key not in self._known:
                self._known[key] = function(*args, **options)
            return self._known[key]

        return answer


@pytest.fixture(scope="session")
def known() -> Remembered:
    return Remembered()


@pytest.fixture(scope="module")
def figures_once() -> Iterator[Remembered]:
    """Compute once what only follows from predictions that are compared themselves."""
    patch, known = pytest.MonkeyPatch(), Remembered()
    for module, names in COMPUTED.items():
        for name in names:
            if name in FIGURES:
                patch.setattr(module, name, known.once(getattr(module, name)))
    yield known
    patch.undo()


@pytest.fixture(scope="module")
def remembered(known: Remembered) -> Iterator[Remembered]:
    patch = pytest.MonkeyPatch()
    for module, names in COMPUTED.items():
        for name in names:
            patch.setattr(module, name, known.once(getattr(module, name)))
    # They cost time, or differ from run to run.
    for name in ("hardware", "versions"):
        patch.setattr(record, name, dict)
    still = SimpleNamespace(now=lambda zone: dt.datetime(2000, 1, 1, tzinfo=zone))
    patch.setattr(record, "dt", SimpleNamespace(UTC=dt.UTC, datetime=still))
    yield known
    patch.undo()
