import keras
import numpy as np
import pytest

from histokeras.errors import ConfigError
from histokeras.models.catalog import FREEZE, SEGMENTER_CHANNELS, SEGMENTERS, require_backbone
from histokeras.models.resampling import MirrorPad, Upsample
from histokeras.models.segmentation_loss import SegmentationLoss
from histokeras.models.segmenters import SegmenterSpec, build_segmenter, freeze
from histokeras.models.weights import WeightsSource, find_weights

BATCH_NORM = keras.layers.BatchNormalization


def spec_of(network: str, backbone: str = "mini", **more: object) -> SegmenterSpec:
    backbone = "" if network == "unet" else backbone
    return SegmenterSpec(network=network, backbone=backbone, **{"channels": 8, **more})


def weights_of(spec: SegmenterSpec, weights: str = "random:0") -> WeightsSource | None:
    return find_weights(require_backbone(spec.backbone), weights) if spec.backbone else None


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


# ResNet50 is 23 587 712 and MobileNetV2 up to its last bottleneck 1 843 264 numbers. V3 of n
# channels and width 256 adds (1 + 3 * 9 + 1) * 256 n + 1280 * 256 for the convolutions, 6 * 4 * 256
# for their normalisation, 256 * 2 + 2 for the logits.
V3 = {n: 29 * 256 * n + 1280 * 256 + 6 * 4 * 256 + 514 for n in (2048, 320)}
# V3+: three separable branches (9 n + 4 n before 256 n), the low-level map of m channels to 48, two
# separable convolutions of 304 and 256 channels to 256, each depthwise step normalised too.
V3_PLUS = {
    (n, m): (5 * n + 1280) * 256 + 3 * 13 * n + 6 * 4 * 256
    + m * 48 + 4 * 48 + 13 * (304 + 256) + 256 * (304 + 256) + 2 * 4 * 256 + 514
    for n, m in ((2048, 256), (320, 24))
}  # fmt: skip


@pytest.mark.parametrize(
    ("network", "backbone", "expected"),
    [
        ("deeplabv3", "resnet50", 23_587_712 + V3[2048]),
        ("deeplabv3", "mobilenetv2", 1_843_264 + V3[320]),
        ("deeplabv3+", "resnet50", 23_587_712 + V3_PLUS[2048, 256]),
        ("deeplabv3+", "mobilenetv2", 1_843_264 + V3_PLUS[320, 24]),
        ("unet", "", 7_768_962),
    ],
)
def test_networks_have_the_numbers_of_their_papers(
    network: str, backbone: str, expected: int
) -> None:
    spec = spec_of(network, backbone, channels=SEGMENTER_CHANNELS[network], norm="batch")
    model = build_segmenter(spec, None)

    assert model.count_params() == expected
    # BatchNormalization of the backbone is frozen, the segmenter's own is not.
    norms = [layer for layer in model.layers if isinstance(layer, BATCH_NORM)]
    assert norms
    assert all(layer.synchronized and layer.momentum == 0.9 for layer in norms)
    if spec.backbone:
        learns = [freeze(model, spec, depth, batch_norm=False) for depth in FREEZE]
        inner = [w for w in model.get_layer("backbone").layers if isinstance(w, BATCH_NORM)]
        assert learns == sorted(set(learns), reverse=True)
        assert learns[-1] == expected - model.get_layer("backbone").count_params() - sum(
            2 * layer.gamma.shape[0] for layer in norms
        )
        assert not any(layer.trainable for layer in inner)
        assert freeze(model, spec, "most", batch_norm=True) > learns[2]
        learning = [layer for layer in inner if layer.trainable]
        assert 0 < len(learning) < len(inner)
        assert all(layer.synchronized and layer.momentum == 0.9 for layer in learning)


