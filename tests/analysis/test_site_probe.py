import numpy as np
import pytest
from scipy.stats import chi2_contingency
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from histokeras.analysis.bootstrap import patient_bootstrap
from histokeras.analysis.site_labels import cramers_v, epsilon_squared, label_association
from histokeras.analysis.site_probe import FEWEST, probe_sites, site_figures
from histokeras.analysis.site_text import site_is_told, site_lines, site_sentences


def planted(offset: float, *, n: int = 96, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Mean features of patients of four sites, each site shifted in a direction of its own."""
    rng = np.random.default_rng(seed)
    site = np.arange(n) % 4
    shift = rng.normal(size=(4, 200))
    return rng.normal(size=(n, 200)) + offset * shift[site], [f"S{k}" for k in site]


LABELS = np.array(["neg", "neg", "pos"] * 32, object)


def test_a_planted_site_is_told_and_noise_is_not() -> None:
    told = probe_sites(*planted(1.0), LABELS, n_resamples=200)
    noise = [probe_sites(*planted(0.0, seed=seed), LABELS, n_resamples=200) for seed in range(5)]
    assert told["auc"]["low"] > 0.98
    assert told["auc_within_label"]["value"] > 0.98
    assert told["balanced_accuracy"]["value"] > 0.9 > told["chance"] == 0.25
    areas = [probe["auc"] for probe in noise]
    assert abs(np.mean([area["value"] for area in areas]) - 0.5) < 0.05
    assert sum(area["low"] < 0.5 < area["high"] for area in areas) >= 3
    assert site_is_told(told)
    assert "can be told with AUC 1.00" in site_sentences(told)[0]
    assert not any(map(site_is_told, noise))
    assert "is not shown: AUC 0.54" in site_sentences(noise[0])[0]


def test_one_seed_gives_one_result() -> None:
    first, again = (probe_sites(*planted(0.1), LABELS, n_resamples=50, seed=3) for _ in range(2))
    assert first == again
    assert first != probe_sites(*planted(0.1), LABELS, n_resamples=50, seed=4)


def test_a_label_that_goes_with_the_site_is_no_site() -> None:
    # The label is three times as frequent at the even sites, and features tell the label alone.
    rng = np.random.default_rng(0)
    site = np.arange(400) % 4
    label = rng.random(400) < np.where(site % 2, 0.25, 0.75)
    means = rng.normal(size=(400, 20)) + 3.0 * label[:, np.newaxis]
    probe = probe_sites(
        means,
        [f"S{k}" for k in site],
        np.where(label, "pos", "neg").astype(object),
        n_resamples=200,
    )
    assert probe["auc"]["low"] > 0.5
    assert probe["auc_within_label"]["low"] < 0.5
    assert probe["label"]["value"] == pytest.approx(0.5, abs=0.1)


def test_figures_by_hand_and_by_scikit_learn() -> None:
    # Site 0: .9 and .4 against .5 .3 .3 .4: 4 + 2.5 of 8. Site 1: .5 .7 against .1 .6 .3 .2: 3 + 4.
    # Site 2: .4 .4 against 0 0 .2 0: 8 of 8.
    targets = np.array([0, 0, 1, 1, 2, 2])
    scores = np.array([[0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.3, 0.5, 0.2], [0.3, 0.7, 0.0],
                       [0.5, 0.1, 0.4], [0.4, 0.2, 0.4]])  # fmt: skip
    labels = np.array(["a", "b", "b", "a", "b", ""], object)
    figures = site_figures(targets, scores, labels)
    auc, within, balanced, accuracy = figures.of_counts(np.ones((1, 6)))[0]
    assert auc == pytest.approx((6.5 / 8 + 7 / 8 + 1) / 3)
    assert auc == pytest.approx(roc_auc_score(targets, scores, multi_class="ovr"))
    # Among a .9 beats .3, among b .4 beats .3 and not .5; .7 beats .1, .5 beats .1 and not .6; the
    # last site's .4 beats 0 and .2.
    assert within == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert balanced == pytest.approx(balanced_accuracy_score(targets, scores.argmax(axis=1)))
    assert balanced == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert accuracy == pytest.approx(3 / 6)
    # A patient who was drawn twice counts twice; one who was not drawn does not.
    drawn = np.array([1, 2, 0, 1, 1, 1])
    often = np.repeat(np.arange(6), drawn)
    again = figures.of_counts(drawn[np.newaxis].astype(float))[0]
    expected = roc_auc_score(targets[often], scores[often], multi_class="ovr")
    assert again[0] == pytest.approx(expected)
    assert patient_bootstrap(figures, n_resamples=50)["auc"].low is not None


def test_small_and_unknown_sites_are_left_out_and_counted() -> None:
    means, sites = planted(1.0)
    few = [*sites[:-8], "", "", *["tiny"] * (FEWEST - 1), "one", "one"]
    probe = probe_sites(means, few, LABELS, n_resamples=20)
    assert (probe["n_sites"], probe["n_patients"]) == (4, 88)
    assert (probe["n_without_site"], probe["n_small_sites"], probe["n_in_small_sites"]) == (2, 2, 6)
    assert sum(row["n"] for row in probe["sites"].values()) == 88
    assert probe["sites"]["S0"]["n_per_class"]["pos"] <= probe["sites"]["S0"]["n"]


@pytest.mark.parametrize(
    ("sites", "why"),
    [
        (["A"] * 96, "of one site, A"),
        ([f"S{i % 30}" for i in range(96)], "two sites of at least 5"),
    ],
)
def test_without_two_large_sites_one_line_says_why(sites: list[str], why: str) -> None:
    probe = probe_sites(planted(1.0)[0], sites, LABELS)
    assert not probe["computed"]
    (line,) = site_lines({"site_probe": probe})
    assert why in line


def test_association_of_label_and_site_by_hand() -> None:
    table = np.array([[8, 2], [2, 8]])
    # chi2 = 20 * 0.36; minus 1/19; both sides 2 - 1/19.
    assert cramers_v(table) == pytest.approx(np.sqrt((0.36 - 1 / 19) / (1 - 1 / 19)))
    wide = np.array([[12, 3, 1], [4, 9, 2], [1, 2, 14], [0, 0, 0]])
    phi = chi2_contingency(wide[:3], correction=False).statistic / wide.sum()
    n = wide.sum() - 1
    corrected = np.sqrt((phi - 4 / n) / (2 - 4 / n))
    assert cramers_v(wide) == pytest.approx(corrected)
    assert cramers_v(np.array([[5, 5], [5, 5]])) == 0
    assert cramers_v(np.diag([6, 6, 6])) == pytest.approx(1)
    assert np.isnan(cramers_v(np.array([[4, 0], [6, 0]])))
    # Within 2 + 2, between 16 * 4 / 4: eta squared 16/20.
    groups, values = np.array([0, 0, 1, 1]), np.array([1.0, 3.0, 5.0, 7.0])
    assert epsilon_squared(groups, values) == pytest.approx(1 - 3 / 2 * 4 / 20)
    assert np.isnan(epsilon_squared(groups, np.ones(4)))
    association, rows = label_association(groups, np.array([1.0, np.nan, 5.0, 7.0]), 2)
    assert association["n_patients"] == 3
    assert [row["mean"] for row in rows] == [1.0, 6.0]
