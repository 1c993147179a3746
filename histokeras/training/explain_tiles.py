"""Which tiles are explained: images, or the most telling tiles of slides. Without TensorFlow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image as PillowImage

from histokeras.analysis.tile_predictions import predictions_path, read_slide_predictions
from histokeras.errors import HistokerasError, SlideError, TableError
from histokeras.features.seen import image_change, slide_change
from histokeras.slides.inventory import (
    FOLDER_SUFFIXES,
    SlideRow,
    find_slides,
    pseudonym_of,
    row_of,
    slide_id_of,
)
from histokeras.slides.pyramid import choose_level
from histokeras.slides.reader import open_slide
from histokeras.slides.source import Image
from histokeras.tables import read_table, require_columns, row_numbers
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.tiles.folders import read_image, read_tile_set
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.plan import read_tile
from histokeras.training.explanation import TilePlace
from histokeras.types import LABEL, PROB, SLIDE_ID, SPLIT, TILE

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
_EACH_SLIDE = 2


@dataclass(frozen=True)
class Chosen:
    """A tile to explain: which one, and how its pixels are read."""

    place: TilePlace
    read: Callable[[], Image]


@dataclass
class Found:
    """Tiles to explain, and inputs that gave none.

    Attributes:
        tiles: In the order of the output.
        failures: Name of the input, and what is wrong with it.
    """

    tiles: list[Chosen] = field(default_factory=list)
    failures: list[tuple[str, HistokerasError]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Search:
    """How tiles are looked for.

    Attributes:
        run: The run folder.
        spec: How the run's tiles were made.
        ready_made: Whether the run was made of ready-made tiles.
        resize: Whether ready-made tiles of another size are resampled.
        classes: Classes of the run.
        class_name: Look for the most certain tiles of this class alone; of each class if None.
        n: Tiles at most, in all; images and tiles named one by one all count.
        tiles: Table that names tiles by x and y (and slide_id, if there are several slides).
        predictions: Folder of ``histokeras predict``, for slides that are not in the run.
        table: What the slide table says.
        default_mpp: For slides that do not tell.
        stain_norm: What extraction did to the stain of tiles.
        pseudonyms: By which outputs and predictions name slides; None for their own names.
    """

    run: Path
    spec: TileSpec
    ready_made: bool
    resize: bool
    classes: Sequence[str]
    class_name: str | None = None
    n: int = 12
    tiles: Path | None = None
    predictions: Path | None = None
    table: Mapping[str, SlideRow] = field(default_factory=dict)
    default_mpp: float | None = None
    stain_norm: str = "none"
    pseudonyms: Pseudonyms | None = None


def find_tiles(inputs: Sequence[Path], search: Search) -> Found:
    """Find the tiles to explain.

    Images are explained themselves; of folders of images ``n`` tiles, evenly over their
    subfolders; of slides the tiles named by ``search.tiles``, else the most certain of each class.

    Args:
        inputs: Images, slides, folders of either.
        search: How to look.

    Returns:
        The tiles; what cannot be used is listed, the others go on.
    """
    found = Found()
    slides: list[Path] = []
    for path in inputs:
        try:
            if _is_tiles(path, search):
                found.tiles += _images(path, search)
            else:
                slides += find_slides([path])
        except HistokerasError as error:
            found.failures.append((path.name, error))
    if slides and search.ready_made:
        found.failures += [(path.stem, _not_tiles(path)) for path in slides]
    elif slides:
        _add_slides(found, slides, search)
    return found


def _is_tiles(path: Path, search: Search) -> bool:
    if path.is_dir():
        names = [item.suffix.lower() for item in path.iterdir() if not item.name.startswith(".")]
        return search.ready_made or not any(name in FOLDER_SUFFIXES for name in names)
    suffix = path.suffix.lower()
    name = (search.pseudonyms and search.pseudonyms.find(path.stem)) or path.stem
    known = any(predictions_path(folder, name).is_file() for folder in _folders(search))
    return not known and path.exists() and (
        suffix in _PICTURES or (search.ready_made and suffix in (".tif", ".tiff"))
    )  # fmt: skip


def _not_tiles(path: Path) -> SlideError:
    return SlideError(
        f"`{path.name}`: this run was trained on ready-made tiles.",
        code="CONFIG_MISMATCH",
        hint="Give images of tiles.",
    )


def _images(path: Path, search: Search) -> list[Chosen]:
    if not path.is_dir():
        return [_image(path, path.name, "", search)]
    table = read_tile_set([path])
    rng = np.random.default_rng(0)
    # One of each subfolder in turn, so that no class is left out.
    turn = table.iloc[rng.permutation(len(table))]
    turn = turn.assign(turn=turn.groupby(LABEL).cumcount()).sort_values("turn", kind="stable")
    rows = turn.head(search.n).sort_values(TILE)
    return [
        _image(Path(row["path"]), row[TILE], row[LABEL], search) for row in rows.to_dict("records")
    ]


def _image(path: Path, tile: str, label: str, search: Search) -> Chosen:
    if search.pseudonyms is not None:
        tile = search.pseudonyms.masked(tile)
    place = TilePlace(name="_".join(Path(tile).with_suffix("").parts), tile=tile, label=label)
    return Chosen(place, lambda: _read_picture(path, search))


def _read_picture(path: Path, search: Search) -> Image:
    image, size = read_image(path), search.spec.size_px
    height, width = image.shape[:2]
    change = image_change(search.stain_norm)
    if (height, width) == (size, size):
        return change(image)
    if not search.resize or height != width:
        raise SlideError(
            f"{path.name} is {width} x {height} px; tiles of this run have {size} x {size}.",
            code="TILE_SIZE",
            hint=f"Cut or resample it to {size} px at the run's resolution.",
        )
    method = PillowImage.Resampling.BOX if height > size else PillowImage.Resampling.BICUBIC
    return change(np.asarray(PillowImage.fromarray(image).resize((size, size), method)))


def _add_slides(found: Found, slides: Sequence[Path], search: Search) -> None:
    named = None if search.tiles is None else _read_named(search.tiles)
    parts = []
    facts = _slide_facts(search.run)
    if search.pseudonyms is not None:
        search.pseudonyms.require([slide_id_of(path) for path in slides], "slide")
    for path in slides:
        slide_id = pseudonym_of(path, search.pseudonyms)
        try:
            table = _named(named, path, slides, search) if named is not None else (
                read_slide_predictions(slide_id, _folders(search))
            )  # fmt: skip
        except HistokerasError as error:
            found.failures.append((slide_id, error))
            continue
        parts.append(table.assign(**{SLIDE_ID: slide_id, "path": str(path)}))
    if not parts:
        return
    rows = pd.concat(parts, ignore_index=True)
    rows = rows if named is not None else certain_tiles(rows, search)
    for row in rows.to_dict("records"):
        label, split = facts.get(row[SLIDE_ID], ("", ""))
        x, y = int(row["minx"]), int(row["miny"])
        place = TilePlace(
            name=f"{row[SLIDE_ID]}_{x}_{y}", slide_id=row[SLIDE_ID], x=x, y=y, label=label,
            split=split,
        )  # fmt: skip
        found.tiles.append(Chosen(place, _slide_reader(Path(row["path"]), (x, y), search)))


def _folders(search: Search) -> list[Path]:
    return [search.run] + ([search.predictions] if search.predictions is not None else [])


def certain_tiles(rows: pd.DataFrame, search: Search) -> pd.DataFrame:
    """Return the most certain tiles of each class in turn, or of the one looked for.

    Args:
        rows: Predictions of one slide or several, with ``slide_id``.
        search: Which class, and how many.
    """
    columns = [f"{PROB}{name}" for name in search.classes]
    require_columns(rows, columns, name="predictions")
    probs: npt.NDArray[Any] = rows[columns].to_numpy()
    if search.class_name is not None:
        top = probs[:, list(search.classes).index(search.class_name)]
        ranked = rows.assign(_class=0, _prob=top)
    else:
        ranked = rows.assign(_class=probs.argmax(axis=1), _prob=probs.max(axis=1))
    ranked = ranked.sort_values(["_prob", SLIDE_ID, "miny", "minx"], ascending=[False, *[True] * 3])
    # Two of a slide, then those of other slides, before its third comes.
    within = ranked.groupby(["_class", SLIDE_ID]).cumcount() // _EACH_SLIDE
    ranked = ranked.assign(_turn=within).sort_values(["_class", "_turn"], kind="stable")
    ranked = ranked.assign(_rank=ranked.groupby("_class").cumcount())
    return ranked.sort_values(["_rank", "_class"], kind="stable").head(search.n)


def _read_named(path: Path) -> pd.DataFrame:
    table = read_table(path, name="tile list")
    table = table.rename(columns={"minx": "x", "miny": "y"})
    require_columns(table, ("x", "y"), name=f"tile list {path}")
    for column in ("x", "y"):
        numbers = pd.to_numeric(table[column], errors="coerce")
        bad = [n for n, value in zip(row_numbers(table), numbers, strict=True) if not value >= 0]
        if bad:
            raise TableError(
                f"tile list {path}, row {bad[0]}: `{column}` is no place in level-0 pixels.",
                hint="Give the upper left corner of each tile.",
            )
        table[column] = numbers.astype("int64")
    return table


def _named(table: pd.DataFrame, path: Path, slides: Sequence[Path], search: Search) -> pd.DataFrame:
    slide_id = pseudonym_of(path, search.pseudonyms)
    if SLIDE_ID in table:
        # An id may itself hold dots: only as a file name does it lose what follows the last.
        ids = table[SLIDE_ID]
        names = (slide_id, slide_id_of(path))
        table = table[ids.isin(names) | ids.map(slide_id_of).isin(names)]
    elif len(slides) > 1:
        raise TableError(
            f"tile list {search.tiles} lacks the column slide_id, and there are {len(slides)} "
            "slides.",
            hint="Add slide_id, or give one slide.",
        )
    if table.empty:
        raise TableError(f"tile list {search.tiles} names no tile of slide `{slide_id}`.")
    return pd.DataFrame({"minx": table["x"], "miny": table["y"]})


def _slide_facts(run: Path) -> dict[str, tuple[str, str]]:
    """Return slide_id -> label and side of the split, as far as the run's tables tell."""
    path = run / "slides.csv"
    if not path.is_file():
        return {}
    table = read_table(path, name="slides")
    blank = [""] * len(table)
    names = [table[key].astype(str) if key in table else blank for key in (LABEL, SPLIT)]
    return dict(zip(table[SLIDE_ID].astype(str), zip(*names, strict=True), strict=True))


def _slide_reader(path: Path, location: tuple[int, int], search: Search) -> Callable[[], Image]:
    slide_id = pseudonym_of(path, search.pseudonyms)
    mpp = row_of(search.table, path, slide_id).mpp

    def read() -> Image:
        spec = search.spec
        with open_slide(path, mpp=mpp, default_mpp=search.default_mpp, slide_id=slide_id) as slide:
            choice = choose_level(
                slide.mpp, slide.level_downsamples, spec.mpp, tolerance=spec.mpp_tolerance,
                name=slide.name,
            )  # fmt: skip
            side = choice.size_level0_px(spec.size_px)
            width, height = slide.dimensions
            if location[0] + side > width or location[1] + side > height:
                raise SlideError(
                    f"slide `{slide.name}`: a tile of {side} px at x={location[0]} y={location[1]} "
                    f"does not lie within {width} x {height} px.",
                    code="TILE_OUTSIDE",
                    hint="x and y are level-0 pixels.",
                )
            change = slide_change(slide, spec, search.stain_norm)
            return change(read_tile(slide, choice, spec.size_px, location))

    return read
