"""What a terminal shows: names of slides, classes and files are text, never commands to it."""

import sys
from typing import Any, TextIO

from histokeras.foreign.text import printable


class SafeStream:
    """A text stream that escapes control characters of all that is written to it.

    Args:
        stream: Where the text goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:
        """UTF-8 in place of ASCII, for which click would go round this stream."""
        found = str(getattr(self._stream, "encoding", "") or "utf-8")
        return "utf-8" if found.casefold() in ("ascii", "us-ascii", "ansi_x3.4-1968") else found

    def write(self, text: str) -> int:
        """Write text; a carriage return that begins it stays, for bars of progress."""
        start = "\r" if text.startswith("\r") else ""
        shown = start + printable(text.removeprefix(start))
        code = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(shown.encode(code, "backslashreplace").decode(code))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_terminal() -> None:
    """Let no name drive the terminal: stderr always, stdout where it is one.

    What goes into a file or a pipe from stdout stays byte for byte, for programs read it.
    """
    if not isinstance(sys.stderr, SafeStream):
        sys.stderr = SafeStream(sys.stderr)
    if not isinstance(sys.stdout, SafeStream) and sys.stdout is not None and sys.stdout.isatty():
        sys.stdout = SafeStream(sys.stdout)
