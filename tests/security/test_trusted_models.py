"""What trust permits: weights out of a whole model, and nothing else. Cards of strangers' heads."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from histokeras.errors import FeatureError
from histokeras.files import sha256_bytes, sha256_file
from histokeras.models.backbones import build_backbone
from histokeras.models.catalog import require_backbone
from histokeras.models.h5_weights import require_plain_weights
from histokeras.models.heads import build_head
from histokeras.models.model_file import read_card, read_head, write_head
from histokeras.models.weights import find_weights
from histokeras.training.trained_run import open_run
from tests.security.conftest import little_memory, zipped

NETWORK = require_backbone("mobilenetv2")
SIDE_PX = 32


def _small(**_: Any) -> keras.Model:
    """A network that takes no time to build, in place of the real one."""
    image = keras.Input((SIDE_PX, SIDE_PX, 3))
    x = keras.layers.Conv2D(4, 3, name="stem")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D(name="pool")(x))


@pytest.fixture(scope="module")
def network() -> Iterator[keras.Model]:
    keras.utils.set_random_seed(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, NETWORK.builder, _small)
        yield _small()


def _with_payload(path: Path, canary: Path) -> None:
    """Put a description into a .keras file that would run code if Keras read it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    call = {"module": "os", "class_name": "mkdir", "config": {"path": str(canary)}}
    zipped(path, {**members, "config.json": json.dumps(call).encode()})


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_trust_takes_the_weights_and_reads_no_description(
    name: str, network: keras.Model, tmp_path: Path, canary: Path
) -> None:
    path = tmp_path / name
    network.save(path)
    if name.endswith(".keras"):
        _with_payload(path, canary)
    with pytest.raises(FeatureError, match="give --trust-model") as caught:
        find_weights(NETWORK, str(path))

    source = find_weights(NETWORK, str(path), trust=f"sha256:{sha256_file(path).upper()}")
    built = build_backbone(NETWORK, source, SIDE_PX)

    assert caught.value.code == "MODEL_UNTRUSTED"
    assert (source.kind, source.sha256) == ("file", sha256_file(path))
    for found, wanted in zip(built.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_trusted_model_of_another_network_does_not_fit(
    network: keras.Model, tmp_path: Path
) -> None:
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save(path)
    source = find_weights(NETWORK, str(path), trust=sha256_file(path))

    with pytest.raises(FeatureError, match="does not hold weights of mobilenetv2") as caught:
        build_backbone(NETWORK, source, SIDE_PX)

    assert caught.value.code == "WEIGHTS_UNFIT"


def test_weights_alone_need_no_trust_but_a_digest_given_must_hold(
    network: keras.Model, tmp_path: Path
) -> None:
    path = tmp_path / "x.weights.h5"
    network.save_weights(path)

    require_plain_weights(path)
    require_plain_weights(path, trust=sha256_file(path))
    with pytest.raises(FeatureError, match="its SHA-256 is"):
        require_plain_weights(path, trust="0" * 64)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"n_features": 10**12}, "MODEL_DAMAGED", "no head of ours"),
        ({"n_features": "4"}, "MODEL_DAMAGED", "no head of ours"),
        ({"classes": "ab"}, "MODEL_DAMAGED", "no head of ours"),
        ({"classes": ["a"] * 20_000}, "MODEL_DAMAGED", "no head of ours"),
        ({"classes": [{}]}, "MODEL_DAMAGED", "no head of ours"),
        ({"temperature": 0}, "MODEL_DAMAGED", "no head of ours"),
        ({"features": []}, None, ""),
        ({"features": {"weights": "/etc/secret.h5"}}, "PATH_UNSAFE", "names weights by a path"),
        ({"features": {"weights": "../../secret.h5"}}, "PATH_UNSAFE", "names weights by a path"),
        ({"features": {"weights": "~/models"}}, "PATH_UNSAFE", "names weights by a path"),
        ({"features": {"weights": "random:0"}}, None, ""),
        ({"format": "keras"}, "MODEL_UNTRUSTED", "is not a model card"),
        ({"head_sha256": "0" * 64}, "MODEL_DAMAGED", "is not the file that model.json names"),
    ],
)
def test_cards_of_strangers_are_checked_before_a_network_is_built(
    change: dict[str, Any], code: str | None, message: str, tmp_path: Path
) -> None:
    write_head(tmp_path, build_head("linear", 4, 2), CARD)
    card = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    (tmp_path / "model.json").write_text(json.dumps({**card, **change}), encoding="utf-8")
    if code is None:
        assert read_head(tmp_path)[1]["classes"] == ["a", "b"]
        return

    with pytest.raises(FeatureError, match=message) as caught, little_memory():
        read_head(tmp_path)

    assert caught.value.code == code


CARD = {"head": "linear", "n_features": 4, "classes": ["a", "b"], "features": {"weights": "file"}}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": "a", "format": "b"}', "\x00"])
def test_a_card_that_is_no_json_is_damaged(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(text, encoding="utf-8")

    with pytest.raises(FeatureError, match="is not JSON") as caught:
        read_card(tmp_path)

    assert caught.value.code == "MODEL_DAMAGED"


def test_weights_of_a_head_are_data_alone(tmp_path: Path, payload: bytes) -> None:
    write_head(tmp_path, build_head("linear", 4, 2), CARD)
    card = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    header = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    contents = (payload, len(header).to_bytes(8, "little") + header, b"\xff" * 8 + b"{}", b"")
    for content in contents:
        (tmp_path / "weights.safetensors").write_bytes(content)
        signed = {**card, "head_sha256": sha256_bytes(content)}
        (tmp_path / "model.json").write_text(json.dumps(signed), encoding="utf-8")

        with pytest.raises(FeatureError, match="is damaged") as caught, little_memory():
            read_head(tmp_path)

        assert caught.value.code == "MODEL_DAMAGED"


def test_a_saved_model_is_no_run(tmp_path: Path, payload: bytes) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "saved_model.pb").write_bytes(payload)

    with pytest.raises(FeatureError, match="run is a SavedModel folder") as caught:
        open_run(tmp_path / "run")

    assert caught.value.code == "MODEL_UNTRUSTED"


def test_a_run_whose_head_is_a_link_out_is_refused(tmp_path: Path) -> None:
    write_head(tmp_path / "elsewhere", build_head("linear", 4, 2), CARD)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "head").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(FeatureError, match="is a link out of run") as caught:
        open_run(tmp_path / "run")

    assert caught.value.code == "PATH_UNSAFE"
