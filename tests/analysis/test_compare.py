import numpy as np
import pytest
from sklearn import metrics as sk

from histokeras.analysis.bootstrap import Estimate, draw_counts, patient_bootstrap
from histokeras.analysis.compare import COMPARED, TITLES, baseline_block, difference_figures
from histokeras.analysis.figures import headline_figures

CLASSES = ("no", "yes")


def cohort(seed: int, strength: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    targets, patients = rng.integers(0, 2, 150), np.arange(150) % 30
    values = np.random.default_rng(seed).normal(size=150) + strength * targets
    yes = 1 / (1 + np.exp(0.5 - values))
    return targets, np.column_stack([1 - yes, yes]), patients


def test_a_network_against_itself_differs_by_exactly_nothing() -> None:
    figures = headline_figures(*cohort(0, 1.0), CLASSES, positive="yes")

    found = patient_bootstrap(difference_figures(figures, figures, COMPARED), n_resamples=300)

    assert list(found) == list(COMPARED)
    for estimate in found.values():
        assert (estimate.value, estimate.low, estimate.high) == (0.0, 0.0, 0.0)


def test_differences_are_paired_and_equal_scikit_learn_on_repeated_rows() -> None:
    targets, ours, patients = cohort(0, 1.5)
    _, theirs, _ = cohort(1, 0.5)
    network = headline_figures(targets, ours, patients, CLASSES, positive="yes")
    baseline = headline_figures(targets, theirs, patients, CLASSES, positive="yes")
    counts = draw_counts(np.random.default_rng(0), 10, 30)

    table = difference_figures(network, baseline, ("auc", "accuracy")).of_counts(counts)

    for row, values in zip(counts.astype(int), table, strict=True):
        rows = np.repeat(np.arange(150), row[patients])
        area, share = (
            [measure(targets[rows], said(scores[rows])) for scores in (ours, theirs)]
            for measure, said in (
                (sk.roc_auc_score, lambda s: s[:, 1]),
                (sk.accuracy_score, lambda s: s.argmax(axis=1)),
            )
        )
        assert values == pytest.approx([area[0] - area[1], share[0] - share[1]])


def test_pairing_narrows_the_interval_of_alike_scores() -> None:
    targets, ours, patients = cohort(0, 1.0)
    alike = np.clip(ours + np.random.default_rng(0).normal(0, 0.01, (150, 1)) * [-1, 1], 0, 1)
    network, baseline = (
        headline_figures(targets, scores, patients, CLASSES, positive="yes")
        for scores in (ours, alike)
    )

    difference = patient_bootstrap(difference_figures(network, baseline, ("auc",)))["auc"]
    single = patient_bootstrap(network)["auc"]

    assert difference.high - difference.low < (single.high - single.low) / 5  # type: ignore[operator]


def test_other_patients_are_refused() -> None:
    targets, scores, patients = cohort(0, 1.0)
    network = headline_figures(targets, scores, patients, CLASSES)
    other = headline_figures(targets, scores, patients // 2, CLASSES)

    with pytest.raises(ValueError, match=r"needs the same patients\. Received: 30 and 15"):
        difference_figures(network, other, COMPARED)


def test_baselines_bear_a_title() -> None:
    estimates = dict.fromkeys(COMPARED, Estimate(0.5, 0.4, 0.6, 9, 10, 0))

    known, other = (baseline_block(name, estimates, estimates) for name in ("floor", "mine"))

    assert known["title"] == TITLES["floor"] == "colour and texture, no network"
    assert other["title"] == "mine"
    assert known["difference"]["f1_macro"]["value"] == 0.5
