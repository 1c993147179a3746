from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from histokeras.errors import FeatureError
from histokeras.features.store import (
    FeatureSet,
    arrays_sha256,
    count_tiles,
    feature_files,
    read_features,
    read_rows,
    write_features,
)
from histokeras.features.verify import verify_folder


def made(n: int = 5, width: int = 3, *, tiles: bool = False) -> FeatureSet:
    vectors = np.arange(n * width, dtype=np.float32).reshape(n, width)
    table = pd.DataFrame({"slide_id": "s", "x": np.arange(n) * 299, "y": 0})
    if tiles:
        table = table.assign(x=-1, y=-1, tile=[f"a/ü{i}.png" for i in range(n)])
    provenance = {"slide_id": "s", "settings": {"backbone": "resnet50"}, "n_tiles": n}
    return FeatureSet(vectors, table, "resnet50", provenance, {"patch_size": 299})


@pytest.mark.parametrize("tiles", [False, True])
def test_features_survive_writing(tmp_path: Path, tiles: bool) -> None:
    features = made(tiles=tiles)

    digest = write_features(tmp_path / "s.h5", features)
    found = read_features(tmp_path / "s.h5")

    assert digest == arrays_sha256(features) == arrays_sha256(found)
    np.testing.assert_array_equal(found.vectors, features.vectors)
    pd.testing.assert_frame_equal(found.tiles, features.tiles, check_dtype=False)
    assert found.settings == {"backbone": "resnet50"}
    assert found.slide_id == "s"
    assert repr(found) == "FeatureSet('s': 5 tiles x 3 features, resnet50)"
    assert count_tiles(tmp_path / "s.h5") == (5, 3)
    np.testing.assert_array_equal(read_rows(tmp_path / "s.h5", 1, 3), features.vectors[1:3])


def test_the_same_features_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write_features(tmp_path / name, made())

    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_the_layout_is_that_of_trident_and_clam(tmp_path: Path) -> None:
    write_features(tmp_path / "s.h5", made(300))

    with h5py.File(tmp_path / "s.h5") as file:
        assert file["features"].dtype == np.float32
        assert file["features"].shape == (300, 3)
        assert file["features"].chunks == (256, 3)
        assert file["coords"].dtype == np.int64
        assert file["coords"].shape == (300, 2)
        assert file["coords"].attrs["patch_size"] == 299
        assert {"histokeras", "sha256"} <= set(file.attrs)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    path = tmp_path / "features" / "s.h5"
    write_features(path, made(40, 8))
    data = bytearray(path.read_bytes())
    position = data.find(np.float32(100).tobytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))

    with pytest.raises(FeatureError, match="do not match its SHA-256"):
        read_features(path)
    assert [item.status for item in verify_folder(tmp_path)] == ["bad"]


def test_values_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    features = made()
    features.vectors[2, 1] = np.nan

    with pytest.raises(FeatureError, match="not finite"):
        write_features(tmp_path / "s.h5", features)
    assert list(tmp_path.iterdir()) == []


def test_foreign_files_are_read_and_called_unverified(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file["features"] = np.ones((2, 4), np.float32)
        file["coords"] = np.array([[0, 0], [256, 0]], np.int32)
        file["features"].attrs["encoder"] = "uni"

    features = read_features(tmp_path / "theirs.h5")

    assert features.backbone == "uni"
    assert features.slide_id == "theirs"
    assert features.settings == {"backbone": "uni"}
    assert features.tiles["x"].tolist() == [0, 256]
    assert [item.status for item in verify_folder(tmp_path)] == ["unverified"]


def test_files_that_reach_outside_themselves_are_refused(tmp_path: Path) -> None:
    write_features(tmp_path / "real.h5", made())
    with h5py.File(tmp_path / "soft.h5", "w") as file:
        file["features"] = h5py.ExternalLink(str(tmp_path / "real.h5"), "features")
    (tmp_path / "raw.bin").write_bytes(b"\0" * 64)
    with h5py.File(tmp_path / "external.h5", "w") as file:
        raw = [(str(tmp_path / "raw.bin"), 0, 64)]
        file.create_dataset("features", (4, 4), "f4", external=raw)
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("features", (4_000_000, 8000), "f4", chunks=(1, 8000))

    for name, text in (("soft", "a link"), ("external", "stored elsewhere"), ("huge", "declares")):
        with pytest.raises(FeatureError, match=text) as caught:
            read_features(tmp_path / f"{name}.h5")
        assert caught.value.code == "H5_UNSAFE"


@pytest.mark.parametrize(
    ("name", "array", "text"),
    [
        ("features", np.zeros((2, 3, 4), "f4"), "must be 2-dimensional"),
        ("features", np.zeros((2, 3), "i4"), "float32 or float16"),
        ("other", np.zeros((2, 3), "f4"), "has no `features`"),
    ],
)
def test_files_of_another_kind_are_refused(
    tmp_path: Path, name: str, array: np.ndarray, text: str
) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file[name] = array

    with pytest.raises(FeatureError, match=text):
        read_features(tmp_path / "x.h5")


def test_a_file_that_is_no_hdf5_and_a_folder_without_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="no feature files"):
        feature_files(tmp_path)
    (tmp_path / "x.h5").write_bytes(b"half a file")
    with pytest.raises(FeatureError, match=r"x\.h5 does not open"):
        read_features(tmp_path / "x.h5")


def test_rows_and_tiles_must_have_one_length() -> None:
    with pytest.raises(ValueError, match="2 vectors but 1 tiles"):
        FeatureSet(np.zeros((2, 3), "f4"), pd.DataFrame({"slide_id": ["s"]}), "x")
