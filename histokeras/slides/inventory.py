"""Find slides in folders, read the slide table, list what can be read."""

import json
import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.errors import SlideError, TableError
from histokeras.runs.events import STALL_S, Done, Lost, lost
from histokeras.runs.supervisor import Each, lookers, supervise
from histokeras.slides.checks import SCANNER_SUFFIXES, slide_name, text_of
from histokeras.slides.checks import slide_id_of as slide_id_of
from histokeras.slides.reader import open_slide
from histokeras.tables import read_table, require_columns, row_numbers, with_standard_columns
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.types import PATIENT_ID, SLIDE_ID

FOLDER_SUFFIXES = SCANNER_SUFFIXES | {".tif", ".tiff", ".btf"}
"""What is taken for a slide in a folder. Any other file counts where it is named itself."""
_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
COLUMNS = (
    "slide", "readable", "code", "message", "vendor", "width", "height", "levels", "mpp",
    "mpp_source", "notes", "path",
)  # fmt: skip

_COUNTS = ("width", "height", "levels")
_LONGEST_NAME = 60


@dataclass(frozen=True)
class SlideRow:
    """What the slide table says of one slide.

    Attributes:
        mpp: Micrometres per level-0 pixel, None if the cell is empty.
        patient_id: The patient, None if the cell is empty.
    """

    mpp: float | None = None
    patient_id: str | None = None


