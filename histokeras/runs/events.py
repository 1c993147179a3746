"""What a supervisor tells of its workers and their tasks."""

from dataclasses import dataclass
from typing import Any

from histokeras.errors import SlideError

STALL_S: float = 300
"""After how many seconds without a sign of life a worker is taken to hang."""


@dataclass(frozen=True)
class Ready:
    """A worker has begun.

    Attributes:
        facts: What it told: the devices, say.
    """

    facts: Any


@dataclass(frozen=True)
class Beat:
    """``n`` more tiles have passed."""

    n: int


@dataclass(frozen=True)
class Done:
    """A task is over.

    Attributes:
        task: Its position in the input.
        result: What the worker said of it.
    """

    task: int
    result: Any


@dataclass(frozen=True)
class Retry:
    """A worker died or hung; the tasks that it held will be tried once more, each alone.

    Attributes:
        tasks: Their positions in the input; none if it died before it was given any.
        reason: What happened to the worker.
    """

    tasks: tuple[int, ...]
    reason: str

    def text(self, names: str) -> str:
        """Return one line for the user, given the names of the tasks."""
        if not self.tasks:
            return f"{self.reason}; another one is started"
        return f"{self.reason}; to be tried once more, each alone: {names}"


@dataclass(frozen=True)
class Lost:
    """A task killed its worker twice, the second time alone: it will not be tried again.

    Attributes:
        task: Its position in the input.
        code: WORKER_DIED or WORKER_HUNG.
        reason: What happened to the worker.
    """

    task: int
    code: str
    reason: str


Event = Ready | Beat | Done | Retry | Lost


def lost(slide_id: str, event: Lost) -> SlideError:
    """Return the error of a slide that was lost twice."""
    return SlideError(
        f"slide `{slide_id}`: {event.reason}, the second time alone.",
        code=event.code,
        hint="Open it in a viewer or download it again; --stall-seconds waits longer for slow "
        "storage.",
    )
