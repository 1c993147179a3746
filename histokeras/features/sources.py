"""What features are extracted from: a slide, or a folder of ready-made tiles. One manner for both."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from histokeras.errors import SlideError
from histokeras.files import sha256_file
from histokeras.slides.reader import Slide, open_slide
from histokeras.tiles.cut import (
    TilePlan,
    background_fraction,
    empty_reason,
    finish_manifest,
    plan_tiles,
)
from histokeras.tiles.folders import read_image
from histokeras.tiles.grid import TileSpec
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, TILE


class OpenTiles(Protocol):
    """A source whose tiles can be read, and what is known of it."""

    rows: npt.NDArray[np.int64]
    facts: Mapping[str, Any]

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

    @property
    def identity_keys(self) -> Sequence[str]:
        """Which of the open source's facts make its identity."""

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

    identity_keys: ClassVar[tuple[str, ...]] = ("content", "mpp", "mask")

    def _slide(self) -> Slide:
        return open_slide(self.path, mpp=self.mpp, default_mpp=self.default_mpp)

    def identity(self) -> dict[str, Any]:
        """Return content id, mpp and the digest of the annotation file."""
        with self._slide() as slide:
            return self._identity(slide)

    def _identity(self, slide: Slide) -> dict[str, Any]:
        mask = ""
        if self.annotations is not None:
            path = self.annotations / f"{self.slide_id}.geojson"
            mask = sha256_file(path) if path.is_file() else ""
        return {"content": slide.content_id(), "mpp": float(slide.mpp), "mask": mask}

    def open(self) -> "SlideTiles":
        """Open the slide and settle its grid."""
        before = self.path.stat()
        slide = self._slide()
        try:
            plan = plan_tiles(slide, self.spec, annotations=self.annotations)
            facts = {
                **self._identity(slide),
                "mpp_source": slide.mpp_source,
                "dimensions": list(slide.dimensions),
                "vendor": slide.vendor,
                "notes": list(plan.notes),
            }
        except BaseException:
            slide.close()
            raise
        return SlideTiles(self.path, (before.st_size, before.st_mtime_ns), slide, plan, facts)


@dataclass(frozen=True)
class SlideTiles:
    """The tiles of one open slide."""

    path: Path
    stamp: tuple[int, int]
    slide: Slide
    plan: TilePlan
    facts: Mapping[str, Any]

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
        """Close the slide."""
        self.slide.close()

    def manifest(self, background: Mapping[int, float]) -> pd.DataFrame:
        """Return the manifest; refuse a slide that changed while it was read."""
        after = self.path.stat()
        if (after.st_size, after.st_mtime_ns) != self.stamp:
            raise SlideError(
                f"{self.path.name} changed while it was read.",
                code="SLIDE_CHANGED",
                hint="Is it still being downloaded? Run the same command again when it is complete.",
            )
        return finish_manifest(self.plan, dict(background))

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
            "level0_magnification": round(10 / self.facts["mpp"]),
            "target_magnification": round(10 / spec.mpp),
            "overlap": spec.overlap_px,
            "name": str(table[SLIDE_ID].iloc[0]) if len(table) else self.path.stem,
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

    identity_keys: ClassVar[tuple[str, ...]] = ("content", "resize")

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
    facts: Mapping[str, Any]

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
