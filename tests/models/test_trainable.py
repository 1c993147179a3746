from pathlib import Path

import keras
import numpy as np
import pytest
import safetensors

from histokeras.errors import FeatureError
from histokeras.models.augment import AUGMENTATIONS, build_augmentation
from histokeras.models.backbone_file import load_backbone, write_backbone
from histokeras.models.backbones import build_backbone, preprocess
from histokeras.models.catalog import AUGMENTATION_NAMES, BACKBONES, require_backbone
from histokeras.models.heads import build_head
from histokeras.models.trainable import Preprocessing, build_trainable, set_trainable
from histokeras.models.weights import FINETUNED, find_weights

NETWORKS = [name for name, backbone in BACKBONES.items() if backbone.top_layer]
BATCH_NORM = keras.layers.BatchNormalization


def network_of(name: str, weights: str = "random:0") -> keras.Model:
    backbone = require_backbone(name)
    return build_backbone(backbone, find_weights(backbone, weights), max(backbone.min_px, 32))


@pytest.fixture(scope="module", params=NETWORKS)
def named(request: pytest.FixtureRequest) -> tuple[str, keras.Model]:
    return request.param, network_of(request.param)


def test_the_top_block_is_a_part_of_the_whole(named: tuple[str, keras.Model]) -> None:
    name, network = named
    backbone = require_backbone(name)

    top = set_trainable(network, backbone, "top")
    below = [layer for layer in network.layers if layer.weights and not layer.trainable]
    everything = set_trainable(network, backbone, "all")

    assert any(not isinstance(layer, BATCH_NORM) for layer in below)
    assert 0.2 < top / everything < 0.9
    norms = [layer for layer in network.layers if isinstance(layer, BATCH_NORM)]
    assert norms
    assert not any(layer.trainable for layer in norms)
    set_trainable(network, backbone, "all", batch_norm=True)
    assert all(layer.trainable and layer.synchronized for layer in norms)


def test_a_tuned_backbone_comes_back_from_its_file(
    named: tuple[str, keras.Model], tmp_path: Path
) -> None:
    name, network = named
    backbone = require_backbone(name)
    path = tmp_path / "backbone" / "weights.safetensors"
    path.parent.mkdir()
    images = np.random.default_rng(0).uniform(0, 255, (2, *network.input_shape[1:])).astype("f4")
    expected = np.asarray(network(preprocess(backbone, images.copy()), training=False))

    digest = write_backbone(path, network, backbone)
    # The run's folder is as good as the file in it.
    sources = [find_weights(backbone, str(place)) for place in (path, tmp_path)]
    again = build_backbone(backbone, sources[1], network.input_shape[1])

    with safetensors.safe_open(path, framework="numpy") as file:
        # More than one key would be written in an order that changes from process to process.
        assert list(file.metadata()) == ["histokeras-backbone"]
    assert [(source.kind, source.sha256) for source in sources] == [(FINETUNED, digest)] * 2
    found = np.asarray(again(preprocess(backbone, images.copy()), training=False))
    np.testing.assert_array_equal(found, expected)


def test_foreign_files_are_refused_as_backbones(tmp_path: Path) -> None:
    mini, resnet = network_of("mini"), require_backbone("resnet50")
    path = tmp_path / "weights.safetensors"
    write_backbone(path, mini, require_backbone("mini"))

    with pytest.raises(FeatureError, match=r"fine-tuned weights of resnet50: it holds mini"):
        build_backbone(resnet, find_weights(resnet, str(path)), 32)
    mini.layers[2].kernel.assign(np.full(mini.layers[2].kernel.shape, np.nan))
    write_backbone(path, mini, require_backbone("mini"))
    with pytest.raises(FeatureError, match="not finite"):
        load_backbone(network_of("mini"), require_backbone("mini"), path)
    path.write_bytes(b"rubbish")
    with pytest.raises(FeatureError, match="does not hold"):
        load_backbone(network_of("mini"), require_backbone("mini"), path)


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv2", "mini"])
def test_preprocessing_is_that_of_extraction(name: str) -> None:
    backbone = require_backbone(name)
    images = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3)).astype("float32")

    found = Preprocessing(name)(images)

    expected = preprocess(backbone, keras.ops.convert_to_tensor(images))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    layer = Preprocessing.from_config(Preprocessing(name).get_config())
    assert layer.backbone == name


def test_the_joined_network_says_what_backbone_and_head_say() -> None:
    backbone, network = require_backbone("mini"), network_of("mini", "bundled")
    head = build_head("mlp", backbone.n_features, 3)
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3)).astype("uint8")

    joined = build_trainable(backbone, network, head, 32, build_augmentation("strong"))

    found = joined(images, training=False)

    features = network(preprocess(backbone, images.astype("float32")), training=False)
    np.testing.assert_allclose(np.asarray(found), np.asarray(head(features)), rtol=1e-6)


def test_the_command_line_knows_all_augmentations() -> None:
    assert tuple(AUGMENTATIONS) == AUGMENTATION_NAMES
