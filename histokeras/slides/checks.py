"""Look at a file before and after a library fails on it, to say what is really wrong."""

import errno
import logging
import os
import stat
from pathlib import Path

import tifffile

from histokeras.errors import SlideError

_MARKUP = (b"<", b"{")
_IMAGES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"PK\x03\x04": "ZIP"}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PLAIN_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", *_TIFF)
SCANNER_SUFFIXES = frozenset(
    {".svs", ".ndpi", ".scn", ".mrxs", ".bif", ".svslide", ".czi", ".vms", ".vmu"}
)
"""Formats of scanners; a picture under such a name is not what it says."""
SLIDE_SUFFIXES = SCANNER_SUFFIXES | {
    *(".tif", ".tiff", ".btf", ".dcm", ".png", ".jpg", ".jpeg"),
}
"""What is no surprise in the name of a slide."""
# It tells every oddity of a damaged file to whoever listens; an error of ours follows.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_NAMES = frozenset({errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR})
_STORAGE_HINT = "Look whether its disk or network drive is there, then run the same command."
_UNFINISHED = frozenset({".partial", ".part", ".crdownload", ".download"})
MAX_SIDE_PX = 2_000_000
"""Longest side that is believed; a header that says more is forged or damaged."""
MAX_BLOCK_PX = 1 << 28
"""Most pixels of one stored tile or strip: it is decoded whole, 3 to 4 bytes a pixel."""


def text_of(path: str | Path) -> str:
    """Return a path as text to print and store; bytes that are no text are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def slide_id_of(path: str | Path) -> str:
    """Return the slide_id of a file: its name without the extension."""
    return text_of(Path(path).stem)


def slide_name(path: str | Path, slide_id: str) -> str:
    """Return what a slide is called in messages: its file's name, or its pseudonym in that."""
    return f"{slide_id}{text_of(Path(path).suffix)}"


def require_slide_file(path: Path) -> None:
    """Check that ``path`` is a regular, readable, non-empty file that may hold pixels.

    Only the first bytes are read. Pipes, devices and dangling links are refused without opening.

    Args:
        path: The slide.

    Raises:
        SlideError: SLIDE_NAME, SLIDE_NOT_FOUND, SLIDE_UNREADABLE, SLIDE_NOT_A_SLIDE, SLIDE_EMPTY,
            SLIDE_PERMISSION or SLIDE_INCOMPLETE.
    """
    if text_of(path.name) != path.name:
        raise SlideError(
            f"slide `{text_of(path.name)}`: its name is no text (UTF-8).",
            code="SLIDE_NAME",
            hint="Rename it: its name stands in every table.",
        )
    found = _stat(path)
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or device, no file"
        raise SlideError(
            f"slide `{path.name}` is {kind}.",
            code="SLIDE_NOT_A_SLIDE",
            hint="Give the slide's own file.",
        )
    if found.st_size == 0:
        raise SlideError(
            f"slide `{path.name}` has 0 bytes.", code="SLIDE_EMPTY", hint="Download it again."
        )
    if path.suffix.lower() in _UNFINISHED:
        raise SlideError(
            f"slide `{path.name}` is an unfinished download.",
            code="SLIDE_INCOMPLETE",
            hint="Resume the download.",
        )
    if path.suffix.lower() == ".mrxs":
        _require_data_folder(path)
    _require_content(path, found)


def _require_data_folder(path: Path) -> None:
    folder = path.with_suffix("")
    if not (folder / "Slidedat.ini").is_file():
        what = (
            f"its file `{path.stem}/Slidedat.ini`"
            if folder.is_dir()
            else (f"its data folder `{path.stem}`")
        )
        raise SlideError(
            f"slide `{path.name}`: {what} is missing beside it.",
            code="SLIDE_INCOMPLETE",
            hint="Copy the folder of the same name too, with all its files.",
        )


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError as error:
        if path.is_symlink():
            raise SlideError(
                f"slide `{path.name}` is a link to a file that is not there.",
                hint="Mend the link.",
            ) from error
        raise SlideError(
            f"slide `{path}`: no such file.", code="SLIDE_NOT_FOUND", hint="Check the path."
        ) from error
    except PermissionError as error:
        raise SlideError(
            f"slide `{path.name}`: its folder may not be entered.",
            code="SLIDE_PERMISSION",
            hint="Ask for the permission to read it.",
        ) from error
    except OSError as error:
        # A network drive that went away, or a loop of links.
        code = "SLIDE_UNREADABLE" if error.errno in _NAMES else "IO_ERROR"
        hint = "Mend the link." if error.errno == errno.ELOOP else _STORAGE_HINT
        raise SlideError(f"slide `{path.name}`: {error.strerror}.", code=code, hint=hint) from error


