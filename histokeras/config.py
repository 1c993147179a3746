"""Config files: TOML with one table a command; unknown keys are refused with the nearest name."""

import difflib
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from histokeras.errors import ConfigError
from histokeras.foreign.text import read_limited

_MAX_BYTES = 1 << 20
STUDY = "study"
"""The table that `histokeras run` reads; to single commands it says nothing."""


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
                f"{path}: no command [{name}].",
                code="CONFIG_UNKNOWN_KEY",
                hint=nearest(name, commands),
            )
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: `{name}` must be a table, written [{name}].")
    return {
        command: {key.replace("-", "_"): value for key, value in table.items()}
        for command, table in content.items()
        if command != STUDY
    }


def require_known_keys(table: Collection[str], known: Collection[str], *, where: str) -> None:
    """Refuse keys that a command does not have.

    Args:
        table: The keys found, with ``_``.
        known: The command's options, with ``_``.
        where: File and table, for the message.

    Raises:
        ConfigError: Code CONFIG_UNKNOWN_KEY, with the nearest name.
    """
    for key in table:
        if key not in known:
            raise ConfigError(
                f"{where}: unknown key {key!r}.",
                code="CONFIG_UNKNOWN_KEY",
                hint=nearest(key, known),
            )
