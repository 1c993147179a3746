"""A worker's side of the line to its supervisor: tasks come in, signs of life and results go out.

A worker is a process of its own, started with standard input and output as its line. It ends when
the line does, so that no worker outlives its command.
"""

import contextlib
import logging
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from histokeras.errors import HistokerasError

_LOG = logging.getLogger(__name__)
_LAST_S = 20
"""How long a worker whose line has ended may take to leave by itself."""


class Stopped(BaseException):
    """The supervisor wants this worker to leave. No Exception: nothing may catch it by mistake."""


class Channel:
    """The worker's end of the line.

    Args:
        incoming: Where the supervisor's messages come from.
        outgoing: Where messages to it go.
        slot: Number of this worker, from 0.
    """

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO, slot: int) -> None:
        self.slot = slot
        self._outgoing = outgoing
        self._lock = threading.Lock()
        self._answers: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self.ended = threading.Event()
        threading.Thread(target=self._listen, args=(incoming,), daemon=True).start()

    def _listen(self, incoming: BinaryIO) -> None:
        try:
            while True:
                self._answers.put(pickle.load(incoming))  # from the supervisor alone
        except (EOFError, OSError, ValueError):
            pass
        except Exception:
            # A task that cannot be read here: better to leave at once than to seem to hang.
            _LOG.exception("a task cannot be read")
        incoming.close()
        self.ended.set()
        self._answers.put(("quit",))

    def _tell(self, *message: Any) -> None:
        if self.ended.is_set():
            raise Stopped
        try:
            with self._lock:
                pickle.dump(message, self._outgoing, protocol=pickle.HIGHEST_PROTOCOL)
                self._outgoing.flush()
        except (OSError, ValueError) as error:
            raise Stopped from error

    def ready(self, facts: Any) -> None:
        """Say that the work can begin, and what it is done with."""
        self._tell("ready", facts)

    def wait(self) -> bool:
        """Wait for more work; return whether there is any."""
        self._tell("free")
        return bool(self._answers.get()[0] == "go")

    def tasks(self) -> Iterator[tuple[int, Any]]:
        """Yield number and task as the supervisor hands them out, until it has no more for now."""
        while True:
            try:
                self._tell("next")
            except Stopped:
                # Often called from a thread of a pipeline: the worker itself leaves soon, too.
                return
            answer = self._answers.get()
            if answer[0] != "task":
                return
            yield answer[1], answer[2]

    def beat(self, n: int = 1) -> None:
        """Say that ``n`` more tiles have passed.

        Raises:
            Stopped: If the supervisor has gone or wants this worker to leave.
        """
        self._tell("beat", n)

    def done(self, number: int, result: Any) -> None:
        """Say how a task went."""
        self._tell("done", number, result)

    def skip(self, number: int, result: Any) -> None:
        """Say that nothing was to do for a task; safe to call where tasks are taken."""
        # Often a thread of a pipeline, in which nothing may be raised.
        with contextlib.suppress(Stopped):
            self._tell("done", number, result)

    def failed(self, error: BaseException) -> None:
        """Say that the worker itself cannot go on."""
        own = isinstance(error, HistokerasError)
        self._tell("failed", error if own else f"{type(error).__name__}: {error}")


Work = Callable[[Channel], None]
"""Does the tasks of ``channel.tasks()``, with one ``channel.done()`` for each."""


def serve(channel: Channel, setup: Callable[[Channel], Work]) -> None:
    """Work until the supervisor has nothing more to do.

    Args:
        channel: The line.
        setup: Makes what is needed (a network, say) and tells ``channel.ready``.
    """
    try:
        work = setup(channel)
        while channel.wait():
            work(channel)
    except Stopped:
        return
    except Exception as error:
        try:
            channel.failed(error)
        except Stopped:
            return


def main() -> None:
    """Be a worker: the first message says what for."""
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What a library prints must not get between the messages.
    os.dup2(2, 1)
    # The supervisor gets these signals too and decides; a worker that ends by itself would look
    # like one that a slide has killed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    slot, setup = pickle.load(incoming)
    channel = Channel(incoming, outgoing, slot)
    threading.Thread(target=_leave_in_the_end, args=(channel,), daemon=True).start()
    serve(channel, setup)
    # Threads of libraries that hang must not keep it.
    sys.stderr.flush()
    os._exit(0)


def _leave_in_the_end(channel: Channel) -> None:
    channel.ended.wait()
    time.sleep(_LAST_S)
    os._exit(1)
