"""What decides a stage: its options and the content of what it reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from histokeras.files import canonical_json, sha256_file, sha256_text
from histokeras.runs.environment import versions

_HASHED_BYTES = 50_000_000
_PASSING = ("run.json", "failures.csv", "report.html")
"""Written anew by a command that found nothing to do: no content."""
_ASIDE = ("report", "explain", "heatmaps")
"""Folders of pictures that are drawn of a run afterwards: no content either."""


def stage_fingerprint(
    command: str, words: list[str], defaults: Mapping[str, Any], reads: list[Path]
) -> str:
    """Return the SHA-256 over all that decides what a stage gives.

    Args:
        command: The command.
        words: What it is called with.
        defaults: Its table in the config file.
        reads: Files and folders that it reads.
    """
    content = {
        "command": command,
        "words": words,
        "defaults": dict(defaults),
        "reads": {str(path): digest(path) for path in reads},
        "version": versions().get("histokeras"),
    }
    return sha256_text(canonical_json(content))


def digest(path: Path) -> str:
    """Return what tells whether a file or folder changed; "" where there is none.

    A table is hashed; of large files and of folders, names, sizes and times are.

    Args:
        path: The file or folder.
    """
    if path.is_dir():
        files = sorted(item for item in path.rglob("*") if item.is_file() and _counts(item, path))
        return sha256_text("\n".join(f"{item.relative_to(path)} {_state(item)}" for item in files))
    if not path.is_file():
        return ""
    return sha256_file(path) if path.stat().st_size <= _HASHED_BYTES else _state(path)


def _counts(item: Path, folder: Path) -> bool:
    aside = any(part in _ASIDE for part in item.relative_to(folder).parts)
    return item.name not in _PASSING and not aside and not item.name.startswith(".")


def _state(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"
