"""What ``segment`` needs of memory and time: ``python -m benchmarks.segment --side 20000``.

Slides of several sizes, all of them tissue, are segmented by fresh processes. What each took
beyond a slide of one window is its memory; its time is set beside that of the network alone on as
many windows.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import tifffile

from benchmarks.peak import peak_mib
from histokeras.files import prepare_folder, temporary_path, write_json
from histokeras.models.segmenters import SegmenterSpec, build_segmenter
from histokeras.report.segment_job import SegmentJob
from histokeras.report.segment_slide import segment_slide
from histokeras.runs.environment import hardware, versions
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import SlideSpec, render_region
from histokeras.tiles.segmenter import Segmenter
from histokeras.tiles.windows import Predict, Windows
from histokeras.training.windows import predictor

_TILE_PX = 256
_PAINTED_PX = 1024
_MPP = 0.5


def write_wallpaper(path: Path, side_px: int, *, seed: int) -> None:
    """Write a slide that repeats one painted square, tile by tile."""
    spec = SlideSpec(seed=seed, size_px=(3 * _PAINTED_PX,) * 2, mpp=_MPP)
    image = render_region(spec, _PAINTED_PX, _PAINTED_PX, _PAINTED_PX, _PAINTED_PX)[0]

    def tiles() -> Iterator[npt.NDArray[np.uint8]]:
        for top in range(0, side_px, _TILE_PX):
            for left in range(0, side_px, _TILE_PX):
                y, x = top % _PAINTED_PX, left % _PAINTED_PX
                yield np.ascontiguousarray(image[y : y + _TILE_PX, x : x + _TILE_PX])

    with temporary_path(path) as part, tifffile.TiffWriter(part, bigtiff=True) as writer:
        writer.write(
            tiles(),
            shape=(side_px, side_px, 3),
            dtype=np.uint8,
            tile=(_TILE_PX, _TILE_PX),
            photometric="rgb",
            compression="jpeg",
            resolution=(1e4 / _MPP,) * 2,
            resolutionunit="CENTIMETER",
            metadata=None,
        )


def by_colour(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Tell dark from bright: as cheap as a network can be, so that all else shows."""
    share = images[..., 1].astype(np.float32) / 255
    return np.stack([share, 1 - share], axis=-1)


def unet(batch_size: int) -> Predict:
    """Return a U-Net of random weights."""
    spec = SegmenterSpec(network="unet", backbone="", channels=8)
    return predictor(build_segmenter(spec), batch_size)


def measure(network: str, folder: Path, side_px: int) -> dict[str, float]:
    """Segment a small slide, then one of ``side_px``; return MiB and seconds of the second."""
    windows = Windows()
    predict = by_colour if network == "colour" else unet(windows.batch_size)
    spent, count = [0.0], [0]

    def timed(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        start = time.perf_counter()
        found = predict(images)
        spent[0] += time.perf_counter() - start
        count[0] += len(images)
        return found

    segmenter = Segmenter(
        predict=timed, classes=("bright", "dark"), positive="dark", mpp=_MPP, digests=()
    )
    job = SegmentJob(segmenter=segmenter, slides=[], output=folder / "out")
    prepare_folder(job.output)
    found = {}
    for side in (windows.size_px, side_px):
        spent[0], count[0], before, start = 0.0, 0, peak_mib(), time.perf_counter()
        with open_slide(folder / f"{side}.tif") as slide:
            segment_slide(job, slide, lambda n: None)
        seconds = time.perf_counter() - start
        found = {
            "memory_mib": peak_mib() - before,
            "wall_s": seconds,
            "windows": count[0],
            "network_share": spent[0] / seconds,
            "px_per_s": side**2 / seconds,
        }
    return found


def aside(network: str, folder: Path, side_px: int) -> dict[str, float]:
    """Run :func:`measure` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, network, folder, side_px).result()


@click.command()
@click.option(
    "--side", "sides", type=click.IntRange(min=1), multiple=True, default=(2000, 20_000),
    show_default=True, help="Sides of slides in pixels; may be given several times.",
)  # fmt: skip
@click.option("--network", type=click.Choice(("colour", "unet")), default="colour")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
def main(sides: tuple[int, ...], network: str, seed: int, output: Path | None) -> None:
    """Segment slides of several sizes and print what each took."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side in {Windows().size_px, *sides}:
            write_wallpaper(folder / f"{side}.tif", side, seed=seed)
        click.echo("   side  windows    memory      wall  network       px/s")
        for side in sides:
            row = {"side_px": side, "network": network, **aside(network, folder, side)}
            rows.append(row)
            click.echo(
                f"{side:7d}  {row['windows']:7d}  {row['memory_mib']:4.0f} MiB  "
                f"{row['wall_s']:6.1f} s  {row['network_share']:6.1%}  {row['px_per_s']:9.3g}"
            )
    if output is not None:
        write_json(output, {"segment": rows, "hardware": hardware(), "versions": versions()})


if __name__ == "__main__":
    main()
