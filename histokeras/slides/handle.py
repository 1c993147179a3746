"""A slide's file handle: shared by reading threads, opened anew where a read fails.

OpenSlide answers every read after an error with that error, and the handle of a network drive that
went away stays dead: only another handle tells whether a place can really not be read.
"""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from histokeras.errors import HistokerasError, SlideError
from histokeras.slides.source import Image, SlideSource

T = TypeVar("T")

PAUSES_S = [0.5, 2.0]
"""How long to wait before storage that failed is tried again."""
_STORAGE = frozenset(
    {
        *(errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN),
        *(errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENODEV, errno.ENXIO),
        *(errno.EREMOTEIO, errno.ECONNRESET, errno.ECONNABORTED, errno.EBADF),
    }
)
_TEXTS = ("I/O error", *map(os.strerror, sorted(_STORAGE)))


def is_storage(error: BaseException) -> bool:
    """Return whether an error is that of a disk or network drive, not of a damaged file.

    Args:
        error: From Python, or from a C library that only gives a text.
    """
    if isinstance(error, SlideError):
        return error.code == "IO_ERROR"
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _STORAGE
    return any(text in str(error) for text in _TEXTS)


def require_storage(path: Path) -> None:
    """Check that the file can still be reached: a library's text does not always tell.

    Raises:
        OSError: If its first or last byte cannot be read.
    """
    with path.open("rb") as file:
        file.read(1)
        file.seek(-1, os.SEEK_END)
        file.read(1)


def io_error(where: str, error: BaseException) -> SlideError:
    """Return the error for a file on storage that keeps failing.

    Args:
        where: The slide and the place in it, the beginning of the sentence.
        error: What was said last.
    """
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return SlideError(
        f"{where}: the storage failed {len(PAUSES_S) + 1} times ({text}).",
        code="IO_ERROR",
        hint="Look whether its disk or network drive is there, then run the same command.",
    )


def tried_again(read: Callable[[], T], where: str) -> T:
    """Call ``read``; where the storage fails, wait and call it twice more.

    Args:
        read: Opens the file itself, so that each call has a new handle.
        where: The slide, for messages.

    Raises:
        SlideError: IO_ERROR if the storage failed each time, or what ``read`` raises otherwise.
    """
    for pause in (*PAUSES_S, None):
        try:
            return read()
        except (OSError, SlideError) as error:
            if not is_storage(error):
                raise
            if pause is None:
                raise error if isinstance(error, SlideError) else io_error(where, error) from error
            time.sleep(pause)
    raise AssertionError


class Handle:
    """Hands out one open source to many threads, and replaces it when it is broken.

    A replaced source is closed when its last reader leaves: closing under a reader can crash.

    Args:
        source: The open source.
        reopen: Opens another one of the same file.
    """

    def __init__(self, source: SlideSource, reopen: Callable[[], SlideSource]) -> None:
        self.current = source
        self._reopen = reopen
        self._readers: dict[int, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def _shared(self) -> Iterator[SlideSource]:
        with self._lock:
            source = self.current
            self._readers[id(source)] = self._readers.get(id(source), 0) + 1
        try:
            yield source
        finally:
            with self._lock:
                self._readers[id(source)] -= 1
                self._close_if_replaced(source)

    def _close_if_replaced(self, source: SlideSource) -> None:
        if not self._readers.get(id(source)):
            self._readers.pop(id(source), None)
            if source is not self.current:
                source.close()

    def _replace(self, broken: SlideSource, fresh: SlideSource) -> None:
        with self._lock:
            if self.current is not broken:
                # Another thread was faster.
                fresh.close()
                return
            self.current = fresh
            self._close_if_replaced(broken)

    def read(
        self, path: Path, location: tuple[int, int], level: int, size: tuple[int, int]
    ) -> Image:
        """Read a window; where that fails, once more with a handle of its own.

        Storage that failed is tried twice more, after a pause. An error of another window, which
        OpenSlide repeats, thus never counts for this one.

        Args:
            path: The file.
            location: Top-left corner (x, y) in level-0 pixels.
            level: Number of the level.
            size: (width, height) in pixels of that level.

        Raises:
            Exception: Whatever the library raised at last.
        """
        with self._shared() as source:
            try:
                return source.read(location, level, size)
            except (HistokerasError, MemoryError):
                raise
            except Exception as error:
                last = error
        for attempt, pause in enumerate(PAUSES_S):
            if _is_storage_now(last, path):
                time.sleep(pause)
            elif attempt:
                break
            try:
                fresh, image = self._read_alone(location, level, size)
            except MemoryError:
                raise
            except Exception as error:
                last = error
                continue
            self._replace(source, fresh)
            return image
        raise last

    def _read_alone(
        self, location: tuple[int, int], level: int, size: tuple[int, int]
    ) -> tuple[SlideSource, Image]:
        fresh = self._reopen()
        try:
            return fresh, fresh.read(location, level, size)
        except BaseException:
            fresh.close()
            raise

    def close(self) -> None:
        """Release the file. Closing twice does no harm."""
        self.current.close()


def _is_storage_now(error: Exception, path: Path) -> bool:
    if is_storage(error):
        return True
    try:
        require_storage(path)
    except OSError:
        return True
    return False
