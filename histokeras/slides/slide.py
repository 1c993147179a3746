"""An open slide: size, levels, resolution and pixels, in OpenSlide's words."""

import base64
import hashlib
import html
import io
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image as PillowImage

from histokeras.errors import HistokerasError, SlideError
from histokeras.slides.called import called
from histokeras.slides.checks import is_truncated, slide_id_of, slide_name
from histokeras.slides.handle import Handle, io_error, is_storage, require_storage, tried_again
from histokeras.slides.mpp import FoundMpp, find_mpp
from histokeras.slides.overview import read_overview
from histokeras.slides.source import QUICKHASH, Image, SlideSource
from histokeras.types import Mpp

_ID_BYTES = 1 << 20
_NOTEBOOK_PX = 512
_PYRAMID_PX = 1 << 24
"""A smaller slide needs no pyramid."""


class Slide:
    """One whole-slide image. Open it with ``open_slide``; reads may come from several threads.

    Attributes:
        path: The file.
        slide_id: The file's name without its extension, or the pseudonym it was given.
        name: What messages call it: the slide_id with the file's extension.
        dimensions: (width, height) of level 0 in pixels.
        vendor: The format in OpenSlide's words, None for a plain image.
    """

    def __init__(
        self,
        path: Path,
        source: SlideSource,
        reopen: Callable[[], SlideSource],
        *,
        mpp: float | None = None,
        default_mpp: float | None = None,
        notes: Sequence[str] = (),
        slide_id: str | None = None,
    ) -> None:
        self.path = path
        self.slide_id = slide_id or slide_id_of(path)
        self.name = slide_name(path, self.slide_id)
        self.vendor = source.vendor
        self.dimensions = source.level_dimensions[0]
        self._properties = source.properties
        self._level_dimensions = source.level_dimensions
        self._level_downsamples = source.level_downsamples
        self._table_mpp, self._default_mpp = mpp, default_mpp
        self._notes = tuple(notes)
        self._stamp = self._file_stamp()
        self._reopen = reopen
        self._handle = Handle(source, self._reopened)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        width, height = self.dimensions
        return f"Slide({self.slide_id!r}, {width} x {height} px, {self.level_count} level(s))"

    @property
    def level_count(self) -> int:
        """Number of levels."""
        return len(self._level_dimensions)

    @property
    def level_dimensions(self) -> tuple[tuple[int, int], ...]:
        """(width, height) in pixels of each level, finest first."""
        return self._level_dimensions

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        """Level-0 pixels per pixel of each level."""
        return self._level_downsamples

    @cached_property
    def _found_mpp(self) -> FoundMpp:
        return find_mpp(
            self._properties,
            vendor=self.vendor,
            name=self.name,
            table_mpp=self._table_mpp,
            default_mpp=self._default_mpp,
        )

    @property
    def mpp(self) -> Mpp:
        """Micrometres per level-0 pixel.

        Raises:
            SlideError: MPP_MISSING, MPP_ABSURD or MPP_ANISOTROPIC.
        """
        return self._found_mpp.value

    @property
    def mpp_source(self) -> str:
        """Where the mpp was found: "slide table", "slide properties", "TIFF resolution", ..."""
        return self._found_mpp.source

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks that do not hinder the work; each begins with a code."""
        single = "NO_PYRAMID: the slide has one level only; it is read slower."
        width, height = self.dimensions
        large = width * height > _PYRAMID_PX
        notes = (*self._notes, single) if self.level_count == 1 and large else self._notes
        try:
            return (*notes, *self._found_mpp.notes)
        except SlideError:
            return notes

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image:
        """Read a window; pixels that the slide does not have are white.

        Args:
            location: Top-left corner (x, y) in level-0 pixels.
            level: Number of the level, 0 is the finest.
            size: (width, height) in pixels of that level.

        Returns:
            Array of shape (height, width, 3), uint8 RGB.

        Raises:
            SlideError: TILE_CORRUPT, SLIDE_TRUNCATED, IO_ERROR or OUT_OF_MEMORY, with the place;
                SLIDE_CHANGED if it failed and the file is another one now.
            ValueError: If there is no such level, or ``size`` is not positive.
        """
        if not 0 <= level < self.level_count or min(size) < 1:
            raise ValueError(
                f"`level` must be 0 to {self.level_count - 1} and `size` at least (1, 1). "
                f"Received: level={level}, size={size}"
            )
        with called(self.path, self.slide_id):
            try:
                return self._handle.read(self.path, location, level, size)
            except HistokerasError:
                raise
            except Exception as error:
                raise self._read_error(location, level, error) from error

    def _reopened(self) -> SlideSource:
        self.require_unchanged()
        return self._reopen()

    def _read_error(self, location: tuple[int, int], level: int, error: Exception) -> SlideError:
        # The library's text may hold the whole path; outputs never name folders.
        text = str(error).replace(str(self.path), self.path.name)
        where = f"slide `{self.name}`, x={location[0]} y={location[1]} (level {level})"
        if isinstance(error, MemoryError):
            return SlideError(
                f"{where}: not enough memory to decode it.",
                code="OUT_OF_MEMORY",
                hint="Give the command more memory, or fewer --workers.",
            )
        try:
            if is_storage(error):
                return io_error(where, error)
            require_storage(self.path)
            truncated = is_truncated(self.path)
            n_bytes = self.path.stat().st_size
        except OSError as lost:
            return io_error(where, lost)
        if truncated:
            return SlideError(
                f"{where}: the file ends early, after {n_bytes} bytes ({text}).",
                code="SLIDE_TRUNCATED",
                hint="Download or copy it again.",
            )
        return SlideError(
            f"{where}: cannot be decoded ({text}).",
            code="TILE_CORRUPT",
            hint="Download or copy the slide again.",
        )

    def thumbnail(self, max_px: int) -> Image:
        """Return the whole slide as a small picture, made from the pyramid.

        Args:
            max_px: Longest side of the picture in pixels; a smaller slide keeps its size.

        Returns:
            Array of shape (height, width, 3), uint8 RGB.

        Raises:
            SlideError: If a region cannot be read.
        """
        width, height = self.dimensions
        shrink = max(1.0, max(width, height) / max_px)
        return read_overview(self, (max(1, round(width / shrink)), max(1, round(height / shrink))))

    def content_id(self) -> str:
        """Return what identifies the content, whatever the file is called.

        Returns:
            SHA-256 in hexadecimal over the size, the first and the last megabyte, and OpenSlide's
            quickhash where there is one.

        Raises:
            SlideError: IO_ERROR if the file cannot be read.
        """
        with called(self.path, self.slide_id):
            return tried_again(self._content_id, f"slide `{self.name}`")

    def _content_id(self) -> str:
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            digest.update(f"{size}\n{self._properties.get(QUICKHASH, '')}\n".encode())
            for start in (0, max(0, size - _ID_BYTES)):
                file.seek(start)
                digest.update(file.read(_ID_BYTES))
        return digest.hexdigest()

    def _file_stamp(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_size, found.st_mtime_ns

    def require_unchanged(self) -> None:
        """Check that the file is still the one that was opened.

        Raises:
            SlideError: SLIDE_CHANGED if its size or time of change differs, or it is gone;
                IO_ERROR if its storage fails.
        """
        try:
            same = self._file_stamp() == self._stamp
        except OSError as error:
            if is_storage(error):
                raise io_error(f"slide `{self.name}`", error) from error
            same = False
        if not same:
            raise SlideError(
                f"slide `{self.name}` changed while it was read.",
                code="SLIDE_CHANGED",
                hint="Wait until it is copied or downloaded, then run the same command.",
            )

    def close(self) -> None:
        """Release the file. Closing twice does no harm."""
        self._handle.close()

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        PillowImage.fromarray(np.asarray(self.thumbnail(_NOTEBOOK_PX))).save(buffer, format="PNG")
        return buffer.getvalue()

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self._repr_png_()).decode("ascii")
        try:
            mpp = f"{self.mpp:g} µm per pixel ({self.mpp_source})"
        except SlideError as error:
            mpp = error.code
        width, height = self.dimensions
        return (
            f"<b>{html.escape(self.slide_id)}</b><br>{width} x {height} px, "
            f"{self.level_count} level(s), {html.escape(mpp)}<br>"
            f'<img alt="thumbnail" src="data:image/png;base64,{picture}">'
        )
