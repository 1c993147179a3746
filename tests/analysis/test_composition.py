import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy

from histokeras.analysis.composition import compose
from histokeras.analysis.composition_correct import correction_of, read_correction
from histokeras.analysis.composition_figures import (
    CompositionConfig,
    SlideCounts,
    count_tiles,
    derived_names,
)
from histokeras.analysis.composition_intervals import (
    Draw,
    block_draws,
    percentile_interval,
    wilson_interval,
)
from histokeras.errors import ConfigError, FeatureError, LeakageError, TableError
from tests.analysis.composition_folders import CLASSES, probabilities, write_tile_run


def one(numbers: list[int], slide: str = "s", patient: str = "p", split: str = "") -> SlideCounts:
    return SlideCounts(slide, patient, split, count_tiles(probabilities(numbers), None))


PLAIN = CompositionConfig(min_tiles=1, interval="none")


def test_ten_tiles_by_hand() -> None:
    found = compose(
        [one([2] * 6 + [1] * 3 + [0])], CLASSES, CompositionConfig(min_tiles=1, interval="wilson")
    )

    row = found.patients.iloc[0]
    assert [row[f"share_{name}"] for name in CLASSES] == pytest.approx([0.1, 0.3, 0.6])
    assert row["tumour_stroma_ratio"] == pytest.approx(0.3 / 0.9)
    assert row["lym_tum_ratio"] == pytest.approx(1 / 6)
    assert row["entropy"] == pytest.approx(0.8979, abs=5e-5)
    assert row["entropy"] == pytest.approx(entropy([0.1, 0.3, 0.6]))
    assert (row["share_TUM_low"], row["share_TUM_high"]) == pytest.approx(
        (0.3127, 0.8318), abs=5e-5
    )
    # Of 10 tiles with 0.8, 0.1 and 0.1: 0.1 + 0.7 * share.
    assert row["soft_TUM"] == pytest.approx(0.52, abs=1e-6)
    assert row["soft_tumour_stroma_ratio"] == pytest.approx(0.31 / 0.83, abs=1e-6)
    # Means and entropy count nothing that Wilson could take.
    assert not {"soft_TUM_low", "entropy_low"} & set(row.index)
    assert (row["n_tiles"], row["n_slides"]) == (10, 1)


@pytest.mark.parametrize(("pool", "share"), [("tiles", 0.55), ("slides", 0.75)])
def test_a_patient_is_the_pool_of_tiles_or_the_mean_of_slides(pool: str, share: float) -> None:
    slides = [one([2] * 45 + [1] * 45, "a"), one([2] * 10, "b")]

    config = CompositionConfig(min_tiles=1, pool=pool, n_resamples=200)
    for interval in ("none", "blocks"):
        found = compose(
            slides, CLASSES, CompositionConfig(**{**config.as_dict(), "interval": interval})
        )

        assert found.patients["share_TUM"].item() == pytest.approx(share)
        assert found.patients["tumour_stroma_ratio"].item() == pytest.approx(1 - share)
        assert found.slides["share_TUM"].tolist() == pytest.approx([0.5, 1.0])
        assert found.patients["n_slides"].item() == 2


def test_what_is_not_defined_is_nan_and_few_tiles_are_listed() -> None:
    config = CompositionConfig(min_tiles=3, interval="none")
    slides = [one([0, 0, 0], "a", "p"), one([2, 1], "b", "q"), one([1], "c", "p")]

    found = compose(slides, CLASSES, config)

    first, second = found.patients.to_dict("records")
    assert first["n_tiles"] == 4
    assert first["lym_tum_ratio"] is not None
    assert math.isnan(first["lym_tum_ratio"])
    assert math.isnan(second["share_TUM"])
    assert math.isnan(found.slides.set_index("slide_id").loc["a", "tumour_stroma_ratio"])
    assert found.slides.set_index("slide_id").loc["a", "entropy"] == 0
    assert found.dropped[["kind", "id"]].to_numpy().tolist() == [
        ["slide", "b"], ["slide", "c"], ["patient", "q"]
    ]  # fmt: skip
    # The mean of slides leaves a slide of too few tiles out; the pool counts its tile.
    mean = compose(slides, CLASSES, CompositionConfig(min_tiles=3, interval="none", pool="slides"))
    assert mean.patients["share_LYM"].iloc[0] == 1.0
    assert found.patients["share_LYM"].iloc[0] == 0.75


