from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from histokeras.features.extract import extract_to_folder
from histokeras.features.plan import Plan, plan_extraction, prepare
from histokeras.features.settings import FeatureSettings
from histokeras.features.sources import SlideSource
from histokeras.slides.synthetic import write_slide
from histokeras.tiles.grid import TileSpec

SPEC = TileSpec(size_px=96, mpp=0.5)


class FakeEngine:
    """Mean and spread of each colour: fast, and easy to check."""

    block, n_features = 4, 6

    def __init__(self) -> None:
        self.calls = 0

    def start(self, images: np.ndarray) -> np.ndarray:
        self.calls += 1
        assert 0 < len(images) <= self.block
        return colour_vectors(images)

    def finish(self, ticket: np.ndarray) -> np.ndarray:
        return ticket


def colour_vectors(images: np.ndarray) -> np.ndarray:
    pixels = images.reshape(len(images), -1, 3).astype(np.float32)
    return np.concatenate([pixels.mean(1), pixels.std(1)], axis=1)


@pytest.fixture(scope="session")
def made_slides(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three small slides that OpenSlide opens."""
    folder = tmp_path_factory.mktemp("slides")
    paths = [folder / f"slide{i}.tiff" for i in range(3)]
    for i, path in enumerate(paths):
        write_slide(path, seed=i, size_px=(640, 512), kind="ab"[i % 2], downsamples=(2, 4))
    return paths


def sources_of(paths: Sequence[Path], spec: TileSpec = SPEC) -> list[SlideSource]:
    return [SlideSource(path=path, spec=spec, slide_id=path.stem) for path in paths]


def settings_of(spec: TileSpec = SPEC, **changes: object) -> FeatureSettings:
    known = {"backbone": "mobilenetv2", "weights": "random:0", "weights_sha256": "random:0"}
    return FeatureSettings(**{**known, "tile": spec, **changes})


@pytest.fixture
def run_plan() -> Callable[..., Plan]:
    """Extract slides into a folder with the fake engine and return the finished plan."""

    def run(paths: Sequence[Path], folder: Path, *, overwrite: bool = False, batch_size: int = 64,
            spec: TileSpec = SPEC, engine: object = None, **changes: object) -> Plan:  # fmt: skip
        plan = plan_extraction(
            sources_of(paths, spec), settings_of(spec, **changes), folder, overwrite=overwrite
        )
        prepare(plan)
        used = engine or FakeEngine()
        extract_to_folder(plan, lambda: used, batch_size=batch_size)
        return plan

    return run
