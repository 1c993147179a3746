import keras
import numpy as np
import pytest
from scipy import ndimage

from histokeras.errors import ConfigError
from histokeras.tiles import windows as module
from histokeras.tiles.windows import Windows, segment_bands, segment_image, windows_of
from histokeras.training.windows import predictor

SMALL = Windows(size_px=128, overlap_px=64, batch_size=2)


def _image(height, width, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]


def _unet():
    """Three poolings, so that a shift of its grid would show."""
    layers = keras.layers
    keras.utils.set_random_seed(1)
    image = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 127.5, -1)(image)
    skips = []
    for width in (4, 6, 8):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(12, 3, padding="same", activation="relu")(x)
    for width, skip in zip((8, 6, 4), skips[::-1], strict=True):
        x = layers.Conv2DTranspose(width, 2, 2)(x)
        x = layers.Concatenate()([x, skip])
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
    return keras.Model(image, layers.Conv2D(3, 1, kernel_initializer="he_normal")(x))


def _whole(model, image):
    return predictor(model, 1)(image[None])[0]


def _threshold(images):
    """Redness as a probability, pixel by pixel: what has no context has no seams."""
    share = images[..., 0].astype(np.float32) / 255
    return np.stack([1 - share, share], axis=-1)


def test_windows_of_a_unet_give_the_numbers_of_the_whole_image():
    model, image = _unet(), _image(320, 448)
    whole = _whole(model, image)
    tiled = segment_image(
        predictor(model, 2), image, 3, Windows(size_px=192, overlap_px=96, batch_size=2)
    )
    assert whole.std() > 0.02
    np.testing.assert_allclose(tiled, whole, atol=1e-3)
    # The radius is needed: with a margin of 12 px the network sees padding beyond the windows.
    narrow = Windows(size_px=192, overlap_px=32, batch_size=2)
    assert np.abs(segment_image(predictor(model, 2), image, 3, narrow) - whole).max() > 1e-3


@pytest.mark.parametrize("size", [(1, 1), (31, 700), (128, 128), (130, 257), (320, 95)])
def test_each_pixel_of_an_image_of_any_size_gets_its_own_number(size):
    image = _image(*size)
    found = segment_image(_threshold, image, 2, SMALL)
    np.testing.assert_allclose(found[..., 1], image[..., 0] / 255, atol=1e-6)


def test_batches_have_one_shape_and_an_image_smaller_than_a_window_is_mirrored():
    seen = []

    def predict(images):
        seen.append(images)
        return _threshold(images)

    image = _image(40, 70)
    segment_image(predict, image, 2, SMALL)
    assert [images.shape for images in seen] == [(1, 64, 96, 3)]
    np.testing.assert_array_equal(seen[0][0, :40, :70], image)
    np.testing.assert_array_equal(seen[0][0, 40, :70], image[39])
    np.testing.assert_array_equal(seen[0][0, :40, 72], image[:, 67])
    seen.clear()
    segment_image(predict, _image(300, 300), 2, SMALL)
    assert {images.shape[1:] for images in seen} == {(128, 128, 3)}


def test_neighbours_cross_over_smoothly():
    # Each window says its own number; 192 px are two windows, which overlap from 64 to 128.
    numbers = iter([0.0, 1.0])

    def predict(images):
        value = np.concatenate([np.full((1, 128, 32, 1), next(numbers)) for _ in images])
        return np.concatenate([1 - value, value], axis=-1).astype(np.float32).repeat(4, axis=2)

    found = segment_image(predict, _image(128, 192), 2, SMALL)[0, :, 1]
    assert (found[: 64 + 24] == 0).all()
    assert (found[128 - 24 :] == 1).all()
    middle = np.sin(np.pi / 2 * (np.arange(16) + 0.5) / 16) ** 2
    np.testing.assert_allclose(found[88:104], middle, atol=1e-6)