def test_excluded_classes_leave_and_the_others_make_one() -> None:
    config = CompositionConfig(min_tiles=1, interval="none", exclude=("LYM",))

    row = compose([one([2] * 6 + [1] * 3 + [0])], CLASSES, config).patients.iloc[0]

    assert row["share_TUM"] == pytest.approx(2 / 3)
    assert row["soft_TUM"] == pytest.approx(0.52 / 0.83, abs=1e-6)
    assert row["tumour_stroma_ratio"] == pytest.approx(1 / 3)
    assert (row["n_tiles"], row["n_excluded"]) == (9, 1)
    assert not {"share_LYM", "lym_tum_ratio"} & set(row.index)
    with pytest.raises(ConfigError, match=r"names FAT.*They have LYM, STR, TUM"):
        compose([], CLASSES, CompositionConfig(exclude=("FAT",)))
    with pytest.raises(ConfigError, match="leaves no class"):
        compose([], CLASSES, CompositionConfig(exclude=CLASSES))
    with pytest.raises(ConfigError, match=r"`block_tiles` must be at least 1\. Received"):
        compose([], CLASSES, CompositionConfig(block_tiles=0))
    with pytest.raises(ConfigError, match="mean of slides"):
        compose([], CLASSES, CompositionConfig(interval="wilson", pool="slides"))


def test_aliases_of_tissues_have_their_ratios_and_others_none() -> None:
    assert derived_names(("deb", "NORM", "lym", "str", "tum")) == (
        "tumour_stroma_ratio", "lym_tum_ratio", "deb_share", "entropy",
    )  # fmt: skip
    assert derived_names(("hypoxic", "normoxic")) == ("entropy",)


def test_ties_go_to_the_first_class_and_blocks_are_eight_tiles_wide() -> None:
    places = np.array([[0, 0], [7, 7], [8, 0], [8, 8]])
    probs = np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])

    sums = count_tiles(probs, places)

    assert sums.shape == (3, 2, 3)
    assert sums[0].tolist() == [[1, 1, 0], pytest.approx([0.6, 0.8, 0.6])]
    assert sums.sum(axis=0)[0].tolist() == [2, 1, 1]
    assert [len(count_tiles(probs, places, side)) for side in (1, 4, 16)] == [4, 4, 1]
    # Tiles left of the slide's own origin lie in blocks of their own.
    assert len(count_tiles(probs, places - 8)) == 3


