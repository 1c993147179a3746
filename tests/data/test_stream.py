import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from histokeras.data.stream import SourceEnd, Tiles, stream_tiles
from histokeras.runs.environment import usable_cores

SIZE = 4


class FakeSource:
    """Tiles whose pixels hold their own number; counts how many are open at once."""

    open_now = 0
    most_open = 0
    lock = threading.Lock()

    def __init__(self, n: int, *, fails_at: int | None = None, kept: bool = True) -> None:
        self.rows = np.arange(n) * 2
        self.fails_at, self.kept, self.closed = fails_at, kept, False
        with FakeSource.lock:
            FakeSource.open_now += 1
            FakeSource.most_open = max(FakeSource.most_open, FakeSource.open_now)

    def read(self, row: int) -> tuple[np.ndarray, float, bool]:
        if row == self.fails_at:
            raise OSError("bad tile")
        time.sleep(0.001 * (row % 3))
        return np.full((SIZE, SIZE, 3), row, np.uint8), row / 1000, self.kept

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        with FakeSource.lock:
            FakeSource.open_now -= 1


def collect(openers: list[Callable[[], FakeSource]], batch_size: int) -> list[tuple]:
    seen = []
    for part in stream_tiles(openers, size_px=SIZE, batch_size=batch_size, workers=3):
        if isinstance(part, SourceEnd):
            seen.append((part.source, "end", str(part.error) if part.error else ""))
        else:
            assert isinstance(part, Tiles)
            assert (part.images[part.kept][:, 0, 0, 0] == part.rows[part.kept]).all()
            np.testing.assert_allclose(part.background[part.kept], part.rows[part.kept] / 1000)
            seen.extend((part.source, int(row), "") for row in part.rows)
    return seen


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_tiles_leave_in_order_source_by_source_whatever_the_batch(batch_size: int) -> None:
    counts = [3, 0, 70, 1]

    seen = collect([lambda n=n: FakeSource(n) for n in counts], batch_size)

    expected = []
    for index, n in enumerate(counts):
        expected += [(index, row * 2, "") for row in range(n)] + [(index, "end", "")]
    assert seen == expected


def test_a_source_that_fails_ends_alone() -> None:
    def refuses() -> FakeSource:
        raise ValueError("does not open")

    seen = collect(
        [lambda: FakeSource(5, fails_at=4), refuses, lambda: FakeSource(2)], batch_size=4
    )

    assert [row for row in seen if row[1] == "end"] == [
        (0, "end", "bad tile"),
        (1, "end", "does not open"),
        (2, "end", ""),
    ]
    assert [row[1] for row in seen if row[0] == 2] == [0, 2, "end"]


def test_few_sources_are_open_at_once_and_all_are_closed() -> None:
    FakeSource.most_open = 0

    collect([lambda: FakeSource(1) for _ in range(40)], batch_size=64)

    assert FakeSource.open_now == 0
    assert FakeSource.most_open <= 5


def test_as_many_tiles_are_read_at_once_as_there_are_workers_however_few_the_cores() -> None:
    workers = 2 * usable_cores() + 1
    together = threading.Barrier(workers, timeout=10)

    class Waits(FakeSource):
        def read(self, row: int) -> tuple[np.ndarray, float, bool]:
            together.wait()
            return super().read(row)

    parts = list(stream_tiles([lambda: Waits(workers)], size_px=SIZE, workers=workers))

    assert [part.error for part in parts if isinstance(part, SourceEnd)] == [None]
    assert not together.broken


def test_stopping_early_leaves_no_reader_behind() -> None:
    before = threading.active_count()
    stream = stream_tiles(
        [lambda: FakeSource(30) for _ in range(20)], size_px=SIZE, batch_size=4, workers=2
    )

    next(stream)
    stream.close()

    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before + 1
