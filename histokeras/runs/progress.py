"""Progress on stderr: a bar on a terminal, a plain line a slide in a log."""

import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from histokeras.foreign.text import printable


class Progress:
    """Counts slides and tiles and says how fast they pass.

    Args:
        n_slides: How many slides there are to do.
        quiet: Say nothing (the Python API).
        parts: What the parts of a slide are called.
    """

    def __init__(self, n_slides: int, *, quiet: bool = False, parts: str = "tiles") -> None:
        self._parts = parts
        self._n, self._done, self._tiles = n_slides, 0, 0
        self._quiet = quiet
        self._started = self._slide_started = time.monotonic()
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            self._bar = tqdm(total=n_slides, unit="slide", file=sys.stderr, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def tiles(self, n: int) -> None:
        """Count ``n`` more tiles."""
        self._tiles += n
        if self._bar is not None:
            rate = self._tiles / max(time.monotonic() - self._started, 1e-6)
            self._bar.set_postfix_str(f"{rate:.1f} {self._parts}/s")

    def note(self, text: str) -> None:
        """Say something that is no slide's end."""
        text = printable(text, one_line=True)
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif not self._quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def slide(self, slide_id: str, outcome: str, detail: str = "") -> None:
        """Count one slide as over and say how it went."""
        self._done += 1
        text = f"[{self._done}/{self._n}] {slide_id}: {outcome}{', ' if detail else ''}{detail}"
        text = printable(text, one_line=True)
        if self._bar is not None:
            self._bar.update(1)
            if outcome != "done":
                self._bar.write(text, file=sys.stderr)
        elif not self._quiet:
            elapsed = time.monotonic() - self._started
            left = elapsed / self._done * (self._n - self._done)
            rate = self._tiles / max(elapsed, 1e-6)
            pace = f" ({rate:.1f} {self._parts}/s, {left:.0f} s left)" if self._tiles else ""
            sys.stderr.write(text + pace + "\n")
            sys.stderr.flush()


class ByteProgress:
    """Counts files and bytes that come in, from several threads, and says how fast.

    Args:
        n_files: How many files there are to do.
        n_bytes: How many bytes there are to come.
        quiet: Say nothing (the Python API).
    """

    def __init__(self, n_files: int, n_bytes: int, *, quiet: bool = False) -> None:
        self._n, self._done = n_files, 0
        self._n_bytes, self._bytes = n_bytes, 0
        self._quiet = quiet
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            self._bar = tqdm(
                total=n_bytes, unit="B", unit_scale=True, file=sys.stderr, dynamic_ncols=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, n: int) -> None:
        """Count ``n`` more bytes; fewer, if ``n`` is negative."""
        with self._lock:
            self._bytes += n
            if self._bar is not None:
                self._bar.update(n)

    def note(self, text: str) -> None:
        """Say something that is no file's end."""
        text = printable(text, one_line=True)
        with self._lock:
            if self._bar is not None:
                self._bar.write(text, file=sys.stderr)
            elif not self._quiet:
                sys.stderr.write(text + "\n")
                sys.stderr.flush()

    def file(self, name: str, outcome: str, detail: str = "") -> None:
        """Count one file as over and say how it went."""
        self._done += 1
        text = f"[{self._done}/{self._n}] {name}: {outcome}{', ' if detail else ''}{detail}"
        if self._bar is None:
            rate = self._bytes / max(time.monotonic() - self._started, 1e-6)
            left = max(0, self._n_bytes - self._bytes)
            text += f" ({rate / 1e6:.1f} MB/s, {left / rate:.0f} s left)" if rate > 0 else ""
        if self._bar is None or outcome != "done":
            self.note(text)
