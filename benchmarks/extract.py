"""How fast features are extracted, and whether memory grows: ``python -m benchmarks.extract``.

Reader alone, model alone and the whole pipeline take turns on the same tiles in one run, so that a
machine that is slower for a minute is slower for all three. CPU time is given too: it hardly
changes when other programs share the cores.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from histokeras.data.stream import Tiles, stream_tiles
from histokeras.features.engine import KerasEngine
from histokeras.features.extract import extract, extract_to_folder
from histokeras.features.extras import open_noted
from histokeras.features.job import ExtractJob, prepare_job
from histokeras.features.plan import prepare
from histokeras.features.settings import COMPUTE_BATCH, FeatureSettings
from histokeras.features.sources import SlideSource
from histokeras.models.catalog import BACKBONES, DEFAULT_BACKBONE, require_backbone
from histokeras.models.devices import choose_strategy, describe_devices
from histokeras.models.weights import find_weights
from histokeras.runs.environment import hardware, usable_cores, versions
from histokeras.runs.progress import Progress
from histokeras.slides.synthetic import write_slide
from histokeras.tiles.grid import TileSpec

RATIO_GOAL = 0.95
SLOPE_GOAL_MB = 0.1
MEMORY_BACKBONE = "mobilenetv2"
MEMORY_TILE_PX = 96
MEMORY_SLIDES = 100
MEMORY_FROM = 20
_MADE_PX = (4096, 4096)
_SMALL_PX = (640, 640)
_STATM = Path("/proc/self/statm")
_STAT = Path("/proc/stat")


@dataclass(frozen=True)
class Pass:
    """One timed pass over all tiles.

    Attributes:
        tiles: How many kept tiles came out.
        wall_s: Seconds on the clock.
        cpu_s: Seconds of all threads together.
        others: Cores that other programs took meanwhile, on average; 0 where that is not known.
    """

    tiles: int
    wall_s: float
    cpu_s: float
    others: float = 0.0


def median_rate(passes: Sequence[Pass]) -> float:
    """Return the median of tiles per second."""
    return statistics.median(part.tiles / part.wall_s for part in passes)


def median_cpu_ms(passes: Sequence[Pass]) -> float:
    """Return the median of CPU milliseconds per tile, all threads together."""
    return statistics.median(1e3 * part.cpu_s / part.tiles for part in passes)


def ratio_to_slower(pipeline: float, reader: float, model: float) -> float:
    """Return the pipeline's rate over that of the slower of its two parts; 1 is perfect overlap."""
    return pipeline / min(reader, model)


def shared_bound(reader: float, model: float) -> float:
    """Return the rate that is possible where reader and model use the same cores to the full.

    Each alone uses all cores, so on a CPU their times add up. With a GPU the bound is the slower.
    """
    return 1 / (1 / reader + 1 / model)


def slope(values: Sequence[float]) -> float:
    """Return the slope of the least-squares line through values that are one step apart."""
    x = np.arange(len(values), dtype=np.float64)
    return float(np.polyfit(x, np.asarray(values, np.float64), 1)[0])


