"""What features are extracted from: slides and folders of ready-made tiles, in one manner."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from histokeras.errors import SlideError
from histokeras.files import sha256_file
from histokeras.slides.reader import open_slide
from histokeras.slides.slide import Slide
from histokeras.tiles.cut import TileSet
from histokeras.tiles.folders import read_image
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.manifest import empty_reason, finish_manifest
from histokeras.tiles.plan import TilePlan, background_fraction, plan_tiles
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, TILE


class OpenTiles(Protocol):
    """A source whose tiles can be read, and what is known of it."""

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
        return {"content": digest.hexdigest(), "resize": self.resize}

    def open(self) -> "TileSetTiles":
        """Return the tiles; files are opened one by one as they are read."""
        return TileSetTiles(self, np.arange(len(self.table)), self.identity())


@dataclass(frozen=True)
class TileSetTiles:
    """Ready-made tiles, to be read by number."""

    source: TileSetSource
    rows: npt.NDArray[np.int64]
    identity: Mapping[str, Any]

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the feature file says of them."""
        return self.identity

    def read(self, row: int) -> tuple[npt.NDArray[np.uint8], float, bool]:
        """Return image and background; ready-made tiles are all kept: somebody chose them."""
        path = Path(self.source.table["path"].iloc[row])
        image, size = read_image(path), self.source.spec.size_px
        if image.shape[:2] != (size, size):
            if not self.source.resize:
                raise SlideError(
                    f"{path.name} is {image.shape[1]} x {image.shape[0]} px, others are {size} px.",
                    code="TILE_SIZE",
                    hint=f"Give --tile-px {size} to resample all tiles to one size.",
                )
            image = np.asarray(
                Image.fromarray(image).resize(
                    (size, size),
                    Image.Resampling.BOX if image.shape[0] > size else Image.Resampling.BICUBIC,
                )
            )
        return image, background_fraction(image), True

    def close(self) -> None:
        """Nothing stays open between tiles."""

    def manifest(self, background: Mapping[int, float]) -> pd.DataFrame:
        """Return the tile table with what was measured."""
        table = self.source.table[[TILE, LABEL, PATIENT_ID, SLIDE_ID, "mpp"]].reset_index(drop=True)
        table = table.assign(size_px=self.source.spec.size_px)
        table["background"] = [background[row] for row in range(len(table))]
        return table.assign(kept=True, reason="")

    def empty(self, manifest: pd.DataFrame) -> tuple[str, str] | None:
        """Return code and message if there are no tiles."""
        return ("NO_TILES", "no tiles in this folder.") if manifest.empty else None

    def coords_attributes(self) -> dict[str, Any]:
        """Return the attributes that TRIDENT and CLAM expect on ``coords``."""
        size = self.source.spec.size_px
        return {"patch_size": size, "name": self.source.slide_id, "savetodir": "", "overlap": 0}


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
