"""Lay the grid over a slide, settle which tiles must be read, read and judge one."""

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image as PillowImage

from histokeras.errors import ConfigError, SlideError
from histokeras.slides.called import called
from histokeras.slides.checks import slide_id_of
from histokeras.slides.geojson import MAX_MASK_PX, fill_polygons, read_polygons
from histokeras.slides.pyramid import LevelChoice, choose_level
from histokeras.slides.slide import Slide
from histokeras.slides.source import Image
from histokeras.slides.tissue import (
    BRIGHT,
    Coarse,
    Mask,
    dark_mask,
    is_cheap,
    is_surely_bright,
    luminance,
    mask_share,
    otsu_mask,
    read_coarse,
)
from histokeras.tiles.grid import TileSpec, grid_origins
from histokeras.types import SLIDE_ID

MANIFEST_COLUMNS = (
    SLIDE_ID, "x", "y", "size_px", "size_level0_px", "level", "mpp", "background", "kept", "reason",
)  # fmt: skip
"""Columns of a manifest: x, y and size_level0_px in level-0 pixels; mpp of the finished tile;
background 0..1, empty where the tile was not read."""
BACKGROUND, OVERVIEW, MASK, ANNOTATION = "background", "overview", "mask", "annotation"
CORRUPT = "corrupt"
"""Reasons: too many bright pixels; surely too many, as the coarse picture shows (not read); too
little tissue in Otsu's mask (not read); too little inside the drawn regions (not read); cannot be
decoded and was left out by leave of ``max_bad_tiles``."""
_ALL_TISSUE = 0.95
_ROUNDING = 1e-9


def background_fraction(image: Image) -> float:
    """Return the share of bright pixels, luminance 220 or more.

    Args:
        image: A tile at its final size, shape (height, width, 3), uint8 RGB.

    Returns:
        0 to 1.
    """
    grey = luminance(image)
    return int(np.count_nonzero(grey >= BRIGHT)) / grey.size


def read_tile(slide: Slide, choice: LevelChoice, size_px: int, location: tuple[int, int]) -> Image:
    """Read one tile; several threads may do so.

    Args:
        slide: The open slide.
        choice: Which level is read and how.
        size_px: Side of the finished tile in pixels.
        location: Its top-left corner (x, y) in level-0 pixels.

    Returns:
        Shape (size_px, size_px, 3), uint8 RGB.

    Raises:
        SlideError: TILE_CORRUPT or SLIDE_TRUNCATED.
    """
    side = choice.read_px(size_px)
    image = slide.read_region(location, choice.level, (side, side))
    if side == size_px:
        return image
    shrunk = PillowImage.fromarray(image).resize((size_px, size_px), PillowImage.Resampling.BOX)
    return np.asarray(shrunk)


