"""Folders of ready-made tiles as sources of features."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from histokeras.errors import SlideError
from histokeras.features.extras import MAX_PICTURES
from histokeras.features.tile_mpp import SOURCE_PX
from histokeras.files import sha256_file
from histokeras.tiles.folders import read_image
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.plan import background_fraction
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, TILE

TILE_FACTS = (TILE, LABEL, PATIENT_ID, SLIDE_ID, "mpp")
"""What a tile table says of a tile; it may be corrected without extracting anew."""


@dataclass(frozen=True, kw_only=True)
class TileSetSource:
    """Ready-made tiles of one slide, or of one folder where the tile table names no slides.

    Attributes:
        slide_id: Name of the slide or folder.
        table: Rows of :func:`histokeras.tiles.folders.read_tile_set`.
        spec: Only ``size_px`` counts.
        resize: Whether tiles of another size are resampled to ``size_px`` (area average when
            shrinking), or refused.
    """

    slide_id: str
    table: pd.DataFrame
    spec: TileSpec
    resize: bool = False

    @property
    def max_bad_tiles(self) -> int:
        """Nothing is cut here."""
        return 0

    def identity(self) -> dict[str, Any]:
        """Return one digest over names and bytes of all tiles."""
        digest = hashlib.sha256()
        for tile, path in zip(self.table[TILE], self.table["path"], strict=True):
            digest.update(f"{tile}\n{sha256_file(Path(path))}\n".encode())
        return {"content": digest.hexdigest()}

    def open(self) -> "TileSetTiles":
        """Return the tiles; files are opened one by one as they are read."""
        return TileSetTiles(self, np.arange(len(self.table)), self.identity())

    def described(self) -> pd.DataFrame:
        """Return what the tile table says of each tile."""
        return self.table[list(TILE_FACTS)].reset_index(drop=True)


@dataclass(frozen=True)
class TileSetTiles:
    """Ready-made tiles, to be read by number. A bad one is left out and listed, alone."""

    source: TileSetSource
    rows: npt.NDArray[np.int64]
    identity: Mapping[str, Any]
    bad: dict[int, str] = field(default_factory=dict)
    sides: dict[int, int] = field(default_factory=dict)
    """Side of each image that was read, in pixels, before it was resampled."""

    @property
    def n_pictures(self) -> int:
        """Of how many tiles a picture is kept."""
        return MAX_PICTURES

    @property
    def one_stain(self) -> bool:
        """Whether all tiles were stained together: a folder may hold many slides, or a class."""
        return False

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the feature file says of them."""
        return self.identity

    def read(self, row: int) -> tuple[npt.NDArray[np.uint8], float, bool]:
        """Return image and background; good ready-made tiles are all kept: somebody chose them."""
        size = self.source.spec.size_px
        try:
            image, self.sides[row] = self._image(Path(self.source.table["path"].iloc[row]), size)
        except SlideError as error:
            # Under a pseudonym the file has another name than the tile.
            path, tile = (str(self.source.table[name].iloc[row]) for name in ("path", TILE))
            text = str(error).replace(path, tile).replace(Path(path).name, Path(tile).name)
            self.bad[row] = f"{error.code}: {text}"
            return np.zeros((size, size, 3), np.uint8), float("nan"), False
        return image, background_fraction(image), True

    def _image(self, path: Path, size: int) -> tuple[npt.NDArray[np.uint8], int]:
        """Return the image at ``size`` px, and the side that it has itself."""
        image = read_image(path)
        height, width = image.shape[:2]
        if (height, width) == (size, size):
            return image, size
        if height != width:
            raise SlideError(
                f"{path.name} is {width} x {height} px, and tiles are square.", code="TILE_SIZE"
            )
        if not self.source.resize:
            raise SlideError(
                f"{path.name} is {width} x {height} px, others are {size} px.",
                code="TILE_SIZE",
                hint=f"Give --tile-px {size} to resample all tiles to one size.",
            )
        # Area average when shrinking, so that no pixel is left out.
        method = Image.Resampling.BOX if height > size else Image.Resampling.BICUBIC
        return np.asarray(Image.fromarray(image).resize((size, size), method)), height

    def close(self) -> None:
        """Nothing stays open between tiles."""

    def manifest(self, background: Mapping[int, float]) -> pd.DataFrame:
        """Return the tile table with what was measured."""
        table = self.source.described().assign(size_px=self.source.spec.size_px)
        table[SOURCE_PX] = [self.sides.get(row, 0) for row in range(len(table))]
        table["background"] = [background[row] for row in range(len(table))]
        table["kept"] = [row not in self.bad for row in range(len(table))]
        return table.assign(reason=[self.bad.get(row, "") for row in range(len(table))])

    def empty(self, manifest: pd.DataFrame) -> tuple[str, str] | None:
        """Return code and message if there are no good tiles."""
        if manifest["kept"].any():
            return None
        return "NO_TILES", f"none of its {len(manifest)} tiles can be used."

    def coords_attributes(self) -> dict[str, Any]:
        """Return the attributes that TRIDENT and CLAM expect on ``coords``."""
        size = self.source.spec.size_px
        return {"patch_size": size, "name": self.source.slide_id, "savetodir": "", "overlap": 0}

    def overview(self, manifest: pd.DataFrame) -> bytes | None:
        """Return nothing: no slide is known."""
        return None


def tile_set_sources(
    table: pd.DataFrame, spec: TileSpec, *, resize: bool = False
) -> Sequence[TileSetSource]:
    """Group ready-made tiles into sources: by slide_id where given, else by folder.

    Args:
        table: From :func:`histokeras.tiles.folders.read_tile_set`.
        spec: Only ``size_px`` counts.
        resize: Whether tiles of another size are resampled.
    """
    folders = [
        str(Path(tile).parent) if Path(tile).parent.name else "tiles" for tile in table[TILE]
    ]
    groups = table[SLIDE_ID].where(table[SLIDE_ID] != "", pd.Series(folders, index=table.index))
    return [
        TileSetSource(slide_id=str(name), table=rows.sort_values(TILE), spec=spec, resize=resize)
        for name, rows in table.groupby(groups, sort=True)
    ]
