"""Fetch one file of the GDC: from where it broke off, its size and MD5 checked on the way."""

import hashlib
import re
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING

from histokeras.cohort.gdc import PARTIAL, GdcFile
from histokeras.cohort.gdc_http import (
    NETWORK_ERRORS,
    REFUSES_RANGE,
    WRONG_SIZE,
    Manner,
    PassingError,
    StoppedError,
    lost_server,
    open_url,
    reason_of,
    wait,
)
from histokeras.errors import HistokerasError, SlideError
from histokeras.files import growing_file, publish, remove

if TYPE_CHECKING:
    from hashlib import _Hash

_CHUNK_BYTES = 1 << 18
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, kw_only=True)
class Fetching:
    """What the downloads of one command share.

    Attributes:
        folder: Where files go.
        server: Address without a slash at its end.
        manner: How patient to be.
        stop: Set when the work is to end; ``.partial`` files stay.
        on_bytes: Told how many bytes came (negative: were thrown away).
        say: Told of every failure that is tried again.
    """

    folder: Path
    server: str
    manner: Manner
    stop: threading.Event
    on_bytes: Callable[[int], None]
    say: Callable[[str], None]


def partial_bytes(folder: Path, file: GdcFile) -> int:
    """Return how many bytes of a file an earlier command has left."""
    part = folder / (file.filename + PARTIAL)
    return part.stat().st_size if part.is_file() else 0


def md5_of(path: Path, stop: threading.Event | None = None) -> str:
    """Return the MD5 of a file in hexadecimal.

    Raises:
        StoppedError: If told to stop meanwhile.
    """
    return _digest(path, path.stat().st_size, stop).hexdigest()


def _digest(path: Path, n_bytes: int, stop: threading.Event | None) -> "_Hash":
    digest = _new_digest()
    with path.open("rb") as source:
        while n_bytes > 0 and (chunk := source.read(min(n_bytes, _CHUNK_BYTES))):
            if stop is not None and stop.is_set():
                raise StoppedError
            digest.update(chunk)
            n_bytes -= len(chunk)
    return digest


def _new_digest() -> "_Hash":
    # The GDC states no other; it guards against accidents, not against attacks.
    return hashlib.md5(usedforsecurity=False)


@dataclass
class _State:
    """How much of a file is there, and the MD5 of that."""

    n_bytes: int
    digest: "_Hash"

    def begin_anew(self, work: Fetching) -> None:
        work.on_bytes(-self.n_bytes)
        self.n_bytes, self.digest = 0, _new_digest()


def fetch(file: GdcFile, work: Fetching) -> None:
    """Fetch a file, whole and with the right MD5, or not at all.

    A ``.partial`` file is gone on with. What breaks off, stalls or meets a passing answer is tried
    again; a file with wrong bytes is fetched anew from its first one.

    Args:
        file: Which.
        work: Where from and to.

    Raises:
        SlideError: MD5_MISMATCH, SIZE_MISMATCH or GDC_REFUSED.
        MissingError: GDC_UNREACHABLE if no byte was gained in so many tries.
        OutputError: If it cannot be written.
        StoppedError: If told to stop.
    """
    part = work.folder / (file.filename + PARTIAL)
    tries, got = work.manner.whole_tries, ""
    for number in range(1, tries + 1):
        got = _complete(file, part, work)
        if got == file.md5:
            publish(part, work.folder / file.filename)
            return
        remove(work.folder, [part.name])
        work.on_bytes(-file.size)
        work.say(f"{file.filename}: MD5 expected {file.md5}, got {got} ({number} of {tries})")
    raise SlideError(
        f"`{file.filename}`: MD5 expected {file.md5}, got {got} ({tries} whole downloads).",
        code="MD5_MISMATCH",
        hint="Take the manifest anew from the GDC, then run the same command.",
    )


def _complete(file: GdcFile, part: Path, work: Fetching) -> str:
    """Bring a partial file to its full size; return its MD5."""
    n_bytes = partial_bytes(work.folder, file)
    state = _State(n_bytes, _digest(part, n_bytes, work.stop) if n_bytes else _new_digest())
    if n_bytes > file.size:
        state.begin_anew(work)
    failures, manner = 0, work.manner
    while state.n_bytes < file.size:
        before = state.n_bytes
        try:
            _stream(file, part, work, state)
        except PassingError as error:
            failures = 1 if state.n_bytes > before else failures + 1
            if failures >= manner.tries:
                raise _given_up(file, error, failures) from error
            if error.kind == REFUSES_RANGE:
                state.begin_anew(work)
            pause = manner.pause(failures, error.asked_s)
            work.say(f"{file.filename}: {error.reason}; tried again in {pause:.0f} s")
            wait(pause, work.stop)
    return state.digest.hexdigest()


def _given_up(file: GdcFile, error: PassingError, failures: int) -> HistokerasError:
    if error.kind != WRONG_SIZE:
        return lost_server(f"`{file.filename}`", failures, error.reason)
    return SlideError(
        f"`{file.filename}`: {error.reason}.",
        code="SIZE_MISMATCH",
        hint="Take the manifest anew from the GDC, then run the same command.",
    )


def _stream(file: GdcFile, part: Path, work: Fetching, state: _State) -> None:
    """Ask for what is missing and append what comes.

    Raises:
        PassingError: If not all of it came.
    """
    request = urllib.request.Request(f"{work.server}/data/{file.id}")
    if state.n_bytes:
        request.add_header("Range", f"bytes={state.n_bytes}-")
    with open_url(request, work.manner.timeout_s) as response:
        if _first_byte(response, file, state.n_bytes) == 0 and state.n_bytes:
            state.begin_anew(work)
        with growing_file(part, state.n_bytes) as append:
            while chunk := _read(response, file.size - state.n_bytes):
                append(chunk)
                state.digest.update(chunk)
                state.n_bytes += len(chunk)
                work.on_bytes(len(chunk))
                if work.stop.is_set():
                    raise StoppedError
    if state.n_bytes < file.size:
        raise PassingError(f"broke off after {state.n_bytes} of {file.size} bytes")


def _first_byte(response: HTTPResponse, file: GdcFile, asked: int) -> int:
    """Return which byte of the file the answer begins with: the one asked for, or 0."""
    told = response.headers.get("Content-Length")
    start, total = 0, told
    if response.status == 206:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != asked:
            raise PassingError("the server sends another part than asked for", kind=REFUSES_RANGE)
        start, total = asked, found[2]
    if total not in (None, "*") and total != str(file.size):
        # An error page in place of the file, or a file that was replaced since.
        raise PassingError(
            f"size expected {file.size} bytes, the server has {total}", kind=WRONG_SIZE
        )
    return start


def _read(response: HTTPResponse, n_bytes: int) -> bytes:
    """Read what there is, so that a stall loses nothing; b"" at the end."""
    try:
        return response.read1(min(n_bytes, _CHUNK_BYTES)) if n_bytes else b""
    except NETWORK_ERRORS as error:
        raise PassingError(reason_of(error)) from error
