"""Open slides. The only file that knows OpenSlide."""

import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import openslide
from PIL import Image as PillowImage

from histokeras.errors import SlideError
from histokeras.slides.called import called
from histokeras.slides.checks import (
    SLIDE_SUFFIXES,
    may_be_plain_image,
    require_reasonable_size,
    require_slide_file,
    slide_id_of,
)
from histokeras.slides.handle import io_error, is_storage, tried_again
from histokeras.slides.header import colour_note, largest_page, read_pages, require_sound_tiff
from histokeras.slides.plain import open_plain
from histokeras.slides.slide import Slide
from histokeras.slides.source import REMARK, Image, SlideSource

__all__ = ["Slide", "open_slide", "openslide_version"]

_MISSING = re.compile(r"Couldn't open (.+): No such file or directory")


def openslide_version() -> str:
    """Return the version of the OpenSlide C library."""
    return str(openslide.__library_version__)


class _OpenSlideSource:
    """A slide that OpenSlide reads. Its label and macro images are never touched."""

    def __init__(self, slide: openslide.OpenSlide) -> None:
        self._slide = slide
        self.properties: Mapping[str, str] = dict(slide.properties)
        self.vendor: str | None = self.properties.get("openslide.vendor")
        self.level_dimensions: tuple[tuple[int, int], ...] = tuple(slide.level_dimensions)
        self.level_downsamples: tuple[float, ...] = tuple(slide.level_downsamples)

    def read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image:
        pixels: PillowImage.Image = self._slide.read_region(location, level, size)
        alpha = pixels.getchannel("A")
        if alpha.getextrema() == (255, 255):
            return np.asarray(pixels.convert("RGB"))
        # The colours are not premultiplied, so this is the plain mixture with white.
        white = PillowImage.new("RGB", size, (255, 255, 255))
        white.paste(pixels.convert("RGB"), mask=alpha)
        return np.asarray(white)

    def close(self) -> None:
        self._slide.close()


def _block_size(properties: Mapping[str, str]) -> tuple[int, int]:
    """Return (width, height) of the largest stored tile, (0, 0) where OpenSlide does not say."""
    level = 0
    largest = (0, 0)
    while f"openslide.level[{level}].width" in properties:
        width = int(properties.get(f"openslide.level[{level}].tile-width", 0))
        height = int(properties.get(f"openslide.level[{level}].tile-height", 0))
        largest = max(largest, (width, height), key=lambda size: size[0] * size[1])
        level += 1
    return largest


def _open_source(path: Path) -> SlideSource:
    """Open a file whose header has been looked at."""
    try:
        source = _OpenSlideSource(openslide.OpenSlide(path))
    except openslide.OpenSlideError as error:
        is_unknown = isinstance(error, openslide.OpenSlideUnsupportedFormatError)
        if is_unknown and may_be_plain_image(path):
            return open_plain(path)
        raise _unreadable(path, error) from error
    try:
        for size in source.level_dimensions:
            require_reasonable_size(size, _block_size(source.properties), path.name)
    except SlideError:
        source.close()
        raise
    return source


def _unreadable(path: Path, error: openslide.OpenSlideError) -> SlideError:
    # OpenSlide's text may hold the whole path; outputs never name folders.
    text = str(error).replace(f"{path.parent}{os.sep}", "")
    if is_storage(error):
        return io_error(f"slide `{path.name}`", error)
    missing = _MISSING.search(text)
    if missing is not None:
        return SlideError(
            f"slide `{path.name}`: its file `{missing[1]}` is missing.",
            code="SLIDE_INCOMPLETE",
            hint="Copy all files of the slide to one place.",
        )
    return SlideError(
        f"slide `{path.name}` cannot be opened: {text}.",
        hint="Download it again, or convert it to a pyramidal TIFF with JPEG tiles.",
    )


def _open_checked(path: Path) -> tuple[SlideSource, tuple[str, ...]]:
    """Look at a file, then open it; return remarks too."""
    require_slide_file(path)
    pages = read_pages(path)
    require_sound_tiff(path, pages)
    source = _open_source(path)
    notes = [source.properties.get(REMARK, ""), colour_note(largest_page(pages))]
    if path.suffix.lower() not in SLIDE_SUFFIXES:
        notes.append(
            f"EXTENSION: `{path.suffix}` is none of a slide; its content is "
            f"{source.vendor or 'a plain image'}."
        )
    return source, tuple(note for note in notes if note)


def open_slide(
    path: str | Path,
    *,
    mpp: float | None = None,
    default_mpp: float | None = None,
    slide_id: str | None = None,
) -> Slide:
    """Open a slide: any format that OpenSlide reads, or a plain PNG, JPEG or TIFF.

    Args:
        path: The file. What it holds decides, not its extension.
        mpp: Micrometres per level-0 pixel if you know better than the file.
        default_mpp: What to take if the file does not say.
        slide_id: A pseudonym, by which outputs and errors name the slide; its file's name if None.

    Returns:
        The open slide; use it in a ``with`` block or close it.

    Raises:
        SlideError: If it cannot be opened; the code says why. A missing mpp is no reason:
            ``Slide.mpp`` raises when it is asked for.
    """
    path = Path(path)
    with called(path, slide_id or slide_id_of(path)):
        source, notes = tried_again(partial(_open_checked, path), f"slide `{path.name}`")
    try:
        return Slide(
            path,
            source,
            partial(_open_source, path),
            mpp=mpp,
            default_mpp=default_mpp,
            notes=notes,
            slide_id=slide_id,
        )
    except BaseException:
        source.close()
        raise