@dataclass(frozen=True, eq=False)
class TilePlan:
    """The grid of one slide, before its tiles are read.

    Attributes:
        slide: The open slide.
        spec: How it is cut.
        choice: Which level is read and how.
        manifest: One row a grid tile, row by row, with ``MANIFEST_COLUMNS``; ``background`` is
            empty and ``kept`` False as long as a tile has not been read.
        candidates: int64, rows of the manifest that are still to be read.
        mask_id: SHA-256 of the GeoJSON file, "" without one.
        mask: Tissue on the whole slide, for pictures; None where it was not looked for.
        thumbnail: The coarse picture of the slide, None where it was too costly.
        notes: Remarks for the user; each begins with a code.
        origins: int64 (n, 2), x and y of each tile in level-0 pixels.
        max_bad_tiles: How many corrupt tiles may be left out before the slide fails.
        bad: Rows of the corrupt tiles met so far.
    """

    slide: Slide
    spec: TileSpec
    choice: LevelChoice
    manifest: pd.DataFrame
    candidates: npt.NDArray[np.int64]
    mask_id: str = ""
    mask: Mask | None = None
    thumbnail: Image | None = None
    notes: list[str] = field(default_factory=list)
    origins: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    max_bad_tiles: int = 0
    bad: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, row: int) -> Image:
        """Read one tile; several threads may do so.

        Args:
            row: Row of the manifest.

        Returns:
            Shape (size_px, size_px, 3), uint8 RGB.

        Raises:
            SlideError: TILE_CORRUPT or SLIDE_TRUNCATED.
        """
        x, y = self.origins[row]
        return read_tile(self.slide, self.choice, self.spec.size_px, (int(x), int(y)))

    def read_unless_corrupt(self, row: int) -> Image | None:
        """Read one tile; several threads may do so.

        Args:
            row: Row of the manifest.

        Returns:
            The tile as :meth:`read` returns it; None if it is corrupt and may be left out.

        Raises:
            SlideError: TILE_CORRUPT if it is one too many, or any other error.
        """
        try:
            return self.read(row)
        except SlideError as error:
            if error.code != "TILE_CORRUPT" or not self.max_bad_tiles:
                raise
            with self._lock:
                self.bad.add(row)
                n_bad = len(self.bad)
            if n_bad > self.max_bad_tiles:
                raise SlideError(
                    f"{error.message} It is one corrupt tile more than the {self.max_bad_tiles} of "
                    "--max-bad-tiles.",
                    code=error.code,
                    hint=error.hint,
                ) from error
            return None

    def judge(self, image: Image) -> tuple[float, bool, str]:
        """Return background, whether the tile is kept, and the reason if it is not.

        Args:
            image: A tile as ``read`` returns it.
        """
        background = background_fraction(image)
        kept = self.keeps(background)
        return background, kept, "" if kept else BACKGROUND

    def keeps(self, background: float) -> bool:
        """Return whether a tile of this background, 0 to 1, is kept."""
        return self.spec.tissue == "none" or background <= self.spec.max_background


def plan_tiles(
    slide: Slide, spec: TileSpec, *, annotations: Path | None = None, max_bad_tiles: int = 0
) -> TilePlan:
    """Lay the grid over a slide and settle which tiles need to be read.

    Only the coarse picture is read.

    Args:
        slide: An open slide.
        spec: How to cut.
        annotations: For ``tissue="geojson"``: the GeoJSON file, or a folder of
            ``<slide_id>.geojson``.
        max_bad_tiles: How many corrupt tiles may be left out before the slide fails. Any number
            above 0 also lets the coarse picture be read around what is corrupt.

    Returns:
        The plan. A slide without any candidate is no error: see ``empty_reason``.

    Raises:
        SlideError: MPP_MISSING, MPP_ABSURD, MPP_ANISOTROPIC, MAG_UNAVAILABLE, NOT_BRIGHTFIELD,
            ANNOTATION_MISSING, ANNOTATION_UNREADABLE, TILE_CORRUPT or SLIDE_TRUNCATED.
        ConfigError: If ``annotations`` and ``spec.tissue`` do not fit together.
    """
    if (spec.tissue == "geojson") != (annotations is not None):
        raise ConfigError(
            "`annotations` belongs to tissue='geojson', which cannot do without it. "
            f"Received: tissue={spec.tissue!r}, annotations={annotations}"
        )
    choice = choose_level(
        slide.mpp,
        slide.level_downsamples,
        spec.mpp,
        tolerance=spec.mpp_tolerance,
        name=slide.name,
    )
    size0 = choice.size_level0_px(spec.size_px)
    step0 = choice.size_level0_px(spec.size_px - spec.overlap_px)
    origins = grid_origins(slide.dimensions, size0, step0)
    notes = list(slide.notes)
    coarse = None
    if spec.tissue == "otsu" or is_cheap(slide, choice.downsample):
        coarse = read_coarse(slide, around_corrupt=max_bad_tiles > 0)
        notes += _coarse_notes(coarse)
    reasons, mask, mask_id = _reasons(slide, spec, coarse, origins, size0, annotations)
    manifest = _manifest(slide, spec, choice, origins, reasons)
    return TilePlan(
        slide=slide,
        spec=spec,
        choice=choice,
        manifest=manifest,
        candidates=np.flatnonzero(reasons == ""),
        mask_id=mask_id,
        mask=mask,
        thumbnail=None if coarse is None else coarse.image,
        notes=notes,
        origins=origins,
        max_bad_tiles=max_bad_tiles,
    )