def _require_content(path: Path, found: os.stat_result) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except PermissionError as error:
        raise SlideError(
            f"slide `{path.name}` may not be read (owner {found.st_uid}, "
            f"mode {stat.filemode(found.st_mode)}).",
            code="SLIDE_PERMISSION",
            hint="Ask for the permission to read it.",
        ) from error
    except OSError as error:
        raise SlideError(
            f"slide `{path.name}`: {error.strerror}.", code="IO_ERROR", hint=_STORAGE_HINT
        ) from error
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(_MARKUP):
        shown = text[:40].decode("utf-8", "replace").split("\n")[0]
        raise SlideError(
            f"slide `{path.name}` starts with '{shown}'; an expired download link?",
            code="SLIDE_NOT_A_SLIDE",
            hint="Download it again.",
        )
    kind = next((name for magic, name in _IMAGES.items() if start.startswith(magic)), None)
    if kind and path.suffix.lower() in SCANNER_SUFFIXES - {".mrxs"}:
        raise SlideError(
            f"slide `{path.name}` is a {kind} file under the name of a scanner format.",
            code="SLIDE_NOT_A_SLIDE",
            hint="Download the slide again, or name the file for what it is.",
        )


def may_be_plain_image(path: Path) -> bool:
    """Return whether the file begins like a PNG, JPEG or TIFF."""
    with path.open("rb") as file:
        return file.read(8).startswith(_PLAIN_MAGIC)


def require_reasonable_size(size: tuple[int, int], block: tuple[int, int], name: str) -> None:
    """Refuse headers that would make a library allocate without measure.

    Args:
        size: (width, height) of a level.
        block: (width, height) of one stored tile or strip.
        name: The slide's name, for messages.

    Raises:
        SlideError: SLIDE_TOO_LARGE, or SLIDE_UNREADABLE if a side is 0.
    """
    if min(size) < 1:
        raise SlideError(
            f"slide `{name}` says it has {size[0]} x {size[1]} px: its header is damaged.",
            hint="Download or copy it again.",
        )
    if max(size) > MAX_SIDE_PX or block[0] * block[1] > MAX_BLOCK_PX:
        raise SlideError(
            f"slide `{name}` says it has {size[0]} x {size[1]} px, stored in pieces of "
            f"{block[0]} x {block[1]} px; at most {MAX_SIDE_PX} px a side and {MAX_BLOCK_PX} px "
            "a piece are read.",
            code="SLIDE_TOO_LARGE",
            hint="Convert it to a tiled pyramid if the size is real.",
        )


def not_brightfield(name: str, what: str) -> SlideError:
    """Return the error for an image without the three 8-bit colours of H&E."""
    return SlideError(
        f"image `{name}` is {what}; H&E needs three colours of 8 bits.",
        code="NOT_BRIGHTFIELD",
        hint="Leave fluorescence, 16-bit and greyscale images out.",
    )


def is_truncated(path: Path) -> bool:
    """Return whether a TIFF points to data beyond its own end; False for other files."""
    try:
        size = path.stat().st_size
        with tifffile.TiffFile(path) as tiff:
            return any(
                offset + n_bytes > size
                for page in tiff.pages
                for offset, n_bytes in zip(page.dataoffsets, page.databytecounts, strict=False)
            )
    except Exception:
        # Only a better name for an error that is already being raised depends on this.
        return False
