"""Manifests of the GDC (the archive of TCGA's slides): read strictly, written, counted."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import pandas as pd

from histokeras.cells import safe_cell
from histokeras.cohort.ids import parse_tcga_slide, sample_type, slide_stem
from histokeras.cohort.tcga import DIAGNOSTIC, Chosen, SlideChoice, choose_slides, describe
from histokeras.errors import ConfigError, TableError
from histokeras.files import prepare_folder, safe_name, write_text
from histokeras.tables.read import read_table, row_numbers

COLUMNS = ("id", "filename", "md5", "size", "state")
PARTIAL = ".partial"
"""Ending of a file that is not whole yet."""
_RESERVED = frozenset({"run.json", "failures.csv", "leases"})
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MD5 = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_SIZE = re.compile(r"[1-9][0-9]{0,15}")
_STATE = re.compile(r"[A-Za-z_ -]*")
_NAME = "GDC manifest"


@dataclass(frozen=True)
class GdcFile:
    """A row of a manifest.

    Attributes:
        id: The file's UUID, lower case.
        filename: Its name; safe in any folder.
        md5: 32 hexadecimal digits, lower case.
        size: Bytes, above 0.
        state: What the GDC says of it, such as ``live`` or ``released``.
    """

    id: str
    filename: str
    md5: str
    size: int
    state: str = ""


def read_manifest(path: Path) -> tuple[GdcFile, ...]:
    """Read a manifest: a TSV with the columns id, filename, md5, size and state.

    Args:
        path: The file; further columns are passed over.

    Returns:
        Its rows in order, at least one.

    Raises:
        TableError: If it is no such table, or a cell is not what it must be: the row, the column
            and the cell are named. PATH_UNSAFE for a filename that could leave the folder.
    """
    table = read_table(path, name=_NAME)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise TableError(
            f"{_NAME} {path}: lacks the column(s) {', '.join(missing)}.",
            hint="Take the manifest as the GDC portal or `histokeras gdc query` writes it.",
        )
    if table.empty:
        raise TableError(f"{_NAME} {path}: has no rows.", code="TABLE_EMPTY")
    cells = zip(*(table[name] for name in COLUMNS), strict=True)
    places = [f"{_NAME} {path}: row {number}" for number in row_numbers(table)]
    return check_rows(zip(places, cells, strict=True))


def check_rows(rows: Iterable[tuple[str, Sequence[str]]]) -> tuple[GdcFile, ...]:
    """Turn rows of text into files; refuse what is no file of the GDC, and doubles.

    Args:
        rows: Where a row stands, for messages; its cells in the order of ``COLUMNS``.

    Raises:
        TableError: At the first bad cell; PATH_UNSAFE for a filename.
    """
    files: list[GdcFile] = []
    seen: dict[tuple[str, str], str] = {}
    for place, cells in rows:
        file = _file(place, cells)
        # Upper and lower case are the same name on some file systems.
        for column, key in (("id", file.id), ("filename", file.filename.casefold())):
            first = seen.setdefault((column, key), place)
            if first is not place:
                raise TableError(
                    f"{place}: {column} `{getattr(file, column)}` stands in {_short(first)} too.",
                    code="DUPLICATE_SLIDE_ID",
                    hint="Remove one of the two rows.",
                )
        files.append(file)
    return tuple(files)


def _short(place: str) -> str:
    return place.rsplit(": ", 1)[-1]


def _file(place: str, cells: Sequence[str]) -> GdcFile:
    identifier, filename, md5, size, state = cells
    for column, cell, pattern, wanted in (
        ("id", identifier, _ID, "a UUID (8-4-4-4-12 hexadecimal digits)"),
        ("md5", md5, _MD5, "32 hexadecimal digits"),
        ("size", size, _SIZE, "a whole number of bytes above 0"),
        ("state", state, _STATE, "a word such as `live` or `released`"),
    ):
        if not pattern.fullmatch(cell):
            raise TableError(
                f"{place}: {column} is {wanted}. Received: {cell[:80]!r}",
                hint="Take the manifest anew from where it came.",
            )
    why = _why_unsafe(filename)
    if why:
        raise TableError(
            f"{place}: filename {filename[:80]!r} {why}.",
            code="PATH_UNSAFE",
            hint="It could leave the output folder or harm what lies there; remove the row.",
        )
    return GdcFile(identifier.lower(), filename, md5.lower(), int(size), state)


def _why_unsafe(name: str) -> str:
    if not name:
        return "is empty"
    if "/" in name or "\\" in name or ".." in name:
        return "holds `/`, `\\` or `..`"
    if name.casefold() in _RESERVED or name.casefold().endswith(PARTIAL):
        return "is a name that histokeras needs itself"
    if safe_name(name) != name or safe_cell(name) != name:
        return "is no plain file name (ASCII, at most 180 characters, no `-` or `=` at its start)"
    return ""


def write_manifest(path: Path, files: Sequence[GdcFile]) -> None:
    """Write a manifest that ``gdc-client`` reads too."""
    rows = [COLUMNS, *(astuple(file) for file in files)]
    write_text(path, "".join("\t".join(map(str, row)) + "\n" for row in rows))


def save_manifest(path: Path, files: Sequence[GdcFile], *, overwrite: bool = False) -> None:
    """Write a manifest, unless another one stands there.

    Raises:
        ConfigError: If ``path`` holds something else and is not to be replaced.
        OutputError: If it cannot be written.
    """
    if path.exists() and not overwrite:
        with suppress(TableError):
            if read_manifest(path) == tuple(files):
                return
        raise ConfigError(
            f"{path} exists and holds something else.",
            hint="Choose another name, or give --overwrite.",
        )
    prepare_folder(path.parent)
    write_manifest(path, files)


def count_files(files: Sequence[GdcFile]) -> pd.DataFrame:
    """Count files by slide kind and sample type, as their TCGA barcodes tell them.

    Args:
        files: Rows of a manifest.

    Returns:
        One row a pair, sorted: ``kind`` (DX, TS, BS, MS; "" where the name is no TCGA slide's),
        ``sample_type`` ("" likewise), ``files``, ``patients``, ``bytes``.
    """
    rows = []
    for file in files:
        stem = slide_stem(file.filename)
        slide = parse_tcga_slide(stem)
        kind, patient = (slide.kind, slide.patient_id) if slide else ("", None)
        rows.append((kind, sample_type(stem) or "", patient, file.size))
    table = pd.DataFrame(rows, columns=["kind", "sample_type", "patient", "bytes"])
    groups = table.groupby(["kind", "sample_type"], sort=True)
    counted = groups.agg(
        files=("bytes", "size"), patients=("patient", "nunique"), bytes=("bytes", "sum")
    )
    return counted.reset_index()


def format_counts(counts: pd.DataFrame) -> str:
    """Return ``count_files`` as a table for a terminal, with a line for all; in GB of 10^9."""
    rows = [("kind", "sample type", "files", "patients", "GB")]
    for row in counts.to_dict("records"):
        kind, sample = describe(row["kind"], row["sample_type"])
        size = f"{row['bytes'] / 1e9:.1f}"
        rows.append((kind, sample, str(row["files"]), str(row["patients"]), size))
    # A patient may have slides of several kinds, so that patients do not add up.
    total = f"{counts['bytes'].sum() / 1e9:.1f}"
    rows.append(("all", "", str(counts["files"].sum()), "", total))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def choose_files(
    files: Sequence[GdcFile], choice: SlideChoice
) -> tuple[tuple[GdcFile, ...], Chosen]:
    """Leave out the files that are not wanted.

    Args:
        files: Rows of a manifest.
        choice: What is wanted.

    Returns:
        The files that are wanted, and what became of the others by filename.

    Raises:
        SlideError: NO_SLIDES if none is left.
    """
    chosen = choose_slides([file.filename for file in files], choice)
    return tuple(file for file in files if file.filename not in chosen.left_out), chosen


def note_no_diagnostic(files: Sequence[GdcFile]) -> str:
    """Return a note where ``--diagnostic-only`` would leave nothing; "" else."""
    slides = [parse_tcga_slide(slide_stem(file.filename)) for file in files]
    if not all(slide is not None and slide.kind != DIAGNOSTIC for slide in slides):
        return ""
    return (
        f"all {len(files)} file(s) are frozen sections, none is diagnostic (DX): "
        "--diagnostic-only leaves none"
    )