@pytest.mark.parametrize(
    ("network", "moving"),
    # Two moving numbers a channel: of six layers of 256; of V3+ also of three depthwise steps of
    # 320, of the low level's 48, and of the decoder's two, each of depth and of point.
    [("deeplabv3", 2 * 6 * 256), ("deeplabv3+", 2 * (9 * 256 + 3 * 320 + 48 + 304))],
)
def test_deeplab_is_normalised_within_each_image_unless_asked(network: str, moving: int) -> None:
    of_batches, own = (
        build_segmenter(spec_of(network, "mobilenetv2", channels=256, norm=norm), None)
        for norm in ("batch", "")
    )

    assert of_batches.count_params() - own.count_params() == moving
    assert not any(isinstance(layer, BATCH_NORM) for layer in own.layers)
    groups = [x for x in own.layers if isinstance(x, keras.layers.GroupNormalization)]
    assert all(x.groups <= 32 and x.gamma.shape[0] // x.groups >= 8 for x in groups)
    assert spec_of("unet", "").norm == "batch"
    with pytest.raises(ConfigError, match="`norm` of unet must be batch"):
        spec_of("unet", "", norm="group")


@pytest.mark.parametrize("network", SEGMENTERS)
def test_every_pixel_gets_its_logits_whatever_the_size(network: str) -> None:
    for stride in (16,) if network == "unet" else (16, 8):
        spec = spec_of(network, output_stride=stride, n_classes=3)
        model = build_segmenter(spec, weights_of(spec))
        for height, width in ((224, 224), (256, 321), (321, 513), (7, 33)):
            found = model(pixels(1, height, width, 3), training=False)
            assert found.shape == (1, height, width, 3)
            assert found.dtype == "float32"
            assert np.isfinite(np.asarray(found)).all()
        if spec.backbone:
            # One cell on the first pixel, one on or beyond the last.
            features = keras.Model(model.input, model.get_layer("aspp_projection_relu").output)
            assert features(pixels(1, 128, 129, 3)).shape[1:3] == (128 // stride + 1,) * 2


@pytest.mark.parametrize("backbone", ["resnet50", "mobilenetv2"])
def test_real_backbones_segment_odd_sizes_at_both_strides(backbone: str) -> None:
    for stride in (8, 16):
        spec = spec_of("deeplabv3+", backbone, output_stride=stride)
        model = build_segmenter(spec, weights_of(spec))
        assert model(pixels(1, 65, 97, 3), training=False).shape == (1, 65, 97, 2)


@pytest.mark.parametrize(
    ("network", "n_inputs"), [("deeplabv3", 3), ("deeplabv3+", 3), ("unet", 1)]
)
def test_segmenters_learn_where_a_disc_is_and_come_back(
    network: str, n_inputs: int, tmp_path: object
) -> None:
    keras.utils.set_random_seed(0)
    spec = spec_of(network, n_inputs=n_inputs, output_stride=8)
    model = build_segmenter(spec, weights_of(spec, "bundled"))
    y, x = np.mgrid[:48, :48]
    middles = np.random.default_rng(0).integers(14, 34, (4, 2))
    truth = np.stack([(y - a) ** 2 + (x - b) ** 2 < 12**2 for a, b in middles]).astype("int32")
    images = np.where(truth[..., None] == 1, [90, 30, 120], [230, 180, 210])
    model.compile(keras.optimizers.Adam(5e-3), SegmentationLoss())

    history = model.fit(images, truth, batch_size=4, epochs=30, verbose=0).history["loss"]

    assert history[-1] < history[0] / 2
    logits = model.predict(images, verbose=0)
    predicted = logits.argmax(axis=-1)
    iou = np.sum(predicted & truth) / np.sum(predicted | truth)
    assert iou > 0.65
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").predict(images, verbose=0)
    np.testing.assert_array_equal(again, logits)


@pytest.mark.parametrize(
    ("network", "backbone", "stride"),
    [
        ("deeplabv3", "mobilenetv2", 16),
        ("deeplabv3+", "mobilenetv2", 8),
        ("deeplabv3+", "resnet50", 16),
        ("deeplabv3+", "mini", 16),
        ("deeplabv3", "mini", 8),
    ],
)
def test_logits_lie_on_the_pixels_that_they_speak_of(
    network: str, backbone: str, stride: int
) -> None:
    # What is normalised by fixed numbers is only added up.
    model = build_segmenter(spec_of(network, backbone, output_stride=stride, norm="batch"))
    for layer in model.layers + model.get_layer("backbone").layers:
        if hasattr(layer, "kernel"):
            _pass_the_middle(layer)
    model.get_layer("aspp_image_conv").kernel.assign(model.get_layer("aspp_image_conv").kernel * 0)
    x = np.broadcast_to(np.arange(100.0)[:, None] / 20_000, (100, 100))

    # Pooling takes the largest value, beside the middle: of both ramps together it is the middle.
    ramps = np.stack([x, x.T, 0.005 - x, 0.005 - x.T, np.full_like(x, 0.005)])[..., None]
    offset = [123.68, 116.779, 103.939] if backbone == "resnet50" else [127.5] * 3
    images = ramps * (1 if backbone == "resnet50" else 127.5) + np.array(offset)
    down, right, up, left, whole = np.asarray(model(images.astype(np.float32)))[..., 0]

    # The network takes samples and adds them up: the logits are where it looked.
    found = np.stack([(down - up) / whole, ((right - left) / whole).T]) * 50 + 50
    assert np.ptp(found, axis=2).max() < 0.1
    # Beyond the last pixel the mirror begins, and with it the way back; pooling's first cell has
    # nothing before it.
    inner = np.arange(stride if backbone == "resnet50" else 0, 100 - stride)
    expected = np.broadcast_to(inner[:, None], (2, len(inner), 100))
    np.testing.assert_allclose(found[:, inner], expected, atol=0.1)


def _pass_the_middle(layer: keras.layers.Layer) -> None:
    """Let a convolution pass on what lies in the middle of its kernel, and nothing else."""
    kernel = np.zeros(layer.kernel.shape, np.float32)
    rows, columns, n_inputs, _ = kernel.shape
    alone = isinstance(layer, keras.layers.DepthwiseConv2D)
    kernel[rows // 2, columns // 2] = 1 if alone else 1 / n_inputs
    layer.kernel.assign(kernel)


def test_a_grey_network_sees_how_bright_pixels_are_and_nothing_else() -> None:
    grey = build_segmenter(spec_of("unet", n_inputs=1))
    red = np.zeros((1, 16, 16, 3), np.float32)
    red[..., 0] = 200.0

    # BT.601: 0.299 * 200 is as bright as 59.8 of each.
    as_bright = np.full_like(red, 59.8)

    seen = keras.Model(grey.input, grey.get_layer("luminance").output)(red)
    assert seen.shape == (1, 16, 16, 1)
    np.testing.assert_allclose(np.asarray(seen), 59.8, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(grey(red)), np.asarray(grey(as_bright)), atol=1e-5)
    colour = build_segmenter(spec_of("unet"))
    # 3 x 3 x 8 weights a colour: two colours less.
    assert colour.count_params() - grey.count_params() == 2 * 72
    assert np.abs(np.asarray(colour(red)) - np.asarray(colour(as_bright))).max() > 1e-3


def test_upsampling_puts_cells_where_they_lie() -> None:
    cells = np.arange(5, dtype=np.float32)
    x = (16 * cells - 3)[None, :, None, None] * np.ones((1, 1, 3, 1), np.float32)

    found = np.asarray(Upsample(16, -3)(x, np.zeros((1, 60, 33, 7))))

    # A ramp of places stays one: no half cell of shift, and the last value beyond the end.
    assert found.shape == (1, 60, 33, 1)
    expected = np.broadcast_to(np.minimum(np.arange(60), 61)[:, None], (60, 33))
    np.testing.assert_allclose(found[0, :, :, 0], expected, atol=1e-4)
    even = np.asarray(Upsample(4, 0)(x[:, ::-1], np.zeros((1, 17, 9, 1))))
    np.testing.assert_allclose(
        even, np.asarray(Upsample(4, 0)(x, np.zeros((1, 17, 9, 1))))[:, ::-1]
    )


def test_images_go_on_beyond_their_edges_as_in_a_mirror() -> None:
    row = np.arange(3, dtype=np.float32)[None, None, :, None]

    found = MirrorPad(8, 5, 2)(np.repeat(row, 20, axis=1))

    assert found.shape == (1, 32, 16, 1)
    expected = [1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1]
    np.testing.assert_array_equal(np.asarray(found)[0, 9, :, 0], expected)
    assert MirrorPad(8, 5, 2).compute_output_shape((None, 20, None, 1)) == (None, 32, None, 1)


def test_half_precision_ends_in_whole_logits() -> None:
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        for network in SEGMENTERS:
            spec = spec_of(network)
            found = build_segmenter(spec, weights_of(spec))(pixels(1, 40, 33, 3))
            assert found.dtype == "float32"
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


def test_impossible_segmenters_are_refused() -> None:
    for arguments, message in (
        ({"backbone": "inceptionv3"}, "one of mobilenetv2, resnet50, mini. Received.*inceptionv3"),
        ({"network": "fcn"}, r"`network` must be one of deeplabv3, deeplabv3\+, unet"),
        ({"network": "unet"}, "`backbone` of unet must be ''"),
        ({"n_inputs": 1}, "`n_inputs` of DeepLab must be 3"),
        ({"output_stride": 32}, "one of 8, 16"),
        ({"n_classes": 256}, r"`n_classes` must lie in 2\.\.255"),
        ({"channels": 0}, "`channels`"),
        ({"dropout": 1.0}, "`dropout`"),
    ):
        with pytest.raises(ConfigError, match=message):
            SegmenterSpec(**arguments)
    unet = spec_of("unet")
    with pytest.raises(ConfigError, match="unet has none"):
        build_segmenter(unet, weights_of(spec_of("deeplabv3")))
    with pytest.raises(ConfigError, match="`freeze` of unet must be none"):
        freeze(build_segmenter(unet), unet, "half", batch_norm=False)
