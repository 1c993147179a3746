import http.server
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.applications.efficientnet import WEIGHTS_HASHES

from histokeras.errors import ConfigError, FeatureError, MissingError
from histokeras.features.engine import KerasEngine, open_engine
from histokeras.models import weights as weights_module
from histokeras.models.backbones import build_backbone, preprocess
from histokeras.models.catalog import APPLICATIONS, Application, require_backbone
from histokeras.models.devices import choose_strategy
from histokeras.models.weights import find_weights
from histokeras.tiles.texture import FLOOR_NAMES, stain_texture

VERSION_1 = [0.498236, 0.2388, 0.00295, 0.280996]
"""Some numbers of ``stain-texture:1`` for one image."""


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)


def direct(backbone: Application, images: np.ndarray, seed: int) -> np.ndarray:
    """The same features by ``keras.applications`` alone."""
    keras.utils.set_random_seed(seed)
    build = getattr(keras.applications, backbone.builder)
    model = build(include_top=False, weights=None, pooling="avg", input_shape=(96, 96, 3))
    module = getattr(keras.applications, backbone.module)
    return model.predict(module.preprocess_input(images.astype("float32")), verbose=0)


@pytest.mark.parametrize("name", ["inceptionv3", "mobilenetv2"])
def test_engine_equals_keras_applications(name: str, images: np.ndarray) -> None:
    backbone = require_backbone(name)
    engine = KerasEngine(backbone, find_weights(backbone, "random:0"), 96, compute_batch=4)

    features = engine.finish(engine.start(images))

    expected = direct(backbone, images, 0)
    assert features.dtype == np.float32
    assert features.shape == (3, backbone.n_features)
    assert np.abs(features - expected).max() < 1e-5 * np.abs(expected).max()


def test_features_do_not_depend_on_company_in_the_batch(images: np.ndarray) -> None:
    backbone = require_backbone("mobilenetv2")
    engine = KerasEngine(backbone, find_weights(backbone, "random:1"), 96, compute_batch=4)

    together = engine.finish(engine.start(images))
    again = engine.finish(engine.start(images))
    first = engine.finish(engine.start(images[:1]))

    np.testing.assert_array_equal(together, again)
    np.testing.assert_array_equal(together[:1], first)


def test_efficientnet_gets_raw_pixels_and_resnet_bgr() -> None:
    white = np.full((1, 2, 2, 3), 255.0, np.float32)

    assert np.asarray(preprocess(APPLICATIONS["efficientnetb0"], white.copy())).max() == 255
    assert np.asarray(preprocess(APPLICATIONS["inceptionv3"], white.copy())).max() == 1
    np.testing.assert_allclose(
        np.asarray(preprocess(APPLICATIONS["resnet50"], white.copy()))[0, 0, 0],
        255 - np.array([103.939, 116.779, 123.68]),
        rtol=1e-6,
    )


@pytest.mark.parametrize("name", ["efficientnetb0", "efficientnetb3"])
def test_an_efficientnet_rescales_raw_pixels_once(name: str) -> None:
    backbone = APPLICATIONS[name]
    network = build_backbone(backbone, find_weights(backbone, "random:0"), 64)
    first = next(item for item in network.layers if isinstance(item, keras.layers.Rescaling))
    ramp = np.linspace(0, 255, 64 * 64 * 3, dtype=np.float32).reshape(1, 64, 64, 3)

    rescaled = np.asarray(keras.Model(network.input, first.output)(preprocess(backbone, ramp)))

    # Rescaled before, as is often done, it would be 0.004.
    assert np.ptp(rescaled) == pytest.approx(1.0, abs=1e-5)
    assert network.output_shape == (None, backbone.n_features)
    assert network.get_layer(backbone.top_layer) is not None
    assert backbone.weights_md5 == WEIGHTS_HASHES[name[-2:]][1]


