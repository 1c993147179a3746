"""The worst, median and best images of a segmentation, truth and prediction as outlines."""

import base64
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from scipy.ndimage import uniform_filter

from histokeras.analysis.segmentation import NETWORK
from histokeras.files import safe_name
from histokeras.report.outlines import CASING, Outline, draw_outlines
from histokeras.report.pictures import Gallery, Picture
from histokeras.report.text import number
from histokeras.slides.plain import PICTURE_FORMATS
from histokeras.types import IGNORE

TRUTH_COLOUR, PREDICTED_COLOUR = "#ffe14d", "#0a3cc2"
"""Light and dark, yellow and blue: told apart on pink and purple by everyone, and in grey."""
_KEY_WIDTHS = (6, 2, 1)
_WIDE, _FINE = (10, 4, 2), (4, 2, 0)
"""Widths of the truth's line, the network's and its casing: around large regions, small ones."""
_FINE_BELOW_PX, _THICK_PX = 24, 40
_MOST_TIMES = 4
_PART = "the part of it where both differ most"
_SPECK_PX = 16
_SPECKS = "the network's many specks are drawn smoothed"
_OF_EACH = 3
_SIDES_PX = (720, 560, 420)
_QUALITY = 80
_MOST_FILE_BYTES = 20_000_000
_UNLABELLED = 0.6
_TITLES = {"worst": "Worst", "median": "In the middle", "best": "Best", "none": "Without the class"}
Mask = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.uint8]
Box = tuple[slice, slice]


@dataclass(frozen=True)
class OutlineKey:
    """One entry of the pictures' legend: text, and how the line looks, widths in pixels."""

    label: str
    colour: str
    width: int
    casing_px: int
    casing: str = CASING


def outline_keys(of: str) -> list[OutlineKey]:
    """Return the legend of the pictures."""
    return [
        OutlineKey(f"truth: {of}", TRUTH_COLOUR, _KEY_WIDTHS[0], 0),
        OutlineKey(f"network: {of}", PREDICTED_COLOUR, *_KEY_WIDTHS[1:]),
    ]


def outline_galleries(
    folder: Path, images: pd.DataFrame, metrics: Mapping[str, Any], most_bytes: int
) -> list[Gallery]:
    """Draw the three worst, middle and best images by the network's figure, so that they fit.

    Args:
        folder: The run; ``pictures/<image>.jpg``, ``.truth.png`` and ``.predicted.png`` in it.
        images: images.csv, figures as numbers.
        metrics: The content of metrics.json.
        most_bytes: Bytes that all may take on the page; smaller pictures are drawn until they fit.

    Returns:
        Galleries ``worst``, ``median``, ``best`` and ``none`` (neither has the class), where there
        are pictures.
    """
    key = "dice" if metrics["positive"] is not None else "mean_iou"
    column = f"{NETWORK}_{key}"
    if column not in images:
        return []
    drawable = [_files(folder, str(name)) is not None for name in images["image_id"]]
    groups = _chosen(images[drawable], column)
    for side_px in _SIDES_PX:
        galleries = list(_drawn(folder, groups, metrics, side_px))
        size = sum(picture.n_bytes for gallery in galleries for picture in gallery.pictures)
        if size <= most_bytes:
            return galleries
    return []


