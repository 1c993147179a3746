import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from histokeras.errors import OutputError
from histokeras.runs.lease import Leases
from histokeras.runs.owner import Owner, read_owner


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(tmp_path)


def lease_of(folder: Path, slide_id: str, owner: Owner, *, age_s: float = 0) -> Path:
    """Write the lease of another process, renewed for the last time ``age_s`` ago."""
    path = folder / "leases" / f"{slide_id}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(owner.to_bytes())
    renewed = path.stat().st_mtime - age_s
    os.utime(path, (renewed, renewed))
    return path


def dead() -> Owner:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return Owner(pid=process.pid)


def test_a_slide_is_worked_on_by_one_at_a_time(tmp_path: Path, leases: Leases) -> None:
    other = Leases(tmp_path)

    assert leases.claim("a b/ü")
    assert leases.claim("a b/ü")
    assert not other.claim("a b/ü")
    assert other.held_elsewhere("a b/ü")
    assert not leases.held_elsewhere("a b/ü")
    assert not other.held_elsewhere("c")
    leases.release("a b/ü")
    assert not other.held_elsewhere("a b/ü")
    assert other.claim("a b/ü")
    leases.release("a b/ü")
    assert leases.held_elsewhere("a b/ü")

    leases.close()
    assert (tmp_path / "leases").is_dir()
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_a_lease_names_its_process(tmp_path: Path) -> None:
    with Leases(tmp_path) as leases:
        leases.claim("a")
        owner = json.loads((tmp_path / "leases/a.json").read_text())
        assert owner["pid"] == os.getpid()
        assert set(owner) == {"place", "pid", "started", "token"}
    assert not (tmp_path / "leases").exists()


def test_a_dead_process_loses_its_lease_at_once(
    tmp_path: Path, leases: Leases, caplog: pytest.LogCaptureFixture
) -> None:
    owner = dead()
    lease_of(tmp_path, "a", owner)

    assert not leases.held_elsewhere("a")
    assert leases.claim("a")
    assert f"a: lease taken over, process {owner.pid} has died" in caplog.text


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no start times without /proc")
def test_a_process_number_that_is_used_again_is_another_process(
    tmp_path: Path, leases: Leases
) -> None:
    lease_of(tmp_path, "a", Owner(started="1"))

    assert not Owner().is_dead()
    assert leases.claim("a")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no states without /proc")
def test_a_process_that_has_ended_unnoticed_is_dead(tmp_path: Path, leases: Leases) -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()  # it has closed its end
        owner = Owner(pid=process.pid, started="1")
        deadline = time.monotonic() + 20
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        lease_of(tmp_path, "a", dataclasses.replace(owner, started=stat[19]))
        assert leases.claim("a")


def test_a_lease_of_another_host_expires_by_the_clock_of_the_files(
    tmp_path: Path,
    leases: Leases,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lease_of(tmp_path, "fresh", Owner(place="node7 pid:[1]"), age_s=50)
    lease_of(tmp_path, "old", Owner(place="node7 pid:[1]"), age_s=75)
    monkeypatch.setattr(time, "time", lambda: 0.0)  # our own clock is far off

    assert leases.held_elsewhere("fresh")
    assert not leases.claim("fresh")
    assert not leases.held_elsewhere("old")
    assert leases.claim("old")
    assert "old: lease taken over, node7 has not renewed it for 75 s" in caplog.text
    leases.close()
    assert [path.name for path in (tmp_path / "leases").iterdir()] == ["fresh.json"]


def test_a_lease_that_tells_no_owner_holds_for_a_moment(tmp_path: Path, leases: Leases) -> None:
    path = lease_of(tmp_path, "a", Owner())
    path.write_bytes(b"")

    assert not leases.claim("a")
    os.utime(path, (0, 0))
    assert leases.claim("a")


def test_leases_are_renewed_while_they_are_held(tmp_path: Path) -> None:
    with Leases(tmp_path, heartbeat_s=0.02) as leases:
        leases.claim("gone")
        leases.claim("a")
        (tmp_path / "leases/gone.json").unlink()
        path = tmp_path / "leases/a.json"
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 20
        while path.stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not (tmp_path / "leases/gone.json").exists()


def test_stale_leases_of_finished_slides_are_swept(tmp_path: Path, leases: Leases) -> None:
    lease_of(tmp_path, "dead", dead())
    lease_of(tmp_path, "mine", Owner())
    (tmp_path / "leases/notes.txt").write_text("of the user")

    leases.close()

    names = sorted(path.name for path in (tmp_path / "leases").iterdir())
    assert names == ["mine.json", "notes.txt"]
    assert read_owner(tmp_path / "leases/notes.txt") is None


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "leases").write_text("a file")

    with pytest.raises(OutputError, match="cannot write"):
        Leases(tmp_path).claim("a")
