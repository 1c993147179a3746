"""Training a segmenter on two logical CPU devices; set up before TensorFlow starts."""

import json
import subprocess
import sys

import numpy as np

SCRIPT = """
import json
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from histokeras.errors import ConfigError
from histokeras.models.devices import choose_strategy, mirrored
from histokeras.models.segmenters import SegmenterSpec
from histokeras.training.loop import FitConfig
from histokeras.training.segmentation import fit_segmenter
from histokeras.training.segmentation_config import SegmenterConfig
from tests.training.blobs import ArrayPair, paint_blobs, side_of

spec = SegmenterSpec(network="unet", backbone="", channels=4, dropout=0.0)
side = side_of([ArrayPair(*paint_blobs(seed, 64)) for seed in range(5)])
found = {}
for name, strategy in (("one", choose_strategy("cpu")), ("two", mirrored("CPU:0", "CPU:1"))):
    for batch in (4, 3):
        if name == "one" and batch == 3:
            continue
        fit = FitConfig(epochs=1, batch_size=batch, learning_rate=1e-3)
        config = SegmenterConfig(crop_px=64, steps_per_epoch=2, augmentation="none", fit=fit)
        try:
            trained = fit_segmenter(
                spec, None, side, side, 1, config, strategy=strategy, workers=2
            )
            columns = ["loss", "val_loss", "val_iou"]
            found[f"{name} {batch}"] = trained.history[columns].to_numpy().tolist()
        except ConfigError as error:
            found[f"{name} {batch}"] = error.message
print("FOUND", json.dumps(found))
"""


def test_two_devices_learn_as_one_does_with_the_same_batch() -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr[-2000:]
    found = json.loads(result.stdout.split("FOUND ")[1])
    # Without dropout and augmentation; BatchNormalization takes its statistics over both. What Adam
    # makes of the last bits shows on val.
    one, two = np.array(found["one 4"]), np.array(found["two 4"])
    np.testing.assert_allclose(two[0, 0], one[0, 0], atol=1e-4)
    np.testing.assert_allclose(two, one, atol=2e-3)
    assert found["two 3"].endswith("3 cannot be shared equally among 2.")
