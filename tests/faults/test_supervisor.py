"""Real worker processes, without TensorFlow: they start in a fraction of a second."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from histokeras.errors import HistokerasError, OutputError
from histokeras.runs import supervisor
from histokeras.runs.events import Beat, Done, Event, Lost, Ready, Retry
from histokeras.runs.supervisor import Claims, Each, supervise
from tests.faults.misbehaviour import misbehave

pytestmark = pytest.mark.real_workers
WORK = Each(misbehave)


def results(events: list[Event]) -> dict[int, str]:
    return {event.task: event.result for event in events if isinstance(event, Done)}


def test_ten_tasks_of_which_one_kills_one_crashes_and_one_hangs() -> None:
    tasks = ["0", "1", "kill", "3", "segfault", "5", "hang", "7", "8", "9"]

    events = list(supervise(tasks, WORK, stall_s=1))

    assert results(events) == {i: f"did {t}" for i, t in enumerate(tasks) if t.isdigit()}
    lost = {event.task: (event.code, event.reason) for event in events if isinstance(event, Lost)}
    assert set(lost) == {2, 4, 6}
    assert lost[2][0] == "WORKER_DIED"
    assert "signal 9 (SIGKILL)" in lost[2][1]
    assert "memory" in lost[2][1]
    assert lost[4] == ("WORKER_DIED", "the worker was ended by signal 11 (SIGSEGV)")
    assert lost[6][0] == "WORKER_HUNG"
    assert "no sign of life for 1 s" in lost[6][1]
    retried = [event.tasks for event in events if isinstance(event, Retry)]
    assert retried == [(2,), (4,), (6,)]


def test_a_task_whose_worker_dies_by_chance_is_done_the_second_time(tmp_path: Path) -> None:
    events = list(supervise([f"once:{tmp_path / 'mark'}", "1"], WORK))

    assert results(events) == {0: "second time", 1: "did 1"}


def test_what_a_worker_raises_is_its_tasks_reason() -> None:
    events = list(supervise(["raise", "1"], WORK))

    [lost] = [event for event in events if isinstance(event, Lost)]
    assert lost.code == "WORKER_DIED"
    assert lost.reason == "the worker failed (RuntimeError: no way to read this)"
    assert results(events) == {1: "did 1"}


def test_a_full_disk_stops_everything() -> None:
    with pytest.raises(OutputError, match=r"no space left to write x\.h5") as caught:
        list(supervise(["0", "disk full", "2"], WORK))

    assert (caught.value.code, caught.value.exit_code) == ("DISK_FULL", 6)


def test_workers_that_only_die_are_not_started_for_ever() -> None:
    with pytest.raises(HistokerasError, match=r"without finishing a slide, 10 time\(s\) in a row"):
        list(supervise(["kill"] * 30, WORK))


def unable(channel: object) -> None:
    raise OSError("no network here")


def dying(channel: object) -> None:
    os._exit(3)


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        (unable, r"failed \(OSError: no network here\) before it could begin, 1 time"),
        (dying, r"ended with exit code 3 before it could begin, 3 time\(s\) in a row"),
    ],
)
def test_a_worker_that_cannot_begin_stops_everything(setup: object, message: str) -> None:
    with pytest.raises(HistokerasError, match=message):
        list(supervise(["0"], setup))


def test_several_workers_share_the_tasks() -> None:
    events = list(supervise([str(i) for i in range(40)], WORK, workers=lambda facts: 3))

    assert results(events) == {i: f"did {i}" for i in range(40)}
    assert sum(event.n for event in events if isinstance(event, Beat)) == 40
    assert len({event.facts for event in events if isinstance(event, Ready)}) == 3


def test_workers_that_die_are_replaced_where_several_work() -> None:
    tasks = [*(str(i) for i in range(10)), "kill", "segfault", *(str(i) for i in range(12, 20))]

    events = list(supervise(tasks, WORK, workers=lambda facts: 2))

    assert set(results(events)) == {i for i, task in enumerate(tasks) if task.isdigit()}
    assert {event.task for event in events if isinstance(event, Lost)} == {10, 11}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_closing_the_iterator_ends_the_workers() -> None:
    events: Iterator[Event] = supervise(["0", "1", "hang"], WORK)
    ready = next(events)
    assert isinstance(ready, Ready)
    assert is_alive(ready.facts)
    started = time.monotonic()

    events.close()

    assert not is_alive(ready.facts)
    assert time.monotonic() - started < 20


def test_signals_to_the_whole_group_leave_workers_to_their_supervisor() -> None:
    events = supervise(["0", "1", "2"], WORK)
    ready = next(events)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(ready.facts, number)

    assert results(list(events)) == {i: f"did {i}" for i in range(3)}


class Elsewhere(Claims):
    """Another command has claimed task 1, and gives it back at the third question."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.released: list[int] = []

    def claim(self, task: int) -> bool:
        self.asked.append(task)
        return task != 1 or self.asked.count(1) == 3

    def release(self, task: int) -> None:
        self.released.append(task)


def test_what_another_command_does_is_put_off_until_it_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "_ASK_S", 0.1)
    claims = Elsewhere()

    events = list(supervise(["0", "1", "2", "kill"], WORK, claims=claims))

    assert results(events) == {0: "did 0", 1: "did 1", 2: "did 2"}
    assert [event.task for event in events if isinstance(event, Done)] == [0, 2, 1]
    assert sorted(claims.released) == [0, 1, 2, 3]
