"""Models of strangers: pickles, whole models, archives. None of these tests needs TensorFlow."""

import io
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from histokeras.cli.main import main
from histokeras.errors import ConfigError, FeatureError, HistokerasError
from histokeras.features.store import read_features
from histokeras.files import sha256_file
from histokeras.models.catalog import require_backbone
from histokeras.models.weights import find_weights
from tests.security.conftest import little_memory, zipped

Make = Callable[[Path, bytes], Path]


def _plain(name: str) -> Make:
    def make(folder: Path, payload: bytes) -> Path:
        (folder / name).write_bytes(payload)
        return folder / name

    return make


def _torch(folder: Path, payload: bytes) -> Path:
    return zipped(folder / "model.pt", {"archive/data.pkl": payload})


def _joblib(folder: Path, payload: bytes) -> Path:
    (folder / "model.dat").write_bytes(zlib.compress(payload))
    return folder / "model.dat"


def _saved_model(folder: Path, payload: bytes) -> Path:
    (folder / "model").mkdir()
    (folder / "model" / "saved_model.pb").write_bytes(payload)
    return folder / "model"


def _objects(name: str) -> Make:
    def make(folder: Path, payload: bytes) -> Path:
        buffer = io.BytesIO()
        np.save(buffer, np.array([{}], object), allow_pickle=True)
        content = buffer.getvalue().replace(pickle.dumps(np.array([{}], object)), b"") + payload
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _npz(folder: Path, payload: bytes) -> Path:
    member = _objects("arr_0.npy")(folder, payload).read_bytes()
    return zipped(folder / "features.npz", {"arr_0.npy": member})


def _keras(folder: Path, payload: bytes) -> Path:
    config = b'{"class_name": "Lambda", "module": "os", "config": {}}'
    return zipped(folder / "model.keras", {"config.json": config, "model.weights.h5": payload})


def _whole_h5(folder: Path, payload: bytes) -> Path:
    with h5py.File(folder / "model.h5", "w") as file:
        file.attrs["model_config"] = '{"class_name": "Lambda"}'
        file.attrs["payload"] = np.frombuffer(payload, "u1")
    return folder / "model.h5"


FOREIGN: list[tuple[Make, str]] = [
    (_plain("model.pkl"), "MODEL_UNTRUSTED"),
    (_plain("model.joblib"), "MODEL_UNTRUSTED"),
    (_plain("model.pth"), "MODEL_UNTRUSTED"),
    (_plain("disguised.h5"), "MODEL_UNTRUSTED"),
    (_torch, "MODEL_UNTRUSTED"),
    (_joblib, "MODEL_UNTRUSTED"),
    (_saved_model, "MODEL_UNTRUSTED"),
    (_keras, "MODEL_UNTRUSTED"),
    (_whole_h5, "MODEL_UNTRUSTED"),
    (_objects("features.npy"), "NPZ_PICKLE"),
    (_npz, "NPZ_PICKLE"),
]


def test_the_payload_runs_where_a_pickle_is_loaded(tmp_path: Path, payload: bytes) -> None:
    pickle.loads(payload)

    (tmp_path / "canary").rmdir()  # raises if loading did not make it


@pytest.mark.parametrize(("make", "code"), FOREIGN)
def test_a_foreign_model_is_no_weights(
    make: Make, code: str, tmp_path: Path, payload: bytes
) -> None:
    path = make(tmp_path, payload)

    with pytest.raises(HistokerasError, match="weights alone") as caught:
        find_weights(require_backbone("mobilenetv2"), str(path))

    assert caught.value.code == code
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("make", [_plain("model.pkl"), _torch, _joblib, _saved_model])
def test_what_holds_code_is_refused_even_if_trusted(
    make: Make, tmp_path: Path, payload: bytes
) -> None:
    path = make(tmp_path, payload)
    digest = sha256_file(path) if path.is_file() else "0" * 64

    with pytest.raises(FeatureError, match="does not load it") as caught:
        find_weights(require_backbone("mobilenetv2"), str(path), trust=digest)

    assert caught.value.code == "MODEL_UNTRUSTED"


