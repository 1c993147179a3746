"""The main path on real slides, tiles and weights; see the fixture ``real_data``."""

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from histokeras.cli.main import main
from histokeras.features.store import read_features
from histokeras.models.catalog import require_backbone
from histokeras.slides.reader import open_slide
from histokeras.tiles.cut import cut_tiles
from histokeras.tiles.grid import TileSpec

WEIGHTS = "weights/mobilenet_v2_imagenet_notop.weights.h5"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(item) for item in arguments])


@pytest.fixture(scope="module")
def cmu_images(real_data: Path) -> np.ndarray:
    with open_slide(real_data / "slides/CMU-1-Small-Region.svs") as slide:
        tiles = cut_tiles(slide, TileSpec(size_px=299, mpp=0.5))
        assert len(tiles.manifest) == 63
        return np.stack([tiles.image(i) for i in range(len(tiles))])


def mobilenet(path: Path) -> keras.Model:
    model = keras.applications.MobileNetV2(
        include_top=False, weights=None, pooling="avg", input_shape=(299, 299, 3)
    )
    model.load_weights(path)
    return model


def random_network(build: Callable[..., keras.Model]) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build(include_top=False, weights=None, pooling="avg", input_shape=(299, 299, 3))


@pytest.mark.parametrize("name", ["inceptionv3", "resnet50", "mobilenetv2"])
def test_features_equal_keras_applications_on_a_real_slide(
    name: str, real_data: Path, cmu_images: np.ndarray, tmp_path: Path
) -> None:
    weights = str(real_data / WEIGHTS) if name == "mobilenetv2" else "random:0"
    result = call(
        "extract-features", real_data / "slides/CMU-1-Small-Region.svs", "-o", tmp_path,
        "--backbone", name, "--weights", weights, "--tile-px", 299,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    backbone = require_backbone(name)
    if name == "mobilenetv2":
        model = mobilenet(real_data / WEIGHTS)
    else:
        model = random_network(getattr(keras.applications, backbone.builder))
    preprocess = getattr(keras.applications, backbone.module).preprocess_input

    features = read_features(tmp_path / "features/CMU-1-Small-Region.h5")
    expected = model.predict(preprocess(cmu_images.astype("float32")), verbose=0)

    assert features.vectors.shape == (15, backbone.n_features)
    assert np.abs(features.vectors - expected).max() < 1e-5 * np.abs(expected).max()


def test_every_bad_slide_has_its_own_reason_and_the_good_one_is_done(
    real_data: Path, tmp_path: Path
) -> None:
    slides = [real_data / "slides/CMU-1-Small-Region.svs", real_data / "slides/bad"]
    result = call(
        "extract-features", *slides, "-o", tmp_path, "--backbone", "mobilenetv2",
        "--weights", real_data / WEIGHTS,
    )  # fmt: skip

    assert result.exit_code == 4
    outcomes = {row["slide"]: row["outcome"]
                for row in json.loads((tmp_path / "run.json").read_text())["slides"]}  # fmt: skip
    assert outcomes.pop("CMU-1-Small-Region") == "done"
    assert len(outcomes) == 5
    assert set(outcomes.values()) <= {"failed", "empty"}
    failures = pd.read_csv(tmp_path / "failures.csv").set_index("slide")
    assert set(failures.index) == set(outcomes)
    assert failures["message"].nunique() == 5
    assert (failures["hint"] != "").all()


def test_real_lung_tiles_are_learned_by_source_group(real_data: Path, tmp_path: Path) -> None:
    table = real_data / "tables/lc25000_lung_tiles.csv"
    made = call(
        "extract-features", "--tiles", real_data / "tiles/lc25000_lung_224", "--tile-table", table,
        "-o", tmp_path / "f", "--backbone", "mobilenetv2", "--weights", real_data / WEIGHTS,
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    result = call(
        "fit-head", tmp_path / "f", "--labels", table, "-o", tmp_path / "run", "--head", "linear",
        "--bootstrap", 200, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output

    metrics = json.loads(result.stdout)
    assert metrics["label_level"] == "tile"
    level = metrics["splits"]["test"]["patient"]
    assert level["n"] == 89
    accuracy = level["aggregations"]["mean_probability"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["value"] > 0.85
    slides = pd.read_csv(tmp_path / "run/patients.csv")
    assert slides["patient_id"].nunique() == 595
