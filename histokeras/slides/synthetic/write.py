"""Write procedural slides strip by strip, so that memory does not grow with their height."""

import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image as PillowImage

from histokeras import files
from histokeras.slides.source import Image
from histokeras.slides.synthetic.region import render_region
from histokeras.slides.synthetic.spec import SlideSpec
from histokeras.slides.synthetic.truth import SlideTruth, slide_truth

_TILE_PX = 256
_STRIP_PX = 512
_FACTOR = 4
_LEAST_PX = 256
_QUALITY = 87


def write_he_slide(path: Path, spec: SlideSpec, *, workers: int = 1) -> SlideTruth:
    """Write a procedural slide as a pyramidal tiled TIFF that OpenSlide opens.

    Args:
        path: The file, best with the extension .tiff; its folder must exist.
        spec: The slide; the same spec gives the same bytes, with any number of workers.
        workers: Processes that paint.

    Returns:
        What is true of it.

    Raises:
        OutputError: If the file cannot be written.
        ValueError: If ``workers`` is below 1 or the lymph nodes do not fit.
    """
    if workers < 1:
        raise ValueError(f"`workers` must be >= 1. Received: workers={workers}")
    truth = slide_truth(spec)
    width, height = spec.size_px
    small = ((height - 1) // _FACTOR + 1, (width - 1) // _FACTOR + 1, 3)
    # The second level waits on disk while the first is written: it may not fit into memory.
    with (
        files.temporary_path(path) as part,
        files.scratch_path(path.with_name(f"{path.name}.level")) as scratch,
        tifffile.TiffWriter(part, bigtiff=width * height > 1 << 31) as writer,
    ):
        level = np.memmap(scratch, np.uint8, "w+", shape=small)
        strips = _strips(spec, workers)
        _write_level(writer, spec, 1, (height, width, 3), _shrunk_aside(strips, level))
        factor = _FACTOR
        whole: npt.NDArray[np.uint8] = level
        while True:
            _write_level(writer, spec, factor, whole.shape, _cut(whole))
            if max(whole.shape[:2]) < _FACTOR * _LEAST_PX:
                break
            whole = np.concatenate([_shrunk(strip) for strip in _cut(whole)])
            factor *= _FACTOR
        # Before the file behind it goes.
        del level, whole
    return truth


def _write_level(
    writer: tifffile.TiffWriter,
    spec: SlideSpec,
    factor: int,
    shape: tuple[int, ...],
    strips: Iterator[Image],
) -> None:
    writer.write(
        _tiles(strips),
        shape=shape,
        dtype=np.uint8,
        tile=(_TILE_PX, _TILE_PX),
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": _QUALITY},
        subfiletype=int(factor > 1),
        resolution=(1e4 / (spec.mpp * factor),) * 2,
        resolutionunit="CENTIMETER",
        metadata=None,
        software=False,
    )


def _tiles(strips: Iterator[Image]) -> Iterator[Image]:
    """Cut strips into TIFF tiles; tiles at the edges are filled up with their last pixels."""
    for strip in strips:
        bottom, right = -strip.shape[0] % _TILE_PX, -strip.shape[1] % _TILE_PX
        padded = np.pad(strip, ((0, bottom), (0, right), (0, 0)), mode="edge")
        for top in range(0, padded.shape[0], _TILE_PX):
            for left in range(0, padded.shape[1], _TILE_PX):
                yield np.ascontiguousarray(padded[top : top + _TILE_PX, left : left + _TILE_PX])


def _shrunk(strip: Image) -> Image:
    return np.asarray(PillowImage.fromarray(strip).reduce(_FACTOR))


def _cut(image: Image) -> Iterator[Image]:
    for top in range(0, len(image), _STRIP_PX):
        yield np.asarray(image[top : top + _STRIP_PX])


def _shrunk_aside(strips: Iterator[Image], level: npt.NDArray[np.uint8]) -> Iterator[Image]:
    """Hand strips on and lay them aside at a quarter of their size."""
    for number, strip in enumerate(strips):
        small = _shrunk(strip)
        top = number * _STRIP_PX // _FACTOR
        level[top : top + len(small)] = small
        yield strip


def _strips(spec: SlideSpec, workers: int) -> Iterator[Image]:
    """Paint the slide from top to bottom."""
    height = spec.size_px[1]
    tops = range(0, height, _STRIP_PX)
    if workers == 1 or len(tops) == 1:
        yield from (_strip(spec, top) for top in tops)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting: deque[Future[Image]] = deque()
        for top in tops:
            waiting.append(pool.submit(_strip, spec, top))
            # A few strips ahead, never all of them.
            if len(waiting) > workers + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _strip(spec: SlideSpec, top: int) -> Image:
    width, height = spec.size_px
    return render_region(spec, 0, top, width, min(_STRIP_PX, height - top))[0]
