"""Segmenters on two logical CPU devices; they must be set up before TensorFlow starts."""

import json
import subprocess
import sys

SCRIPT = """
import json
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras
from histokeras.models.catalog import require_backbone
from histokeras.models.devices import mirrored
from histokeras.models.segmentation_loss import SegmentationLoss
from histokeras.models.segmenters import SegmenterSpec, build_segmenter, freeze
from histokeras.models.weights import find_weights

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (8, 32, 32, 3)).astype(np.float32)
truth = rng.choice([0, 1, 255], (8, 32, 32), p=[0.6, 0.3, 0.1]).astype(np.int32)
# Images that are unlike one another, one of them without a label.
images[::2] /= 4
truth[2] = 255
# Neither dropout nor a batch that cannot be halved: both would make the devices differ.
spec = SegmenterSpec(backbone="mini", channels=8, dropout=0.0, output_stride=8)
weights = find_weights(require_backbone("mini"))


def norms(model):
    layers = model.layers + model.get_layer("backbone").layers
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


def train(strategy, synchronized):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = build_segmenter(spec, weights)
        freeze(model, spec, "none", batch_norm=True)
        for layer in norms(model):
            layer.synchronized = synchronized
        model.compile(keras.optimizers.SGD(0.02, momentum=0.9), SegmentationLoss(focal_gamma=1.0))
    losses = model.fit(images, truth, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    return losses["loss"], model.get_weights()


found = {}
one, weights_of_one = train(tf.distribute.get_strategy(), True)
for synchronized in (True, False):
    two, weights_of_two = train(mirrored("CPU:0", "CPU:1"), synchronized)
    moved = [np.abs(a - b).max() for a, b in zip(weights_of_one, weights_of_two)]
    found[str(synchronized)] = {"loss": float(np.abs(np.subtract(one, two)).max()),
                                "weights": float(max(moved))}
print(json.dumps({**found, "fell": one[-1] - one[0]}))
"""


def test_two_devices_learn_as_one_does_but_not_with_plain_normalization() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])

    assert found["fell"] < -0.01
    assert found["True"]["loss"] < 1e-4
    assert found["False"]["loss"] > 1e-3
