"""``histokeras doctor``."""

import shutil
from pathlib import Path
from typing import Any

import click

from histokeras.cli import options
from histokeras.models import quiet

_KERAS_FLOOR = (3, 15, 1)


@click.command()
@options.as_json
def doctor(as_json: bool) -> None:
    """Check this installation: versions, devices, OpenSlide, weights cache, free disk.

    Example: histokeras doctor
    """
    import json

    report, problems = _examine()
    if as_json:
        click.echo(json.dumps({**report, "problems": problems}, indent=2))
    else:
        for title, content in report.items():
            click.echo(f"{title}")
            for name, value in content.items():
                click.echo(f"  {name:<22} {value}")
        for problem in problems:
            click.echo(f"! {problem}", err=True)
        click.echo(
            "No problems found." if not problems else f"{len(problems)} thing(s) to look at."
        )


def _examine() -> tuple[dict[str, dict[str, Any]], list[str]]:
    from histokeras.models.catalog import APPLICATIONS
    from histokeras.models.weights import cache_folder
    from histokeras.runs.environment import hardware, versions
    from histokeras.slides.reader import openslide_version

    problems: list[str] = []
    devices = _devices(problems)
    cache = cache_folder()
    weights = {
        name: "in the cache"
        if (cache / backbone.weights_file).is_file()
        else f"not here (download of {backbone.weights_mb} MB on first use)"
        for name, backbone in APPLICATIONS.items()
    }
    disk = shutil.disk_usage(Path.cwd())
    report: dict[str, dict[str, Any]] = {
        "Versions": {**versions(), "OpenSlide library": openslide_version()},
        "Hardware": {key: _text(value) for key, value in hardware().items()},
        "Devices": devices,
        "ImageNet weights": {"folder": str(cache), **weights},
        "Disk here": {"free": f"{disk.free / 1e9:.1f} GB of {disk.total / 1e9:.1f} GB"},
    }
    if disk.free < 5e9:
        problems.append("Less than 5 GB of disk are free here.")
    keras_version = versions().get("keras", "0")
    if tuple(int(part) for part in keras_version.split(".")[:3]) < _KERAS_FLOOR:
        problems.append(
            f"Keras {keras_version} has known security faults in loading foreign models, mended "
            "in later versions; histokeras itself does not load such files."
        )
    return report, problems


def _devices(problems: list[str]) -> dict[str, str]:
    quiet.import_tensorflow()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    found = {
        gpu.name: str(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU"))
        for gpu in gpus
    }
    if not gpus and shutil.which("nvidia-smi"):
        problems.append(
            "This machine has an NVIDIA driver, but TensorFlow sees no GPU: "
            'pip install "tensorflow[and-cuda]".'
        )
    return found or {"CPU": "no GPU is visible to TensorFlow"}


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
