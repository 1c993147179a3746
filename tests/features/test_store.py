import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from histokeras.errors import FeatureError
from histokeras.features.extras import TileExtras, tile_jpeg
from histokeras.features.seal import seal
from histokeras.features.store import (
    FeatureSet,
    arrays_sha256,
    count_tiles,
    feature_files,
    read_extras,
    read_features,
    read_floor_names,
    read_rows,
    write_features,
)
from histokeras.features.verify import verify_folder
from histokeras.tiles.texture import FLOOR_NAMES

OLD_DIGEST = "3670d7d9a8d4870690fda9065681c9e68b66ff783c6e83e7afd23f795299419f"


def made(n: int = 5, width: int = 3, *, tiles: bool = False) -> FeatureSet:
    vectors = np.arange(n * width, dtype=np.float32).reshape(n, width)
    table = pd.DataFrame({"slide_id": "s", "x": np.arange(n) * 299, "y": 0})
    if tiles:
        table = table.assign(x=-1, y=-1, tile=[f"a/ü{i}.png" for i in range(n)])
    provenance = {"slide_id": "s", "settings": {"backbone": "resnet50"}, "n_tiles": n}
    return FeatureSet(vectors, table, "resnet50", provenance, {"patch_size": 299})


def made_extras(n: int = 5, *, overview: bool = True) -> TileExtras:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 40, 40, 3), dtype=np.uint8)
    return TileExtras(
        rng.random((n, len(FLOOR_NAMES)), np.float32),
        rng.integers(0, 2**64, n, np.uint64),
        {row: tile_jpeg(images[row]) for row in range(1, n, 2)},
        tile_jpeg(images[0]) if overview else None,
    )


def with_extras(n: int = 5, *, overview: bool = True) -> FeatureSet:
    return dataclasses.replace(made(n), extras=made_extras(n, overview=overview))


@contextmanager
def forged(path: Path) -> Iterator[h5py.File]:
    """Change a file and seal it again, as somebody else could."""
    with h5py.File(path, "a") as file:
        yield file
    data = bytearray(path.read_bytes())
    seal(memoryview(data))
    path.write_bytes(data)


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

    with pytest.raises(FeatureError, match="does not match its SHA-256"):
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
    with pytest.raises(FeatureError, match=r"x\.h5 cannot be read"):
        read_features(tmp_path / "x.h5")


def test_rows_and_tiles_must_have_one_length() -> None:
    with pytest.raises(ValueError, match="2 vectors but 1 tiles"):
        FeatureSet(np.zeros((2, 3), "f4"), pd.DataFrame({"slide_id": ["s"]}), "x")


@pytest.mark.parametrize("overview", [True, False])
def test_extras_survive_writing(tmp_path: Path, overview: bool) -> None:
    features = with_extras(overview=overview)
    assert features.extras is not None

    digest = write_features(tmp_path / "s.h5", features)
    read = read_features(tmp_path / "s.h5")

    assert digest == arrays_sha256(read) != arrays_sha256(made())
    for found in (read.extras, read_extras(tmp_path / "s.h5")):
        assert found is not None
        np.testing.assert_array_equal(found.floor, features.extras.floor)
        np.testing.assert_array_equal(found.pixel_hash, features.extras.pixel_hash)
        assert (found.floor.dtype, found.pixel_hash.dtype) == (np.float32, np.uint64)
        assert found.pictures == features.extras.pictures
        assert list(found.pictures) == [1, 3]
        assert found.overview == features.extras.overview
        assert found.names == FLOOR_NAMES
    assert read_floor_names(tmp_path / "s.h5") == FLOOR_NAMES
    rows = read_rows(tmp_path / "s.h5", 1, 3, name="floor")
    np.testing.assert_array_equal(rows, features.extras.floor[1:3])
    assert read_features(tmp_path / "s.h5", vectors=False).extras is None


def test_the_same_extras_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write_features(tmp_path / name, with_extras())

    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_files_without_extras_have_the_digest_of_before(tmp_path: Path) -> None:
    # Computed with the release that knew no extras.
    assert write_features(tmp_path / "s.h5", made()) == OLD_DIGEST

    assert read_features(tmp_path / "s.h5").extras is None
    assert read_extras(tmp_path / "s.h5") is None
    assert read_floor_names(tmp_path / "s.h5") == ()
    with pytest.raises(FeatureError, match="has no `floor`"):
        read_rows(tmp_path / "s.h5", 0, 2, name="floor")


