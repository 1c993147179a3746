"""Walk through an HDF5 file of unknown origin before any value in it is read."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from histokeras.errors import FeatureError

_MOST_OBJECTS = 100_000
_MOST_ATTRIBUTES = 10_000
_SMALL_BYTES = 64 << 20
_INFLATION = 50
"""Bytes that a stored byte may stand for, beyond the first 64 MB: features and weights shrink to a
half or a tenth, a bomb of zeros to a thousandth."""
_TEXT_BYTES = 1 << 30
"""Most memory that texts of any length may need at once, in the worst case."""
# Those that HDF5 and h5py bring along: gzip, shuffle, fletcher32, szip, nbit, scale-offset, lzf.
# Any other would make HDF5 look for a library to load.
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})


def require_plain_hdf5(file: h5py.File, path: Path) -> None:
    """Refuse a file that could read other files, load libraries, or fill the memory.

    Only links, headers and indices are read, no value.

    Args:
        file: The open file.
        path: For messages.

    Raises:
        FeatureError: H5_UNSAFE if something in it lies elsewhere, needs a foreign filter, or
            declares more than the file can hold; VERIFY_FAILED if its structure is damaged.
    """
    try:
        _walk(file, path)
    except FeatureError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise FeatureError(
            f"{path.name} is damaged: {str(error)[:200]}", code="VERIFY_FAILED"
        ) from error


def text_batch(file: h5py.File) -> int:
    """Return how many texts of any length may be read at once.

    Each may be as long as the file: HDF5 lets all of them share one long text.

    Args:
        file: The open file.
    """
    return max(1, _TEXT_BYTES // 4 // max(int(file.id.get_filesize()), 1))


def _walk(file: h5py.File, path: Path) -> None:
    size = int(file.id.get_filesize())
    stored, declared, waiting = 0, 0, [file["/"]]
    seen: set[int] = set()
    n_texts = _texts_in_attributes(file["/"], size, path)
    while waiting:
        for item in _members(waiting.pop(), path, seen):
            n_texts = max(n_texts, _texts_in_attributes(item, size, path))
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                found = _measured(item, path)
                stored, declared = stored + found[0], declared + found[1]
    # Pieces may be made to share their bytes: then they add up to more than the file.
    if stored > size or declared > _SMALL_BYTES + _INFLATION * size:
        raise unsafe(path, f"it declares {declared:,} bytes, more than its {size:,} can hold")
    # Each text may be as long as all that is no array.
    if n_texts > 1 and n_texts * (size - stored) > _TEXT_BYTES:
        raise unsafe(path, f"an attribute of {n_texts:,} texts could be more than it can hold")


def _members(group: h5py.Group, path: Path, seen: set[int]) -> Iterator[Any]:
    """Yield what lies in a group and has not been seen; hard links may go round in circles."""
    if len(group) > _MOST_OBJECTS:
        raise unsafe(path, f"it holds more than {_MOST_OBJECTS:,} objects")
    for name in group:
        # Soft, external and user-defined links could lead to other files.
        link = group.id.links.get_info(name.encode("utf-8", "surrogateescape"))
        if link.type != h5py.h5l.TYPE_HARD:
            raise unsafe(path, f"`{name}` is a link to elsewhere")
        item = group[name]
        address = int(h5py.h5o.get_info(item.id).addr)
        if address in seen:
            continue
        seen.add(address)
        if len(seen) > _MOST_OBJECTS:
            raise unsafe(path, f"it holds more than {_MOST_OBJECTS:,} objects")
        yield item


def _measured(item: h5py.Dataset, path: Path) -> tuple[int, int]:
    """Return how many bytes an array takes in the file, and how many it says it has."""
    name = str(item.name).rsplit("/", 1)[-1]
    if item.external or item.is_virtual:
        raise unsafe(path, f"`{name}` is stored elsewhere")
    plist = item.id.get_create_plist()
    filters = {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
    if not filters <= _FILTERS:
        raise unsafe(
            path, f"`{name}` needs the filter {min(filters - _FILTERS)}, a foreign library"
        )
    stored = int(item.id.get_storage_size())
    width = item.id.get_type().get_size()
    # A chunk is inflated whole, also where the array ends before it does.
    numbers = 0 if item.shape is None else math.prod(item.shape)
    declared = max(numbers, math.prod(item.chunks or (0,))) * width
    if declared > _SMALL_BYTES + _INFLATION * stored:
        raise unsafe(
            path, f"`{name}` declares {declared:,} bytes, more than the {stored:,} stored can hold"
        )
    return stored, declared


def _texts_in_attributes(item: Any, size: int, path: Path) -> int:
    """Return of how many texts of any length the longest attribute consists; 0 if of none."""
    if len(item.attrs) > _MOST_ATTRIBUTES:
        raise unsafe(path, f"it holds more than {_MOST_ATTRIBUTES:,} attributes")
    longest = 0
    for name in item.attrs:
        attribute = item.attrs.get_id(name)
        n, kind = math.prod(attribute.shape), attribute.get_type()
        if n * kind.get_size() > size:
            raise unsafe(path, f"the attribute `{name}` declares more than the file can hold")
        longest = max(longest, n if _is_variable(kind) else 0)
    return longest


def _is_variable(kind: Any) -> bool:
    text = isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str()
    return text or kind.get_class() in (h5py.h5t.VLEN, h5py.h5t.COMPOUND, h5py.h5t.ARRAY)


def unsafe(path: Path, why: str) -> FeatureError:
    """Return the error for a file that is not read.

    Args:
        path: The file.
        why: A clause.
    """
    return FeatureError(
        f"{path.name} is not read: {why}.",
        code="H5_UNSAFE",
        hint="Give a file of a source that you trust.",
    )
