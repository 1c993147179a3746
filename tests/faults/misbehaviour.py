"""Tasks for workers that do what slides may do to them. Imported by worker processes."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from histokeras.errors import OutputError
from histokeras.features.sources import SlideSource


def misbehave(task: str, beat: Callable[[int], None]) -> str:
    if task.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if task.startswith("segfault"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if task.startswith("hang"):
        time.sleep(3600)
    if task.startswith("raise"):
        raise RuntimeError("no way to read this")
    if task.startswith("disk full"):
        raise OutputError("no space left to write x.h5.", code="DISK_FULL")
    if task.startswith("once:"):
        # Kills its worker the first time, as a moment of little memory does.
        try:
            os.close(os.open(task.removeprefix("once:"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return "second time"
        os.kill(os.getpid(), signal.SIGKILL)
    beat(1)
    return f"did {task}"


class Hostile:
    """A slide source that does something to the process that opens or reads it."""

    def __init__(self, source: SlideSource, deed: str) -> None:
        self.source, self.deed, self.slide_id = source, deed, source.slide_id

    def identity(self) -> dict[str, Any]:
        return self.source.identity()

    def open(self) -> Any:
        opened = self.source.open()
        object.__setattr__(opened, "plan", HostilePlan(opened.plan, self.deed))
        return opened


class HostilePlan:
    """A tile plan whose second tile does the deed."""

    def __init__(self, plan: Any, deed: str) -> None:
        self._plan, self._deed = plan, deed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plan, name)

    def read(self, row: int) -> Any:
        if row == self._plan.candidates[1]:
            misbehave(self._deed, lambda n: None)
        return self._plan.read(row)
