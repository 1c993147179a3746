"""The only place that opens a file for writing: temporary name, fsync, replace.

A file under its final name is complete. A writer that dies leaves at most a ``.part`` file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from histokeras.cells import csv_text
from histokeras.errors import OutputError

if TYPE_CHECKING:
    # pandas takes 0.3 s to import, which `--help` need not wait for.
    import pandas as pd

_MAX_NAME_BYTES = 180
_CHUNK_BYTES = 1 << 20
# No writer takes a day for one file, on whatever host it runs.
_LEFTOVER_S = 86_400
_PART = re.compile(r"\..*\.\d+\.\d+\.part(\.[^.]+)?")
_TRIES = 10


def _output_error(path: Path, error: OSError) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            f"no space left to write {path}.",
            code="DISK_FULL",
            hint="Free space or choose another output folder, then run the same command to resume.",
        )
    return OutputError(
        f"cannot write {path}: {error.strerror or error}.",
        hint="Check the folder's permissions or choose another output folder.",
    )


def prepare_folder(folder: Path) -> Path:
    """Create ``folder`` (and parents) and prove that it can be written to.

    Args:
        folder: The output folder.

    Returns:
        The same folder.

    Raises:
        OutputError: If it cannot be made or written to.
    """
    try:
        if folder.is_file():
            raise OutputError(f"{folder} is a file, not a folder.", hint="Choose another name.")
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_path(folder / ".writable") as probe:
            probe.write_bytes(b"")
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise _output_error(folder, error) from error
    return folder


@contextmanager
def temporary_path(path: Path) -> Iterator[Path]:
    """Hand out a temporary path that becomes ``path`` when the block ends well.

    For libraries that must open their own file.

    Args:
        path: The final name; its folder must exist.

    Yields:
        A path in the same folder, to be written to and closed inside the block.

    Raises:
        OutputError: If the disk is full, the folder cannot be written to or has gone, or the block
            left no file.
    """
    with scratch_path(path) as part:
        yield part
        _sync(part)
        part.replace(path)
        _sync(path.parent)


@contextmanager
def scratch_path(path: Path) -> Iterator[Path]:
    """Hand out a temporary path beside ``path``, removed when the block ends.

    Args:
        path: What it is for; its folder must exist.

    Yields:
        A path in the same folder.

    Raises:
        OutputError: If the disk is full or the folder cannot be written to.
    """
    start = path.name.encode("utf-8")[:80].decode("utf-8", errors="ignore")
    name = f".{start}.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}.part"
    # A suffix that the library recognises (".tif", ".png") stays last.
    part = path.with_name(name + path.suffix)
    try:
        yield part
    except OSError as error:
        if isinstance(error, OutputError) or _is_of_another(error, part, path):
            raise
        raise _output_error(path, error) from error
    finally:
        # Where even this fails, a .part file stays behind; the error above is the one to tell.
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _is_of_another(error: OSError, part: Path, path: Path) -> bool:
    """Tell whether an error names another file: one that was to be read, not written."""
    ours = (part, path, path.parent)
    return isinstance(error.filename, (str, Path)) and Path(error.filename) not in ours


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; the rename itself is atomic there.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` to ``path``, whole or not at all.

    Args:
        path: Final name; its folder must exist.
        data: The whole content.

    Raises:
        OutputError: If it cannot be written.
    """
    with temporary_path(path) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as readable JSON, whole or not at all. NaN is refused: write None."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, table: pd.DataFrame, *, header: str = "") -> None:
    """Write ``table`` as CSV without its index, whole or not at all.

    Args:
        path: Final name.
        table: The table; floats are written so that they read back to the same value.
        header: A first line to stand above the column names, without its newline.
    """
    write_text(path, (header + "\n" if header else "") + csv_text(table))


@contextmanager
def growing_file(path: Path, n_bytes: int) -> Iterator[Callable[[bytes], None]]:
    """Hand out what appends to a file that is not whole yet; what it holds stays if the block ends.

    Args:
        path: The file; its folder must exist.
        n_bytes: How many of its first bytes stay, 0 to begin anew.

    Yields:
        A function that appends bytes.

    Raises:
        OutputError: If the file cannot be opened or, by that function, written to.
    """

    def append(data: bytes) -> None:
        try:
            file.write(data)
            file.flush()
        except OSError as error:
            raise _output_error(path, error) from error

    try:
        file = path.open("r+b" if n_bytes else "wb")
        file.truncate(n_bytes)
        file.seek(n_bytes)
    except OSError as error:
        raise _output_error(path, error) from error
    try:
        yield append
    finally:
        with suppress(OSError):  # all was flushed; ``publish`` asks the disk once more
            file.close()


