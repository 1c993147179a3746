"""Read what a TIFF declares before a library believes it: sizes, stored pieces, kind of pixels.

Libraries allocate what a header asks for, and the C ones may end the process over a damaged one.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from histokeras.errors import SlideError
from histokeras.slides.checks import not_brightfield, require_reasonable_size

_MAX_PAGES, _MAX_TAGS = 256, 4096
_FORMATS = {1: "u1", 3: "u2", 4: "u4", 7: "u1", 16: "u8"}
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _PLANES = 256, 257, 258, 262, 277, 284
_TILE_WIDTH, _TILE_HEIGHT, _OFFSETS, _BYTES, _ICC = 322, 323, 324, 325, 34675
_WANTED = frozenset({_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _PLANES, _TILE_WIDTH,
                     _TILE_HEIGHT, _OFFSETS, _BYTES, _ICC})  # fmt: skip
_GREY, _CMYK, _SEPARATE = (0, 1), 5, 2
_CLASSIC_BYTES = 1 << 32
_FEW = 16
_MOST = {_ICC: 40, _BYTES: 1 << 23}
"""How many numbers of a tag are read, 16 of any other: a forged count would be allocated."""


@dataclass(frozen=True)
class Page:
    """What one page of a TIFF declares.

    Attributes:
        values: Tag -> its whole numbers; tags of other types are left out.
        counts: Tag -> how many numbers it says it has.
    """

    values: Mapping[int, tuple[int, ...]]
    counts: Mapping[int, int]

    def first(self, tag: int, default: int = 0) -> int:
        """Return the first number of a tag, ``default`` if there is none."""
        return next(iter(self.values.get(tag, ())), default)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels; 0 where it is not said."""
        return self.first(_WIDTH), self.first(_HEIGHT)

    @property
    def tile(self) -> tuple[int, int]:
        """(width, height) of a stored tile in pixels; 0 where the page has strips."""
        return self.first(_TILE_WIDTH), self.first(_TILE_HEIGHT)


class _Ends(Exception):
    """The file ends within its directories."""