def _chosen(images: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """Return which images are shown; none of them twice."""
    defined = images.dropna(subset=[column])
    ranked = defined.sort_values([column, "image_id"]).reset_index(drop=True)
    n = len(ranked)
    low = min(_OF_EACH, -(-n // 3))
    high = min(_OF_EACH, (n - low + 1) // 2)
    middle = min(_OF_EACH, n - low - high)
    start = min(max((n - middle) // 2, low), n - high - middle)
    return {
        "worst": ranked[:low],
        "median": ranked[start : start + middle],
        "best": ranked[n - high :][::-1],
        "none": images[images[column].isna()][:_OF_EACH],
    }


def _drawn(
    folder: Path, groups: Mapping[str, pd.DataFrame], metrics: Mapping[str, Any], side_px: int
) -> Iterator[Gallery]:
    for kind, table in groups.items():
        rows = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
        pictures = [_picture(folder, row, metrics, side_px) for row in rows]
        kept = tuple(picture for picture in pictures if picture is not None)
        if kept:
            yield Gallery("outlines", _TITLES[kind], kept)


def _files(folder: Path, image_id: str) -> tuple[Path, Path, Path] | None:
    """Return picture, truth and prediction; None if one of them is missing."""
    # Only the name counts: a table must not make the page show files from elsewhere.
    stem = folder / "pictures" / safe_name(image_id)
    found = tuple(stem.with_name(stem.name + end) for end in (".jpg", ".truth.png",
                                                              ".predicted.png"))  # fmt: skip
    sound = all(path.is_file() and path.stat().st_size <= _MOST_FILE_BYTES for path in found)
    return (found[0], found[1], found[2]) if sound else None


def _picture(
    folder: Path, row: Mapping[str, Any], metrics: Mapping[str, Any], side_px: int
) -> Picture | None:
    files = _files(folder, str(row["image_id"]))
    read = None if files is None else _read(*files)
    if read is None:
        return None
    classes = _shown(metrics)
    part = _part(*read[1:], classes, side_px)
    image, truth, predicted = (pixels if part is None else pixels[part] for pixels in read)
    image = _scaled(_fade(image, truth), side_px, Image.Resampling.LANCZOS)
    truth, predicted = (
        _scaled(mask, side_px, Image.Resampling.NEAREST) for mask in (truth, predicted)
    )
    smooth, specks = _without_specks(predicted, classes)
    drawn = draw_outlines(image, _outlines(truth, smooth, classes))
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    source = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
    lines = (
        str(row["image_id"]),
        _said(row, metrics),
        *_remarks(part is not None, specks, smooth, classes),
    )
    alt = f"Outlines of truth and network on image {', '.join(lines)}"
    return Picture(source, alt, lines, drawn.shape[1], drawn.shape[0])


def _remarks(part: bool, specks: bool, predicted: Mask, classes: Sequence[int]) -> list[str]:
    """Return what is to be known of how a picture was drawn."""
    found = [*([_PART] if part else []), *([_SPECKS] if specks else [])]
    marked = np.isin(predicted, classes)
    if marked.all() or not marked.any():
        # Without a border there is no line, whichever of the two it is.
        found.append(f"the network marks {'all' if marked.any() else 'nothing'} that is shown")
    return found


def _read(image: Path, truth: Path, predicted: Path) -> tuple[Pixels, Mask, Mask] | None:
    """Read a picture and its masks; None where they are damaged or not of one size."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(image, formats=PICTURE_FORMATS) as opened:
                picture = opened.convert("RGB")
            masks = []
            for path in (truth, predicted):
                with Image.open(path, formats=("PNG",)) as opened:
                    # Of a palette its numbers, never its colours.
                    masks.append((opened.mode, np.asarray(opened)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning):
        return None
    size = picture.size[::-1]
    if any(mode not in ("L", "P") or mask.shape != size for mode, mask in masks):
        return None
    return np.asarray(picture), masks[0][1], masks[1][1]


def _part(truth: Mask, predicted: Mask, classes: Sequence[int], side_px: int) -> Box | None:
    """Return rows and columns to show of a picture of small regions; None for all of it.

    The part is so small that regions are some 40 pixels thick on the page, at least a quarter of
    each side; it lies where truth and network differ most.
    """
    thick = _thickness(truth, predicted, classes) * side_px / max(truth.shape)
    times = min(math.ceil(_THICK_PX / thick), _MOST_TIMES) if thick else 1
    if times == 1:
        return None
    size = tuple(max(side // times, 1) for side in truth.shape)
    wrong = (truth != predicted) & (truth != IGNORE)
    sums = np.pad(wrong.cumsum(axis=0, dtype=np.int64).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = (
        sums[size[0] :, size[1] :]
        - sums[: -size[0], size[1] :]
        - sums[size[0] :, : -size[1]]
        + sums[: -size[0], : -size[1]]
    )
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return slice(int(top), int(top) + size[0]), slice(int(left), int(left) + size[1])


def _scaled(pixels: npt.NDArray[np.uint8], side_px: int, how: Image.Resampling) -> Pixels:
    """Return a picture or mask with ``side_px`` along its longer side: lines are equally thin."""
    height, width = pixels.shape[:2]
    scale = side_px / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(Image.fromarray(pixels).resize(size, how))


def _shown(metrics: Mapping[str, Any]) -> list[int]:
    """Return the numbers of the classes that are outlined."""
    if metrics["positive"] is not None:
        return [list(metrics["classes"]).index(metrics["positive"])]
    return list(range(1, len(metrics["classes"])))


def _fade(image: Pixels, truth: Mask) -> Pixels:
    """Return the picture, pale where nothing is labelled."""
    faded = image.astype(np.float32)
    unknown = truth == IGNORE
    faded[unknown] += (255 - faded[unknown]) * _UNLABELLED
    return faded.round().astype(np.uint8)


def _outlines(truth: Mask, predicted: Mask, classes: Sequence[int]) -> list[Outline]:
    """Return the lines of both, fine ones where regions are so small that wide ones hide them."""
    fine = _thickness(truth, predicted, classes) < _FINE_BELOW_PX
    of_truth, of_network, casing = _FINE if fine else _WIDE
    wide = [Outline(truth == k, TRUTH_COLOUR, of_truth) for k in classes]
    narrow = [Outline(predicted == k, PREDICTED_COLOUR, of_network, casing) for k in classes]
    return [*wide, *narrow]


def _thickness(truth: Mask, predicted: Mask, classes: Sequence[int]) -> float:
    """Return how thick regions of the truth are, in pixels; of the network's if it has none."""
    return _thickness_px(np.isin(truth, classes)) or _thickness_px(np.isin(predicted, classes))


def _without_specks(mask: Mask, classes: Sequence[int]) -> tuple[Mask, bool]:
    """Return a mask whose outlines can be looked at, and whether specks were left out for it.

    Each pixel is what most of the square around it is, where regions are hardly thicker than lines.
    """
    inside = np.isin(mask, classes)
    # Holes are specks too.
    if not any(0 < _thickness_px(side) < _SPECK_PX for side in (inside, ~inside)):
        return mask, False
    shares = [uniform_filter((mask == k).astype(np.float32), _SPECK_PX + 1) for k in classes]
    most = np.argmax(shares, axis=0)
    smooth = np.where(np.max(shares, axis=0) > 0.5, np.asarray(classes)[most], IGNORE)
    return smooth.astype(np.uint8), True


def _thickness_px(inside: npt.NDArray[np.bool_]) -> float:
    """Return how thick regions are: four areas over their borders, the side of a square."""
    border = (inside[1:] != inside[:-1]).sum() + (inside[:, 1:] != inside[:, :-1]).sum()
    return float(4 * inside.sum() / border) if border else 0.0


def _said(row: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    if metrics["positive"] is None:
        return f"mean IoU {number(row.get('network_mean_iou'))}"
    figures = {"Dice": "dice", "precision": "precision", "recall": "recall"}
    return ", ".join(f"{word} {number(row.get(f'network_{key}'))}" for word, key in figures.items())
