"""Ready-made tiles: images in folders, with or without a table that says more of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from histokeras.errors import SlideError, TableError
from histokeras.slides.plain import open_picture, white_composite
from histokeras.slides.source import Image
from histokeras.tables import read_table, require_columns, row_numbers, with_standard_columns
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, TILE

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
COLUMNS = (TILE, "path", LABEL, PATIENT_ID, SLIDE_ID, "mpp")
_FROM_TABLE = (LABEL, PATIENT_ID, SLIDE_ID, "mpp")
_SHOWN = 3


def read_tile_set(folders: Sequence[Path], *, tile_table: Path | None = None) -> pd.DataFrame:
    """List the tile images in folders.

    Without a table, a tile's label is the name of the folder that directly holds it; tiles that lie
    in the given folder itself have none. With a table, only its tiles count and only it gives
    labels.

    Args:
        folders: Folders of .png, .jpg, .tif, .bmp or .webp images, searched to the bottom.
        tile_table: Table with the column tile (path relative to one of the folders, or a file name
            that occurs once) and any of label, patient_id, slide_id, mpp.

    Returns:
        One row a tile, sorted by tile, with ``COLUMNS`` as text, "" where nothing is known.
        ``tile`` is the path relative to its folder with forward slashes. ``attrs["not_in_table"]``
        counts images that the table does not name.

    Raises:
        SlideError: TILES_MISSING if a folder does not exist or holds no image.
        TableError: If two images have the same relative path, or the table names images that are
            not there, or names one twice.
    """
    tiles = _list_tiles(folders)
    if tile_table is None:
        tiles[LABEL] = [Path(tile).parent.name if "/" in tile else "" for tile in tiles[TILE]]
        tiles.attrs["not_in_table"] = 0
        return tiles
    return _join_table(tiles, tile_table)


def _images(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        relative = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in relative)
        if path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file():
            yield path


def _list_tiles(folders: Sequence[Path]) -> pd.DataFrame:
    found: dict[str, Path] = {}
    for folder in folders:
        n_before = len(found)
        for path in _images(folder):
            tile = path.relative_to(folder).as_posix()
            other = found.setdefault(tile, path)
            if other != path:
                raise TableError(
                    f"two tiles are called `{tile}`: {other} and {path}.",
                    code="DUPLICATE_TILE",
                    hint="Give the folder above both, so that their paths differ.",
                )
        if len(found) == n_before:
            raise SlideError(
                f"folder `{folder}` holds no tile image ({' '.join(sorted(IMAGE_SUFFIXES))}).",
                code="TILES_MISSING",
                hint="Check the path.",
            )
    names = sorted(found)
    table = pd.DataFrame("", index=range(len(names)), columns=list(COLUMNS), dtype=str)
    table[TILE] = names
    table["path"] = [str(found[name]) for name in names]
    return table


def _join_table(tiles: pd.DataFrame, tile_table: Path) -> pd.DataFrame:
    name = f"tile table {tile_table}"
    rows = with_standard_columns(read_table(tile_table, name="tile table"), (TILE, *_FROM_TABLE))
    require_columns(rows, (TILE,), name=name)
    numbers = row_numbers(rows)
    places = _find_tiles(tiles, [str(tile) for tile in rows[TILE]], name)
    _require_once(places, numbers, name)
    joined = tiles.iloc[places].reset_index(drop=True)
    for column in _FROM_TABLE:
        if column in rows:
            joined[column] = rows[column].to_numpy()
    joined = joined.sort_values(TILE, kind="stable").reset_index(drop=True)
    joined.attrs["not_in_table"] = len(tiles) - len(joined)
    return joined


def _find_tiles(tiles: pd.DataFrame, wanted: Sequence[str], name: str) -> list[int]:
    """Return the position of each wanted tile, by relative path, else by unique file name."""
    by_path = {tile: i for i, tile in enumerate(tiles[TILE])}
    by_name: dict[str, list[int]] = {}
    for tile, i in by_path.items():
        by_name.setdefault(tile.rsplit("/", 1)[-1], []).append(i)
    places, missing = [], []
    for tile in wanted:
        place = by_path.get(tile.replace("\\", "/").removeprefix("./"))
        if place is None and len(by_name.get(tile, ())) == 1:
            place = by_name[tile][0]
        if place is None:
            missing.append(tile)
        else:
            places.append(place)
    if missing:
        shown = ", ".join(f"`{tile}`" for tile in missing[:_SHOWN])
        raise TableError(
            f"{name}: {len(missing)} of {len(wanted)} tiles are not in the folder(s), "
            f"first {shown}.",
            code="TILES_MISSING",
            hint="The column `tile` holds paths relative to the folder, with extension.",
        )
    return places


def _require_once(places: Sequence[int], numbers: Sequence[int], name: str) -> None:
    seen: dict[int, int] = {}
    for place, number in zip(places, numbers, strict=True):
        other = seen.setdefault(place, number)
        if other != number:
            raise TableError(
                f"{name}: rows {other} and {number} name the same tile.",
                code="DUPLICATE_TILE",
                hint="Keep one row a tile.",
            )


def read_image(path: Path) -> Image:
    """Read one tile image.

    Args:
        path: An image file.

    Returns:
        Shape (height, width, 3), uint8 RGB; transparent parts are white, CMYK is converted.

    Raises:
        SlideError: TILE_CORRUPT, NOT_BRIGHTFIELD (greyscale, 16-bit) or SLIDE_TOO_LARGE.
    """
    try:
        with open_picture(path) as picture:
            return white_composite(picture, path.name)
    except SlideError:
        raise
    except Exception as error:
        # Pillow raises a dozen kinds on damaged files.
        raise SlideError(
            f"tile `{path.name}` cannot be read: {error}.",
            code="TILE_CORRUPT",
            hint="Export or copy it again.",
        ) from error
