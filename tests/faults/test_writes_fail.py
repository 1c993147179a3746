"""Each write, fsync and replace of a command fails once: exit 6, the file's name, no half file."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histokeras import files
from histokeras.analysis.evaluation import Evaluation, evaluate_saved, write_evaluation
from histokeras.analysis.saved import open_saved
from histokeras.analysis.units import EvaluationConfig
from histokeras.cohort.split_file import write_split
from histokeras.errors import OutputError
from tests.faults.conftest import Remembered, fit
from tests.faults.faulty_files import (
    ERRORS,
    MKDIR,
    REMOVALS,
    REPLACE,
    WRITE,
    FaultyFiles,
    contents,
    leftovers,
)
from tests.features.conftest import made_slides, run_plan

__all__ = ["made_slides", "run_plan"]
Flow = Callable[[Path], Any]


def try_every_step(flow: Flow, tmp_path: Path) -> dict[str, int]:
    """Let each step of a flow fail in turn; return how many there were of each kind."""
    # What is computed once, and then remembered, writes checkpoints.
    flow(tmp_path / "before")
    with FaultyFiles(tmp_path) as whole:
        flow(tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    assert expected
    for at, (kind, name) in enumerate(whole.steps):
        folder = tmp_path / str(at)
        error, lasting = ERRORS[at % 4], at // 4 % 2 == 1
        with FaultyFiles(tmp_path, at=at, error=error, lasting=lasting) as faulty:
            raised = _raised(lambda folder=folder: flow(folder))
        where = (at, kind, name, error, lasting)
        if raised is None:
            # What could not be removed was temporary: nothing is lost.
            assert kind in REMOVALS, where
            assert contents(folder) == expected, where
            continue
        assert raised.exit_code == 6, where
        assert str(folder) in str(raised), where
        assert raised.code == ("DISK_FULL" if error == errno.ENOSPC else "OUTPUT_NOT_WRITABLE")
        # A temporary file stays only where its removal is what failed.
        assert kind in REMOVALS or not leftovers(folder), where
        # Nothing half written, and hardly anything tried again: the command stopped at once.
        _require_whole(contents(folder), expected, where)
        assert len(faulty.steps) - at <= 12, where
    return {kind: sum(step[0] == kind for step in whole.steps) for kind in (WRITE, REPLACE, MKDIR)}


def _raised(call: Callable[[], Any]) -> OutputError | None:
    try:
        call()
    except OutputError as error:
        return error
    return None


def _require_whole(found: dict[str, bytes], expected: dict[str, bytes], where: object) -> None:
    for name, data in found.items():
        # The record is written at the start, and again where it is said that the run was cut off.
        if name != "run.json":
            assert data == expected[name], (where, name)


def test_every_step_of_a_fit(studies: Any, remembered: Remembered, tmp_path: Path) -> None:
    remembered.name = "a"

    steps = try_every_step(lambda folder: fit(*studies["a"], folder), tmp_path)

    assert steps[WRITE] >= steps[REPLACE] > 25


def test_every_step_of_an_evaluation_and_a_split(
    studies: Any, remembered: Remembered, tmp_path: Path
) -> None:
    remembered.name = "a"
    fit(*studies["a"], tmp_path / "run")
    config = EvaluationConfig(n_resamples=20, splits=("test",))
    evaluation: Evaluation = evaluate_saved(open_saved(tmp_path / "run"), None, None, config=config)

    def flow(folder: Path) -> None:
        write_evaluation(folder, evaluation, config={})
        write_split(folder / "made.csv", studies["a"][1].split)

    assert try_every_step(flow, tmp_path)[REPLACE] > 10


def test_every_step_of_an_extraction(
    made_slides: list[Path], run_plan: Callable[..., Any], tmp_path: Path
) -> None:
    def flow(folder: Path) -> None:
        run_plan(made_slides[:1], folder)

    # Manifest and features.
    assert try_every_step(flow, tmp_path)[REPLACE] == 2


@pytest.mark.parametrize("room", [3_000, 12_000])
def test_a_disk_that_fills_up_leaves_whole_files_alone(
    room: int, studies: Any, remembered: Remembered, tmp_path: Path
) -> None:
    remembered.name = "a"
    fit(*studies["a"], tmp_path / "whole")

    with FaultyFiles(tmp_path, room=room), pytest.raises(OutputError) as caught:
        fit(*studies["a"], tmp_path / "run")

    assert caught.value.code == "DISK_FULL"
    assert str(tmp_path / "run") in caught.value.message
    found = contents(tmp_path / "run")
    assert 0 < sum(map(len, found.values())) <= room
    assert not leftovers(tmp_path / "run")
    _require_whole(found, contents(tmp_path / "whole"), room)
    fit(*studies["a"], tmp_path / "run")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_cleaning_up_that_fails_does_not_hide_the_error(tmp_path: Path) -> None:
    def write() -> None:
        with files.temporary_path(tmp_path / "a.txt") as part:
            part.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    # The second step is the removal of the half file.
    with FaultyFiles(tmp_path, at=1, error=errno.EIO) as faulty, pytest.raises(OutputError) as told:
        write()

    assert [kind for kind, _ in faulty.steps] == ["write", "unlink"]
    assert told.value.code == "DISK_FULL"
    # A temporary file stays behind, and nothing else.
    assert len(leftovers(tmp_path)) == 1
    assert not contents(tmp_path)


def test_a_folder_that_vanishes_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    def write() -> None:
        with files.temporary_path(tmp_path / "out" / "a.txt") as part:
            part.write_bytes(b"1")
            files.remove(tmp_path, ["out"])

    with pytest.raises(OutputError, match=r"cannot write .*a\.txt: No such file"):
        write()


def test_what_cannot_be_read_is_not_called_unwritable(tmp_path: Path) -> None:
    def write() -> None:
        with files.temporary_path(tmp_path / "a.npy") as part:
            part.write_bytes(np.load(tmp_path / "input.npy").tobytes())

    with pytest.raises(FileNotFoundError, match=r"input\.npy"):
        write()

    assert not list(tmp_path.iterdir())
