"""Choose the devices that compute: the CPU, one GPU, or several under MirroredStrategy."""

import contextlib
import functools
from typing import Any

import tensorflow as tf

from histokeras.errors import ConfigError


def choose_strategy(gpus: str = "all") -> tf.distribute.Strategy:
    """Return the distribution strategy for the devices that were asked for.

    Args:
        gpus: ``all``, ``cpu`` or numbers such as ``0`` or ``0,1``.

    Returns:
        The default strategy for a CPU, a ``OneDeviceStrategy`` for one GPU, a ``MirroredStrategy``
        for several.

    Raises:
        ConfigError: If a GPU is asked for that is not here.
    """
    present = tf.config.list_physical_devices("GPU")
    for device in present:
        # Without this TensorFlow takes all memory of every GPU at once.
        # In a notebook that has used the GPU already, it stays as it was set up.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(device, True)
    numbers = gpu_numbers(gpus)
    if not numbers:
        return tf.distribute.OneDeviceStrategy("/cpu:0") if present else _default()
    if len(numbers) == 1:
        return tf.distribute.OneDeviceStrategy(f"/gpu:{numbers[0]}")
    return mirrored(*(f"GPU:{number}" for number in numbers))


@functools.cache
def mirrored(*devices: str) -> tf.distribute.Strategy:
    """Return the ``MirroredStrategy`` over ``devices``, such as ``"GPU:0", "GPU:1"``.

    One for the whole process: a second one over the same devices counts its collective operations
    from the start again, and trips over those of the first (TensorFlow 2.21).
    """
    return tf.distribute.MirroredStrategy(list(devices))


def _default() -> tf.distribute.Strategy:
    return tf.distribute.get_strategy()


def gpu_numbers(gpus: str) -> list[int]:
    """Return the numbers of the GPUs that were asked for, [] for the CPU.

    Args:
        gpus: ``all``, ``cpu`` or numbers such as ``0`` or ``0,1``.

    Raises:
        ConfigError: If a GPU is asked for that is not here.
    """
    n_present = len(tf.config.list_physical_devices("GPU"))
    if gpus == "cpu":
        return []
    if gpus == "all":
        return list(range(n_present))
    parts = [part.strip() for part in gpus.split(",")]
    if not all(part.isdigit() for part in parts):
        raise ConfigError(
            f"`gpus` is all, cpu or numbers such as 0,1. Received: gpus={gpus!r}", code="GPUS"
        )
    numbers = sorted({int(part) for part in parts})
    if numbers[-1] >= n_present:
        raise ConfigError(
            f"`gpus` names GPU {numbers[-1]}, but TensorFlow sees {n_present} GPU(s) here, "
            "numbered from 0. `histokeras doctor` lists them.",
            code="GPUS",
        )
    return numbers


def describe_devices(strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """Return what run.json keeps of the devices: their kind, names and number of replicas."""
    gpus = tf.config.list_physical_devices("GPU")
    names = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus
    ]
    return {
        "strategy": type(strategy).__name__,
        "replicas": int(strategy.num_replicas_in_sync),
        "gpus_visible": names,
        "intra_op_threads": int(tf.config.threading.get_intra_op_parallelism_threads()),
    }