class _Tiff:
    """The directories of an open TIFF, classic or big, of either byte order."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        start = self._at(0, 16)
        self._order = "<" if start[:2] == b"II" else ">"
        self._big = start[2:4] in (b"+\0", b"\0+")
        self.first = self._unpack("Q", start[8:16]) if self._big else self._first(start)

    def _first(self, start: bytes) -> int:
        # Hamamatsu writes classic TIFFs beyond 4 GB: their first offset has 8 bytes.
        long = self._unpack("Q", start[4:12])
        if self._size >= _CLASSIC_BYTES and long < self._size:
            return long
        return self._unpack("I", start[4:8])

    def _at(self, offset: int, n: int) -> bytes:
        if offset + n > self._size:
            raise _Ends
        self._file.seek(offset)
        data = self._file.read(n)
        if len(data) < n:
            raise _Ends
        return data

    def _unpack(self, kind: str, data: bytes) -> int:
        return int(struct.unpack(self._order + kind, data)[0])

    def pages(self) -> Iterator[Page]:
        offset, seen = self.first, set[int]()
        entry = 20 if self._big else 12
        word = "Q" if self._big or self._size >= _CLASSIC_BYTES else "I"
        while 0 < offset < self._size and offset not in seen and len(seen) < _MAX_PAGES:
            seen.add(offset)
            head = "Q" if self._big else "H"
            n = self._unpack(head, self._at(offset, struct.calcsize(head)))
            if n > _MAX_TAGS:
                return
            offset += struct.calcsize(head)
            entries = self._at(offset, n * entry)
            yield self._page([entries[i : i + entry] for i in range(0, len(entries), entry)])
            end = self._at(offset + n * entry, struct.calcsize(word))
            offset = self._unpack(word, end)

    def _page(self, entries: list[bytes]) -> Page:
        values, counts = {}, {}
        for entry in entries:
            tag, kind = self._unpack("H", entry[:2]), self._unpack("H", entry[2:4])
            if tag not in _WANTED or kind not in _FORMATS:
                continue
            word, cell = ("Q", entry[12:]) if self._big else ("I", entry[8:])
            counts[tag] = self._unpack(word, entry[4 : -len(cell)])
            values[tag] = self._values(tag, kind, counts[tag], cell)
        return Page(values, counts)

    def _values(self, tag: int, kind: int, count: int, cell: bytes) -> tuple[int, ...]:
        dtype = np.dtype(self._order + _FORMATS[kind])
        if tag == _OFFSETS:
            # Their number is enough, and it is large.
            return ()
        n_bytes = min(count, _MOST.get(tag, _FEW)) * dtype.itemsize
        data = cell
        if count * dtype.itemsize > len(cell):
            # Hamamatsu's files beyond 4 GB keep the upper half of such an offset elsewhere.
            if self._size >= _CLASSIC_BYTES and not self._big:
                return ()
            try:
                data = self._at(self._unpack("Q" if self._big else "I", cell), n_bytes)
            except _Ends:
                return ()
        numbers = np.frombuffer(data[:n_bytes], dtype)
        if tag == _BYTES:
            # The largest alone is asked for.
            return (int(numbers.max(initial=0)),)
        return tuple(numbers.tolist())


def read_pages(path: Path) -> list[Page]:
    """Return what the pages of a TIFF declare, as far as its directories can be followed.

    Args:
        path: Any file; only its directories are read.

    Returns:
        The pages in order; none if it is no TIFF.

    Raises:
        OSError: If the file cannot be read.
    """
    pages: list[Page] = []
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return []
        try:
            pages.extend(_Tiff(file, size).pages())
        except _Ends:
            # Libraries tell better what they miss.
            return pages
    return pages


def require_sound_tiff(path: Path, pages: list[Page]) -> None:
    """Refuse a TIFF whose header would make a library allocate without measure, or is no H&E.

    Args:
        path: The file.
        pages: What it declares.

    Raises:
        SlideError: SLIDE_TOO_LARGE, SLIDE_UNREADABLE or NOT_BRIGHTFIELD.
    """
    n_bytes = path.stat().st_size
    for page in pages:
        if {_WIDTH, _HEIGHT} <= set(page.values):
            require_reasonable_size(page.size, page.tile, path.name)
        if _TILE_WIDTH in page.values:
            _require_tiles(page, n_bytes, path.name)
    largest = largest_page(pages)
    if largest is not None:
        _require_colours(largest, path.name)


def _require_tiles(page: Page, n_bytes: int, name: str) -> None:
    (width, height), (across, down) = page.size, page.tile
    if min(across, down) < 1:
        raise _damaged(name, f"its tiles have {across} x {down} px")
    planes = page.first(_SAMPLES, 1) if page.first(_PLANES) == _SEPARATE else 1
    needed = -(-width // across) * -(-height // down) * planes
    listed = min(page.counts.get(tag, 0) for tag in (_OFFSETS, _BYTES))
    if listed < needed:
        raise _damaged(
            name, f"{width} x {height} px need {needed} tiles of {across} x {down} px, and it "
            f"lists {listed}"
        )  # fmt: skip
    if page.first(_BYTES) > n_bytes:
        raise _damaged(name, f"a tile has {page.first(_BYTES)} bytes, the file {n_bytes}")


def _damaged(name: str, what: str) -> SlideError:
    return SlideError(
        f"slide `{name}`: its header is damaged: {what}.", hint="Download or copy it again."
    )


def _require_colours(page: Page, name: str) -> None:
    deep = [bits for bits in page.values.get(_BITS, ()) if bits != 8]
    if deep:
        raise not_brightfield(name, f"stored with {deep[0]} bits a colour")
    if page.first(_PHOTOMETRIC, _CMYK) in _GREY:
        raise not_brightfield(
            name, f"greyscale or fluorescence ({page.first(_SAMPLES, 1)} channel(s))"
        )


def largest_page(pages: list[Page]) -> Page | None:
    """Return the page with the most pixels: level 0; None if there is no page."""
    return max(pages, key=lambda page: page.size[0] * page.size[1], default=None)


def colour_note(page: Page | None) -> str:
    """Return a remark on colours that are not what is usual, "" if there is nothing to say."""
    if page is None:
        return ""
    return colour_remark(
        "CMYK" if page.first(_PHOTOMETRIC, 2) == _CMYK else "RGB",
        bytes(page.values[_ICC]) if _ICC in page.values else None,
    )


def colour_remark(mode: str, profile: bytes | None) -> str:
    """Return a remark on an image that is stored as CMYK, or with a profile for other colours.

    Args:
        mode: How colours are stored, "CMYK" or another.
        profile: The first 40 bytes of the ICC profile, None without one.
    """
    if mode == "CMYK":
        return "CMYK: the colours are stored for print and were converted without a profile."
    if profile is None or (profile[36:40] == b"acsp" and profile[16:20] == b"RGB "):
        return ""
    space = profile[16:20].decode("ascii", "replace").strip() if profile[36:40] == b"acsp" else ""
    what = f"is for {space} colours" if space.isprintable() and space else "is damaged"
    return f"ICC_PROFILE: the colour profile {what}; the colours are taken as they are."