def test_wide_outputs_are_made_in_sections_of_the_same_numbers(monkeypatch):
    model, image = _unet(), _image(200, 500)
    predict = predictor(model, 2)
    whole = segment_image(predict, image, 3, SMALL)
    monkeypatch.setattr(module, "_MOST_BYTES", 128 * 16 * 150)

    def read(x, y, width, height):
        return image[y : y + height, x : x + width]

    bands = list(segment_bands(predict, read, (500, 200), 3, SMALL))
    assert len({band.left for band in bands}) > 2
    assert all(band.covered.all() and len(band.covered) <= 128 for band in bands)
    assert sum(band.covered.size for band in bands) == 200 * 500
    found = np.full_like(whole, np.nan)
    for band in bands:
        rows, columns = band.covered.shape
        found[band.top : band.top + rows, band.left : band.left + columns] = band.probabilities
    np.testing.assert_allclose(found, whole, atol=1e-6)


def test_windows_without_interest_are_not_read_and_change_no_pixel_of_interest():
    model, image = _unet(), _image(400, 384)
    interest = np.zeros(image.shape[:2], bool)
    interest[150:180, 60:80] = interest[20:40, 300:330] = True
    reads = []

    def read(x, y, width, height):
        reads.append((x, y))
        return image[y : y + height, x : x + width]

    def wanted(x, y, width, height):
        return bool(interest[y : y + height, x : x + width].any())

    predict = predictor(model, 2)
    whole = segment_image(predict, image, 3, SMALL)
    found, covered = np.zeros_like(whole), np.zeros_like(interest)
    for band in segment_bands(predict, read, (384, 400), 3, SMALL, wanted=wanted):
        rows = slice(band.top, band.top + len(band.covered))
        found[rows], covered[rows] = band.probabilities, band.covered
    assert covered[interest].all()
    assert not covered.all()
    assert len(reads) < 5 * 6 / 2
    np.testing.assert_allclose(found[interest], whole[interest], atol=1e-6)
    assert (found[~covered] == 0).all()


def test_windows_that_see_their_own_context_leave_no_step_where_they_meet():
    """A network that pools its whole window, as DeepLab does, says other numbers in the next."""
    rng = np.random.default_rng(2)
    image = ndimage.gaussian_filter(rng.normal(size=(256, 1024)), 4, mode="wrap")
    image = (128 + 400 * image + 30 * np.sin(np.arange(1024) / 150)).clip(0, 255).astype(np.uint8)
    image = image[..., None].repeat(3, axis=-1)

    def predict(images):
        light = images[..., 0].astype(np.float32)
        context = light.mean(axis=(1, 2), keepdims=True)
        share = 1 / (1 + np.exp(-(light - 128) / 20 - (context - 128) / 10))
        return np.stack([1 - share, share], axis=-1)

    def step(windows):
        found = segment_image(predict, image, 2, windows)[..., 1]
        across = np.abs(np.diff(found, axis=1))
        seams = np.zeros(across.shape[1], bool)
        for start in range(windows.size_px - windows.overlap_px, 1024 - windows.size_px, 160):
            first = start + windows.margin_px
            seams[first - 1 : first + windows.ramp_px] = True
        return across[:, seams].mean() / across[:, ~seams].mean()

    # The same windows beside each other, without blending.
    halves = [predict(image[None, :, x : x + 128])[0, ..., 1] for x in range(0, 1024, 128)]
    across = np.abs(np.diff(np.concatenate(halves, axis=1), axis=1))
    seams = np.arange(127, 1023, 128)
    assert across[:, seams].mean() / np.delete(across, seams, axis=1).mean() > 1.5
    assert step(windows_of(256, pools_all=True)) <= 1.1


def test_deeplab_gets_windows_of_its_crops_and_a_unet_large_ones():
    assert windows_of(256, pools_all=True) == Windows(size_px=256, overlap_px=96, rim_px=16)
    assert windows_of(250, pools_all=True).size_px == 256
    assert windows_of(1, pools_all=True).size_px == 64
    assert windows_of(256, pools_all=False) == Windows()
    assert windows_of(800, pools_all=False, batch_size=1).size_px == 800
    with pytest.raises(ConfigError, match="rim_px"):
        Windows(overlap_px=64, rim_px=32)


def test_an_error_while_reading_ends_the_work():
    def read(x, y, width, height):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(segment_bands(_threshold, read, (300, 300), 2, SMALL))


@pytest.mark.parametrize(
    "odd", [{"size_px": 500}, {"overlap_px": 100}, {"size_px": 128}, {"batch_size": 0}]
)
def test_windows_off_the_grid_are_refused(odd):
    with pytest.raises(ConfigError, match="Received"):
        Windows(**odd)
