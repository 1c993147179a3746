import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import histokeras as hk
from histokeras.errors import ConfigError, FeatureError, SlideError
from histokeras.features.index import index_features
from histokeras.features.store import read_features
from histokeras.models.backbones import build_backbone
from histokeras.models.catalog import require_backbone
from histokeras.models.weights import find_weights
from histokeras.training.finetune import FinetuneConfig, epoch_order
from histokeras.training.fit import FittedRun
from histokeras.training.loop import FitConfig
from histokeras.training.rows import TileRows

SIZE = 48
FIT = FitConfig(epochs=5, batch_size=8, learning_rate=2e-4, patience=5, seed=1)
ONE = dataclasses.replace(FIT, epochs=1)
CONFIG = FinetuneConfig(fit=FIT, tiles_per_patient=4, augmentation="flips")


def write_tiles(folder: Path, n_patients: int = 20, seed: int = 0) -> Path:
    """Tiles of the same colours whose stripes are wide or narrow; a table beside them."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(n_patients):
        label = ("narrow", "wide")[patient % 2]
        place = folder / "tiles" / label
        place.mkdir(parents=True, exist_ok=True)
        for number in range(3 + patient % 3):
            period = {"narrow": 1.0, "wide": 1.3}[label]
            wave = np.sin(np.arange(SIZE) / period + rng.uniform(0, 6))[:, None, None]
            wave = wave * np.ones((1, SIZE, 1))
            wave = wave if number % 2 else wave.transpose(1, 0, 2)
            noisy = 160 + 30 * wave + rng.normal(0, 30, (SIZE, SIZE, 3))
            name = f"p{patient:02d}_{number}.png"
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(place / name)
            rows.append({"tile": f"{label}/{name}", "label": label, "patient_id": f"p{patient}"})
    pd.DataFrame(rows).to_csv(folder / "tiles.csv", index=False)
    return folder


def tuned(folder: Path, out: Path, **changes: object) -> FittedRun:
    known = {"tiles": True, "tile_table": folder / "tiles.csv", "backbone": "mini",
             "config": CONFIG, "shares": (50, 20, 30)}  # fmt: skip
    return hk.finetune(folder / "tiles", None, out, **{**known, **changes})


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiles(tmp_path_factory.mktemp("stripes"))


@pytest.fixture(scope="module")
def run(tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> FittedRun:
    return tuned(tiles, tmp_path_factory.mktemp("tuned") / "run")


def weights_of(source: str) -> dict[str, np.ndarray]:
    backbone = require_backbone("mini")
    network = build_backbone(backbone, find_weights(backbone, source), SIZE)
    return {weight.path: np.asarray(weight) for weight in network.weights}


def test_fine_tuning_learns_and_stands_beside_the_frozen_network(run: FittedRun) -> None:
    level = run.metrics["splits"]["test"]["patient"]

    losses = run.history["val_loss"]
    assert losses.min() < losses.iloc[0]
    assert set(level["baselines"]) >= {"frozen", "majority", "colour", "floor"}
    own = level["aggregations"]["mean_probability"]["auc"]["value"]
    frozen = level["baselines"]["frozen"]
    assert frozen["title"] == "same network, not fine-tuned"
    assert frozen["difference"]["auc"]["value"] == pytest.approx(own - frozen["auc"]["value"])
    record = json.loads((run.folder / "run.json").read_text())
    assert (record["command"], record["status"]) == ("finetune", "done")
    assert record["finetune"]["n_trainable"] > 100_000
    assert record["features"]["settings"]["weights"] == "finetuned"
    assert not (run.folder / "checkpoints").exists()


def test_only_the_top_block_learned_and_no_batch_norm(run: FittedRun) -> None:
    before, after = weights_of("bundled"), weights_of(str(run.folder))

    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("stage3") and "norm" not in name for name in changed)


def test_what_is_evaluated_is_the_backbone_as_it_was_saved(run: FittedRun, tiles: Path) -> None:
    backbone = require_backbone("mini")
    network = build_backbone(backbone, find_weights(backbone, str(run.folder)), SIZE)
    stored = read_features(run.folder / "tuned" / "features" / "narrow.h5")
    paths = [tiles / "tiles" / name for name in stored.tiles["tile"]]
    images = np.stack([np.asarray(Image.open(path)) for path in paths]).astype(np.float32)

    features = np.asarray(network(images, training=False))

    np.testing.assert_allclose(stored.vectors, features, rtol=1e-4, atol=1e-5)
    written = pd.read_csv(run.folder / "predictions" / "narrow.csv").set_index("tile")
    found = hk.open_run(run.folder).predict_proba(stored).set_index("tile")
    for name in ("prob_narrow", "prob_wide"):
        np.testing.assert_allclose(found.loc[written.index, name], written[name], atol=1e-5)


def test_an_interrupted_run_goes_on_to_the_same_bits(
    run: FittedRun, tiles: Path, tmp_path: Path
) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "epoch 2" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(tiles, tmp_path / "run", say=say)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"

    again = tuned(tiles, tmp_path / "run")

    pd.testing.assert_frame_equal(again.history, run.history, check_exact=True)
    found, expected = weights_of(str(again.folder)), weights_of(str(run.folder))
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_drop_block_goes_on_where_it_was_and_leaves_a_plain_backbone(
    run: FittedRun, tiles: Path, tmp_path: Path
) -> None:
    fit = dataclasses.replace(FIT, epochs=2)
    config = dataclasses.replace(CONFIG, fit=fit, drop_block=0.3, drop_block_steps=8)

    def say(line: str) -> None:
        if "epoch 1" in line:
            raise KeyboardInterrupt

    whole = tuned(tiles, tmp_path / "whole", config=config)
    with pytest.raises(KeyboardInterrupt):
        tuned(tiles, tmp_path / "cut", config=config, say=say)
    again = tuned(tiles, tmp_path / "cut", config=config)

    # The squares, and how many of them, are those of an uninterrupted run.
    pd.testing.assert_frame_equal(again.history, whole.history, check_exact=True)
    assert whole.history["loss"].iloc[2] != run.history["loss"].iloc[2]
    found, plain = weights_of(str(whole.folder)), weights_of("bundled")
    assert list(found) == list(plain)
    record = json.loads((whole.folder / "run.json").read_text())
    assert record["finetune"]["drop_block"] == 0.3
    assert "drop_block" not in json.loads((run.folder / "run.json").read_text())["finetune"]
    with pytest.raises(ConfigError, match="`--drop-block` is of resnet50, mini"):
        tuned(tiles, tmp_path / "other", backbone="mobilenetv2", config=config)


def test_a_finished_run_is_opened_not_made_again(run: FittedRun, tiles: Path) -> None:
    said: list[str] = []

    again = tuned(tiles, run.folder, say=said.append)

    assert not any("2 of 3" in line for line in said)
    assert again.metrics == run.metrics
    pd.testing.assert_frame_equal(again.patients, run.patients)


def test_a_lost_backbone_is_made_again_with_the_same_bits(
    run: FittedRun, tiles: Path, tmp_path: Path
) -> None:
    folder = run.save(tmp_path / "run")
    weights = folder / "backbone" / "weights.safetensors"
    known = weights.read_bytes()
    weights.unlink()
    # What an interrupted attempt of other weights would leave.
    record = json.loads((folder / "tuned" / "run.json").read_text())
    record["settings"]["weights_sha256"] = "other"
    (folder / "tuned" / "run.json").write_text(json.dumps(record))
    (folder / "tuned" / "left").touch()

    tuned(tiles, folder)

    assert weights.read_bytes() == known
    assert not (folder / "tuned" / "left").exists()
    weights.write_bytes(known[:1000])
    with pytest.raises(FeatureError, match=r"fine-tuned weights .* are damaged"):
        find_weights(require_backbone("mini"), str(folder))


def test_the_head_is_evaluated_in_float32_as_others_load_it(tiles: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, fit=ONE, precision="mixed_float16")

    run = tuned(tiles, tmp_path / "run", config=config)

    stored = read_features(run.folder / "tuned" / "features" / "narrow.h5")
    written = pd.read_csv(run.folder / "predictions" / "narrow.csv").set_index("tile")
    found = run.predict_proba(stored).set_index("tile")
    for name in ("prob_narrow", "prob_wide"):
        np.testing.assert_allclose(found.loc[written.index, name], written[name], atol=1e-7)


def test_a_tile_that_cannot_be_read_stops_with_its_name(tiles: Path, tmp_path: Path) -> None:
    folder = write_tiles(tmp_path, 12, seed=2)

    def say(line: str) -> None:
        if "2 of 3" in line:
            for path in (folder / "tiles").rglob("*_1.png"):
                path.write_bytes(b"no picture")

    with pytest.raises(SlideError, match=r"tile \d+ of (narrow|wide) is no longer"):
        tuned(folder, tmp_path / "run", say=say)


def test_impossible_wishes_are_refused(tiles: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`unfreeze` must be one of top, all"):
        FinetuneConfig(unfreeze="bottom")
    with pytest.raises(ConfigError, match="is no network"):
        tuned(tiles, tmp_path / "run", backbone="stain-texture")
    split = hk.split_patients(pd.read_csv(tiles / "tiles.csv"), folds=3)
    with pytest.raises(ConfigError, match="one split into train, val and test"):
        tuned(tiles, tmp_path / "run", split=split)
    other = dataclasses.replace(CONFIG, unfreeze="all")
    tuned(tiles, tmp_path / "run", config=dataclasses.replace(CONFIG, fit=ONE))
    with pytest.raises(FeatureError, match=r"other finetune \(epochs\), finetune \(unfreeze\)"):
        tuned(tiles, tmp_path / "run", config=other)


def test_the_first_phase_leaves_the_backbone_alone(run: FittedRun) -> None:
    settings = index_features(run.folder / "frozen").settings

    assert settings["weights"] == "bundled"
    assert run.history["epoch"].iloc[0] == 0


def test_every_patient_gives_the_same_number_of_tiles_an_epoch() -> None:
    file = np.array([0] * 5 + [1] * 2 + [2] * 9, np.int32)
    rows = TileRows(file, np.arange(16), np.zeros(16, np.int64), np.zeros(16, np.int32), None)
    patients = np.array([0] * 7 + [1] * 9)

    order = epoch_order(rows, patients, 8, np.random.default_rng(0))

    assert np.bincount(patients[order]).tolist() == [8, 8]
    counts = np.bincount(order, minlength=16)
    assert set(counts[:7]) == {1, 2}
    assert set(counts[7:]) == {0, 1}
    again = epoch_order(rows, patients, 8, np.random.default_rng(0))
    np.testing.assert_array_equal(order, again)
    every = epoch_order(rows, patients, None, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(every), np.arange(16))