def _is_slide_name(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in FOLDER_SUFFIXES


def _folder_files(folder: Path, *, recursive: bool) -> Iterator[Path]:
    def stop(error: OSError) -> None:
        raise SlideError(
            f"folder `{error.filename}` cannot be listed: {error.strerror}.",
            code="SLIDE_PERMISSION",
        ) from error

    for top, folders, names in os.walk(folder, onerror=stop):
        yield from (Path(top) / name for name in names)
        if not recursive:
            folders.clear()


def find_slides(paths: Sequence[Path], *, recursive: bool = False) -> list[Path]:
    """Find the slides among files and folders.

    In folders, files with the extension of a scanner format or TIFF count; pictures (.png, .jpg)
    lie beside slides as previews and count only when named themselves. Hidden files are left out.

    Args:
        paths: Files and folders.
        recursive: Whether folders inside folders are searched too.

    Returns:
        The slides, sorted by path; each file once.

    Raises:
        SlideError: NO_SLIDES if there is none, SLIDE_NOT_FOUND for a path that does not exist.
        TableError: DUPLICATE_SLIDE_ID if two files have the same name without extension, upper
            and lower case and the ways to write an accent (Unicode NFC, NFD) being the same.
    """
    found: set[Path] = set()
    pictures = 0
    for path in map(Path, paths):
        if not path.is_dir():
            _require_existing(path)
            found.add(path)
            continue
        for file in _folder_files(path, recursive=recursive):
            if _is_slide_name(file.name):
                found.add(file)
            pictures += file.suffix.lower() in _IMAGE_SUFFIXES
    if not found:
        raise _no_slides(paths, pictures, recursive=recursive)
    slides = sorted(found)
    _require_distinct(slides)
    return slides


def _require_existing(path: Path) -> None:
    # A dangling link exists as a name: it becomes a failed slide, not a mistyped argument.
    if not os.path.lexists(path):
        raise SlideError(
            f"slide `{path}`: no such file.", code="SLIDE_NOT_FOUND", hint="Check the path."
        )


def _no_slides(paths: Sequence[Path], pictures: int, *, recursive: bool) -> SlideError:
    hint = "Name the files one by one, or" if recursive else "Give --recursive for subfolders, or"
    if pictures:
        hint = f"The {pictures} picture(s) there count only when named one by one; or"
    return SlideError(
        f"no slide ({' '.join(sorted(FOLDER_SUFFIXES))}) in {', '.join(map(str, paths))}.",
        code="NO_SLIDES",
        hint=f"{hint} check the path.",
    )


def _require_distinct(slides: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in slides:
        # Names that differ in case, or in how an accent is written, are one file on many systems.
        name = unicodedata.normalize("NFC", slide_id_of(path)).casefold()
        other = seen.setdefault(name, path)
        if other is not path:
            why = (
                ""
                if slide_id_of(other) == slide_id_of(path)
                else (" (case and the way an accent is written make no difference)")
            )
            raise TableError(
                f"two slides have the id `{slide_id_of(path)}`{why}: {text_of(other)} and "
                f"{text_of(path)}.",
                code="DUPLICATE_SLIDE_ID",
                hint="Rename one, or work on the folders one after the other.",
            )


def _table_slide_id(cell: str) -> str:
    """Turn a cell (an id, a file name or a path) into a slide_id."""
    name = cell.replace("\\", "/").rsplit("/", 1)[-1]
    known = FOLDER_SUFFIXES | _IMAGE_SUFFIXES | {".dcm"}
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in known else name


def read_slide_table(path: Path) -> dict[str, SlideRow]:
    """Read the table that says what you know of your slides.

    Args:
        path: A table with the column slide_id (ids, file names or paths) and any of mpp,
            patient_id; the names of other tools are known too.

    Returns:
        What each slide_id's row says.

    Raises:
        TableError: If the column is missing, an mpp is no number, or two rows disagree.
    """
    table = with_standard_columns(
        read_table(path, name="slide table"), (SLIDE_ID, PATIENT_ID, "mpp")
    )
    require_columns(table, (SLIDE_ID,), name=f"slide table {path}")
    rows: dict[str, SlideRow] = {}
    for number, cells in zip(row_numbers(table), table.to_dict("records"), strict=True):
        slide_id = _table_slide_id(str(cells[SLIDE_ID]))
        row = SlideRow(
            _mpp_cell(str(cells.get("mpp", "")), path, number),
            str(cells.get(PATIENT_ID, "")) or None,
        )
        if rows.setdefault(slide_id, row) != row:
            raise TableError(
                f"slide table {path}, row {number}: slide `{slide_id}` has another row that "
                "says otherwise.",
                hint="Keep one row a slide.",
            )
    return rows


def pseudonym_of(path: Path, pseudonyms: Pseudonyms | None) -> str:
    """Return the slide_id of a file as outputs have it.

    Args:
        path: The slide.
        pseudonyms: None where slides go by their own names.

    Raises:
        TableError: PSEUDONYM_MISSING if it has none.
    """
    own = slide_id_of(path)
    return own if pseudonyms is None else pseudonyms.of(own)


def row_of(table: Mapping[str, SlideRow], path: Path, slide_id: str) -> SlideRow:
    """Return what the slide table says of a slide, under its own name or its pseudonym."""
    return table.get(slide_id_of(path)) or table.get(slide_id) or SlideRow()


def slide_patients(path: Path | None) -> dict[str, str]:
    """Return slide_id -> patient_id of a slide table, where it says; {} for no table."""
    rows = read_slide_table(path) if path is not None else {}
    return {name: row.patient_id for name, row in rows.items() if row.patient_id}


def _mpp_cell(cell: str, path: Path, number: int) -> float | None:
    if not cell:
        return None
    try:
        return float(cell.replace(",", "."))
    except ValueError as error:
        raise TableError(
            f"slide table {path}, row {number}: `mpp` is no number. Received: {cell!r}",
            hint="Give micrometres per pixel, such as 0.25, or leave the cell empty.",
        ) from error


def describe_slides(
    paths: Sequence[Path],
    *,
    table: Mapping[str, SlideRow] | None = None,
    default_mpp: float | None = None,
    stall_s: float = STALL_S,
    pseudonyms: Pseudonyms | None = None,
) -> pd.DataFrame:
    """List slides: readable or why not, size, levels, mpp and where it comes from.

    One small window is decoded of each, since a damaged file may open well.

    Args:
        paths: The slides, as ``find_slides`` returns them.
        table: Rows of the slide table.
        default_mpp: What to take for slides that say nothing.
        stall_s: Seconds after which a worker that opens a slide is taken to hang.
        pseudonyms: By which the slides are listed; each has one.

    Returns:
        One row a slide, with the columns ``COLUMNS``. A slide that cannot be used has
        ``readable`` False and says why in ``code`` and ``message``; so has one without mpp.
    """
    table = table or {}
    names = [pseudonym_of(path, pseudonyms) for path in paths]
    known = [row_of(table, path, name).mpp for path, name in zip(paths, names, strict=True)]
    rows: list[dict[str, Any]] = [{}] * len(paths)
    describe = Each(partial(_describe, default_mpp=default_mpp))
    tasks = list(zip(paths, names, known, strict=True))
    for event in supervise(tasks, describe, stall_s=stall_s, workers=lookers):
        if isinstance(event, Done):
            rows[event.task] = event.result
        elif isinstance(event, Lost):
            path, name = paths[event.task], names[event.task]
            rows[event.task] = _failed(path, name, lost(name, event))
    # Whole numbers with gaps: plain pandas would make 200 a 200.0 beside an unreadable slide.
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(_COUNTS, "Int64"))


def _row(path: Path, name: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"slide": name, "path": slide_name(path, name), "readable": False, "notes": ""}
    return row | {"code": "", "message": ""}


def _failed(path: Path, name: str, error: SlideError) -> dict[str, Any]:
    return _row(path, name) | {"code": error.code, "message": str(error)}


def _describe(
    task: tuple[Path, str, float | None], beat: Callable[[int], None], default_mpp: float | None
) -> dict[str, Any]:
    path, name, mpp = task
    row = _row(path, name)
    try:
        with open_slide(path, mpp=mpp, default_mpp=default_mpp, slide_id=name) as slide:
            row["vendor"] = slide.vendor or "plain image"
            row["width"], row["height"] = slide.dimensions
            row["levels"] = slide.level_count
            width, height = slide.dimensions
            slide.read_region((width // 2, height // 2), 0, (min(width, 64), min(height, 64)))
            row["mpp"], row["mpp_source"] = float(slide.mpp), slide.mpp_source
            row["notes"] = "; ".join(slide.notes)
            row["readable"] = True
    except SlideError as error:
        row["code"], row["message"] = error.code, str(error)
    return row


def inventory_json(table: pd.DataFrame, left_out: Sequence[Mapping[str, str]] = ()) -> str:
    """Return the list as one JSON document; what is not known is null.

    Args:
        table: From ``describe_slides``.
        left_out: Slides that were not wanted: ``slide``, ``outcome``, ``reason``.
    """
    rows = [
        {key: None if pd.isna(value) else value for key, value in row.items()}
        for row in table.astype(object).to_dict("records")
    ]
    document = {"slides": rows, "left_out": list(left_out)}
    return json.dumps(document, indent=2, ensure_ascii=False, default=int)


def _printable(text: str) -> str:
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def _short(name: str) -> str:
    if len(name) <= _LONGEST_NAME:
        return name
    # Both ends: long names often differ only in the last letters.
    half = (_LONGEST_NAME - 3) // 2
    return f"{name[: _LONGEST_NAME - 3 - half]}...{name[-half:]}"


def format_inventory(table: pd.DataFrame) -> str:
    """Return the list as aligned text, one line a slide.

    Line breaks and the like in names are escaped and long names shortened; the JSON has them whole.

    Args:
        table: From ``describe_slides``.
    """
    lines = [("slide", "format", "size (px)", "levels", "mpp", "from", "status")]
    for row in table.to_dict("records"):
        has_size = not pd.isna(row["width"])
        has_mpp = not pd.isna(row["mpp"])
        status = "ok" if row["readable"] else f"{row['code']}: {row['message']}"
        lines.append(
            (
                _short(_printable(str(row["slide"]))),
                str(row["vendor"]) if has_size else "-",
                f"{int(row['width'])} x {int(row['height'])}" if has_size else "-",
                str(int(row["levels"])) if has_size else "-",
                f"{row['mpp']:.4g}" if has_mpp else "-",
                str(row["mpp_source"]) if has_mpp else "-",
                _printable("; ".join(part for part in (status, str(row["notes"])) if part)),
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]
        )
        for line in lines
    )
