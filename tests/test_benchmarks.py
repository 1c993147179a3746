import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from histokeras.analysis.metrics import roc_auc

FOLDER = Path(__file__).parents[1] / "benchmarks"


def loaded(name: str) -> Iterator[ModuleType]:
    # Loaded by its path: the folder is no part of the installed package.
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    yield from loaded("extract")


@pytest.fixture(scope="module")
def coverage() -> Iterator[ModuleType]:
    yield from loaded("coverage")


def test_rate_and_cpu_time_are_medians_over_the_passes(benchmark: ModuleType) -> None:
    passes = [
        benchmark.Pass(tiles=100, wall_s=10.0, cpu_s=5.0),
        benchmark.Pass(tiles=100, wall_s=4.0, cpu_s=6.0),
        benchmark.Pass(tiles=100, wall_s=5.0, cpu_s=9.0),
    ]

    assert benchmark.median_rate(passes) == 20
    assert benchmark.median_cpu_ms(passes) == 60


def test_the_pipeline_is_compared_with_the_slower_part(benchmark: ModuleType) -> None:
    assert benchmark.ratio_to_slower(pipeline=19, reader=300, model=20) == pytest.approx(0.95)
    assert benchmark.ratio_to_slower(pipeline=19, reader=10, model=20) == pytest.approx(1.9)


def test_on_shared_cores_the_times_of_reader_and_model_add_up(benchmark: ModuleType) -> None:
    # 1/60 s to read and 1/30 s to compute a tile: 3/60 s together.
    assert benchmark.shared_bound(reader=60, model=30) == pytest.approx(20)


def test_slope_is_that_of_the_least_squares_line(benchmark: ModuleType) -> None:
    # Mean x 1.5, mean y 1.5; sum of products 4, of squares 5.
    assert benchmark.slope([0.0, 2.0, 1.0, 3.0]) == pytest.approx(0.8)
    assert benchmark.slope([700.0, 700.0, 700.0]) == pytest.approx(0, abs=1e-9)


def test_resident_memory_is_that_of_this_process(benchmark: ModuleType) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system has no /proc/self/statm")
    block = bytearray(b"x" * (64 << 20))
    with_block = benchmark.resident_mb()
    del block

    assert 40 < with_block - benchmark.resident_mb() < 90


def test_simulated_cohorts_have_the_true_auc(coverage: ModuleType) -> None:
    cohort = coverage.simulate(np.random.default_rng(0), 4000, 8)

    assert coverage.shift_of(0.75) == pytest.approx(0.9538726)
    assert coverage.pooled_auc(coverage.shift_of(0.75), 0.5, 0.5) == pytest.approx(0.75)
    assert roc_auc(cohort.targets == 1, cohort.scores) == pytest.approx(0.75, abs=0.02)


def test_coverage_runs(coverage: ModuleType) -> None:
    done = CliRunner().invoke(coverage.main, ["--cohorts", "5", "--resamples", "20"])

    assert done.exit_code == 0
    assert "200           8" in done.output


def test_painting_tells_what_a_slide_cost(tmp_path: Path) -> None:
    paint = next(loaded("paint"))

    row = paint.paint(tmp_path, 256, 1, 0)

    assert row["size_px"] == 256
    assert row["cpu_s"] > 0
    assert 50 < row["memory_mib"] < 20_000
    assert row["file_mib"] == (tmp_path / "slide.tiff").stat().st_size / 2**20
    assert (tmp_path / "truth.json").is_file()


def test_memory_of_a_bag_is_told(tmp_path: Path) -> None:
    bags = next(loaded("bags"))
    bags.write_vectors(tmp_path / "bag.h5", 40, seed=0)

    row = bags.judge(tmp_path / "bag.h5", 40)

    assert row["sum"] == pytest.approx(1, abs=1e-5)
    assert 0 <= row["memory_mib"] < 5000
    assert bags.learn(tmp_path / "bag.h5", 20)["wall_s"] > 0
