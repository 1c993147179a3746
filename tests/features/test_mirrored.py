"""MirroredStrategy on two logical CPU devices; they must be set up before TensorFlow starts."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from histokeras.features.engine import KerasEngine
from histokeras.models.catalog import require_backbone
from histokeras.models.devices import mirrored
from histokeras.models.weights import find_weights

backbone = require_backbone("mobilenetv2")
weights = find_weights(backbone, "random:0")
images = np.random.default_rng(0).integers(0, 256, (11, 96, 96, 3), dtype=np.uint8)
found = {}
strategies = {"one": None, "two": mirrored("CPU:0", "CPU:1"),
              "named": tf.distribute.OneDeviceStrategy("/cpu:0")}
for name, strategy in strategies.items():
    engine = KerasEngine(backbone, weights, 96, strategy=strategy, compute_batch=4)
    parts = [images[i : i + engine.block] for i in range(0, len(images), engine.block)]
    found[name] = np.concatenate([engine.finish(engine.start(part)) for part in parts])
    found[name + "_block"] = engine.block
difference = np.abs(found["one"] - found["two"]).max() / np.abs(found["one"]).max()
assert np.array_equal(found["one"], found["named"])
print(json.dumps({"blocks": [found["one_block"], found["two_block"]],
                  "shape": found["two"].shape, "difference": float(difference)}))
"""


@pytest.fixture(scope="module")
def result() -> dict:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_two_devices_share_the_work_in_blocks_of_constant_size(result: dict) -> None:
    assert result["blocks"] == [4, 8]
    assert result["shape"] == [11, 1280]


def test_two_devices_give_the_features_of_one(result: dict) -> None:
    assert result["difference"] < 1e-6
