import itertools
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from histokeras.errors import OutputError, SlideError
from histokeras.runs.lock import locked
from histokeras.runs.owner import Owner
from histokeras.runs.record import RunRecord, failure, read_record
from histokeras.runs.shard import Shard, Share
from histokeras.runs.union import shared_record, unfinished

SLIDES = [f"s{number:02d}" for number in range(7)]
LEFT_OUT = {"slide": "n", "outcome": "left out", "reason": "normal"}
BAD = ("s01", "s05")


def work(
    folder: Path,
    shard: str = "",
    *,
    whole: list[str] = SLIDES,
    stop_after: int = 99,
    settings: Mapping[str, Any] | None = None,
    bad: tuple[str, ...] = BAD,
) -> None:
    """Pretend to do the slides of a shard; ``bad`` ones fail."""
    parts = [int(part) for part in shard.split("/")] if shard else []
    share = Share(whole, Shard(*parts) if parts else None)
    record = RunRecord("extract-features", {}, facts={"settings": settings or {}})
    record.slides.append(dict(LEFT_OUT))
    failures: list[dict[str, str]] = []
    with shared_record(record, folder, failures, share):
        for number, name in enumerate(sorted(share.own, reverse=True)):
            if number == stop_after:
                raise KeyboardInterrupt
            outcome = "failed" if name in bad else "done"
            record.slides.append({"slide": name, "outcome": outcome})
            if name in bad:
                failures.append(failure(name, "open", SlideError("broken, badly", code="X")))


def rows(folder: Path) -> tuple[Any, str, Any]:
    record = read_record(folder)
    return record["slides"], (folder / "failures.csv").read_text(), record["status"]


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str, Any]:
    """What one run of all slides writes."""
    folder = tmp_path_factory.mktemp("one")
    work(folder)
    found = rows(folder)
    assert [row["slide"] for row in found[0]] == ["n", *SLIDES]
    assert found[1].splitlines()[1:] == [f'{name},open,X,"broken, badly",' for name in BAD]
    assert found[2] == "done with failures"
    return found


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_union_of_shards_is_the_record_of_one_run(
    tmp_path: Path, one_run: tuple[Any, str, Any], order: tuple[int, ...]
) -> None:
    assert unfinished(tmp_path) == ""
    for n, index in enumerate(order):
        work(tmp_path, f"{index}/3")
        left = [f"{i}/3 has not begun" for i in sorted(order[n + 1 :])]
        assert (f"running (shards: {', '.join(left)})" in unfinished(tmp_path)) == (n < 2)
        assert (read_record(tmp_path)["status"] == "running") == (n < 2)

    assert rows(tmp_path) == one_run
    assert unfinished(tmp_path) == ""
    record = read_record(tmp_path)
    assert {name: row["slides"] for name, row in record["shards"].items()} == {
        "0/3": 3, "1/3": 2, "2/3": 2
    }  # fmt: skip
    assert {row["list_sha256"] for row in record["shards"].values()} == {Share(SLIDES).digest}
    assert "shards_note" not in record
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failures.csv", "run.json"]


