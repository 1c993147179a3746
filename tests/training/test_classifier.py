"""A run as one network says what ``predict`` says, and refuses what it cannot explain."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from histokeras.analysis.calibration import temperature_scaled
from histokeras.errors import ConfigError, FeatureError, MissingError
from histokeras.models.backbones import build_backbone, preprocess
from histokeras.models.catalog import BACKBONES
from histokeras.models.mini import MINI_LAST_CONV
from histokeras.models.weights import find_weights
from histokeras.training.classifier import open_classifier
from histokeras.training.explain import map_layers, require_layer, unseen_maps
from histokeras.training.trained_run import open_run, weights_of
from tests.training.made_run import write_run

SIDE = 64


def test_logits_and_probabilities_are_those_of_backbone_and_heads(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", size_px=SIDE, temperatures=(2.0, 0.5))
    images = np.random.default_rng(0).integers(0, 255, (18, SIDE, SIDE, 3)).astype(np.uint8)
    classifier = open_classifier(run)

    logits, probabilities = classifier.score(images)

    mini = BACKBONES["mini"]
    network = build_backbone(mini, find_weights(mini), SIDE)
    features = network(preprocess(mini, images.astype("float32"))).numpy()
    parts = []
    for fold, temperature in enumerate((2.0, 0.5)):
        loaded = keras.Model(classifier.model.inputs[0], classifier.model.outputs[0])
        head = loaded.get_layer(f"head_{fold}")
        parts.append(head(features).numpy())
        raw = np.exp(parts[-1]) / np.exp(parts[-1]).sum(axis=1, keepdims=True)
        parts[-1] = parts[-1], temperature_scaled(raw, temperature)
    np.testing.assert_allclose(logits, np.mean([one for one, _ in parts], axis=0), atol=1e-4)
    np.testing.assert_allclose(probabilities, np.mean([p for _, p in parts], axis=0), atol=1e-5)
    assert np.ptp(probabilities[:, 0]) > 0.001
    assert classifier.classes == ("glands", "stroma")


def test_the_last_map_is_found_in_every_network(tmp_path: Path) -> None:
    classifier = open_classifier(write_run(tmp_path / "run", size_px=SIDE))
    last = require_layer(classifier.model, None)
    mobile = build_backbone(
        BACKBONES["mobilenetv2"], find_weights(BACKBONES["mobilenetv2"], "random:0"), SIDE
    )

    assert last == MINI_LAST_CONV
    assert map_layers(classifier.model)[last] == (4, 4)
    # Mini averages two stages: the one that is not shown must be named.
    assert unseen_maps(classifier.model, last) == ["stage2_out"]
    assert unseen_maps(classifier.model, "stem_relu") == []
    assert require_layer(mobile, None) == "out_relu"
    assert unseen_maps(mobile, "out_relu") == []


def test_what_has_no_network_or_other_weights_is_refused(tmp_path: Path) -> None:
    texture = write_run(tmp_path / "texture", settings={"backbone": "stain-texture"})
    foreign = write_run(tmp_path / "foreign", settings={"weights_sha256": None})
    random = write_run(tmp_path / "random", settings={"weights": "random:0"})
    unfinished = write_run(tmp_path / "unfinished")
    (unfinished / "metrics.json").unlink()

    with pytest.raises(ConfigError, match=r"stain-texture.*no network"):
        open_classifier(texture)
    with pytest.raises(FeatureError, match="features of another tool"):
        open_classifier(foreign)
    with pytest.raises(FeatureError, match="not those that the run was made"):
        open_classifier(random)
    with pytest.raises(FeatureError, match="not finished"):
        open_classifier(unfinished)


def test_weights_of_a_run_are_settled_in_one_place(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")

    def settled(weights: str, given: str | None = None) -> str:
        path = run / "head" / "model.json"
        card = json.loads(path.read_text())
        card["features"]["weights"] = weights
        path.write_text(json.dumps(card))
        return weights_of(open_run(run), given)

    assert settled("imagenet") == "imagenet"
    assert settled("random:3") == "random:3"
    assert settled("bundled") == "bundled"
    assert settled("file", "w.h5") == "w.h5"
    assert settled("finetuned", "tuned/") == "tuned/"
    with pytest.raises(MissingError, match="made with a fine-tuned backbone"):
        settled("finetuned")
    (run / "backbone").mkdir()
    (run / "backbone" / "weights.safetensors").touch()
    assert settled("finetuned") == str(run / "backbone" / "weights.safetensors")
    with pytest.raises(MissingError, match="made with a weights file"):
        settled("file")
    shutil.rmtree(run)
