"""What features are extracted from: slides and folders of ready-made tiles, in one manner."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from histokeras.errors import SlideError
from histokeras.features.extras import MAX_PICTURES, SLIDE_PICTURES, overview_jpeg
from histokeras.files import sha256_file
from histokeras.slides.reader import open_slide
from histokeras.slides.slide import Slide
from histokeras.tiles.cut import TileSet
from histokeras.tiles.folders import read_image
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.manifest import empty_reason, finish_manifest
from histokeras.tiles.plan import TilePlan, background_fraction, plan_tiles
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, TILE

TILE_FACTS = (TILE, LABEL, PATIENT_ID, SLIDE_ID, "mpp")
"""What a tile table says of a tile; it may be corrected without extracting anew."""


class OpenTiles(Protocol):
    """A source whose tiles can be read, and what is known of it."""

    @property
    def n_pictures(self) -> int:
        """Of how many tiles a picture is kept."""

    @property
    def one_stain(self) -> bool:
        """Whether all tiles were stained together, or each has its own stain."""

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Numbers of the tiles to read."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the fingerprint needs to know of its content."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the feature file says of it."""

    def read(self, row: int) -> tuple[npt.NDArray[np.uint8], float, bool]:
        """Return image, background and whether the tile is kept."""

    def close(self) -> None:
        """Give back the file handle."""

    def manifest(self, background: Mapping[int, float]) -> pd.DataFrame:
        """Return the manifest, given the background of each tile read."""

    def empty(self, manifest: pd.DataFrame) -> tuple[str, str] | None:
        """Return code and message if no tile was kept."""

    def coords_attributes(self) -> dict[str, Any]:
        """Return the attributes that TRIDENT and CLAM expect on ``coords``."""

    def overview(self, manifest: pd.DataFrame) -> bytes | None:
        """Return a JPEG of the slide with its kept tiles, None if no picture is in memory."""


class Source(Protocol):
    """A slide or folder, not opened yet."""

    @property
    def slide_id(self) -> str:
        """Under which name its features are kept."""

    def identity(self) -> dict[str, Any]:
        """Return what the fingerprint needs to know of its content."""

    def open(self) -> OpenTiles:
        """Open it and settle which tiles are to be read."""


@dataclass(frozen=True, kw_only=True)
class SlideSource:
    """One slide.

    Attributes:
        path: The slide file.
        spec: How to cut it.
        slide_id: Its name without extension.
        mpp: What the slide table says, in micrometres per pixel.
        default_mpp: For slides that do not tell.
        annotations: Folder of ``<slide_id>.geojson`` for ``tissue="geojson"``.
    """

    path: Path
    spec: TileSpec
    slide_id: str
    mpp: float | None = None
    default_mpp: float | None = None
    annotations: Path | None = None

    def _slide(self) -> Slide:
        return open_slide(self.path, mpp=self.mpp, default_mpp=self.default_mpp)

    def _mask(self) -> str:
        if self.annotations is None:
            return ""
        path = self.annotations / f"{self.slide_id}.geojson"
        return sha256_file(path) if path.is_file() else ""

    def identity(self) -> dict[str, Any]:
        """Return content id, mpp and the digest of the annotation file."""
        with self._slide() as slide:
            return slide_identity(slide, self._mask())

    def open(self) -> "SlideTiles":
        """Open the slide and settle its grid."""
        slide = self._slide()
        try:
            plan = plan_tiles(slide, self.spec, annotations=self.annotations)
            return SlideTiles(slide, plan, slide_identity(slide, self._mask()))
        except BaseException:
            slide.close()
            raise


@dataclass(frozen=True)
class CutSource:
    """The tiles of a slide that is open already, as :func:`histokeras.cut_tiles` returns them."""

    tiles: TileSet

    @property
    def slide_id(self) -> str:
        """Under which name its features are kept."""
        return self.tiles.slide.slide_id

    def identity(self) -> dict[str, Any]:
        """Return content id, mpp and the digest of the annotation file."""
        return slide_identity(self.tiles.slide, self.tiles.plan.mask_id)

    def open(self) -> "SlideTiles":
        """Return the tiles; the slide stays open, it is not ours."""
        return SlideTiles(self.tiles.slide, self.tiles.plan, self.identity(), keep_open=True)


def slide_identity(slide: Slide, mask: str) -> dict[str, Any]:
    """Return what the fingerprint needs to know of a slide.

    Args:
        slide: The open slide.
        mask: Digest of its annotation file, or "".
    """
    return {"content": slide.content_id(), "mpp": float(slide.mpp), "mask": mask}


