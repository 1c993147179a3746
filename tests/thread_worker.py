"""A worker that is a thread of the supervisor's own process: starts at once, cannot be killed."""

import os
import threading
from collections.abc import Callable
from typing import Any

from histokeras.runs.process import Line
from histokeras.runs.worker import Channel, serve


class WorkerThread(threading.Thread):
    """Stands for a worker's process: same line, same work, but nothing can kill it."""

    def wait(self, timeout: float | None = None) -> int:
        self.join(timeout)
        assert not self.is_alive(), "a worker did not leave"
        return 0

    def kill(self) -> None:
        raise AssertionError("a worker in a thread cannot be killed")


def launch_thread(slot: int, setup: Callable[[Channel], Any]) -> Line:
    to_worker, to_supervisor = os.pipe(), os.pipe()

    def work() -> None:
        incoming, outgoing = os.fdopen(to_worker[0], "rb"), os.fdopen(to_supervisor[1], "wb")
        with outgoing:
            serve(Channel(incoming, outgoing, slot), setup)

    thread = WorkerThread(target=work, daemon=True)
    thread.start()
    return Line(thread, os.fdopen(to_worker[1], "wb"), os.fdopen(to_supervisor[0], "rb"))
