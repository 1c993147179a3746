"""Which process a file of ours belongs to, and whether that process still lives."""

import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

_PROC = Path("/proc")


def _place() -> str:
    """Return the host and, on Linux, the space in which its process numbers hold."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """Return when a process started, in ticks since the start of the system; "" if unknown.

    Of one that has ended and that its parent has not noticed yet: "ended".
    """
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The second field is the program's name in brackets and may hold anything; the 22nd is meant.
    fields = stat.rpartition(")")[2].split()
    return "ended" if fields[0] in "ZX" else fields[19]


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process on a host, and what it took.

    Attributes:
        place: Host, and the space of its process numbers.
        pid: Number of the process.
        started: Start of the process, by which a number that is used again is told; "" if unknown.
        token: Tells one taking from the next.
    """

    place: str = field(default_factory=_place)
    pid: int = field(default_factory=os.getpid)
    started: str = field(default_factory=lambda: _started(os.getpid()))
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def host(self) -> str:
        """The host's name."""
        return self.place.partition(" ")[0]

    def to_bytes(self) -> bytes:
        """Return what is written into a file to mark it as this owner's."""
        return json.dumps(asdict(self)).encode()

    def is_dead(self) -> bool:
        """Tell whether the process has surely ended; of another host that is never sure."""
        if self.place != _place() or os.name != "posix":
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False  # it is there, and somebody else's
        return bool(self.started) and _started(self.pid) != self.started


def read_owner(path: Path) -> Owner | None:
    """Return whose file it is; None if it is gone, or does not tell (yet).

    Args:
        path: A file that holds what :meth:`Owner.to_bytes` gives.
    """
    try:
        content = json.loads(path.read_bytes())
        return Owner(
            place=str(content["place"]),
            pid=int(content["pid"]),
            started=str(content["started"]),
            token=str(content["token"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
