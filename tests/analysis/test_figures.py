import numpy as np
import pytest
from sklearn import metrics as sk

from histokeras.analysis import figures
from histokeras.analysis.bootstrap import draw_counts, patient_bootstrap
from histokeras.analysis.figures import (
    auc_of_counts,
    headline_figures,
    level_figures,
    pair_wins,
)


def cohort(
    seed: int, n: int = 300, n_patients: int = 12, n_classes: int = 3
) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, n_patients, n)
    patients[:n_patients] = np.arange(n_patients)
    targets = rng.integers(0, n_classes, n)
    # Rounded: many equal scores.
    scores = (rng.dirichlet(np.ones(n_classes), n) + np.eye(n_classes)[targets] / 3).round(1)
    return targets, scores, patients


def test_pair_wins_are_counted_by_hand() -> None:
    # Patient 0: positives .9 and .4; patient 1: negatives .4 and .1, and a positive .2.
    positive = np.array([True, True, False, False, True])
    scores = np.array([0.9, 0.4, 0.4, 0.1, 0.2])

    wins = pair_wins(positive, scores, np.array([0, 0, 1, 1, 1]), 2)

    # .9 beats both, .4 ties with .4 and beats .1; within patient 1 .2 beats .1 alone.
    np.testing.assert_array_equal(wins, [[0, 3.5], [0, 1]])


@pytest.mark.parametrize("seed", range(5))
def test_auc_of_a_resample_equals_scikit_learn_on_repeated_rows(seed: int) -> None:
    targets, scores, patients = cohort(seed)
    counts = draw_counts(np.random.default_rng(seed), 10, 12)

    areas = auc_of_counts(targets == 1, scores[:, 1], patients, 12)(counts)

    for row, area in zip(counts.astype(int), areas, strict=True):
        rows = np.repeat(np.arange(len(targets)), row[patients])
        assert area == pytest.approx(
            sk.roc_auc_score(targets[rows] == 1, scores[rows, 1]), abs=1e-12
        )


def test_both_ways_to_the_auc_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, scores, patients = cohort(0)
    counts = draw_counts(np.random.default_rng(1), 50, 12)
    by_pairs = auc_of_counts(targets == 0, scores[:, 0], patients, 12)(counts)

    monkeypatch.setattr(figures, "PAIRS_UP_TO_PATIENTS", 0)
    by_weights = auc_of_counts(targets == 0, scores[:, 0], patients, 12)(counts)

    np.testing.assert_array_equal(by_pairs, by_weights)


def test_figures_of_a_resample_equal_scikit_learn_on_repeated_rows() -> None:
    targets, scores, patients = cohort(3)
    counts = draw_counts(np.random.default_rng(2), 5, 12)

    built = level_figures(targets, scores, patients, ("a", "b", "c"))
    table = built.of_counts(counts)

    for row, values in zip(counts.astype(int), table, strict=True):
        rows = np.repeat(np.arange(len(targets)), row[patients])
        truth, said = targets[rows], scores[rows].argmax(axis=1)
        found = dict(zip(built.names, values, strict=True))
        f1 = sk.f1_score(truth, said, average=None)
        areas = [sk.roc_auc_score(truth == k, scores[rows, k]) for k in range(3)]
        assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, said))
        assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, said))
        assert found["f1_macro"] == pytest.approx(f1.mean())
        assert [found[f"f1/{c}"] for c in "abc"] == pytest.approx(f1.tolist())
        assert [found[f"auc/{c}"] for c in "abc"] == pytest.approx(areas)
        assert found["auc"] == pytest.approx(np.mean(areas))
        precisions = [sk.average_precision_score(truth == k, scores[rows, k]) for k in range(3)]
        assert [found[f"pr_auc/{c}"] for c in "abc"] == pytest.approx(precisions)
        assert found["pr_auc"] == pytest.approx(np.mean(precisions))
        for k, name in enumerate("abc"):
            fpr, tpr, _ = sk.roc_curve(truth == k, scores[rows, k], drop_intermediate=False)
            assert found[f"sensitivity/{name}"] == pytest.approx(tpr[fpr <= 0.1 + 1e-9].max())


def test_named_positive_class_gets_the_only_auc() -> None:
    targets, scores, patients = cohort(0, n_classes=2)

    built = level_figures(targets, scores, patients, ("no", "yes"), positive="yes")
    values = dict(zip(built.names, built.of_counts(np.ones((1, 12)))[0], strict=True))

    assert not {"auc/no", "pr_auc/no", "sensitivity/no"} & set(values)
    assert values["pr_auc"] == values["pr_auc/yes"]
    assert values["auc"] == values["auc/yes"]
    assert values["auc"] == pytest.approx(sk.roc_auc_score(targets, scores[:, 1]))


