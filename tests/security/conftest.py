"""Payloads of strangers. Each would leave a canary behind if it were ever run or followed."""

import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SECRET = b"a secret of this machine"


class _Payload:
    """Pickled, it makes a folder when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """Where a payload would show itself; it must never be there."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "the payload was run"


@pytest.fixture
def payload(canary: Path) -> bytes:
    """A pickle that runs code when it is loaded, as the test beside it shows."""
    return pickle.dumps(_Payload(canary), protocol=4)


@contextmanager
def little_memory(most_mb: float = 40) -> Iterator[None]:
    """Fail if Python and NumPy take more at once: what is refused must not be read first."""
    tracemalloc.start()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most_mb * 1e6, f"{peak / 1e6:.0f} MB"


@pytest.fixture
def sparse(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Make a file of 500 MB that takes no room on the disk."""

    def make(name: str, start: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(start)
        os.truncate(path, 500 << 20)
        return path

    return make


def zipped(path: Path, members: dict[str, bytes], *, link: str = "") -> Path:
    """Write a zip with members of any name; ``link`` is one that is a symbolic link."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = (0o120777 if name == link else 0o100644) << 16
            archive.writestr(member, content)
    return path
