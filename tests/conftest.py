import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from histokeras.runs import supervisor
from histokeras.runs.process import launch
from tests.thread_worker import launch_thread

# One setting for every test process: quiet TensorFlow, no GPU probing messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides, tiles and weights; skips where there is none."""
    folder = os.environ.get("HISTOKERAS_REAL_DATA", "")
    if folder and Path(folder).is_dir():
        return Path(folder)
    reason = "HISTOKERAS_REAL_DATA names no folder with real slides, tiles and weights"
    if os.environ.get("HISTOKERAS_REAL_DATA_REQUIRED"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def workers_are_threads() -> Iterator[None]:
    """Start no process for each of a thousand tests, nor for the fixtures of a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "launch", launch_thread)
        yield


@pytest.fixture(autouse=True)
def real_workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the mark of this name workers are processes, as in use."""
    if "real_workers" in request.keywords:
        monkeypatch.setattr(supervisor, "launch", launch)
        # Workers import what does the tasks; a stranger's `tests` may be installed.
        monkeypatch.syspath_prepend(str(ROOT))
