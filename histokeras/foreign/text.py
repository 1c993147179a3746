"""JSON of bounded size and depth, and names that may be printed."""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 32 << 20
"""Most bytes of a JSON file of ours. Python needs up to 20 times as much for what it holds."""
_MAX_DEPTH = 64
_UNPRINTABLE = re.compile(
    # Control characters but tab and line feed; half surrogates; marks of text direction.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def read_limited(path: Path, most_bytes: int) -> bytes:
    """Return the content of a regular file, and never more of it than allowed.

    Args:
        path: The file; a link is followed.
        most_bytes: Its largest allowed size.

    Raises:
        ValueError: If it is larger, or a pipe or device, which would have no end.
        OSError: If it cannot be read.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(21, os.strerror(21), str(path))
        raise ValueError("it is a pipe or device, no file")
    # A file may also grow while it is read.
    if found.st_size <= most_bytes:
        with path.open("rb") as file:
            # No more than need be: so much memory is taken at once.
            data = file.read(found.st_size + 1)
        if len(data) <= most_bytes:
            return data
    raise ValueError(f"it is larger than {most_bytes / (1 << 20):g} MB")


def read_json(path: Path, most_bytes: int = MAX_JSON_BYTES) -> Any:
    """Return what a JSON file of ours holds.

    Args:
        path: The file.
        most_bytes: Its largest allowed size.

    Raises:
        ValueError: If it is too large, no UTF-8, or JSON that :func:`parse_json` refuses.
        OSError: If it cannot be read.
    """
    return parse_json(read_limited(path, most_bytes).decode("utf-8-sig"))


def parse_json(text: str) -> Any:
    """Return what JSON text holds, if any program would understand the same by it.

    Args:
        text: JSON, of bounded length.

    Raises:
        ValueError: If it is none; if a key stands twice in one object, a number is NaN, infinite or
            has thousands of digits, or it is nested deeper than anything of ours.
    """
    try:
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep") from error
    _require_shallow(content)
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return content


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _require_shallow(content: Any) -> None:
    level = [content]
    for _ in range(_MAX_DEPTH + 1):
        level = [
            item
            for holder in level
            if isinstance(holder, (dict, list))
            for item in (holder.values() if isinstance(holder, dict) else holder)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")


def printable(text: str, *, one_line: bool = False) -> str:
    r"""Return text that no terminal takes for a command: control characters as ``\x1b``.

    Args:
        text: What is to be printed; names in it may be anybody's.
        one_line: Whether line feeds are escaped too: a name must not forge lines of a log.
    """
    text = _UNPRINTABLE.sub(_escaped, text)
    return text.replace("\n", "\\n") if one_line else text


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
