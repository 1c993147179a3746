"""A process that has loaded everything and forks a player for each command; players get killed.

A real SIGKILL needs a real process, and TensorFlow takes seconds to load. It is loaded here once
and first used in the forks. Requests come on standard input, one JSON object a line, the exit codes
of the players go to standard output. Run as ``python -m tests.faults.stage``.
"""

import json
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from histokeras.cli.main import main as histokeras
from histokeras.features import extract, worker
from histokeras.features.sources import SlideSource
from histokeras.runs import supervisor
from tests.features.conftest import FakeEngine
from tests.thread_worker import launch_thread

_STEP_S = 0.002


class SlowEngine(FakeEngine):
    """Takes a moment, so that there is a middle of a batch."""

    def start(self, images: Any) -> Any:
        time.sleep(_STEP_S)
        return super().start(images)


class Killer:
    """Ends this process by SIGKILL at the N-th time (from 1) that a point is passed."""

    def __init__(self, n: int) -> None:
        self._left = n
        self._lock = threading.Lock()

    def is_due(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left == 0

    def passed(self) -> None:
        if self.is_due():
            end()


def end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _around(owner: Any, name: str, *, before: Killer | None = None,
            after: Killer | None = None) -> None:  # fmt: skip
    original = getattr(owner, name)

    def wrapped(*args: Any, **named: Any) -> Any:
        if before is not None:
            before.passed()
        result = original(*args, **named)
        if after is not None:
            after.passed()
        return result

    setattr(owner, name, wrapped)


def _mid_write(killer: Killer, suffix: str) -> None:
    original = pathlib.Path.write_bytes

    def wrapped(self: Path, data: Any) -> int:
        if self.name.endswith(suffix) and len(data) > 1 and killer.is_due():
            original(self, bytes(data)[: len(data) // 2])
            end()
        return original(self, data)

    pathlib.Path.write_bytes = wrapped  # type: ignore[method-assign]


def _fsynced(killer: Killer, suffix: str) -> None:
    original = os.fsync

    def wrapped(descriptor: int) -> None:
        original(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").readlink().name.endswith(f".part{suffix}"):
            killer.passed()

    os.fsync = wrapped


def _replaced(killer: Killer, suffix: str) -> None:
    original = pathlib.Path.replace

    def wrapped(self: Path, target: Path) -> Path:
        found = original(self, target)
        if target.name.endswith(suffix):
            killer.passed()
        return found

    pathlib.Path.replace = wrapped  # type: ignore[method-assign, assignment]


POINTS: dict[str, Callable[[Killer], None]] = {
    "before open": lambda killer: _around(SlideSource, "open", before=killer),
    "after tiling": lambda killer: _around(SlideSource, "open", after=killer),
    "mid-batch": lambda killer: _around(SlowEngine, "start", before=killer),
    "before write": lambda killer: _around(worker, "write_result", before=killer),
    "mid-write of .part": lambda killer: _mid_write(killer, ".h5"),
    "after fsync": lambda killer: _fsynced(killer, ".h5"),
    "after replace": lambda killer: _replaced(killer, ".h5"),
    "after manifest": lambda killer: _around(extract, "write_csv", after=killer),
}
"""Passed once a slide (mid-batch: once a batch)."""
MOMENTS: tuple[Callable[[Killer, str], None], ...] = (_mid_write, _fsynced, _replaced)
"""Of a file that is written once: half of it, all of it under its temporary name, in its place."""


def install(kill: list[Any] | None) -> None:
    if kill is None:
        return
    point, n = kill
    if point in POINTS:
        POINTS[point](Killer(n))
    else:
        MOMENTS[n](Killer(1), point)


def play(request: dict[str, Any]) -> None:
    supervisor.launch = launch_thread
    worker.open_engine = lambda *args, **named: SlowEngine()  # type: ignore[assignment, misc]
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    install(request.get("kill"))
    try:
        histokeras(request["arguments"], prog_name="histokeras")
    except SystemExit as exit_:
        os._exit(int(exit_.code or 0))


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        players = []
        for _ in range(request.get("copies", 1)):
            player = os.fork()
            if player == 0:
                play(request)
                os._exit(99)
            players.append(player)
        if (after_s := request.get("after_s")) is not None:
            time.sleep(after_s)
            for player in players:
                os.kill(player, signal.SIGKILL)
        codes = [os.waitstatus_to_exitcode(os.waitpid(player, 0)[1]) for player in players]
        replies.write(json.dumps(codes) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
