import os
from pathlib import Path

import pytest

from histokeras.runs import supervisor
from tests.thread_worker import launch_thread

# One setting for every test process: quiet TensorFlow, no GPU probing messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "Agg")


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


@pytest.fixture(autouse=True)
def workers_are_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start no process for each of a thousand tests; `tests/faults` has real ones."""
    if "real_workers" not in request.keywords:
        monkeypatch.setattr(supervisor, "launch", launch_thread)
