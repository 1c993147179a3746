"""Folders that a stranger may have packed: no link in them leads out."""

import os
from pathlib import Path

from histokeras.errors import FeatureError

_ELSEWHERE = frozenset({"features", "tiles"})
"""Large folders, which people keep on another disk; what lies in them proves itself."""


def require_no_links_out(folder: Path) -> None:
    """Refuse a folder in which a link leads to a file elsewhere: it would be copied or shown.

    The folder itself may be a link, and so may ``features`` and ``tiles`` in it.

    Args:
        folder: A run folder, or the output of ``predict``.

    Raises:
        FeatureError: PATH_UNSAFE, naming the link.
    """
    root = folder.resolve()
    for place, folders, names in os.walk(folder):
        if Path(place) == folder:
            folders[:] = [name for name in folders if name not in _ELSEWHERE]
        for name in (*folders, *names):
            path = Path(place, name)
            if path.is_symlink() and not _is_inside(path, root):
                raise FeatureError(
                    f"{path} is a link out of {folder.name}: what it leads to is not read.",
                    code="PATH_UNSAFE",
                    hint="Put the file itself there, if it belongs there.",
                )


def _is_inside(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):
        # Links that lead round in a circle.
        return False