def test_a_foreign_dataset_called_floor_is_not_ours(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file["features"] = np.ones((2, 4), np.float32)
        file["floor"] = np.ones(7)

    assert read_features(tmp_path / "theirs.h5").extras is None
    assert read_extras(tmp_path / "theirs.h5") is None
    assert read_floor_names(tmp_path / "theirs.h5") == ()


@pytest.mark.parametrize("what", ["floor", "pixel_hash", "pictures", "overview", "picture_rows"])
def test_a_flipped_bit_of_the_extras_is_found(tmp_path: Path, what: str) -> None:
    (tmp_path / "features").mkdir()
    path = tmp_path / "features" / "s.h5"
    write_features(path, with_extras())
    with h5py.File(path) as file:
        position = file[what].id.get_offset() + (0 if what == "picture_rows" else 3)
    data = bytearray(path.read_bytes())
    data[position] ^= 2
    path.write_bytes(bytes(data))

    with pytest.raises(FeatureError) as caught:
        read_features(path)
    assert caught.value.code == "VERIFY_FAILED"
    assert [item.status for item in verify_folder(tmp_path)] == ["bad"]


@pytest.mark.parametrize("what", ["floor", "overview", "pictures"])
def test_extras_that_were_taken_out_are_missed(tmp_path: Path, what: str) -> None:
    write_features(tmp_path / "s.h5", with_extras())
    with forged(tmp_path / "s.h5") as file:
        del file[what]

    with pytest.raises(FeatureError) as caught:
        read_features(tmp_path / "s.h5")
    assert caught.value.code == "VERIFY_FAILED"


def test_another_name_of_a_number_is_damage(tmp_path: Path) -> None:
    write_features(tmp_path / "s.h5", with_extras())
    with forged(tmp_path / "s.h5") as file:
        file["floor"].attrs["names"] = json.dumps(FLOOR_NAMES[::-1])

    with pytest.raises(FeatureError, match="does not match its SHA-256"):
        read_features(tmp_path / "s.h5")


def replaced(name: str, value: np.ndarray) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def linked(file: h5py.File) -> None:
    del file["floor"]
    file["floor"] = h5py.ExternalLink("elsewhere.h5", "floor")


def huge(file: h5py.File) -> None:
    del file["pictures"]
    file.create_dataset("pictures", (10**12,), "u1", chunks=(10**6,))


def damage_names(file: h5py.File) -> None:
    file["floor"].attrs["names"] = "no list"


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (linked, "H5_UNSAFE", "s.h5 is not read: `floor` is a link"),
        (huge, "H5_UNSAFE", "`pictures` declares"),
        (damage_names, "VERIFY_FAILED", "`floor` in s.h5 does not fit"),
        (replaced("floor", np.zeros((4, 59), "f4")), "VERIFY_FAILED", "`floor`"),
        (replaced("floor", np.zeros((5, 59))), "VERIFY_FAILED", "`floor`"),
        (replaced("pixel_hash", np.zeros(4, "u8")), "VERIFY_FAILED", "`pixel_hash`"),
        (replaced("pixel_hash", np.zeros(6, "u8")), "H5_UNSAFE", "`pixel_hash`"),
        (replaced("pixel_hash", np.zeros(5, "i8")), "VERIFY_FAILED", "`pixel_hash`"),
        (replaced("picture_rows", np.array([3, 1])), "VERIFY_FAILED", "`pictures`"),
        (replaced("picture_rows", np.array([1, 5])), "VERIFY_FAILED", "`pictures`"),
        (replaced("picture_rows", np.arange(513)), "H5_UNSAFE", "`picture_rows`"),
        (replaced("picture_bytes", np.array([9, 9])), "VERIFY_FAILED", "`pictures`"),
        (replaced("picture_bytes", np.array([-5, 300_000])), "VERIFY_FAILED", "`pictures`"),
        (replaced("overview", np.zeros(200_001, "u1")), "H5_UNSAFE", "`overview`"),
    ],
)
def test_extras_of_another_kind_are_refused(
    tmp_path: Path, change: Callable[[h5py.File], None], code: str, text: str
) -> None:
    write_features(tmp_path / "s.h5", with_extras())
    with forged(tmp_path / "s.h5") as file:
        change(file)

    for read in (read_features, read_extras):
        with pytest.raises(FeatureError, match=text) as caught:
            read(tmp_path / "s.h5")
        assert caught.value.code == code


def test_a_floor_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    features = with_extras()
    assert features.extras is not None
    features.extras.floor[2, 1] = np.inf

    with pytest.raises(FeatureError, match="colour and texture of a tile are not finite"):
        write_features(tmp_path / "s.h5", features)
    assert list(tmp_path.iterdir()) == []


def test_extras_must_describe_the_same_tiles() -> None:
    with pytest.raises(ValueError, match=r"same 4 tiles\. Received: 5"):
        dataclasses.replace(made(4), extras=made_extras(5))
    with pytest.raises(ValueError, match="`floor` must be"):
        dataclasses.replace(made_extras(5), floor=np.zeros((5, 3), np.float32))
