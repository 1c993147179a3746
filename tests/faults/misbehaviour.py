"""Tasks for workers that do what slides may do to them. Imported by worker processes."""

import os
import signal
import time
from collections.abc import Callable

from histokeras.errors import OutputError


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
