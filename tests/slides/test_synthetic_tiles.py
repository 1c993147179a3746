import itertools

import numpy as np
import pytest

from histokeras.slides.synthetic import (
    CLASSES,
    StainProfile,
    random_profile,
    render_tile,
    site_profile,
    slide_profile,
    stain,
    tissue_tile,
)
from histokeras.slides.synthetic.fields import Window, key_of, noise
from histokeras.slides.synthetic.tiles import paint_class


@pytest.mark.parametrize("kind", CLASSES)
def test_two_windows_of_a_tissue_agree_to_the_last_bit(kind: str) -> None:
    whole = paint_class(Window(-60, 40, 300, 260), kind, 3, 0.5)
    part = paint_class(Window(30, 111, 97, 120), kind, 3, 0.5)
    here = (slice(71, 191), slice(90, 187))

    assert (whole.dyes[:, *here] == part.dyes).all()
    assert (whole.nuclei[here] == part.nuclei).all()
    assert part.dyes[:2].std() > 0.01


def test_the_same_seed_gives_the_same_tile_and_another_does_not() -> None:
    one, two, other = (tissue_tile("TUM", seed=seed) for seed in (4, 4, 5))

    assert one.concentrations.tobytes() == two.concentrations.tobytes()
    assert not np.array_equal(one.concentrations, other.concentrations)


@pytest.mark.parametrize("kind", CLASSES)
def test_tiles_hold_amounts_classes_and_nuclei_that_go_together(kind: str) -> None:
    tile = tissue_tile(kind, seed=11)
    haematoxylin = tile.concentrations[..., 0]

    assert tile.concentrations.shape == (224, 224, 5)
    assert tile.concentrations.dtype == np.float32
    assert tile.concentrations.min() >= 0
    assert (tile.classes == CLASSES.index(kind)).all()
    assert 0.001 < tile.nuclei.mean() < 0.7
    assert haematoxylin[tile.nuclei].mean() > 1.5 * haematoxylin[~tile.nuclei].mean()


def test_classes_have_the_shares_of_nuclei_a_pathologist_expects() -> None:
    share = {
        kind: np.mean([tissue_tile(kind, seed=seed).nuclei.mean() for seed in range(4)])
        for kind in CLASSES
    }

    assert share["ADI"] < share["MUS"] < share["TUM"] < share["LYM"]
    assert share["MUC"] < share["STR"]


def test_mixed_tiles_hold_two_classes_and_say_where() -> None:
    tiles = [tissue_tile("MUS", seed=seed, mixed=True) for seed in range(6)]

    for tile in tiles:
        counts = np.bincount(tile.classes.ravel(), minlength=8)
        assert np.count_nonzero(counts) == 2
        assert counts[CLASSES.index("MUS")] >= 0.49 * tile.classes.size


@pytest.mark.parametrize("mpp", [0.25, 1.0])
def test_objects_keep_their_size_in_micrometres(mpp: float) -> None:
    plain = tissue_tile("LYM", seed=2, size_px=224)
    other = tissue_tile("LYM", seed=2, size_px=round(224 * 0.5 / mpp), mpp=mpp)

    assert other.nuclei.mean() == pytest.approx(plain.nuclei.mean(), abs=0.03)
    assert other.concentrations.mean() == pytest.approx(plain.concentrations.mean(), rel=0.03)


def test_colour_never_tells_the_architecture_and_structure_does() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    from scipy import ndimage
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    n = 60
    colours, structure, amounts = [], [], []
    for side, seed in itertools.product((0, 1), range(n)):
        tile = tissue_tile("TUM", seed=900 * side + seed, architecture=float(side))
        image = render_tile(tile, StainProfile()).astype(float)
        colours.append([*image.mean(axis=(0, 1)), *image.std(axis=(0, 1))])
        smooth = ndimage.gaussian_filter(image[..., 0], 8)
        structure.append(1 - smooth.std() / image[..., 0].std())
        amounts.append(tile.concentrations[..., :2].mean(axis=(0, 1)))
    truth = np.repeat([0, 1], n)
    model = make_pipeline(StandardScaler(), linear_model.LogisticRegression())
    guessed = cross_val_predict(model, np.array(colours), truth, cv=10, method="predict_proba")
    means = np.array(amounts).reshape(2, n, 2).mean(axis=1)

    assert np.abs(means[1] / means[0] - 1).max() < 0.04
    assert roc_auc_score(truth, guessed[:, 1]) < 0.66
    assert roc_auc_score(truth, structure) > 0.8


def test_sites_differ_in_colour_more_than_the_slides_of_one_site() -> None:
    tile = tissue_tile("STR", seed=1, size_px=96)

    def colours(profiles: list[StainProfile]) -> np.ndarray:
        return np.array([render_tile(tile, profile).mean(axis=(0, 1)) for profile in profiles])

    sites = colours([site_profile(number) for number in range(8)])
    slides = colours([slide_profile(site_profile(0), seed) for seed in range(8)])

    assert sites.std(axis=0).max() > 1.5 * slides.std(axis=0).max() > 0.5
    assert site_profile(2) == site_profile(2) != site_profile(2, seed=1)
    assert random_profile(3) == random_profile(3) != random_profile(4)


def test_stain_follows_the_law_of_beer_and_lambert() -> None:
    profile = StainProfile(blur_px=0, sharpen=0, noise=0)
    amounts = np.zeros((2, 2, 5), np.float32)
    amounts[0, 0, 0], amounts[1, 1, 1] = 0.5, 1.0
    image = stain(amounts, profile)

    # 241 * 10 ** (-0.5 * 0.53) = 130.9; 239 * 10 ** -0.86 = 33.0
    assert image[0, 1].tolist() == [241, 239, 242]
    assert image[0, 0, 0] == 131
    assert image[1, 1, 1] == 33


def test_noise_has_unit_variance_and_wants_no_contiguous_window() -> None:
    key = key_of(1, "test")
    xs, ys = np.arange(-500, 2500), np.arange(40, 300)
    for sigma in (1.0, 24.0):
        field = noise(key, sigma, xs, ys)
        strided = noise(key, sigma, xs[::7], ys[3::5])

        assert (field[3::5, ::7] == strided).all()
        assert field.std() == pytest.approx(1, abs=0.35)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`kind` must be one of ADI, .* Received: kind='FAT'"):
        tissue_tile("FAT", seed=0)
    with pytest.raises(ValueError, match=r"`size_px` must be >= 1. Received: size_px=0"):
        tissue_tile("ADI", seed=0, size_px=0)
    with pytest.raises(ValueError, match="`mpp` is in micrometres per pixel"):
        tissue_tile("ADI", seed=0, mpp=0)
    with pytest.raises(ValueError, match=r"`architecture` must be in \[0, 1\]"):
        tissue_tile("TUM", seed=0, architecture=1.5)
    with pytest.raises(ValueError, match="`site_number` must be >= 0"):
        site_profile(-1)
    with pytest.raises(ValueError, match="`jitter` must be >= 0"):
        slide_profile(StainProfile(), 0, jitter=-1)
