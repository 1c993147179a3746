"""What a head of bags needs of memory: ``python -m benchmarks.bags --tiles 50000``.

Bags of several sizes are judged by fresh processes, from a feature file and read as they are
needed, and so is one step of a training on bags of the largest size. What each took beyond the
same head on ten tiles is set beside the size of the features.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import h5py
import numpy as np

from histokeras.files import write_json
from histokeras.models.heads import build_head
from histokeras.runs.environment import hardware, versions
from histokeras.training.bags import in_bags
from histokeras.training.head import HeadConfig, Labelled
from histokeras.training.loop import FitConfig
from histokeras.training.mil import fit_mil, predict_bags
from histokeras.training.vectors import Rows, StoredVectors

WIDTH = 2048
BAGS = 8
"""Bags of a training batch."""
BUFFER_ROWS = 10_000
_SMALL = 10
_MIB = 1 << 20


def write_vectors(path: Path, n: int, *, seed: int) -> None:
    """Write ``n`` random vectors in the layout of a feature file, a piece at a time."""
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        stored = file.create_dataset("features", (n, WIDTH), np.float32)
        for start in range(0, n, 5000):
            stop = min(start + 5000, n)
            stored[start:stop] = rng.standard_normal((stop - start, WIDTH), np.float32)


def peak_mib() -> float:
    """Return the largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return float(peak / (_MIB if sys.platform == "darwin" else 1 << 10))


def judge(path: Path, n: int) -> dict[str, float]:
    """Predict one bag of ``n`` tiles; return seconds and MiB beyond a bag of ten."""

    def read(count: int) -> StoredVectors:
        return StoredVectors([Rows(path, np.arange(count))], WIDTH, buffer_rows=BUFFER_ROWS)

    model = build_head("mil", WIDTH, 2)
    predict_bags(model, in_bags(read(_SMALL)))
    before, start = peak_mib(), time.perf_counter()
    _, attention = predict_bags(model, in_bags(read(n)))
    seconds = time.perf_counter() - start
    return {"wall_s": seconds, "memory_mib": peak_mib() - before, "sum": float(attention.sum())}


def learn(path: Path, n: int) -> dict[str, float]:
    """Train one epoch, a step, on eight bags of ``n`` tiles; return seconds and MiB as above."""

    def fit(n_tiles: int) -> None:
        parts = [Rows(path, np.arange(n_tiles))] * BAGS
        codes = np.repeat(np.arange(BAGS), n_tiles)
        vectors = StoredVectors(parts, WIDTH, buffer_rows=BUFFER_ROWS)
        bags = Labelled(in_bags(vectors, codes), (codes % 2).astype(np.int32))
        config = HeadConfig(head="mil", fit=FitConfig(epochs=1, batch_size=BAGS))
        fit_mil(bags, bags, ("a", "b"), config)

    fit(_SMALL)
    before, start = peak_mib(), time.perf_counter()
    fit(n)
    return {"wall_s": time.perf_counter() - start, "memory_mib": peak_mib() - before}


def aside(task: str, path: Path, n: int) -> dict[str, float]:
    """Run ``judge`` or ``learn`` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit({"judge": judge, "learn": learn}[task], path, n).result()


@click.command()
@click.option(
    "--tiles",
    "sizes",
    type=click.IntRange(min=_SMALL),
    multiple=True,
    default=(5000, 50_000),
    show_default=True,
    help="Tiles of a bag; may be given several times.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
def main(sizes: tuple[int, ...], seed: int, output: Path | None) -> None:
    """Judge bags of several sizes, learn from the largest, and print what each took."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bag.h5"
        write_vectors(path, max(sizes), seed=seed)
        click.echo("  task   tiles  features     memory  of them      wall")
        for task, n in [*(("judge", n) for n in sizes), ("learn", max(sizes))]:
            features = n * WIDTH * 4 / _MIB * (BAGS if task == "learn" else 1)
            row = {"task": task, "tiles": n, "features_mib": features, **aside(task, path, n)}
            rows.append(row)
            click.echo(
                f"{task:>6}  {n:6d}  {features:5.0f} MiB  {row['memory_mib']:5.0f} MiB"
                f"  {row['memory_mib'] / features:7.2f}  {row['wall_s']:6.1f} s"
            )
    if output is not None:
        write_json(output, {"bags": rows, "hardware": hardware(), "versions": versions()})


if __name__ == "__main__":
    main()