def _coarse_notes(coarse: Coarse) -> list[str]:
    notes = []
    share = float((luminance(coarse.image) < BRIGHT).mean())
    if share > _ALL_TISSUE:
        notes.append(
            f"ALL_TISSUE: {share:.0%} of the slide is dark enough for tissue; a cut-out, a black "
            "picture, or pen?"
        )
    if coarse.holes is not None:
        notes.append(
            f"OVERVIEW_CORRUPT: {coarse.holes.mean():.1%} of the overview cannot be decoded; the "
            "tiles there were read all the same."
        )
    return notes


def _reasons(
    slide: Slide,
    spec: TileSpec,
    coarse: Coarse | None,
    origins: npt.NDArray[np.int64],
    size0: int,
    annotations: Path | None,
) -> tuple[npt.NDArray[np.str_], Mask | None, str]:
    """Return why each tile need not be read ("" if it must), the mask, and the mask's id."""
    reasons = np.full(len(origins), "", dtype="<U10")
    mask, mask_id = None, ""
    if coarse is not None:
        mask = dark_mask(coarse)
    if spec.tissue == "otsu" and coarse is not None:
        mask = otsu_mask(coarse.image, coarse.holes)
        share = mask_share(mask, coarse.boxes(origins, size0))
        reasons[share < 1 - spec.max_background - _ROUNDING] = MASK
    if spec.tissue in ("luminance", "geojson") and coarse is not None:
        boxes = coarse.boxes(origins, size0)
        reasons[is_surely_bright(coarse, boxes, spec.max_background)] = OVERVIEW
    if annotations is not None:
        mask, share, mask_id = _drawn(slide, annotations, origins, size0)
        reasons[share < 1 - spec.max_background - _ROUNDING] = ANNOTATION
    return reasons, mask, mask_id


def annotation_path(annotations: Path, slide: Path) -> Path:
    """Return where the annotations of a slide lie: under its file's own name."""
    return annotations / f"{slide_id_of(slide)}.geojson"


def _drawn(
    slide: Slide, annotations: Path, origins: npt.NDArray[np.int64], size0: int
) -> tuple[Mask, npt.NDArray[np.float64], str]:
    """Return the mask of the drawn regions, each tile's share of it, and the file's digest."""
    path = annotation_path(annotations, slide.path) if annotations.is_dir() else annotations
    with called(slide.path, slide.slide_id):
        polygons = read_polygons(path)
    width, height = slide.dimensions
    # Fine enough for 1/32 of a tile's side, within a limit of memory.
    scale = max(1.0, size0 / 32, (width * height / MAX_MASK_PX) ** 0.5)
    mask_width, mask_height = max(1, round(width / scale)), max(1, round(height / scale))
    exact = (width / mask_width, height / mask_height)
    mask = fill_polygons(polygons, (mask_height, mask_width), exact)
    boxes = np.hstack([origins, origins + size0]) / np.array([*exact, *exact])
    return mask, mask_share(mask, boxes), hashlib.sha256(path.read_bytes()).hexdigest()


def _manifest(
    slide: Slide,
    spec: TileSpec,
    choice: LevelChoice,
    origins: npt.NDArray[np.int64],
    reasons: npt.NDArray[np.str_],
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            SLIDE_ID: pd.Series([slide.slide_id] * len(origins), dtype=str),
            "x": origins[:, 0],
            "y": origins[:, 1],
            "size_px": np.int64(spec.size_px),
            "size_level0_px": np.int64(choice.size_level0_px(spec.size_px)),
            "level": np.int64(choice.level),
            "mpp": float(choice.mpp),
            "background": np.nan,
            "kept": False,
            "reason": pd.Series(reasons.tolist(), dtype=str),
        },
        columns=list(MANIFEST_COLUMNS),
    )