def resident_mb() -> float:
    """Return the resident memory of this process in megabytes of 2^20 bytes (Linux)."""
    pages = int(_STATM.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure_speed(
    slide: Path, backbone: str, weights: str, *, tiles: int, repeats: int, workers: int
) -> dict[str, Any]:
    """Measure reader, model and pipeline on one slide, read again until there are enough tiles.

    Args:
        slide: The slide.
        backbone: Name of the network.
        weights: ``imagenet``, a path or ``random:SEED``.
        tiles: Kept tiles of a pass, at least.
        repeats: Timed passes of each.
        workers: Reading threads.

    Returns:
        Rates, CPU times, ratios and what was measured.
    """
    network = require_backbone(backbone)
    spec = TileSpec(size_px=network.tile_px)
    source = SlideSource(path=slide, spec=spec, slide_id=slide.stem)
    images, n_read, read_ms, open_ms = _read_alone(source)
    if not len(images):
        raise click.ClickException(f"{slide.name} has no tile to measure with.")
    sources = [source] * -(-tiles // len(images))
    found = find_weights(network, weights)
    settings = FeatureSettings(
        backbone=backbone, weights=found.label, weights_sha256=found.sha256, tile=spec
    ).as_dict()
    strategy = choose_strategy()
    engine = KerasEngine(network, found, spec.size_px, strategy=strategy)
    parts: dict[str, Callable[[list[SlideSource]], int]] = {
        "reader": lambda some: _run_reader(some, spec.size_px, workers),
        "model": lambda some: _run_model(some, images, engine),
        "pipeline": lambda some: _run_pipeline(some, settings, engine, workers),
    }
    for run in parts.values():
        run(sources[:1])  # the first pass builds graphs and fills the file cache
    passes: dict[str, list[Pass]] = {name: [] for name in parts}
    for repeat in range(repeats):
        _say(f"repeat {repeat + 1} of {repeats}")
        for name, run in parts.items():
            passes[name].append(_timed(run, sources))
    rates = {name: median_rate(some) for name, some in passes.items()}
    blocks = -(-len(images) // engine.block)
    return {
        "slide": slide.name,
        "backbone": backbone,
        "weights": found.label,
        "tile_px": spec.size_px,
        "compute_batch": COMPUTE_BATCH,
        "padding": 1 - len(images) / (blocks * engine.block),
        "workers": workers,
        "tiles_a_pass": len(images) * len(sources),
        "devices": describe_devices(strategy),
        "read_a_kept_tile": n_read / len(images),
        "open_ms": open_ms,
        "read_ms": read_ms,
        "tiles_per_s": rates,
        "cpu_ms_per_tile": {name: median_cpu_ms(some) for name, some in passes.items()},
        "ratio_to_slower": ratio_to_slower(rates["pipeline"], rates["reader"], rates["model"]),
        "shared_bound": shared_bound(rates["reader"], rates["model"]),
        "passes": {name: [asdict(part) for part in some] for name, some in passes.items()},
    }


def _timed(run: Callable[[list[SlideSource]], int], sources: list[SlideSource]) -> Pass:
    before, wall, cpu = _busy_s(), time.perf_counter(), time.process_time()
    tiles = run(sources)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    others = max(0.0, _busy_s() - before - cpu) / wall if _STAT.exists() else 0.0
    return Pass(tiles, wall, cpu, others)


def _busy_s() -> float:
    """Return the seconds that all cores together were busy, or taken away, since the start."""
    if not _STAT.exists():
        return 0.0
    user, nice, system, _idle, _wait, *rest = map(
        int, _STAT.read_text(encoding="ascii").split("\n")[0].split()[1:9]
    )
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _read_alone(source: SlideSource) -> tuple[npt.NDArray[np.uint8], int, float, float]:
    """Read a slide in this thread: its kept tiles, how many were read, ms a read, ms to open."""
    source.open().close()
    start = time.perf_counter()
    opened = source.open()
    opening = time.perf_counter() - start
    start = time.perf_counter()
    read = [opened.read(int(row)) for row in opened.rows]
    reading = time.perf_counter() - start
    opened.close()
    images = np.array([image for image, _, kept in read if kept])
    return images, len(read), 1e3 * reading / max(1, len(read)), 1e3 * opening


def _run_reader(sources: list[SlideSource], size_px: int, workers: int) -> int:
    openers = [partial(open_noted, source) for source in sources]
    stream = stream_tiles(openers, size_px=size_px, workers=workers)
    return sum(int(part.kept.sum()) for part in stream if isinstance(part, Tiles))


def _run_model(
    sources: list[SlideSource], images: npt.NDArray[np.uint8], engine: KerasEngine
) -> int:
    # The same blocks as in extraction: those of a slide, the last one not full.
    for _ in sources:
        for start in range(0, len(images), engine.block):
            engine.finish(engine.start(images[start : start + engine.block]))
    return len(sources) * len(images)


def _run_pipeline(
    sources: list[SlideSource], settings: dict[str, Any], engine: KerasEngine, workers: int
) -> int:
    tiles = 0
    for result in extract(sources, settings, engine, workers=workers):
        if result.features is None:
            raise result.error or click.ClickException(f"{result.source.slide_id}: no tiles")
        tiles += len(result.features)
    return tiles


class _Sampler(Progress):
    """Notes the resident memory each time a slide is finished."""

    def __init__(self, n_slides: int) -> None:
        super().__init__(n_slides, quiet=True)
        self.resident_mb: list[float] = []

    def slide(self, slide_id: str, outcome: str, detail: str = "") -> None:
        if outcome != "done":
            raise click.ClickException(f"{slide_id}: {outcome} {detail}")
        self.resident_mb.append(resident_mb())


def measure_memory(folder: Path, *, slides: int = MEMORY_SLIDES) -> dict[str, Any]:
    """Extract many small made slides to files and watch the resident memory.

    Args:
        folder: Where slides and features are written.
        slides: How many, more than ``MEMORY_FROM``.

    Returns:
        Resident memory after each slide in MB, and its slope in MB per slide.
    """
    made = folder / "slides"
    made.mkdir()
    for number in range(slides):
        path = made / f"slide-{number:03d}.tiff"
        write_slide(path, seed=number, size_px=_SMALL_PX, tissue_share=0.8)
    job = ExtractJob(
        inputs=[made],
        output=folder / "features",
        backbone=MEMORY_BACKBONE,
        weights="random:0",
        size_px=MEMORY_TILE_PX,
    )
    prepared = prepare_job(job)
    prepare(prepared.plan)
    sampler = _Sampler(slides)
    network = require_backbone(MEMORY_BACKBONE)
    start = time.perf_counter()
    extract_to_folder(
        prepared.plan,
        lambda: KerasEngine(network, prepared.weights, MEMORY_TILE_PX, strategy=choose_strategy()),
        workers=min(8, usable_cores()),
        progress=sampler,
    )
    seconds = time.perf_counter() - start
    return {
        "slides": slides,
        "backbone": MEMORY_BACKBONE,
        "tile_px": MEMORY_TILE_PX,
        "tiles": sum(int(row["tiles"]) for row in prepared.plan.outcomes),
        "seconds": seconds,
        "resident_mb": sampler.resident_mb,
        "slope_mb_per_slide": slope(sampler.resident_mb[MEMORY_FROM - 1 :]),
    }


def speed_table(speed: dict[str, Any]) -> str:
    """Return the figures of :func:`measure_speed` as a short table."""
    lines = [
        f"{speed['backbone']} {speed['weights']}, {speed['tile_px']} px tiles of {speed['slide']}: "
        f"{speed['tiles_a_pass']} kept tiles a pass, compute batch {speed['compute_batch']} "
        f"({speed['padding']:.1%} padding), {speed['workers']} reading threads",
        "",
        f"{'':16}{'tiles/s':>10}{'lowest':>10}{'highest':>10}{'CPU ms/tile':>14}"
        f"{'others, cores':>15}",
    ]
    for name, title in (
        ("reader", "reader alone"), ("model", "model alone"), ("pipeline", "pipeline")
    ):  # fmt: skip
        rates = [part["tiles"] / part["wall_s"] for part in speed["passes"][name]]
        lines.append(
            f"{title:16}{speed['tiles_per_s'][name]:10.2f}{min(rates):10.2f}{max(rates):10.2f}"
            f"{speed['cpu_ms_per_tile'][name]:14.1f}"
            f"{statistics.median(part['others'] for part in speed['passes'][name]):15.2f}"
        )
    rate, bound = speed["tiles_per_s"]["pipeline"], speed["shared_bound"]
    return "\n".join(
        [
            *lines,
            "",
            f"one thread reads a tile in {speed['read_ms']:.2f} ms "
            f"({speed['read_a_kept_tile']:.2f} reads a kept tile) and opens the slide in "
            f"{speed['open_ms']:.0f} ms",
            f"pipeline / slower of the two: {speed['ratio_to_slower']:.3f} (goal {RATIO_GOAL})",
            f"bound where both share all cores, 1/(1/reader + 1/model): {bound:.2f} tiles/s; "
            f"pipeline / bound: {rate / bound:.3f}",
        ]
    )


def memory_table(memory: dict[str, Any]) -> str:
    """Return the figures of :func:`measure_memory` as a few lines."""
    resident = memory["resident_mb"]
    shown = [1, MEMORY_FROM, (MEMORY_FROM + memory["slides"]) // 2, memory["slides"]]
    steps = ", ".join(f"{resident[number - 1]:.0f} after slide {number}" for number in shown)
    return (
        f"resident memory, {memory['slides']} slides ({memory['tiles']} tiles, "
        f"{memory['backbone']} at {memory['tile_px']} px, {memory['seconds']:.0f} s): {steps} MB\n"
        f"slope over slides {MEMORY_FROM} to {memory['slides']}: "
        f"{memory['slope_mb_per_slide']:+.3f} MB a slide (goal < {SLOPE_GOAL_MB})"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@click.command()
@click.option("--backbone", type=click.Choice(list(BACKBONES)), default=DEFAULT_BACKBONE,
              show_default=True)  # fmt: skip
@click.option("--weights", default="random:0", show_default=True,
              help="random:SEED, imagenet or a path: the speed is the same.")  # fmt: skip
@click.option("--slide", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Slide to measure with.  [default: one of 4096 x 4096 px, made]")  # fmt: skip
@click.option("--tiles", type=click.IntRange(min=1), default=200, show_default=True,
              help="Kept tiles of a pass, at least; a slide is read again till then.")  # fmt: skip
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Reading threads.  [default: cores]")
@click.option("--only", type=click.Choice(["speed", "memory"]), help="Measure one of the two.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(
    backbone: str,
    weights: str,
    slide: Path | None,
    tiles: int,
    repeats: int,
    workers: int | None,
    only: str | None,
    as_json: bool,
) -> None:
    """Measure tiles per second of reader, model and pipeline, and memory over 100 slides."""
    found: dict[str, Any] = {"hardware": hardware(), "versions": versions()}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        # Memory first: what the larger network gives back would hide growth.
        if only != "speed" and _STATM.exists():
            _say(f"memory: {MEMORY_SLIDES} small slides")
            found["memory"] = measure_memory(work)
        if only != "memory":
            if slide is None:
                slide = work / "made.tiff"
                _say("making a slide")
                write_slide(slide, seed=1, size_px=_MADE_PX)
            workers = workers or min(8, usable_cores())
            found["speed"] = measure_speed(
                slide, backbone, weights, tiles=tiles, repeats=repeats, workers=workers
            )
    print(json.dumps(found, indent=2) if as_json else _text(found))


def _text(found: dict[str, Any]) -> str:
    machine, packages = found["hardware"], found["versions"]
    parts = [
        f"{machine['processor']}, {machine['cores']} cores, {' '.join(machine['instructions'])}; "
        f"Python {packages['python']}, TensorFlow {packages['tensorflow']}, "
        f"Keras {packages['keras']}, openslide-bin {packages.get('openslide-bin', '?')}"
    ]
    if "speed" in found:
        parts.append(speed_table(found["speed"]))
    if "memory" in found:
        parts.append(memory_table(found["memory"]))
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
