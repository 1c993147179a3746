"""Config files: TOML with one table a command; unknown keys are refused with the nearest name."""

import difflib
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from histokeras.errors import ConfigError
from histokeras.foreign.text import read_limited

_MAX_BYTES = 1 << 20
STUDY = "study"
"""The table that `histokeras run` reads; to single commands it says nothing."""
_HEADER = re.compile(r"\s*\[{1,2}\s*([^\]]+?)\s*\]")


def nearest(name: str, known: Collection[str]) -> str:
    """Return a sentence that offers the nearest of ``known``, or lists them all."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(known))}."


def read_config(path: Path, commands: Collection[str]) -> dict[str, dict[str, Any]]:
    """Read a config file.

    Args:
        path: A TOML file with one table a command, such as ``[extract-features]``; its keys are
            the command's options without the leading dashes, ``-`` and ``_`` alike. ``[study]``
            may stand beside them.
        commands: The commands that exist.

    Returns:
        Command name to option name (with ``_``) to value.

    Raises:
        ConfigError: If it cannot be read, is not TOML, or names a command that does not exist.
    """
    try:
        content = tomllib.loads(read_limited(path, _MAX_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read config {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        why = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise ConfigError(f"{path} is not TOML: {why}.", code="CONFIG_NOT_TOML") from error
    for name, table in content.items():
        if name == STUDY:
            continue
        if name not in commands:
            raise ConfigError(
                f"{path}{at_line(path, name)}: no command [{name}].",
                code="CONFIG_UNKNOWN_KEY",
                hint=nearest(name, commands),
            )
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: `{name}` must be a table, written [{name}].")
    return {
        command: {_folded(key): value for key, value in table.items()}
        for command, table in content.items()
        if command != STUDY
    }


def at_line(path: Path, section: str, key: str = "") -> str:
    """Return ", line 3" for where a key of a section stands; "" unless one line alone has it.

    TOML's own reader keeps no lines.

    Args:
        path: A file that was read as TOML.
        section: Name of the table, such as ``extract-features`` or ``study.stages``.
        key: One of its keys, ``-`` and ``_`` alike; "" for the line that begins the table.
    """
    words = re.escape(_folded(key or section)).replace("_", "[-_]")
    wanted = re.compile(rf"^[^#]*?(?<![\w-])[\"']?{words}[\"']?\s*=")
    inside, found = "", []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        header = _HEADER.match(line)
        if header:
            inside = header.group(1)
        looked_at = f"{inside}.".startswith(f"{section}.") if key else not inside
        if (looked_at and wanted.match(line)) or (header and not key and inside == section):
            found.append(number)
    return f", line {found[0]}" if len(found) == 1 else ""


def _folded(key: str) -> str:
    return key.replace("-", "_")


def require_known_keys(
    table: Collection[str], known: Collection[str], *, path: Path, section: str
) -> None:
    """Refuse keys that a command does not have.

    Args:
        table: The keys found, ``-`` and ``_`` alike.
        known: The command's options, with ``_``.
        path: The file, for the message.
        section: Name of the table there.

    Raises:
        ConfigError: Code CONFIG_UNKNOWN_KEY, with the nearest name.
    """
    for key in table:
        if _folded(key) not in known:
            raise ConfigError(
                f"{path}{at_line(path, section, key)}: unknown key {key!r} in [{section}].",
                code="CONFIG_UNKNOWN_KEY",
                hint=nearest(_folded(key), known),
            )
