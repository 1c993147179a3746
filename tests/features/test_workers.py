"""Extraction by several workers; here threads stand for their processes."""

import threading
from pathlib import Path
from typing import Any

import pytest

from histokeras.errors import ConfigError, OutputError, SlideError
from histokeras.features import worker
from histokeras.features.job import ExtractJob, prepare_job
from histokeras.features.known import feature_path
from histokeras.features.run import Manner, run_job
from histokeras.features.sources import SlideSource
from histokeras.models.devices import choose_strategy
from histokeras.runs.patience import FirstFailureError
from histokeras.tiles.grid import TileSpec


def extract(slides: list[Path], output: Path, **manner: Any) -> Any:
    job = ExtractJob(
        inputs=slides, output=output, backbone="stain-texture", spec=TileSpec(mpp=0.5), size_px=96
    )
    return run_job(job, prepare_job(job), config={}, manner=Manner(quiet=True, **manner))


def test_two_workers_on_each_of_two_gpus_make_the_same_files(
    made_slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(made_slides, tmp_path / "one")
    chosen: list[str] = []
    threads: set[int] = set()

    def choose(gpus: str) -> Any:
        chosen.append(gpus)
        threads.add(threading.get_ident())
        return choose_strategy("cpu")

    monkeypatch.setattr(worker, "gpu_numbers", lambda gpus: [0, 3])
    monkeypatch.setattr(worker, "choose_strategy", choose)

    plan = extract(made_slides, tmp_path / "four", workers_per_gpu=2)

    assert sorted(chosen) in (["0", "0", "3", "3"], ["0", "0", "3"], ["0", "3"])
    assert len(threads) == len(chosen) > 1
    assert [row["outcome"] for row in plan.outcomes] == ["done"] * 3
    for slide in made_slides:
        one, four = (feature_path(tmp_path / name, slide.stem) for name in ("one", "four"))
        assert one.read_bytes() == four.read_bytes()


def test_workers_that_share_gpus_need_gpus(made_slides: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`--workers-per-gpu` shares GPUs, but .* none here"):
        extract(made_slides, tmp_path, workers_per_gpu=2, gpus="cpu")


def test_fail_fast_stops_at_the_first_failed_slide(made_slides: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "a_bad.svs"
    bad.write_bytes(b"")

    with pytest.raises(FirstFailureError, match=r"SLIDE_EMPTY .* --fail-fast ended") as caught:
        extract([bad, *made_slides], tmp_path / "out", fail_fast=True)

    assert caught.value.exit_code == 4
    plan = extract([bad, *made_slides], tmp_path / "out")
    assert [row["slide"] for row in plan.outcomes if row["outcome"] == "failed"] == ["a_bad"]
    assert len(plan.finished()) == 3


def test_a_lost_storage_stops_the_cohort(
    made_slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: SlideSource) -> Any:
        raise SlideError(f"slide `{self.slide_id}`: stale file handle.", code="IO_ERROR")

    monkeypatch.setattr(SlideSource, "open", gone)
    slides = []
    for i in range(8):
        slides.append(tmp_path / f"s{i}.tiff")
        slides[-1].write_bytes(made_slides[0].read_bytes())

    with pytest.raises(SlideError, match=r"5 slides in a row .* Is the storage lost?") as caught:
        extract(slides, tmp_path / "out")

    assert (caught.value.code, caught.value.exit_code) == ("IO_ERROR", 3)
    assert len((tmp_path / "out" / "failures.csv").read_text().splitlines()) == 6


def test_a_full_disk_stops_everything_at_once(
    made_slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(folder: Path, result: Any) -> Any:
        calls.append(result.source.slide_id)
        raise OutputError("no space left to write x.h5.", code="DISK_FULL")

    monkeypatch.setattr(worker, "write_result", full)

    with pytest.raises(OutputError, match="no space left"):
        extract(made_slides, tmp_path)

    assert calls == ["slide0"]
