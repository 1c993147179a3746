"""Leases: which slide is being worked on, so that no two processes do the same one.

They only save work. That nothing wrong comes out rests on content that is the same whoever
makes it, and on files that are replaced whole.
"""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from histokeras.files import create_exclusive, file_time, refresh, safe_name
from histokeras.runs.owner import Owner, read_owner
from histokeras.runs.supervisor import Claims

FOLDER = "leases"
"""Where they lie in an output folder."""
HEARTBEAT_S = 10.0
EXPIRY_S = 60.0
_EMPTY_S = 3.0

_LOG = logging.getLogger(__name__)


class Leases:
    """The leases that this process holds, one small file a slide; a thread keeps them alive.

    The lease of a process that has died on this host is taken over at once, that of another host
    once it was not renewed for ``expiry_s``. Ages are told by the clock of the file system alone.

    Args:
        output: The output folder; leases lie in ``<output>/leases/``.
        heartbeat_s: How often leases are renewed.
        expiry_s: After how many seconds a lease that is not renewed is nobody's.
    """

    def __init__(
        self, output: Path, *, heartbeat_s: float = HEARTBEAT_S, expiry_s: float = EXPIRY_S
    ) -> None:
        self._folder = output / FOLDER
        self._heartbeat_s, self._expiry_s = heartbeat_s, expiry_s
        self._held: dict[str, Owner] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def claim(self, slide_id: str) -> bool:
        """Take the lease of a slide.

        Args:
            slide_id: The slide.

        Returns:
            False if another process holds it. True as well if it is ours already.

        Raises:
            OutputError: If it cannot be written.
        """
        if slide_id in self._held:
            return True
        path, me = self._path(slide_id), Owner()
        taken = create_exclusive(path, me.to_bytes())
        if not taken and self._remove_stale(slide_id):
            taken = create_exclusive(path, me.to_bytes())
        if taken:
            self._held[slide_id] = me
            self._start_heartbeat()
        return taken

    def release(self, slide_id: str) -> None:
        """Give a lease back; nothing happens if it is not ours (any more)."""
        me = self._held.pop(slide_id, None)
        path = self._path(slide_id)
        if me is not None and read_owner(path) == me:
            path.unlink(missing_ok=True)

    def held_elsewhere(self, slide_id: str) -> bool:
        """Tell whether another living process is at work on a slide."""
        return slide_id not in self._held and self._why_stale(self._path(slide_id)) == ""

    def close(self) -> None:
        """Give all leases back, remove stale ones of others, and the folder if it is empty."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for slide_id in list(self._held):
            self.release(slide_id)
        if not self._folder.is_dir():
            return
        for path in self._folder.glob("*.json"):
            if read_owner(path) is not None and self._why_stale(path):
                path.unlink(missing_ok=True)
        try:
            self._folder.rmdir()
        except OSError:
            _LOG.debug("%s is in use", self._folder)

    def _path(self, slide_id: str) -> Path:
        return self._folder / f"{safe_name(slide_id)}.json"

    def _why_stale(self, path: Path) -> str | None:
        """Return why a lease holds no more; "" if it holds, None if there is none."""
        owner = read_owner(path)
        try:
            renewed = path.stat().st_mtime
        except FileNotFoundError:
            return None
        if owner is not None and owner.is_dead():
            return f"process {owner.pid} has died"
        # Not asked in the folder of leases: the last one there removes it.
        age = file_time(self._folder.parent) - renewed
        # Who died between making the file and filling it says nothing for ever.
        if age <= (self._expiry_s if owner is not None else min(_EMPTY_S, self._expiry_s)):
            return ""
        return f"{owner.host if owner else 'its holder'} has not renewed it for {age:.0f} s"

    def _remove_stale(self, slide_id: str) -> bool:
        """Remove the lease of another if it holds no more; tell whether it is gone."""
        path = self._path(slide_id)
        judged = read_owner(path)
        why = self._why_stale(path)
        if why and read_owner(path) == judged:
            _LOG.warning("%s: lease taken over, %s", slide_id, why)
            path.unlink(missing_ok=True)
        return why != ""

    def _start_heartbeat(self) -> None:
        if self._thread is None:
            self._closed.clear()
            self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)
            self._thread.start()

    def _beat(self) -> None:
        while not self._closed.wait(self._heartbeat_s):
            for slide_id in list(self._held):
                try:
                    refresh(self._path(slide_id))
                except OSError as error:
                    # At worst it expires, and the slide is done twice.
                    _LOG.debug("lease of %s not renewed: %s", slide_id, error)


class LeasedTasks(Claims):
    """Claims of a supervisor's tasks, each the work on one slide.

    Args:
        leases: The leases of the output folder.
        slide_ids: The slide of each task.
    """

    def __init__(self, leases: Leases, slide_ids: Sequence[str]) -> None:
        self._leases, self._slide_ids = leases, slide_ids

    def claim(self, task: int) -> bool:
        """Take the lease of a task's slide; False if another process holds it."""
        return self._leases.claim(self._slide_ids[task])

    def release(self, task: int) -> None:
        """Give it back."""
        self._leases.release(self._slide_ids[task])
