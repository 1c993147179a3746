from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from histokeras.features.extras import TileExtras, pixel_hash, tile_jpeg
from histokeras.features.store import FeatureSet, write_features
from histokeras.tiles.texture import FLOOR_NAMES

SETTINGS = {"backbone": "resnet50", "weights": "random:0", "weights_sha256": "random:0",
            "tile_size_px": 224, "tile_mpp": 0.5, "ready_made": False, "precision": "float32",
            "compute_batch": 16, "dtype": "float32"}  # fmt: skip


def made_extras(rng: np.random.Generator, n: int, label: int) -> TileExtras:
    """Colour that tells the label a little, and pictures of every second tile."""
    floor = np.abs(rng.normal(size=(n, len(FLOOR_NAMES)))).astype(np.float32)
    floor[:, 0] += label
    images = rng.integers(0, 255, (n, 16, 16, 3), np.uint8)
    return TileExtras(
        floor,
        np.array([pixel_hash(image) for image in images], np.uint64),
        {row: tile_jpeg(images[row]) for row in range(0, n, 2)},
        tile_jpeg(images[0]),
    )


def write_cohort(
    folder: Path,
    n_patients: int = 24,
    *,
    shift: float = 4.0,
    seed: int = 0,
    with_extras: bool = True,
    backbone: str = "resnet50",
) -> Path:
    """Feature files of patients with one or two slides, and labels.csv beside them."""
    rng = np.random.default_rng(seed)
    (folder / "features").mkdir(parents=True)
    rows = []
    for number in range(n_patients):
        patient, label = f"P{number:02d}", ("neg", "pos")[number % 2]
        rows.append({"patient_id": patient, "label": label, "site": f"S{number % 3}"})
        for slide in range(1 + number % 2):
            slide_id = f"{patient}_{slide}"
            n = 6 + number % 5
            vectors = rng.normal(size=(n, 8)).astype(np.float32)
            vectors[:, 0] += shift * (number % 2)
            table = pd.DataFrame({"slide_id": slide_id, "x": np.arange(n) * 224, "y": 448})
            provenance = {
                "slide_id": slide_id,
                "settings": {**SETTINGS, "backbone": backbone},
                "n_tiles": n,
            }
            attributes = {"patch_size": 224, "patch_size_level0": 224}
            extras = made_extras(rng, n, number % 2) if with_extras else None
            features = FeatureSet(vectors, table, backbone, provenance, attributes, extras)
            write_features(folder / "features" / f"{slide_id}.h5", features)
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    slides = [path.stem for path in sorted((folder / "features").iterdir())]
    pd.DataFrame({"slide_id": slides, "patient_id": [name[:3] for name in slides]}).to_csv(
        folder / "slides.csv", index=False
    )
    return folder


@pytest.fixture(scope="session")
def cohort_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"))
