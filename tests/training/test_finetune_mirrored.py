"""Fine-tuning on two logical CPU devices; they must be set up before TensorFlow starts."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json
import numpy as np
import pandas as pd
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras
from histokeras.errors import ConfigError
from histokeras.models.backbones import build_backbone
from histokeras.models.catalog import require_backbone
from histokeras.models.devices import mirrored
from histokeras.models.drop_block import DropBlock, with_drop_block
from histokeras.models.heads import build_head
from histokeras.models.trainable import set_trainable
from histokeras.models.weights import find_weights
from histokeras.training.finetune import FinetuneConfig, finetune
from histokeras.training.head import FittedHead, HeadConfig
from histokeras.training.loop import FitConfig
from histokeras.training.rows import TileRows

SIZE, N = 32, 40
rng = np.random.default_rng(0)
target = np.arange(N, dtype=np.int32) % 2
images = rng.integers(0, 200, (N, SIZE, SIZE, 3)).astype(np.uint8)
images[target == 1, ::2] += 50
units = pd.DataFrame({"patient_id": [f"p{i}" for i in range(N)],
                      "split": ["train"] * 32 + ["val"] * 8})
rows = TileRows(np.zeros(N, np.int32), np.arange(N), np.arange(N), target, units)


class Pixels:
    def read(self, file, row):
        return images[row]


backbone = require_backbone("mini")
weights = find_weights(backbone)
keras.utils.set_random_seed(0)
head = FittedHead(build_head("linear", backbone.n_features, 2), ("a", "b"), pd.DataFrame())


def tune(strategy, batch_norm, batch_size=16):
    fit = FitConfig(epochs=3, batch_size=batch_size, learning_rate=1e-3, patience=3)
    config = FinetuneConfig(unfreeze="all", batch_norm=batch_norm, augmentation="none", fit=fit)
    return finetune(backbone, weights, head, rows, Pixels(), SIZE, HeadConfig(), config,
                    strategy=strategy, workers=1)


found = {}
for batch_norm in (False, True):
    one = tune(tf.distribute.get_strategy(), batch_norm)
    two = tune(mirrored("CPU:0", "CPU:1"), batch_norm)
    columns = ["loss", "val_loss"]
    difference = (one.history[columns] - two.history[columns]).abs().to_numpy()
    moved = [np.abs(np.asarray(a) - np.asarray(b)).max()
             for a, b in zip(one.network.weights, two.network.weights)]
    found[str(batch_norm)] = {
        "losses": float(np.nanmax(difference)), "weights": float(max(moved)),
        "fell": float(one.history["loss"].iloc[-1] - one.history["loss"].iloc[1])}

strategy = mirrored("CPU:0", "CPU:1")
with strategy.scope():
    network = build_backbone(backbone, weights, SIZE)
    set_trainable(network, backbone, "all")
    dropping = with_drop_block(network, "mini", 0.5, ramp_steps=2)
    model = keras.Sequential([dropping, keras.layers.Dense(2, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
model.fit(images.astype("float32"), target, batch_size=8, epochs=1, verbose=0)
layers = [layer for layer in dropping.layers if isinstance(layer, DropBlock)]
each = [[float(copy) for copy in layer.steps.value.values] for layer in layers]
apart = [np.abs(np.asarray(a) - np.asarray(b)).max()
         for a, b in (weight.value.values for weight in network.trainable_weights)]
plain = np.asarray(network(images[:4].astype("float32"), training=False))
found["drop_block"] = {
    "steps": each, "apart": float(max(apart)), "saved": [float(x.steps.numpy()) for x in layers],
    "same": bool(np.array_equal(plain, np.asarray(dropping(images[:4].astype("float32")))))}
try:
    tune(mirrored("CPU:0", "CPU:1"), False, 15)
except ConfigError as error:
    found["error"] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def result() -> dict:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("batch_norm", ["False", "True"])
def test_two_devices_learn_as_one_does(result: dict, batch_norm: str) -> None:
    assert result[batch_norm]["fell"] < -0.01
    assert result[batch_norm]["losses"] < 1e-4


def test_two_devices_drop_with_the_same_rate_and_stay_alike(result: dict) -> None:
    found = result["drop_block"]

    # 40 tiles in batches of 8: each device has done all five steps.
    assert found["steps"] == [[5, 5], [5, 5]]
    assert found["saved"] == [5, 5]
    assert found["apart"] == 0
    assert found["same"]


def test_a_batch_that_cannot_be_shared_is_refused(result: dict) -> None:
    assert "15 cannot be shared equally among 2" in result["error"]
