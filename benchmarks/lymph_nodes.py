"""What ``lymph-nodes`` needs of memory and time: ``python -m benchmarks.lymph_nodes``.

Slides of several sizes with the same five painted lymph nodes, the rest glass, are measured by
fresh processes, with plain colour rules in place of the networks: what remains is reading, cells,
parting, measuring and drawing. Memory is what a slide took beyond the smallest one.
"""

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.peak import peak_mib
from histokeras.files import prepare_folder, write_json
from histokeras.report.lymph_job import LymphJob, NodeSlide
from histokeras.report.lymph_run import measure_lymph_nodes
from histokeras.runs.environment import hardware, usable_cores, versions
from histokeras.slides.synthetic import NodeSpec, SlideSpec, write_he_slide
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.segmenter import Segmenter
from histokeras.tiles.tile_scorer import TileScorer
from histokeras.types import Mpp

_MPP, _OVERVIEW_MPP, _TILE_PX = 0.5, 10.0, 256
_NODES = (
    NodeSpec(2.4, (1.0, 0.3)),
    NodeSpec(1.6),
    NodeSpec(1.4, (0.5,)),
    NodeSpec(1.0),
    NodeSpec(2.0, (0.6,)),
)
_DARK = 170


def dark(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Tell nodes from the rest by how dark they are."""
    share = (images[..., 1] < _DARK).astype(np.float32)
    return np.stack([1 - share, share], axis=-1)


def red(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return how red tiles are, 0..1."""
    mean = images.mean(axis=(1, 2)).astype(np.float32)
    return np.asarray((mean[:, 0] - mean[:, 2] + 64).clip(0, 128) / 128, np.float32)


def measure(slides: list[Path], output: Path) -> dict[str, Any]:
    """Measure slides one after the other; return what the last one took."""
    segmenter = Segmenter(
        predict=dark, classes=("rest", "node"), positive="node", mpp=_OVERVIEW_MPP, digests=()
    )
    spec = TileSpec(size_px=_TILE_PX, mpp=Mpp(_MPP))
    scorer = TileScorer(predict=red, spec=spec, tile_class="red", digests=())
    found: dict[str, Any] = {}
    for path in slides:
        before, start = peak_mib(), time.perf_counter()
        job = LymphJob(
            slides=[NodeSlide(path=path, slide_id=path.stem)],
            output=prepare_folder(output / path.stem),
            segmenter=segmenter,
            node_classes=("node",),
            scorer=scorer,
            readers=usable_cores(),
        )
        measure_lymph_nodes(job, quiet=True)
        row = pd.read_csv(job.output / "slides.csv").loc[0]
        names = ("n_nodes", "tiles_on_grid", "tiles_read", "tiles_read_again", "share_not_read")
        found = {
            "wall_s": time.perf_counter() - start,
            "memory_mib": peak_mib() - before,
            "peak_mib": peak_mib(),
            **{name: float(row[name]) for name in names},
        }
    return found


def aside(slides: list[Path], output: Path) -> dict[str, Any]:
    """Run :func:`measure` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, slides, output).result()


@click.command()
@click.option(
    "--side", "sides", type=click.IntRange(min=14_000), multiple=True, default=(20_000, 40_000),
    show_default=True, help="Sides of slides in pixels; may be given several times.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
def main(sides: tuple[int, ...], seed: int, output: Path | None) -> None:
    """Measure slides of several sizes and print what each took beyond one of 14,000 px."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side in sorted({14_000, *sides}):
            spec = SlideSpec(seed=seed, size_px=(side, side), mpp=_MPP, nodes=_NODES)
            write_he_slide(folder / f"{side}.tiff", spec, workers=usable_cores())
        click.echo("   side  nodes    tiles  not read    memory      peak      wall")
        for side in sides:
            slides = [folder / f"{size}.tiff" for size in (14_000, side)]
            row = {"side_px": side, **aside(slides, folder / f"out{side}")}
            rows.append(row)
            tiles = row["tiles_read"] + row["tiles_read_again"]
            click.echo(
                f"{side:7d}  {row['n_nodes']:5.0f}  {tiles:7.0f}  {row['share_not_read']:8.1%}  "
                f"{row['memory_mib']:4.0f} MiB  {row['peak_mib']:4.0f} MiB  {row['wall_s']:6.1f} s"
            )
    if output is not None:
        write_json(output, {"lymph_nodes": rows, "hardware": hardware(), "versions": versions()})


if __name__ == "__main__":
    main()