def test_efficientnet_imagenet_files_given_as_a_path_are_normalised_as_keras_does(
    tmp_path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras.utils.set_random_seed(3)
    model = keras.applications.EfficientNetB0(
        include_top=False, weights=None, pooling="avg", input_shape=(96, 96, 3)
    )
    layer = next(item for item in model.layers if isinstance(item, keras.layers.Normalization))
    layer.adapt_mean.assign([0.485, 0.456, 0.406])
    layer.adapt_variance.assign([0.229, 0.224, 0.225])
    path = tmp_path / "efficientnetb0_notop.h5"
    model.save_weights(tmp_path / "e.weights.h5")
    (tmp_path / "e.weights.h5").rename(path.with_suffix(".weights.h5"))
    path = path.with_suffix(".weights.h5")
    # Keras' own way for weights="imagenet", fed from our file instead of the network.
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *a, **k: str(path))
    theirs = keras.applications.EfficientNetB0(
        include_top=False, weights="imagenet", pooling="avg", input_shape=(96, 96, 3)
    )
    backbone = require_backbone("efficientnetb0")

    ours = build_backbone(backbone, find_weights(backbone, str(path)), 96)

    pixels = images.astype("float32")
    expected = theirs.predict(pixels, verbose=0)
    np.testing.assert_allclose(
        ours.predict(pixels, verbose=0), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
    )
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        mixed = build_backbone(backbone, find_weights(backbone, str(path)), 96)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    layer = next(item for item in mixed.layers if isinstance(item, keras.layers.Normalization))
    variance = np.ravel(np.asarray(layer.variance, np.float32))
    np.testing.assert_allclose(variance, np.square([0.229, 0.224, 0.225]), rtol=1e-3)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    small = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    small.save_weights(tmp_path / "other.weights.h5")
    backbone = require_backbone("mobilenetv2")
    source = find_weights(backbone, str(tmp_path / "other.weights.h5"))

    with pytest.raises(FeatureError, match="does not hold weights of mobilenetv2"):
        build_backbone(backbone, source, 96)


def test_tiles_too_small_for_a_network_are_refused() -> None:
    backbone = require_backbone("inceptionv3")

    with pytest.raises(ConfigError, match="at least 75 px"):
        build_backbone(backbone, find_weights(backbone, "random:0"), 64)


@pytest.mark.parametrize("weights", ["random:", "random:-1", "random:x", "random:4294967296"])
def test_random_weights_need_a_seed(weights: str) -> None:
    with pytest.raises(ConfigError, match="need a seed"):
        find_weights(require_backbone("resnet50"), weights)


def test_a_weights_path_that_names_nothing_or_a_whole_model_is_refused(tmp_path: Path) -> None:
    backbone = require_backbone("resnet50")
    (tmp_path / "model.keras").write_bytes(b"PK")

    with pytest.raises(MissingError, match="names no file"):
        find_weights(backbone, str(tmp_path / "none.h5"))
    with pytest.raises(FeatureError, match="holds a whole model") as caught:
        find_weights(backbone, str(tmp_path / "model.keras"))
    assert caught.value.code == "MODEL_UNTRUSTED"


def test_imagenet_without_a_cache_says_size_place_and_three_remedies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    backbone = APPLICATIONS["inceptionv3"]

    with pytest.raises(MissingError) as caught:
        find_weights(backbone, "imagenet", download=False)

    text = str(caught.value)
    assert caught.value.exit_code == 5
    for part in ("88 MB", backbone.weights_url, str(tmp_path), "(1)", "(2)", "(3)", "random:0"):
        assert part in text


class _Files(http.server.BaseHTTPRequestHandler):
    content = b"weights" * 1000

    def do_GET(self) -> None:
        if "missing" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        short = "cut" in self.path
        self.wfile.write(self.content[: 100 if short else None])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> str:
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def made_backbone(url: str, md5: str | None) -> Application:
    known = APPLICATIONS["resnet50"].__dict__
    return Application(**{**known, "weights_url": url, "weights_md5": md5})


