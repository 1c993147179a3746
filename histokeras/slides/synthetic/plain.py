"""Plain procedural H&E slides: seeded, small, quick to make, and OpenSlide opens them.

Colours come from optical densities of haematoxylin and eosin. The two kinds of tissue differ in
their architecture only, never in colour: both cover the same share of the area with nuclei.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image as PillowImage
from PIL import ImageDraw
from scipy import ndimage

from histokeras import files
from histokeras.slides.source import Image

Field = npt.NDArray[np.float32]

_HAEMATOXYLIN = np.array([0.58, 0.71, 0.40], np.float32)
_EOSIN = np.array([0.14, 0.84, 0.42], np.float32)
_GLASS = np.array([243.0, 241.0, 244.0], np.float32)
_NUCLEAR_SHARE = 0.16
_TILE_PX = 256


@dataclass(frozen=True)
class Architecture:
    """How the nuclei of one kind of tissue look and lie.

    Attributes:
        radius_um: Mean radius of a nucleus.
        aspect: Length over width.
        nested: Whether nuclei crowd together in nests.
    """

    radius_um: float
    aspect: float
    nested: bool


KINDS = {
    "a": Architecture(radius_um=2.8, aspect=1.1, nested=False),
    "b": Architecture(radius_um=5.6, aspect=1.7, nested=True),
}
"""The kinds of tissue: small round nuclei spread evenly; large oval nuclei in nests."""


def _noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Field:
    """Return smooth noise of zero mean and unit variance; ``sigma`` in pixels."""
    # Coarse noise is drawn small and enlarged: filtering it at full size would take seconds.
    shrink = max(1, int(sigma / 2))
    small = rng.standard_normal(tuple(side // shrink + 2 for side in shape), np.float32)
    smooth = ndimage.gaussian_filter(small, sigma / shrink, mode="wrap")
    if shrink > 1:
        smooth = ndimage.zoom(smooth, shrink, order=1)
    field = smooth[: shape[0], : shape[1]]
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), np.float32)


def _tissue_shape(rng: np.random.Generator, shape: tuple[int, int], share: float) -> Field:
    """Return 1 inside blobs that cover about ``share`` of the slide, soft at the rim."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    field = -(np.maximum(np.abs(x), np.abs(y)) ** 2) - 0.3 * (x**2 + y**2)
    field = field + 0.12 * _noise(rng, shape, max(shape) / 12)
    threshold = np.quantile(field[::8, ::8], 1 - share)
    return np.asarray(np.clip((field - threshold) * 40, 0, 1), np.float32)


def _centres(
    rng: np.random.Generator, shape: tuple[int, int], kind: Architecture, radius_px: float
) -> npt.NDArray[np.float64]:
    """Return nuclear centres (x, y) whose ellipses cover the wanted share of the area."""
    area = math.pi * radius_px**2
    wanted = round(_NUCLEAR_SHARE * shape[0] * shape[1] / area)
    # A jittered grid keeps neighbours apart; nests keep its best places only.
    crowding = 2.5 if kind.nested else 1.0
    step = math.sqrt(shape[0] * shape[1] / (wanted * crowding))
    x, y = np.meshgrid(np.arange(0, shape[1], step), np.arange(0, shape[0], step))
    centres = np.column_stack([x.ravel(), y.ravel()])
    centres = centres + rng.uniform(-0.35, 0.35, centres.shape) * step
    if kind.nested:
        field = _noise(rng, shape, 4 * radius_px)
        rows = np.clip(centres[:, 1].astype(int), 0, shape[0] - 1)
        columns = np.clip(centres[:, 0].astype(int), 0, shape[1] - 1)
        centres = centres[np.argsort(-field[rows, columns], kind="stable")]
        centres = centres[:wanted]
    return np.asarray(centres, np.float64)


def _nuclei(
    rng: np.random.Generator, shape: tuple[int, int], kind: Architecture, mpp: float
) -> Field:
    """Return how much of each pixel is nucleus, with chromatin, 0..1."""
    radius_px = kind.radius_um / mpp
    centres = _centres(rng, shape, kind, radius_px)
    # Pillow paints the border pixels of a polygon too: half a pixel more on each side.
    radii = radius_px * rng.uniform(0.8, 1.2, len(centres)) - 0.5
    angles = rng.uniform(0, math.pi, len(centres))
    turn = np.linspace(0, 2 * math.pi, 14, endpoint=False)
    long, short = math.sqrt(kind.aspect), 1 / math.sqrt(kind.aspect)
    canvas = PillowImage.new("L", (shape[1], shape[0]))
    draw = ImageDraw.Draw(canvas)
    for (x, y), radius, angle in zip(centres, radii, angles, strict=True):
        u, v = radius * long * np.cos(turn), radius * short * np.sin(turn)
        points = np.column_stack(
            [
                x + u * math.cos(angle) - v * math.sin(angle),
                y + u * math.sin(angle) + v * math.cos(angle),
            ]
        )
        draw.polygon([(float(px), float(py)) for px, py in points], fill=255)
    soft = ndimage.gaussian_filter(np.asarray(canvas, np.float32) / 255, 0.35 / mpp)
    chromatin = 1 + 0.15 * _noise(rng, shape, 0.6 / mpp)
    return np.asarray(np.clip(soft * chromatin, 0, 1.3), np.float32)