@pytest.mark.parametrize(("make", "code"), [FOREIGN[0], FOREIGN[4], FOREIGN[10]])
def test_a_foreign_model_is_no_feature_file_and_no_run(
    make: Make, code: str, tmp_path: Path, payload: bytes
) -> None:
    path = make(tmp_path, payload)

    with pytest.raises(FeatureError) as caught:
        read_features(path)
    result = CliRunner().invoke(main, ["predict", str(path), "slides/", "-o", str(tmp_path / "o")])

    assert caught.value.code == code
    assert result.exit_code == 3, result.output
    assert result.output.startswith(f"Error: {path.name} is ")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("make", [_keras, _whole_h5])
def test_a_wrong_digest_is_an_error_that_tells_the_right_one(
    make: Make, tmp_path: Path, payload: bytes
) -> None:
    path, network = make(tmp_path, payload), require_backbone("mobilenetv2")

    with pytest.raises(FeatureError, match=f"its SHA-256 is {sha256_file(path)}") as caught:
        find_weights(network, str(path), trust="0" * 64)
    with pytest.raises(ConfigError, match="64 digits"):
        find_weights(network, str(path), trust="yes")
    with pytest.raises(ConfigError, match="a whole model given as a file"):
        find_weights(network, "random:0", trust="0" * 64)

    assert caught.value.code == "MODEL_UNTRUSTED"


WEIGHTS = "model.weights.h5"
ARCHIVES: list[tuple[dict[str, bytes], str, str, str]] = [
    ({"../../canary": b"x", WEIGHTS: b""}, "", "ARCHIVE_UNSAFE", "lies outside"),
    ({"/tmp/canary": b"x", WEIGHTS: b""}, "", "ARCHIVE_UNSAFE", "lies outside"),
    ({"a\\..\\..\\canary": b"x", WEIGHTS: b""}, "", "ARCHIVE_UNSAFE", "lies outside"),
    ({"C:/canary": b"x", WEIGHTS: b""}, "", "ARCHIVE_UNSAFE", "lies outside"),
    ({WEIGHTS: b"/etc/passwd"}, WEIGHTS, "ARCHIVE_UNSAFE", "is a link"),
    ({WEIGHTS: bytes(60_000_000)}, "", "ARCHIVE_UNSAFE", "inflates"),
    ({f"{number}": b"" for number in range(10_001)}, "", "ARCHIVE_UNSAFE", "10,001 members"),
    ({WEIGHTS: b"", "assets/vocabulary.txt": b"/etc/passwd"}, "", "WEIGHTS_UNFIT", "also 'assets/"),
    ({"config.json": b"{}"}, "", "WEIGHTS_UNFIT", "no model.weights.h5"),
    ({WEIGHTS: b"no HDF5"}, "", "WEIGHTS_UNFIT", "does not open as HDF5"),
]


@pytest.mark.parametrize(("members", "link", "code", "message"), ARCHIVES)
def test_trusted_archives_are_looked_at_all_the_same(
    members: dict[str, bytes], link: str, code: str, message: str, tmp_path: Path, canary: Path
) -> None:
    path = zipped(tmp_path / "model.keras", members, link=link)

    with pytest.raises(FeatureError, match=message) as caught, little_memory():
        find_weights(require_backbone("mobilenetv2"), str(path), trust=sha256_file(path))

    assert caught.value.code == code


def test_an_archive_cannot_declare_more_than_its_limit(tmp_path: Path) -> None:
    path = zipped(tmp_path / "model.keras", {WEIGHTS: b"x" * 100})
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 20 : at + 28] = (2**30).to_bytes(4, "little") + (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(content)

    with pytest.raises(FeatureError, match="4,294,967,294 bytes") as caught, little_memory():
        find_weights(require_backbone("mobilenetv2"), str(path), trust=sha256_file(path))

    assert caught.value.code == "ARCHIVE_UNSAFE"


def test_an_hdf5_in_an_archive_is_looked_at_too(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["kernel"] = h5py.ExternalLink("/etc/secret.h5", "/kernel")
    path = zipped(tmp_path / "model.keras", {WEIGHTS: buffer.getvalue()})

    with pytest.raises(FeatureError, match="`kernel` is a link to elsewhere") as caught:
        find_weights(require_backbone("mobilenetv2"), str(path), trust=sha256_file(path))

    assert caught.value.code == "H5_UNSAFE"
