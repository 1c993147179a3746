"""Long-lived worker processes that survive what a slide does to them.

A slide may kill the process that reads it: the C libraries can crash, the system may run out of
memory, a network drive can hang for ever. So slides are read in workers. If one dies, or gives no
sign of life for long, the tasks that it held are tried once more, each alone; the one that does it
again has failed, the others go on. A pool of the standard library is lost as a whole when one
worker dies.
"""

import contextlib
import os
import pickle
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from histokeras.errors import HistokerasError
from histokeras.runs.environment import usable_cores
from histokeras.runs.events import STALL_S, Beat, Done, Event, Lost, Ready, Retry
from histokeras.runs.process import LEAVE_S, Line, close, end_of, launch, told
from histokeras.runs.worker import Channel, Work

_START_S = 1800.0
_ASK_S = 2.0
_TICK_S, _PAUSE_S = 0.5, 10.0
_HUNG, _DIED = "WORKER_HUNG", "WORKER_DIED"
_STARTS, _IN_VAIN = 3, 10
"""Deaths one after the other, no task finished between them, after which the machine is at fault
and not a slide: of workers that have not begun, and of others."""


class Claims:
    """All tasks are ours; other claims are made of the same two methods."""

    def claim(self, task: int) -> bool:
        """Return whether this command may do a task now."""
        return True

    def release(self, task: int) -> None:
        """Give back a task that is over."""


@dataclass(eq=False)
class _Worker:
    slot: int
    line: Line
    held: list[int] = field(default_factory=list)
    ready: bool = False
    alone: bool = False
    waiting: bool = False
    failure: Any = None
    sign: float = field(default_factory=time.monotonic)
    hung: bool = False

    def tell(self, *message: Any) -> None:
        # If it has died, its end is already on the way.
        with contextlib.suppress(OSError, ValueError):
            pickle.dump(message, self.line.outgoing, protocol=pickle.HIGHEST_PROTOCOL)
            self.line.outgoing.flush()


