"""The seal of a feature file: a SHA-256 over all its bytes, in the user block before them.

HDF5 lets a file begin with a block of the writer's own, which every reader passes over. So the
digest stands in the file itself and yet covers every other byte: arrays, names, HDF5's own tables
and the gaps between them.
"""

import hashlib
from pathlib import Path

from histokeras.errors import FeatureError
from histokeras.files import sha256_bytes

BLOCK_BYTES = 512
"""The smallest user block that HDF5 allows."""
_MARK = b"histokeras feature file; SHA-256 of all that follows this block: "
_CHUNK_BYTES = 1 << 20
_AGAIN = "Run extract-features again: it computes damaged files anew."


def _block(digest: str) -> bytes:
    return (_MARK + digest.encode() + b"\n").ljust(BLOCK_BYTES, b"\0")


def seal(data: memoryview) -> None:
    """Fill the user block of a whole file in memory.

    Args:
        data: The file; its first ``BLOCK_BYTES`` are the user block.
    """
    data[:BLOCK_BYTES] = _block(sha256_bytes(data[BLOCK_BYTES:]))


def require_unbroken(path: Path) -> bool:
    """Check the seal of a file, without HDF5: what is damaged should not reach its C library.

    Args:
        path: The ``.h5`` file.

    Returns:
        True if its seal holds, False if it bears none: a foreign file, or one of an older version.

    Raises:
        FeatureError: VERIFY_FAILED if one byte is not as it was written.
    """
    try:
        with path.open("rb") as file:
            block = file.read(BLOCK_BYTES)
            if not block.startswith(_MARK):
                return False
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise FeatureError(
            f"{path.name} cannot be read: {error.strerror}.", code="VERIFY_FAILED"
        ) from error
    if block != _block(digest.hexdigest()):
        raise damaged(path)
    return True


def damaged(path: Path) -> FeatureError:
    """Return the error for a file that is not as it was written."""
    return FeatureError(
        f"{path.name} is damaged: it does not match its SHA-256.", code="VERIFY_FAILED", hint=_AGAIN
    )
