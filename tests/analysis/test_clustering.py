import numpy as np
import pytest
from sklearn import metrics

from histokeras.analysis.clustering import agreement, compare_agreement, contingency


def test_agreement_of_six_tiles_counted_by_hand() -> None:
    # Table [[2, 1], [0, 3]]: pairs together in both 1 + 3, in clusters 3 + 3, in groups 1 + 6,
    # of 15; expected 6 * 7 / 15 = 2.8. The best matching keeps 2 + 3 of 6.
    found = agreement([0, 0, 0, 1, 1, 1], ["a", "a", "b", "b", "b", "b"])

    assert found["n"] == 6
    assert found["acc"] == pytest.approx(5 / 6)
    assert found["largest_group"] == pytest.approx(4 / 6)
    assert found["ari"] == pytest.approx((4 - 2.8) / (6.5 - 2.8))
    # H(clusters) = ln 2, H(groups) = ln 3 - 2/3 ln 2, H(both) = 2/3 ln 3 + ... counted below.
    clusters, groups = np.log(2), np.log(3) - 2 / 3 * np.log(2)
    both = 1 / 3 * np.log(3) + 1 / 6 * np.log(6) + 1 / 2 * np.log(2)
    assert found["nmi"] == pytest.approx(2 * (clusters + groups - both) / (clusters + groups))


@pytest.mark.parametrize("seed", range(5))
def test_agreement_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 4, 60)
    clusters = np.where(rng.random(60) < 0.6, (groups + 1) % 4, rng.integers(0, 3, 60))

    found = agreement(clusters.tolist(), groups.tolist())

    assert found["nmi"] == pytest.approx(metrics.normalized_mutual_info_score(groups, clusters))
    assert found["ari"] == pytest.approx(metrics.adjusted_rand_score(groups, clusters))


def test_agreement_at_its_ends() -> None:
    swapped = agreement([1, 1, 0], ["a", "a", "b"])
    single = agreement([0, 0], ["a", "a"])
    nothing = agreement([0, 0, 1, 1], ["a", "b", "a", "b"])

    assert (swapped["nmi"], swapped["ari"], swapped["acc"]) == pytest.approx((1, 1, 1))
    assert (single["nmi"], single["ari"], single["acc"]) == (1, 1, 1)
    assert nothing["nmi"] == pytest.approx(0, abs=1e-12)
    assert nothing["ari"] == pytest.approx(metrics.adjusted_rand_score([0, 0, 1, 1], [0, 1, 0, 1]))
    with pytest.raises(ValueError, match="lengths 1 and 2"):
        contingency([0], ["a", "b"])


def test_two_groupings_are_compared_by_the_adjusted_rand_index() -> None:
    rng = np.random.default_rng(3)
    groups, other = rng.integers(0, 2, 50), rng.integers(0, 3, 50)
    clusters = np.where(np.arange(50) % 10 == 0, 1 - groups, groups)

    found = compare_agreement(clusters.tolist(), groups.tolist(), other.tolist(), n_resamples=300)
    same = compare_agreement(clusters.tolist(), other.tolist(), other.tolist(), n_resamples=20)

    assert found["first"] == pytest.approx(metrics.adjusted_rand_score(groups, clusters))
    assert found["second"] == pytest.approx(metrics.adjusted_rand_score(other, clusters))
    interval = found["difference"]
    assert interval["value"] == pytest.approx(found["first"] - found["second"])
    assert 0 < interval["low"] < interval["value"] < interval["high"]
    assert same["difference"] == {"value": 0, "low": 0, "high": 0}


def test_who_knows_the_group_guesses_the_cluster() -> None:
    # Group a: 3 of 4 in cluster 0; group b: 1 of 2. Of all 6, cluster 0 has 4.
    found = agreement([0, 0, 0, 1, 0, 1], ["a", "a", "a", "a", "b", "b"])

    assert found["inverse_purity"] == pytest.approx(4 / 6)
    assert found["largest_cluster"] == pytest.approx(4 / 6)
