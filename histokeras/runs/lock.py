"""A short-lived lock on a folder: for changing a file that several processes write to."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from histokeras.files import create_exclusive
from histokeras.runs.owner import Owner, read_owner

_LOG = logging.getLogger(__name__)
_NAME = ".record.lock"
STALE_S = 20.0
"""A lock is held for milliseconds; one that nobody gives back for so long belongs to nobody."""
_PAUSE_S = 0.02
_TakeOver = Callable[[Path, Owner | None], None]


@contextmanager
def locked(folder: Path, *, stale_s: float = STALE_S) -> Iterator[None]:
    """Hold the lock of a folder while the block runs; wait for it if need be.

    The lock of a process that has died on this host is taken over at once; any other after
    ``stale_s`` in which it did not change hands, by this process's own clock, so that clocks of
    other hosts do not matter.

    Args:
        folder: The folder; made if need be.
        stale_s: After how many seconds a lock is taken over.

    Raises:
        OutputError: If the folder cannot be written to.
    """
    path, me = folder / _NAME, Owner()
    _take(path, me, stale_s, lambda lock, stale: _remove_alone(lock, stale, stale_s))
    try:
        yield
    finally:
        # Taken over from us while this process stood still, it is another's.
        if _token(path) == me.token:
            path.unlink(missing_ok=True)


def _take(path: Path, me: Owner, stale_s: float, take_over: _TakeOver) -> None:
    seen, since = "", time.monotonic()
    # A network file system may create the file and, asked again, say that it was there.
    while not create_exclusive(path, me.to_bytes()) and _token(path) != me.token:
        owner = read_owner(path)
        token = owner.token if owner is not None else "unknown"
        if token != seen:
            seen, since = token, time.monotonic()
        dead = owner is not None and owner.is_dead()
        if dead or time.monotonic() - since > stale_s:
            take_over(path, owner)
            seen = ""
        else:
            # Not in step with the others that wait.
            time.sleep(_PAUSE_S * (0.5 + random.random()))


def _token(path: Path) -> str:
    owner = read_owner(path)
    return owner.token if owner is not None else ""


def _remove(path: Path, stale: Owner | None) -> None:
    if path.exists() and read_owner(path) == stale:
        path.unlink(missing_ok=True)


def _remove_alone(path: Path, stale: Owner | None, stale_s: float) -> None:
    """Remove a stale lock under a lock of its own: a late one must not remove its successor."""
    guard = path.with_name(f"{path.name}.stale")
    _take(guard, Owner(), stale_s, _remove)
    try:
        if path.exists() and read_owner(path) == stale:
            path.unlink(missing_ok=True)
            who = f"process {stale.pid} on {stale.host}" if stale else "an unknown process"
            _LOG.warning("%s: stale lock of %s taken over", path.parent.name, who)
    finally:
        guard.unlink(missing_ok=True)
