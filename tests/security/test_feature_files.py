"""Feature files of strangers, and those of CLAM, TRIDENT and STAMP that are read as they are."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from histokeras.errors import FeatureError
from histokeras.features.known import empty_path, feature_path, manifest_path
from histokeras.features.store import count_tiles, read_features, read_rows
from histokeras.features.verify import verify_folder
from tests.security.conftest import SECRET, little_memory

Make = Callable[[h5py.File], None]
VECTORS = np.arange(12, dtype="f4").reshape(3, 4)


def soft(file: h5py.File) -> None:
    file["real"] = VECTORS
    file["features"] = h5py.SoftLink("/real")


def external(file: h5py.File) -> None:
    file["features"] = h5py.ExternalLink("secret.h5", "/secret")


def nested(file: h5py.File) -> None:
    file["features"] = VECTORS
    file["a/b/c"] = h5py.ExternalLink("secret.h5", "/secret")


def stored_elsewhere(file: h5py.File) -> None:
    file.create_dataset("features", (2, 3), "f4", external=[("secret.txt", 0, 24)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "secret", (3, 4))
    file.create_virtual_dataset("features", layout)


def giant(file: h5py.File) -> None:
    file.create_dataset("features", (2**27, 2**13), "f4", chunks=(256, 1024))


def giant_beside(file: h5py.File) -> None:
    file["features"] = VECTORS
    file.create_dataset("coords", (2**40, 2), "i8", chunks=(1024, 2))


def many_large(file: h5py.File) -> None:
    file["features"] = VECTORS
    for number in range(5):
        file.create_dataset(f"x{number}", (2**22,), "f4", chunks=(1024,))


def chunk_bomb(file: h5py.File) -> None:
    file.create_dataset("features", data=np.zeros((2**15, 2**10), "f4"), compression="gzip",
                        chunks=(2**15, 2**10), compression_opts=9)  # fmt: skip


def large_chunk(file: h5py.File) -> None:
    whole = (2**15, 2**10)
    made = file.create_dataset("features", (1, 4), "f4", maxshape=(None, None), chunks=whole,
                               compression="gzip")  # fmt: skip
    made[:] = 1


def foreign_filter(file: h5py.File) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((3, 4))
    plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((3, 4))
    h5py.h5d.create(file.id, b"features", h5py.h5t.IEEE_F32LE, space, plist)


def texts_for_numbers(file: h5py.File) -> None:
    file.create_dataset("features", data=[["a", "b"]], dtype=h5py.string_dtype())


def references(file: h5py.File) -> None:
    file["real"] = VECTORS
    file.create_dataset("features", data=np.array([[file["real"].ref]], h5py.ref_dtype))


def compound(file: h5py.File) -> None:
    file["features"] = np.zeros((3, 4), [("a", "f4"), ("b", "i4")])


def three_axes(file: h5py.File) -> None:
    file["features"] = np.zeros((3, 4, 5), "f4")


def a_group(file: h5py.File) -> None:
    file["features/inner"] = VECTORS


def attribute_of_texts(file: h5py.File) -> None:
    file["features"] = VECTORS
    texts = ["x" * 2000] * 1000
    file["features"].attrs.create("encoder", texts, dtype=h5py.string_dtype())


def coords_of_texts(file: h5py.File) -> None:
    file["features"] = VECTORS
    file.create_dataset("coords", data=[["a", "b"]] * 3, dtype=h5py.string_dtype())


def endless_coords(file: h5py.File) -> None:
    file["features"], file["coords"] = VECTORS, np.array([[0, np.inf], [1, 2], [3, np.nan]])


def names_of_numbers(file: h5py.File) -> None:
    file["features"], file["tile"] = VECTORS, np.arange(3)


def names_not_utf8(file: h5py.File) -> None:
    file["features"], file["tile"] = VECTORS, np.array([b"\xff\xfe", b"b", b"c"])


def record(text: str) -> Make:
    def make(file: h5py.File) -> None:
        file["features"] = VECTORS
        file.attrs["histokeras"] = text

    return make


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (soft, "H5_UNSAFE", "`features` is a link to elsewhere"),
        (external, "H5_UNSAFE", "`features` is a link to elsewhere"),
        (nested, "H5_UNSAFE", "`c` is a link to elsewhere"),
        (stored_elsewhere, "H5_UNSAFE", "`features` is stored elsewhere"),
        (virtual, "H5_UNSAFE", "`features` is stored elsewhere"),
        (giant, "H5_UNSAFE", "`features` declares 4,398,046,511,104 bytes"),
        (giant_beside, "H5_UNSAFE", "`coords` declares"),
        (many_large, "H5_UNSAFE", "it declares 83,886,128 bytes"),
        (chunk_bomb, "H5_UNSAFE", "`features` declares 134,217,728 bytes"),
        (large_chunk, "H5_UNSAFE", "`features` declares 134,217,728 bytes"),
        (foreign_filter, "H5_UNSAFE", "needs the filter 32015"),
        (attribute_of_texts, "H5_UNSAFE", "an attribute of 1,000 texts"),
        (texts_for_numbers, "VERIFY_FAILED", "must be 2-dimensional float32"),
        (references, "VERIFY_FAILED", "must be 2-dimensional float32"),
        (compound, "VERIFY_FAILED", "must be 2-dimensional float32"),
        (three_axes, "VERIFY_FAILED", "must be 2-dimensional float32"),
        (a_group, "VERIFY_FAILED", "`features` in s.h5 is no dataset"),
        (coords_of_texts, "VERIFY_FAILED", "are no pixels"),
        (endless_coords, "VERIFY_FAILED", "are no pixels"),
        (names_of_numbers, "VERIFY_FAILED", "must be 3 texts"),
        (names_not_utf8, "VERIFY_FAILED", "is not UTF-8"),
        (record("[" * 100_000), "VERIFY_FAILED", "nested more than 64 deep"),
        (record('{"schema": 1, "schema": 1}'), "VERIFY_FAILED", "stands twice"),
        (record('{"schema": 1, "n_tiles": NaN}'), "VERIFY_FAILED", "NaN is no number"),
        (record(f'{{"schema": {"9" * 5000}}}'), "VERIFY_FAILED", "damaged record"),
        (record('{"schema": 1, "slide_id": ["a"]}'), "VERIFY_FAILED", "names no slide"),
        (record('{"schema": 1, "slide_id": "\\ud800"}'), "VERIFY_FAILED", "damaged record"),
    ],
)
def test_hostile_feature_files_are_refused(
    make: Make, code: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_bytes(SECRET)
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["secret"] = VECTORS
    path = tmp_path / "s.h5"
    with h5py.File(path, "w", libver="latest") as file:
        make(file)

    with pytest.raises(FeatureError, match=message) as caught, little_memory():
        read_features(path)

    assert caught.value.code == code
    assert SECRET.decode() not in str(caught.value)


@pytest.mark.parametrize("make", [external, stored_elsewhere, giant])
def test_no_way_of_reading_goes_round_the_guard(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        make(file)

    for read in (count_tiles, lambda p: read_rows(p, 0, 1)):
        with pytest.raises(FeatureError) as caught:
            read(path)
        assert caught.value.code == "H5_UNSAFE"
    checked = verify_folder(tmp_path)
    assert checked[0].status == "bad"
    assert checked[0].reason.startswith("H5_UNSAFE")


def test_a_file_cut_off_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        file["features"] = np.ones((500, 40), "f4")
    content = path.read_bytes()
    for length in (0, 7, 100, 900, 2048, len(content) - 1):
        path.write_bytes(content[:length])

        with pytest.raises(FeatureError, match=r"s\.h5") as caught:
            read_features(path)

        assert caught.value.code == "VERIFY_FAILED"


def test_groups_that_hold_themselves_do_no_harm(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["features"] = VECTORS
        inner = file.create_group("a/b")
        inner["up"], inner["root"] = file["a"], file["/"]

    np.testing.assert_array_equal(read_features(tmp_path / "s.h5").vectors, VECTORS)


HOSTILE_IDS = ("../../evil", "/etc/passwd", "..", ".", "a/../../b", "C:\\evil", "\x1b[2J", "a\nb",
               "-rf", "a\0b", "x" * 5000, "\u202etxt.exe")  # fmt: skip


@pytest.mark.parametrize("slide_id", HOSTILE_IDS)
def test_no_name_leads_out_of_the_output_folder(slide_id: str, tmp_path: Path) -> None:
    for place in (feature_path, manifest_path, empty_path):
        path = place(tmp_path, slide_id)

        assert path.resolve().parent.parent == tmp_path.resolve()
        assert path.name.isprintable()
        assert len(path.name) < 255


def clam(file: h5py.File) -> None:
    file.create_dataset("features", data=VECTORS, chunks=(32, 4), maxshape=(None, 4))
    file.create_dataset("coords", data=np.array([[0, 256], [256, 0], [512, 512]], "i4"),
                        chunks=(32, 2), maxshape=(None, 2))  # fmt: skip
    file["coords"].attrs.update({"patch_size": 256, "patch_level": 0, "name": "S1",
                                 "level_dim": np.array([900, 900]), "save_path": "/x"})  # fmt: skip


def trident(file: h5py.File) -> None:
    file.create_dataset("features", data=VECTORS, chunks=(1, 4), maxshape=(None, 4))
    file["features"].attrs.update({"name": "S1", "savetodir": "/x", "encoder": "uni_v1"})
    file["coords"] = np.array([[0, 256], [256, 0], [512, 512]], "i8")
    file["coords"].attrs.update({"patch_size": 256, "patch_size_level0": 512, "overlap": 0})


def stamp(file: h5py.File) -> None:
    file["feats"] = VECTORS.astype("f2")
    file["coords"] = np.array([[0, 256.0], [256, 0], [512, 512]], "f4")
    file.attrs.update({"stamp_version": "2.5.0", "extractor": "ctranspath", "unit": "um",
                       "tile_size_um": 256.0, "feat_type": "tile"})  # fmt: skip


@pytest.mark.parametrize(
    ("make", "backbone", "first"),
    [(clam, "unknown", [0, 256]), (trident, "uni_v1", [0, 256]), (stamp, "ctranspath", [-1, -1])],
)
def test_files_of_other_tools_are_read_and_called_unverified(
    make: Make, backbone: str, first: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "S1.h5"
    with h5py.File(path, "w") as file:
        make(file)

    features = read_features(path)

    np.testing.assert_array_equal(features.vectors.astype("f4"), VECTORS)
    assert (features.backbone, features.slide_id) == (backbone, "S1")
    assert features.tiles[["x", "y"]].iloc[0].tolist() == first
    assert count_tiles(path) == (3, 4)
    np.testing.assert_array_equal(read_rows(path, 1, 2), VECTORS[1:2])
    assert [item.status for item in verify_folder(tmp_path)] == ["unverified"]


def test_a_notebook_shows_foreign_names_as_text(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "<b>.h5", "w") as file:
        file["features"] = VECTORS
        file["features"].attrs["encoder"] = "<script>alert(1)</script>"

    shown = read_features(tmp_path / "<b>.h5")._repr_html_()

    assert "&lt;script&gt;" in shown
    assert "<script" not in shown
    assert "<b>.h5" not in shown