@dataclass(frozen=True)
class SlideTiles:
    """The tiles of one open slide."""

    slide: Slide
    plan: TilePlan
    identity: Mapping[str, Any]
    keep_open: bool = False

    @property
    def n_pictures(self) -> int:
        """Of how many tiles a picture is kept."""
        return SLIDE_PICTURES

    @property
    def one_stain(self) -> bool:
        """Whether all tiles were stained together: on one slide they were."""
        return True

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the feature file says of its slide; no path, no label, no scanner's text."""
        return {
            **self.identity,
            "mpp_source": self.slide.mpp_source,
            "dimensions": list(self.slide.dimensions),
            "vendor": self.slide.vendor,
            "notes": list(self.plan.notes),
        }

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Numbers of the tiles that may pass the background limit."""
        return self.plan.candidates

    def read(self, row: int) -> tuple[npt.NDArray[np.uint8], float, bool]:
        """Return image, background and whether the tile is kept."""
        image = self.plan.read(row)
        background, kept, _ = self.plan.judge(image)
        return image, background, kept

    def close(self) -> None:
        """Close the slide, unless somebody else opened it."""
        if not self.keep_open:
            self.slide.close()

    def manifest(self, background: Mapping[int, float]) -> pd.DataFrame:
        """Return the manifest; refuse a slide that changed while it was read."""
        self.slide.require_unchanged()
        return finish_manifest(self.plan, background)

    def empty(self, manifest: pd.DataFrame) -> tuple[str, str] | None:
        """Return code and message if no tile was kept."""
        return empty_reason(self.plan, manifest)

    def coords_attributes(self) -> dict[str, Any]:
        """Return the attributes that TRIDENT and CLAM expect on ``coords``."""
        spec, table = self.plan.spec, self.plan.manifest
        side = int(table["size_level0_px"].iloc[0]) if len(table) else spec.size_px
        width, height = self.slide.dimensions
        level = int(table["level"].iloc[0]) if len(table) else 0
        downsample = side / spec.size_px
        return {
            "patch_size": spec.size_px,
            "patch_size_level0": side,
            "level0_magnification": round(10 / self.identity["mpp"]),
            "target_magnification": round(10 / spec.mpp),
            "overlap": spec.overlap_px,
            "name": str(table[SLIDE_ID].iloc[0]) if len(table) else self.slide.slide_id,
            "savetodir": "",
            "level0_width": width,
            "level0_height": height,
            "patch_level": level,
            "downsample": np.array([downsample, downsample]),
            "level_dim": np.array([width, height]),
            "downsampled_level_dim": np.array([int(width / downsample), int(height / downsample)]),
        }

    def overview(self, manifest: pd.DataFrame) -> bytes | None:
        """Return a JPEG of the slide with its kept tiles, None if no picture is in memory."""
        if self.plan.thumbnail is None:
            return None
        return overview_jpeg(self.plan.thumbnail, self.slide.dimensions, manifest)


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
            image = self._image(Path(self.source.table["path"].iloc[row]), size)
        except SlideError as error:
            self.bad[row] = f"{error.code}: {error}"
            return np.zeros((size, size, 3), np.uint8), float("nan"), False
        return image, background_fraction(image), True

    def _image(self, path: Path, size: int) -> npt.NDArray[np.uint8]:
        image = read_image(path)
        height, width = image.shape[:2]
        if (height, width) == (size, size):
            return image
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
        return np.asarray(Image.fromarray(image).resize((size, size), method))

    def close(self) -> None:
        """Nothing stays open between tiles."""

    def manifest(self, background: Mapping[int, float]) -> pd.DataFrame:
        """Return the tile table with what was measured."""
        table = self.source.described().assign(size_px=self.source.spec.size_px)
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


def bad_tiles(slide_id: str, manifest: pd.DataFrame) -> list[dict[str, str]]:
    """Return the rows of failures.csv for ready-made tiles that could not be used.

    Args:
        slide_id: Their slide or folder.
        manifest: Its manifest; that of a slide has no such tiles.
    """
    if TILE not in manifest:
        return []
    rows = manifest[~manifest["kept"].astype(bool)]
    return [
        {"slide": slide_id, "stage": "tile", "code": str(reason).partition(": ")[0],
         "message": f"tile {tile}: {str(reason).partition(': ')[2]}", "hint": ""}
        for tile, reason in zip(rows[TILE], rows["reason"], strict=True)
    ]  # fmt: skip


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
