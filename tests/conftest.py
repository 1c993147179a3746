import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from histokeras.runs import supervisor
from histokeras.runs.worker import Channel, serve

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


class _Thread(threading.Thread):
    """Stands for a worker's process: same line, same work, but nothing can kill it."""

    def wait(self, timeout: float | None = None) -> int:
        self.join(timeout)
        assert not self.is_alive(), "a worker did not leave"
        return 0

    def kill(self) -> None:
        raise AssertionError("a worker in a thread cannot be killed")


def _launch_thread(slot: int, setup: Callable[[Channel], Any]) -> supervisor.Line:
    to_worker, to_supervisor = os.pipe(), os.pipe()

    def work() -> None:
        incoming, outgoing = os.fdopen(to_worker[0], "rb"), os.fdopen(to_supervisor[1], "wb")
        with outgoing:
            serve(Channel(incoming, outgoing, slot), setup)

    thread = _Thread(target=work, daemon=True)
    thread.start()
    return supervisor.Line(thread, os.fdopen(to_worker[1], "wb"), os.fdopen(to_supervisor[0], "rb"))


@pytest.fixture(autouse=True)
def workers_are_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start no process for each of a thousand tests; `tests/faults` has real ones."""
    if "real_workers" not in request.keywords:
        monkeypatch.setattr(supervisor, "launch", _launch_thread)