def publish(part: Path, path: Path) -> None:
    """Give a file that has become whole its final name, in the same folder."""
    try:
        _sync(part)
        part.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise _output_error(path, error) from error


def create_exclusive(path: Path, data: bytes) -> bool:
    """Create a small file that marks something as taken, unless it is there already.

    Not whole or not at all: another process may see it empty for a moment.

    Args:
        path: The file; its folder is made if need be.
        data: Its content.

    Returns:
        False if the file is there already; it is left as it is then.

    Raises:
        OutputError: If it cannot be written.
    """
    for _ in range(_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _output_error(path.parent, error) from error
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        except FileNotFoundError:
            continue  # the folder, empty, was removed by another process just now
        except OSError as error:
            raise _output_error(path, error) from error
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise _output_error(path, error) from error
        return True
    raise OutputError(f"cannot write {path}: its folder disappears again and again.")


def refresh(path: Path) -> bool:
    """Set the time of a file to now, by the clock of its file system; False if it is gone.

    Raises:
        OSError: If the file system is not to be reached.
    """
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def file_time(folder: Path) -> float:
    """Return the time, in seconds, by the clock that stamps the files of a folder.

    Args:
        folder: An existing folder.

    Raises:
        OutputError: If it cannot be written to.
    """
    with scratch_path(folder / ".time") as probe:
        probe.write_bytes(b"")
        return probe.stat().st_mtime


def remove_leftovers(folder: Path) -> None:
    """Remove what writers left half done that died more than a day ago.

    Args:
        folder: An existing output folder, which is searched to the bottom.

    Raises:
        OutputError: If one cannot be removed, or the folder cannot be written to.
    """
    long_ago = file_time(folder) - _LEFTOVER_S
    for path in folder.rglob(".*.part*"):
        try:
            if _PART.fullmatch(path.name) and path.stat().st_mtime < long_ago:
                path.unlink()
        except FileNotFoundError:
            continue  # another process was faster
        except OSError as error:
            raise _output_error(path, error) from error


def copy_folder(source: Path, folder: Path, *, last: str) -> Path:
    """Copy a folder of ours, file by file, each whole or not at all.

    Args:
        source: The folder.
        folder: Where the copy goes; made if need be.
        last: Name of the file that says that the folder is complete.

    Returns:
        The copy.

    Raises:
        OutputError: If it cannot be written.
    """
    prepare_folder(folder)
    for path in sorted(source.rglob("*"), key=lambda path: (path == source / last, path)):
        place = folder / path.relative_to(source)
        if path.is_dir():
            prepare_folder(place)
        else:
            write_bytes(place, path.read_bytes())
    return folder


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove files and folders of ours from an output folder before they are made anew.

    Args:
        folder: The output folder.
        names: Names in it; those that are not there are passed over.

    Raises:
        OutputError: If one cannot be removed.
    """
    for name in names:
        path = folder / name
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _output_error(path, error) from error


def canonical_json(content: Any) -> str:
    """Return JSON text that is the same for equal content: sorted keys, no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_bytes(data: bytes | memoryview) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_text(text: str) -> str:
    """Return the SHA-256 of ``text`` (UTF-8) in hexadecimal."""
    return sha256_bytes(text.encode("utf-8"))


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def safe_name(name: str) -> str:
    """Turn an id into a file name that every system accepts; ``original_name`` undoes it.

    Args:
        name: Any text, such as a slide_id.

    Returns:
        The text with path separators, control characters, ``%`` and other troublesome characters
        percent-encoded. Names that would be too long for a file system are cut and end in a hash
        (these alone cannot be undone).
    """
    safe = urllib.parse.quote(name, safe=" ()[]{}@+,;=~!#$&'^")
    if safe.startswith((".", "-")):
        safe = f"%{ord(safe[0]):02X}{safe[1:]}"
    if len(safe) > _MAX_NAME_BYTES:
        safe = f"{safe[: _MAX_NAME_BYTES - 17]}~{sha256_text(name)[:16]}"
    return safe


def original_name(safe: str) -> str:
    """Return the id that ``safe_name`` turned into ``safe``."""
    return urllib.parse.unquote(safe)
