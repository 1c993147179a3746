"""A worker's process and the line to it."""

import contextlib
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast

from histokeras.runs.worker import Channel, Work

LEAVE_S = 10.0
"""How long a worker may take to leave when it is asked to."""
_BOOT = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from histokeras.runs.worker import main; main()"
)


class Process(Protocol):
    """What the supervisor needs of a worker's process."""

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended: negative for a signal."""

    def kill(self) -> None:
        """End it at once."""


@dataclass(frozen=True)
class Line:
    """A worker's process and the line to it."""

    process: Process
    outgoing: BinaryIO
    incoming: BinaryIO


def launch(slot: int, setup: Callable[[Channel], Work]) -> Line:
    """Start a worker process.

    Args:
        slot: Its number, from 0.
        setup: What it does; must be picklable, so a function or a dataclass of a module.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _BOOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    # Typed so: a pipe is always there where one was asked for.
    outgoing, incoming = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
    line = Line(process, outgoing, incoming)
    # If it has died already, that is seen where its messages are read.
    with contextlib.suppress(OSError):
        # Not through PYTHONPATH: a notebook may have changed it since it began.
        for message in (list(sys.path), (slot, setup)):
            pickle.dump(message, line.outgoing)
        line.outgoing.flush()
    return line


def close(line: BinaryIO) -> None:
    """Close one direction of a line, whatever has become of the other side."""
    # The unsent rest is for a process that is gone.
    with contextlib.suppress(OSError):
        line.close()


def end_of(process: Process) -> int:
    """Return how a process ended that has closed its line."""
    try:
        return process.wait(LEAVE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def told(code: int) -> str:
    """Say how a process ended, as the end of a sentence about it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    text = f"was ended by signal {-code} ({name})"
    if -code == getattr(signal, "SIGKILL", 9):
        return text + ", as the system does when memory runs out"
    return text
