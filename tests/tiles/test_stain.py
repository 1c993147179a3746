import numpy as np
import pytest
import torchstain
from PIL import Image as PillowImage
from torchstain.numpy.utils import lab_split, rgb2lab

from histokeras.errors import ConfigError, SlideError
from histokeras.slides.synthetic import StainProfile, random_profile, render_tile, tissue_tile
from histokeras.tiles import macenko, reinhard
from histokeras.tiles.stain import fit_stain, normalise_stain, tissue_pixels, to_reference

TISSUE = ("ADI", "LYM", "MUS", "NOR", "STR", "TUM")
HAEMATOXYLIN, EOSIN = np.array([0.62, 0.70, 0.35]), np.array([0.25, 0.85, 0.46])


def two_dyes(vectors: np.ndarray, *, strength: float = 1.0, seed: int = 0) -> np.ndarray:
    """Draw an image of two dyes in known amounts: pure ones, mixtures of both, no glass."""
    rng = np.random.default_rng(seed)
    amounts = rng.uniform(0.5, 1.2, (2, 96 * 96))
    amounts[:, :900] = rng.uniform(0.9, 1.4, (2, 900))
    amounts[1, :450] = amounts[0, 450:900] = 0
    density = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T @ amounts * strength
    return np.rint(240 * np.exp(-density) - 1).clip(0, 255).astype(np.uint8).T.reshape(96, 96, 3)


@pytest.fixture(scope="module")
def tissue() -> list[np.ndarray]:
    """Procedural tiles of six tissues in their default stain."""
    tiles = [tissue_tile(kind, seed=seed, size_px=160) for kind in TISSUE for seed in range(2)]
    return [render_tile(tile, StainProfile()) for tile in tiles]


