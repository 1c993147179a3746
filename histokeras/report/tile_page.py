"""What is told of a set of ready-made tiles: a page, tables, a few lines of text."""

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from histokeras.analysis.tile_set import COLOURS, TileSetFacts
from histokeras.files import prepare_folder, write_csv
from histokeras.report.caution import Caution
from histokeras.report.colours import class_looks
from histokeras.report.html import render, require_own_page, write_page
from histokeras.report.pictures import Gallery, Picture
from histokeras.report.tables import Cell, Table
from histokeras.report.text import DASH, clean, listed, percent, plural
from histokeras.runs.record import RunRecord
from histokeras.types import LABEL, PATIENT_ID

_MOST_PAIRS = 12
_FEW_TILES = 100
_UNBALANCED = 5
_LARGE_PX = 1024


def write_tile_set(
    folder: Path,
    facts: TileSetFacts,
    *,
    title: str,
    config: Mapping[str, Any],
    command_line: str = "",
) -> Path:
    """Write ``tiles.html``, ``tiles.csv``, ``duplicates.csv`` and ``run.json``.

    Args:
        folder: The output folder.
        facts: Of :func:`histokeras.analysis.tile_set.look_at_tiles`.
        title: Heading of the page.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.

    Returns:
        The page.

    Raises:
        OutputError: If it cannot be written.
    """
    prepare_folder(folder)
    record = RunRecord("tiles", config, command_line=command_line)
    record.facts["n_tiles"] = len(facts.tiles)
    record.write(folder, status="running")
    write_csv(folder / "tiles.csv", facts.tiles)
    write_csv(folder / "duplicates.csv", facts.duplicates)
    page = write_tile_page(facts, folder / "tiles.html", title=title)
    record.write(folder, status="done")
    return page


def format_tile_set(facts: TileSetFacts) -> str:
    """Return counts, sizes and duplicates as plain text."""
    lines = []
    width = max([len(str(name)) for name in facts.classes[LABEL]] + [5])
    for row in facts.classes.to_dict("records"):
        colour = ", ".join(f"{255 * row[name]:.0f}" for name in COLOURS)
        patients = f", {plural(row['n_patients'], 'patient')}" if row["n_patients"] else ""
        count = f"{row['n']:>7,} tiles ({percent(row['share'])})"
        name = str(row[LABEL]) or "(none)"
        lines.append(f"{name:<{width}}  {count}{patients}, mean colour {colour}")
    sizes = _sizes(facts)
    shown = [f"{size} ({n:,})" for size, n in sizes[:5]]
    more = f" and {len(sizes) - 5} more" if len(sizes) > 5 else ""
    lines.append(f"sizes: {', '.join(shown) or 'none'}{more}")
    lines += [f"Warning: {caution.title}" for caution in _cautions(facts)]
    if len(facts.duplicates):
        lines.append(f"{plural(len(facts.duplicates), 'pair')} of tiles look the same")
    if facts.note:
        lines.append(f"note: {facts.note}")
    return "\n".join(lines)


def write_tile_page(facts: TileSetFacts, page: Path, *, title: str) -> Path:
    """Write the page of a tile set: what it holds, what is wrong with it, how it looks.

    Args:
        facts: Of :func:`histokeras.analysis.tile_set.look_at_tiles`.
        page: The .html file.
        title: Heading.

    Returns:
        The page.

    Raises:
        ConfigError: If ``page`` is of other origin.
        OutputError: If it cannot be written.
    """
    require_own_page(page)
    tables = [_class_table(facts), _size_table(facts), _pair_table(facts), _bad_table(facts)]
    html = render(
        "tiles.html.j2",
        title=clean(title),
        subtitle=f"Tile set · {plural(len(facts.tiles), 'image')}",
        cautions=list(_cautions(facts)),
        tables=[table for table in tables if table is not None],
        swatches=_swatches(facts),
        galleries=_galleries(facts),
        note=facts.note,
    )
    write_page(page, html, [])
    return page


def _cautions(facts: TileSetFacts) -> Iterator[Caution]:
    pairs, classes = facts.duplicates, facts.classes
    two_labels = sum("two labels" in note for note in pairs["note"])
    two_patients = sum("two patients" in note for note in pairs["note"])
    if two_labels:
        yield Caution(
            "two-labels",
            f"{plural(two_labels, 'pair')} of tiles look the same and bear two labels",
            "One of the two labels is wrong, or the classes cannot be told apart by a tile.",
            "Look at them (duplicates.csv) and correct or remove them.",
        )
    if two_patients:
        yield Caution(
            "two-patients",
            f"{plural(two_patients, 'pair')} of tiles look the same under two patients",
            "A split by patient would put the same picture on both sides.",
            "Find out whose they are, or remove them.",
        )
    elif len(pairs) and not (facts.tiles[PATIENT_ID] != "").any():
        yield Caution(
            "copies",
            f"{plural(len(pairs), 'pair')} of tiles look the same, and no patients are known",
            "A random split puts copies on both sides: its figures would be too good.",
            "Give --tile-table with patient_id (or the source of each tile).",
        )
    bad = facts.tiles[facts.tiles["problem"] != ""]
    if len(bad):
        yield Caution(
            "unreadable",
            f"{plural(len(bad), 'image')} cannot be read: {listed(bad['tile'].tolist())}",
            "They would be left out of every run.",
            "Copy or export them again.",
        )
    yield from _kind_cautions(facts)
    small = [name for name in classes[classes["n"] < _FEW_TILES][LABEL].tolist() if name]
    if small:
        yield Caution(
            "few-tiles",
            f"Fewer than {_FEW_TILES} tiles: {listed([str(name) for name in small])}",
            "Figures of such a class have wide intervals.",
            "Collect more, or join classes.",
        )
    if len(classes) > 1 and classes["n"].max() > _UNBALANCED * max(int(classes["n"].min()), 1):
        yield Caution(
            "unbalanced",
            f"The largest class has over {_UNBALANCED} times the tiles of the smallest",
            "Accuracy alone misleads here.",
            "Look at balanced accuracy, AUC and PR-AUC.",
        )


