"""Feature files that were damaged, or do not fit the run: found before they are used.

Tested elsewhere in this form: values that are not finite are not written (FEATURES_NOT_FINITE,
tests/features/test_store.py); files made otherwise in one output folder (row 34, CONFIG_MISMATCH,
tests/features/test_extract.py).
"""

import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from histokeras.analysis.collect import class_numbers
from histokeras.cli.main import main
from histokeras.errors import FeatureError, TableError
from histokeras.features.store import read_features
from histokeras.features.verify import verify_folder
from histokeras.slides.synthetic import write_slide
from histokeras.training.trained_run import TrainedRun, require_fitting
from histokeras.training.vectors import Rows, open_vectors

SETTINGS = {"backbone": "resnet50", "weights": "file", "weights_sha256": "ab" * 32,
            "tile_mpp": 0.5, "preprocessing": "caffe"}  # fmt: skip


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def feats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of one slide, by the real command."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "slides").mkdir()
    write_slide(folder / "slides/a.tiff", seed=0, size_px=(448, 448), downsamples=(2,))
    assert extract(folder).exit_code == 0
    return folder / "feats"


def extract(folder: Path) -> Result:
    return call("extract-features", folder / "slides", "-o", folder / "feats",
                "--backbone", "stain-texture", "--tile-px", 96)  # fmt: skip


def flipped(data: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


def test_a_flipped_bit_anywhere_in_a_feature_file_is_found(feats: Path) -> None:
    path = feats / "features/a.h5"
    data, rng = path.read_bytes(), random.Random(33)
    # The seal with its padding, HDF5's own tables, gaps, arrays: anywhere.
    places = [*range(0, 640, 40), *(rng.randrange(len(data)) for _ in range(200))]
    try:
        for position in places:
            path.write_bytes(flipped(data, position, rng.randrange(8)))
            found = [(item.status, item.reason[:13]) for item in verify_folder(feats)]
            assert found == [("bad", "VERIFY_FAILED")], position
    finally:
        path.write_bytes(data)
    assert [item.status for item in verify_folder(feats)] == ["ok"]


@pytest.mark.parametrize("place", [70, 520, 0.3, 0.9])
def test_a_damaged_file_is_reported_and_computed_anew(feats: Path, place: float) -> None:
    path = feats / "features/a.h5"
    data = path.read_bytes()
    path.write_bytes(flipped(data, int(place if place >= 1 else place * len(data)), 2))

    verified = call("verify", feats)
    again = extract(feats.parent)

    assert verified.exit_code == 4
    assert "bad  a.h5  VERIFY_FAILED: a.h5 is damaged" in verified.stdout
    assert again.exit_code == 0
    assert "a: computed anew, a.h5 is damaged" in again.stderr
    assert path.read_bytes() == data


@pytest.mark.parametrize("damage", [b"kept\n\xff\xfe\n", b"no,such,column\n1,2,3\n"])
def test_a_damaged_manifest_is_no_crash(feats: Path, damage: bytes) -> None:
    path = feats / "tiles/a.csv"
    data = path.read_bytes()
    path.write_bytes(damage)

    result = call("verify", feats)

    path.write_bytes(data)
    assert result.exit_code == 4
    assert "bad  a.h5  MANIFEST_DAMAGED" in result.stdout


def test_an_older_file_without_seal_is_read(feats: Path, tmp_path: Path) -> None:
    data = (feats / "features/a.h5").read_bytes()
    with h5py.File(feats / "features/a.h5") as new, h5py.File(tmp_path / "a.h5", "w") as old:
        for name in new:
            new.copy(name, old)
        for name, value in new.attrs.items():
            old.attrs[name] = value

    assert not (tmp_path / "a.h5").read_bytes().startswith(data[:9])
    assert len(read_features(tmp_path / "a.h5")) == len(read_features(feats / "features/a.h5"))


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"backbone": "inceptionv3"}, "DIM_MISMATCH", "backbone inceptionv3 (wanted resnet50)"),
        ({"weights_sha256": "cd" * 32}, "DIM_MISMATCH", "weights_sha256 cdcd"),
        ({"tile_mpp": 1.0}, "MPP_MISMATCH", "tile_mpp 1.0 (wanted 0.5)"),
        ({"preprocessing": "torch"}, "CONFIG_MISMATCH", "preprocessing torch (wanted caffe)"),
    ],
)
def test_features_of_equal_length_but_another_origin_are_refused(
    change: dict[str, Any], code: str, message: str
) -> None:
    run = TrainedRun(Path("run"), {"features": SETTINGS}, (), ())

    with pytest.raises(FeatureError) as caught:
        require_fitting(run, {**SETTINGS, **change}, where="these features were")

    assert caught.value.code == code
    assert message in caught.value.message
    assert caught.value.exit_code == 3


def test_labels_of_other_classes_are_refused() -> None:
    with pytest.raises(TableError, match=r"\['c'\] are none of the classes \['a', 'b'\]") as caught:
        class_numbers(np.array(["a", "c"], object), ("a", "b"))

    assert caught.value.code == "CLASS_MISMATCH"


def test_foreign_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["features"] = np.array([[1, np.nan], [1, 2]], np.float32)

    with pytest.raises(FeatureError, match=r"s\.h5 holds values that are not finite") as caught:
        open_vectors([Rows(tmp_path / "s.h5", np.arange(2))], 2, memory_gb=1)

    assert caught.value.code == "FEATURES_NOT_FINITE"
