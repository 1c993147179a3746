"""What painting procedural slides costs: ``python -m benchmarks.paint --size 40000``.

Each size is painted by a fresh process, which tells its CPU time and its largest memory: the CPU
time grows with the area, the memory with the width alone.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click

from histokeras.files import write_json
from histokeras.runs.environment import hardware, versions
from histokeras.slides.synthetic import SlideSpec, slide_truth, write_he_slide, write_truth


def paint(folder: Path, size_px: int, workers: int, seed: int) -> dict[str, float]:
    """Paint one square slide and write its truth.

    Args:
        folder: An empty folder for the slide.
        size_px: Side at level 0, in pixels of 0.5 um.
        workers: Processes that paint.
        seed: Seed of the slide.

    Returns:
        ``size_px``, ``wall_s``, ``cpu_s`` (all processes), ``memory_mib`` (the largest resident
        size of one process), ``worker_mib`` (of one of its workers; 0 without), ``file_mib``.
    """
    spec = SlideSpec(seed=seed, size_px=(size_px, size_px))
    path = folder / "slide.tiff"
    start = time.perf_counter()
    write_he_slide(path, spec, workers=workers)
    write_truth(folder, slide_truth(spec))
    wall = time.perf_counter() - start
    own = resource.getrusage(resource.RUSAGE_SELF)
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return {
        "size_px": size_px,
        "wall_s": wall,
        "cpu_s": sum(usage.ru_utime + usage.ru_stime for usage in (own, others)),
        "memory_mib": own.ru_maxrss / unit,
        "worker_mib": others.ru_maxrss / unit,
        "file_mib": path.stat().st_size / (1 << 20),
    }


def _paint_aside(size_px: int, workers: int, seed: int) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=context) as pool,
    ):
        return pool.submit(paint, Path(folder), size_px, workers, seed).result()


@click.command()
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(min=256),
    multiple=True,
    default=(1024, 2048, 4096),
    show_default=True,
    help="Side of a slide in pixels; may be given several times.",
)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
def main(sizes: tuple[int, ...], workers: int, seed: int, output: Path | None) -> None:
    """Paint slides of several sizes and print what each cost."""
    click.echo("  size      wall       CPU  CPU a Mpx    memory  a worker      file")
    rows = []
    for size in sizes:
        row = _paint_aside(size, workers, seed)
        rows.append(row)
        click.echo(
            f"{size:6d}  {row['wall_s']:6.1f} s  {row['cpu_s']:6.1f} s"
            f"  {row['cpu_s'] / (size * size / 1e6):7.2f} s  {row['memory_mib']:5.0f} MiB"
            f"  {row['worker_mib']:5.0f} MiB  {row['file_mib']:5.1f} MiB"
        )
    if output is not None:
        report = {"slides": rows, "hardware": hardware(), "versions": versions()}
        write_json(output, report)


if __name__ == "__main__":
    main()