def _kind_cautions(facts: TileSetFacts) -> Iterator[Caution]:
    """Warn of what is no set of labelled tiles of one size."""
    good = facts.tiles[facts.tiles["problem"] == ""]
    n_bare = int((facts.tiles[LABEL] == "").sum())
    if n_bare:
        yield Caution(
            "no-label",
            f"{plural(n_bare, 'tile')} without a label",
            "A tile's label is the name of the folder that holds it; these lie in the folder that "
            "was named itself.",
            "Name the folder above, or give --tile-table.",
        )
    sizes = _sizes(facts)
    if len(sizes) > 1:
        yield Caution(
            "sizes",
            f"Tiles of {len(sizes)} sizes; {sizes[0][0]} is the most frequent",
            "`extract-features` refuses tiles of another size than the first.",
            "Give it --tile-px to resample all to one size; mind that the resolution changes.",
        )
    large = good[good[["width", "height"]].max(axis=1) > _LARGE_PX] if len(good) else good
    if len(large):
        yield Caution(
            "large",
            f"{plural(len(large), 'image')} of more than {_LARGE_PX} px: are these slides?",
            "A tile shows a field of 100 to 500 micrometres.",
            "Cut slides with `histokeras tile`, or extract them directly with extract-features.",
        )


def _class_table(facts: TileSetFacts) -> Table:
    most = max(int(facts.classes["n"].max()), 1) if len(facts.classes) else 1
    rows: list[list[str | Cell]] = [
        [
            clean(str(row[LABEL])) or "without label",
            Cell(f"{row['n']:,}", bar=row["n"] / most),
            percent(row["share"]),
            f"{row['n_patients']:,}" if row["n_patients"] else "unknown",
            f"{row['n_unreadable']:,}",
        ]
        for row in facts.classes.to_dict("records")
    ]
    head = ("Label", "Tiles", "Share", "Patients", "Unreadable")
    return Table("Tiles of each label", head, rows, css="funnel")


def _size_table(facts: TileSetFacts) -> Table:
    sizes = _sizes(facts)
    rows = [[size, f"{n:,}"] for size, n in sizes[:20]]
    notes = [] if len(sizes) <= 20 else [f"... and {len(sizes) - 20} more sizes"]
    return Table("Sizes", ("Width x height", "Tiles"), rows, notes)


def _sizes(facts: TileSetFacts) -> list[tuple[str, int]]:
    """Return each size and how many tiles have it, the most frequent first."""
    good = facts.tiles[facts.tiles["problem"] == ""]
    names = good["width"].astype(int).astype(str) + " x " + good["height"].astype(int).astype(str)
    return [(f"{name} px", int(n)) for name, n in names.value_counts().items()]


def _pair_table(facts: TileSetFacts) -> Table | None:
    pairs = facts.duplicates
    if pairs.empty:
        return None
    # Those that matter first: two labels, two patients.
    shown = pairs.sort_values("note", ascending=False, kind="stable").head(_MOST_PAIRS)
    rows = [
        [
            clean(row["tile_a"]),
            clean(row["tile_b"]),
            f"{row['how']} ({row['similarity']:.3f})",
            row["note"] or DASH,
        ]
        for row in shown.to_dict("records")
    ]
    notes = [f"{len(pairs):,} pairs in all, in duplicates.csv."] if len(pairs) > len(rows) else []
    return Table("Tiles that look the same", ("Tile", "Tile", "How", "Mind"), rows, notes)


def _bad_table(facts: TileSetFacts) -> Table | None:
    bad = facts.tiles[facts.tiles["problem"] != ""].head(_MOST_PAIRS)
    rows = [[clean(row["tile"]), clean(row["problem"])] for row in bad.to_dict("records")]
    return Table("Images that cannot be read", ("Image", "Why"), rows) if rows else None


def _swatches(facts: TileSetFacts) -> list[dict[str, str]]:
    """Return the mean colour of each label, and the fixed colour of its class in plots."""
    known = facts.classes.dropna(subset=[name for name in COLOURS if name in facts.classes])
    looks = class_looks([str(name) for name in known[LABEL]])
    found = []
    for row in known.to_dict("records"):
        red, green, blue = (round(255 * row[name]) for name in COLOURS)
        found.append(
            {
                "label": clean(str(row[LABEL])) or "without label",
                "colour": f"#{red:02x}{green:02x}{blue:02x}",
                "text": f"red {red}, green {green}, blue {blue}",
                "look": looks[str(row[LABEL])].colour,
            }
        )
    return found


def _galleries(facts: TileSetFacts) -> list[Gallery]:
    galleries = []
    for label, tiles in facts.samples.items():
        pictures = tuple(_picture(name, data, label) for name, data in tiles)
        galleries.append(Gallery("sample", clean(label) or "without label", pictures))
    return galleries


def _picture(name: str, data: bytes, label: str) -> Picture:
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    source = f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
    return Picture(source, clean(f"Tile {name} of {label or 'no label'}"), (), width, height)