def pixels_of(images: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([tissue_pixels(image) for image in images])


def test_known_dyes_are_found() -> None:
    vectors = np.array([HAEMATOXYLIN, EOSIN])

    found = macenko.fit_macenko(two_dyes(vectors).reshape(-1, 3))

    wanted = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(found.vectors(), wanted, atol=1e-2)
    assert found.strengths == pytest.approx((1.28, 1.28), abs=0.1)


def test_dyes_are_exchanged_in_the_same_amounts() -> None:
    # One pixel by hand: 0.5 of haematoxylin's and 0.25 of eosin's strength.
    dyes = np.array([HAEMATOXYLIN, EOSIN])
    dyes /= np.linalg.norm(dyes, axis=1, keepdims=True)
    stain = macenko.MacenkoStain(tuple(dyes[0]), tuple(dyes[1]), (2.0, 1.0))
    pixel = 240 * np.exp(-(dyes[0] + 0.25 * dyes[1])) - 1
    image = np.rint(pixel).astype(np.uint8).reshape(1, 1, 3)

    changed = to_reference(image, stain)

    strong, weak = macenko.REFERENCE.strengths
    first, second = macenko.REFERENCE.vectors()
    expected = 240 * np.exp(-(0.5 * strong * first + 0.25 * weak * second))
    np.testing.assert_allclose(changed[0, 0], expected, atol=1.5)


def test_macenko_agrees_with_torchstain(tissue: list[np.ndarray]) -> None:
    referee = torchstain.normalizers.MacenkoNormalizer(backend="numpy")
    theirs = macenko.MacenkoStain(
        tuple(referee.HERef[:, 0]), tuple(referee.HERef[:, 1]), tuple(referee.maxCRef)
    )
    compared = 0
    for image in tissue:
        if image.min() <= macenko.DARK:
            continue  # torchstain believes what a blinded camera says
        found = macenko.fit_macenko(image.reshape(-1, 3))
        ours = macenko.to_macenko_reference(image, found, theirs)
        expected = referee.normalize(image, stains=False)[0]
        # torchstain cuts decimals off.
        assert np.abs(ours.astype(int) - expected).max() <= 2
        compared += 1
    assert compared >= 2


def test_reinhard_agrees_with_torchstain(tissue: list[np.ndarray]) -> None:
    image, target = (np.clip(tissue[i], 0, 200) for i in (-1, 4))
    referee = torchstain.normalizers.ReinhardNormalizer(backend="numpy")
    referee.fit(target)
    expected = referee.normalize(image)

    source, wanted = (reinhard.fit_reinhard(item.reshape(-1, 3)) for item in (image, target))
    ours = reinhard.to_reinhard_reference(image, source, wanted)

    assert np.abs(ours.astype(int) - expected).max() <= 2
    lab = np.array([plane.mean() for plane in lab_split(rgb2lab(image / np.float32(255)))])
    np.testing.assert_allclose(source.mean, lab, atol=0.01)


@pytest.mark.parametrize("stain_norm", ["macenko", "reinhard"])
def test_a_slide_stained_again_looks_the_same_once_normalised(stain_norm: str) -> None:
    tiles = [tissue_tile(kind, seed=1, size_px=128) for kind in TISSUE]
    slides = [[render_tile(tile, random_profile(seed)) for tile in tiles] for seed in (1, 6)]
    changed = []
    for images in slides:
        stain = fit_stain(pixels_of(images), stain_norm)
        changed.append([to_reference(image, stain) for image in images])

    before, after = (
        np.abs(np.array(pair[0], float) - np.array(pair[1], float)).mean()
        for pair in (slides, changed)
    )
    assert before > 15
    assert after < before / 3


def test_two_dyes_stained_again_come_out_nearly_equal() -> None:
    images = [
        two_dyes(np.array([HAEMATOXYLIN, EOSIN]), strength=0.9),
        two_dyes(np.array([[0.55, 0.74, 0.39], [0.20, 0.90, 0.38]]), strength=1.3),
    ]
    first, second = (normalise_stain(image).astype(int) for image in images)

    assert np.abs(images[0].astype(int) - images[1]).mean() > 15
    assert np.abs(first - second).mean() < 2


def test_the_references_are_those_of_the_procedural_stain(tissue: list[np.ndarray]) -> None:
    dyes = np.array(StainProfile().vectors[:2])
    wanted = dyes / np.linalg.norm(dyes, axis=1, keepdims=True)
    np.testing.assert_allclose(macenko.REFERENCE.vectors(), wanted, atol=1e-3)

    stain = fit_stain(pixels_of(tissue), "macenko")
    found = reinhard.fit_reinhard(pixels_of([to_reference(image, stain) for image in tissue]))
    np.testing.assert_allclose(found.mean, reinhard.REFERENCE.mean, atol=1.0)
    np.testing.assert_allclose(found.std, reinhard.REFERENCE.std, atol=1.0)


def test_black_nuclei_do_not_pass_for_much_eosin() -> None:
    seen = two_dyes(np.array([HAEMATOXYLIN, EOSIN]), strength=2.5)
    dark = (seen <= macenko.DARK).any(axis=2)
    assert 0.005 < dark.mean() < 0.2

    found = macenko.fit_macenko(seen.reshape(-1, 3))
    without = macenko.fit_macenko(seen[~dark])

    assert found == without


@pytest.mark.parametrize("stain_norm", ["macenko", "reinhard"])
def test_each_pixel_depends_on_itself_and_glass_stays_glass(
    tissue: list[np.ndarray], stain_norm: str
) -> None:
    image = tissue[-1].copy()
    image[:40] = (241, 239, 242)
    stain = fit_stain(pixels_of(tissue), stain_norm)

    changed = to_reference(image, stain)

    np.testing.assert_array_equal(to_reference(image[7:90, 3:50], stain), changed[7:90, 3:50])
    assert np.abs(changed[:40].astype(int) - (241, 239, 242)).max() <= 3
    assert (changed[40:] != image[40:]).mean() > 0.9


def one_dye() -> np.ndarray:
    """Draw eosin alone."""
    density = np.random.default_rng(0).uniform(0.8, 2, (96, 96, 1)) * EOSIN
    return np.rint(240 * np.exp(-density)).astype(np.uint8)


def brown() -> np.ndarray:
    """Draw a green and a yellow that no H&E shows."""
    return two_dyes(np.array([[0.95, 0.25, 0.2], [0.2, 0.25, 0.95]]))


GLASS = np.full((64, 64, 3), 240, np.uint8)
PALE = np.random.default_rng(0).integers(205, 218, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("image", "stain_norm", "reason"),
    [
        (GLASS, "macenko", "only 0 of 0 tissue pixels"),
        (GLASS, "reinhard", "only 0 of the pixels"),
        (PALE, "macenko", "tissue pixels can be used"),
        (np.full((64, 64, 3), (150, 60, 120), np.uint8), "reinhard", "of one colour"),
        (one_dye(), "macenko", "one dye alone"),
        (brown(), "macenko", "degrees off its colour"),
    ],
)
def test_what_shows_no_stain_is_named(image: np.ndarray, stain_norm: str, reason: str) -> None:
    with pytest.raises(SlideError, match=reason) as caught:
        normalise_stain(image, stain_norm)
    assert caught.value.code == "STAIN_UNKNOWN"


def test_slips_are_named_and_none_is_a_copy() -> None:
    copy = normalise_stain(PALE, "none")
    np.testing.assert_array_equal(copy, PALE)
    assert copy is not PALE
    for image in (PALE / 255, PALE[..., 0], np.dstack([PALE, PALE[..., :1]])):
        with pytest.raises(ConfigError, match="uint8 RGB"):
            normalise_stain(image)
    with pytest.raises(ConfigError, match="must be one of none, macenko, reinhard"):
        normalise_stain(PALE, "vahadane")
    with pytest.raises(ConfigError, match="estimates nothing"):
        fit_stain(PALE.reshape(-1, 3), "none")


def test_a_picture_of_pillow_is_taken_too(tissue: list[np.ndarray]) -> None:
    changed = normalise_stain(PillowImage.fromarray(tissue[-1]))

    np.testing.assert_array_equal(changed, normalise_stain(tissue[-1]))
