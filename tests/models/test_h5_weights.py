from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from histokeras.errors import FeatureError
from histokeras.files import sha256_file
from histokeras.models.catalog import require_backbone
from histokeras.models.weights import find_weights

Make = Callable[[Path], None]


def external_link(path: Path) -> None:
    with h5py.File(path.with_name("secret.h5"), "w") as file:
        file["secret"] = np.ones(3)
    with h5py.File(path, "w") as file:
        file["group/inner"] = h5py.ExternalLink("secret.h5", "/secret")


def soft_link(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["kernel"] = np.ones(3)
        file["again"] = h5py.SoftLink("/kernel")


def external_storage(path: Path) -> None:
    path.with_name("secret.txt").write_bytes(b"a secret of this machine")
    with h5py.File(path, "w") as file:
        file.create_dataset("kernel", (24,), "u1", external=[("secret.txt", 0, 24)])


def virtual(path: Path) -> None:
    with h5py.File(path.with_name("secret.h5"), "w") as file:
        file["secret"] = np.ones(3)
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("secret.h5", "secret", (3,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("kernel", layout)


def giant(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("kernel", (2**40,), "f4", chunks=(2**20,))


def rubbish(path: Path) -> None:
    path.write_bytes(b"no HDF5 at all")


def whole_model(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (external_link, "H5_UNSAFE", "`inner` is a link to elsewhere"),
        (soft_link, "H5_UNSAFE", "`again` is a link to elsewhere"),
        (external_storage, "H5_UNSAFE", "`kernel` is stored elsewhere"),
        (virtual, "H5_UNSAFE", "`kernel` is stored elsewhere"),
        (giant, "H5_UNSAFE", "`kernel` declares"),
        (rubbish, "WEIGHTS_UNFIT", "does not open as HDF5"),
        (whole_model, "MODEL_UNTRUSTED", "holds a whole model"),
    ],
)
def test_hostile_weights_are_refused_before_they_are_read(
    make: Make, code: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.weights.h5"
    make(path)

    with pytest.raises(FeatureError, match=message) as caught:
        find_weights(require_backbone("mobilenetv2"), str(path))

    assert caught.value.code == code


def test_weights_of_keras_pass(tmp_path: Path) -> None:
    path = tmp_path / "x.weights.h5"
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(3)(inputs)).save_weights(path)

    assert find_weights(require_backbone("mobilenetv2"), str(path)).kind == "file"


def test_links_that_go_round_in_circles_end(tmp_path: Path) -> None:
    path = tmp_path / "x.weights.h5"
    with h5py.File(path, "w") as file:
        inner = file.create_group("a/b")
        inner["up"] = file["a"]
        file["a/kernel"] = np.ones(3)

    assert find_weights(require_backbone("mobilenetv2"), str(path)).path == path


def test_the_real_imagenet_weights_pass(real_data: Path) -> None:
    path = real_data / "weights" / "mobilenet_v2_imagenet_notop.weights.h5"

    assert find_weights(require_backbone("mobilenetv2"), str(path)).sha256 == sha256_file(path)
