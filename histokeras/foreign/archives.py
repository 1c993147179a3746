"""Look at the list of a zip archive before anything in it is read. Nothing is ever extracted."""

import stat
import zipfile
from collections.abc import Sequence

from histokeras.errors import FeatureError

_MOST_MEMBERS = 10_000
_MOST_RATIO = 200
_SMALL_BYTES = 16 << 20
"""Members that inflate to no more than this do no harm, whatever their ratio."""
_LINK = stat.S_IFLNK


class UnsafeArchiveError(FeatureError):
    """An archive reaches outside itself or holds more than it seems (code ARCHIVE_UNSAFE)."""

    default_code = "ARCHIVE_UNSAFE"


def require_safe_archive(archive: zipfile.ZipFile, name: str, *, most_bytes: int) -> None:
    """Refuse an archive whose members lie elsewhere, or inflate without measure.

    Only the archive's directory is looked at. Python's zipfile never yields more bytes of a member
    than are declared there, so that what is judged here is what can come out.

    Args:
        archive: The open archive.
        name: What messages call it.
        most_bytes: Most bytes that all members may declare together.

    Raises:
        UnsafeArchiveError: Code ARCHIVE_UNSAFE.
    """
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        raise _unsafe(name, f"it holds {len(members):,} members, at most {_MOST_MEMBERS:,} are")
    _require_once([member.filename for member in members], name)
    for member in members:
        _require_inside(member, name)
        _require_measured(member, name)
    total = sum(member.file_size for member in members)
    if total > most_bytes:
        raise _unsafe(name, f"it declares {total:,} bytes, at most {most_bytes:,} are read")


def _require_once(names: Sequence[str], name: str) -> None:
    if len(set(names)) < len(names):
        twice = next(item for item in names if names.count(item) > 1)
        raise _unsafe(name, f"member {twice[:120]!r} stands twice in it")


def _require_inside(member: zipfile.ZipInfo, name: str) -> None:
    # The name as it stands in the file: zipfile cuts some of it off for its own use.
    written = (member.orig_filename or member.filename).replace("\\", "/")
    parts = written.split("/")
    if written.startswith("/") or ".." in parts or ":" in parts[0] or "\0" in written:
        raise _unsafe(name, f"member {written[:120]!r} lies outside it")
    if stat.S_IFMT(member.external_attr >> 16) == _LINK:
        raise _unsafe(name, f"member {written[:120]!r} is a link to elsewhere")


def _require_measured(member: zipfile.ZipInfo, name: str) -> None:
    if member.flag_bits & 1:
        raise _unsafe(name, f"member {member.filename[:120]!r} is encrypted")
    large = member.file_size > _SMALL_BYTES
    if large and member.file_size > _MOST_RATIO * max(member.compress_size, 1):
        raise _unsafe(
            name,
            f"member {member.filename[:120]!r} inflates {member.compress_size:,} bytes to "
            f"{member.file_size:,}",
        )


def _unsafe(name: str, why: str) -> UnsafeArchiveError:
    return UnsafeArchiveError(
        f"{name} is not unpacked: {why}.", hint="Give a file of a source that you trust."
    )
