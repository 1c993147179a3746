import numpy as np
import pytest
from sklearn import metrics as sk

from histokeras.analysis import ranking
from histokeras.analysis.bootstrap import draw_counts
from histokeras.analysis.ranking import (
    average_precision,
    precision_on,
    rank,
    sensitivity_at,
    sensitivity_on,
)

GRID = np.linspace(0, 1, 101)


def at_090(tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    return sensitivity_at(tp, fp, 0.9)


def alone(positive: list[bool], scores: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """The counts above every threshold, each unit a patient drawn once."""
    n = len(scores)
    found: list = []
    ranked = rank(np.array(positive), np.array(scores), np.arange(n), n)
    ranked.each(np.ones((1, n)), lambda tp, fp: found.extend([tp, fp]) or tp[-1])
    return found[0], found[1]


def test_thresholds_are_counted_by_hand() -> None:
    tp, fp = alone([True, False, True, True, False], [0.9, 0.8, 0.8, 0.3, 0.1])

    assert tp.T.tolist() == [[1, 2, 3, 3]]
    assert fp.T.tolist() == [[0, 1, 1, 2]]
    # Recall 1/3 at precision 1, 2/3 at 2/3, 1 at 3/4.
    assert average_precision(tp, fp) == pytest.approx([(1 + 2 / 3 + 3 / 4) / 3])
    assert sensitivity_at(tp, fp, 0.9) == pytest.approx([1 / 3])
    assert sensitivity_at(tp, fp, 0.5) == pytest.approx([1])
    grid = np.array([0, 0.25, 0.5, 1])
    assert sensitivity_on(tp, fp, grid)[0] == pytest.approx([1 / 3, 1 / 2, 1, 1])
    assert precision_on(tp, fp, np.array([0, 1 / 3, 0.5, 1]))[0] == pytest.approx(
        [1, 1, 2 / 3, 3 / 4]
    )


def test_perfect_ranking_gives_exactly_one() -> None:
    tp, fp = alone([True] * 10 + [False] * 10, np.linspace(1, 0, 20).tolist())

    assert average_precision(tp, fp).tolist() == [1.0]
    assert sensitivity_at(tp, fp, 0.999).tolist() == [1.0]


def test_equal_scores_give_the_base_rate() -> None:
    tp, fp = alone([True, False, False, False], [0.5] * 4)

    assert average_precision(tp, fp).tolist() == [0.25]
    # No threshold is specific but the one above all scores.
    assert sensitivity_at(tp, fp, 0.9).tolist() == [0.0]
    assert sensitivity_on(tp, fp, GRID)[0] == pytest.approx(GRID)


def test_a_tenth_of_the_negatives_is_within_specificity_090() -> None:
    for n_negative in range(10, 200, 10):
        scores = np.concatenate([[1.0] * (n_negative // 10), [0.5], [0.1] * (n_negative * 9 // 10)])
        tp, fp = alone((scores == 0.5).tolist(), scores.tolist())
        assert sensitivity_at(tp, fp, 0.9).tolist() == [1.0]


@pytest.mark.parametrize("positive", [[True] * 3, [False] * 3, []])
def test_one_side_alone_has_no_figure(positive: list[bool]) -> None:
    n = len(positive)
    ranked = rank(np.array(positive, bool), np.arange(n) / 10, np.arange(n), n)
    counts = np.ones((2, n))

    assert np.isnan(ranked.each(counts, average_precision)).tolist() == [True, True]
    assert np.isnan(ranked.each(counts, at_090)).all()
    assert np.isnan(ranked.each(counts, lambda tp, fp: sensitivity_on(tp, fp, GRID))).all()
    assert np.isnan(ranked.each(counts, lambda tp, fp: precision_on(tp, fp, GRID))).all()


def resampled(seed: int, n: int = 120, n_patients: int = 9) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    scores = (rng.normal(size=n) + positive).round(1 if seed % 2 else 6)
    patients = rng.integers(0, n_patients, n)
    return positive, scores, patients, draw_counts(rng, 20, n_patients)


@pytest.mark.parametrize("seed", range(6))
def test_resamples_equal_scikit_learn_on_repeated_rows(seed: int) -> None:
    positive, scores, patients, counts = resampled(seed)
    ranked = rank(positive, scores, patients, 9)

    areas = ranked.each(counts, average_precision)
    sensitivities = ranked.each(counts, at_090)
    curves = ranked.each(counts, lambda tp, fp: sensitivity_on(tp, fp, GRID))
    precisions = ranked.each(counts, lambda tp, fp: precision_on(tp, fp, GRID[1:]))

    for number, row in enumerate(counts.astype(int)):
        rows = np.repeat(np.arange(len(scores)), row[patients])
        truth, said = positive[rows], scores[rows]
        fpr, tpr, _ = sk.roc_curve(truth, said, drop_intermediate=False)
        precision, recall, _ = sk.precision_recall_curve(truth, said)
        steps = [precision[recall >= at - 1e-9][-1] for at in GRID[1:]]
        assert areas[number] == pytest.approx(sk.average_precision_score(truth, said), abs=1e-12)
        assert sensitivities[number] == pytest.approx(tpr[1 - fpr >= 0.9 - 1e-9].max(), abs=1e-12)
        assert curves[number] == pytest.approx(np.interp(GRID, fpr, tpr), abs=1e-12)
        assert precisions[number] == pytest.approx(steps, abs=1e-12)


def test_blocks_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    positive, scores, patients, counts = resampled(0)
    ranked = rank(positive, scores, patients, 9)
    whole = ranked.each(counts, average_precision)

    monkeypatch.setattr(ranking, "_CELLS_A_BLOCK", 1000)

    np.testing.assert_array_equal(whole, ranked.each(counts, average_precision))


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 0.99])
def test_merged_scores_move_no_figure_by_1e_4(share: float) -> None:
    rng = np.random.default_rng(0)
    n = 150_000
    positive = rng.random(n) < share
    scores = rng.normal(size=n) + 1.5 * positive
    patients = rng.integers(0, 50, n)
    ranked = rank(positive, scores, patients, 50)
    counts = draw_counts(rng, 2, 50)
    counts[0] = 1

    areas, sensitivities = ranked.each(counts, average_precision), ranked.each(counts, at_090)
    curves = ranked.each(counts, lambda tp, fp: sensitivity_on(tp, fp, GRID))

    assert ranked.positives.shape[0] <= 2 * ranking.MAX_STEPS + 1
    for number, row in enumerate(counts):
        weights = row[patients]
        held = weights > 0
        truth, said, weight = positive[held], scores[held], weights[held]
        fpr, tpr, _ = sk.roc_curve(truth, said, sample_weight=weight, drop_intermediate=False)
        referee = sk.average_precision_score(truth, said, sample_weight=weight)
        assert abs(areas[number] - referee) < 1e-4
        assert abs(sensitivities[number] - tpr[fpr <= 0.1 + 1e-12].max()) < 2e-4
        assert np.abs(curves[number] - np.interp(GRID, fpr, tpr)).max() < 2e-4
    assert abs(sensitivities[0] - sk_sensitivity(positive, scores)) < 1e-4


def sk_sensitivity(positive: np.ndarray, scores: np.ndarray) -> float:
    fpr, tpr, _ = sk.roc_curve(positive, scores, drop_intermediate=False)
    return float(tpr[fpr <= 0.1 + 1e-12].max())


def test_few_positives_among_many_negatives_stay_exact() -> None:
    rng = np.random.default_rng(1)
    positive = rng.random(100_000) < 0.01
    scores = rng.normal(size=100_000) + positive
    ranked = rank(positive, scores, np.zeros(100_000, dtype=int), 1)

    area = ranked.each(np.ones((1, 1)), average_precision)[0]

    assert area == pytest.approx(sk.average_precision_score(positive, scores), abs=1e-12)
    assert ranked.positives.shape[0] < 3000


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="`scores` must be finite"):
        rank(np.array([True, False]), np.array([0.1, np.nan]), np.array([0, 1]), 2)