def test_blocks_make_the_interval_as_wide_as_neighbours_are_alike() -> None:
    rng = np.random.default_rng(0)
    side = 160
    places = np.stack([np.tile(np.arange(side), side), np.repeat(np.arange(side), side)], axis=1)
    config = CompositionConfig(n_resamples=2000)
    alone = rng.integers(0, 2, len(places))
    of_block = rng.integers(0, 2, (side // 8, side // 8))
    clumped = of_block[places[:, 1] // 8, places[:, 0] // 8]
    widths = {}
    for name, numbers in (("alone", alone), ("clumped", clumped)):
        sums = count_tiles(probabilities(numbers, 2), places)
        row = compose([SlideCounts("s", "p", "", sums)], ("STR", "TUM"), config).slides.iloc[0]
        widths[name] = row["share_TUM_high"] - row["share_TUM_low"]
        assert row["share_TUM_low"] < row["share_TUM"] < row["share_TUM_high"]
        assert row["n_blocks"] == (side // 8) ** 2

    # Referee: the normal interval of 25,600 tiles, or of 400 blocks, that are independent.
    assert widths["alone"] == pytest.approx(2 * 1.96 * 0.5 / side, rel=0.1)
    assert widths["clumped"] == pytest.approx(2 * 1.96 * 0.5 / (side / 8), rel=0.1)


def test_intervals_do_not_depend_on_other_slides_nor_on_one_another() -> None:
    rng = np.random.default_rng(1)
    places = np.stack([np.arange(80) % 40, np.arange(80) // 40 * 8], axis=1)
    slides = [
        SlideCounts(
            name, f"p{name}", "", count_tiles(probabilities(rng.integers(0, 3, 80)), places)
        )
        for name in "abc"
    ]
    config = CompositionConfig(n_resamples=300)

    every = compose(slides, CLASSES, config).slides.set_index("slide_id")
    alone = compose(slides[1:2], CLASSES, config).slides.set_index("slide_id")
    turned = compose(slides[::-1], CLASSES, config).slides.set_index("slide_id")
    other = compose(slides, CLASSES, CompositionConfig(n_resamples=300, seed=1)).slides

    pd.testing.assert_frame_equal(every.loc[["b"]], alone)
    pd.testing.assert_frame_equal(every, turned)
    assert other["share_TUM_low"].tolist() != every["share_TUM_low"].tolist()


def test_one_block_has_no_interval() -> None:
    row = compose([one([0, 1, 2])], CLASSES, CompositionConfig(min_tiles=1)).slides.iloc[0]

    assert row["n_blocks"] == 1
    assert math.isnan(row["share_TUM_low"])
    assert row["share_TUM"] == pytest.approx(1 / 3)


def test_a_class_of_no_tile_is_not_certain_to_be_absent() -> None:
    places = np.stack([np.arange(100), np.zeros(100, int)], axis=1)
    sums = count_tiles(probabilities([1, 2] * 50), places)

    row = compose([SlideCounts("s", "p", "", sums)], CLASSES, CompositionConfig()).patients.iloc[0]

    # Wilson's upper end of 0 of 100: z^2 / (100 + z^2).
    assert (row["share_LYM_low"], row["share_LYM_high"]) == pytest.approx((0, 0.0370), abs=5e-5)
    assert row["lym_tum_ratio_high"] > 0.05
    # Every block holds as many of both: the tiles as if independent are what is left of doubt.
    assert row["share_TUM_low"] == pytest.approx(0.4038, abs=5e-5)


def test_draws_hold_as_many_blocks_as_there_are_and_go_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks = np.arange(24.0).reshape(4, 2, 3) + 1
    draw = Draw(500, 3, "s")

    (whole,) = block_draws([blocks], draw)
    monkeypatch.setattr("histokeras.analysis.composition_intervals._CELLS_AT_ONCE", 28)
    (parts,) = block_draws([blocks], draw)

    assert whole.shape == parts.shape == (500, 2, 3)
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_allclose(whole.mean(axis=0), blocks.sum(axis=0), rtol=0.03)


def test_percentiles_leave_out_what_few_resamples_hold() -> None:
    values = np.column_stack([np.arange(101.0)] * 3)
    values[::2, 1] = np.nan
    values[-1, 2] = np.inf

    low, high = percentile_interval(values, alpha=0.05)

    assert (low[0], high[0]) == (2.0, 98.0)
    assert np.isnan([low[1], high[1]]).all()
    assert (low[2], high[2]) == (2.0, 98.0)


def test_wilson_at_the_ends() -> None:
    # Wilson 1927, by hand: z = 1.96, 1 / (1 + z^2 / 10) and its complement.
    assert wilson_interval(0, 10, alpha=0.05) == pytest.approx((0.0, 0.2775), abs=5e-5)
    assert wilson_interval(10, 10, alpha=0.05) == pytest.approx((0.7225, 1.0), abs=5e-5)
    assert all(math.isnan(end) for end in wilson_interval(0, 0, alpha=0.05))


def test_a_patient_on_two_sides_is_a_leak() -> None:
    with pytest.raises(LeakageError, match="'p'"):
        compose([one([0], "a", split="train"), one([0], "b", split="test")], CLASSES, PLAIN)


def test_normal_tissue_counts_for_no_patient_but_stays_a_slide() -> None:
    normal = SlideCounts("n", "p", "", count_tiles(probabilities([0] * 5), None), pooled=False)

    found = compose([one([2, 2]), normal], CLASSES, PLAIN)

    assert found.patients["share_TUM"].item() == 1
    assert found.slides["slide_id"].tolist() == ["n", "s"]


def test_correction_brings_shares_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(0)
    rates = np.array([[0.8, 0.15, 0.05], [0.1, 0.6, 0.3], [0.05, 0.25, 0.7]])
    confusion = np.stack([rng.multinomial(600, row) for row in rates]).astype(float)
    correction = correction_of(confusion, CLASSES, side="val")
    before, after = [], []
    for truth in rng.dirichlet([1, 1, 1], 50):
        tiles = rng.choice(3, 2000, p=truth @ rates)
        row = compose([one(tiles.tolist())], CLASSES, PLAIN, correction).patients.iloc[0]
        raw = [row[f"share_{name}"] for name in CLASSES]
        mended = [row[f"corrected_{name}"] for name in CLASSES]
        assert sum(mended) == pytest.approx(1)
        assert min(mended) >= 0
        before.append(np.abs(raw - truth).max())
        after.append(np.abs(mended - truth).max())

    assert np.mean(after) < 0.4 * np.mean(before)
    # By hand: two classes, right in 0.9 and 0.8; q = .9 c + .2 (1 - c) = .55 makes c = .5.
    simple = correction_of(np.array([[9.0, 1.0], [2.0, 8.0]]), ("a", "b"))
    assert simple.apply(np.array([0.55, 0.45])).tolist() == pytest.approx([0.5, 0.5])
    assert simple.apply(np.array([0.95, 0.05])).tolist() == [1.0, 0.0]


def test_few_tiles_behind_a_correction_make_its_interval_wide() -> None:
    rng = np.random.default_rng(0)
    places = np.stack([np.arange(4000) % 80, np.arange(4000) // 80], axis=1)
    sums = count_tiles(probabilities(rng.integers(0, 2, 4000), 2), places)
    slide = SlideCounts("s", "p", "", sums)
    rates = np.array([[0.8, 0.2], [0.3, 0.7]])
    width = {}
    for n in (10, 40, 100_000):
        correction = correction_of(rates * n, ("STR", "TUM"))
        row = compose([slide], ("STR", "TUM"), CompositionConfig(), correction).patients.iloc[0]
        assert row["corrected_TUM_low"] < row["corrected_TUM"] < row["corrected_TUM_high"]
        width[n] = row["corrected_TUM_high"] - row["corrected_TUM_low"]
        plain = row["share_TUM_high"] - row["share_TUM_low"]

    # q = .2 + .5 c: a matrix known to the last digit doubles the interval.
    assert width[100_000] == pytest.approx(2 * plain, rel=0.1)
    assert width[10] > width[40] > 3 * width[100_000]


def test_corrections_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no tile of b stands"):
        correction_of(np.array([[9.0, 1.0], [0.0, 0.0]]), ("a", "b"))
    with pytest.raises(TableError, match="condition number"):
        correction_of(np.array([[5.0, 5.0], [4.99, 5.01]]), ("a", "b"))
    with pytest.raises(FeatureError, match="no figures"):
        read_correction(tmp_path, CLASSES)
    run = write_tile_run(tmp_path / "run", {"test": np.eye(3).tolist()})
    with pytest.raises(ConfigError, match="has the classes LYM"):
        read_correction(run, ("a", "b", "c"))
    write_tile_run(tmp_path / "none", {})
    with pytest.raises(TableError, match="no confusion matrix of tiles"):
        read_correction(tmp_path / "none", CLASSES)


def test_the_correction_is_of_val_and_in_the_order_of_the_predictions(tmp_path: Path) -> None:
    counts = {"test": [[10, 0], [0, 10]], "val": [[9, 1], [2, 8]]}
    run = write_tile_run(tmp_path / "run", counts, ("a", "b"))

    found = read_correction(run, ("b", "a"))

    assert (found.side, found.n_tiles, found.accuracy) == ("val", 20, 0.85)
    assert found.apply(np.array([0.45, 0.55])).tolist() == pytest.approx([0.5, 0.5])
