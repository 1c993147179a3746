"""Sample tiles: pictures that the run kept of its own tiles, and painted tissue."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from histokeras.app.facts import RunFacts, read_text_table
from histokeras.app.upload import Tile
from histokeras.foreign.text import printable
from histokeras.slides.synthetic.stains import site_profile
from histokeras.slides.synthetic.tiles import render_tile, tissue_tile
from histokeras.tiles.folders import read_image
from histokeras.tiles.texture import N_COLOUR, stain_texture

_PICTURES, _OVERVIEW = "pictures", "overview"
_MPP = 0.5
_BICUBIC = PillowImage.Resampling.BICUBIC


@dataclass(frozen=True)
class Sample:
    """A picture that the run kept.

    Attributes:
        path: The file.
        name: What it is called in a list.
        said: What the run's tables say of it.
        slide_id: Its slide; "" if unknown.
        location: x and y in level-0 pixels; None for ready-made tiles.
    """

    path: Path
    name: str
    said: str
    slide_id: str
    location: tuple[int, int] | None


def find_samples(facts: RunFacts) -> list[Sample]:
    """Return the tiles whose pictures lie in a run, each once, in the order of its table.

    Raises:
        TableError: If the table of pictures cannot be read.
    """
    found: dict[str, Sample] = {}
    for row in read_text_table(facts.folder / "pictures.csv").to_dict("records"):
        texts = {str(key): printable(str(value), one_line=True) for key, value in row.items()}
        # Only the name counts: a table must not make us read files elsewhere.
        path = facts.folder / _PICTURES / Path(texts.get("file", "")).name
        if path.is_file() and path.name not in found and texts.get("why") != _OVERVIEW:
            found[path.name] = _sample(path, texts)
    return list(found.values())


def _sample(path: Path, row: dict[str, str]) -> Sample:
    x, y = row.get("x", ""), row.get("y", "")
    location = (int(x), int(y)) if x.isdigit() and y.isdigit() else None
    place = "" if location is None else f" · x {x}, y {y}"
    name = f"{row.get('tile') or row.get('slide_id', '')}{place}"
    words = []
    if row.get("label"):
        words.append(f"Its label is {row['label']}.")
    if row.get("predicted") and row.get("prob"):
        words.append(f"The run itself says {row['predicted']}, probability {row['prob']}.")
    if row.get("split") == "train":
        words.append("The run was trained on its patient.")
    shown = [name, *(row[key] for key in ("label", "split") if row.get(key))]
    return Sample(path, " · ".join(shown), " ".join(words), row.get("slide_id", ""), location)


def sample_tile(sample: Sample, size_px: int) -> Tile:
    """Return the run's own small picture of a tile as a tile.

    Raises:
        SlideError: If it cannot be read.
    """
    image = read_image(sample.path)
    side = image.shape[0]
    said = "The run's own picture of the tile"
    if image.shape[:2] != (size_px, size_px):
        large = PillowImage.fromarray(image).resize((size_px, size_px), _BICUBIC)
        image = np.asarray(large)
        said += f", kept at {side} px and enlarged to {size_px} px: fine detail is lost"
    return Tile(image, f"{said}. {sample.said}", sample.name, normalised=True)


def painted_tile(kind: str, seed: int, size_px: int, mpp: float | None) -> Tile:
    """Paint a tile.

    Args:
        kind: One of the eight tissue classes.
        seed: The same seed gives the same tile.
        size_px: Its side.
        mpp: Micrometres per pixel; 0.5 if None.
    """
    tile = tissue_tile(kind, seed=seed, size_px=size_px, mpp=mpp or _MPP)
    said = "Painted by a program to look like this tissue: it is of no patient."
    return Tile(render_tile(tile, site_profile(0)), said, f"painted {kind} {seed}")


def colour_range(samples: list[Sample]) -> npt.NDArray[np.float32] | None:
    """Return between which colours the run's own pictures lie; None for fewer than ten.

    Returns:
        float32 (2, 6): least and most of mean and standard deviation of red, green and blue, 0..1,
        each widened by half of its range.
    """
    if len(samples) < 10:
        return None
    colours = np.stack([stain_texture(read_image(item.path))[:N_COLOUR] for item in samples])
    low, high = colours.min(axis=0), colours.max(axis=0)
    wide = (high - low) / 2
    return np.stack([low - wide, high + wide]).astype(np.float32)
