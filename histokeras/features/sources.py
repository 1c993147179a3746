"""What features are extracted from, in one manner: slides here, ready-made tiles beside."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.features.extras import SLIDE_PICTURES, overview_jpeg
from histokeras.files import sha256_file
from histokeras.slides.called import called
from histokeras.slides.reader import open_slide
from histokeras.slides.slide import Slide
from histokeras.tiles.cut import TileSet
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.manifest import empty_reason, finish_manifest, left_out_rows
from histokeras.tiles.plan import CORRUPT, TilePlan, annotation_path, plan_tiles
from histokeras.types import SLIDE_ID, TILE


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

    @property
    def max_bad_tiles(self) -> int:
        """How many corrupt tiles may be left out before it fails; 0 where none is cut."""

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
        slide_id: Its name without extension, or its pseudonym.
        mpp: What the slide table says, in micrometres per pixel.
        default_mpp: For slides that do not tell.
        annotations: Folder of GeoJSON files, named as the slides are, for ``tissue="geojson"``.
        max_bad_tiles: How many corrupt tiles may be left out before the slide fails.
    """

    path: Path
    spec: TileSpec
    slide_id: str
    mpp: float | None = None
    default_mpp: float | None = None
    annotations: Path | None = None
    max_bad_tiles: int = 0

    def _slide(self) -> Slide:
        return open_slide(
            self.path, mpp=self.mpp, default_mpp=self.default_mpp, slide_id=self.slide_id
        )

    def _mask(self) -> str:
        if self.annotations is None:
            return ""
        path = annotation_path(self.annotations, self.path)
        return sha256_file(path) if path.is_file() else ""

    def identity(self) -> dict[str, Any]:
        """Return content id, mpp and the digest of the annotation file."""
        with called(self.path, self.slide_id), self._slide() as slide:
            return slide_identity(slide, self._mask())

    def open(self) -> "SlideTiles":
        """Open the slide and settle its grid."""
        with called(self.path, self.slide_id):
            slide = self._slide()
            try:
                plan = plan_tiles(
                    slide,
                    self.spec,
                    annotations=self.annotations,
                    max_bad_tiles=self.max_bad_tiles,
                )
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

    @property
    def max_bad_tiles(self) -> int:
        """How many corrupt tiles may be left out."""
        return self.tiles.plan.max_bad_tiles

    def identity(self) -> dict[str, Any]:
        """Return content id, mpp and the digest of the annotation file."""
        return slide_identity(self.tiles.slide, self.tiles.plan.mask_id)

    def open(self) -> "SlideTiles":
        """Return the tiles; the slide stays open, it is not ours."""
        return SlideTiles(self.tiles.slide, self.tiles.plan, self.identity(), keep_open=True)


def with_left_out(identity: Mapping[str, Any], corrupt: Iterable[int]) -> dict[str, Any]:
    """Return the identity of a slide without some of its tiles: it is not that of the whole slide.

    Args:
        identity: Of the slide.
        corrupt: Rows of the tiles that were left out; none leave the identity as it is.
    """
    rows = sorted(corrupt)
    return {**identity, CORRUPT: rows} if rows else dict(identity)


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
    content: Mapping[str, Any]
    keep_open: bool = False

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the fingerprint needs to know: the content, and which tiles were left out."""
        return with_left_out(self.content, self.plan.bad)

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
        image = self.plan.read_unless_corrupt(row)
        if image is None:
            size = self.plan.spec.size_px
            return np.zeros((size, size, 3), np.uint8), float("nan"), False
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


def bad_tiles(slide_id: str, manifest: pd.DataFrame) -> list[dict[str, str]]:
    """Return the rows of failures.csv for tiles that could not be used.

    Args:
        slide_id: Their slide or folder.
        manifest: Its manifest; of a slide the corrupt tiles that were left out count.
    """
    if TILE not in manifest:
        return left_out_rows(slide_id, manifest)
    rows = manifest[~manifest["kept"].astype(bool)]
    return [
        {"slide": slide_id, "stage": "tile", "code": str(reason).partition(": ")[0],
         "message": f"tile {tile}: {str(reason).partition(': ')[2]}", "hint": ""}
        for tile, reason in zip(rows[TILE], rows["reason"], strict=True)
    ]  # fmt: skip
