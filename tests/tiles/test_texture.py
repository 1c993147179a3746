import numpy as np
import pytest

from histokeras.tiles.texture import FLOOR_NAMES, N_COLOUR, stain_texture

SIZES = (8, 9, 64, 96, 224, 299, 1024)


def numbers(image: np.ndarray) -> dict[str, float]:
    return dict(zip(FLOOR_NAMES, stain_texture(image).tolist(), strict=True))


def flat(colour: tuple[int, int, int], size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), colour, np.uint8)


def tissue(size: int, seed: int = 0) -> np.ndarray:
    """Purple dots on pink with noise, brighter towards one corner."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    dots = (np.sin(x / 3) * np.cos(y / 5 + x / 40) > 0.5)[..., None]
    colour = np.where(dots, (110, 60, 150), (230, 150, 190)) + (x / size * 20)[..., None]
    return np.clip(colour + rng.normal(0, 12, (size, size, 3)), 0, 255).astype(np.uint8)


def test_the_first_six_are_mean_and_spread_of_red_green_and_blue() -> None:
    image = tissue(50)

    found = stain_texture(image)

    assert FLOOR_NAMES[:N_COLOUR] == (
        "mean_red", "mean_green", "mean_blue", "std_red", "std_green", "std_blue"
    )  # fmt: skip
    pixels = image.reshape(-1, 3) / 255
    np.testing.assert_allclose(found[:6], [*pixels.mean(axis=0), *pixels.std(axis=0)], rtol=1e-6)


def test_there_are_at_most_64_numbers_with_a_name_each() -> None:
    found = stain_texture(tissue(64))

    assert found.shape == (len(FLOOR_NAMES),)
    assert found.dtype == np.float32
    assert len(set(FLOOR_NAMES)) == len(FLOOR_NAMES) <= 64


def test_a_flat_colour_has_its_own_stains_and_no_texture() -> None:
    found = numbers(flat((255, 127, 63)))

    assert found["mean_red"] == 1
    assert found["mean_green"] == pytest.approx(127 / 255)
    # (value + 1) / 256 is 1, 1/2 and 1/4: densities 0, log 2 and 2 log 2, mixed from the stains.
    stains = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])
    vectors = [vector / np.linalg.norm(vector) for vector in stains]
    cross = np.cross(*vectors)
    vectors.append(cross / np.linalg.norm(cross))
    amounts = [found[f"{name}_mean"] for name in ("hematoxylin", "eosin", "residual")]
    np.testing.assert_allclose(amounts @ np.array(vectors), np.log10([1, 2, 4]), atol=1e-6)
    assert found["hematoxylin_q10"] == found["hematoxylin_q90"]
    assert found["saturation_0.4_to_1"] == 1
    flat_ones = [name for name in FLOOR_NAMES if "gradient" in name or "laplacian" in name]
    assert len(flat_ones) == 18
    for name in [*flat_ones, "std_red", "hematoxylin_eosin_correlation"]:
        assert found[name] == pytest.approx(0, abs=1e-6), name


def test_a_pure_stain_is_seen_as_that_stain() -> None:
    vector = np.array([0.650, 0.704, 0.286]) / np.linalg.norm([0.650, 0.704, 0.286])
    colour = (256 * 10 ** (-0.8 * vector) - 1).round().astype(int)

    found = numbers(flat(tuple(colour)))

    assert found["hematoxylin_q50"] == pytest.approx(0.8, abs=0.02)
    assert found["eosin_q50"] == pytest.approx(0, abs=0.02)
    assert found["residual_q50"] == pytest.approx(0, abs=0.02)
    assert found["hematoxylin_share_0.7_to_1"] == 1


def test_stripes_are_oriented_and_noise_is_not() -> None:
    stripes = flat((0, 0, 0))
    stripes[:, np.arange(64) // 4 % 2 == 1] = 204
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8).repeat(3, axis=2)

    striped, noisy = numbers(stripes), numbers(noise)

    assert striped["luminance_coherence_2px"] == pytest.approx(1, abs=1e-4)
    assert noisy["luminance_coherence_2px"] < 0.5
    # Averaged over 2 px the stripes are 0, 0, 0.8, 0.8: each pixel's neighbours differ by 0.8.
    assert striped["luminance_gradient_mean_2px"] == pytest.approx(0.8, abs=1e-6)
    assert striped["luminance_gradient_std_2px"] == pytest.approx(0, abs=1e-6)
    assert striped["luminance_laplacian_rms_2px"] == pytest.approx(0.8, abs=1e-6)
    # Over 4 px they are 0, 0.8, 0, 0.8: the gradient vanishes, the Laplacian doubles.
    assert striped["luminance_gradient_mean_4px"] == pytest.approx(0, abs=1e-6)
    assert striped["luminance_laplacian_rms_4px"] == pytest.approx(1.6, abs=1e-6)
    assert striped["luminance_gradient_mean_8px"] == pytest.approx(0, abs=1e-6)


def test_histograms_and_white_are_shares_of_the_tile() -> None:
    image = flat((255, 255, 255))
    image[:16] = (102, 0, 0)

    found = numbers(image)

    assert found["white"] == 0.75
    assert found["luminance_0.75_to_1"] == 0.75
    assert found["luminance_0_to_0.35"] == 0.25
    assert found["saturation_0_to_0.1"] == 0.75
    assert found["saturation_0.4_to_1"] == 0.25
    for name in ("saturation", "luminance", "hematoxylin_share"):
        bins = [value for key, value in found.items() if key.startswith(name) and "_to_" in key]
        assert len(bins) == 4
        assert sum(bins) == pytest.approx(1)


@pytest.mark.parametrize("size", [64, 77, 224, 299])
def test_flips_and_quarter_turns_change_nothing_but_rounding(size: int) -> None:
    image = tissue(size)
    expected = stain_texture(image)

    for turned in (image[::-1], image[:, ::-1], *(np.rot90(image, k) for k in (1, 2, 3))):
        np.testing.assert_allclose(stain_texture(turned), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (12, 200, 90)])
def test_every_image_gives_finite_numbers(size: int, colour: tuple[int, int, int]) -> None:
    assert np.isfinite(stain_texture(flat(colour, size))).all()
    assert np.isfinite(stain_texture(flat(colour, 1))).all()


def test_equal_pixels_give_equal_bits_however_they_lie_in_memory() -> None:
    image = tissue(99)
    read_only = np.asfortranarray(image)
    read_only.flags.writeable = False

    assert stain_texture(image).tobytes() == stain_texture(read_only).tobytes()
    assert stain_texture(image).tobytes() == stain_texture(image.copy()).tobytes()


def test_a_finer_pattern_has_steeper_gradients() -> None:
    x = np.tile(np.arange(128), (128, 1))

    def waves(period_px: float) -> dict[str, float]:
        grey = 128 + 100 * np.sin(2 * np.pi * x / period_px)
        return numbers(np.repeat(grey[..., None], 3, axis=2).astype(np.uint8))

    fine, coarse = waves(12), waves(48)

    assert fine["luminance_gradient_mean_2px"] > 2 * coarse["luminance_gradient_mean_2px"]
    assert coarse["luminance_gradient_mean_8px"] > 2 * coarse["luminance_gradient_mean_2px"]
