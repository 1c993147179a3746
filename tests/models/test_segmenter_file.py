import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from histokeras.errors import FeatureError
from histokeras.files import sha256_bytes
from histokeras.models.catalog import require_backbone
from histokeras.models.heads import build_head
from histokeras.models.model_file import read_head, write_head
from histokeras.models.segmenter_file import (
    read_segmenter,
    read_segmenter_card,
    segmenter_card,
    write_segmenter,
)
from histokeras.models.segmenters import SegmenterSpec, build_segmenter
from histokeras.models.weights import find_weights
from tests.security.conftest import little_memory

SPEC = SegmenterSpec(network="deeplabv3+", backbone="mini", channels=8)


def card_of(spec: SegmenterSpec = SPEC, **more: Any) -> dict[str, Any]:
    known = {"positive": "necrosis", "mpp": 0.5, "crop_px": 256}
    origin = {"weights": "bundled", "weights_sha256": "0" * 64}
    return segmenter_card(spec, ("other", "necrosis"), **{**known, **origin, **more})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, keras.Model]:
    folder = tmp_path_factory.mktemp("run") / "segmenter"
    model = build_segmenter(SPEC, find_weights(require_backbone("mini")))
    write_segmenter(folder, model, {**card_of(), "epochs": 3})
    return folder, model


def test_a_segmenter_comes_back_as_it_was(written: tuple[Path, keras.Model]) -> None:
    folder, model = written

    again, card = read_segmenter(folder)

    assert read_segmenter_card(folder) == (SPEC, card)
    assert card["classes"] == ["other", "necrosis"]
    assert (card["positive"], card["mpp"], card["epochs"]) == ("necrosis", 0.5, 3)
    images = np.random.default_rng(0).uniform(0, 255, (1, 50, 33, 3)).astype(np.float32)
    np.testing.assert_array_equal(again(images), model(images))


def test_other_networks_come_back_from_another_process_too(tmp_path: Path) -> None:
    for spec in (
        SegmenterSpec(network="deeplabv3", backbone="resnet50", channels=4, output_stride=8),
        SegmenterSpec(network="deeplabv3", backbone="mobilenetv2", channels=4),
        SegmenterSpec(network="unet", backbone="", channels=2, n_inputs=1),
    ):
        model = build_segmenter(spec)
        folder = tmp_path / f"{spec.network}-{spec.backbone}"
        write_segmenter(folder, model, card_of(spec, positive=None, mpp=None))
        # Whoever reads it has made other layers before.
        again, _ = read_segmenter(folder)
        for found, wanted in zip(again.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"channels": 10**9}, "MODEL_DAMAGED", "`channels` must lie in"),
        ({"channels": "8"}, "MODEL_DAMAGED", "no segmenter of ours"),
        ({"n_classes": 10**9}, "MODEL_DAMAGED", "no segmenter of ours"),
        ({"n_inputs": 64}, "MODEL_DAMAGED", "`n_inputs` of DeepLab must be 3"),
        ({"n_inputs": True}, "MODEL_DAMAGED", "no segmenter of ours"),
        ({"network": "fcn"}, "MODEL_DAMAGED", "`network` must be one of"),
        ({"backbone": "../x"}, "MODEL_DAMAGED", "`backbone` of DeepLab must be one of"),
        ({"output_stride": 4}, "MODEL_DAMAGED", "`output_stride` must be one of"),
        ({"dropout": "much"}, "MODEL_DAMAGED", "no segmenter of ours"),
        ({"classes": ["a", "a"]}, "MODEL_DAMAGED", "no segmenter of ours"),
        ({"classes": ["a", {}]}, "MODEL_DAMAGED", "no segmenter of ours"),
        ({"positive": "tumour"}, "MODEL_DAMAGED", "no segmenter of ours"),
        ({"mpp": -1}, "MODEL_DAMAGED", "no segmenter of ours"),
        ({"crop_px": 0}, "MODEL_DAMAGED", "no segmenter of ours"),
        ({"weights": "/etc/secret.h5"}, "PATH_UNSAFE", "names weights by a path"),
        ({"version": 2}, "MODEL_VERSION", "has version 2"),
        ({"format": "keras"}, "MODEL_UNTRUSTED", "is not a model card"),
        ({"segmenter_sha256": "0" * 64}, "MODEL_DAMAGED", "is not the file that model.json names"),
        ({"channels": 9}, "MODEL_DAMAGED", "do not fit the segmenter"),
    ],
)
def test_cards_of_strangers_are_checked_before_a_network_is_built(
    change: dict[str, Any],
    code: str,
    message: str,
    written: tuple[Path, keras.Model],
    tmp_path: Path,
) -> None:
    card = json.loads((written[0] / "model.json").read_text(encoding="utf-8"))
    (tmp_path / "model.json").write_text(json.dumps({**card, **change}), encoding="utf-8")
    (tmp_path / "weights.safetensors").symlink_to(written[0] / "weights.safetensors")

    with pytest.raises(FeatureError, match=message) as caught, little_memory():
        read_segmenter(tmp_path)

    assert caught.value.code == code


def test_what_is_no_segmenter_is_refused(written: tuple[Path, keras.Model], tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"no model\.json in"):
        read_segmenter(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"PK\x03\x04")
    head = tmp_path / "head"
    card = {"head": "linear", "n_features": 4, "classes": ["a", "b"]}
    write_head(head, build_head("linear", 4, 2), card)
    with pytest.raises(FeatureError, match="not a model card of histokeras, of a segmenter"):
        read_segmenter(head)
    with pytest.raises(FeatureError, match="not a model card of histokeras, of a head"):
        read_head(written[0])
    lacking = {key: value for key, value in card_of().items() if key != "mpp"}
    with pytest.raises(FeatureError, match=r"lacks \['mpp'\]"):
        write_segmenter(tmp_path / "new", written[1], lacking)
    assert not (tmp_path / "new").exists()


def test_weights_of_a_segmenter_are_data_alone(
    written: tuple[Path, keras.Model], tmp_path: Path
) -> None:
    card = json.loads((written[0] / "model.json").read_text(encoding="utf-8"))
    for content in (b"", b"\xff" * 8 + b"{}", b"\x80\x04."):
        (tmp_path / "weights.safetensors").write_bytes(content)
        signed = {**card, "segmenter_sha256": sha256_bytes(content)}
        (tmp_path / "model.json").write_text(json.dumps(signed), encoding="utf-8")

        with pytest.raises(FeatureError, match="is damaged"):
            read_segmenter(tmp_path)
