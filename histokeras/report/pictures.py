"""The pictures of a run as data: slides, tiles of each class, confident right and wrong ones."""

import base64
import io
import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd
from PIL import Image

from histokeras.report.run_files import RunFiles
from histokeras.report.text import number
from histokeras.slides.plain import PICTURE_FORMATS
from histokeras.types import ATTENTION

_MOST = {"overview": 12, "sample": 24, "wrong": 24, "right": 24, "low": 12, "high": 12}
_SIDE_PX = {"overview": 720, "sample": 176, "wrong": 192, "right": 192, "low": 192, "high": 192}
_QUALITY = 82
_MARKUP_BYTES = 250
_MOST_BYTES = 20_000_000
Row = Mapping[str, str]


@dataclass(frozen=True)
class Picture:
    """One picture on the page.

    Attributes:
        source: ``data:image/jpeg;base64,...``.
        alt: What it is, in words.
        lines: Caption, one text a line.
        width: In pixels.
        height: In pixels.
    """

    source: str
    alt: str
    lines: tuple[str, ...]
    width: int
    height: int

    @property
    def n_bytes(self) -> int:
        """How much it takes on the page, elements around it included."""
        words = escape("".join((self.alt, *self.lines))).encode("utf-8")
        return len(self.source) + len(words) + _MARKUP_BYTES


@dataclass(frozen=True)
class Gallery:
    """Pictures that belong together.

    Attributes:
        kind: ``overview``, ``sample``, ``wrong``, ``right``; of numbers ``low``, ``high``.
        title: Heading; of samples the class.
        pictures: In order.
    """

    kind: str
    title: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Pictures:
    """All galleries of a run, and what found no place.

    Attributes:
        galleries: Those that hold at least one picture.
        left_out: Pictures of the run folder that are not on the page.
        tile_labels: Whether labels stand at the tile, so that a tile can be wrong.
        of_bags: Whether tiles were judged together, and only weigh more or less.
    """

    galleries: tuple[Gallery, ...] = ()
    left_out: int = 0
    tile_labels: bool = True
    of_bags: bool = False

    def of(self, kind: str) -> list[Gallery]:
        """Return the galleries of one kind."""
        return [gallery for gallery in self.galleries if gallery.kind == kind]


def read_pictures(run: RunFiles, most_bytes: int) -> Pictures:
    """Choose and shrink the pictures of a run, so many that they fit.

    Each kind and class gets its share in turn, so that none is crowded out by another.

    Args:
        run: The run; pictures.csv names the files.
        most_bytes: Bytes that all pictures together may take on the page.
    """
    table = run.tables["pictures"]
    if not len(table) or not {"file", "why"} <= set(table):
        return Pictures()
    wanted, own = _wanted(table), run.metrics.get("label_level") == "tile"
    found: dict[tuple[str, str], list[Picture]] = {key: [] for key in wanted}
    left = most_bytes
    for turn in itertools.zip_longest(
        *([(key, row) for row in rows] for key, rows in wanted.items())
    ):
        for key, row in filter(None, turn):
            picture = _picture(run.folder, row, own)
            if picture is not None and picture.n_bytes <= left:
                left -= picture.n_bytes
                found[key].append(picture)
    galleries = [
        Gallery(kind, title, tuple(pictures))
        for (kind, title), pictures in found.items()
        if pictures
    ]
    shown = sum(len(gallery.pictures) for gallery in galleries)
    return Pictures(tuple(galleries), len(table) - shown, own, ATTENTION in table)


def _wanted(table: pd.DataFrame) -> dict[tuple[str, str], list[Row]]:
    """Return the rows of each gallery, best first, in the order of the page."""
    for name in ("label", "predicted", "prob", "slide_id", "patient_id", "tile", "x", "y"):
        if name not in table:
            table = table.assign(**{name: ""})
    prob = pd.to_numeric(table["prob"], errors="coerce").fillna(0.0)
    weight = pd.to_numeric(table.get(ATTENTION, prob), errors="coerce").fillna(0.0)
    rank = table.assign(_prob=prob, _weight=weight).sort_values(
        ["_prob", "_weight", "file"], ascending=[False, False, True], kind="stable"
    )
    wanted: dict[tuple[str, str], list[Row]] = {}
    wanted["overview", ""] = _rows(table[table["why"] == "overview"], "overview")
    samples = table[table["why"] == "sample"]
    for label in sorted(set(samples["label"])):
        wanted["sample", label] = _rows(samples[samples["label"] == label], "sample")
    for kind in ("wrong", "right"):
        wanted[kind, ""] = _rows(rank[rank["why"] == kind], kind)
    for kind in ("low", "high"):
        # They stand in their order.
        wanted[kind, ""] = _rows(table[table["why"] == kind], kind)
    return wanted


def _rows(table: pd.DataFrame, kind: str) -> list[Row]:
    return table.astype(str).head(_MOST[kind]).to_dict("records")  # type: ignore[return-value]


def _picture(folder: Path, row: Row, tile_labels: bool) -> Picture | None:
    """Read, shrink and describe one picture; None if the file is missing or no picture."""
    # Only the name counts: a table must not make the page show files from elsewhere.
    path = folder / "pictures" / Path(row["file"]).name
    encoded = shrunk_jpeg(path, _SIDE_PX[row["why"]])
    if encoded is None:
        return None
    data, (width, height) = encoded
    source = f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
    alt, lines = _described(row, _whose(row, tile_labels))
    return Picture(source, alt, lines, width, height)


def shrunk_jpeg(path: Path, side_px: int) -> tuple[bytes, tuple[int, int]] | None:
    """Return the picture as a JPEG without metadata, at most ``side_px`` long, and its size."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        with (
            warnings.catch_warnings(),
            Image.open(path, formats=PICTURE_FORMATS) as image,
        ):
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning):
        return None
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue(), small.size


def _whose(row: Row, tile_labels: bool) -> str:
    if ATTENTION in row:
        return "label"
    return "true" if tile_labels else "slide's label"


def _described(row: Row, whose: str) -> tuple[str, tuple[str, ...]]:
    slide = row["slide_id"] or row["tile"]
    where = f"slide {row['slide_id']}" if row["slide_id"] else row["tile"]
    if row["why"] == "overview":
        label = f"label {row['label']}" if row["label"] else ""
        return f"Overview of {where} with its tiles", tuple(filter(None, (slide, label)))
    if row["why"] == "sample":
        return f"Tile of class {row['label']}, {where}", ()
    if row["why"] in ("low", "high"):
        alt = f"Tile of {where}: predicted {row['predicted']}, {whose} {row['label']}"
        return alt, (f"says: {row['predicted']}", f"{whose}: {row['label']}", slide)
    prob = number(float(row["prob"])) if _is_float(row["prob"]) else ""
    alt = f"Tile of {where}: {whose} {row['label']}, predicted {row['predicted']} {prob}"
    lines = [f"{whose}: {row['label']}", f"says: {row['predicted']} {prob}"]
    if _is_float(row.get(ATTENTION, "")):
        lines.append(f"weighs {float(row[ATTENTION]):.1%}")
    return alt.strip(), (*lines, slide)


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def left_out_text(pictures: Pictures) -> str:
    """Return how many pictures found no place, "" if all did."""
    if not pictures.left_out:
        return ""
    return (
        f"{pictures.left_out:,} more pictures lie in the folder pictures/ of the run: "
        "this page holds as many as keep it small."
    )
