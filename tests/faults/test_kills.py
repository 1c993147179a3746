"""Kill -9 at named points and at random moments: nothing half-made is ever taken for finished.

The points of training and of its report are in test_killed_training.py and test_killed_writers.py.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from histokeras.features.verify import verify_folder
from histokeras.files import sha256_file
from histokeras.slides.synthetic import write_slide

ROOT = Path(__file__).parents[2]
N_SLIDES = 6
SLIDE_POINTS = (
    "before open", "after tiling", "mid-batch", "before write", "mid-write of .part",
    "after fsync", "after replace", "after manifest",
)  # fmt: skip
_SIGKILL = -9


class Stage:
    """The process that forks players."""

    def __init__(self, folder: Path) -> None:
        self.slides, self.log = folder / "slides", folder / "log.txt"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.stage"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    def play(self, *arguments: object, **request: Any) -> list[int]:
        self.log.unlink(missing_ok=True)
        request |= {"arguments": [str(part) for part in arguments], "log": str(self.log)}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        codes: list[int] = json.loads(self.process.stdout.readline())
        return codes

    def extract(self, output: Path, **request: Any) -> list[int]:
        return self.play("extract-features", self.slides, "-o", output, "--backbone", "mobilenetv2",
                         "--weights", "random:0", "--tile-px", "96", "--batch-size", "8",
                         **request)  # fmt: skip


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("kills")
    (folder / "slides").mkdir()
    for i in range(N_SLIDES):
        path = folder / "slides" / f"s{i}.tiff"
        write_slide(path, seed=i, size_px=(512, 448), kind="ab"[i % 2], downsamples=(2,))
    before = digests(folder / "slides")
    stage = Stage(folder)
    yield stage
    assert digests(folder / "slides") == before
    assert stage.process.stdin is not None
    with stage.process:
        stage.process.stdin.close()
        assert stage.process.wait(30) == 0


def digests(output: Path) -> dict[str, str]:
    """Digests of all files that say what was found; run.json tells when, too."""
    kept = [
        path for path in sorted(output.rglob("*")) if path.is_file() and path.name != "run.json"
    ]
    return {str(path.relative_to(output)): sha256_file(path) for path in kept}


@pytest.fixture(scope="module")
def whole(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """What an uninterrupted run makes, and how long it takes."""
    # The first one waits for the stage to load TensorFlow.
    assert stage.extract(tmp_path_factory.mktemp("first")) == [0], stage.log.read_text()
    output = tmp_path_factory.mktemp("whole")
    started = time.monotonic()
    assert stage.extract(output) == [0], stage.log.read_text()
    took = time.monotonic() - started
    found = digests(output)
    assert sum(name.endswith(".h5") for name in found) == N_SLIDES
    return found, took


def require_recovery(stage: Stage, output: Path, whole: dict[str, str]) -> None:
    """After a kill: no bad file under a final name; the same command finishes the rest."""
    found = digests(output)
    leftovers = [name for name in found if ".part" in name]
    assert len(leftovers) <= 1
    for name in set(found) & set(whole) - {"failures.csv"}:
        assert found[name] == whole[name], f"{name} is not what it should be"
    done = sum(name.endswith(".h5") and ".part" not in name for name in found)
    states = [item.status for item in verify_folder(output)] if done else []
    assert states.count("ok") == done

    assert stage.extract(output) == [0], stage.log.read_text()
    log = stage.log.read_text()
    if done > 0:
        assert f"{done} slide(s) are done and verified" in log
    again = digests(output)
    assert {name: again[name] for name in again if ".part" not in name} == whole


@pytest.mark.parametrize("nth", [1, N_SLIDES // 2, N_SLIDES], ids=["first", "middle", "last"])
@pytest.mark.parametrize("point", SLIDE_POINTS)
def test_an_extraction_killed_at_a_named_point(
    stage: Stage, whole: tuple[dict[str, str], float], tmp_path: Path, point: str, nth: int
) -> None:
    assert stage.extract(tmp_path, kill=[point, nth]) == [_SIGKILL], stage.log.read_text()

    require_recovery(stage, tmp_path, whole[0])


@pytest.mark.parametrize("name", ["failures.csv", "run.json"])
@pytest.mark.parametrize("moment", range(3), ids=["mid-write", "after fsync", "after replace"])
def test_an_extraction_killed_while_it_writes_its_record(
    stage: Stage, whole: tuple[dict[str, str], float], tmp_path: Path, name: str, moment: int
) -> None:
    suffix = Path(name).suffix if moment < 2 else name
    assert stage.extract(tmp_path, kill=[suffix, moment]) == [_SIGKILL], stage.log.read_text()

    require_recovery(stage, tmp_path, whole[0])


def random_kills(stage: Stage, whole: tuple[dict[str, str], float], folder: Path, n: int) -> None:
    moments, killed, took = random.Random(0), 0, whole[1]
    for i in range(3 * n):
        output = folder / str(i)
        [code] = stage.extract(output, after_s=moments.uniform(0, took))
        if code == _SIGKILL:
            killed += 1
        else:
            # It was over before: the machine has less to do than when it was timed.
            took *= 0.9
        require_recovery(stage, output, whole[0])
        if killed == n:
            return
    pytest.fail(f"only {killed} of {3 * n} were killed")


def test_an_extraction_killed_at_twenty_random_moments(
    stage: Stage, whole: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    random_kills(stage, whole, tmp_path, 20)


@pytest.mark.slow
def test_an_extraction_killed_at_two_hundred_random_moments(
    stage: Stage, whole: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    random_kills(stage, whole, tmp_path, 200)


@pytest.mark.parametrize("copies", [2, 4])
def test_several_processes_on_one_folder_make_what_one_makes(
    stage: Stage, whole: tuple[dict[str, str], float], tmp_path: Path, copies: int
) -> None:
    for i in range(5):
        output = tmp_path / str(i)

        assert stage.extract(output, copies=copies) == [0] * copies, stage.log.read_text()

        assert digests(output) == whole[0]