def test_imagenet_weights_are_downloaded_once(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    backbone = made_backbone(f"{server}/w.h5", "8d1aa1a8dc5dbf4ee7fa98b8bf14b1a8")

    with pytest.raises(MissingError, match="damaged"):
        find_weights(backbone, "imagenet")
    assert list((tmp_path / "models").iterdir()) == []

    backbone = made_backbone(f"{server}/w.h5", None)
    source = find_weights(backbone, "imagenet")
    assert source.path is not None
    assert source.path.read_bytes() == _Files.content
    monkeypatch.setattr(weights_module, "_download", None)
    assert find_weights(backbone, "imagenet") == source


@pytest.mark.parametrize(("name", "reason"), [("missing.h5", "404"), ("cut.h5", "broke off")])
def test_a_failed_download_leaves_nothing(
    name: str, reason: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    with pytest.raises(MissingError, match=reason):
        find_weights(made_backbone(f"{server}/{name}", None), "imagenet")
    assert list((tmp_path / "models").iterdir()) == []


def test_gpus_that_are_not_here_are_refused() -> None:
    with pytest.raises(ConfigError, match="names GPU 7"):
        choose_strategy("7")
    with pytest.raises(ConfigError, match="all, cpu or numbers"):
        choose_strategy("two")


def test_unknown_backbones_are_refused() -> None:
    with pytest.raises(ConfigError, match="must be one of inceptionv3"):
        require_backbone("vgg")


def test_weights_that_fill_only_a_part_are_refused(tmp_path: Path) -> None:
    # Keras itself only warns here and leaves the rest random.
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(96, 96, 3))
    part = keras.Model(model.input, model.get_layer("block_2_add").output)
    part.save_weights(tmp_path / "part.weights.h5")
    backbone = require_backbone("mobilenetv2")

    with pytest.raises(FeatureError, match="does not hold weights of mobilenetv2"):
        build_backbone(backbone, find_weights(backbone, str(tmp_path / "part.weights.h5")), 96)


def test_stain_texture_has_no_weights() -> None:
    backbone = require_backbone("stain-texture")

    source = find_weights(backbone)

    assert (source.kind, source.label, source.path) == ("none", "none", None)
    assert source.sha256 == "stain-texture:1"
    assert backbone.n_features == len(FLOOR_NAMES)
    for given in ("imagenet", "random:0", "some.h5"):
        with pytest.raises(ConfigError, match="stain-texture has no weights"):
            find_weights(backbone, given)


def test_stain_texture_engine_gives_the_numbers_of_each_tile(images: np.ndarray) -> None:
    backbone = require_backbone("stain-texture")
    engine = open_engine(backbone, find_weights(backbone), 96)

    features = engine.finish(engine.start(images))

    assert features.shape == (3, engine.n_features)
    np.testing.assert_array_equal(features[1], stain_texture(images[1]))
    with pytest.raises(ConfigError, match="float32 alone"):
        open_engine(backbone, find_weights(backbone), 96, precision="mixed_float16")
    with pytest.raises(ConfigError, match="at least 32 px"):
        open_engine(backbone, find_weights(backbone), 16)


def test_the_version_of_stain_texture_counts_its_changes() -> None:
    # Other numbers of the same tile need another version in the catalog, or old features would be
    # taken for new ones.
    image = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)

    assert stain_texture(image)[[0, 7, 30, 58]] == pytest.approx(VERSION_1, rel=1e-4)


def test_mini_comes_with_the_package(images: np.ndarray) -> None:
    backbone = require_backbone("mini")
    source = find_weights(backbone)

    engine = open_engine(backbone, source, 96, compute_batch=2)
    features = np.concatenate(
        [engine.finish(engine.start(part)) for part in (images[:2], images[2:])]
    )

    assert (source.kind, source.label) == ("bundled", "bundled")
    assert len(source.sha256) == 64
    assert features.shape == (3, backbone.n_features)
    untrained = open_engine(backbone, find_weights(backbone, "random:0"), 96, compute_batch=2)
    assert not np.allclose(untrained.finish(untrained.start(images[:2])), features[:2])
    with pytest.raises(ConfigError, match="no ImageNet weights of mini"):
        find_weights(backbone, "imagenet")
    with pytest.raises(ConfigError, match="no weights of resnet50 come with the package"):
        find_weights(require_backbone("resnet50"), "bundled")