def test_shards_that_write_at_the_same_time_lose_nothing(
    tmp_path: Path, one_run: tuple[Any, str, Any]
) -> None:
    code = "import sys; from tests.runs.test_union import work, Path\n"
    code += "for _ in range(3): work(Path(sys.argv[1]), sys.argv[2])"
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen([*command, f"{index}/7"]) for index in range(2)]
    threads = [threading.Thread(target=work, args=(tmp_path, f"{i}/7")) for i in range(2, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [process.wait() for process in processes] == [0, 0]
    assert rows(tmp_path) == one_run
    assert len(read_record(tmp_path)["shards"]) == 7


def test_two_runs_at_the_same_time_do_not_damage_the_record(
    tmp_path: Path, one_run: tuple[Any, str, Any]
) -> None:
    record, failures = RunRecord("extract-features", {}, facts={"settings": {}}), []
    record.slides.append(dict(LEFT_OUT))

    def slow() -> None:
        with shared_record(record, tmp_path, failures, Share(SLIDES)):
            record.slides.append({"slide": "s00", "outcome": "done"})
            work(tmp_path)  # the other one, from beginning to end
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slow()

    assert rows(tmp_path)[:2] == one_run[:2]
    assert rows(tmp_path)[2] == "interrupted"
    assert unfinished(tmp_path).endswith("its run.json says interrupted")


def test_a_shard_that_is_interrupted_has_to_be_run_again(
    tmp_path: Path, one_run: tuple[Any, str, Any]
) -> None:
    work(tmp_path, "0/3")
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, "1/3", stop_after=1)
    work(tmp_path, "2/3")

    record = read_record(tmp_path)
    assert record["status"] == "interrupted"
    assert record["shards"]["1/3"]["status"] == "interrupted"
    assert unfinished(tmp_path).endswith("says interrupted (shards: 1/3 interrupted)")
    assert [row["slide"] for row in record["slides"]] == ["n", "s00", "s02", "s03", "s04", "s05",
                                                          "s06"]  # fmt: skip
    work(tmp_path, "1/3")
    assert rows(tmp_path) == one_run


def test_another_number_of_shards_or_none_replaces_the_record(tmp_path: Path) -> None:
    work(tmp_path)
    work(tmp_path, "0/3")
    assert [row["slide"] for row in read_record(tmp_path)["slides"]] == ["n", "s00", "s03", "s06"]

    work(tmp_path, "1/2")
    record = read_record(tmp_path)
    assert list(record["shards"]) == ["1/2"]
    assert [row["slide"] for row in record["slides"]] == ["n", "s01", "s03", "s05"]

    work(tmp_path, whole=["s03"])
    record = read_record(tmp_path)
    assert "shards" not in record
    assert [row["slide"] for row in record["slides"]] == ["n", "s03"]
    assert record["status"] == "done"
    assert len((tmp_path / "failures.csv").read_text().splitlines()) == 1


def test_other_settings_begin_a_new_record(tmp_path: Path) -> None:
    work(tmp_path, "0/2", settings={"mpp": 0.5})
    work(tmp_path, "1/2", settings={"mpp": 1.0})

    assert list(read_record(tmp_path)["shards"]) == ["1/2"]
    assert read_record(tmp_path)["status"] == "running"


def test_shards_that_saw_other_lists_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, one_run: tuple[Any, str, Any]
) -> None:
    work(tmp_path, "0/2", whole=SLIDES[:5])
    assert not caplog.records
    work(tmp_path, "1/2")

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "shard 1/2 saw a list of 7 slide(s), 0/2 another one of 5" in said[0]
    assert read_record(tmp_path)["shards_note"] in said[0]
    assert read_record(tmp_path)["status"] == "interrupted"

    work(tmp_path, "0/2")
    assert "shards_note" not in read_record(tmp_path)
    assert rows(tmp_path) == one_run


def test_a_slide_that_succeeds_at_last_leaves_failures(tmp_path: Path) -> None:
    for index in range(3):
        work(tmp_path, f"{index}/3")
    work(tmp_path, "1/3", bad=())

    assert [line.split(",")[0] for line in rows(tmp_path)[1].splitlines()] == ["slide", "s05"]
    assert rows(tmp_path)[2] == "done with failures"
    work(tmp_path, "2/3", bad=())
    assert rows(tmp_path)[2] == "done"


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_the_lock_of_a_dead_process_is_taken_over_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = tmp_path / ".record.lock"
    guard = tmp_path / ".record.lock.stale"
    lock.write_bytes(Owner(pid=ended_process(), started="1").to_bytes())
    guard.write_bytes(Owner(pid=os.getpid(), started="1").to_bytes())  # a number used again

    with locked(tmp_path, stale_s=1e9):
        assert json.loads(lock.read_bytes())["pid"] == os.getpid()

    assert list(tmp_path.iterdir()) == []
    assert "stale lock of process" in caplog.text


@pytest.mark.parametrize("content", [Owner(place="elsewhere 1").to_bytes(), b""])
def test_a_lock_of_another_host_expires(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / ".record.lock").write_bytes(content)

    with locked(tmp_path, stale_s=0.2):
        assert "taken over" in caplog.text

    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    count, inside = tmp_path / "count", []
    count.write_text("0")

    def add() -> None:
        for _ in range(20):
            with locked(tmp_path):
                inside.append(1)
                assert len(inside) == 1
                count.write_text(str(int(count.read_text()) + 1))
                inside.pop()

    threads = [threading.Thread(target=add) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert count.read_text() == "100"


def test_a_lock_that_was_taken_from_us_is_not_ours_to_give_back(tmp_path: Path) -> None:
    other = Owner().to_bytes()
    with locked(tmp_path):
        (tmp_path / ".record.lock").write_bytes(other)

    assert (tmp_path / ".record.lock").read_bytes() == other


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="cannot write"), locked(tmp_path / "file"):
        logging.error("never here")