class _Supervisor:
    def __init__(
        self,
        tasks: Sequence[Any],
        setup: Callable[[Channel], Work],
        stall_s: float,
        workers: Callable[[Any], int],
        claims: Claims,
    ) -> None:
        self._claims = claims
        self._elsewhere: deque[int] = deque()
        self._asked = time.monotonic()
        self._tasks, self._setup, self._stall_s = tasks, setup, stall_s
        self._workers_of = workers
        self._todo = deque(range(len(tasks)))
        self._suspects: deque[int] = deque()
        self._workers: dict[int, _Worker] = {}
        self._slots = 0
        self._wanted = 1
        self._in_vain = 0
        self._looked = time.monotonic()
        self._messages: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()

    def run(self) -> Iterator[Event]:
        try:
            self._start()
            while self._workers:
                try:
                    slot, message = self._messages.get(timeout=_TICK_S)
                except queue.Empty:
                    slot, message = -1, None
                if slot in self._workers:
                    yield from self._take(self._workers[slot], message)
                if time.monotonic() - self._looked > _TICK_S:
                    self._end_hung()
                    self._ask_again()
        finally:
            self._stop()

    def _start(self) -> None:
        slot, self._slots = self._slots, self._slots + 1
        worker = _Worker(slot, launch(slot, self._setup))
        self._workers[slot] = worker
        threading.Thread(
            target=self._listen, args=(slot, worker.line.incoming), daemon=True
        ).start()

    def _listen(self, slot: int, incoming: BinaryIO) -> None:
        try:
            while True:
                self._messages.put((slot, pickle.load(incoming)))  # from our own worker
        except Exception:
            # Whatever ends the line, torn messages of a killed worker too.
            incoming.close()
            self._messages.put((slot, None))

    def _take(self, worker: _Worker, message: Any) -> Iterator[Event]:
        worker.sign = time.monotonic()
        if message is None:
            yield from self._bury(worker)
            return
        kind = message[0]
        if kind == "ready":
            worker.ready = True
            self._wanted = self._workers_of(message[1])
            yield Ready(message[1])
            self._fill()
        elif kind == "beat":
            yield Beat(message[1])
        elif kind == "done":
            self._in_vain = 0
            worker.held.remove(message[1])
            self._claims.release(message[1])
            yield Done(message[1], message[2])
        elif kind == "failed":
            worker.failure = message[1]
        elif kind == "next":
            self._hand_out(worker)
        elif kind == "free":
            worker.waiting = True
            self._assign()

    def _hand_out(self, worker: _Worker) -> None:
        task = self._next(worker)
        if task is None:
            worker.tell("end")
        else:
            worker.held.append(task)
            worker.tell("task", task, self._tasks[task])

    def _next(self, worker: _Worker) -> int | None:
        if worker.alone:
            return self._suspects.popleft() if self._suspects and not worker.held else None
        while self._todo:
            task = self._todo.popleft()
            if self._claims.claim(task):
                return task
            self._elsewhere.append(task)
        return None

    def _ask_again(self) -> None:
        """Look whether tasks that others had claimed are free now."""
        if self._todo or not self._elsewhere or not any(w.waiting for w in self._workers.values()):
            return
        if time.monotonic() - self._asked > _ASK_S:
            self._asked = time.monotonic()
            self._todo, self._elsewhere = self._elsewhere, self._todo
            self._assign()

    def _assign(self) -> None:
        """Give work to those that wait; send them home once nobody can need them any more."""
        for worker in [worker for worker in self._workers.values() if worker.waiting]:
            if self._todo or self._suspects:
                worker.waiting, worker.alone = False, not self._todo
                worker.tell("go")
            elif not self._elsewhere and not any(o.held for o in self._workers.values()):
                worker.waiting = False
                worker.tell("quit")

    def _fill(self) -> None:
        while len(self._workers) < self._wanted and len(self._todo) > 0:
            self._start()

    def _end_hung(self) -> None:
        now = time.monotonic()
        if now - self._looked > _PAUSE_S:
            # This process itself stood still (Ctrl-Z, a slow consumer): nobody is to blame.
            for worker in self._workers.values():
                worker.sign = now
        self._looked = now
        for worker in self._workers.values():
            limit = self._stall_s if worker.ready else _START_S
            busy = bool(worker.held) or not worker.ready
            if busy and not worker.hung and now - worker.sign > limit:
                worker.hung = True
                worker.line.process.kill()

    def _bury(self, worker: _Worker) -> Iterator[Event]:
        del self._workers[worker.slot]
        close(worker.line.outgoing)
        code = end_of(worker.line.process)
        held = tuple(worker.held)
        if isinstance(worker.failure, HistokerasError):
            raise worker.failure
        if not held and worker.ready and code == 0:
            return
        reason, kind = self._reason(worker, code), _HUNG if worker.hung else _DIED
        self._in_vain += 1
        self._require_hope(worker, reason, kind)
        if worker.alone:
            for task in held:
                self._claims.release(task)
                yield Lost(task, kind, reason)
        else:
            self._suspects += held
            yield Retry(held, reason)
        waiting = any(other.waiting for other in self._workers.values())
        if self._todo or ((self._suspects or self._elsewhere) and not waiting):
            self._start()
        self._assign()

    def _require_hope(self, worker: _Worker, reason: str, kind: str) -> None:
        limit = _IN_VAIN if worker.ready else _STARTS
        if self._in_vain < limit and (worker.ready or worker.failure is None):
            return
        when = "without finishing a slide" if worker.ready else "before it could begin"
        raise HistokerasError(
            f"{reason} {when}, {self._in_vain} time(s) in a row.",
            code=kind,
            hint="Look at this machine's memory and at `histokeras doctor`; run the same command "
            "to resume.",
        )

    def _reason(self, worker: _Worker, code: int) -> str:
        if worker.hung:
            limit = self._stall_s if worker.ready else _START_S
            return f"the worker gave no sign of life for {limit:g} s and was ended"
        if worker.failure is not None:
            return f"the worker failed ({worker.failure})"
        return f"the worker {told(code)}"

    def _stop(self) -> None:
        """Ask all to leave, wait a little, end the others."""
        for worker in self._workers.values():
            close(worker.line.outgoing)
        deadline = time.monotonic() + LEAVE_S
        for worker in self._workers.values():
            try:
                worker.line.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.line.process.kill()
                worker.line.process.wait()
        self._workers.clear()


def supervise(
    tasks: Sequence[Any],
    setup: Callable[[Channel], Work],
    *,
    stall_s: float = STALL_S,
    workers: Callable[[Any], int] = lambda facts: 1,
    claims: Claims | None = None,
) -> Iterator[Event]:
    """Have tasks done by worker processes, and say what happens as it happens.

    Closing the iterator (an exception in its loop does it) stops the workers: they are asked to
    leave, and ended after 10 s.

    Args:
        tasks: What is to be done, picklable.
        setup: Called in each worker with its channel: makes what the work needs, tells
            ``channel.ready(facts)`` and returns what does the tasks. Picklable.
        stall_s: After how many seconds without a sign of life a worker that holds a task is taken
            to hang.
        workers: How many workers there shall be, given the facts of the first.
        claims: Who may do a task, where several commands share them. One that another has claimed
            is put off until it is free; by then it may have been done, which the work must see.

    Yields:
        What happens; every task ends in exactly one ``Done`` or ``Lost``.

    Raises:
        HistokerasError: What a worker raised that concerns all tasks, such as a full disk;
            WORKER_DIED or WORKER_HUNG if workers die again and again without finishing a task.
    """
    if tasks:
        yield from _Supervisor(tasks, setup, stall_s, workers, claims or Claims()).run()


@dataclass(frozen=True)
class Each:
    """Work that calls a function on every task; picklable if the function is.

    Attributes:
        function: Takes a task and a function to tell how many tiles have passed.
    """

    function: Callable[[Any, Callable[[int], None]], Any]

    def __call__(self, channel: Channel) -> Work:
        """Begin to work."""
        channel.ready(os.getpid())
        return self._work

    def _work(self, channel: Channel) -> None:
        for number, task in channel.tasks():
            channel.done(number, self.function(task, channel.beat))


def lookers(facts: Any) -> int:
    """Return how many workers look at slides quickly: more than 4 only wait for the disk."""
    return min(4, usable_cores())