def paint_slide(
    *,
    seed: int,
    size_px: tuple[int, int] = (1536, 1536),
    mpp: float = 0.5,
    kind: str = "a",
    tissue_share: float = 0.6,
    stain_variation: float = 0.0,
) -> Image:
    """Paint level 0 of a procedural slide.

    Args:
        seed: The same seed gives the same pixels.
        size_px: (width, height) in pixels.
        mpp: Micrometres per pixel; nuclei keep their size in micrometres.
        kind: "a" or "b", see ``KINDS``.
        tissue_share: Share of the area that is tissue, 0 (all glass) to 1.
        stain_variation: How far stain amounts and hues stray from slide to slide; 0.15 is a lot.

    Returns:
        Array of shape (height, width, 3), uint8 RGB.

    Raises:
        ValueError: If there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {sorted(KINDS)}. Received: kind={kind!r}")
    rng = np.random.default_rng(seed)
    shape = (size_px[1], size_px[0])
    amounts = 1 + stain_variation * rng.uniform(-1, 1, 2)
    hues = 1 + stain_variation * rng.uniform(-1, 1, (2, 3))
    glass = _GLASS + rng.uniform(-1.5, 1.5, 3).astype(np.float32)
    tissue = _tissue_shape(rng, shape, tissue_share)
    nuclei = _nuclei(rng, shape, KINDS[kind], mpp)
    fibres = 1 + 0.22 * _noise(rng, shape, 1.5 / mpp) + 0.12 * _noise(rng, shape, 12 / mpp)
    haematoxylin = tissue * amounts[0] * (0.06 + 0.55 * nuclei)
    # Some eosin stays under the nuclei, else they look blue-green.
    eosin = (
        tissue * amounts[1] * 0.26 * np.clip(fibres, 0.3, 2) * (1 - 0.45 * np.clip(nuclei, 0, 1))
    )
    picture = np.empty((*shape, 3), np.uint8)
    grain = rng.standard_normal(shape, np.float32) * 1.2
    for channel in range(3):
        density = haematoxylin * (_HAEMATOXYLIN[channel] * hues[0, channel])
        density += eosin * (_EOSIN[channel] * hues[1, channel])
        light = glass[channel] * np.power(np.float32(10), -density) + grain
        picture[..., channel] = np.clip(np.rint(light), 0, 255)
    return picture


def write_pyramid(
    path: Path,
    image: Image,
    *,
    mpp: float | None,
    downsamples: Sequence[int] = (2, 4, 8),
    lossless: bool = False,
) -> None:
    """Write an image as a pyramidal tiled TIFF that OpenSlide opens.

    Args:
        path: The file; its folder must exist.
        image: Level 0, shape (height, width, 3), uint8 RGB.
        mpp: Micrometres per pixel for the resolution tags; None leaves them out.
        downsamples: Whole factors of the further levels; each is the mean of the pixels below it.
        lossless: Keep every pixel exactly (larger files); else JPEG.

    Raises:
        OutputError: If the file cannot be written.
    """
    options: dict[str, object] = {
        "tile": (_TILE_PX, _TILE_PX),
        "photometric": "rgb",
        "metadata": None,
        "software": False,
        "compression": "adobe_deflate" if lossless else "jpeg",
    }
    if not lossless:
        options["compressionargs"] = {"level": 90}
    with files.temporary_path(path) as part, tifffile.TiffWriter(part) as writer:
        for factor in (1, *downsamples):
            pixels = PillowImage.fromarray(image).reduce(factor) if factor > 1 else image
            if mpp is not None:
                options["resolution"] = (1e4 / (mpp * factor),) * 2
                options["resolutionunit"] = "CENTIMETER"
            writer.write(np.asarray(pixels), subfiletype=int(factor > 1), **options)


def write_slide(
    path: Path,
    *,
    seed: int,
    size_px: tuple[int, int] = (1536, 1536),
    mpp: float = 0.5,
    kind: str = "a",
    tissue_share: float = 0.6,
    stain_variation: float = 0.0,
    downsamples: Sequence[int] = (2, 4, 8),
    lossless: bool = False,
) -> None:
    """Write a procedural slide: the same arguments give the same bytes.

    Args:
        path: The file, best with the extension .tiff; its folder must exist.
        seed: Seed of everything random.
        size_px: (width, height) of level 0 in pixels.
        mpp: Micrometres per pixel of level 0.
        kind: "a" or "b", two architectures of tissue in the same colours.
        tissue_share: Share of the area that is tissue, 0 (all glass) to 1.
        stain_variation: How far stain amounts and hues stray from slide to slide.
        downsamples: Factors of the further levels.
        lossless: Keep every pixel exactly; else JPEG.

    Raises:
        OutputError: If the file cannot be written.
        ValueError: If there is no such kind.
    """
    image = paint_slide(
        seed=seed,
        size_px=size_px,
        mpp=mpp,
        kind=kind,
        tissue_share=tissue_share,
        stain_variation=stain_variation,
    )
    write_pyramid(path, image, mpp=mpp, downsamples=downsamples, lossless=lossless)