def test_perfect_classifier_has_auc_one_with_certainty() -> None:
    targets = np.repeat([0, 1], 10)
    scores = np.column_stack([1 - targets, targets]) * 0.8 + 0.1

    found = patient_bootstrap(
        level_figures(targets, scores, np.arange(20), ("no", "yes"), positive="yes")
    )

    for name in ("auc", "accuracy", "f1_macro", "f1/yes", "pr_auc", "sensitivity/yes"):
        assert (found[name].value, found[name].low, found[name].high) == (1, 1, 1)


def test_copies_of_tiles_leave_the_interval_unchanged() -> None:
    targets, scores, patients = cohort(4)

    once = patient_bootstrap(level_figures(targets, scores, patients, ("a", "b", "c")))
    copies = [np.tile(targets, 10), np.tile(scores, (10, 1)), np.tile(patients, 10)]
    tenfold = patient_bootstrap(level_figures(*copies, ("a", "b", "c")))

    assert once == tenfold


def test_order_of_rows_leaves_the_interval_unchanged() -> None:
    targets, scores, patients = cohort(5)
    rows = np.random.default_rng(0).permutation(len(targets))

    found = patient_bootstrap(level_figures(targets, scores, patients, ("a", "b", "c")))
    shuffled = level_figures(targets[rows], scores[rows], patients[rows], ("a", "b", "c"))

    assert found == patient_bootstrap(shuffled)


def test_patients_with_many_alike_tiles_widen_the_interval() -> None:
    # 8 patients of 100 equal tiles carry no more knowledge than 8 tiles.
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(8), 100)
    targets = patients % 2
    right = np.repeat(rng.random(8) < 0.7, 100)
    scores = np.eye(2)[np.where(right, targets, 1 - targets)] * 0.8 + 0.1
    of_patients = patient_bootstrap(level_figures(targets, scores, patients, ("0", "1")))
    of_tiles = patient_bootstrap(level_figures(targets, scores, np.arange(800), ("0", "1")))

    def width(estimates: dict) -> float:
        return estimates["accuracy"].high - estimates["accuracy"].low

    assert width(of_patients) > 5 * width(of_tiles)


def test_absent_class_leaves_the_other_figures_defined() -> None:
    targets, scores, patients = cohort(0, n_classes=2)
    scores = np.column_stack([scores, np.full(len(scores), 0.01)])

    found = patient_bootstrap(level_figures(targets, scores, patients, ("a", "b", "c")))

    for name in ("auc/c", "pr_auc/c", "sensitivity/c"):
        assert found[name].value is None
        assert found[name].note == "no patient in class c: no interval"
    assert found["pr_auc"].low is not None
    assert found["f1/c"].value is None
    assert found["auc"].value == pytest.approx(
        (found["auc/a"].value + found["auc/b"].value) / 2  # type: ignore[operator]
    )
    assert found["auc"].low is not None
    assert found["balanced_accuracy"].low is not None


def test_single_class_has_no_auc() -> None:
    scores = np.tile([0.8, 0.2], (6, 1))

    found = patient_bootstrap(
        level_figures(np.zeros(6, dtype=int), scores, np.arange(6), ("a", "b"), positive="b")
    )

    assert (found["auc"].value, found["auc"].low) == (None, None)
    assert (found["pr_auc"].value, found["sensitivity/b"].value) == (None, None)
    assert found["auc"].note == "no patient in class b: no interval"
    assert (found["accuracy"].value, found["accuracy"].low) == (1, 1)


def test_probabilities_alone_get_calibration_figures() -> None:
    targets, scores, patients = cohort(0, n_classes=2)
    scores = scores / scores.sum(axis=1, keepdims=True)

    plain, calibrated = (
        level_figures(targets, scores, patients, ("a", "b"), calibrated=wanted)
        for wanted in (False, True)
    )
    found = dict(zip(calibrated.names, calibrated.of_counts(np.ones((1, 12)))[0], strict=True))

    assert calibrated.names == (*plain.names, "brier", "ece")
    assert calibrated.needs[-2:] == ((), ())
    assert found["brier"] == pytest.approx(sk.brier_score_loss(targets, scores[:, 1]))


def test_a_lower_specificity_gives_more_sensitivity() -> None:
    targets, scores, patients = cohort(1, n_classes=2)

    found = [
        dict(zip(built.names, built.of_counts(np.ones((1, 12)))[0], strict=True))["sensitivity/b"]
        for built in (
            level_figures(targets, scores, patients, ("a", "b"), specificity=share)
            for share in (0.5, 0.9)
        )
    ]

    assert found[0] > found[1] > 0


def test_headline_figures_are_the_first_of_all() -> None:
    targets, scores, patients = cohort(2)
    counts = draw_counts(np.random.default_rng(0), 5, 12)

    headline = headline_figures(targets, scores, patients, ("a", "b", "c"))
    whole = level_figures(targets, scores, patients, ("a", "b", "c"))

    width = len(headline.names)
    assert whole.names[:width] == headline.names
    assert whole.needs[:width] == headline.needs
    np.testing.assert_array_equal(whole.of_counts(counts)[:, :width], headline.of_counts(counts))
