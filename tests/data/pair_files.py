"""Small images with masks of every kind, made in code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

Codes = npt.NDArray[np.uint8]
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], np.uint8)


def codes(seed: int = 0, shape: tuple[int, int] = (40, 50), n: int = 2) -> Codes:
    """Random class numbers, each of which occurs."""
    found = np.random.default_rng(seed).integers(0, n, shape).astype(np.uint8)
    found.flat[:n] = np.arange(n)
    return found


def save(path: Path, pixels: npt.NDArray[Any], mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return path


def save_palette(path: Path, indices: Codes, colours: npt.NDArray[np.uint8]) -> Path:
    image = Image.fromarray(indices, "L").convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette(colours.ravel().tolist())
    image.save(path)
    return path


def save_tiff(path: Path, pixels: npt.NDArray[Any], **options: Any) -> Path:
    tifffile.imwrite(path, pixels, **options)
    return path


def save_text(path: Path, numbers: npt.NDArray[Any], separator: str = " ") -> Path:
    lines = [separator.join(map(str, row)) for row in numbers.tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def save_pyramid(path: Path, pixels: npt.NDArray[np.uint8], mpp: float, *, levels: int = 2) -> Path:
    """A tiled TIFF that OpenSlide opens; each level is half the one before."""
    per_cm = (10_000 / mpp, 10_000 / mpp)
    with tifffile.TiffWriter(path) as writer:
        for level in range(levels):
            step = 2**level
            writer.write(
                pixels[::step, ::step], tile=(64, 64), photometric="rgb",
                subfiletype=int(level > 0),
                resolution=(per_cm[0] / step, per_cm[1] / step), resolutionunit="CENTIMETER",
            )  # fmt: skip
    return path


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def save_geojson(path: Path, *drawn: tuple[str, list[list[list[float]]]]) -> Path:
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": rings},
            "properties": {"objectType": "annotation"}
            | ({"classification": {"name": label}} if label else {}),
        }
        for label, rings in drawn
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path
