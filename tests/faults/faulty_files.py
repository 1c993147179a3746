"""A disk that fails, or a process that dies, at the N-th step of what ``histokeras.files`` does.

Every writer goes through that module (tests/test_writers.py), so these few calls are all that can
touch the disk. Nothing in the product knows of this.
"""

import builtins
import errno
import os
import pathlib
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

WRITE, FSYNC, REPLACE, MKDIR = "write", "fsync", "replace", "mkdir"
UNLINK, RMTREE, OPEN = "unlink", "rmtree", "open"
REMOVALS = frozenset({UNLINK, RMTREE})
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS)


class Killed(BaseException):
    """The process died here: nothing after it touches the disk, cleaning up least of all."""


class FaultyFiles:
    """Count the steps below a folder, and fail or die at one of them.

    Args:
        root: Steps elsewhere are neither counted nor hindered.
        at: The step, from 0; None to count only.
        error: ``Killed``, or the errno with which the step fails. A file that is being written is
            left half written by either.
        lasting: Whether every later step fails too; what is there can still be removed.
        room: Bytes that can be written before the disk is full; None for no limit.
    """

    def __init__(
        self,
        root: Path,
        *,
        at: int | None = None,
        error: int | type[Killed] = Killed,
        lasting: bool = False,
        room: int | None = None,
    ) -> None:
        self._root, self._at, self._error, self._lasting = root, at, error, lasting
        self._room = room
        self._dead = False
        self._wanted: tuple[str, Collection[str], int] | None = None
        self._patch = pytest.MonkeyPatch()
        self.steps: list[tuple[str, str]] = []

    def __enter__(self) -> "FaultyFiles":
        patch = self._patch.setattr
        patch(pathlib.Path, "write_bytes", self._write(pathlib.Path.write_bytes))
        for name in (REPLACE, MKDIR, UNLINK):
            patch(pathlib.Path, name, self._step(name, getattr(pathlib.Path, name)))
        patch(shutil, "rmtree", self._rmtree(shutil.rmtree))
        patch(os, "fsync", self._fsync(os.fsync))
        # For libraries that open the path they are handed.
        patch(builtins, "open", self._open(builtins.open))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._patch.undo()

    def kill(self) -> None:
        """Die here, between two steps."""
        self._dead = True
        raise Killed

    def named(self, kind: str, name: str) -> list[int]:
        """Return the steps of a kind on files whose path ends in a name."""
        steps = enumerate(self.steps)
        return [
            i for i, (found, path) in steps if found == kind and f"/{path}".endswith(f"/{name}")
        ]

    def at_nth(self, kind: str, names: Collection[str], number: int) -> None:
        """Go wrong at the n-th step of a kind, from 0, on files whose path ends in one of names."""
        self._wanted = kind, names, number

    def ends(self, kinds: Collection[str]) -> list[int]:
        """Return the first, a middle and the last step of some kinds in each folder but the top."""
        chosen = [i for i, (kind, _) in enumerate(self.steps) if kind in kinds]
        folders: dict[str, list[int]] = {}
        for i in chosen:
            folders.setdefault(self.steps[i][1].split("/")[0], []).append(i)
        top = max(folders.values(), key=lambda found: len({self.steps[i][1] for i in found}))
        few = {
            i for found in folders.values() for i in (found[0], found[len(found) // 2], found[-1])
        }
        return [i for i in chosen if i in few or i in top]

    def _fault(self, kind: str, path: Path) -> bool:
        """Count a step; tell whether it goes wrong."""
        if self._dead:
            raise Killed
        self.steps.append((kind, f"{path.parent.name}/{_final_name(path)}"))
        if self._wanted is not None:
            wanted, names, n = self._wanted
            found = sorted(i for name in names for i in self.named(wanted, name))
            if len(found) > n:
                self._at, self._wanted = found[n], None
        number = len(self.steps) - 1
        late = self._lasting and kind not in REMOVALS
        return self._at is not None and (number == self._at or (late and number > self._at))

    def _fail(self, path: Path, code: int | None = None) -> None:
        if code is None and not isinstance(self._error, int):
            self.kill()
        number = code or self._error
        assert isinstance(number, int)
        raise OSError(number, os.strerror(number), str(path))

    def _is_ours(self, path: object) -> bool:
        return isinstance(path, (str, Path)) and Path(path).is_relative_to(self._root)

    def _step(self, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(path: Path, *args: Any, **options: Any) -> Any:
            # What is not there is not removed.
            counts = self._is_ours(path) and (kind != UNLINK or path.exists() or self._dead)
            if counts and self._fault(kind, path):
                self._fail(path)
            return real(path, *args, **options)

        return step

    def _write(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def write(path: Path, data: Any) -> Any:
            if not self._is_ours(path):
                return real(path, data)
            if self._fault(WRITE, path):
                real(path, bytes(data)[: len(data) // 2])
                self._fail(path)
            if self._room is not None:
                self._room -= len(data)
                if self._room < 0:
                    real(path, bytes(data)[: self._room])
                    self._room = 0
                    self._fail(path, errno.ENOSPC)
            return real(path, data)

        return write

    def _rmtree(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def rmtree(path: Any, *args: Any, **options: Any) -> Any:
            if self._is_ours(path) and self._fault(RMTREE, Path(path)):
                files = sorted(item for item in Path(path).rglob("*") if item.is_file())
                for item in files[: (len(files) + 1) // 2]:
                    os.remove(item)  # noqa: PTH107
                self._fail(Path(path))
            return real(path, *args, **options)

        return rmtree

    def _fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def fsync(descriptor: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
            if self._is_ours(path) and self._fault(FSYNC, path):
                self._fail(path)
            # Whether the bytes reached the disk is seen by nobody here, and waiting takes long.
            if not self._is_ours(path):
                real(descriptor)

        return fsync

    def _open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def open_(path: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            writes = isinstance(mode, str) and set(mode) & set("wax+")
            if writes and self._is_ours(path) and self._fault(OPEN, Path(path)):
                self._fail(Path(path))
            return real(path, mode, *args, **options)

        return open_


def _final_name(path: Path) -> str:
    """Return what a temporary path becomes: ``.run.json.host.7.7.part.json`` -> ``run.json``."""
    if ".part" not in path.name:
        return path.name
    return path.name.removesuffix(path.suffix if path.suffix != ".part" else "").split(
        f".{os.uname().nodename}."
    )[0][1:]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, without temporary ones."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".part" not in path.name
    }


def leftovers(folder: Path) -> list[str]:
    """Return the names of temporary files below a folder."""
    return [path.name for path in folder.rglob("*.part*")]
