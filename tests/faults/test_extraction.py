"""An extraction whose workers die, crash and hang; real processes with TensorFlow, so few."""

from pathlib import Path

import pytest

from histokeras.cohort.tcga import SlideChoice, choose_slides
from histokeras.features.job import ExtractJob, Prepared
from histokeras.features.plan import plan_extraction
from histokeras.features.run import Manner, run_job
from histokeras.features.settings import FeatureSettings
from histokeras.features.sources import SlideSource
from histokeras.features.verify import verify_folder
from histokeras.models.catalog import require_backbone
from histokeras.models.weights import find_weights
from histokeras.runs.record import read_record
from histokeras.slides.synthetic import write_slide
from histokeras.tiles.grid import TileSpec
from tests.faults.hostile_slides import Hostile

pytestmark = pytest.mark.real_workers
SPEC = TileSpec(size_px=96, mpp=0.5)
DEEDS = {"s3": "kill", "s4": "segfault", "s7": "hang"}


def prepared(folder: Path, output: Path) -> Prepared:
    weights = find_weights(require_backbone("stain-texture"))
    settings = FeatureSettings(
        backbone="stain-texture", weights=weights.label, weights_sha256=weights.sha256, tile=SPEC
    )
    sources = [
        SlideSource(path=path, spec=SPEC, slide_id=path.stem) for path in sorted(folder.iterdir())
    ]
    hostile = [
        Hostile(source, DEEDS[source.slide_id]) if source.slide_id in DEEDS else source
        for source in sources
    ]
    chosen = choose_slides([source.slide_id for source in sources], SlideChoice())
    return Prepared(plan_extraction(hostile, settings, output), weights, (), chosen, hostile)


def test_of_ten_slides_one_kills_one_crashes_one_hangs(tmp_path: Path) -> None:
    slides, output = tmp_path / "slides", tmp_path / "out"
    slides.mkdir()
    for i in range(10):
        write_slide(slides / f"s{i}.tiff", seed=i, size_px=(384, 384), kind="a", downsamples=(2,))
    job = ExtractJob(inputs=[slides], output=output)

    plan = run_job(job, prepared(slides, output), config={}, manner=Manner(stall_s=10, quiet=True))

    outcomes = {row["slide"]: row["outcome"] for row in plan.outcomes}
    assert outcomes == {f"s{i}": "failed" if f"s{i}" in DEEDS else "done" for i in range(10)}
    found = {row["slide"]: (row["code"], row["message"]) for row in plan.failures}
    assert set(found) == set(DEEDS)
    assert found["s3"][0] == "WORKER_DIED"
    assert "signal 9 (SIGKILL)" in found["s3"][1]
    assert found["s4"][0] == "WORKER_DIED"
    assert "signal 11 (SIGSEGV)" in found["s4"][1]
    assert found["s7"][0] == "WORKER_HUNG"
    assert [item.status for item in verify_folder(output)] == ["ok"] * 7
    assert not list(output.rglob("*.part*"))
    assert read_record(output)["status"] == "done with failures"
